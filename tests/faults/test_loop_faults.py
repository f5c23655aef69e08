"""Faults of the engine and of silent sources, in a loop without a network."""

import threading
import time

import pytest
from test_pipeline import MODEL, Loop

from bci_lfads.engines import open_engine
from bci_lfads.engines.fallback import FallbackEngine
from bci_lfads.errors import CardLostError

QUICK = {"hang": 0.15, "silence": 0.3, "memory": 0.5}


def causes(loop: Loop) -> list[str]:
    return [s["cause"] for s in loop.out.status]


@pytest.mark.fault("engine-hangs")
def test_an_engine_that_hangs_is_told_while_it_does_and_the_loop_goes_on_when_it_comes_back():
    with Loop(supervision=QUICK | {"silence": 60.0}) as loop:
        loop.engine.open.clear()
        loop.trial()
        loop.until(lambda: loop.engine.n == 2)
        loop.until(lambda: causes(loop)[-1] == "engine_hangs")
        n = len(loop.out.status)
        loop.until(lambda: len(loop.out.status) > n + 2)  # it is told again and again
        assert (loop.out.status[-1]["state"], loop.out.trials) == ("degraded", [])
        loop.engine.open.set()
        loop.until(lambda: loop.out.status[-1]["state"] == "running")
        loop.trial()
        loop.until(lambda: len(loop.out.trials) == 2)
        report = loop.finish()
    assert [t for t, _, _ in loop.out.trials] == [0, 1]
    assert report.status["counters"]["dropped"] == 0
    assert report.status["entered"]["degraded"] == 1


@pytest.mark.fault("engine-hangs")
def test_a_loop_that_is_to_stop_while_its_engine_hangs_says_so_and_gives_the_word_to_end_it():
    ended = threading.Event()
    with Loop(supervision=QUICK) as loop:
        pass
    loop = Loop(supervision=QUICK)
    loop._run = lambda: loop.outcome.append(loop.pipeline.run(loop.stop, on_hang=ended.set))
    loop.thread = threading.Thread(target=loop._run)
    with loop:
        loop.engine.open.clear()
        loop.trial()
        loop.until(lambda: loop.engine.n == 2)
        loop.stop.set()
        assert ended.wait(5.0)
        assert loop.out.status[-1]["state"] == "stopped"
        assert loop.out.status[-1]["cause"] == "engine_hangs"
        loop.engine.open.set()
    # Stopped is the last word, also when the engine comes back after all.
    assert loop.out.status[-1]["cause"] == "engine_hangs"


@pytest.mark.fault("card-fails")
def test_a_card_that_fails_costs_no_window_and_is_told_until_the_end():
    stand_in = open_engine("native", MODEL)
    with Loop(
        {"mode": "sliding"},
        around=lambda card: FallbackEngine(lambda: card, stand_in),
        supervision=QUICK | {"silence": 60.0},
    ) as loop:
        loop.until(lambda: len(loop.out.sliding) > 5)
        assert causes(loop)[-1] == ""
        loop.engine.faults.append(CardLostError("the card was reset"))
        loop.until(lambda: causes(loop)[-1] == "engine_replaced")
        n = len(loop.out.sliding)
        loop.until(lambda: len(loop.out.sliding) > n + 5)
        report = loop.finish()
    told = [s for s in loop.out.status if s["cause"] == "engine_replaced"]
    assert {s["state"] for s in told} == {"degraded"}
    assert "the native engine computes the same numbers" in told[-1]["reason"]
    assert "the card was reset" in told[-1]["reason"]
    counters = report.status["counters"]
    assert (counters["engine_errors"], counters["dropped"]) == (0, 0)
    assert counters["windows"] == counters["trials"]["emitted"] == len(loop.out.sliding)


@pytest.mark.fault("engine-slow")
def test_an_engine_slower_than_its_windows_degrades_the_loop_until_it_keeps_up_again():
    with Loop(
        {"mode": "sliding"}, loop={"queue": 2}, supervision=QUICK | {"silence": 60.0}
    ) as loop:
        infer = loop.engine.infer

        def slowly(counts, out):
            time.sleep(0.05)
            return infer(counts, out)

        loop.engine.infer = slowly
        loop.until(lambda: causes(loop)[-1] == "engine_slow")
        assert "dropped" in loop.out.status[-1]["reason"]
        loop.engine.infer = infer
        loop.until(lambda: loop.out.status[-1]["state"] == "running")
        report = loop.finish()
    counters = report.status["counters"]
    assert counters["dropped"] > 0
    # Each window is published once, dropped, or waits for a slow engine no longer.
    assert counters["windows"] + counters["dropped"] == counters["trials"]["emitted"]


@pytest.mark.fault("source-silent")
def test_a_source_that_is_silent_is_told_and_windows_of_silence_go_on():
    with Loop({"mode": "sliding"}, supervision=QUICK) as loop:
        loop.until(lambda: causes(loop)[-1] == "source_silent")
        n = len(loop.out.sliding)
        loop.until(lambda: len(loop.out.sliding) > n + 5)
        loop.spikes.push(loop.pipeline._clock())
        loop.until(lambda: loop.out.status[-1]["state"] == "running")
        loop.finish()


@pytest.mark.fault("clock-jump")
def test_spikes_that_are_stamped_an_hour_ahead_degrade_the_loop():
    with Loop({"mode": "sliding"}, supervision=QUICK | {"silence": 60.0}) as loop:
        loop.until(lambda: len(loop.out.sliding) > 5)
        loop.spikes.push(*[loop.pipeline._clock() + 3600.0] * 20)
        loop.until(lambda: causes(loop)[-1] == "spikes_lost")
        report = loop.finish()
    assert report.status["counters"]["spikes"]["ahead"] == 20


@pytest.mark.fault("stall")
def test_spikes_that_come_too_late_degrade_the_loop():
    with Loop({"mode": "sliding"}, supervision=QUICK | {"silence": 60.0}) as loop:
        loop.until(lambda: len(loop.out.sliding) > 5)
        now = loop.pipeline._clock()
        loop.spikes.push(*[now - 0.05] * 20)
        loop.until(lambda: causes(loop)[-1] == "spikes_lost")
        assert "20 of 20 spikes in 0.5 s came too late" in loop.out.status[-1]["reason"]
        loop.until(lambda: loop.out.status[-1]["state"] == "running")
        report = loop.finish()
    assert report.status["counters"]["spikes"]["late"] == 20
