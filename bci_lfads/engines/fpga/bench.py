"""Where the time of a window on a card goes: the part of the latency budget that a card decides.

The other parts (LSL in and out, binning, threads) are the same with every engine and measured by
``make latency``; docs/fpga.md puts both together.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bci_lfads.engines.base import Engine, Latents, allocate
from bci_lfads.engines.fpga.engine import FpgaEngine
from bci_lfads.engines.fpga.loaded import LoadedModel
from bci_lfads.engines.fpga.protocol import Command
from bci_lfads.engines.fpga.served import ServedModel
from bci_lfads.engines.native import FixedPointModel, NativeEngine


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes
    ----------
    what
        A step, or several.
    median, p99
        Microseconds.
    """

    what: str
    median: float
    p99: float


def measure(
    engine: FpgaEngine,
    model: FixedPointModel,
    counts: NDArray[np.uint8],
    *,
    on_window: Callable[[int], None] | None = None,
) -> list[Row]:
    """Time the steps of windows on a card, side by side with this CPU, window by window.

    Parameters
    ----------
    engine
        On a card, with the model and a `hop` of 1.
    model
        The model.
    counts
        Windows, uint8, shape ``(n_windows, n_bins, n_units)``; the first tenth warms up.
    on_window
        Called with the windows done.
    """
    loaded = engine.loaded
    out = allocate(engine.info)
    factors = Latents(out.factors, None)
    times: dict[str, list[float]] = {}
    with NativeEngine(model) as native, NativeEngine(model, hop=1) as moving:
        whole: list[tuple[str, Engine, Latents]] = [
            ("a window: factors and log-rates", engine, out),
            ("a window: factors alone", engine, factors),
            ("the native engine on this CPU: factors and log-rates", native, out),
        ]
        hops: list[tuple[str, Engine]] = []
        if isinstance(loaded, ServedModel):
            hops = [
                ("a new bin of a sliding window: factors alone", engine),
                ("the native engine on this CPU: a new bin", moving),
            ]
        for number, window in enumerate(counts):
            steps = _steps(loaded, window)
            for what, which, latents in whole:
                steps[what] = _seconds(which, window, latents)
            for what, which in hops:
                which.infer(window, factors)
                steps[what] = _seconds(which, np.concatenate((window[1:], window[:1])), factors)
            if 10 * number >= len(counts):
                for what, seconds in steps.items():
                    times.setdefault(what, []).append(seconds)
            if on_window is not None:
                on_window(number + 1)
    rows = []
    for what, values in times.items():
        median, p99 = np.percentile(1e6 * np.array(values), (50, 99))
        rows.append(Row(what, float(median), float(p99)))
    return rows


def _seconds(engine: Engine, window: NDArray[np.uint8], out: Latents) -> float:
    began = time.perf_counter()
    engine.infer(window, out)
    return time.perf_counter() - began


def _steps(loaded: LoadedModel | ServedModel, window: NDArray[np.uint8]) -> dict[str, float]:
    """Return the seconds of each step of a window with log-rates."""
    if isinstance(loaded, ServedModel):
        return _steps_served(loaded, window)
    single = loaded.single
    lane = single.lane
    marks = [time.perf_counter()]

    def mark() -> None:
        marks.append(time.perf_counter())

    np.copyto(single.counts[0], window)
    mark()
    lane.send(single.bytes_a_window)
    mark()
    lane.launch(Command.RUN, 1)
    mark()
    lane.wait()
    mark()
    lane.fetch(single.factors_a_window, single.rates_a_window)
    lane.check()
    mark()
    lane.launch(Command.INFO, 0)
    lane.wait()
    mark()
    copy, send, launch, wait, fetch, empty = np.diff(marks).tolist()
    return {
        "counts into the mapped buffer": copy,
        "counts to the card (sync)": send,
        "start of the run": launch,
        "waiting for the kernel": wait,
        "results back from the card (sync)": fetch,
        "an empty call: start and wait": empty,
    }


def _steps_served(loaded: ServedModel, window: NDArray[np.uint8]) -> dict[str, float]:
    began = time.perf_counter()
    loaded.post(window, True, whole=True)
    posted = time.perf_counter()
    loaded.wait()
    answered = time.perf_counter()
    loaded.take(True)
    taken = time.perf_counter()
    return {
        "counts into the mailbox": posted - began,
        "waiting for the kernel's reply": answered - posted,
        "results out of the mailbox": taken - answered,
    }
