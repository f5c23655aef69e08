"""The loop with inlets, engine and outlets that the test drives: no network."""

import json
import math
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pylsl
import pytest
from fakes import FakeMarkers, FakeSpikes
from models.float_models import random_float_model, small_spec

from bci_lfads.about import RATES
from bci_lfads.engines import open_engine
from bci_lfads.engines.base import Latents
from bci_lfads.errors import EngineError, RigError, StreamError
from bci_lfads.parts import check_fit
from bci_lfads.pipeline import Pipeline
from bci_lfads.rig import parse_rig

N_BINS, WIDTH = 9, 0.01
MODEL = random_float_model(small_spec())


class Gate:
    """An engine that waits for the test before it gives each window, or fails when it is told."""

    def __init__(self) -> None:
        self.inner = open_engine("native", MODEL)
        self.info = self.inner.info
        self.open = threading.Event()
        self.open.set()
        self.faults: list[BaseException] = []
        self.n = 0

    def infer(self, counts, out: Latents) -> Latents:
        self.n += 1
        if self.n > 1:  # the first is the warm-up
            assert self.open.wait(20.0)
            if self.faults:
                raise self.faults.pop()
        return self.inner.infer(counts, out)

    def close(self) -> None:
        self.inner.close()


class Kept:
    """Outlets that keep what was pushed."""

    def __init__(self) -> None:
        self.trials, self.sliding, self.latency, self.status = [], [], [], []
        self.journal = []

    def push_trial(self, factors, log_rates, stamps, trial):
        self.trials.append((trial, factors.copy(), stamps.copy()))

    def push_sliding(self, factors, log_rates, stamps):
        self.sliding.append((factors.copy(), stamps.copy()))

    def push_latency(self, *moments):
        self.latency.append(moments)

    def push_journal(self, rows, stamps):
        self.journal.extend(rows.tolist())

    def push_status(self, status, when):
        self.status.append(json.loads(json.dumps(status, allow_nan=False)))

    def close(self):
        pass


class Loop:
    """A pipeline in a thread; `around` makes its engine of the gate."""

    def __init__(self, window=None, *, around=lambda engine: engine, **parts) -> None:
        content = {
            "name": "R",
            "model": "m",
            "input": {"spikes": {"name": "S"}, "markers": {"name": "M"}},
            "window": window or {"mode": "trials", "start": "go"},
            "loop": {"status_interval": 0.02, **parts.pop("loop", {})},
            **parts,
        }
        self.spikes, self.markers = FakeSpikes(), FakeMarkers()
        self.engine, self.out = Gate(), Kept()
        rig = parse_rig(content, Path("rig.toml"))
        sliding = rig.window.mode == "sliding"
        self.pipeline = Pipeline(
            rig, MODEL, around(self.engine), self.spikes, None if sliding else self.markers,
            self.out,
        )  # fmt: skip
        self.stop, self.outcome = threading.Event(), []
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self.outcome.append(self.pipeline.run(self.stop))
        except BaseException as error:
            self.outcome.append(error)

    def __enter__(self):
        self.thread.start()
        self.until(lambda: any(s["state"] == "running" for s in self.out.status))
        return self

    def __exit__(self, *_):
        self.engine.open.set()
        self.stop.set()
        self.thread.join(10.0)
        self.pipeline.close()

    def finish(self):
        self.stop.set()
        self.thread.join(10.0)
        return self.outcome[0]

    def until(self, happened) -> None:
        end = time.monotonic() + 10.0
        while not happened():
            assert time.monotonic() < end, (self.out.status[-1:], self.outcome)
            time.sleep(0.002)

    def trial(self) -> float:
        """Have a trial begin now, with a spike of unit 2 in its second bin."""
        now = pylsl.local_clock()
        self.markers.waiting.append((now, "go"))
        self.spikes.push(now + 1.5 * WIDTH, unit=2)
        return now


