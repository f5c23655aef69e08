"""The closed loop over LSL, in real time: spikes to a run, factors to a decoder, to the cursor.

The run and the decoder are the production commands, each a process of its own.
"""

from __future__ import annotations

import json
import math
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pylsl

from bci_lfads.closed_loop.feedback import VELOCITY, check_cursor
from bci_lfads.closed_loop.rig import LOOP_STEP, Step, VirtualRig
from bci_lfads.decoding.file import Decoder
from bci_lfads.errors import BciLfadsError, RigError, StreamError
from bci_lfads.processes import start
from bci_lfads.rig import Rig
from bci_lfads.streams.metadata import stream_info
from bci_lfads.streams.samples import SampleInlet
from bci_lfads.streams.sources import MarkerSource, SpikeSource
from bci_lfads.timing import LatencyWindow, Percentiles

CURSOR_CHANNELS = ("x", "y", "vx", "vy", "target_x", "target_y")
"""Of `<rig> Cursor`: where it is, the velocity that the subject intends, the target (NaN: none)."""
_SILENCE = 0.2  # seconds without behaviour after which the cursor counts as out of control
_SPIN = 2e-4  # seconds before a step is due from which on the loop does not sleep
_WARM_UP = 100  # rows of behaviour before the task begins


@dataclass
class OnlineReport:
    """What came of a run over LSL.

    Attributes
    ----------
    rig
        With its reaches and paths.
    loop_delay
        From the end of a bin until the cursor's next step took its behaviour, without the
        perturbation's delay.
    late
        By how much steps began late.
    skipped
        Steps left out because one began more than a step late.
    outages
        Seconds without behaviour, beyond 0.2 s each.
    rows
        Rows of behaviour that moved the cursor.
    run, decoder
        What the two commands said of themselves at the end.
    """

    rig: VirtualRig
    loop_delay: Percentiles
    late: Percentiles
    skipped: int
    outages: float
    rows: int
    run: dict[str, Any] = field(default_factory=dict)
    decoder: dict[str, Any] = field(default_factory=dict)


class _Cursor:
    """The stream of what the cursor does, for whoever watches or records."""

    def __init__(self, rig: str) -> None:
        info = stream_info(
            f"{rig} Cursor", "Behaviour", source_id=f"bci-lfads:{rig}:Cursor",
            labels=CURSOR_CHANNELS, units=["cm", "cm", "cm/s", "cm/s", "cm", "cm"],
            rate=1.0 / LOOP_STEP, desc={"synchronization": {"can_drop_samples": "true"}},
        )  # fmt: skip
        self._outlet = pylsl.StreamOutlet(info)
        self._row = np.zeros((1, len(CURSOR_CHANNELS)), np.float32)

    def push(self, rig: VirtualRig, stamp: float) -> None:
        row = self._row[0]
        row[:2], row[2:4] = rig.cursor, rig.subject.intention
        row[4:] = math.nan if rig.task.target is None else rig.task.target
        self._outlet.push_chunk(self._row, [stamp])

    def close(self) -> None:
        del self._outlet


def run_online(
    virtual: VirtualRig,
    rig: Rig,
    rig_file: Path,
    decoder_file: Path,
    seconds: float,
    stop: threading.Event,
    *,
    record: Path | None = None,
    timeout: float = 60.0,
    on_progress: Callable[[float], None] | None = None,
) -> OnlineReport:
    """Start a run and a decoder, close the loop through them, and end them.

    Parameters
    ----------
    virtual
        A new virtual rig.
    rig, rig_file
        The rig, a sliding window that moves on by one bin, and its file, for the run.
    decoder_file
        For the decoder.
    seconds
        Of the task, after the loop stands.
    stop
        Set it to end.
    record
        Where the run records the session, ``.xdf``; an existing file is replaced.
    timeout
        Seconds for the loop to stand.
    on_progress
        Called once a second with the seconds done.

    Raises
    ------
    BciLfadsError
        If a process fails, or no behaviour comes.
    """
    decoder = Decoder.load(decoder_file)
    check_cursor(decoder)
    if rig.input.spikes.name is None:
        raise RigError("the virtual rig serves spikes by the name in [input.spikes]; give one")
    recorded = () if record is None else ("--record", record.resolve(), "--overwrite")
    spikes = SpikeSource(rig.input.spikes.name, virtual.unit_labels)
    asked = rig.input.markers
    markers = MarkerSource((asked and asked.name) or f"{rig.name} Markers")
    cursor = _Cursor(rig.name)
    inlet = SampleInlet("behaviour", {"name": f"{rig.name} DecodedBehaviour"})
    try:
        with (
            _command("run", rig_file.resolve(), "--timeout", timeout, *recorded) as run,
            _command("decode", "run", decoder_file.resolve(), rig.name, "--timeout", timeout) as d,
        ):
            columns = [decoder.facts.channels.index(c) for c in VELOCITY]
            loop = _Loop(virtual, spikes, markers, cursor, inlet, columns)
            report = loop.run(seconds, stop, (run, d), timeout, on_progress)
            # The decoder first, lest it take the end of the run for a loss.
            report.decoder, report.run = _end(d), _end(run)
    finally:
        inlet.close()
        cursor.close()
        markers.close()
        spikes.close()
    return report


