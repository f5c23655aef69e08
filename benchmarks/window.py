"""What the live window costs the loop, how many frames a second it draws, and what memory it takes.

    python benchmarks/window.py [--units 256] [--rounds 6] [--seconds 20] [--priority N]
    python benchmarks/window.py --memory MINUTES

A loop (a model of random weights, a sliding window) and a replay run as `bci-lfads` commands all
the while. In each round the loop's latencies are taken without the window, beside one that gives
way, and beside one that does not, in an order that turns. All are sessions of their own, as
on a rig where each is started in its own terminal or by the window; the window shows all its
panels with 60 s of spikes. All of it has two processors. With no screen the window draws into
memory (`QT_QPA_PLATFORM=offscreen`), which is drawing all the same. Nothing here is asserted.
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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pylsl
from common import describe_machine, markdown
from numpy.typing import NDArray

from bci_lfads import processes

RATE = 10.0  # Hz of a unit
_SETTLE = 4.0  # seconds before anything is counted
_PATIENCE = 120.0
_PROCESSORS = 2
_SPAN = "60"  # seconds of the raster
Seconds = NDArray[np.float64]


SIDES = ("without the window", "with the window", "with one that does not give way")


@dataclass
class Side:
    """All that was measured with the window, or all without it: latencies of a round each."""

    latencies: list[Seconds] = field(default_factory=list)

    def whole(self) -> Seconds:
        return np.concatenate(self.latencies)


@dataclass
class Drawn:
    """What a window said of itself, each second."""

    frames: list[float] = field(default_factory=list)
    longest: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)

    def take(self, line: str) -> None:
        found = json.loads(line)
        for name, value in found.items():
            getattr(self, name).append(float(value))


# --- the window's process ----------------------------------------------------------------------


def show(rig: str, folder: str, giving_way: bool) -> None:
    """Show the window, and print each second how it does; ends with its standard input."""
    from qtpy.QtCore import QEvent, QObject, QSettings, QSocketNotifier, QTimer
    from qtpy.QtWidgets import QApplication

    from bci_lfads_gui.app import give_way, prepare_plots
    from bci_lfads_gui.controller import Recorder
    from bci_lfads_gui.window import Window

    if giving_way:
        give_way()
    app = QApplication([])
    app.setStyle("Fusion")
    prepare_plots()
    settings = QSettings(str(Path(folder) / "window.ini"), QSettings.Format.IniFormat)
    window = Window(settings, Recorder(Path(folder)))
    window.raster.span.setCurrentText(_SPAN)
    window.resize(1600, 900)
    window.arrangement.reset()
    window.show()
    window.open(rig)

    class Painted(QObject):
        """Notes when the raster was painted: it is drawn anew in each frame."""

        def __init__(self) -> None:
            super().__init__()
            self.times: list[float] = []

        def eventFilter(self, watched: Any, event: Any) -> bool:  # noqa: N802
            if event.type() == QEvent.Type.Paint:
                self.times.append(time.perf_counter())
            return super().eventFilter(watched, event)

    painted = Painted()
    window.raster.view.viewport().installEventFilter(painted)
    began = [time.perf_counter(), time.process_time()]

    def tell() -> None:
        now, cpu = time.perf_counter(), time.process_time()
        times, painted.times = painted.times, []
        said = {
            "frames": len(times) / (now - began[0]),
            "longest": float(np.max(np.diff([began[0], *times, now]))),
            "cpu": (cpu - began[1]) / (now - began[0]),
            "memory": memory(os.getpid()),
        }
        began[:] = now, cpu
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()

    timer = QTimer()
    timer.timeout.connect(tell)
    timer.start(1000)
    ends = QSocketNotifier(0, QSocketNotifier.Type.Read)
    ends.activated.connect(window.close)
    app.exec()


def memory(pid: int) -> float:
    """Return the resident memory of a process, bytes; NaN where the system does not say."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except OSError:
        return float("nan")
    return int(pages) * float(os.sysconf("SC_PAGE_SIZE"))


# --- measuring ---------------------------------------------------------------------------------


def start(*arguments: object) -> subprocess.Popen[str]:
    """Start a `bci-lfads` command."""
    return processes.start(
        "--quiet", *arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, text=True,
        start_new_session=True,
    )  # fmt: skip