def test_a_trial_comes_out_as_the_engine_gives_it_at_the_bins_centres():
    with Loop() as loop:
        start = loop.trial()
        loop.until(lambda: loop.out.trials)
        report = loop.finish()
    counts = np.zeros((N_BINS, 7), np.uint8)
    counts[1, 2] = 1
    with open_engine("native", MODEL) as engine:
        expected = engine.infer(counts).factors
    ((trial, factors, stamps),) = loop.out.trials
    assert trial == 0
    np.testing.assert_array_equal(factors, expected)
    np.testing.assert_array_equal(stamps, start + (np.arange(N_BINS) + 0.5) * WIDTH)
    ((end, last_spike, closed, submitted, done, pushed),) = loop.out.latency
    assert end == pytest.approx(start + N_BINS * WIDTH)
    assert last_spike == start + 1.5 * WIDTH
    assert end + loop.pipeline.rig.binning.hold_off <= closed <= submitted <= done <= pushed
    assert [s["trial"]["trial"] for s in loop.out.status if "trial" in s] == [0]
    assert loop.out.status[0]["state"] == "waiting"
    assert loop.out.status[-1] == report.status
    assert (report.status["state"], report.status["reason"]) == ("stopped", "asked to stop")
    assert report.engine.n == report.closed_to_pushed.n == report.end_to_pushed.n == 1


def test_a_sliding_window_gives_each_bin_once():
    with Loop({"mode": "sliding", "hop": 2}) as loop:
        loop.until(lambda: len(loop.out.sliding) >= 10)
        loop.finish()
    stamps = np.concatenate([s for _, s in loop.out.sliding])
    np.testing.assert_allclose(np.diff(stamps), WIDTH, rtol=0, atol=1e-9)
    assert all(f.shape == (2, 3) for f, _ in loop.out.sliding)


@pytest.mark.fault("engine-slow")
def test_a_slow_engine_costs_the_oldest_windows_and_never_the_spikes():
    with Loop(loop={"queue": 2}) as loop:
        loop.engine.open.clear()
        loop.trial()
        loop.until(lambda: loop.engine.n == 2)
        for _ in range(5):
            loop.trial()
        # While the engine stands, spikes go on being taken in.
        loop.until(lambda: not loop.spikes.chunks)
        loop.until(lambda: loop.out.status and _dropped(loop) >= 3)
        loop.engine.open.set()
        loop.until(lambda: len(loop.out.trials) == 3)
        report = loop.finish()
    # The one at the engine, and the two newest.
    assert [t for t, _, _ in loop.out.trials] == [0, 4, 5]
    counters = report.status["counters"]
    assert (counters["dropped"], counters["windows"]) == (3, 3)
    assert counters["spikes"]["received"] == 6


def _dropped(loop: Loop) -> int:
    return loop.pipeline._slots.dropped


@pytest.mark.fault("engine-raises")
def test_a_window_that_fails_in_the_engine_is_counted_and_the_next_one_is_well(caplog):
    with Loop() as loop:
        loop.engine.faults.append(EngineError("the card is gone"))
        loop.trial()
        loop.until(lambda: loop.engine.n == 2)
        loop.trial()
        loop.until(lambda: loop.out.trials)
        report = loop.finish()
    assert [t for t, _, _ in loop.out.trials] == [1]
    assert report.status["counters"]["engine_errors"] == 1
    assert any(s["cause"] == "engine_errors" for s in loop.out.status)
    assert "the card is gone" in caplog.text


@pytest.mark.fault("engine-raises")
def test_an_engine_that_breaks_in_another_way_ends_the_run_and_says_so():
    with Loop() as loop:
        loop.engine.faults.append(ZeroDivisionError("a defect"))
        loop.trial()
        loop.thread.join(10.0)
        assert isinstance(loop.outcome[0], ZeroDivisionError)
    assert loop.out.status[-1]["state"] == "stopped"
    assert "a defect" in loop.out.status[-1]["reason"]


def test_an_acquisition_that_breaks_ends_the_run_and_says_so():
    with Loop() as loop:
        loop.spikes.chunks.append(None)  # no chunk at all
        loop.thread.join(10.0)
        assert isinstance(loop.outcome[0], (AttributeError, TypeError))
    assert loop.out.status[-1]["state"] == "stopped"
    assert "acquisition failed" in loop.out.status[-1]["reason"]


