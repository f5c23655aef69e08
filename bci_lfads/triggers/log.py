"""A log that the loop never waits for, and that says when it could not keep up."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from bci_lfads.errors import TriggerError

_MOST = 10_000  # lines that may wait for the disk


class EventLog:
    """Lines of JSON, appended to a file by a thread of its own.

    Parameters
    ----------
    path
        The file; lines are added to what it has.

    Raises
    ------
    TriggerError
        If it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise TriggerError(f"cannot write the log {path}: {error.strerror}") from error
        self._waiting: queue.Queue[str | None] = queue.Queue(_MOST)
        self.failure = ""
        """Why lines were lost; from then on nothing may rely on the log."""
        self._thread = threading.Thread(target=self._write, name="trigger-log")
        self._thread.start()

    def add(self, event: str, at: float, more: Mapping[str, object] | None = None) -> None:
        """Write a line down: what happened, when on the LSL clock, and more about it."""
        line = {"event": event, "lsl": at, "unix": time.time(), **(more or {})}
        try:
            self._waiting.put_nowait(json.dumps(line, default=str))
        except queue.Full:
            self.failure = self.failure or f"{_MOST} lines wait for the disk, and more were lost"

    def close(self) -> None:
        """Write what waits, and close the file."""
        self._waiting.put(None)
        self._thread.join()
        self._file.close()

    def _write(self) -> None:
        while (line := self._waiting.get()) is not None:
            if self.failure:
                continue  # taken, so that no one waits for room
            try:
                self._file.write(line + "\n")
                self._file.flush()
            except (OSError, ValueError) as error:
                self.failure = f"the log cannot be written: {error}"
