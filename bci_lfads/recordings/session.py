"""All streams of a rig recorded to XDF, whenever they come, go and come back."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pylsl
from numpy.typing import NDArray
from pylsl.util import LostError, TimeoutError  # noqa: A004 - pylsl's own name

from bci_lfads.errors import RecordingError, StreamError
from bci_lfads.headers import parse_header
from bci_lfads.recordings.xdf_writer import XdfWriter
from bci_lfads.rig import Rig, TrialSettings
from bci_lfads.streams.connection import new_inlet, predicate

_log = logging.getLogger(__name__)
_OUTPUTS = "outputs"
_MOST = 8192  # samples a pull
_BUFFER = 360  # seconds that may wait while the disk does not answer
_CLOCK_EVERY = 5.0  # seconds
_BOUNDARY_EVERY = 10.0
_FORGET = 2.0  # seconds after which a stream that no longer answers is taken as gone
_POLL = 0.005  # seconds between two looks at the inlets: LSL drops what waits when a source dies
_INTERVAL = 0.1  # seconds between two writes
_LOOK_EVERY = 0.05  # seconds between two looks for streams, as of the loop's connections
_QUIET = 60  # looks without a sample after which a run that has ended has said all
_DRAIN = 5.0  # seconds to wait for that


def check_session(path: Path, overwrite: bool) -> None:
    """Refuse a file that no session may be recorded to.

    Raises
    ------
    RecordingError
        If it is there already, or is not called ``.xdf``.
    """
    if path.suffix.lower() != ".xdf":
        raise RecordingError(f"{path}: sessions are recorded to .xdf; give such a name")
    if path.exists() and not overwrite:
        raise RecordingError(f"{path} exists; choose another name, or overwrite it (--overwrite)")


class SessionRecorder:
    """Records what a rig takes in and gives out.

    A stream that comes back after it was lost, or another that fits, is one more stream of the
    file. Stamps are written as they come; the clock offsets beside them are those that this
    process measures.

    Parameters
    ----------
    rig
        Whose streams.
    path
        The file, ``.xdf``.
    overwrite
        Whether a file of that name may be replaced.

    Raises
    ------
    RecordingError
        If there is such a file, or it cannot be written.
    """

    def __init__(
        self,
        rig: Rig,
        path: Path,
        *,
        overwrite: bool = False,
        clock: Callable[[], float] = pylsl.local_clock,
    ) -> None:
        check_session(path, overwrite)
        self._path, self._clock = path, clock
        window, markers = rig.window, rig.input.markers
        trials = isinstance(window, TrialSettings)
        asked = {"spikes": predicate(rig.input.spikes.properties())}
        if markers is not None:
            asked["markers"] = predicate(markers.properties())
        # The run's streams, and those of its decoder, triggers and virtual rig; see docs/lsl.md.
        asked[_OUTPUTS] = predicate({}, begins={"source_id": f"bci-lfads:{rig.name}:"})
        self._resolvers = {
            what: pylsl.ContinuousResolver(pred=pred, forget_after=_FORGET)
            for what, pred in asked.items()
        }
        self._needed = {"spikes", "Status", "Latency", "Journal"}
        self._needed.add("TrialFactors" if trials else "Factors")
        self._needed |= {"markers"} if trials else set()
        self._needed |= {"Rates"} if rig.output.rates else set()
        self._streams: dict[str, _Stream] = {}
        self._gone: dict[str, float] = {}  # uid of what was lost, and until when to let it be
        self._next_boundary, self._next_look = clock() + _BOUNDARY_EVERY, 0.0
        try:
            self._writer = XdfWriter(path)
        except OSError as error:
            raise RecordingError(f"{path} cannot be written: {error.strerror}") from error

    @property
    def complete(self) -> bool:
        """Whether all that a rig always has is being recorded."""
        return self._needed <= {s.what for s in self._streams.values() if s.number}

    @property
    def names(self) -> list[str]:
        """Names of the streams that are recorded now."""
        return sorted(s.name for s in self._streams.values() if s.number)

    def run(
        self,
        stop: Callable[[float], bool],
        on_complete: Callable[[], None] = lambda: None,
        on_progress: Callable[[float], None] = lambda seconds: None,
        *,
        drain: bool = False,
    ) -> None:
        """Record until told to stop, then write what has arrived and close the file.

        Parameters
        ----------
        stop
            Waits for so many seconds at most; returns whether to stop.
        on_complete
            Called once, when all that a rig always has is being recorded.
        on_progress
            Called at each look with the seconds since the beginning.
        drain
            Whether the run has ended when `stop` says so: then what it published in its last moment
            may still be on its way, and is waited for.

        Raises
        ------
        RecordingError
            If the file cannot be written on; what was written stays.
        """
        began, told = self._clock(), False
        try:
            while not stop(_POLL):
                self.step()
                if not told and self.complete:
                    told = True
                    on_complete()
                on_progress(self._clock() - began)
            self.step()
            if drain:
                self._drain()
            for stream in self._streams.values():
                stream.end(self._writer)
        except OSError as error:
            raise RecordingError(
                f"{self._path} cannot be written on: {error.strerror or error}; what was written "
                f"before can be read"
            ) from error
        finally:
            self._writer.close()

    def step(self) -> None:
        """Look for streams, and write what has arrived."""
        now = self._clock()
        if now >= self._next_look:
            self._next_look = now + _LOOK_EVERY
            self._look(now)
        for uid, stream in list(self._streams.items()):
            if not stream.take(self._writer, now):
                _log.warning("'%s' is gone; it is recorded again when it is back", stream.name)
                stream.end(self._writer)
                del self._streams[uid]
                self._gone[uid] = now + _FORGET  # it may answer for a while
        if now >= self._next_boundary:
            self._next_boundary = now + _BOUNDARY_EVERY
            self._writer.boundary()

    def _drain(self) -> None:
        """Go on until the run's own streams are quiet; on a busy machine that takes a while."""
        until, quiet, before = self._clock() + _DRAIN, 0, -1
        while quiet < _QUIET and self._clock() < until:
            time.sleep(_POLL)
            self.step()
            own = self._needed - {"spikes", "markers"}
            taken = sum(s.taken for s in self._streams.values() if s.what in own)
            quiet, before = quiet + 1 if taken == before else 0, taken

    def _look(self, now: float) -> None:
        self._gone = {uid: until for uid, until in self._gone.items() if until > now}
        for what, resolver in self._resolvers.items():
            for info in resolver.results():
                uid = info.uid()
                if uid in self._streams or uid in self._gone:
                    continue
                word = info.source_id().rsplit(":", 1)[-1] if what == _OUTPUTS else what
                try:
                    self._streams[uid] = _Stream(word, info)
                except StreamError as error:
                    _log.warning("'%s' is not recorded: %s", info.name(), error)
                    self._gone[uid] = math.inf


