"""The hand-over between threads: bounded, in order, dropping the oldest."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bci_lfads.binning import BinGrid
from bci_lfads.slots import SlotQueue
from bci_lfads.windows import Window


def window(number: int) -> Window:
    return Window(np.full((2, 3), number % 256, np.uint8), BinGrid(0.0, 0.01), number, number)


def test_a_slot_is_a_copy():
    queue = SlotQueue(2, 2, 3)
    given_ = window(7)
    queue.put(given_, 1.5)
    given_.counts[:] = 0
    slot = queue.get(0.0)
    assert slot is not None
    assert (slot.counts == 7).all()
    assert (slot.trial, slot.closed, slot.start) == (7, 1.5, 0.07)


@given(st.lists(st.sampled_from(["put", "get"]), max_size=60), st.integers(1, 4))
def test_the_oldest_waiting_go_first_and_are_dropped_first(actions, length):
    queue, waiting, dropped = SlotQueue(length, 2, 3), [], 0
    for number, action in enumerate(actions):
        if action == "put":
            queue.put(window(number), 0.0)
            waiting.append(number)
            if len(waiting) > length:
                waiting.pop(0)
                dropped += 1
        else:
            slot = queue.get(0.0)
            expected = waiting.pop(0) if waiting else None
            assert (slot.trial if slot else None) == expected
            if slot is not None:
                assert (slot.counts == slot.trial % 256).all()
                queue.done(slot)
    assert (len(queue), queue.dropped) == (len(waiting), dropped)


def test_putting_never_waits_for_the_getter():
    queue = SlotQueue(1, 2, 3)
    queue.put(window(0), 0.0)
    held = queue.get(0.0)
    for number in range(1, 100):
        queue.put(window(number), 0.0)
    assert held is not None
    assert (held.counts == 0).all()
    assert queue.dropped == 98


def test_a_getter_that_waits_is_woken():
    queue, got = SlotQueue(1, 2, 3), []
    thread = threading.Thread(target=lambda: got.append(queue.get(30.0)))
    thread.start()
    queue.put(window(5), 0.0)
    thread.join(30.0)
    assert got[0].trial == 5


def test_nothing_comes_from_an_empty_queue():
    assert SlotQueue(1, 2, 3).get(0.0) is None


@pytest.mark.parametrize("n", [1, 8])
def test_memory_is_made_once(n):
    queue = SlotQueue(n, 2, 3)
    seen = set()
    for number in range(50):
        queue.put(window(number), 0.0)
        slot = queue.get(0.0)
        seen.add(id(slot.counts))
        queue.done(slot)
    assert len(seen) <= n + 1