def test_units_that_fire_otherwise_than_in_training_are_told(monkeypatch):
    rates = ",".join(["0.2"] * 6 + ["50"])
    monkeypatch.setattr("test_pipeline.MODEL", replace(MODEL, provenance={RATES: rates}))
    with Loop({"mode": "sliding"}, input={"spikes": {"name": "S"}, "mask": ["n1"]}) as loop:
        labels = MODEL.unit_labels
        loop.until(lambda: loop.out.status[-1]["units"]["drift"]["silent"] == 1)
    units = loop.out.status[-1]["units"]
    assert units["masked"] == [labels[1]]
    assert units["drift"]["which"] == [labels[6]]
    assert units["drift"]["of"] == 6
    assert not units["drift"]["alarm"]  # one of six


def test_late_factors_are_counted_as_deadline_misses():
    with Loop(loop={"deadline": 0.02}) as loop:
        loop.trial()
        loop.until(lambda: loop.out.trials)
        loop.engine.open.clear()
        loop.trial()
        loop.until(lambda: loop.engine.n == 3)
        time.sleep(0.1)
        loop.engine.open.set()
        loop.until(lambda: len(loop.out.trials) == 2)
        report = loop.finish()
    assert report.status["counters"]["deadline_misses"] >= 1
    assert report.engine.maximum > 0.09


def test_a_source_that_is_away_is_told_with_its_reason():
    with Loop() as loop:
        loop.spikes.state, loop.spikes.reason = "waiting", "the stream was lost; looking for it"
        loop.until(lambda: loop.out.status[-1]["state"] == "waiting")
        assert loop.out.status[-1]["reason"] == "spikes: the stream was lost; looking for it"
        loop.spikes.state, loop.spikes.opened_at = "open", pylsl.local_clock()
        loop.until(lambda: loop.out.status[-1]["state"] == "running")


def test_a_trial_that_is_due_when_the_run_ends_is_still_published():
    with Loop() as loop:
        loop.engine.open.clear()
        loop.trial()
        loop.until(lambda: loop.engine.n == 2)
        loop.trial()
        loop.until(lambda: len(loop.pipeline._slots) == 1)
        loop.stop.set()
        loop.engine.open.set()
        loop.thread.join(10.0)
    assert [t for t, _, _ in loop.out.trials] == [0, 1]


def test_status_can_be_read_before_anything_came():
    with Loop() as loop:
        first = loop.out.status[0]
    assert first["watermark"] is None
    assert first["latency_ms"] == {"n": 0, "median": None, "p99": None, "max": None}
    assert not math.isnan(first["time"])


def test_a_run_that_is_stopped_while_it_waits_for_streams_ends_at_once():
    loop = Loop()
    loop.spikes.state = "waiting"
    loop.thread.start()
    loop.until(lambda: loop.out.status)
    loop.stop.set()
    loop.thread.join(2.0)
    assert not loop.thread.is_alive()
    report = loop.outcome[0]
    assert (report.status["state"], report.engine.n) == ("stopped", 0)
    loop.pipeline.close()


def test_a_stream_that_is_not_there_is_told_on_status_too():
    loop = Loop()

    def refuse(timeout, stop):
        raise StreamError("spikes: no stream with name 'S' yet")

    loop.spikes.open = refuse
    loop.thread.start()
    loop.thread.join(5.0)
    assert isinstance(loop.outcome[0], StreamError)
    assert loop.out.status[-1]["state"] == "stopped"
    assert "no stream with name 'S'" in loop.out.status[-1]["reason"]
    loop.pipeline.close()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"input": {"spikes": {"name": "S"}, "units": {"x9": "9"}}}, "x9"),
        ({"window": {"mode": "sliding", "hop": 10}}, "hop is 10"),
    ],
)
def test_a_rig_that_does_not_fit_the_model_is_refused(change, words):
    content = {
        "name": "R", "model": "m", "input": {"spikes": {"name": "S"}}, "window": {"mode": "sliding"}
    }  # fmt: skip
    with pytest.raises(RigError, match=words):
        check_fit(parse_rig(content | change, Path("rig.toml")), MODEL)
