"""A recording pushed to a spike source and a marker source with its own timing."""

from __future__ import annotations

import fnmatch
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import pylsl
from numpy.typing import NDArray

from bci_lfads.errors import RecordingError
from bci_lfads.recordings.recording import Recording
from bci_lfads.recordings.replay.control import ReplayControl
from bci_lfads.recordings.replay.lateness import Lateness, LatenessRecord
from bci_lfads.recordings.replay.pace import ClockPace, ConsumerPace
from bci_lfads.recordings.replay.schedule import Format, schedule

START, STOP = "recording/start", "recording/stop"
_LEAD = 0.1  # seconds between the start of the loop and the recording's first moment
_REPORT_EVERY = 0.1
_log = logging.getLogger(__name__)


class SpikeSink(Protocol):
    """Where spikes go."""

    def push(self, times: NDArray[np.float64], units: NDArray[np.int32]) -> None:
        """Take events with stamps on the LSL clock."""

    def push_counts(self, counts: NDArray[np.uint8], times: NDArray[np.float64]) -> None:
        """Take rows of counts, each with the stamp of its bin's end."""


class MarkerSink(Protocol):
    """Where markers go."""

    def push(self, time: float, label: str) -> None:
        """Take one marker."""


@dataclass(frozen=True)
class ReplayProgress:
    """How far a replay is."""

    position: float
    """Seconds after the recording's start."""
    duration: float
    """Of the recording, seconds."""
    loop: int
    """Times the recording was begun again."""
    n_spikes: int
    n_markers: int
    paused: bool


@dataclass(frozen=True)
class ReplayReport:
    """What a replay did."""

    n_spikes: int
    n_markers: int
    """Without those for start and stop."""
    loops: int
    """Times that the recording was played to its end."""
    first_stamp: float
    """LSL time that stands for the recording's start."""
    last_stamp: float
    """LSL time at which the replay ended, as stamped."""
    elapsed: float
    """Seconds it took."""
    lateness: Lateness | None
    """How late items were pushed; None where the consumer set the pace."""
    stopped: bool
    """Whether it was ended by an order."""


