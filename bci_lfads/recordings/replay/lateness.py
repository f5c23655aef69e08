"""How late items were pushed, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_FLOOR, _PER_DECADE, _DECADES = 1e-6, 100, 8


@dataclass(frozen=True)
class Lateness:
    """Seconds from an item's due time to the return of the call that pushed it.

    Median and 99th percentile are right to 2.4 %, and never too small by more than 1 µs.
    """

    n: int
    median: float
    p99: float
    max: float


class LatenessRecord:
    """Logarithmic histogram from 1 µs to 100 s."""

    def __init__(self) -> None:
        self._bins = np.zeros(_PER_DECADE * _DECADES + 1, np.int64)
        self._max = 0.0

    def add(self, late: NDArray[np.float64]) -> None:
        """Take the lateness of some items in, seconds."""
        decades = np.log10(np.maximum(late, _FLOOR) / _FLOOR)
        index = np.minimum(np.ceil(decades * _PER_DECADE).astype(np.int64), len(self._bins) - 1)
        np.add.at(self._bins, index, 1)
        self._max = max(self._max, float(late.max()))

    def summary(self) -> Lateness | None:
        """Return what was seen, or None before the first item."""
        n = int(self._bins.sum())
        if not n:
            return None
        return Lateness(n, self._quantile(0.5), self._quantile(0.99), self._max)

    def _quantile(self, q: float) -> float:
        below = np.cumsum(self._bins)
        index = int(np.searchsorted(below, q * below[-1]))
        return float(min(_FLOOR * 10.0 ** (index / _PER_DECADE), self._max))
