"""Recorded samples found by what the journal counts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bci_lfads.journal import Event, Journal
from bci_lfads.verification.align import Aligned, align, at_a_loss


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_samples_of_both_are_found_whoever_lacks_some(data):
    """The recorder began earlier; the loop was away for a while; stamps step back."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    n = data.draw(st.integers(20, 200))
    stamps = np.arange(n) * 0.01 - 0.0301 * (rng.random(n) < 0.2)
    away = data.draw(st.integers(1, n // 2))
    back = away + data.draw(st.integers(0, 10))
    first = data.draw(st.integers(0, away - 1))
    loop = np.r_[first:away, back:n]
    # The connection is a cut: nothing is taken across it in one row.
    cuts = np.unique(np.r_[rng.integers(1, len(loop) + 1, 15), away - first, len(loop)])
    found = align(stamps, cuts.astype(np.int64), stamps[loop[cuts - 1]])
    assert not found.lost.any()
    taken = np.concatenate([np.arange(a, b) for a, b in zip(found.start, found.stop, strict=True)])
    np.testing.assert_array_equal(taken, loop)


def test_stamps_that_repeat_are_told_apart_by_what_follows():
    stamps = np.repeat(np.arange(20.0), 4)
    loop = np.arange(5, 80)  # the recorder has five samples more
    cuts = np.array([2, 4, 9, 30, 75])
    found = align(stamps, cuts, stamps[loop[cuts - 1]])
    assert found.start[0] == 5 or stamps[found.start[0]] == stamps[5]
    assert not found.lost.any()
    assert found.stop[-1] == 80


def test_samples_that_the_recording_lacks_are_counted():
    stamps = np.array([1.0, 2.0, 3.0, 6.0, 7.0])  # 4 and 5 are missing
    found = align(stamps, np.array([2, 5, 7]), np.array([2.0, 5.0, 7.0]))
    assert found.lost.tolist() == [0, 3, 0] or found.lost.sum() == 2
    assert (found.start[-1], found.stop[-1]) == (3, 5)


@pytest.mark.parametrize(
    ("lost", "at_end"),
    [
        ([0, 0, 0, 0], [False, True, False, False]),
        ([0, 4, 0, 0], [False, True, False, False]),  # the row has samples of both streams
    ],
)
def test_what_lacks_around_the_end_of_a_stream_is_told_from_the_rest(lost, at_end):
    start, stop = np.array([0, 8, 14, 20]), np.array([8, 14, 20, 26])
    places = Aligned(start, stop, np.array(lost))
    assert at_a_loss(places, np.array([0, 10, 30])).tolist() == at_end


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_whatever_is_lost_when_a_source_dies_and_returns_lies_at_the_loss(data):
    """Loop and recorder lose other ends of the old stream and other beginnings of the new one."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    n_old, n_new = data.draw(st.integers(40, 80)), data.draw(st.integers(40, 80))
    n = n_old + n_new
    stamps = np.arange(n) * 0.01 - 0.0301 * (rng.random(n) < 0.2)
    ends = [n_old - data.draw(st.integers(0, 20)) for _ in range(2)]
    begins = [n_old + data.draw(st.integers(0, 20)) for _ in range(2)]
    loop = np.r_[0 : ends[0], begins[0] : n]
    recorder = np.r_[0 : ends[1], begins[1] : n]
    cuts = np.unique(np.r_[rng.integers(1, len(loop) + 1, 25), len(loop)])
    firsts = np.array([0, ends[1], len(recorder)])
    found = align(stamps[recorder], cuts.astype(np.int64), stamps[loop[cuts - 1]])
    assert found.stop[-1] == len(recorder)
    assert at_a_loss(found, firsts)[found.lost > 0].all()


def test_a_row_without_samples_is_at_an_end_if_that_lies_before_the_next_found():
    start, stop = np.array([0, 8, 8, 12]), np.array([8, 8, 12, 20])
    places = Aligned(start, stop, np.array([0, 3, 0, 0]))
    assert at_a_loss(places, np.array([0, 8, 30])).tolist() == [False, True, True, False]
    assert at_a_loss(places, np.array([0, 30])).tolist() == [False] * 4


def test_stamps_that_are_no_numbers_are_matched_too():
    stamps = np.array([1.0, np.nan, 3.0])
    found = align(stamps, np.array([2, 3]), np.array([np.nan, 3.0]))
    assert (found.start.tolist(), found.stop.tolist()) == ([0, 2], [2, 3])


def test_the_journal_gives_each_row_once_and_counts_those_without_room():
    journal = Journal(4)
    got = []
    for k in range(3):
        journal.spikes = k
        journal.write(Event.CLOSE, float(k), 10.0 * k)
    got += [(r.copy(), s.copy()) for r, s in journal.read()]
    for k in range(3, 9):
        journal.write(Event.CLOSE, float(k))
    got += [(r.copy(), s.copy()) for r, s in journal.read()]
    assert np.concatenate([s for _, s in got]).tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert np.concatenate([r for r, _ in got])[:3, 5].tolist() == [0, 10, 20]
    assert journal.lost == 2
    assert list(journal.read()) == []
