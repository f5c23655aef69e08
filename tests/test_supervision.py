"""The state machine: which sight gives which condition, whatever happens in whatever order."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bci_lfads.supervision import Cause, Condition, Inlet, Limits, Sight, State, Supervisor

OPEN = (Inlet("spikes", "open"), Inlet("markers", "open"))
WELL = Sight(100.0, OPEN, last_sample=100.0, last_look=100.0)


def working(limits: Limits | None = None) -> Supervisor:
    supervisor = Supervisor(limits or Limits())
    supervisor.calibrate(90.0)
    supervisor.work(91.0)
    return supervisor


def test_the_way_from_start_to_stop():
    supervisor = Supervisor()
    assert supervisor.condition == Condition(State.WAITING, Cause.NOT_STARTED, "not started")
    away = Sight(1.0, (Inlet("spikes", "waiting", "no stream with name 'S' yet"),))
    assert supervisor.see(away).reason == "spikes: no stream with name 'S' yet"
    assert supervisor.calibrate(2.0).state is State.CALIBRATING
    assert supervisor.see(replace(WELL, time=2.5)).state is State.CALIBRATING
    assert supervisor.work(3.0) == Condition(State.RUNNING)
    assert supervisor.since == 3.0
    assert supervisor.stop(4.0, Cause.ASKED, "asked to stop").state is State.STOPPED
    assert supervisor.changes == {
        "waiting": 0, "calibrating": 1, "running": 1, "degraded": 0, "stopped": 1
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "state", "cause", "says"),
    [
        ({"engine_since": 97.9}, "degraded", "engine_hangs", "2.1 s"),
        ({"last_look": 97.0}, "degraded", "acquisition_hangs", "3.0 s"),
        ({"last_sample": 94.0}, "degraded", "source_silent", "6 s"),
        ({"engine_errors": 2, "engine_error": "the card is gone"},
         "degraded", "engine_errors", "2 windows failed in the engine, the last with: the card"),
        ({"dropped": 3}, "degraded", "engine_slow", "3 windows"),
        ({"losses": 1}, "degraded", "gap", "was lost, and is back"),
        ({"losses": 3}, "degraded", "gap", "lost 3 times, and"),
        ({"spikes": 1000, "late": 11}, "degraded", "spikes_lost",
         "11 of 1000 spikes in 10 s came too late: raise [binning] hold_off"),
        ({"spikes": 1000, "ahead": 9, "late": 3}, "degraded", "spikes_lost",
         "9 of 1000 spikes in 10 s were stamped too far ahead: see to the source's clock, 3 were"),
        ({"spikes": 1000, "invalid": 11}, "degraded", "spikes_lost", "were none: see to what"),
        ({"unrecorded": "no space"}, "degraded", "not_recorded", "no space"),
        ({"engine_replaced": "native for fpga"}, "degraded", "engine_replaced", "native for fpga"),
        ({"inlets": (Inlet("spikes", "waiting", "lost"),)}, "waiting", "source_away", "lost"),
        ({"inlets": (*OPEN[:1], Inlet("markers", "refused", "2 channels"))},
         "waiting", "source_refused", "markers: refused: 2 channels"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(change, state, cause, says):
    supervisor = working()
    assert supervisor.see(replace(WELL, time=99.9)).state is State.RUNNING
    found = supervisor.see(replace(WELL, **change))
    assert (found.state.value, found.cause.value) == (state, cause)
    assert says in found.reason


@pytest.mark.parametrize(
    "change",
    [
        {"engine_since": 98.1}, {"last_look": 98.1}, {"last_sample": 95.1},
        {"spikes": 1000, "late": 4, "ahead": 3, "invalid": 3}, {"last_look": math.nan},
        {"last_sample": math.nan},
    ],
)  # fmt: skip
def test_what_is_within_its_limit_is_well(change):
    supervisor = working()
    supervisor.see(replace(WELL, time=99.9))
    assert supervisor.see(replace(WELL, **change)) == Condition(State.RUNNING)


def test_a_loss_is_remembered_for_a_while_and_then_only_counted():
    supervisor = working()
    supervisor.see(WELL)

    def at(time, dropped):
        return supervisor.see(
            replace(WELL, time=time, dropped=dropped, last_sample=time, last_look=time)
        )

    assert at(101.0, 2).reason.startswith("2 windows")
    assert at(105.0, 5).reason.startswith("5 windows")
    assert at(114.9, 5).state is State.DEGRADED
    assert at(115.1, 5).state is State.RUNNING
    assert at(120.0, 6).reason.startswith("1 windows")


def test_an_engine_that_hangs_goes_before_a_source_that_is_away():
    found = working().see(
        replace(WELL, engine_since=90.0, inlets=(Inlet("spikes", "waiting", "lost"),))
    )
    assert found.cause is Cause.ENGINE_HANGS


def test_an_engine_that_hangs_when_it_is_first_tried_is_named_and_may_come_back():
    supervisor = Supervisor()
    supervisor.calibrate(1.0)
    assert supervisor.see(Sight(5.0, OPEN, engine_since=1.0)).cause is Cause.ENGINE_HANGS
    assert supervisor.see(Sight(6.0, OPEN)).state is State.CALIBRATING


INLET = st.builds(Inlet, st.just("spikes"), st.sampled_from(["open", "waiting", "refused"]),
                  st.just("a reason"))  # fmt: skip
COUNT = st.integers(0, 50)
TIME = st.floats(0, 200) | st.just(math.nan)
SIGHT = st.builds(
    Sight, st.just(0.0), st.tuples(INLET), TIME, TIME, TIME, COUNT, st.just("e"),
    COUNT, COUNT, COUNT, COUNT, COUNT, COUNT,
    st.sampled_from(["", "native"]), st.sampled_from(["", "disk full"]),
)  # fmt: skip
STEP = st.tuples(st.floats(0, 5), SIGHT | st.sampled_from(["calibrate", "work", "stop"]))
ALLOWED = {
    "waiting": {"calibrating", "running", "degraded", "stopped"},
    "calibrating": {"running", "degraded", "waiting", "stopped"},
    "running": {"degraded", "waiting", "stopped", "calibrating"},
    "degraded": {"running", "waiting", "stopped", "calibrating"},
    "stopped": set(),
}


@given(st.lists(STEP, max_size=30))
def test_whatever_happens_there_is_one_state_with_its_reason_and_stopped_is_the_last(steps):
    supervisor, now, began, entered = Supervisor(), 0.0, False, 0
    for wait, what in steps:
        now += wait
        before = supervisor.condition
        if what == "calibrate":
            found = supervisor.calibrate(now)
        elif what == "work":
            began, found = True, supervisor.work(now)
        elif what == "stop":
            found = supervisor.stop(now, Cause.ASKED, "asked to stop")
        else:
            found = supervisor.see(replace(what, time=now))
            if not began and before.state is not State.RUNNING:
                assert found.state is not State.RUNNING  # no sight begins the work
        assert found is supervisor.condition
        assert bool(found.reason) == (found.state is not State.RUNNING)
        assert (found.cause is Cause.NONE) == (found.state is State.RUNNING)
        if found.state is not before.state:
            entered += 1
            assert found.state.value in ALLOWED[before.state.value]
    assert sum(supervisor.changes.values()) == entered


@given(st.lists(st.tuples(st.floats(0.2, 3.0), COUNT, COUNT), min_size=1, max_size=200))
def test_the_share_of_lost_spikes_is_that_of_the_last_while(steps):
    supervisor = working(Limits(memory=10.0, lost_share=0.1))
    seen = [(100.0, 0, 0)]
    supervisor.see(WELL)
    for wait, more, more_lost in steps:
        now, spikes, lost = seen[-1]
        now, spikes, lost = now + wait, spikes + more, lost + min(more, more_lost)
        seen.append((now, spikes, lost))
        found = supervisor.see(
            replace(WELL, time=now, last_sample=now, last_look=now, spikes=spikes, late=lost)
        )
        # Sights come seldom enough here for each to be kept.
        _, spikes_then, lost_then = next(s for s in seen if now - s[0] <= 10.0)
        few = lost - lost_then <= 0.1 * (spikes - spikes_then)
        assert found.state is (State.RUNNING if few else State.DEGRADED)
    assert len(supervisor._spikes) <= 64
