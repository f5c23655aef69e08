"""Inlets to windows: the thread that must never wait for anything behind it."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bci_lfads.journal import Event, Journal
from bci_lfads.slots import SlotQueue
from bci_lfads.streams.chunks import MarkerChunk, SpikeChunk
from bci_lfads.streams.decoders import SourceBins
from bci_lfads.timing import LatencyWindow
from bci_lfads.windows import Window, Windows

_PULLS = 64  # chunks taken in one look at most, so that a flood cannot starve the closing
_IDLE = 0.2  # seconds of silence after which markers too may move a stream clock on
_FIRST_MARKER = 1.0  # seconds for which spikes of a stream clock wait for the first marker


class Taken(Protocol):
    """What the journal needs of a connection; see `Connection`."""

    stamp: float
    added: float
    opened_at: float


class SpikeInput(Protocol):
    """What acquisition needs of a spike inlet; see `SpikeInlet`."""

    @property
    def connection(self) -> Taken:
        """What the newest samples were like before they were corrected."""

    last_stamp: float
    n_pulled: int
    source_bins: SourceBins | None

    @property
    def state(self) -> str:
        """``open`` while samples can come."""

    @property
    def opened_at(self) -> float:
        """LSL time from which on samples of this connection are received."""

    def pull(self) -> SpikeChunk:
        """Return what has arrived."""


class MarkerInput(Protocol):
    """What acquisition needs of a marker inlet."""

    @property
    def connection(self) -> Taken:
        """As of spikes."""

    def pull(self) -> MarkerChunk:
        """Return what has arrived."""


class Acquisition:
    """Pulls spikes and markers, moves the watermark on and hands closed windows over.

    The watermark is the moment before which no more spikes are waited for: with the LSL clock
    it is now less the hold-off, with a stream clock it is the newest stamp less the hold-off.
    While the spike stream is away the watermark rests, so that no window of silence is
    published, and the windows it touched are marked as truncated. A stream clock that comes back
    begins anew, for its stamps may go back.

    Live, a window for which there is no room pushes out the oldest that waits. With a stream clock
    nothing is urgent, so the acquisition waits for room instead, and the replay with it.

    Parameters
    ----------
    spikes, markers
        Inlets.
    new_windows
        Makes the trials or sliding windows.
    slots
        Where closed windows go.
    stream_clock
        Returns whether stamps, not the clock, close bins (a replay that is not at ×1).
    hold_off
        Seconds.
    poll
        Longest sleep between two looks, seconds.
    keep_truncated
        Whether windows with a missing part are handed over.
    clock
        The LSL clock.

    Attributes
    ----------
    journal
        What was done, to be published.
    last_arrival
        When spikes or bins last came, LSL clock.
    last_look
        When the inlets were last looked at, LSL clock.
    """

    def __init__(
        self,
        spikes: SpikeInput,
        markers: MarkerInput | None,
        new_windows: Callable[[], Windows],
        slots: SlotQueue,
        *,
        stream_clock: Callable[[], bool],
        hold_off: float,
        poll: float,
        keep_truncated: bool,
        clock: Callable[[], float],
    ) -> None:
        self._spikes, self._markers, self._slots = spikes, markers, slots
        self._new_windows, self.windows = new_windows, new_windows()
        self._stream_clock, self._hold_off, self._poll = stream_clock, hold_off, poll
        self._keep_truncated, self._clock = keep_truncated, clock
        self.watermark = -math.inf
        self.truncated_dropped = 0
        self.arrival = LatencyWindow()
        """From a spike's stamp (of counts: its bin's end) until it was taken in, LSL clock only."""
        self._newest_marker = self.last_arrival = -math.inf
        self.last_look = math.nan
        self._lost_since: float | None = None
        self._was_open = self._begun = self._drained = False
        self.journal = Journal()
        self._noted = {Event.OPEN: (0.0, 0.0), Event.CLOCK: (0.0, 0.0)}  # of spikes and markers
        self._position = -1
        self._stop = threading.Event()

    def run(self, stop: threading.Event) -> None:
        """Look at the inlets until `stop` is set; then hand over what is left."""
        self._stop = stop
        while not stop.is_set():
            if not self.step():
                stop.wait(self._until_next_look())
        self._flush(Event.FLUSH)

    def step(self) -> bool:
        """Look once; return whether anything came."""
        now = self._clock()  # before pulling: what has arrived by now is in by the end
        self.last_look = now
        came = self._markers is not None and self._take_markers(self._markers)
        came |= self._take_spikes(now)
        if self._follow_connection() and self._begun:
            self._move_on(now)
        return came

    def _until_next_look(self) -> float:
        """Return for how long to sleep: not beyond the moment at which a window falls due."""
        if self._stream_clock():
            return self._poll
        left = self.windows.next_end + self._hold_off - self._clock()
        return min(left, self._poll) if left > 0 else self._poll

    def _take_markers(self, markers: MarkerInput) -> bool:
        chunk = markers.pull()
        if not len(chunk.times):
            return False
        self._note(Event.OPEN, markers=markers.connection.opened_at)
        self._note(Event.CLOCK, markers=markers.connection.added)
        if self._stream_clock() and self._newest_marker == -math.inf:
            self._begin_windows(float(chunk.times[0]))
        self.windows.push_markers(chunk.times, chunk.labels)
        self.journal.markers += len(chunk.times)
        self.journal.marker_stamp = markers.connection.stamp
        newest = float(np.max(chunk.times, where=np.isfinite(chunk.times), initial=-math.inf))
        self._newest_marker = max(self._newest_marker, newest)
        return True

    def _take_spikes(self, now: float) -> bool:
        if not self._begun and not self._may_begin(now):
            return False
        came = self._drained = False
        for _ in range(_PULLS):
            chunk = self._spikes.pull()
            if not self._spikes.n_pulled:
                self._drained = True
                break
            came = True
            self._note(Event.OPEN, spikes=self._spikes.connection.opened_at)
            self._note(Event.CLOCK, spikes=self._spikes.connection.added)
            if not self._begun:
                self._begin(now)
            if len(chunk.times):
                self._note_arrival(chunk.times)
                if not self.windows.begun:
                    finite = np.isfinite(chunk.times)
                    self._begin_windows(float(np.min(chunk.times, where=finite, initial=math.inf)))
                self.windows.push_spikes(*chunk)
            self.journal.spikes += self._spikes.n_pulled
            self.journal.spike_stamp = self._spikes.connection.stamp
            self.last_arrival = now
        return came

    def _note_arrival(self, times: NDArray[np.float64]) -> None:
        """Note how long after its stamp the oldest of these spikes came."""
        # What came while the connection was made waited for that, and not on its way.
        if not self._was_open or self._stream_clock():
            return
        bins = self._spikes.source_bins
        oldest = float(np.min(times)) + (0.5 * bins.width if bins is not None else 0.0)
        if math.isfinite(oldest):
            self.arrival.add(self._clock() - oldest)

    def _may_begin(self, now: float) -> bool:
        """Return whether spikes may be taken: in a stream clock the first marker goes before."""
        if self._spikes.state != "open":
            self._spikes.pull()  # which makes it connect
            return False
        if self._stream_clock():
            waited = now - self._spikes.opened_at > _FIRST_MARKER
            return self._markers is None or waited or self._newest_marker > -math.inf
        if self._spikes.source_bins is None:
            self._begin(now)
        return True

    def _begin(self, now: float) -> None:
        """Begin bins: of counts, on the edges of the source's, which its first stamp tells."""
        bins, begin = self._spikes.source_bins, now
        if bins is not None:
            end = self._spikes.last_stamp
            self.windows.snap_to(end, bins.width)
            self.journal.write(Event.SNAP, self._clock(), end, bins.width)
            # With the first bin that came; the hundredth is for edges that jitter.
            begin = end - (self._spikes.n_pulled + 0.01) * bins.width
        if not self._stream_clock():
            self._begin_windows(begin)
        self._begun = True

    def _begin_windows(self, time: float) -> None:
        self.windows.begin(time)
        self.journal.write(Event.BEGIN, self._clock(), time)

    def _note(
        self, event: Event, *, spikes: float | None = None, markers: float | None = None
    ) -> None:
        """Note what samples from now on are of, where that has changed; None leaves it."""
        known = self._noted[event]
        new = known[0] if spikes is None else spikes, known[1] if markers is None else markers
        if new != known:
            self._noted[event] = new
            self.journal.write(event, self._clock(), *new)

    def _follow_connection(self) -> bool:
        """Note losses of the spike stream; return whether the watermark may move."""
        is_open = self._spikes.state == "open"
        if not is_open and self._was_open:
            if self._stream_clock():
                self._start_anew()
            else:
                # From the last stamp on nothing is certain: the source may have died after it.
                self._lost_since = max(self.watermark, self._spikes.last_stamp)
        elif is_open and self._lost_since is not None:
            since, until = self._lost_since, self._spikes.opened_at
            self.windows.mark_gap(since, until)
            self.journal.write(Event.GAP, self._clock(), since, until)
            self._lost_since = None
        self._was_open = is_open
        return is_open

    def _start_anew(self) -> None:
        """Give what a stream clock had left, and wait for its next beginning."""
        self._advance(max(self._spikes.last_stamp, self._newest_marker))
        self._flush(Event.ANEW)
        old, self.windows = self.windows, self._new_windows()
        self.windows.count_on(old)
        self.watermark = self._newest_marker = self._spikes.last_stamp = -math.inf
        self._begun, self._position = False, -1

    def _move_on(self, now: float) -> None:
        newest = self._spikes.last_stamp
        if not self._stream_clock():
            # In a flood some of what has arrived still waits; nothing is closed before it is in.
            self._advance((now if self._drained else min(now, newest)) - self._hold_off)
        elif now - self.last_arrival > _IDLE:
            self._advance(max(newest, self._newest_marker) - self._hold_off)
        else:
            self._advance(newest - self._hold_off)

    def _advance(self, watermark: float) -> None:
        watermark = self._between_bins(watermark)
        if watermark > self.watermark:
            self.watermark = watermark
            self._hand_over(self.windows.close(watermark))
            if self.windows.position != self._position:
                self._position = self.windows.position
                self.journal.write(Event.CLOSE, self._clock(), watermark)

    def _flush(self, event: Event) -> None:
        """Give what is left."""
        self.journal.write(Event.CLOSE, self._clock(), self.watermark)
        self.journal.write(event, self._clock())
        self._hand_over(self.windows.flush())

    def _between_bins(self, watermark: float) -> float:
        """Return, for counts, a moment shortly after the end of the last bin before this one.

        A bin's spikes come when it ends, stamped with its centre: in the midst of a bin nothing of
        it may be called late. The quarter of a bin is for edges that jitter.
        """
        bins = self._spikes.source_bins
        if bins is None or not math.isfinite(watermark):
            return watermark
        edge = self._spikes.last_stamp
        return edge + (math.floor((watermark - edge) / bins.width + 0.01) + 0.25) * bins.width

    def _hand_over(self, windows: Iterator[Window]) -> None:
        for window in windows:
            if window.truncated and not self._keep_truncated:
                self.truncated_dropped += 1
                continue
            while self._stream_clock() and not self._stop.is_set():
                if self._slots.wait_for_room(_IDLE):
                    break
            self._slots.put(window, self._clock())
