"""Processes, rigs and models for tests of the whole path over real LSL."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models.float_models import random_weights

from bci_lfads.account import RunReport
from bci_lfads.models.model import Model
from bci_lfads.models.spec import LfadsSpec
from bci_lfads.pipeline import Pipeline, open_pipeline
from bci_lfads.recordings.recorder_process import RecorderProcess
from bci_lfads.rig import Rig, parse_rig
from bci_lfads.slots import Slot


@dataclass
class Command:
    """A `bci-lfads` command in a process of its own."""

    process: subprocess.Popen[str]

    def result(self, timeout: float = 120.0) -> Any:
        """Wait for the end and return the JSON that was printed."""
        out, err = self.process.communicate(timeout=timeout)
        assert self.process.returncode == 0, err + out
        return json.loads(out)

    def interrupt(self, timeout: float = 30.0) -> Any:
        self.process.send_signal(signal.SIGINT)
        return self.result(timeout)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def command() -> Iterator[Callable[..., Command]]:
    """Start `bci-lfads` commands; what still runs at the end of the test is ended."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object) -> Command:
        process = subprocess.Popen(
            [sys.executable, "-m", "bci_lfads", "--quiet", *map(str, arguments)],
            # Not from the checkout, where `-m` would take the sources for the package.
            cwd=tempfile.gettempdir(),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"COLUMNS": "200"},
        )  # fmt: skip
        started.append(process)
        return Command(process)

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def model_of() -> Callable[..., Model]:
    """Make a model with random weights for some units."""

    def make(unit_labels: tuple[str, ...], n_bins: int, bin_width: float = 0.01) -> Model:
        spec = LfadsSpec(
            n_units=len(unit_labels), n_bins=n_bins, encoder_size=24, ic_size=16,
            generator_size=16, n_factors=3,
        )  # fmt: skip
        return Model.from_weights(
            spec, random_weights(spec, 7), unit_labels=unit_labels, bin_width=bin_width
        )

    return make


def rig_of(name: str, window: dict[str, Any], **parts: Any) -> Rig:
    """Return a rig that reads `<name> S` and `<name> M`."""
    content = {
        "name": name,
        "model": "given.safetensors",
        "input": {"spikes": {"name": f"{name} S"}, "markers": {"name": f"{name} M"}},
        "window": window,
        "binning": {"hold_off": 0.3},  # exactness is tested, not how busy the machine is
        **parts,
    }
    return parse_rig(content, Path("rig.toml"))


@dataclass
class Running:
    """A pipeline that runs in a thread of this process."""

    pipeline: Pipeline
    stop: threading.Event
    thread: threading.Thread
    counts: list[tuple[int, float, Any]] = field(default_factory=list)
    """Trial, start and counts of each published window."""
    outcome: list[Any] = field(default_factory=list)

    def finish(self) -> RunReport:
        self.stop.set()
        self.thread.join(30.0)
        assert not self.thread.is_alive()
        assert not isinstance(self.outcome[0], BaseException), self.outcome[0]
        return self.outcome[0]

    def wait_for(self, condition: Callable[[], bool], timeout: float = 60.0) -> None:
        until = time.monotonic() + timeout
        while not condition():
            assert self.thread.is_alive(), self.outcome
            assert time.monotonic() < until, "waited in vain"
            time.sleep(0.02)


@pytest.fixture
def running() -> Iterator[Callable[..., Running]]:
    """Run pipelines; they are stopped and closed at the end of the test."""
    all_running: list[Running] = []

    def start(
        rig: Rig, model: Model, *, keep: int = 1_000_000, recorder: RecorderProcess | None = None
    ) -> Running:
        kept: list[tuple[int, float, Any]] = []

        def on_window(slot: Slot) -> None:
            if len(kept) < keep:
                kept.append((slot.trial, slot.start, slot.counts.copy()))

        pipeline = open_pipeline(rig, model=model, on_window=on_window)
        if recorder is not None:
            pipeline.account.recorder = recorder
            assert recorder.wait_until_complete(60.0, lambda: False)
        stop = threading.Event()
        outcome: list[Any] = []

        def body() -> None:
            try:
                outcome.append(pipeline.run(stop, connect_timeout=60.0))
            except BaseException as error:
                outcome.append(error)

        thread = threading.Thread(target=body)
        new = Running(pipeline, stop, thread, kept, outcome)
        all_running.append(new)
        thread.start()
        return new

    yield start
    for one in all_running:
        one.stop.set()
        one.thread.join(30.0)
        one.pipeline.close()


def read_factors(path: Path) -> dict[str, np.ndarray]:
    """Read what the reader process wrote."""
    with np.load(path) as file:
        return {name: file[name] for name in file.files}
