"""What is asked of the operating system, and what is said where it is refused."""

import gc
import os

import pytest

from bci_lfads.realtime import schedule, settle, try_schedule
from bci_lfads.rig import RealtimeSettings


def test_processors_are_asked_for_in_a_thread_of_its_own():
    before = os.sched_getaffinity(0)
    one = min(before)
    (granted,) = try_schedule(RealtimeSettings(cpus=(one,)))
    assert (granted.what, granted.problem) == (f"processors {one}", "")
    assert os.sched_getaffinity(0) == before


def test_processors_that_are_not_there_are_named():
    (refused,) = try_schedule(RealtimeSettings(cpus=(1023,)))
    assert refused.what == "processors 1023"
    assert "Invalid argument; this process may use 0" in refused.problem


def test_a_priority_that_is_not_granted_says_what_to_do(monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    (refused,) = schedule(RealtimeSettings(priority=50))
    assert "rtprio" in refused.problem


def test_nothing_is_asked_for_by_default():
    assert schedule(RealtimeSettings()) == []


def test_the_collector_stays_on_and_forgets_what_is_there():
    try:
        settle()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 1000
    finally:
        gc.unfreeze()


@pytest.mark.parametrize("wrong", [{"cpus": (-1,)}, {"priority": 100}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=r"cpus|priority"):
        RealtimeSettings(**wrong)
