"""A decoder on LSL: what it publishes equals the offline path, through restarts of the loop."""

import json
import threading
import time

import numpy as np
import pylsl
import pytest
from decoding.conftest import plain_decoder
from streams.served import until

from bci_lfads.decoding.consumer import DecoderRun
from bci_lfads.decoding.outlets import LATENCY_CHANNELS
from bci_lfads.errors import DecoderError, StreamError
from bci_lfads.headers import parse_header
from bci_lfads.streams.outlets import Outlets, OutletSettings

pytestmark = pytest.mark.lsl
N, WIDTH = 6, 0.02  # factors of the model


class Running:
    """A decoder in a thread, and a consumer of what it publishes."""

    def __init__(self, rig, decoder):
        self.run = DecoderRun(rig, decoder)
        self.stop, self.outcome = threading.Event(), []
        self._thread = threading.Thread(target=self._body)
        self.behaviour, self.latency, self.status = (
            self._inlet(f"{rig} {s}")
            for s in ("DecodedBehaviour", "DecodedLatency", "DecoderStatus")
        )
        self._thread.start()

    def _inlet(self, name):
        inlet = pylsl.StreamInlet(pylsl.resolve_byprop("name", name, timeout=10)[0])
        inlet.open_stream(10)
        return inlet

    def _body(self):
        try:
            self.outcome.append(self.run.run(self.stop, connect_timeout=20.0))
        except Exception as error:
            self.outcome.append(error)

    def is_connected(self):
        return (
            self.run._factors.connection.state == "open"
            and self.run._latencies.connection.state == "open"
        )

    def pull(self, inlet, n):
        rows, stamps = [], []
        end = time.monotonic() + 10
        while len(stamps) < n and time.monotonic() < end:
            more, at = inlet.pull_chunk(0.05)
            rows += more
            stamps += at
        assert len(stamps) == n
        return np.array(rows), np.array(stamps)

    def finish(self):
        self.stop.set()
        self._thread.join(20)
        return self.outcome[0]

    def close(self):
        self.finish()
        self.run.close()


@pytest.fixture
def decoding(unique):
    opened = []

    def start(decoder):
        opened.append(Running(unique, decoder))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def outlets(rig, model, hop=1, **changes):
    return Outlets(
        OutletSettings(**{
            "rig": rig, "unit_labels": model.unit_labels, "n_factors": N, "bin_width": WIDTH,
            "n_bins": 5, "hop": hop, "model_hash": model.hash, "engine": "native",
            "number_format": "int16", "input_source": "S", **changes,
        })
    )  # fmt: skip


def expected(decoder, *stretches):
    running, found = decoder.start(), []
    for rows in stretches:
        running.reset()
        found += [running(row).astype(np.float32) for row in rows]
    return np.array(found)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def test_behaviour_has_the_factors_stamps_and_the_offline_values(unique, model, decoding, rng):
    decoder = plain_decoder(model, history=2, unit="cm/s", lag=0.04)
    rig = outlets(unique, model)
    running = decoding(decoder)
    until(running.is_connected)
    rows = rng.normal(size=(30, N)).astype(np.float32)
    now = pylsl.local_clock()
    stamps = now + WIDTH * np.arange(30)
    stamps[20:] += 0.1  # a gap, behind which nothing before it is remembered
    moments = rng.random((30, 4)) + now
    for k in range(30):
        rig.push_sliding(rows[k : k + 1], None, stamps[k : k + 1])
        rig.push_latency(stamps[k] + WIDTH / 2, now - 0.01, *moments[k])
    found, at = running.pull(running.behaviour, 30)
    np.testing.assert_array_equal(at, stamps)
    np.testing.assert_array_equal(found, expected(decoder, rows[:20], rows[20:]))
    latency, ends = running.pull(running.latency, 30)
    order = np.argsort(ends)
    np.testing.assert_allclose(ends[order], stamps + WIDTH / 2)
    last_spike, factors_pushed, received, pushed = latency[order].T
    np.testing.assert_array_equal(last_spike, now - 0.01)
    np.testing.assert_array_equal(factors_pushed, moments[:, 3])
    assert (now < received).all()
    assert (received < pushed).all()
    header = parse_header(running.behaviour.info(5).as_xml())
    assert (header.type, header.rate, header.format) == ("Behaviour", 50.0, "float32")
    assert header.labels == ("vx", "vy")
    assert header.source_id == f"bci-lfads:{unique}:DecodedBehaviour"
    assert header.text("channels/channel/unit") == "cm/s"
    assert header.text("model/hash") == model.hash
    assert header.text("decoder/hash") == decoder.hash
    assert header.text("decoder/lags_ms") == "0, 20, 40"
    assert header.text("timestamp_reference") == "centre"
    assert parse_header(running.latency.info(5).as_xml()).labels == LATENCY_CHANNELS
    report = running.finish()
    counters = report.status["counters"]
    assert (counters["rows"], counters["published"], counters["gaps"]) == (30, 30, 1)
    assert report.received_to_pushed.n > 0
    assert report.spike_to_pushed.n == 30
    rig.close()


