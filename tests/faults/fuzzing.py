"""Cases of a fuzzed parser, tried in this process or, where the package itself does, in another."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from faults.parsers import PARSERS, Parser

SECONDS = 10.0  # of computing, which no case takes unless it hangs


class Outcome(NamedTuple):
    """What came of a case."""

    kind: str
    """``read``, ``refused``, ``ended`` (the process that read it, or it never came back) or
    ``neither``."""
    said: str = ""
    memory: int = 0
    """Bytes of Python's that it took at most."""


class Hanging(BaseException):
    """A parser does not come back."""


def try_here(parser: Parser, path: Path) -> Outcome:
    """Have a parser read a file, timed and its memory traced."""
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    kind, said = "read", ""
    try:
        parser.parse(path)
    except parser.refusals as refusal:
        kind, said = "refused", str(refusal)
    except BaseException as error:
        kind, said = "neither", repr(error)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
    return Outcome(kind, said, tracemalloc.get_traced_memory()[1] - before)


@contextmanager
def tried(name: str) -> Iterator[Callable[[Path], Outcome]]:
    """Give what tries files on a parser."""
    if PARSERS[name].apart:
        other = _Other(name)
        try:
            yield other.try_there
        finally:
            other.end()
        return

    def hanging(*_: object) -> None:
        raise Hanging(f"not back after {SECONDS:g} s of computing")

    before = signal.signal(signal.SIGVTALRM, hanging)
    tracemalloc.start()
    try:
        yield lambda path: try_here(PARSERS[name], path)
    finally:
        tracemalloc.stop()
        signal.signal(signal.SIGVTALRM, before)


class _Other:
    """A process that reads one file after the other, and the next one when it has ended."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._process: subprocess.Popen[str] | None = None

    def try_there(self, path: Path) -> Outcome:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, self._name], cwd=Path(__file__).parents[1],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            assert self._process.stdout.readline() == "ready\n"
        print(path, file=self._process.stdin, flush=True)
        if line := self._process.stdout.readline():
            return Outcome(*json.loads(line))
        return Outcome("ended", signal.Signals(-self.end()).name)

    def end(self) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.communicate()
        return process.returncode


def _serve(name: str) -> None:
    # A timer that runs out ends this process, in the midst of a library too.
    tracemalloc.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        outcome = try_here(PARSERS[name], Path(line.rstrip("\n")))
        sys.stdout.write(json.dumps(outcome) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve(sys.argv[1])
