"""What is asked of the operating system, and what is said where it is refused."""

import gc
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from test_pipeline import Loop

from bci_lfads.memory import held
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


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads memory from /proc")
def test_memory_that_is_held_is_there_before_it_is_written_to():
    pages = lambda: int(Path("/proc/self/statm").read_text().split()[1])  # noqa: E731
    before = pages()
    array = held((8, 1_000_000))
    assert (pages() - before) * os.sysconf("SC_PAGE_SIZE") > 0.9 * array.nbytes
    assert not array.any()


class Mute:
    """Outlets that keep nothing."""

    def __getattr__(self, name: str):
        return lambda *_: None


def test_a_loop_that_has_warmed_up_keeps_no_memory_and_takes_little(caplog):
    """Python's own small objects come and go; nothing stays, and no array is made."""
    # What the watchdog remembers, for so many seconds, has come to its full size by the beginning.
    slow, brief = {"status_interval": 60.0}, {"memory": 0.05}
    with Loop({"mode": "sliding"}, loop=slow, supervision=brief) as loop:
        loop.pipeline._outlets = Mute()
        windows = lambda: loop.pipeline.account.counters.windows  # noqa: E731
        for k in range(100):
            loop.spikes.push(loop.pipeline._clock() + 0.001 * k)
        loop.until(lambda: windows() >= 30)
        tracemalloc.start()
        try:
            # Where a busy machine has windows dropped, the loop says so, and pytest keeps the
            # lines of the log: only a stretch in which nothing was said counts.
            for _ in range(10):
                said = len(caplog.records)
                kept, peak = growth(loop, windows)
                if len(caplog.records) == said:
                    break
            else:
                pytest.skip("this machine was too busy for a hundred windows without a drop")
        finally:
            tracemalloc.stop()
    assert kept < 2_000
    assert peak < 20_000


def growth(loop: Loop, windows: Callable[[], int]) -> tuple[int, int]:
    """Return the bytes kept after a hundred windows, and those in use meanwhile."""
    begin = windows()
    loop.until(lambda: windows() >= begin + 20)
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    loop.until(lambda: windows() >= begin + 120)
    peak = tracemalloc.get_traced_memory()[1]
    gc.collect()
    return tracemalloc.get_traced_memory()[0] - before, peak - before