def test_trials_are_decoded_each_from_its_begin(unique, model, decoding, rng):
    decoder = plain_decoder(model, "trials", history=1)
    rig = outlets(unique, model, None)
    running = decoding(decoder)
    until(running.is_connected)
    rows = rng.normal(size=(2, 5, N)).astype(np.float32)
    now = pylsl.local_clock()
    stamps = now + WIDTH * np.arange(5)
    rig.push_trial(rows[0], None, stamps, 7)
    rig.push_trial(rows[1], None, stamps - 0.03, 8)  # overlaps the one before
    found, at = running.pull(running.behaviour, 10)
    np.testing.assert_array_equal(at, np.concatenate([stamps, stamps - 0.03]))
    np.testing.assert_array_equal(found[:, :2], expected(decoder, *rows))
    np.testing.assert_array_equal(found[:, 2], np.repeat([7, 8], 5))
    np.testing.assert_array_equal(found[:, 3], np.tile(np.arange(5), 2))
    rig.close()


def test_what_is_no_number_is_counted_and_not_published(unique, model, decoding):
    decoder = plain_decoder(model, history=1)
    rig = outlets(unique, model)
    running = decoding(decoder)
    until(running.is_connected)
    rows = np.ones((4, N), np.float32)
    rows[1, 2] = np.nan
    now = pylsl.local_clock()
    stamps = now + WIDTH * np.array([0, 1, 2, 1.5])
    rig.push_sliding(rows, None, stamps)
    found, at = running.pull(running.behaviour, 2)
    np.testing.assert_array_equal(at, stamps[[0, 2]])
    np.testing.assert_array_equal(found, expected(decoder, rows[:1], rows[2:3]))
    until(lambda: running.run.counters.rows == 4)
    assert running.run.counters.invalid == running.run.counters.disordered == 1
    rig.close()


def test_the_loop_may_go_and_come_back(unique, model, decoding, rng):
    decoder = plain_decoder(model, history=1)
    running = decoding(decoder)
    rows = rng.normal(size=(2, 3, N)).astype(np.float32)
    found = []
    for part in rows:
        rig = outlets(unique, model)
        until(running.is_connected, 30)
        rig.push_sliding(part, None, pylsl.local_clock() + WIDTH * np.arange(3))
        found.append(running.pull(running.behaviour, 3)[0])
        rig.close()
        until(lambda: not running.is_connected())
    np.testing.assert_array_equal(np.concatenate(found), expected(decoder, *rows))
    assert running.finish().status["counters"]["losses"] >= 1
    status = [json.loads(text) for (text,) in running.status.pull_chunk(0.5)[0]]
    assert {s["state"] for s in status} >= {"running", "waiting", "stopped"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_hash": "other"}, "fitted to factors of model"),
        ({"hop": 2}, "has a hop of 2 bins; the decoder was fitted to one of 1"),
        ({"n_factors": 3}, "has 3 channels; the decoder expects 6"),
    ],
)
def test_factors_of_another_kind_are_refused(unique, model, decoding, changes, message):
    rig = outlets(unique, model, **changes)
    running = decoding(plain_decoder(model))
    until(lambda: running.outcome)
    assert isinstance(running.outcome[0], StreamError)
    assert message in str(running.outcome[0])
    rig.close()


def test_a_decoder_of_counts_cannot_run(unique, model):
    with pytest.raises(DecoderError, match="which a run does not publish"):
        DecoderRun(unique, plain_decoder(model, input="counts"))


def test_a_step_allocates_next_to_nothing(model):
    import tracemalloc

    decoder = plain_decoder(model, history=20)
    running, row = decoder.start(), np.ones(N, np.float32)
    for _ in range(100):
        running(row)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    for _ in range(1000):
        running(row)
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 2000
    assert peak - before < 4000
