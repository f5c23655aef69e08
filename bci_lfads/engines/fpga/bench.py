"""Where the time of a window on a card goes: the part of the latency budget that a card decides.

The other parts (LSL in and out, binning, threads) are the same with every engine and measured by
``make latency``; docs/fpga.md puts both together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bci_lfads.engines.base import allocate
from bci_lfads.engines.fpga.engine import FpgaEngine
from bci_lfads.engines.fpga.protocol import Command
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
        On a card, with the model.
    model
        The model.
    counts
        Windows, uint8, shape ``(n_windows, n_bins, n_units)``; the first tenth warms up.
    on_window
        Called with the windows done.
    """
    out = allocate(engine.info)
    times: dict[str, list[float]] = {}
    clock_hz: list[float] = []
    n_warm = len(counts) // 10
    with NativeEngine(model) as native:
        for number, window in enumerate(counts):
            for what, seconds in _window(engine, native, window, out):
                if number >= n_warm:
                    times.setdefault(what, []).append(seconds)
            if on_window is not None:
                on_window(number + 1)
    del clock_hz
    rows = []
    for what, values in times.items():
        median, p99 = np.percentile(1e6 * np.array(values), (50, 99))
        rows.append(Row(what, float(median), float(p99)))
    return rows


def _window(
    engine: FpgaEngine, native: NativeEngine, window: NDArray[np.uint8], out: object
) -> Iterator[tuple[str, float]]:
    yield from ()
