"""The newest rows, in fixed memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Ring:
    """The newest rows with a time each; when full, the oldest are overwritten.

    Not locked: whoever shares one between threads holds a lock (see `store.Store`).

    Parameters
    ----------
    capacity
        Rows kept.
    width
        Values a row.
    dtype
        Of the values.
    """

    def __init__(self, capacity: int, width: int, dtype: Any = np.float32) -> None:
        if capacity < 1:
            raise ValueError(f"a ring of {capacity} rows holds nothing; give at least 1")
        self._times = np.empty(capacity)
        self._rows = np.empty((capacity, width), dtype)
        self.total = 0
        """Rows that ever came."""

    @property
    def capacity(self) -> int:
        """Rows that are kept."""
        return len(self._times)

    @property
    def width(self) -> int:
        """Values a row."""
        return int(self._rows.shape[1])

    def __len__(self) -> int:
        return min(self.total, self.capacity)

    def extend(self, times: ArrayLike, rows: ArrayLike) -> None:
        """Keep rows.

        Parameters
        ----------
        times
            Seconds, shape ``(n,)``.
        rows
            Shape ``(n, width)``.
        """
        new, values = np.asarray(times, np.float64), np.asarray(rows)
        skipped = max(0, len(new) - self.capacity)
        new, values = new[skipped:], values[skipped:]
        at = (self.total + skipped + np.arange(len(new))) % self.capacity
        self._times[at] = new
        self._rows[at] = values.reshape(len(new), self.width)
        self.total += skipped + len(new)

    def newest(self, most: int | None = None) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """Return copies of the newest times and rows, oldest first.

        Parameters
        ----------
        most
            How many at most; default: all that are kept.
        """
        n = len(self) if most is None else min(most, len(self))
        at = np.arange(self.total - n, self.total) % self.capacity
        return self._times[at], self._rows[at]

    def since(self, time: float) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """Return copies of the times and rows that are not before `time`, in order of arrival."""
        times, rows = self.newest()
        kept = times >= time
        return times[kept], rows[kept]

    def clear(self) -> None:
        """Forget everything."""
        self.total = 0
