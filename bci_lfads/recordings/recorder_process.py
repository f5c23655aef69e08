"""A session's recorder in a process of its own, which the loop starts and never waits for."""

from __future__ import annotations

import logging
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from bci_lfads.processes import start

_log = logging.getLogger(__name__)
_END = 15.0  # seconds for it to take and write the last samples


class RecorderProcess:
    """`bci-lfads record FILE --rig RIG`, which ends with this process, however this one ends.

    Parameters
    ----------
    rig_file
        Whose streams.
    path
        The file.
    overwrite
        Whether a file of that name may be replaced.
    """

    def __init__(self, rig_file: Path, path: Path, *, overwrite: bool = False) -> None:
        self.file = path.name
        self._problem = ""
        self._ended = False
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - as well
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = start(
                "--quiet", "record", path.absolute(), "--rig", rig_file.absolute(), "--control",
                *(["--overwrite"] if overwrite else []),
                stdin=subprocess.PIPE, stdout=self._said, stderr=self._errors,
                start_new_session=True,  # Ctrl-C in this terminal is not for it
            )  # fmt: skip
        except OSError as error:
            self._problem = f"the recorder does not start: {error}"

    @property
    def complete(self) -> bool:
        """Whether it records all that the rig has."""
        return b'"recording"' in os.pread(self._said.fileno(), 4096, 0)

    @property
    def problem(self) -> str:
        """Why it does not record any more, in words; empty while it does."""
        process = self._process
        if not self._problem and not self._ended and process and process.poll() is not None:
            said = os.pread(self._errors.fileno(), 1 << 16, 0).decode("utf-8", "replace")
            lines = [line for line in said.splitlines() if line.strip()]
            self._problem = lines[-1].removeprefix("error: ") if lines else "the recorder ended"
            _log.warning("%s is not recorded any more: %s", self.file, self._problem)
        return self._problem

    def wait_until_complete(self, timeout: float, stop: Callable[[], bool]) -> bool:
        """Wait until it records all that the rig has, or is to stop; return whether it does."""
        until = time.monotonic() + timeout
        while not (self.complete or self.problem or stop()) and time.monotonic() < until:
            time.sleep(0.05)
        if not self.complete and not self.problem and not stop():
            _log.warning("%s does not have all of the rig's streams after %g s", self.file, timeout)
        return self.complete and not self.problem

    def end(self) -> str:
        """Have it write what has arrived and close the file; return what went wrong, if anything.

        The streams must still be there, so that it has their last samples.
        """
        process = self._process
        if not self.problem and process is not None and process.stdin is not None:
            process.stdin.close()
            try:
                process.wait(_END)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            self._ended = process.returncode == 0
        problem = self.problem
        self._said.close()
        self._errors.close()
        return problem