class _Loop:
    """The virtual rig by the LSL clock; steps begin on whole multiples of their length."""

    def __init__(
        self,
        virtual: VirtualRig,
        spikes: SpikeSource,
        markers: MarkerSource,
        cursor: _Cursor,
        inlet: SampleInlet,
        columns: list[int],
    ) -> None:
        self._virtual, self._spikes, self._markers = virtual, spikes, markers
        self._cursor, self._inlet, self._columns = cursor, inlet, columns
        self._delay = virtual.perturbation.delay
        self._due: deque[tuple[float, float, float]] = deque()
        self._movement = np.zeros(2)
        self._loop_delay, self._late = LatencyWindow(100_000), LatencyWindow(100_000)
        self._rows = 0
        self._heard = -math.inf
        self._outages = 0.0

    def run(
        self,
        seconds: float,
        stop: threading.Event,
        processes: tuple[subprocess.Popen[str], ...],
        timeout: float,
        on_progress: Callable[[float], None] | None,
    ) -> OnlineReport:
        """Fire at rest until behaviour comes, then do the task."""
        rest = VirtualRig(self._virtual.settings, self._virtual.perturbation, seed=999)
        first = math.ceil(pylsl.local_clock() / LOOP_STEP) + 2
        until = pylsl.local_clock() + timeout
        at = first
        while self._rows < _WARM_UP and not stop.is_set():
            self._wait_for(at)
            pulse = rest.subject.spikes(np.repeat(rest.subject.latents()[None], 10, 0), 0)
            self._push(Step(0, *pulse, ()), at)
            self._take(at * LOOP_STEP)
            at += 1
            self._check(processes)
            if at * LOOP_STEP > until:
                raise StreamError(f"no behaviour was decoded within {timeout:g} s")
        self._due.clear()
        self._outages = 0.0
        self._loop_delay, self._late = LatencyWindow(100_000), LatencyWindow(100_000)
        begin, skipped = at, 0
        pending: Step | None = None
        n_steps, self._rows = round(seconds / LOOP_STEP), 0
        while at - begin - skipped < n_steps and not stop.is_set():
            late = self._wait_for(at)
            self._late.add(late)
            if late > LOOP_STEP:  # what was not stepped did not happen: time of the task stands
                missed = int(late / LOOP_STEP)
                skipped, at = skipped + missed, at + missed
            if pending is not None:
                self._push(pending, at - 1)
            now = at * LOOP_STEP
            self._take(now)
            step = self._virtual.step(self._movement)
            for label in step.markers:
                self._markers.push(now, label)
            self._cursor.push(self._virtual, now)
            pending, at = step, at + 1
            if (at - begin) % 100 == 0:
                self._check(processes)
                if on_progress is not None:
                    on_progress((at - begin - skipped) * LOOP_STEP)
        return OnlineReport(
            self._virtual, self._loop_delay.percentiles(), self._late.percentiles(), skipped,
            self._outages, self._rows,
        )  # fmt: skip

    def _wait_for(self, at: int) -> float:
        """Sleep until a step begins; return by how much it is late."""
        due = at * LOOP_STEP
        while (left := due - float(pylsl.local_clock())) > 0:
            time.sleep(max(0.0, left - _SPIN))
        return -left

    def _push(self, step: Step, at: int) -> None:
        """Push the spikes of a step that is over, on the clock of the step with number `at`."""
        shift = at * LOOP_STEP - step.number * LOOP_STEP
        self._spikes.push(step.times + shift, step.units)

    def _take(self, now: float) -> None:
        """Take the behaviour that has come, and sum up what is due to move the cursor."""
        rows, stamps = self._inlet.pull()
        taken = pylsl.local_clock()
        for row, stamp in zip(rows, stamps.tolist(), strict=True):
            x, y = (float(row[c]) for c in self._columns)
            self._due.append((taken + self._delay, x, y))
            self._loop_delay.add(taken - stamp - 0.5 * LOOP_STEP)
            self._rows += 1
        if len(stamps):
            self._heard = now
        elif now - self._heard > _SILENCE:
            self._outages += LOOP_STEP
        self._movement[:] = 0.0
        while self._due and self._due[0][0] <= taken:
            _, x, y = self._due.popleft()
            self._movement[0] += x * LOOP_STEP
            self._movement[1] += y * LOOP_STEP

    def _check(self, processes: tuple[subprocess.Popen[str], ...]) -> None:
        for process in processes:
            if process.poll() is not None:
                raise BciLfadsError(
                    f"'{_words(process)}' ended with exit code {process.returncode}: "
                    f"{process.communicate()[1].strip()}"
                )


@contextmanager
def _command(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run a `bci-lfads` command in a process; it does not outlive the context."""
    process: subprocess.Popen[str] = start(
        "--quiet", *arguments, "--json", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _end(process: subprocess.Popen[str]) -> dict[str, Any]:
    process.send_signal(signal.SIGINT)
    try:
        out, said = process.communicate(timeout=30.0)
    except subprocess.TimeoutExpired as error:
        raise BciLfadsError(f"'{_words(process)}' does not end") from error
    if process.returncode != 0:
        raise BciLfadsError(f"'{_words(process)}' failed: {said.strip()}")
    result: dict[str, Any] = json.loads(out)
    return result


def _words(process: subprocess.Popen[str]) -> str:
    arguments: Any = process.args
    return " ".join(["bci-lfads", *arguments[4:]])
