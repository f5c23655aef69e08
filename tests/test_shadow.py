"""A second engine beside the loop: its differences are told, and it never holds the loop up."""

import threading
import time

import numpy as np
import pytest
from models.float_models import poisson
from test_pipeline import MODEL, Gate, Loop

from bci_lfads.engines import open_engine
from bci_lfads.errors import EngineError
from bci_lfads.shadow import Shadow


def until(happened) -> None:
    end = time.monotonic() + 10.0
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.002)


def show(shadow: Shadow, n: int = 4, error: float = 0.0) -> None:
    with open_engine("native", MODEL) as engine:
        for counts in poisson(MODEL.spec, n):
            factors = engine.infer(counts).factors.copy()
            factors[2, 1] += error
            shadow.show(counts, factors)


def test_the_same_engine_agrees_to_the_bit():
    shadow = Shadow(open_engine("native", MODEL))
    show(shadow)
    assert shadow.close()
    assert (shadow.compared, shadow.equal, shadow.skipped, shadow.largest) == (4, 4, 0, 0.0)


def test_a_difference_is_measured():
    shadow = Shadow(open_engine("native", MODEL))
    show(shadow, error=0.5)
    shadow.close()
    found = shadow.summary()
    size = MODEL.spec.n_bins_out * MODEL.spec.n_factors
    assert (found["equal"], found["compared"]) == (0, 4)
    assert found["largest_difference"] == found["newest_difference"] == pytest.approx(0.5, abs=1e-6)
    assert found["rms_difference"] == pytest.approx(0.5 / size**0.5, rel=1e-5)


def test_torch_is_near_and_not_equal():
    pytest.importorskip("torch")
    shadow = Shadow(open_engine("torch", MODEL))
    show(shadow)
    shadow.close(20.0)
    assert shadow.compared == 4
    assert 0 < shadow.largest < 0.05


def test_an_engine_that_hangs_costs_its_comparisons_and_nothing_else():
    gate = Gate()
    gate.n = 1  # its trial is over
    gate.open.clear()
    shadow = Shadow(gate, n_places=3)
    show(shadow, 8)  # returns, though nothing is compared
    assert shadow.skipped >= 4
    assert not shadow.close(0.05)
    gate.open.set()


def test_an_engine_that_fails_is_counted_and_the_next_window_is_compared():
    gate = Gate()
    gate.n = 1
    gate.faults.append(EngineError("the card is gone"))
    shadow = Shadow(gate)
    show(shadow, 3)
    until(lambda: shadow.compared == 2)
    assert shadow.failed == 1
    shadow.close()


def test_the_loop_publishes_what_its_shadow_finds():
    with Loop() as loop:
        loop.pipeline.account.shadow = Shadow(open_engine("native", MODEL))
        loop.trial()
        loop.until(lambda: loop.out.trials)
        loop.until(lambda: loop.out.status[-1]["shadow"]["compared"] == 1)
        found = loop.finish().status["shadow"]
    assert (found["engine"], found["equal"], found["skipped"]) == ("native", 1, 0)
    assert not [t for t in threading.enumerate() if t.name == "shadow"]
    assert np.isfinite(found["rms_difference"])
