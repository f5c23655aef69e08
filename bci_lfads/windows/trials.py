"""Windows of a fixed length, aligned to markers."""

from __future__ import annotations

import bisect
import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bci_lfads import _binning
from bci_lfads.binning import SATURATED, BinGrid, EventRing, new_tally
from bci_lfads.windows.base import Window, Windows

_MOST_MARKERS = 4096
"""Markers that may wait for the watermark."""
_REMEMBERED = 64
"""Markers among which a repeated one is recognised."""
_PLAUSIBLE = 10.0
"""Seconds ahead of the watermark; a stamp further than that does not speak for the stream."""

# Roles in the order in which markers of the same stamp are taken.
_ABORT, _START, _ALIGN = range(3)


@dataclass(slots=True)
class _Trial:
    number: int
    started: float
    label: str


@dataclass(slots=True)
class _Open:
    """An aligned trial: its slot is filled as spikes come."""

    trial: _Trial
    window: Window
    tally: NDArray[np.int64]
    start: float
    stop: float
    newest: float


class TrialWindows(Windows):
    """Trials: each on its own grid, whose origin is its align marker's stamp plus an offset.

    Markers are taken in the order of their stamps, when the watermark has passed them, together
    with the closing of windows; so the outcome does not depend on how the streams were chunked.

    Parameters
    ----------
    n_units, n_bins, bin_width
        Shape of a window and its bins' width in seconds.
    start
        Shell-style pattern (case matters) of the marker that starts a trial.
    align
        Pattern of the marker that is time zero; default: the start marker. The first one after
        the start counts. A label that fits several patterns is an abort, else an align marker.
    offset
        Seconds from time zero to the window's first edge; negative is before.
    abort
        Pattern of the marker that cancels the newest trial that had started by then and whose
        window has not ended.
    max_pending
        Aligned trials that may be open at once; one more drops the oldest.
    lookback
        Seconds before the watermark for which overwriting the history counts as a loss; default:
        a window, its offset and one second for late markers.
    capacity
        Events in the history.
    """

    def __init__(
        self,
        n_units: int,
        n_bins: int,
        bin_width: float,
        *,
        start: str,
        align: str | None = None,
        offset: float = 0.0,
        abort: str | None = None,
        max_pending: int = 8,
        lookback: float | None = None,
        capacity: int = 1 << 18,
    ) -> None:
        super().__init__(n_units, n_bins, bin_width)
        if max_pending < 1:
            raise ValueError(f"max_pending is {max_pending}; at least one trial must fit")
        if not abs(offset) <= self.grid.reach / 4:
            raise ValueError(f"offset is {offset} s; it must be a time that the bins resolve")
        self._patterns = [(_ABORT, abort), (_ALIGN, align if align != start else None)]
        self._patterns.append((_START, start))
        self._aligns_itself = align is None or align == start
        self._offset = offset
        self._snap: tuple[float, float] | None = None
        self._lookback = (
            1.0 + n_bins * bin_width + max(0.0, -offset) if lookback is None else lookback
        )
        self._ring = EventRing(capacity, n_units)
        self._history_tally = new_tally()  # spikes seen again from the history count nowhere
        self._markers: list[tuple[float, int, int, str]] = []  # stamp, role, arrival, label
        self._arrivals = 0
        self._seen: deque[tuple[float, str]] = deque(maxlen=_REMEMBERED)
        self._steps = 0
        self._waiting: _Trial | None = None
        self._open: list[_Open] = []  # in the order of alignment
        self._free = deque(
            _Open(
                _Trial(-1, math.nan, ""),
                Window(np.zeros((n_bins, n_units), np.uint8), self.grid),
                new_tally(),
                math.nan,
                math.nan,
                -math.inf,
            )
            for _ in range(max_pending)
        )

    @property
    def max_step(self) -> float:
        """No bound: trials are never left out."""
        return math.inf

    @property
    def position(self) -> int:
        """Markers that were applied, and windows closed."""
        return self._steps

    @property
    def next_end(self) -> float:
        """The earliest end of an aligned trial; infinity where none is open."""
        return min((slot.stop for slot in self._open), default=math.inf)

    def snap_to(self, phase: float, source_width: float) -> None:
        """Move the origin of trials aligned from now on to the nearest edge of source bins."""
        BinGrid(phase, source_width)  # refuses what is no grid
        self._snap = (phase, source_width)

    def push_markers(self, times: ArrayLike, labels: Iterable[str]) -> None:
        """Take markers in, in any order; those that fit no pattern are ignored.

        Parameters
        ----------
        times
            Seconds, shape ``(n,)``.
        labels
            One each.
        """
        stamps = np.asarray(times, np.float64).tolist()
        for time, label in zip(stamps, labels, strict=True):
            role = self._role(label)
            if role is None:
                continue
            if not abs(time) <= self.grid.reach / 4:
                self.counters.refused_markers += 1
                continue
            if (time, label) in self._seen:
                self.counters.duplicates += 1
                continue
            self._seen.append((time, label))
            self.counters.late_markers += time < self.watermark
            self._arrivals += 1
            bisect.insort(self._markers, (time, role, self._arrivals, label))
            if len(self._markers) > _MOST_MARKERS:
                self._markers.pop()  # the one furthest in the future: most likely a wild stamp
                self.counters.refused_markers += 1

    def flush(self) -> Iterator[Window]:
        """Take all markers that wait and give all aligned trials, truncated where they are."""
        yield from self._due(math.inf)
        if self._waiting is not None:
            self._waiting = None
            self.counters.unaligned += 1

    def _role(self, label: str) -> int | None:
        for role, pattern in self._patterns:
            if pattern is not None and fnmatchcase(label, pattern):
                return role
        return None

    def _take(
        self, times: NDArray[np.float64], units: NDArray[np.int32], counts: NDArray[np.int32]
    ) -> None:
        self._ring.append(
            times,
            units,
            counts,
            self._tally,
            watermark=self.watermark,
            plausible=self.watermark + _PLAUSIBLE if self.watermark > -math.inf else math.inf,
            needed_from=self.watermark - self._lookback,
        )
        for slot in self._open:
            grid = slot.window.grid
            newest = _binning.accumulate(
                times, units, counts, grid.origin, grid.width, slot.window.counts, slot.tally
            )
            slot.newest = max(slot.newest, newest)

    def _due(self, until: float | None = None) -> Iterator[Window]:
        """Take markers and close windows in the order of their time, up to the watermark."""
        until = self.watermark if until is None else until
        while True:
            slot = min(self._open, key=lambda o: o.stop) if self._open else None
            marker = self._markers[0] if self._markers else None
            if marker is not None and not marker[0] < until:
                marker = None
            if slot is not None and slot.stop <= (until if marker is None else marker[0]):
                self._steps += 1
                window = self._closed(slot)
                if window is not None:
                    yield window
            elif marker is not None:
                self._steps += 1
                del self._markers[0]
                self._apply(*marker)
            else:
                return

    def _apply(self, time: float, role: int, _arrival: int, label: str) -> None:
        if role == _ABORT:
            self._abort(time)
        elif role == _ALIGN:
            if self._waiting is None or time < self._waiting.started:
                self.counters.stray += 1
            else:
                trial, self._waiting = self._waiting, None
                self._align(trial, time, label)
        else:
            trial = _Trial(self.counters.started, time, label)
            self.counters.started += 1
            if self._aligns_itself:
                self._align(trial, time, label)
                return
            if self._waiting is not None:
                self.counters.unaligned += 1
                if time < self._waiting.started:
                    return  # it came late: a newer trial has begun
            self._waiting = trial

    def _abort(self, time: float) -> None:
        if self._waiting is not None and self._waiting.started <= time:
            self._waiting = None
            self.counters.aborted += 1
            return
        slots = [o for o in self._open if o.trial.started <= time]
        if not slots:
            self.counters.stray += 1
            return
        self._release(max(slots, key=lambda o: (o.trial.started, o.trial.number)))
        self.counters.aborted += 1

    def _align(self, trial: _Trial, time: float, label: str) -> None:
        grid = BinGrid(time + self._offset, self.grid.width)
        if self._snap is not None:
            grid = grid.snapped(*self._snap)
        if not self._free:
            self._release(self._open[0])
            self.counters.dropped += 1
        slot = self._free.popleft()
        slot.trial, slot.start, slot.stop = trial, grid.origin, grid.edge(self.n_bins)
        slot.tally.fill(0)
        window = slot.window
        window.counts.fill(0)
        window.grid, window.zero = grid, time
        window.trial, window.label, window.start_label = trial.number, label, trial.label
        window.truncated = slot.start <= self._ring.overwritten_until
        slot.newest = self._ring.add_to(window.counts, grid, slot.tally)
        self._open.append(slot)

    def _closed(self, slot: _Open) -> Window | None:
        self._release(slot)
        covered_until = min(slot.stop, max(self.watermark, self._ring.newest))
        if slot.start >= covered_until or self._coverage.lacks_all(slot.start, covered_until):
            self.counters.dropped += 1
            return None
        window = slot.window
        window.truncated |= slot.stop > self.watermark
        window.truncated |= self._coverage.lacks_some(slot.start, slot.stop)
        window.last_spike = slot.newest if slot.newest > -math.inf else math.nan
        window.closed_at = self.watermark
        self._tally[SATURATED] += slot.tally[SATURATED]
        self.counters.emitted += 1
        self.counters.truncated += window.truncated
        return window

    def _release(self, slot: _Open) -> None:
        """Give a slot back; its content stays until all others have been used."""
        self._open = [o for o in self._open if o is not slot]
        self._free.append(slot)
