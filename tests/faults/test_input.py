"""Faults of what comes in, on a clock that the test drives: no network."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_acquisition import World

from bci_lfads.windows import SlidingWindows

JUMPS = pytest.mark.parametrize("jump", [3600.0, -3600.0, 1e9, -1e9], ids=lambda j: f"{j:g} s")


def begin() -> World:
    """Return a sliding window of one unit, 4 bins of 10 ms, that has begun at 1 s."""
    world = World(sliding=True)
    world.at(1.0)
    return world


def in_bins(windows) -> int:
    """Return the spikes in all bins, each of which is the newest once, or in the first window."""
    return sum(windows[0][1][:-1]) + sum(counts[-1] for _, counts in windows)


@pytest.mark.fault("clock-jump")
@JUMPS
def test_a_source_whose_clock_jumps_is_counted_and_windows_go_on(jump):
    world = begin()
    windows = []
    for k in range(400):
        now = 1.0 + 0.005 * (k + 1)
        world.spikes.push(now - 0.001 + (jump if 100 <= k < 200 else 0.0))
        windows += world.at(now)
    assert world.acquisition.windows.waiting == (100 if jump > 0 else 0)
    list(world.acquisition.windows.flush())
    tally = world.acquisition.windows.tally
    assert (tally.received, tally.kept) == (400, 300)
    assert (tally.ahead, tally.late + tally.outside) == ((100, 0) if jump > 0 else (0, 100))
    assert in_bins(windows) in range(295, 301)  # the last are in bins that are not closed
    starts = np.array([start for start, _ in windows])
    np.testing.assert_allclose(np.diff(starts), 0.01, atol=1e-6)
    assert starts[-1] > 2.9


@pytest.mark.fault("stall")
def test_a_stall_costs_what_came_too_late_and_nothing_after_it():
    world = begin()
    windows, held = [], []
    for k in range(400):
        now = 1.0 + 0.005 * (k + 1)
        held.append(now - 0.001)
        if not 100 <= k < 160:  # 0.3 s without a packet, then all at once
            world.spikes.push(*held)
            held.clear()
        windows += world.at(now)
    tally = world.acquisition.windows.tally
    assert (tally.received, tally.kept + tally.late) == (400, 400)
    assert 55 <= tally.late <= 60
    assert in_bins(windows) >= tally.kept - 4  # the last are in bins that are not closed
    starts = [start for start, _ in windows]
    np.testing.assert_allclose(np.diff(starts), 0.01, atol=1e-6)


@pytest.mark.fault("burst")
def test_a_burst_of_fifty_times_the_rate_is_binned_to_the_last_spike():
    world = begin()
    windows, n = [], 0
    for k in range(600):
        now = 1.0 + 0.005 * (k + 1)
        many = 100 if 200 <= k < 400 else 2
        world.spikes.push(*np.linspace(now - 0.004, now - 0.001, many))
        n += many
        windows += world.at(now)
    windows += world.at(4.1)
    tally = world.acquisition.windows.tally
    assert tally.received == tally.kept == n
    assert tally.saturated == 0
    assert in_bins(windows) == n


@pytest.mark.fault("burst")
def test_a_bin_that_overflows_is_counted():
    world = begin()
    world.spikes.push(*np.full(1000, 1.005))
    (first, *_) = world.at(1.05)
    assert max(first[1]) == 255
    assert world.acquisition.windows.tally.saturated == 745


CHUNKS = st.lists(st.lists(st.floats(0.0, 0.099), min_size=1, max_size=20), min_size=1, max_size=20)


@pytest.mark.fault("duplicates")
@settings(max_examples=200)
@given(CHUNKS, st.randoms(use_true_random=False), st.integers(1, 3))
def test_chunks_in_any_order_and_number_give_the_same_bins(chunks, random, times):
    sent = chunks * times
    random.shuffle(sent)
    windows = SlidingWindows(1, 10, 0.01)
    windows.begin(0.0)
    for chunk in sent:
        n = len(chunk)
        windows.push_spikes(np.array(chunk), np.zeros(n, np.int32), np.ones(n, np.int32))
    (window,) = [w.copy() for w in windows.close(0.1)]
    # The bin of a time is floor(time / width), up to the rounding of an edge.
    every = np.array([t for chunk in sent for t in chunk])
    edges = window.edges()
    expected = np.histogram(every, edges)[0]
    assert window.counts.sum() == len(every)
    near = np.abs(every[:, None] - edges).min() < 1e-12 if len(every) else False
    if not near:
        np.testing.assert_array_equal(window.counts[:, 0], np.minimum(expected, 255))
    assert windows.tally.kept == len(every)
