"""A run's input, put through the same windows again in the steps that its journal tells."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from bci_lfads.journal import Event
from bci_lfads.models.model import Model
from bci_lfads.parts import lookback, make_windows
from bci_lfads.rig import TrialSettings
from bci_lfads.streams.markers import label
from bci_lfads.verification.align import at_a_loss, at_the_end
from bci_lfads.verification.inputs import COLUMN, NEVER, Input, RunInput
from bci_lfads.windows import Window, Windows

MOMENT = 2.0
"""Seconds by which the recorded streams may differ in their ends where nobody ended them."""


class Rerun:
    """The same windows again.

    Parameters
    ----------
    source
        What came in.
    model
        The run's.
    """

    def __init__(self, source: RunInput, model: Model) -> None:
        self._source, self._rig, self._model = source, source.about.rig, model
        spikes, markers = source.spikes, source.markers
        self.lost = spikes.places.lost + markers.places.lost
        """Of each row: samples that the recording lacks."""
        self.markers_lost = np.cumsum(markers.places.lost)
        """Of each row: markers by then that the recording lacks. From the first on trials may have
        other numbers here than in the run, for which a start marker is one more."""
        both = (spikes, markers)
        self.at_loss = _of_all(both, lambda i: at_a_loss(i.places, i.firsts))
        """Of each row: whether that is around a loss of their source. LSL gives up what waits for
        a consumer when a source dies, and loop and recorder find it again each in its own time."""
        self.at_end = _of_all(both, lambda i: at_the_end(i.places))
        """Of each row: whether that is at the end of a run that ended, or whose recording ended,
        without a word: of each stream that lacks another last moment."""
        said = source.journal_stamps
        self.at_end &= (not source.stopped) & (said >= said.max(initial=0.0) - MOMENT)
        self.row = -1
        """Of the journal, that was done last."""
        self._anew = np.flatnonzero(source.rows[:, COLUMN["event"]] == Event.ANEW)
        self.windows = self._new_windows()

    def __iter__(self) -> Iterator[Window]:
        """Yield the windows, each valid until the next one."""
        spikes, markers = self._source.spikes.places, self._source.markers.places
        for row in range(len(self._source.rows)):
            self.row = row
            self._push_spikes(int(spikes.start[row]), int(spikes.stop[row]))
            self._push_markers(int(markers.start[row]), int(markers.stop[row]))
            event, a, b = (self._source.rows[row, COLUMN[c]] for c in ("event", "a", "b"))
            yield from self._do(Event(int(event)), float(a), float(b))

    @property
    def era(self) -> tuple[int, int]:
        """After which row the stream clock began anew, and until which it went on.

        Of a clock that never did, samples that were not taken belong to it too.
        """
        anew = self._anew
        place = int(np.searchsorted(anew, self.row))  # at that row windows of before are given
        first = int(anew[place - 1]) if place else -1
        last = int(anew[place]) if place < len(anew) else NEVER - bool(len(anew))
        return first, last

    def _do(self, event: Event, a: float, b: float) -> Iterator[Window]:
        windows = self.windows
        if event is Event.CLOSE:
            yield from windows.close(a)
        elif event is Event.BEGIN:
            windows.begin(a)
        elif event is Event.SNAP:
            windows.snap_to(a, b)
        elif event is Event.GAP:
            windows.mark_gap(a, b)
        elif event in (Event.ANEW, Event.FLUSH):
            yield from windows.flush()
            if event is Event.ANEW:
                self.windows = self._new_windows()
                self.windows.count_on(windows)

    def _push_spikes(self, start: int, stop: int) -> None:
        for k, inside, stamps in self._source.spikes.pieces(start, stop):
            decoder = self._source.decoders[k]
            if decoder is not None:
                chunk = decoder.decode(self._source.spikes.streams[k].values[inside], stamps)
                if len(chunk.times):
                    self.windows.push_spikes(*chunk)

    def _push_markers(self, start: int, stop: int) -> None:
        for k, inside, stamps in self._source.markers.pieces(start, stop):
            values = self._source.markers.streams[k].values[inside]
            self.windows.push_markers(stamps, [label(row[0]) for row in values])

    def _new_windows(self) -> Windows:
        window, capacity = self._rig.window, 1
        if isinstance(window, TrialSettings):
            most = self._rig.input.spikes.max_rate
            capacity = math.ceil(most * lookback(window, self._model))
        return make_windows(window, self._model, capacity, self._rig.binning.hold_off)


def _of_all(
    inputs: tuple[Input, ...], why: Callable[[Input], NDArray[np.bool_]]
) -> NDArray[np.bool_]:
    """Return, of each row, whether the reason holds for all samples that are lacking."""
    holds = [np.where(i.places.lost > 0, why(i), True) for i in inputs]
    result: NDArray[np.bool_] = np.logical_and.reduce(holds)
    return result