@contextmanager
def running_rig(folder: Path, n_units: int, priority: int = 0) -> Iterator[Path]:
    """Run a loop and its source; yield the rig file."""
    from engines import random_model

    from bci_lfads.recordings import write
    from bci_lfads.recordings.recording import Recording, SpikeEvents

    name, seconds = f"Window {os.getpid()}", 60.0
    model, recording = folder / "model.safetensors", folder / "spikes.npz"
    made = random_model(n_units=n_units, n_bins=50, n_factors=8)
    made.save(model)
    rng = np.random.default_rng(0)
    times = np.sort(rng.uniform(0.0, seconds, round(RATE * seconds * n_units)))
    units = rng.integers(0, n_units, len(times)).astype(np.int32)
    write(Recording(SpikeEvents(times, units), made.unit_labels, 0.0, seconds), recording)
    rig = folder / "rig.toml"
    rig.write_text(
        f'name = "{name}"\nmodel = "{model}"\n[input.spikes]\nname = "{name} S"\n'
        '[window]\nmode = "sliding"\n[output]\nrates = true\n'
        + (f"[realtime]\npriority = {priority}\n" if priority else "")
    )
    processes = [
        start("run", rig, "--timeout", _PATIENCE),
        start("replay", recording, "--loop", "--spikes", f"{name} S", "--markers", ""),
    ]
    try:
        yield rig
    finally:
        for process in processes:
            process.send_signal(signal.SIGINT)
        for process in processes:
            process.wait(_PATIENCE)


def inlet_of(rig: str) -> pylsl.StreamInlet:
    """Return an inlet of a rig's latencies."""
    found = pylsl.resolve_byprop("name", f"{rig} Latency", timeout=_PATIENCE)
    if not found:
        raise SystemExit("the loop did not start")
    inlet = pylsl.StreamInlet(found[0])
    inlet.open_stream(_PATIENCE)
    return inlet


def latencies(inlet: pylsl.StreamInlet, seconds: float) -> Seconds:
    """Return the seconds from each window's end to its factors pushed."""
    found: list[float] = []
    inlet.flush()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.25)  # the measuring itself should cost little
        samples, stamps = inlet.pull_chunk(timeout=0.0, max_samples=4096)
        found += [row[4] - stamp for row, stamp in zip(samples, stamps, strict=True)]
    return np.array(found)


@contextmanager
def window(rig: Path, folder: Path, drawn: Drawn, *, giving_way: bool = True) -> Iterator[None]:
    """Show a window meanwhile."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).resolve()), "--show", str(rig), str(folder),
         "1" if giving_way else ""],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        cwd=tempfile.gettempdir(), start_new_session=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if not process.stdout.readline():
            raise SystemExit("the window did not open")
        time.sleep(_SETTLE)
        yield
    finally:
        process.stdin.close()
        lines = process.stdout.readlines()
        process.wait(_PATIENCE)
    for line in lines[round(_SETTLE) : -1]:
        drawn.take(line)


def compare(asked: argparse.Namespace) -> tuple[dict[str, Side], Drawn]:
    """Take the loop's latencies with and without the window, in turn."""
    sides, drawn = {side: Side() for side in SIDES}, Drawn()
    with (
        tempfile.TemporaryDirectory() as name,
        running_rig(Path(name), asked.units, asked.priority) as rig,
    ):
        inlet = inlet_of(f"Window {os.getpid()}")
        time.sleep(_SETTLE)
        for k in range(asked.rounds):
            for side in (*SIDES[k % 3 :], *SIDES[: k % 3]):
                if side == SIDES[0]:
                    time.sleep(_SETTLE)
                    sides[side].latencies.append(latencies(inlet, asked.seconds))
                    continue
                gives = side == SIDES[1]
                with window(rig, Path(name), drawn if gives else Drawn(), giving_way=gives):
                    sides[side].latencies.append(latencies(inlet, asked.seconds))
    return sides, drawn


def grow(asked: argparse.Namespace) -> Drawn:
    """Show one window for so many minutes."""
    drawn = Drawn()
    with tempfile.TemporaryDirectory() as name, running_rig(Path(name), asked.units) as rig:
        inlet_of(f"Window {os.getpid()}")
        with window(rig, Path(name), drawn):
            time.sleep(60.0 * asked.memory)
    return drawn


