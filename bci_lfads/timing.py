"""Latencies kept in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bci_lfads.memory import held


@dataclass(frozen=True)
class Percentiles:
    """Order statistics in seconds; NaN where nothing was measured."""

    n: int
    median: float
    p99: float
    maximum: float

    def milliseconds(self) -> dict[str, float | int | None]:
        """Return them in milliseconds, ready for JSON (None for what was not measured)."""
        if not self.n:
            return {"n": 0, "median": None, "p99": None, "max": None}
        return {
            "n": self.n,
            "median": round(1e3 * self.median, 4),
            "p99": round(1e3 * self.p99, 4),
            "max": round(1e3 * self.maximum, 4),
        }


class LatencyWindow:
    """The newest latencies, up to a fixed number, and the largest of all.

    Parameters
    ----------
    capacity
        How many are kept for the percentiles.
    """

    def __init__(self, capacity: int = 4096) -> None:
        self._values = held(capacity)
        self.n = 0
        self._largest = -np.inf

    def add(self, seconds: float) -> None:
        """Keep one latency; NaN is not kept."""
        if np.isnan(seconds):
            return
        self._values[self.n % len(self._values)] = seconds
        self.n += 1
        self._largest = max(self._largest, seconds)

    def percentiles(self) -> Percentiles:
        """Return the percentiles of those kept, and the number and largest of all."""
        if not self.n:
            return Percentiles(0, np.nan, np.nan, np.nan)
        kept = np.sort(self._values[: min(self.n, len(self._values))])
        return Percentiles(self.n, _between(kept, 0.50), _between(kept, 0.99), float(self._largest))


def _between(ascending: NDArray[np.float64], share: float) -> float:
    """Return a quantile as `numpy.quantile` does, which takes the loop longer, and ms at first."""
    position = share * (len(ascending) - 1)
    below = int(position)
    low, high = ascending[below], ascending[min(below + 1, len(ascending) - 1)]
    return float(low + (position - below) * (high - low))
