"""When items were pushed, and how late: the former in full, the latter in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_FLOOR, _PER_DECADE, _DECADES = 1e-6, 100, 8
_WITHIN_1MS = 3 * _PER_DECADE  # the last bin of the histogram up to 1 ms


@dataclass(frozen=True)
class Lateness:
    """Seconds from an item's due time to the return of the call that pushed it.

    Median and 99th percentile are right to 2.4 %, and never too small by more than 1 µs.
    """

    n: int
    median: float
    p99: float
    max: float
    within_1ms: float
    """Share of all that were at most 1 ms late."""


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
        within = float(self._bins[: _WITHIN_1MS + 1].sum()) / n
        return Lateness(n, self._quantile(0.5), self._quantile(0.99), self._max, within)

    def _quantile(self, q: float) -> float:
        below = np.cumsum(self._bins)
        index = int(np.searchsorted(below, q * below[-1]))
        return float(min(_FLOOR * 10.0 ** (index / _PER_DECADE), self._max))


class PushLog:
    """The moment at which each item was pushed, by its stamp; it grows as long as the replay runs.

    Call it as `Replayer`'s ``on_push``.
    """

    def __init__(self) -> None:
        self._stamps: list[NDArray[np.float64]] = []
        self._pushed: list[NDArray[np.float64]] = []

    def __call__(self, stamps: NDArray[np.float64], pushed: float) -> None:
        """Take in items that were pushed with one call, and when that call began."""
        self._stamps.append(stamps)
        self._pushed.append(np.full(len(stamps), pushed))

    def save(self, path: Path) -> None:
        """Write ``stamps`` and ``pushed`` (LSL clock, seconds, ``(n_items,)``) to an ``.npz``."""
        empty = np.empty(0)
        with path.open("wb") as file:
            np.savez(
                file,
                stamps=np.concatenate([empty, *self._stamps]),
                pushed=np.concatenate([empty, *self._pushed]),
            )