class Replayer:
    """Pushes a recording with explicit stamps: t0 + (recording time - recording start).

    At speed 1 stamps are LSL time, and a pause moves the rest on. At other speeds stamps keep
    the recording's own intervals while pushing goes by the speed, so they run ahead of (or
    behind) the clock; the sources must say ``time_base="stream"`` then.

    Parameters
    ----------
    recording
        What to replay.
    spikes, markers
        Where to; None leaves that part out.
    form
        ``events``, ``ids`` or ``counts``; the spike source's format.
    bin_width
        Of counts, seconds.
    speed
        1, another positive number, or ``"max"`` for as fast as `progress` allows.
    loop
        Whether to begin again at the end, with stamps that go on.
    progress
        For ``"max"``: returns the stamp up to which the consumer has closed bins, or None.
    ahead
        For ``"max"``: recorded seconds that may be on their way to the consumer.
    timeout
        For ``"max"``: seconds without progress after which to give up.
    bounds
        Whether to push the markers ``recording/start`` and ``recording/stop``.
    start_at
        LSL time that stands for the recording's start; default shortly after `run` is called.
    on_progress
        Called about ten times a second from the replay's thread; it must be quick.
    on_push
        Called after each push of spikes with their stamps and the LSL time at which it began.
    clock, sleep
        The LSL clock and a way to wait.

    Raises
    ------
    RecordingError
        Where speed, format or bin width do not fit the recording.
    """

    def __init__(
        self,
        recording: Recording,
        spikes: SpikeSink | None,
        markers: MarkerSink | None,
        *,
        form: Format = "events",
        bin_width: float | None = None,
        speed: float | Literal["max"] = 1.0,
        loop: bool = False,
        progress: Callable[[], float | None] | None = None,
        ahead: float = 2.0,
        timeout: float = 30.0,
        bounds: bool = True,
        start_at: float | None = None,
        on_progress: Callable[[ReplayProgress], None] | None = None,
        on_push: Callable[[NDArray[np.float64], float], None] | None = None,
        clock: Callable[[], float] = pylsl.local_clock,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._pace: ClockPace | ConsumerPace
        if speed == "max":
            if progress is None:
                raise RecordingError(
                    "a replay at 'max' speed needs to know the consumer's progress"
                )
            self._pace = ConsumerPace(progress, ahead, timeout, clock, sleep)
        elif speed > 0 and math.isfinite(speed):
            self._pace = ClockPace(speed, clock, sleep)
        else:
            raise RecordingError(f"replay speed is {speed}; give a number above 0 or 'max'")
        self._live = speed == 1
        self._spikes, self._markers = spikes, markers
        self._plan = schedule(recording, form, bin_width)
        inside = _between(recording.markers.times, recording.start, self._plan.stop)
        self._marks = recording.markers.times[inside]
        self._labels = recording.markers.labels[inside]
        inside = _between(self._plan.times, recording.start, self._plan.stop)
        self._first, self._end = inside.start, inside.stop
        outside = (len(self._plan.times) - self._end + self._first) + (
            len(recording.markers.labels) - len(self._labels)
        )
        if outside:
            _log.warning(
                "%s: %d items lie outside of its stretch and are not replayed",
                recording.name or "recording", outside,
            )  # fmt: skip
        self._start, self._stop = recording.start, self._plan.stop
        self._loop, self._bounds = loop, bounds
        self._on_progress, self._on_push = on_progress, on_push
        self._clock, self._sleep, self._start_at = clock, sleep, start_at
        self._late = LatenessRecord()
        self._shift = self._newest = 0.0
        self._position = self._start
        self._item = self._mark = self._loops = self._n_spikes = self._n_markers = 0
        self._target: float | None = None
        self._next_report = -math.inf

    def run(self, control: ReplayControl | None = None) -> ReplayReport:
        """Replay; return when the recording has ended or the control says stop.

        Raises
        ------
        StreamError
            At ``"max"`` speed, where the consumer makes no progress.
        """
        control = control or ReplayControl()
        begun = self._clock()
        first = self._newest = begun + _LEAD if self._start_at is None else self._start_at
        self._shift = first - self._start
        self._pace.anchor(self._start, first, self._shift)
        while (left := first - self._clock()) > 0 and not control.stopped:
            self._sleep(left)
        self._bound(START, first)
        stopped = self._play(control)
        last = max(self._position + self._shift, self._newest)
        self._bound(STOP, last)
        self._report(control, always=True)
        late = self._late.summary() if isinstance(self._pace, ClockPace) else None
        return ReplayReport(
            n_spikes=self._n_spikes,
            n_markers=self._n_markers,
            loops=self._loops,
            first_stamp=first,
            last_stamp=last,
            elapsed=self._clock() - begun,
            lateness=late,
            stopped=stopped,
        )

    def _play(self, control: ReplayControl) -> bool:
        """Go through the recording; return whether it was stopped by an order."""
        while True:
            orders = control.take()
            if orders.stop:
                return True
            if orders.seek is not None:
                self._seek(orders.seek)
            if orders.step is not None:
                self._target = self._step_target(orders.step)
            elif not orders.stepping:
                self._target = None
            if orders.paused:
                self._report(control)
                control.wait(0.05)
                self._resync()
                continue
            if self._advance():
                self._loops += 1
                if not self._loop:
                    return False
                self._begin_again()
            if self._target is not None and self._position >= self._target:
                control.arrived()
            self._report(control)

    def _advance(self) -> bool:
        """Push what is due; return whether the recording has ended."""
        following = self._following()
        reach = min(self._pace.reach(following, self._newest), self._stop)
        if self._target is not None:
            reach = min(reach, self._target)
        if reach >= following:
            self._push(reach)
        else:
            self._pace.wait(following)
        self._position = max(self._position, reach)
        return self._position >= self._stop

    def _following(self) -> float:
        """Return the moment of what comes next: an item, a marker, a step's end or the end."""
        after = self._stop if self._target is None else self._target
        if self._item < self._end:
            after = min(after, float(self._plan.times[self._item]))
        if self._mark < len(self._marks):
            after = min(after, float(self._marks[self._mark]))
        return after

    def _push(self, reach: float) -> None:
        # Markers first: a trial that begins here should be known before its spikes.
        while self._mark < len(self._marks) and self._marks[self._mark] <= reach:
            stamp = float(self._marks[self._mark]) + self._shift
            if self._markers is not None:
                self._markers.push(stamp, self._labels[self._mark])
            self._newest = max(self._newest, stamp)
            self._mark += 1
            self._n_markers += 1
        item = min(int(np.searchsorted(self._plan.times, reach, "right")), self._end)
        if item > self._item:
            self._push_spikes(slice(self._item, item))
            self._item = item

    def _push_spikes(self, items: slice) -> None:
        times, values = self._plan.times[items], self._plan.values[items]
        stamps = times + self._shift
        began = self._clock()
        if self._spikes is not None:
            if self._plan.grid is None:
                self._spikes.push(stamps, values.astype(np.int32, copy=False))
            else:
                self._spikes.push_counts(values.astype(np.uint8, copy=False), stamps)
        if isinstance(self._pace, ClockPace):
            self._late.add(self._pace.lateness(times))
        if self._on_push is not None:
            self._on_push(stamps, began)
        self._n_spikes += self._plan.count(items.start, items.stop)
        self._newest = max(self._newest, float(stamps[-1]))

    def _seek(self, seconds: float) -> None:
        to = min(max(self._start + seconds, self._start), self._stop)
        self._shift += self._on_grid(self._position - to)
        self._put(to)
        self._resync()

    def _begin_again(self) -> None:
        when = self._pace.due(self._stop)
        self._shift += self._on_grid(self._stop - self._start)
        self._put(self._start)
        self._pace.anchor(
            self._start, self._start + self._shift if self._live else when, self._shift
        )

    def _put(self, position: float) -> None:
        self._position = position
        self._target = None
        self._item = max(int(np.searchsorted(self._plan.times, position, "left")), self._first)
        self._mark = int(np.searchsorted(self._marks, position, "left"))

    def _resync(self) -> None:
        """Go on from the present position now; live stamps move on to the present."""
        now = self._clock()
        if self._live:
            self._shift += self._on_grid(max(0.0, now - self._position - self._shift))
            now = self._position + self._shift
        self._pace.anchor(self._position, now, self._shift)

    def _on_grid(self, seconds: float) -> float:
        """Return whole bins that last at least so long, where counts are pushed."""
        grid = self._plan.grid
        return seconds if grid is None else math.ceil(seconds / grid - 1e-6) * grid

    def _step_target(self, step: float | str) -> float:
        if not isinstance(step, str):
            return min(self._position + step, self._stop)
        for time_, label in zip(self._marks[self._mark :], self._labels[self._mark :], strict=True):
            if fnmatch.fnmatchcase(label, step):
                return float(time_)
        return self._stop

    def _bound(self, label: str, stamp: float) -> None:
        if self._bounds and self._markers is not None:
            self._markers.push(stamp, label)

    def _report(self, control: ReplayControl, *, always: bool = False) -> None:
        if self._on_progress is None:
            return
        now = self._clock()
        if always or now >= self._next_report:
            self._next_report = now + _REPORT_EVERY
            self._on_progress(
                ReplayProgress(
                    position=self._position - self._start,
                    duration=self._stop - self._start,
                    loop=self._loops,
                    n_spikes=self._n_spikes,
                    n_markers=self._n_markers,
                    paused=control.paused,
                )
            )


def _between(times: NDArray[np.float64], start: float, stop: float) -> slice:
    return slice(
        int(np.searchsorted(times, start, "left")), int(np.searchsorted(times, stop, "right"))
    )
