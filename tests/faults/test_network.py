"""Faults of the network between source and loop, which is a process that finds only the network."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pylsl
import pytest
from e2e.conftest import model_of  # noqa: F401  (fixture)
from faults.network import Network, free_ports

from bci_lfads.streams.sources import SpikeSource

pytestmark = [pytest.mark.lsl, pytest.mark.timeout(180)]
LABELS = ("a", "b", "c")
PERIOD = 0.005


class Playing:
    """A spike each 5 ms, until it is stopped; `sent` are its stamps."""

    def __init__(self, name: str) -> None:
        self.source = SpikeSource(name, LABELS)
        self.sent: list[float] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._play)
        self._thread.start()

    def _play(self) -> None:
        while not self._over.wait(PERIOD):
            now = pylsl.local_clock()
            self.source.push(np.array([now]), np.zeros(1, np.int32))
            self.sent.append(now)

    def stop(self) -> None:
        self._over.set()
        self._thread.join()


@pytest.fixture
def playing(unique) -> Iterator[Playing]:
    source = Playing(f"{unique} S")
    yield source
    source.stop()
    source.source.close()


@pytest.fixture
def network(playing) -> Iterator[Network]:
    info = playing.source._outlet.get_info()
    xml = info.as_xml()
    ports = [int(xml.split(f"<v4{what}_port>")[1].split("<")[0]) for what in ("service", "data")]
    between = Network(*ports, free_ports(16))
    yield between
    between.close()


@contextmanager
def running(unique, folder: Path, network: Network, model, hold_off: float):
    """Run a rig in a process whose LSL looks at the network's port alone; gives its result."""
    model.save(folder / "model.safetensors")
    (folder / "rig.toml").write_text(f"""
name = "{unique}"
model = "model.safetensors"
[input.spikes]
name = "{unique} S"
[window]
mode = "sliding"
[binning]
hold_off = {hold_off}
""")
    session = pylsl.StreamInfo("probe", "", 1, 0, "int32", "")
    outlet = pylsl.StreamOutlet(session)
    (folder / "lsl_api.cfg").write_text(f"""
[ports]
IPv6 = disable
BasePort = {network._port}
PortRange = 16
MulticastPort = {network._port + 15}
[multicast]
ResolveScope = machine
AddressesOverride = {{127.0.0.1}}
[lab]
KnownPeers = {{127.0.0.1}}
SessionID = {outlet.get_info().session_id()}
""")
    del outlet
    process = subprocess.Popen(
        [sys.executable, "-m", "bci_lfads", "--quiet", "run", str(folder / "rig.toml"), "--json",
         "--timeout", "60"],
        cwd=tempfile.gettempdir(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"LSLAPICFG": str(folder / "lsl_api.cfg")},
    )  # fmt: skip
    result: dict = {}
    try:
        yield result
        process.terminate()
        said, errors = process.communicate(timeout=60.0)
        assert process.returncode == 0, errors
        result.update(json.loads(said)["status"])
    finally:
        process.kill()
        process.communicate()


def until(happened, timeout: float = 60.0) -> None:
    end = time.monotonic() + timeout
    while not happened():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.mark.fault("network")
def test_what_is_delayed_within_the_hold_off_is_in_its_bins_and_datagrams_may_be_lost(
    unique, tmp_path, playing, network, model_of  # noqa: F811
):  # fmt: skip
    # For its first clock correction LSL needs answers to 6 of 8 datagrams within 128 ms.
    network.delay, network.jitter, network.loss = 0.02, 0.02, 0.05
    with running(unique, tmp_path, network, model_of(LABELS, 5), hold_off=1.0) as status:
        assert playing.source.wait_for_consumer(60.0)
        begin = len(playing.sent)
        until(lambda: len(playing.sent) > begin + 600)
        playing.stop()
        time.sleep(2.0)  # what was sent comes, and its bins close
    counters = status["counters"]
    spikes = counters["spikes"]
    assert counters["inlet"]["losses"] == 0
    assert spikes["received"] >= 600
    assert spikes["late"] == spikes["ahead"] == spikes["invalid"] == 0
    assert spikes["kept"] + spikes["outside"] == spikes["received"]
    assert counters["trials"]["skipped"] == counters["dropped"] == 0
    assert counters["windows"] == counters["trials"]["emitted"] > 300


@pytest.mark.fault("stall")
@pytest.mark.fault("network")
def test_a_stall_of_the_network_costs_what_comes_too_late_and_no_window(
    unique, tmp_path, playing, network, model_of  # noqa: F811
):  # fmt: skip
    with running(unique, tmp_path, network, model_of(LABELS, 5), hold_off=0.3) as status:
        assert playing.source.wait_for_consumer(60.0)
        begin = len(playing.sent)
        until(lambda: len(playing.sent) > begin + 100)
        network.stalled = True
        stalled = len(playing.sent)
        until(lambda: len(playing.sent) > stalled + 300)
        network.stalled = False
        until(lambda: len(playing.sent) > stalled + 500)
        playing.stop()
        time.sleep(1.0)
    counters = status["counters"]
    spikes = counters["spikes"]
    assert counters["inlet"]["losses"] == 0
    assert spikes["received"] >= 600
    assert spikes["late"] > 100
    assert spikes["kept"] + spikes["late"] + spikes["outside"] == spikes["received"]
    assert counters["windows"] == counters["trials"]["emitted"]
    assert counters["trials"]["skipped"] == 0
    assert status["entered"]["degraded"] >= 1


@pytest.mark.fault("network")
def test_a_network_that_is_cut_is_waited_for(
    unique, tmp_path, playing, network, model_of  # noqa: F811
):  # fmt: skip
    with running(unique, tmp_path, network, model_of(LABELS, 5), hold_off=0.3) as status:
        assert playing.source.wait_for_consumer(60.0)
        asked = network.n_answers
        until(lambda: network.n_answers >= asked + 8)  # and so has a clock correction
        begin = len(playing.sent)
        until(lambda: len(playing.sent) > begin + 200)
        network.cut()
        until(lambda: not playing.source._outlet.have_consumers())
        network.mend()
        assert playing.source.wait_for_consumer(60.0)
        begin = len(playing.sent)
        until(lambda: len(playing.sent) > begin + 200)
        playing.stop()
        time.sleep(1.0)
    counters = status["counters"]
    assert counters["inlet"]["losses"] == 1
    assert status["entered"]["waiting"] == 1
    assert counters["spikes"]["received"] < len(playing.sent)
    assert counters["trials"]["truncated"] == counters["truncated_dropped"] >= 1
    assert counters["windows"] + counters["truncated_dropped"] == counters["trials"]["emitted"]
