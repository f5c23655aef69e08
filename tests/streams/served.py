"""A stream in another process, and waiting for things to happen."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Served:
    """A stream that another process serves, until `kill`."""

    def __init__(
        self, name, labels=("channel", "unit"), *, kind="Spikes", form="int32", rate=0.0,
        source_id=None, desc=None,
    ) -> None:  # fmt: skip
        asked = {
            "name": name, "type": kind, "source_id": source_id or f"{name} id", "form": form,
            "labels": list(labels), "rate": rate, "desc": desc or {},
        }  # fmt: skip
        self.form = form
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("lsl_server.py")), json.dumps(asked)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment(),
        )
        self._answer()

    def push(self, rows, stamps) -> None:
        """Push rows of values (of markers: texts, bytes or numbers)."""
        rows = [row if isinstance(row, (list, tuple)) else [row] for row in rows]
        if self.form == "string":
            rows = [[(r.encode() if isinstance(r, str) else r).hex()] for (r,) in rows]
        print(json.dumps([rows, list(stamps)]), file=self._process.stdin, flush=True)
        assert self._answer() == "pushed"

    def kill(self) -> None:
        """End it without a word (SIGKILL)."""
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    def _answer(self) -> str:
        answer = self._process.stdout.readline().strip()
        assert answer, "the process that serves the stream ended"
        return answer

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self.kill()


def environment() -> dict[str, str]:
    """Return this process's environment, with the package of this checkout."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": path}


def until(happened: Callable[[], object], timeout: float = 15.0) -> None:
    """Ask until it is so."""
    end = time.monotonic() + timeout
    while not happened():
        assert time.monotonic() < end, f"did not happen within {timeout} s"
        time.sleep(0.005)
