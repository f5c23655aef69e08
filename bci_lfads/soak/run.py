"""Source and loop in processes of their own, as on a rig, and a consumer that measures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pylsl
from numpy.typing import NDArray

from bci_lfads.errors import StreamError
from bci_lfads.processes import start
from bci_lfads.soak.load import Load, write_rig
from bci_lfads.soak.verdict import Measured
from bci_lfads.streams.outlets import LATENCY_CHANNELS

_Array = NDArray[np.float64]
_MOMENTS = [LATENCY_CHANNELS.index(what) for what in ("window_closed", "pushed")]
_PATIENCE = 60.0  # seconds for a process to start or to end


def soak(
    load: Load, stop: threading.Event, on_second: Callable[[float], None] | None = None
) -> Measured:
    """Put a load on a loop until it is over or `stop` is set.

    Parameters
    ----------
    load
        What to put on it.
    stop
        Ends it early.
    on_second
        Called once a second with the seconds since the beginning.

    Raises
    ------
    StreamError
        If the loop does not begin, or does not end, with what it said.
    """
    name = f"soak-{time.time_ns():x}"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        rig = write_rig(load, name, folder)
        loop = _process(stack, "--quiet", "run", rig, "--json", "--timeout", _PATIENCE)
        factors, latency = (_inlet(f"{name} {s}", loop) for s in ("Factors", "Latency"))
        source = _process(stack, name, json.dumps(asdict(load)), module="bci_lfads.soak.source")
        taken = _Taken()
        memory: list[int] = []
        busy: list[float] = []
        began = next_second = time.monotonic()
        while source.poll() is None and loop.poll() is None:
            if taken.take(factors, latency) and source.stdin is not None:
                source.stdin.close()  # the loop serves
                source.stdin = None
            if time.monotonic() >= next_second:
                next_second += 1.0
                memory.append(_resident(loop.pid))
                busy.append(os.getloadavg()[0])
                if on_second is not None:
                    on_second(time.monotonic() - began)
            if stop.wait(0.02):
                source.terminate()
        pushed = json.loads(source.communicate(timeout=_PATIENCE)[0])
        if loop.poll() is None:
            loop.send_signal(signal.SIGINT)
        while loop.poll() is None and time.monotonic() < began + load.seconds + 2 * _PATIENCE:
            taken.take(factors, latency)
            time.sleep(0.02)
        said, errors = loop.communicate(timeout=_PATIENCE)
        if loop.returncode != 0:
            raise StreamError(f"the loop ended with status {loop.returncode}: {errors.strip()}")
        return Measured(
            int(pushed["spikes"]), pushed["late"], json.loads(said)["status"], loop.returncode,
            *taken.arrays(), np.array(memory, np.int64), np.array(busy),
        )  # fmt: skip


class _Taken:
    """What was received, as it came."""

    def __init__(self) -> None:
        self._stamps: list[NDArray[np.float64]] = []
        self._ends: list[NDArray[np.float64]] = []
        self._rows: list[NDArray[np.float64]] = []

    def take(self, factors: pylsl.StreamInlet, latency: pylsl.StreamInlet) -> bool:
        """Take what has come; return whether a window has."""
        _, stamps = factors.pull_chunk(0.0, 4096, as_numpy=True)
        rows, ends = latency.pull_chunk(0.0, 4096, as_numpy=True)
        if len(stamps):
            self._stamps.append(np.array(stamps))
        if len(ends):
            self._ends.append(np.array(ends))
            self._rows.append(np.array(rows)[:, _MOMENTS])
        return bool(len(ends))

    def arrays(self) -> tuple[_Array, _Array, _Array, _Array]:
        """Return stamps of factors; ends of windows, when they were closed, and pushed."""
        rows = np.concatenate([np.empty((0, 2)), *self._rows])
        none = np.empty(0)
        stamps, ends = (np.concatenate([none, *those]) for those in (self._stamps, self._ends))
        return stamps, ends, rows[:, 0], rows[:, 1]


def _process(
    stack: ExitStack, *arguments: object, module: str = "bci_lfads"
) -> subprocess.Popen[str]:
    process: subprocess.Popen[str] = start(
        *arguments, module=module, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    stack.callback(_end, process)
    return process


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.kill()
    process.communicate()


def _inlet(name: str, loop: subprocess.Popen[str]) -> pylsl.StreamInlet:
    until = time.monotonic() + _PATIENCE
    while not (found := pylsl.resolve_byprop("name", name, 1, 1.0)):
        if loop.poll() is not None or time.monotonic() > until:
            errors = "" if loop.poll() is None else loop.communicate()[1].strip()
            raise StreamError(f"the loop does not publish '{name}'; {errors or 'it says nothing'}")
    inlet = pylsl.StreamInlet(found[0], 360)
    inlet.open_stream(_PATIENCE)
    return inlet


def _resident(pid: int) -> int:
    """Return the resident memory of a process, bytes; 0 where that cannot be told."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    line = next((line for line in text.splitlines() if line.startswith("VmRSS:")), "VmRSS: 0")
    return 1024 * int(line.split()[1])
