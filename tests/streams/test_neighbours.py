"""Others' own building blocks on our outlets: MNE-LSL's streams and epochs, ezmsg's units."""

import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pylsl
import pytest
from served import environment
from test_readers import has

from bci_lfads.streams.outlets import Outlets, OutletSettings

pytestmark = pytest.mark.lsl
READERS = Path(__file__).parent / "readers"
WIDTH, FACTORS = 0.01, ("factor_0", "factor_1")


class Window:
    """A sliding window's factors, published in real time: each holds its own stamp."""

    def __init__(self, name):
        self.rig = name
        self._outlets = Outlets(
            OutletSettings(
                rig=name, unit_labels=("u1",), n_factors=2, bin_width=WIDTH, n_bins=10, hop=1,
                model_hash="c0ffee", engine="native", number_format="int16", input_source="S",
                clock="lsl",
            )
        )  # fmt: skip
        info = pylsl.StreamInfo(f"{name} Go", "Events", 1, 0.0, "int32", f"{name} go")
        info.desc().append_child("channels").append_child("channel").append_child_value(
            "label", "go"
        )
        self._events = pylsl.StreamOutlet(info)
        self._done = threading.Event()
        self.sent, self.stamps, self.marks = [], [], []  # marks: which bins had an event
        self._thread = threading.Thread(target=self._run)

    def start(self):
        self._thread.start()

    def _run(self):
        zero = pylsl.local_clock()
        k = 0
        while not self._done.wait(max(0.0, zero + k * WIDTH - pylsl.local_clock())):
            row = np.array([[k, -0.5 * k]], np.float32)
            stamp = zero + (k + 0.5) * WIDTH
            self._outlets.push_sliding(row, None, np.array([stamp]))
            self.sent.append(row[0].tolist())
            self.stamps.append(stamp)
            if k % 100 == 50:
                self.marks.append(k)
                self._events.push_sample([1], stamp)
            k += 1

    def close(self):
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()
        self._outlets.close()


@pytest.fixture
def window(unique):
    made = Window(unique)
    yield made
    made.close()


def run(reader, *arguments, on_ready):
    """Return what a reader, in a process of its own, makes of a stream."""
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, str(READERS / reader), *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=errors, text=True, env=environment(),
        )  # fmt: skip
        timer = threading.Timer(90, process.kill)
        timer.start()
        try:
            # All by this one file: what it has read ahead is not `communicate`'s.
            ready = any(line == "ready\n" for line in iter(process.stdout.readline, ""))
            if ready:
                on_ready()
            out = process.stdout.read()
            process.wait()
        finally:
            timer.cancel()
            process.kill()
            process.stdout.close()
            process.wait()
        errors.seek(0)
        said = errors.read()
    assert ready, said
    assert process.returncode == 0, said
    found = [line for line in out.splitlines() if line.startswith("{")]
    assert found, (out[-2000:], said)
    return json.loads(found[-1])


@pytest.mark.skipif(not has("mne_lsl"), reason="mne-lsl is not installed (extra dev)")
def test_mne_lsl_streams_and_epochs(window):
    window.start()  # it connects to streams that flow
    names = f"{window.rig} Factors", f"{window.rig} Go"
    read = run("mne_stream_reader.py", *names, 1, on_ready=lambda: None)
    assert tuple(read["labels"]) == FACTORS
    assert read["rate"] == pytest.approx(1 / WIDTH)
    place = {t: k for k, t in enumerate(window.stamps)}
    rows = [place[t] for t in read["stamps"] if t in place]
    # Its buffer begins with zeros, before the first sample.
    assert len(rows) > 50
    kept = [v for t, v in zip(read["stamps"], read["values"], strict=True) if t in place]
    np.testing.assert_array_equal(kept, np.array(window.sent)[rows])
    # The epoch is eleven bins from the one that the event is at.
    (epoch,) = np.array(read["epochs"])
    first = epoch[:, 0] if epoch.shape[1] == 2 else epoch[0]
    assert (np.diff(first) == 1).all()
    assert min(abs(first[0] - k) for k in window.marks) <= 1


@pytest.mark.skipif(not has("ezmsg.lsl"), reason="ezmsg-lsl is not installed (extra dev)")
def test_a_graph_of_ezmsg(window):
    read = run("ezmsg_unit_reader.py", f"{window.rig} Factors", 60, on_ready=window.start)
    k = int(read["samples"][0][0])
    n = len(read["samples"])
    assert n >= 60
    np.testing.assert_array_equal(read["samples"], window.sent[k : k + n])
    # A message of a regular stream has one stamp, that of its first sample.
    np.testing.assert_allclose(read["stamps"], window.stamps[k : k + n], rtol=0, atol=WIDTH / 2)
