"""What a window is, and what all ways of cutting windows have in common."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bci_lfads.binning import BinGrid, SpikeTally, new_tally


@dataclass(slots=True)
class Window:
    """Counts of one trial or of one position of the sliding window.

    A window belongs to the `Windows` that gave it and is valid until the next one is taken from
    the iterator or any other method is called; `copy` keeps it.

    Attributes
    ----------
    counts
        uint8, shape ``(n_bins, n_units)``, C-contiguous.
    grid, first
        The window's bins are the bins from `first` on of this grid.
    trial
        Number of the start marker, from 0; -1 for a sliding window.
    label
        Label of the marker that aligned the trial.
    start_label
        Label of the marker that started it.
    zero
        Stamp of the marker that aligned the trial; NaN for a sliding window.
    last_spike
        Stamp of the newest spike in the window; NaN where there is none.
    closed_at
        The watermark that closed it.
    truncated
        Whether some of it may be missing: it began before the spikes did, a gap touches it, the
        history had been overwritten, or the stream ended before its end.
    """

    counts: NDArray[np.uint8]
    grid: BinGrid
    first: int = 0
    trial: int = -1
    label: str = ""
    start_label: str = ""
    zero: float = math.nan
    last_spike: float = math.nan
    closed_at: float = math.nan
    truncated: bool = False

    @property
    def n_bins(self) -> int:
        """Number of bins."""
        return len(self.counts)

    @property
    def width(self) -> float:
        """Bin width, seconds."""
        return self.grid.width

    @property
    def start(self) -> float:
        """Left edge of the first bin, seconds."""
        return self.grid.edge(self.first)

    @property
    def stop(self) -> float:
        """Right edge of the last bin, seconds."""
        return self.grid.edge(self.first + self.n_bins)

    def edges(self) -> NDArray[np.float64]:
        """Return the ``n_bins + 1`` edges, seconds."""
        return self.grid.edges(self.first, self.n_bins)

    def copy(self) -> Window:
        """Return a window that stays as it is."""
        return replace(self, counts=self.counts.copy())


@dataclass
class WindowTally:
    """What became of trials, windows and markers.

    Trials: ``started = emitted + aborted + unaligned + dropped`` and those still open.
    """

    started: int = 0
    """Start markers."""
    emitted: int = 0
    """Windows given."""
    truncated: int = 0
    """Of those emitted, flagged as truncated."""
    aborted: int = 0
    """Trials cancelled by an abort marker."""
    unaligned: int = 0
    """Trials whose align marker had not come when the next one started, or at the end."""
    dropped: int = 0
    """Trials given up: too many open at once, or none of their window was covered by the source."""
    stray: int = 0
    """Align and abort markers that no open trial was waiting for."""
    duplicates: int = 0
    """Markers that repeated an earlier one's stamp and label."""
    late_markers: int = 0
    """Markers stamped before the watermark: still served, from the history."""
    refused_markers: int = 0
    """Markers with a stamp that is no time, or for which there was no room."""
    skipped: int = 0
    """Positions of the sliding window left out after a jump of the watermark."""


class Coverage:
    """When the source of spikes was there: from a beginning on, but for a few gaps."""

    _MOST = 16

    def __init__(self) -> None:
        self.begin: float | None = None
        self._gaps: deque[tuple[float, float]] = deque()

    def mark_gap(self, start: float, stop: float) -> None:
        """Note that spikes in ``[start, stop)`` were not received."""
        if not start < stop:
            return
        if len(self._gaps) == self._MOST:  # what is that old is asked for by no one
            self._gaps.popleft()
        self._gaps.append((float(start), float(stop)))

    def lacks_some(self, start: float, stop: float) -> bool:
        """Return whether any of ``[start, stop)`` was not received."""
        return (
            self.begin is None
            or start < self.begin
            or any(start < b and stop > a for a, b in self._gaps)
        )

    def lacks_all(self, start: float, stop: float) -> bool:
        """Return whether nothing of ``[start, stop)`` was received."""
        return (
            self.begin is None
            or stop <= self.begin
            or any(a <= start and stop <= b for a, b in self._gaps)
        )


