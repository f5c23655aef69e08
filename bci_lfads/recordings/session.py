"""All streams of a rig recorded to XDF, whenever they come, go and come back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pylsl
from numpy.typing import NDArray
from pylsl.util import LostError, TimeoutError  # noqa: A004 - pylsl's own name

from bci_lfads.errors import RecordingError
from bci_lfads.headers import parse_header
from bci_lfads.recordings.xdf_writer import XdfWriter
from bci_lfads.rig import Rig
from bci_lfads.streams.connection import describe, predicate

_log = logging.getLogger(__name__)
OUTPUTS = ("TrialFactors", "Factors", "Rates", "Status", "Latency", "Journal")
"""Last words of the names of what a rig may publish; see docs/lsl.md."""
_MOST = 8192  # samples a pull
_BUFFER = 360  # seconds that may wait while the disk does not answer
_CLOCK_EVERY = 5.0  # seconds
_BOUNDARY_EVERY = 10.0
_FORGET = 2.0  # seconds after which a stream that no longer answers is taken as gone
_POLL = 0.005  # seconds between two looks at the inlets: LSL drops what waits when a source dies
_INTERVAL = 0.1  # seconds between two writes
_LOOK_EVERY = 0.05  # seconds between two looks for streams, as of the loop's connections


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
        queries = [rig.input.spikes.properties()]
        if rig.input.markers is not None:
            queries.append(rig.input.markers.properties())
        queries += [{"source_id": f"bci-lfads:{rig.name}:{stream}"} for stream in OUTPUTS]
        self._resolvers = {
            describe(q): pylsl.ContinuousResolver(pred=predicate(q), forget_after=_FORGET)
            for q in queries
        }
        self._needed = list(self._resolvers)[: len(queries) - len(OUTPUTS)]
        # Factors of one kind or the other, rates if asked for; these three always.
        self._needed += list(self._resolvers)[-3:]
        self._streams: dict[str, _Stream] = {}
        self._gone: set[str] = set()
        self._next_boundary, self._next_look = clock() + _BOUNDARY_EVERY, 0.0
        try:
            self._writer = XdfWriter(path)
        except OSError as error:
            raise RecordingError(f"{path} cannot be written: {error.strerror}") from error

    @property
    def complete(self) -> bool:
        """Whether all that a rig always has is being recorded."""
        taken = {s.query for s in self._streams.values() if s.number}
        return all(query in taken for query in self._needed)

    @property
    def names(self) -> list[str]:
        """Names of the streams that are recorded now."""
        return sorted(s.name for s in self._streams.values() if s.number)

    def run(
        self,
        stop: Callable[[float], bool],
        on_complete: Callable[[], None] = lambda: None,
        on_progress: Callable[[float], None] = lambda seconds: None,
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
            self._look()
        for uid, stream in list(self._streams.items()):
            if not stream.take(self._writer, now):
                _log.warning("'%s' is gone; it is recorded again when it is back", stream.name)
                stream.end(self._writer)
                del self._streams[uid]
                self._gone.add(uid)
        if now >= self._next_boundary:
            self._next_boundary = now + _BOUNDARY_EVERY
            self._writer.boundary()

    def _look(self) -> None:
        there: set[str] = set()
        for query, resolver in self._resolvers.items():
            for info in resolver.results():
                uid = info.uid()
                there.add(uid)
                if uid not in self._streams and uid not in self._gone:
                    self._streams[uid] = _Stream(query, info)
        self._gone &= there  # a lost stream may answer for a while


class _Stream:
    """One connection to a stream."""

    def __init__(self, query: str, info: Any) -> None:
        self.query, self.name = query, info.name()
        self.number = 0
        self._inlet = pylsl.StreamInlet(info, _BUFFER, recover=False)
        self._opened = False
        self._next_clock = self._next_write = 0.0
        self._waiting: list[tuple[Any, NDArray[np.float64]]] = []

    def take(self, writer: XdfWriter, now: float) -> bool:
        """Do what can be done without waiting; return whether the stream is still there."""
        try:
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
            self.number = writer.stream(xml, parse_header(xml).format)
            _log.info("recording '%s'", self.name)
        if self._inlet.samples_available():
            self._waiting.append(self._inlet.pull_chunk(0.0, _MOST, as_numpy=True))
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