class _Stream:
    """One connection to a stream: the spikes, the markers, or an output by its last word."""

    def __init__(self, what: str, info: Any) -> None:
        self.what, self.name = what, info.name()
        self.number = 0
        self.taken = 0
        """Samples so far."""
        self._refused = False
        self._inlet = new_inlet(info, _BUFFER)
        self._opened = False
        self._next_clock = self._next_write = 0.0
        self._waiting: list[tuple[Any, NDArray[np.float64]]] = []

    def take(self, writer: XdfWriter, now: float) -> bool:
        """Do what can be done without waiting; return whether the stream is still there."""
        try:
            if not self._refused:
                self._take(writer, now)
        except TimeoutError:
            pass  # not yet
        except LostError:
            return False
        return True

    def _take(self, writer: XdfWriter, now: float) -> None:
        if not self._opened:
            # Opened first: what is sent while its description is on the way is kept.
            self._inlet.open_stream(0.0)
            self._opened = True
        if not self.number:
            xml = self._inlet.info(0.0).as_xml()
            try:
                form = parse_header(xml).format
            except ValueError as error:
                self._refused = True
                self._inlet.close_stream()
                _log.warning("'%s' is not recorded: %s", self.name, error)
                return
            self.number = writer.stream(xml, form)
            _log.info("recording '%s'", self.name)
        if self._inlet.samples_available():
            came = self._inlet.pull_chunk(0.0, _MOST, as_numpy=True)
            self.taken += len(came[1])
            self._waiting.append(came)
        if now >= self._next_write:
            self._next_write = now + _INTERVAL
            self._write(writer)
        if now >= self._next_clock:
            writer.clock_offset(self.number, now, self._inlet.time_correction(0.0))
            self._next_clock = now + _CLOCK_EVERY

    def end(self, writer: XdfWriter) -> None:
        """Write what waits, and that it was the last."""
        if self.number:
            self._write(writer)
            writer.footer(self.number)

    def _write(self, writer: XdfWriter) -> None:
        for values, stamps in self._waiting:
            writer.samples(self.number, values, stamps)
        self._waiting.clear()
