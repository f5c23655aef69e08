"""Any LSL streams recorded to XDF."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import pylsl

from bci_lfads.errors import RecordingError
from bci_lfads.recordings.stream_recorder import FORGET, InputStream, StreamRecorder, check_target

_log = logging.getLogger(__name__)
_SETTLE = 2.0  # seconds in which all streams that a name or query fits should have answered


def record(
    path: str | Path,
    *,
    streams: Sequence[str] | None = None,
    seconds: float | None = None,
    stop: Callable[[], bool] = lambda: False,
    timeout: float = 10.0,
    overwrite: bool = False,
    on_progress: Callable[[float], None] | None = None,
) -> float:
    """Record streams to an XDF file until told to stop.

    Ending by an exception closes the file as `stop` does. Should this process be killed, the file
    lacks its last moment, and can be read.

    Parameters
    ----------
    path
        The file, ``.xdf``.
    streams
        Names, or LSL queries such as ``type='Markers' and contains(name,'rig')``; of each, all
        streams that match are recorded. Default: all that are there at the start.
    seconds
        How long, from when every stream is being recorded; default: until `stop` says so.
    stop
        Asked all the time whether to end, also while streams are waited for; then no file is
        written.
    timeout
        Seconds to wait for the streams, and again until all are being recorded.
    overwrite
        Whether a file of that name may be replaced.
    on_progress
        Called all the time with the seconds recorded.

    Returns
    -------
    Seconds recorded.

    Raises
    ------
    RecordingError
        If a stream is not there, or the file exists or cannot be written.
    """
    path = Path(path)
    check_target(path, overwrite)
    if not os.access(path.parent, os.W_OK):
        raise RecordingError(f"{path} cannot be written: no folder {path.parent} to write to")
    found = _wait_for(streams, timeout, stop)
    if not found:
        return 0.0
    recorder = _Chosen(found, path, overwrite=overwrite)
    asked, lasted = time.monotonic(), 0.0
    began: float | None = None

    def complete() -> None:
        nonlocal began
        began = time.monotonic()
        _log.info("recording %s to %s", _names(found), path)

    def over(wait: float) -> bool:
        nonlocal lasted
        time.sleep(wait)
        if stop():
            return True
        now = time.monotonic()
        if began is None:
            if now - asked > timeout:
                there = ", ".join(recorder.names) or "none"
                raise RecordingError(
                    f"not all of the {len(found)} streams are recorded after {timeout:g} s: {there}"
                )
            return False
        lasted = now - began
        if on_progress is not None:
            on_progress(lasted)
        return seconds is not None and lasted >= seconds

    recorder.run(over, complete)
    return lasted


class _Chosen(StreamRecorder):
    """Records the streams that were found, and each again where it comes back."""

    def __init__(self, found: Sequence[pylsl.StreamInfo], path: Path, *, overwrite: bool) -> None:
        super().__init__(path, overwrite=overwrite)
        self._first = {info.uid(): info for info in found}
        self._known = {_of(info) for info in found}
        self._numbers: dict[tuple[str, ...], int] = {}
        self._resolver = pylsl.ContinuousResolver(forget_after=FORGET)

    def wanted(self) -> Iterator[tuple[str, pylsl.StreamInfo]]:
        """Return the streams that were found, by their unique ids, and those in their places."""
        there = {info.uid(): info for info in self._resolver.results() if _of(info) in self._known}
        first, self._first = self._first, {}
        yield from (first | there).items()

    @property
    def complete(self) -> bool:
        """Whether a stream in each place is being recorded, or was refused."""
        return bool(self._streams) and all(s.settled for s in self._streams.values())

    def begin(self, info: pylsl.StreamInfo, xml: str, form: str) -> int:
        """Go on with the file's stream where one comes back that describes itself as before."""
        key = (*_of(info), *_described(xml))
        number = self._numbers.get(key)
        if number is None or number in {s.number for s in self._streams.values()}:
            number = self._numbers[key] = super().begin(info, xml, form)
        return number

    def lose(self, stream: InputStream) -> None:
        """Write what waits, and leave the file's stream open: it may come back."""
        if stream.number:
            stream.write(self._writer)

    def drain(self) -> None:
        """Close what was lost and did not come back."""
        for number in set(self._numbers.values()) - {s.number for s in self._streams.values()}:
            self._writer.footer(number)


def _described(xml: str) -> tuple[str, ...]:
    """Return what of a stream's description decides on what its samples are."""
    info = ElementTree.fromstring(xml)  # noqa: S314 - `parse_header` has taken it
    parts = map(info.find, ("channel_count", "channel_format", "nominal_srate", "desc"))
    return tuple(ElementTree.tostring(part, "unicode") for part in parts if part is not None)


def _of(info: pylsl.StreamInfo) -> tuple[str, str, str, str]:
    """Return what a stream has in common with one that takes its place."""
    return info.name(), info.type(), info.source_id(), info.hostname()


def _wait_for(
    wanted: Sequence[str] | None, timeout: float, stop: Callable[[], bool]
) -> list[pylsl.StreamInfo]:
    """Return what is wanted once all of it is there; nothing if told to stop before."""
    everything = pylsl.ContinuousResolver()
    queries = {
        w: pylsl.ContinuousResolver(pred=w) for w in wanted or () if any(sign in w for sign in "=(")
    }
    began = time.monotonic()
    while not stop():
        time.sleep(0.1)
        there = everything.results()
        found = {"": there} if wanted is None else {}
        for w in wanted or ():
            named = [info for info in there if info.name() == w]
            found[w] = named or (queries[w].results() if w in queries else [])
        missing = [w for w, infos in found.items() if not infos]
        waited = time.monotonic() - began
        if not missing and waited > _SETTLE:
            return list({info.uid(): info for infos in found.values() for info in infos}.values())
        if missing and waited > timeout:
            names = ", ".join(f"'{m}'" for m in missing if m) or "any stream"
            raise RecordingError(
                f"{names} not found on the network in {timeout:g} s; there is {_names(there)}"
            )
    return []


def _names(streams: Sequence[pylsl.StreamInfo]) -> str:
    return ", ".join(sorted(f"'{info.name()}' ({info.type()})" for info in streams)) or "nothing"
