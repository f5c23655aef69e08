"""From the last spike pushed to the factors received, over LSL, in three processes.

A replay of the bundled demo recording, the loop and a listener run as `bci-lfads` commands of
their own, as on a rig, once for trials and once for a sliding window, with a hold-off of 0 and of
5 ms. The replay keeps when it pushed each spike, the loop says on Latency when each window passed
which stage, the listener keeps when it had the factors in hand; all on one LSL clock.
docs/latency.md explains the rows. Nothing here is asserted: a busy machine gives worse figures.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pylsl
from common import describe_machine, markdown
from numpy.typing import NDArray

from bci_lfads import processes
from bci_lfads.demo import bundled
from bci_lfads.listen import Heard, load_heard
from bci_lfads.models.model import Model
from bci_lfads.recordings.replay.live import StatusFollower

TOTAL = "last spike pushed → factors received"
_ORDER = ("median", "p99", "max")
_PATIENCE = 60.0  # seconds for the three processes to find each other
_HOLD_OFFS = (0.0, 0.005)
_SLIDING = 'mode = "sliding"'
_WINDOWS = {
    "trials": 'mode = "trials"\nstart = "trial/start"',
    "sliding": _SLIDING,
    "kilohertz": _SLIDING,  # with bins of 1 ms, and so 1000 windows a second
}

Times = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """One run.

    Attributes
    ----------
    title
        Window and hold-off.
    stages
        Seconds that each window spent between two moments, by what they are.
    received
        Number of windows that the listener received.
    loop, replay
        What `bci-lfads run` and `bci-lfads replay` reported.
    cpu
        Share of one core that the loop's process used; None where that cannot be told.
    """

    title: str
    stages: dict[str, Times]
    received: int
    loop: dict[str, Any]
    replay: dict[str, Any]
    cpu: float | None


def stages_of(
    pushed: Mapping[str, Times], heard: Heard, width: float, *, sliding: bool
) -> dict[str, Times]:
    """Return the seconds that each window spent from moment to moment.

    Parameters
    ----------
    pushed
        ``stamps`` of all spikes and when they were ``pushed``.
    heard
        What the listener received.
    width
        Of a bin, seconds.
    sliding
        Whether it heard a sliding window.

    Returns
    -------
    By what they are, all of shape ``(n_windows,)``: windows that were received, with a spike.
    """
    ends, received = heard.windows(width, sliding=sliding)
    window = nearest(heard.latency_stamps, ends, 0.1 * width)
    known = window >= 0
    ends, received, rows = ends[known], received[known], heard.latency[window[known]]
    spike = nearest(pushed["stamps"], rows[:, 0], 1e-9)
    known = spike >= 0
    ends, received, at = ends[known], received[known], pushed["pushed"][spike[known]]
    _, closed, submitted, done, out = rows[known].T
    return {
        TOTAL: received - at,
        "= last spike pushed → window's end": ends - at,
        "+ window's end → closed (hold-off)": closed - ends,
        "+ closed → given to the engine": submitted - closed,
        "+ engine": done - submitted,
        "+ engine done → received (LSL out)": received - done,
        "window's end → factors received": received - ends,
        "engine done → all pushed (publish)": out - done,
    }


def nearest(among: Times, wanted: Times, tolerance: float) -> NDArray[np.intp]:
    """Return where in `among` each wanted time is found, -1 where none is near enough."""
    if not len(among):
        return np.full(len(wanted), -1)
    order = np.argsort(among, kind="stable")
    ascending = among[order]
    place = np.searchsorted(0.5 * (ascending[1:] + ascending[:-1]), wanted)
    near = np.abs(ascending[place] - wanted) <= tolerance  # NaN is near nothing
    return np.where(near, order[place], -1)


def statistics(seconds: Times) -> dict[str, float | int | None]:
    """Return number, median, 99th percentile and maximum, in milliseconds."""
    if not len(seconds):
        return {"n": 0, **dict.fromkeys(_ORDER)}
    median, p99 = np.percentile(1e3 * seconds, (50, 99)).tolist()
    return {"n": len(seconds), "median": median, "p99": p99, "max": 1e3 * float(seconds.max())}


def cell(found: Mapping[str, Any]) -> str:
    """Return statistics as a table has them."""
    return " / ".join(f"{found[k]:.2f}" for k in _ORDER) if found["n"] else "none"


def report(machine: str, cases: Sequence[Case]) -> str:
    """Return everything measured, as Markdown."""
    rows = [["window, hold-off", *(c.title for c in cases)]]
    rows.append(["windows measured", *(str(len(c.stages[TOTAL])) for c in cases)])
    for what in cases[0].stages:
        shown = f"**{what}**" if what == TOTAL else what
        rows.append([shown, *(cell(statistics(c.stages[what])) for c in cases)])
    arrivals = (cell(c.loop["stamp_to_arrival_ms"]) for c in cases)
    rows.append(["spike's stamp → taken in (LSL in)", *arrivals])
    counters = [c.loop["status"]["counters"] for c in cases]
    rows.append(["windows dropped", *(str(c["dropped"]) for c in counters)])
    spikes = (c["spikes"] for c in counters)
    rows.append(["late spikes, of all", *(f"{s['late']} of {s['received']}" for s in spikes)])
    shares = ("not known" if c.cpu is None else f"{100 * c.cpu:.0f} %" for c in cases)
    rows.append(["the loop's share of one core", *shares])
    replayed = [["replay at ×1, spikes pushed late by", "spikes", *_ORDER, "within 1 ms"]]
    for c in cases:
        late = c.replay["late_ms"]
        figures = [f"{late[k]:.3f}" for k in _ORDER]
        within = f"{100 * late['within_1ms']:.2f} %"
        replayed.append([c.title, str(c.replay["spikes"]), *figures, within])
    head = f"{machine}\n\nMilliseconds: median / p99 / max."
    return f"{head}\n\n{markdown(rows)}\n\n{markdown(replayed)}"


def as_dict(machine: str, cases: Sequence[Case]) -> dict[str, Any]:
    """Return everything measured, ready for JSON."""
    return {
        "machine": machine,
        "cases": [
            {
                "title": c.title,
                "windows_received": c.received,
                "stages_ms": {what: statistics(s) for what, s in c.stages.items()},
                "cpu": c.cpu,
                "run": c.loop,
                "replay": c.replay,
            }
            for c in cases
        ],
    }


def model_file(folder: Path, mode: str) -> Path:
    """Return the demo's model, or the same with bins of 1 ms: as fast, whatever it means."""
    path = bundled("demo_model.safetensors")
    if mode == "kilohertz":
        fast = folder / "kilohertz.safetensors"
        replace(Model.load(path), bin_width=0.001).save(fast)
        return fast
    return path


