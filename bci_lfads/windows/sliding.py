"""A window that ends at the newest closed bin."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bci_lfads import _binning
from bci_lfads.binning import BinGrid
from bci_lfads.memory import held
from bci_lfads.windows.base import Window, Windows

_WAITING = 1 << 16
"""Spikes beyond the horizon that may wait for the bins to come nearer."""

_Buffer = tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.int32]]


class SlidingWindows(Windows):
    """The last `n_bins` bins of one grid, given again each `hop` bins.

    The right edge of every window is a whole multiple of `hop` bins from the grid's origin, so
    that two runs over the same stamps cut the same windows wherever they begin. The first one is
    given when `n_bins` whole bins have passed since the beginning. Each bin is written once, to
    a ring in which any window lies in one piece: a hop copies nothing.

    Parameters
    ----------
    n_units, n_bins, bin_width
        Shape of a window and its bins' width in seconds.
    hop
        Bins from one window to the next.
    origin
        An edge of the grid, seconds; default 0, so that edges are whole multiples of the width.
    horizon
        Seconds ahead of the watermark for which the ring has bins. Spikes further ahead wait in
        a bounded buffer; where that is full they are counted as ahead.
    max_backlog
        Windows given at once after a jump of the watermark; older ones are skipped and counted.
    """

    def __init__(
        self,
        n_units: int,
        n_bins: int,
        bin_width: float,
        *,
        hop: int = 1,
        origin: float | None = None,
        horizon: float = 2.0,
        max_backlog: int = 1024,
    ) -> None:
        super().__init__(n_units, n_bins, bin_width)
        if hop < 1 or max_backlog < 1 or not 0 < horizon < math.inf:
            raise ValueError(
                f"hop and max_backlog are whole numbers from 1 on and horizon is a time above 0; "
                f"got {hop}, {max_backlog} and {horizon} s"
            )
        self.grid = BinGrid(0.0 if origin is None else origin, bin_width)
        self.hop = hop
        self._max_backlog = max_backlog
        self._ahead = max(hop, math.ceil(horizon / bin_width))
        self._n_rows = n_bins + hop + self._ahead
        self._rows = held((2 * self._n_rows, n_units), np.uint8)
        self._newest = np.full(2 * self._n_rows, -np.inf)
        self._stamps = np.full(2, -np.inf)
        self._buffers: list[_Buffer] = [
            (np.empty(_WAITING), np.empty(_WAITING, np.int32), np.empty(_WAITING, np.int32))
            for _ in range(2)
        ]
        self._n_waiting = 0
        self._first: int | None = None
        self._bin = 0  # the first bin that is still open
        self._oldest = 0  # the first bin that has a row
        self._limit = self._n_rows  # spikes of bins from here on wait
        self._window = Window(self._rows[:n_bins], self.grid)

    @property
    def max_step(self) -> float:
        """By how many seconds the watermark may move without skipping windows, with a margin."""
        return 0.5 * self._max_backlog * self.hop * self.grid.width

    @property
    def waiting(self) -> int:
        """Entries stamped beyond the horizon."""
        return self._n_waiting

    @property
    def position(self) -> int:
        """The first bin that is still open."""
        return self._bin

    @property
    def next_end(self) -> float:
        """The right edge of the next window; infinity before the beginning."""
        return math.inf if self._first is None else self.grid.edge(self._next_stop(self._first))

    def snap_to(self, phase: float, source_width: float) -> None:
        """Move the grid's origin to the nearest edge of source bins, before the first spike.

        Raises
        ------
        ValueError
            When bins have been counted on the old grid.
        """
        if self._first is not None:
            raise ValueError("the bins of a sliding window cannot be moved after it has begun")
        self.grid = self._window.grid = self.grid.snapped(phase, source_width)

    def begin(self, time: float) -> None:
        """Say from when on the source's spikes are received; the first whole bin follows."""
        super().begin(time)
        if self._first is None and self._coverage.begin is not None:
            first = self.grid.index(self._coverage.begin)
            first += self.grid.edge(first) < self._coverage.begin
            self._first = self._bin = self._oldest = first
            self._limit = first + self._n_rows

    def push_markers(self, times: ArrayLike, labels: Iterable[str]) -> None:
        """Ignore markers: a sliding window has no use for them."""

    def flush(self) -> Iterator[Window]:
        """Give the windows that are due; one that has not ended is never given."""
        yield from self._due()
        self._slide_waiting(room=0)

    def _take(
        self, times: NDArray[np.float64], units: NDArray[np.int32], counts: NDArray[np.int32]
    ) -> None:
        self._n_waiting = self._slide(times, units, counts, self._buffers[0], self._n_waiting)

    def _slide(
        self,
        times: NDArray[np.float64],
        units: NDArray[np.int32],
        counts: NDArray[np.int32],
        waiting: _Buffer,
        n_waiting: int,
    ) -> int:
        # Where nothing has begun, no stamp was a time: nothing of the chunk is put in a bin.
        first = self._bin if self._first is None else self._first
        return _binning.slide(
            times, units, counts, self.grid.origin, self.grid.width, first, self._bin,
            self._limit, self._rows, self._newest, *waiting, n_waiting, self._stamps, self._tally,
        )  # fmt: skip

    def _slide_waiting(self, room: int = _WAITING) -> None:
        """Put the spikes that wait in the bins that have rows by now; the others wait again."""
        self._limit = self._oldest + self._n_rows
        if self._n_waiting:
            n, (times, units, counts) = self._n_waiting, self._buffers[0]
            self._buffers.reverse()
            t, u, c = self._buffers[0]
            self._n_waiting = self._slide(
                times[:n], units[:n], counts[:n], (t[:room], u[:room], c[:room]), 0
            )

    def _due(self) -> Iterator[Window]:
        if self._first is None:
            return
        target = self.grid.index(self.watermark) if self.watermark > -math.inf else self._bin
        stop = self._next_stop(self._first)
        excess = (target - stop) // self.hop + 1 - self._max_backlog
        if excess > 0:
            self.counters.skipped += excess
            stop += excess * self.hop
            self._recycle(stop - self.n_bins)
            self._bin = max(self._bin, stop - self.n_bins)
        while stop <= target:
            self._advance(stop)
            self._recycle(stop - self.n_bins)
            yield self._cut(stop - self.n_bins)
            stop += self.hop
        self._advance(target)

    def _next_stop(self, first: int) -> int:
        """Return the bin at which the next window stops."""
        stop = max(first + self.n_bins, self._bin + 1)
        return stop + -stop % self.hop

    def _advance(self, to: int) -> None:
        """Close the bins before `to`, after the spikes that wait for them are in."""
        if to > self._limit:
            self._slide_waiting()
        self._bin = max(self._bin, to)

    def _recycle(self, oldest: int) -> None:
        """Forget the bins before `oldest`; their rows become bins of the future."""
        n = min(oldest - self._oldest, self._n_rows)
        begin = self._oldest % self._n_rows
        for a, b in ((begin, min(begin + n, self._n_rows)), (0, begin + n - self._n_rows)):
            if a < b:
                for base in (0, self._n_rows):
                    self._rows[base + a : base + b] = 0
                    self._newest[base + a : base + b] = -np.inf
        self._oldest = oldest
        if not self._n_waiting:
            self._limit = oldest + self._n_rows

    def _cut(self, first: int) -> Window:
        row = first % self._n_rows
        window = self._window
        window.counts = self._rows[row : row + self.n_bins]
        newest = float(self._newest[row : row + self.n_bins].max())
        window.last_spike = newest if newest > -math.inf else math.nan
        window.first = first
        window.closed_at = self.watermark
        window.truncated = self._coverage.lacks_some(window.start, window.stop)
        self.counters.emitted += 1
        self.counters.truncated += window.truncated
        return window
