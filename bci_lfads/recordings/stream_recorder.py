"""Streams written to XDF as their samples come: what ends the recording abruptly costs little."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pylsl
from numpy.typing import NDArray
from pylsl.util import LostError, TimeoutError  # noqa: A004 - pylsl's own name

from bci_lfads.errors import RecordingError, StreamError
from bci_lfads.headers import parse_header
from bci_lfads.recordings.xdf_writer import XdfWriter
from bci_lfads.streams.connection import new_inlet

_log = logging.getLogger(__name__)
_MOST = 8192  # samples a pull
_BUFFER = 360  # seconds that may wait while the disk does not answer
_CLOCK_EVERY = 5.0  # seconds
_BOUNDARY_EVERY = 10.0
FORGET = 2.0
"""Seconds after which a stream that no longer answers is taken as gone."""
POLL = 0.005
"""Seconds between two looks at the inlets: LSL drops what waits when a source dies."""
_INTERVAL = 0.1  # seconds between two writes
_LOOK_EVERY = 0.05  # seconds between two looks for streams, as of the loop's connections


def check_target(path: Path, overwrite: bool) -> None:
    """Refuse a file that nothing may be recorded to.

    Raises
    ------
    RecordingError
        If it is there already, or is not called ``.xdf``.
    """
    if path.suffix.lower() != ".xdf":
        raise RecordingError(f"{path}: streams are recorded to .xdf; `convert` makes other formats")
    if path.exists() and not overwrite:
        raise RecordingError(f"{path} exists; choose another name, or overwrite it (--overwrite)")


class StreamRecorder:
    """Records streams; which ones, a subclass says.

    A stream that comes back after it was lost is one more stream of the file, unless a subclass
    knows better. Stamps are written as they come; the clock offsets beside them are those that this
    process measures.

    Parameters
    ----------
    path
        The file, ``.xdf``.
    overwrite
        Whether a file of that name may be replaced.
    clock
        The LSL clock, seconds.

    Raises
    ------
    RecordingError
        If there is such a file, or it cannot be written.
    """

    def __init__(
        self, path: Path, *, overwrite: bool = False, clock: Callable[[], float] = pylsl.local_clock
    ) -> None:
        check_target(path, overwrite)
        self._path, self._clock = path, clock
        self._streams: dict[str, InputStream] = {}
        self._gone: dict[str, float] = {}  # uid of what was lost, and until when to let it be
        self._next_boundary, self._next_look = clock() + _BOUNDARY_EVERY, 0.0
        try:
            self._writer = XdfWriter(path)
        except OSError as error:
            raise RecordingError(f"{path} cannot be written: {error.strerror}") from error

    def wanted(self) -> Iterable[tuple[str, pylsl.StreamInfo]]:
        """Return what is there now that is to be recorded: each with what it is here."""
        raise NotImplementedError

    @property
    def complete(self) -> bool:
        """Whether all that is to be recorded is."""
        raise NotImplementedError

    @property
    def recorded(self) -> set[str]:
        """What is recorded now, each as `wanted` says."""
        return {s.what for s in self._streams.values() if s.number}

    @property
    def names(self) -> list[str]:
        """Names of the streams that are recorded now."""
        return sorted(s.name for s in self._streams.values() if s.number)

    def taken(self, *, without: Iterable[str] = ()) -> int:
        """Return the samples so far of the streams that are recorded now."""
        return sum(s.taken for s in self._streams.values() if s.what not in without)

    def run(
        self,
        stop: Callable[[float], bool],
        on_complete: Callable[[], None] = lambda: None,
        on_progress: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """Record until told to stop, then write what has arrived and close the file.

        An exception, of `stop` or another, closes the file too.

        Parameters
        ----------
        stop
            Waits for so many seconds at most; returns whether to stop.
        on_complete
            Called once, when all that is to be recorded is.
        on_progress
            Called at each look with the seconds since the beginning.

        Raises
        ------
        RecordingError
            If the file cannot be written on; what was written stays.
        """
        began, told = self._clock(), False
        try:
            try:
                while not stop(POLL):
                    self.step()
                    if not told and self.complete:
                        told = True
                        on_complete()
                    on_progress(self._clock() - began)
                self.step()
                self.drain()
            finally:
                for stream in self._streams.values():
                    stream.end(self._writer)
        except OSError as error:
            raise RecordingError(
                f"{self._path} cannot be written on: {error.strerror or error}; what was written "
                f"before can be read"
            ) from error
        finally:
            self._writer.close()

    def drain(self) -> None:
        """Go on, once told to stop, for as long as something is on its way."""

    def begin(self, info: pylsl.StreamInfo, xml: str, form: str) -> int:
        """Return the number in the file of a stream that was connected."""
        return self._writer.stream(xml, form)

    def lose(self, stream: InputStream) -> None:
        """Write what waits of a stream that was lost."""
        stream.end(self._writer)

    def step(self) -> None:
        """Look for streams, and write what has arrived."""
        now = self._clock()
        if now >= self._next_look:
            self._next_look = now + _LOOK_EVERY
            self._look(now)
        for uid, stream in list(self._streams.items()):
            if not stream.take(self._writer, now):
                _log.warning("'%s' is gone; it is recorded again when it is back", stream.name)
                self.lose(stream)
                del self._streams[uid]
                self._gone[uid] = now + FORGET  # it may answer for a while
        if now >= self._next_boundary:
            self._next_boundary = now + _BOUNDARY_EVERY
            self._writer.boundary()

    def _look(self, now: float) -> None:
        self._gone = {uid: until for uid, until in self._gone.items() if until > now}
        for what, info in self.wanted():
            uid = info.uid()
            if uid in self._streams or uid in self._gone:
                continue
            try:
                self._streams[uid] = InputStream(what, info, self.begin)
            except StreamError as error:
                _log.warning("'%s' is not recorded: %s", info.name(), error)
                self._gone[uid] = math.inf


class InputStream:
    """One connection to a stream."""

    def __init__(self, what: str, info: Any, begin: Callable[[Any, str, str], int]) -> None:
        self.what, self.name = what, info.name()
        self._info, self._begin = info, begin
        self.number = 0
        self.taken = 0
        """Samples so far."""
        self._refused = False
        self._inlet = new_inlet(info, _BUFFER)
        self._opened = False
        self._next_clock = self._next_write = 0.0
        self._waiting: list[tuple[Any, NDArray[np.float64]]] = []

    @property
    def settled(self) -> bool:
        """Whether it is recorded, or never will be."""
        return bool(self.number) or self._refused

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
            self.number = self._begin(self._info, xml, form)
            _log.info("recording '%s'", self.name)
        if self._inlet.samples_available():
            came = self._inlet.pull_chunk(0.0, _MOST, as_numpy=True)
            self.taken += len(came[1])
            self._waiting.append(came)
        if now >= self._next_write:
            self._next_write = now + _INTERVAL
            self.write(writer)
        if now >= self._next_clock:
            writer.clock_offset(self.number, now, self._inlet.time_correction(0.0))
            self._next_clock = now + _CLOCK_EVERY

    def end(self, writer: XdfWriter) -> None:
        """Write what waits, and that it was the last."""
        if self.number:
            self.write(writer)
            writer.footer(self.number)

    def write(self, writer: XdfWriter) -> None:
        """Write what waits."""
        for values, stamps in self._waiting:
            writer.samples(self.number, values, stamps)
        self._waiting.clear()
