"""Where the time goes: from the Latency stream's moments to a histogram and its parts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

COLUMNS = ("last_spike", "window_closed", "submitted", "done", "pushed", "received")
"""Of the rows: those of the Latency stream, and when this window received the sample."""
PARTS = ("hold-off", "LSL in, binning", "queue", "engine", "publish")


@dataclass(frozen=True)
class LatencySummary:
    """Latencies of the newest windows, in seconds.

    Attributes
    ----------
    n
        Windows.
    total
        Each window's latency: end of the window to factors pushed (or from its closing, where
        stamps are on the clock of the spike stream).
    parts
        Median of each of `PARTS`; NaN where it cannot be told.
    median, p99, maximum
        Of the total.
    misses
        Windows of these above the deadline.
    received
        Median from pushed to received here, which is LSL's way out.
    """

    n: int
    total: NDArray[np.float64]
    parts: dict[str, float]
    median: float
    p99: float
    maximum: float
    misses: int
    received: float


def summarise(
    ends: NDArray[np.float64],
    rows: NDArray[np.float64],
    *,
    deadline: float,
    hold_off: float,
    lsl_time: bool = True,
) -> LatencySummary:
    """Summarise windows.

    Parameters
    ----------
    ends
        Stamps of the Latency stream: the windows' ends, shape ``(n,)``.
    rows
        Columns as `COLUMNS`, shape ``(n, 6)``.
    deadline, hold_off
        Of the rig, seconds.
    lsl_time
        Whether `ends` are moments of the LSL clock; otherwise they say nothing about latency.
    """
    closed, submitted, done, pushed, received = rows.T[1:]
    waited = closed - ends
    total = pushed - (ends if lsl_time else closed)
    unknown = np.full(len(ends), np.nan)
    each = (
        np.minimum(waited, hold_off) if lsl_time else unknown,
        np.maximum(waited - hold_off, 0.0) if lsl_time else unknown,
        submitted - closed,
        done - submitted,
        pushed - done,
    )
    parts = {name: _median(values) for name, values in zip(PARTS, each, strict=True)}
    if not len(total):
        return LatencySummary(0, total, parts, np.nan, np.nan, np.nan, 0, np.nan)
    median, p99 = np.percentile(total, (50, 99))
    return LatencySummary(
        len(total), total, parts, float(median), float(p99), float(total.max()),
        int(np.count_nonzero(total > deadline)), _median(received - pushed),
    )  # fmt: skip


def histogram(
    total: NDArray[np.float64], deadline: float, n_bins: int = 60
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return edges, seconds, and counts; what is beyond the last edge is in the last bin.

    The edges reach a quarter beyond the deadline or the 99.5th percentile, whichever is more, but
    never beyond four deadlines.
    """
    top = 1.25 * max(deadline, float(np.percentile(total, 99.5)) if len(total) else 0.0)
    edges = np.linspace(0.0, min(top, 4 * deadline), n_bins + 1)
    counts = np.histogram(np.clip(total, 0.0, edges[-1]), edges)[0].astype(np.int64)
    return edges, counts


def _median(values: NDArray[np.float64]) -> float:
    return float(np.median(values)) if len(values) else np.nan
