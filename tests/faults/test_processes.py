"""Faults of processes: signals, an engine that never comes back, a consumer that never reads."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pylsl
import pytest
from e2e.conftest import command, model_of  # noqa: F401  (fixtures)

from bci_lfads.streams.outlets import Outlets, OutletSettings
from bci_lfads.streams.sources import SpikeSource

pytestmark = pytest.mark.lsl
LABELS = ("a", "b")


@pytest.fixture
def rig(unique, tmp_path, model_of) -> Path:  # noqa: F811
    model_of(LABELS, 5).save(tmp_path / "model.safetensors")
    path = tmp_path / "rig.toml"
    path.write_text(
        f"""
        name = "{unique}"
        model = "model.safetensors"
        [input.spikes]
        name = "{unique} S"
        [window]
        mode = "sliding"
        [supervision]
        hang = 0.5
        """
    )
    return path


def wait_for_state(inlet: pylsl.StreamInlet, found) -> dict:
    """Read a Status stream until a message is as asked for; return it."""
    until = time.monotonic() + 60.0
    while time.monotonic() < until:
        sample, _ = inlet.pull_sample(1.0)
        if sample is not None and found(message := json.loads(sample[0])):
            return message
    raise AssertionError("waited in vain")


def status_of(name: str) -> pylsl.StreamInlet:
    (info, *_) = pylsl.resolve_byprop("name", f"{name} Status", 1, 60.0)
    inlet = pylsl.StreamInlet(info, recover=False)
    inlet.open_stream(30.0)
    return inlet


@pytest.mark.fault("signals")
def test_term_ends_a_run_well_and_kill_leaves_nothing_that_hinders_the_next(
    rig, unique, command  # noqa: F811
):  # fmt: skip
    source = SpikeSource(f"{unique} S", LABELS)
    for how in (signal.SIGKILL, signal.SIGTERM):
        loop = command("run", rig, "--json")
        status = status_of(unique)
        wait_for_state(status, lambda m: m["state"] == "running" and m["counters"]["windows"] > 3)
        loop.process.send_signal(how)
        if how == signal.SIGKILL:
            assert loop.process.wait(20.0) == -signal.SIGKILL
        status.close_stream()
    report = loop.result(30.0)
    assert (report["status"]["state"], report["status"]["cause"]) == ("stopped", "asked")
    source.close()


@pytest.mark.fault("engine-hangs")
def test_a_process_whose_engine_hangs_can_be_stopped(rig, unique):
    source = SpikeSource(f"{unique} S", LABELS)
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("hanging_run.py")), str(rig)],
        cwd=tempfile.gettempdir(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        status = status_of(unique)
        wait_for_state(status, lambda m: m["cause"] == "engine_hangs")
        process.send_signal(signal.SIGINT)
        last = wait_for_state(status, lambda m: m["state"] == "stopped")
        assert last["cause"] == "engine_hangs"
        _, said = process.communicate(timeout=30.0)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 3
    assert "does not come back" in said
    source.close()


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.fault("consumer-stuck")
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads memory from /proc")
def test_a_consumer_that_never_reads_costs_bounded_memory(unique):
    outlets = Outlets(
        OutletSettings(
            rig=unique, unit_labels=LABELS, n_factors=8, bin_width=0.01, n_bins=5, hop=1,
            model_hash="0", engine="native", number_format="int16", input_source="none",
        )
    )  # fmt: skip
    stuck = subprocess.Popen(
        [sys.executable, "-c", "import pylsl, sys, time\n"
         f"i = pylsl.StreamInlet(pylsl.resolve_byprop('name', '{unique} Factors', 1, 60)[0])\n"
         "i.open_stream(30); print('open', flush=True); time.sleep(600)"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert stuck.stdout.readline() == "open\n"
        stuck.send_signal(signal.SIGSTOP)
        factors, before = np.zeros((1, 8), np.float32), 0
        for k in range(90_000):  # 15 minutes of bins; a minute of them is kept
            outlets.push_sliding(factors, None, np.array([0.01 * k]))
            if k == 30_000:
                before = resident()
        assert resident() - before < 5_000_000
    finally:
        stuck.kill()
        stuck.wait()
        stuck.stdout.close()
        outlets.close()


@pytest.mark.fault("load")
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_thousand_units_in_a_sliding_window_lose_nothing(tmp_path, command):  # noqa: F811
    """Two minutes, with a hold-off for a machine that does other things too."""
    seconds, file = 120, tmp_path / "soak.json"
    command("soak", "--seconds", seconds, "--hold-off", 2, "-o", file, "--json").result(350.0)
    found = json.loads(file.read_text())
    assert found["well"]
    assert found["status"]["counters"]["spikes"]["kept"] > 0.95 * seconds * 1024 * 50
    assert sum(found["jitter"]["pushed after it was closed"].values()) > 95 * seconds
    memory = found["resident_bytes"]
    assert abs(np.median(memory[-30:]) / np.median(memory[30:60]) - 1) <= 0.01