class Windows(ABC):
    """Spikes and markers in, windows out. One thread at a time.

    Parameters
    ----------
    n_units, n_bins
        Shape of a window.
    bin_width
        Seconds.

    Raises
    ------
    ValueError
        Where a number is out of its range.
    """

    def __init__(self, n_units: int, n_bins: int, bin_width: float) -> None:
        if n_units < 1 or n_bins < 1:
            raise ValueError(f"a window of {n_bins} bins and {n_units} units has no counts")
        self.n_units, self.n_bins = n_units, n_bins
        self.grid = BinGrid(0.0, bin_width)
        self.watermark = -math.inf
        self.counters = WindowTally()
        self._coverage = Coverage()
        self._tally = new_tally()
        self._ones = np.ones(4096, np.int32)

    @property
    def tally(self) -> SpikeTally:
        """What became of the spikes so far."""
        return SpikeTally.of(self._tally)

    def count_on(self, old: Windows) -> None:
        """Go on with the counters of windows that this one replaces, and their trials' numbers."""
        self.counters, self._tally = old.counters, old._tally

    @property
    @abstractmethod
    def max_step(self) -> float:
        """By how many seconds the watermark may move at once without leaving windows out."""

    @property
    @abstractmethod
    def next_end(self) -> float:
        """The watermark at which a window falls due, as far as that is known; else infinity."""

    @property
    def begun(self) -> bool:
        """Whether it is known from when on spikes are received."""
        return self._coverage.begin is not None

    @property
    @abstractmethod
    def position(self) -> int:
        """A number that changes when the watermark closes a bin or window, or applies a marker.

        Between two changes it makes no difference to the windows when exactly spikes came.
        """

    @property
    def waiting(self) -> int:
        """Entries stamped so far ahead that they wait for their bins and are not counted yet."""
        return 0

    def begin(self, time: float) -> None:
        """Say from when on the source's spikes are received; the first call counts.

        Without it, that is the earliest stamp of the first chunk of spikes, or the first
        watermark if that comes first.
        """
        if self._coverage.begin is None and abs(time) <= self.grid.reach:
            self._coverage.begin = float(time)

    def mark_gap(self, start: float, stop: float) -> None:
        """Note that spikes between these moments were not received; flags windows there."""
        self._coverage.mark_gap(start, stop)

    def push_spikes(
        self, times: ArrayLike, units: ArrayLike, counts: ArrayLike | None = None
    ) -> None:
        """Take spikes in: any number, in any order.

        Parameters
        ----------
        times
            Seconds, float64, shape ``(n,)``; NaN and infinity are counted as invalid.
        units
            Index of the model's unit, int32, shape ``(n,)``; anything else, such as -1, is
            counted as unknown.
        counts
            How many spikes each entry stands for, int32, shape ``(n,)``; default 1.

        Raises
        ------
        ValueError
            Where the three differ in length.
        """
        t = np.ascontiguousarray(times, np.float64)
        u = np.ascontiguousarray(units, np.int32)
        if counts is None:
            if len(t) > len(self._ones):
                self._ones = np.ones(len(t), np.int32)
            c = self._ones[: len(t)]
        else:
            c = np.ascontiguousarray(counts, np.int32)
        if t.ndim != 1 or u.shape != t.shape or c.shape != t.shape:
            raise ValueError(
                f"spikes come as equally many times, units and counts; got shapes {t.shape}, "
                f"{u.shape} and {c.shape}"
            )
        if self._coverage.begin is None:
            earliest = float(np.min(t, where=np.isfinite(t), initial=math.inf))
            self.begin(earliest)
        self._take(t, u, c)

    @abstractmethod
    def push_markers(self, times: ArrayLike, labels: Iterable[str]) -> None:
        """Take markers in: stamps in seconds, and a label each."""

    def close(self, watermark: float) -> Iterator[Window]:
        """Move the watermark on and give the windows whose end it has reached.

        Parameters
        ----------
        watermark
            The moment before which nothing more is expected, seconds. It never goes back: an
            earlier one, or one that is no time, changes nothing.

        Returns
        -------
        An iterator; windows not taken from it are given by the next call.
        """
        if self.watermark < watermark and abs(watermark) <= self.grid.reach:
            self.watermark = watermark = float(watermark)
            self.begin(watermark)
        return self._due()

    @abstractmethod
    def flush(self) -> Iterator[Window]:
        """Give what is left, when no more spikes will come."""

    @abstractmethod
    def snap_to(self, phase: float, source_width: float) -> None:
        """Put window edges on edges of a source's own bins (counts at a regular rate).

        Parameters
        ----------
        phase
            Any edge of the source's bins, seconds.
        source_width
            Width of the source's bins, seconds.
        """

    @abstractmethod
    def _take(
        self, times: NDArray[np.float64], units: NDArray[np.int32], counts: NDArray[np.int32]
    ) -> None: ...

    @abstractmethod
    def _due(self) -> Iterator[Window]: ...