def rig_file(folder: Path, name: str, mode: str, model: Path, hold_off: float) -> Path:
    """Write a rig like the demo's, and return where it is."""
    path = folder / f"{name}.toml"
    path.write_text(
        f"name = {json.dumps(name)}\n"
        f"model = {json.dumps(str(model))}\n"
        f'[input.spikes]\nname = "{name} S"\n[input.markers]\nname = "{name} M"\n'
        f"[window]\n{_WINDOWS[mode]}\n[binning]\nhold_off = {hold_off}\n[output]\nrates = true\n"
    )
    return path


def start(*arguments: object) -> subprocess.Popen[str]:
    """Start a `bci-lfads` command."""
    return processes.start(
        "--quiet", *arguments,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Ask a command to stop and return what it reported."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30.0)
    if process.returncode:
        raise SystemExit(f"{process.args!r} failed:\n{err}")
    reported: dict[str, Any] = json.loads(out)
    return reported


def wait_for_bins(rig: str) -> None:
    """Wait until a rig has closed its first bins."""
    follower = StatusFollower(rig, _PATIENCE)
    until = time.monotonic() + _PATIENCE
    while follower() is None and time.monotonic() < until:
        time.sleep(0.1)


def cpu_seconds(pid: int) -> float | None:
    """Return the CPU time that a process has used; None where the system does not say."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return None
    fields = stat.read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(folder: Path, mode: str, hold_off: float, seconds: float) -> Case:
    """Run source, loop and listener for a while."""
    name, sliding = f"Latency {os.getpid()} {mode} {1e3 * hold_off:g}", mode != "trials"
    model = model_file(folder, mode)
    heard_file, pushed_file = folder / f"{name} heard.npz", folder / f"{name} pushed.npz"
    rig = rig_file(folder, name, mode, model, hold_off)
    loop = start("run", rig, "--timeout", _PATIENCE, "--json")
    listener = start(
        "listen", name, "-o", heard_file, "--timeout", _PATIENCE, "--json",
        *["--sliding"] * sliding,
    )  # fmt: skip
    replay = start(
        "replay", bundled("demo.npz"), "--spikes", f"{name} S", "--loop", "--wait", _PATIENCE,
        "--markers", "" if sliding else f"{name} M", "--pushed", pushed_file, "--json",
    )  # fmt: skip
    # The listener is stopped first: once the loop has said that it stops, it ends by itself.
    processes = (listener, loop, replay)
    try:
        wait_for_bins(name)
        before, began = cpu_seconds(loop.pid), time.monotonic()
        time.sleep(seconds)
        after, lasted = cpu_seconds(loop.pid), time.monotonic() - began
        _, looped, replayed = (finish(p) for p in processes)
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.communicate()
    heard = load_heard(heard_file)
    with np.load(pushed_file) as file:
        pushed = {what: file[what] for what in file.files}
    width = Model.load(model).bin_width
    return Case(
        f"{mode}, {1e3 * hold_off:g} ms",
        stages_of(pushed, heard, width, sliding=sliding),
        len(heard.windows(width, sliding=sliding)[0]),
        looped,
        replayed,
        None if before is None or after is None else (after - before) / lasted,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=float, default=70.0, help="seconds of each run of trials")
    parser.add_argument("--sliding", type=float, default=20.0, help="seconds of each sliding run")
    parser.add_argument("--kilohertz", type=float, default=10.0, help="of each at 1000 windows/s")
    parser.add_argument("--only", choices=tuple(_WINDOWS), help="one of the three")
    parser.add_argument("--json", action="store_true", help="print JSON")
    asked = parser.parse_args(arguments)
    machine = f"{describe_machine()}; liblsl {pylsl.library_version() / 100:.2f}."
    with tempfile.TemporaryDirectory() as folder:
        cases = [
            measure(Path(folder), mode, hold_off, getattr(asked, mode))
            for mode in _WINDOWS
            for hold_off in _HOLD_OFFS
            if asked.only in (None, mode)
        ]
    text = json.dumps(as_dict(machine, cases), indent=2) if asked.json else report(machine, cases)
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
