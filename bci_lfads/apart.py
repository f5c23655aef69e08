"""Files read in a process of their own: on a damaged one, the HDF5 library may hang or crash.

That process has a limit on its time and memory, and writes what it found to a file of this
package's own, which holds plain arrays.
"""

from __future__ import annotations

import json
import logging
import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from bci_lfads.errors import BciLfadsError
from bci_lfads.processes import start

SECONDS = 60.0
"""That any file may take."""
BYTES_PER_SECOND = 10e6
"""And a second more for so many of it, which a slow disk needs."""
MEMORY = 8 << 30
"""Bytes that it may take."""
_CONTENT, _REPORT = "content", "report.json"

T = TypeVar("T")


def read_apart(
    convert: Callable[..., None],
    path: Path,
    load: Callable[[Path], T],
    error: type[BciLfadsError],
    **options: Any,
) -> T:
    """Return what a file holds, read in a process of its own.

    What is logged there is logged here.

    Parameters
    ----------
    convert
        Function of a module: ``convert(path, out, **options)`` reads the file and writes another.
    path
        The file.
    load
        Reads, in this process, what `convert` wrote.
    error
        What is raised; also what `convert` raises.
    options
        Of `convert`, ready for JSON.

    Raises
    ------
    BciLfadsError
        Of the kind given, if the file is refused, takes longer than the limit, ends the process
        that reads it, or there can be none.
    """
    with tempfile.TemporaryDirectory(prefix="bci-lfads-") as folder:
        try:
            limit = SECONDS + path.stat().st_size / BYTES_PER_SECOND
            process = start(
                convert.__module__, convert.__name__, path.absolute(), folder, limit,
                json.dumps(options), module=__name__, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                start_new_session=True,  # Ctrl-C in this terminal is not for it
                # Threads that compute nothing would each take of the memory that it may have.
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            )  # fmt: skip
        except OSError as problem:
            raise error(f"{path} cannot be read: {problem.strerror or problem}") from problem
        try:
            _, said = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            raise error(
                f"{path} took longer than {limit:.0f} s to read; it is damaged, if the disk is not "
                f"very slow"
            ) from None
        finally:
            process.kill()
            process.communicate()
        try:
            report = json.loads((Path(folder) / _REPORT).read_text())
        except (OSError, ValueError):
            raise error(
                f"{path} ended the process that read it ({_end(process.returncode, said)}); it is "
                f"damaged"
            ) from None
        for name, level, text in report["logged"]:
            logging.getLogger(name).log(level, "%s", _as_named(path, text))
        if report["refused"] is not None:
            raise error(_as_named(path, report["refused"]))
        return load(Path(folder) / _CONTENT)


def _as_named(path: Path, text: str) -> str:
    """Return what the other process said of a file, whose relative path means nothing there."""
    return text.replace(str(path.absolute()), str(path))


def _end(status: int, said: str) -> str:
    """Return how a process ended, in words."""
    if status < 0:
        return signal.Signals(-status).name
    lines = [line for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else f"exit status {status}"


class _Kept(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.logged: list[tuple[str, int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.logged.append((record.name, record.levelno, record.getMessage()))


def _limit(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _main(module: str, function: str, path: str, folder: str, limit: str, options: str) -> None:
    convert = getattr(import_module(module), function)
    kept, refused = _Kept(), None
    package = logging.getLogger("bci_lfads")
    package.addHandler(kept)
    package.setLevel(logging.DEBUG)
    package.propagate = False
    # The one who waits is gone, perhaps, and nobody ends this one.
    _limit(resource.RLIMIT_CPU, math.ceil(float(limit)) + 1)
    _limit(resource.RLIMIT_AS, MEMORY)
    try:
        convert(Path(path), Path(folder) / _CONTENT, **json.loads(options))
    except BciLfadsError as error:
        refused = str(error)
    except MemoryError:
        refused = f"{path} takes more than {MEMORY >> 30} GiB of memory to read"
    except OSError as error:  # those of reading are refusals
        refused = f"{path} cannot be read, for {folder} cannot be written: {error.strerror}"
    report = {"refused": refused, "logged": kept.logged}
    (Path(folder) / _REPORT).write_text(json.dumps(report))


if __name__ == "__main__":
    _main(*sys.argv[1:])