# --- the tables --------------------------------------------------------------------------------


def milliseconds(seconds: Seconds) -> list[float]:
    """Return median, 99th percentile and maximum."""
    return [*(1e3 * np.percentile(seconds, (50, 99))).tolist(), 1e3 * float(seconds.max())]


def ratios(sides: dict[str, Side], side: str) -> list[list[float]]:
    """Return for each round how many times longer than without the window: median, p99."""
    return [
        [a / b for a, b in zip(milliseconds(x)[:2], milliseconds(y)[:2], strict=True)]
        for x, y in zip(sides[side].latencies, sides[SIDES[0]].latencies, strict=True)
    ]


def tables(asked: argparse.Namespace, sides: dict[str, Side], drawn: Drawn) -> str:
    """Return what was measured, as Markdown."""
    rows = [["window's end to factors pushed, ms", "windows", "median", "p99", "max"]]
    for side, found in sides.items():
        whole = found.whole()
        figures = [f"{x:.2f}" for x in milliseconds(whole)]
        rows.append([side, str(len(whole)), *figures])
    for side in SIDES[1:]:
        of_rounds = np.array(ratios(sides, side))
        for what, found in (
            ("median", np.median(of_rounds, axis=0)), ("worst", of_rounds.max(axis=0)),
        ):  # fmt: skip
            figures = [f"{x:.2f}" for x in found]
            rows.append([f"{side} ÷ without, {what} round", "", *figures, ""])
    head = (
        f"{asked.units} units at {RATE:g} Hz, 100 windows a second, {asked.rounds} rounds of "
        f"{asked.seconds:g} s each, {_PROCESSORS} processors"
        + (f", the loop at real-time priority {asked.priority}." if asked.priority else ".")
    )
    return f"{head}\n\n{markdown(rows)}\n\n{of_window(drawn)}"


def of_window(drawn: Drawn) -> str:
    """Return how the window did, as a table."""
    rows = [["the window", "median", "worst second"]]
    frames, longest = np.array(drawn.frames), 1e3 * np.array(drawn.longest)
    cpu, size = 100 * np.array(drawn.cpu), np.array(drawn.memory) / 2**20
    rows.append(["frames a second", f"{np.median(frames):.1f}", f"{frames.min():.1f}"])
    rows.append(["longest frame, ms", f"{np.median(longest):.0f}", f"{longest.max():.0f}"])
    rows.append(["share of a processor", f"{np.median(cpu):.0f} %", f"{cpu.max():.0f} %"])
    rows.append(["memory, MiB", f"{np.median(size):.0f}", f"{size.max():.0f}"])
    return markdown(rows)


def of_memory(drawn: Drawn) -> str:
    """Return the resident memory by the minute, as a table."""
    size = np.array(drawn.memory) / 2**20
    rows = [["minute", "memory, MiB (median of it)", "frames a second"]]
    for k, at in enumerate(range(0, len(size), 60), 1):
        part, frames = size[at : at + 60], drawn.frames[at : at + 60]
        if len(part) >= 30:
            rows.append([str(k), f"{np.median(part):.1f}", f"{np.median(frames):.1f}"])
    return markdown(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--units", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each side of a round")
    parser.add_argument("--priority", type=int, default=0, help="real-time priority of the loop")
    parser.add_argument("--memory", type=float, metavar="MINUTES", help="its memory instead")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--show", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")):
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    if asked.show:
        show(*asked.show[:2], giving_way=bool(asked.show[2]))
        return
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:_PROCESSORS])
    machine = f"{describe_machine()}; liblsl {pylsl.library_version() / 100:.2f}."
    if asked.memory:
        drawn = grow(asked)
        found: dict[str, Any] = vars(drawn)
        text = of_memory(drawn)
    else:
        sides, drawn = compare(asked)
        of_sides = {side: milliseconds(x.whole()) for side, x in sides.items()}
        of_rounds = {side: ratios(sides, side) for side in SIDES[1:]}
        found = {"ms": of_sides, "ratios": of_rounds, "window": vars(drawn)}
        text = tables(asked, sides, drawn)
    if asked.json:
        text = json.dumps({"machine": machine, **found}, indent=2)
    else:
        text = f"{machine}\n\n{text}"
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
