"""The main job on bundled data: replay on LSL -> loop -> a listener, in three processes.

The replay and the listener are processes of their own, as on a rig; the loop runs here. At the
end the factors that the listener received are compared, to the bit, with offline inference of the
same recording, and with the simulation's known latents.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bci_lfads.account import RunReport
from bci_lfads.engines import open_engine
from bci_lfads.errors import BciLfadsError
from bci_lfads.listen import Heard, load_heard
from bci_lfads.models.model import Model
from bci_lfads.offline import cut, infer_all
from bci_lfads.pipeline import open_pipeline
from bci_lfads.processes import start
from bci_lfads.recordings import Recording, read
from bci_lfads.rig import FpgaSettings, Rig, load_rig
from bci_lfads.windows import WindowBatch

BUNDLED = Path(__file__).parent / "replay_data"
_IN_CHECKOUT = Path(__file__).parent.parent / "replay_data"


@dataclass(frozen=True)
class DemoResult:
    """What the demo did.

    Attributes
    ----------
    rig, model, recording
        What ran.
    batch
        The recording's trials, cut offline.
    offline
        Offline factors, float32, shape ``(n_trials, n_bins, n_factors)``.
    streamed
        Received factors by trial number.
    identical
        Number of received trials that equal the offline ones to the bit.
    latents
        The simulation's latents at the bins' centres, ``(n_received, n_bins, n_latents)``.
    recovered
        The same, read out of the streamed factors (linear map fitted on the other half of trials).
    r2
        R² of each latent, cross-validated over trials.
    run
        The loop's own report.
    heard
        What the listener received.
    window_to_received, spike_to_received
        Seconds, one a trial: from the window's end, and from its last spike's stamp, to its
        factors taken from the listener's inlet.
    seconds
        How long it took.
    """

    rig: Rig
    model: Model
    recording: Recording
    batch: WindowBatch
    offline: NDArray[np.float32]
    streamed: dict[int, NDArray[np.float32]]
    identical: int
    latents: NDArray[np.float64]
    recovered: NDArray[np.float64]
    r2: NDArray[np.float64]
    run: RunReport
    heard: Heard
    window_to_received: NDArray[np.float64]
    spike_to_received: NDArray[np.float64]
    seconds: float


def bundled(name: str) -> Path:
    """Return the path of a bundled file.

    Raises
    ------
    BciLfadsError
        If this installation lacks it.
    """
    for folder in (BUNDLED, _IN_CHECKOUT):
        if (folder / name).is_file():
            return folder / name
    raise BciLfadsError(f"the bundled file {name} is missing; install the package again")


def run_demo(
    folder: Path,
    *,
    engine: str = "native",
    fpga: FpgaSettings | None = None,
    on_trial: Callable[[int, int], None] | None = None,
) -> DemoResult:
    """Run the whole path on the bundled recording; takes as long as the recording.

    Parameters
    ----------
    folder
        Where the listener's file goes.
    engine
        Which engine to run.
    fpga
        Settings of the card, where that is the engine.
    on_trial
        Called with the trials done and those in the recording.

    Raises
    ------
    BciLfadsError
        If any of the three parts fails, with its words.
    """
    began = time.monotonic()
    rig = load_rig(bundled("demo.toml")).model_copy(
        update={"engine": engine, "fpga": fpga or FpgaSettings()}
    )
    model = Model.load(rig.model)
    recording = read(bundled("demo.npz"))
    batch = cut(recording, model, rig.window, rig.input.units)
    with open_engine(engine, model, **rig.engine_options()) as offline_engine:
        offline = infer_all(offline_engine, batch.counts).factors
    n_trials, done = len(batch.counts), 0
    stop = threading.Event()
    heard_file = folder.resolve() / "demo_heard.npz"  # the listener runs elsewhere

    def count(_slot: object) -> None:
        nonlocal done
        done += 1
        if on_trial is not None:
            on_trial(done, n_trials)

    # The listener first, so that it is there for the first trial.
    pipeline = open_pipeline(rig, on_window=count)
    listener = _start("listen", rig.name, "-o", str(heard_file), "--timeout", "30")
    player = _start(
        "--quiet", "replay", str(bundled("demo.npz")),
        "--spikes", str(rig.input.spikes.name),
        "--markers", str(rig.input.markers.name if rig.input.markers else None),
        "--wait", "30",
    )  # fmt: skip
    watcher = threading.Thread(
        target=_stop_after, args=(player, stop, lambda: done == n_trials), name="demo-watcher"
    )
    watcher.start()
    try:
        report = pipeline.run(stop, connect_timeout=30.0)
    finally:
        stop.set()
        time.sleep(0.5)  # the last message must reach the listener
        pipeline.close()  # before the replay ends, lest its inlets take that for a loss
        for process in (player, listener):
            _end(process)
        watcher.join()
    for what, process in (("replay", player), ("listener", listener)):
        if process.returncode != 0:
            said = process.stderr.read().decode() if process.stderr else ""
            raise BciLfadsError(f"the {what} failed with exit code {process.returncode}: {said}")
    return _result(
        rig, model, recording, batch, offline, report, load_heard(heard_file),
        time.monotonic() - began,
    )  # fmt: skip


def _start(*arguments: str) -> subprocess.Popen[bytes]:
    return start(
        *arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def _stop_after(
    player: subprocess.Popen[bytes], stop: threading.Event, complete: Callable[[], bool]
) -> None:
    """Stop the loop when all trials are published or the replay has ended."""
    while player.poll() is None and not complete() and not stop.is_set():
        time.sleep(0.1)
    time.sleep(0.2)
    stop.set()


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(5.0)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.wait()


def _result(
    rig: Rig,
    model: Model,
    recording: Recording,
    batch: WindowBatch,
    offline: NDArray[np.float32],
    run: RunReport,
    heard: Heard,
    seconds: float,
) -> DemoResult:
    streamed = heard.trials()
    number = {int(trial): row for row, trial in enumerate(batch.trials)}
    identical = sum(
        trial in number and np.array_equal(factors, offline[number[trial]])
        for trial, factors in streamed.items()
    )
    known = [trial for trial in streamed if trial in number]
    if len(known) < 4:
        raise BciLfadsError(
            f"only {len(known)} of {len(batch.counts)} trials were received; the last status was "
            f"{heard.status[-1] if heard.status else 'none'}"
        )
    rows = np.array([number[trial] for trial in known])
    latents = _at_centres(recording, batch)[rows]
    recovered = _read_out(np.stack([streamed[trial] for trial in known]), latents)
    rest = ((latents - recovered) ** 2).sum(axis=(0, 1))
    r2 = 1 - rest / ((latents - latents.mean(axis=(0, 1))) ** 2).sum(axis=(0, 1))
    received = heard.received_at()
    ends = heard.stamps.reshape(-1)  # of the bins' centres
    last_bin = {int(n): float(ends[heard.factors[:, -2] == n].max()) for n in received}
    pushed = np.array([received[t] for t in known])
    window_end = np.array([last_bin[t] for t in known]) + 0.5 * model.bin_width
    last_spike = {round(at, 6): row[0] for at, row in zip(
        heard.latency_stamps, heard.latency, strict=True)}  # fmt: skip
    spike = np.array([last_spike.get(round(end, 6), np.nan) for end in window_end])
    return DemoResult(
        rig, model, recording, batch, offline, streamed, identical, latents, recovered, r2, run,
        heard, pushed - window_end, (pushed - spike)[np.isfinite(spike)], seconds,
    )  # fmt: skip


def _at_centres(recording: Recording, batch: WindowBatch) -> NDArray[np.float64]:
    """Return the known latents at the centres of all bins, ``(n_trials, n_bins, n_latents)``."""
    true = recording.series["latents"]
    n_bins = batch.counts.shape[1]
    times = batch.starts[:, None] + batch.bin_width * (np.arange(n_bins) + 0.5)
    # The nearest sample, not one between two: the next trial begins somewhere else.
    nearest = np.searchsorted(0.5 * (true.times[1:] + true.times[:-1]), times)
    return true.values[nearest].astype(np.float64)


def _read_out(factors: NDArray[np.float32], latents: NDArray[np.float64]) -> NDArray[np.float64]:
    """Read latents out of factors by a linear map, fitted on the other half of the trials."""
    x = np.concatenate([factors, np.ones((*factors.shape[:2], 1), np.float32)], axis=-1)
    x = x.astype(np.float64)
    out = np.empty_like(latents)
    for half in (0, 1):
        fit, test = slice(1 - half, None, 2), slice(half, None, 2)
        flat = x[fit].reshape(-1, x.shape[-1])
        weights = np.linalg.lstsq(flat, latents[fit].reshape(len(flat), -1), rcond=None)[0]
        out[test] = x[test] @ weights
    return out
