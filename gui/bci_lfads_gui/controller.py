"""The processes that the window starts and ends: the loop, the replay, the recorder. No Qt here.

The loop and the recorder live on when the window closes or crashes: they are sessions of their own
and share nothing with it. The replay ends with it: it stops when its standard input does.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from bci_lfads.processes import start

_LAST_WORDS = 4000  # bytes of a log that are looked at
_PROGRAMS = ("bci-lfads", "bci_lfads")


class Process:
    """One `bci-lfads` command as a process that needs no window.

    Parameters
    ----------
    arguments
        Of the command line.
    log
        Where its messages go; default: a new file in the folder for temporary ones.
    """

    def __init__(self, *arguments: str, log: Path | None = None) -> None:
        self.arguments = arguments
        self.log = log or new_log(arguments[0])
        with self.log.open("wb") as file:
            self._process: subprocess.Popen[bytes] = self._start(arguments, file)

    def _start(self, arguments: Sequence[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        return start(
            *arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self.exit_code is None

    def stop(self) -> None:
        """Ask it to end in good order."""
        if self.running:
            self._process.send_signal(signal.SIGINT)

    def end(self, patience: float = 5.0) -> None:
        """Make it end: ask, wait, and kill what does not listen."""
        self.stop()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def last_words(self) -> str:
        """Return the last line of what it said, or what it named as an error."""
        return last_words(self.log)


class Player(Process):
    """A replay that takes orders on its standard input and tells how far it is."""

    def __init__(self, *arguments: str, log: Path | None = None) -> None:
        self.progress: dict[str, Any] = {}
        """The newest line: ``position`` and ``duration`` in seconds, ``loop``, ``paused``."""
        super().__init__(*arguments, log=log)
        self._listener = threading.Thread(target=self._listen, name="replay's progress")
        self._listener.start()

    def _start(self, arguments: Sequence[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        # A session of its own, for the window's may have to give way.
        return start(
            *arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
            start_new_session=True,
        )  # fmt: skip

    def order(self, line: str) -> None:
        """Give an order; one that has ended hears nothing."""
        pipe = self._process.stdin
        if pipe is None or pipe.closed:
            return
        with contextlib.suppress(OSError):
            pipe.write(line.encode() + b"\n")
            pipe.flush()

    def stop(self) -> None:
        """Ask it to end in good order."""
        self.order("stop")

    def end(self, patience: float = 5.0) -> None:
        """Make it end."""
        super().end(patience)
        self._listener.join()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def _listen(self) -> None:
        pipe = self._process.stdout
        if pipe is None:
            return
        with pipe:
            for line in pipe:
                with contextlib.suppress(ValueError):
                    said = json.loads(line)
                    if isinstance(said, dict) and "position" in said:
                        self.progress = said


class Recorder:
    """A recording process, this window's own or one that an earlier window left behind.

    What it writes, and which process does, is noted in a file, so that a window that comes later
    can show and end it.

    Parameters
    ----------
    folder
        For the notes.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or notes_folder()
        self._process: Process | None = None
        self._pid = 0
        self.output: Path | None = None
        self.since = 0.0
        """System time at which it began."""
        self._adopt()

    @property
    def running(self) -> bool:
        """Whether something is recorded."""
        if self._process is not None:
            return self._process.running
        return self._pid > 0 and is_command(self._pid, "record")

    @property
    def failure(self) -> str:
        """Why the recording ended, unless it was asked to."""
        if self._process is None or self._process.exit_code in (None, 0):
            return ""
        return self._process.last_words()

    def size(self) -> int:
        """Return the bytes that are written so far."""
        try:
            return self.output.stat().st_size if self.output else 0
        except OSError:
            return 0

    def start(self, output: Path, streams: Sequence[str] = ()) -> None:
        """Record streams, or all that there are, to a file."""
        chosen = [part for name in streams for part in ("--stream", name)]
        self._process = Process("record", str(output), *chosen)
        self._pid, self.output, self.since = self._process.pid, output, time.time()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        note = {"pid": self._pid, "output": str(output), "since": self.since}
        self._note().write_text(json.dumps(note), "utf-8")

    def stop(self) -> None:
        """Ask it to end; the file is whole then."""
        if self.running:
            os.kill(self._pid, signal.SIGINT)
        self._note().unlink(missing_ok=True)

    def end(self, patience: float = 10.0) -> None:
        """Ask it to end and wait for that; a recorder is never killed."""
        self.stop()
        until = time.monotonic() + patience
        while self.running and time.monotonic() < until:
            time.sleep(0.05)

    def _note(self) -> Path:
        return self._folder / "recording.json"

    def _adopt(self) -> None:
        try:
            note = json.loads(self._note().read_text("utf-8"))
            pid, output, since = int(note["pid"]), Path(note["output"]), float(note["since"])
        except (OSError, ValueError, KeyError, TypeError):
            return
        if is_command(pid, "record"):
            self._pid, self.output, self.since = pid, output, since


def new_log(what: str) -> Path:
    """Make a new file for a process's messages."""
    descriptor, name = tempfile.mkstemp(prefix=f"bci-lfads-{what}-", suffix=".log")
    os.close(descriptor)
    return Path(name)


def last_words(log: Path) -> str:
    """Return the last line of a log, or the last that names an error."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _LAST_WORDS))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error:")]
    return (errors or lines or [""])[-1]


def is_command(pid: int, *names: str) -> bool:
    """Return whether a process of this machine is one of these `bci-lfads` commands."""
    try:
        parts = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    words = [part.decode("utf-8", "replace") for part in parts]
    ours = [k for k, word in enumerate(words[:4]) if Path(word).name in _PROGRAMS]
    return bool(ours) and any(name in words[ours[-1] + 1 :] for name in names)


def interrupt(pid: int) -> bool:
    """Ask a loop of this machine to stop; return whether there was one."""
    if not is_command(pid, "run", "demo"):
        return False
    try:
        os.kill(pid, signal.SIGINT)
    except OSError:
        return False
    return True


def notes_folder() -> Path:
    """Return the folder for notes of this user and session."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime or tempfile.gettempdir()) / f"bci-lfads-{os.getuid()}"
