"""Memory that never grows: rings, columns of spikes, trials."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bci_lfads_gui.model.ring import Ring
from bci_lfads_gui.model.spikes import BUCKET, KEPT, Columns, SpikeStore
from bci_lfads_gui.model.trials import TrialStore

ONE = np.ones(1, np.int32)


@given(st.lists(st.integers(0, 7), max_size=12), st.integers(1, 9))
def test_a_ring_keeps_the_newest_rows_in_order(sizes, capacity):
    ring, rows = Ring(capacity, 2), np.empty((0, 2))
    for n in sizes:
        new = len(rows) + np.arange(n)
        ring.extend(new, np.column_stack([new, -new]))
        rows = np.concatenate([rows, np.column_stack([new, -new])])
        times, kept = ring.newest()
        np.testing.assert_array_equal(kept, rows[-capacity:] if len(rows) else kept[:0])
        np.testing.assert_array_equal(times, kept[:, 0])
    assert ring.total == len(rows)


def test_a_ring_gives_rows_since_a_time_and_forgets():
    ring = Ring(4, 1)
    ring.extend([1.0, 2.0, 3.0], [[1], [2], [3]])
    assert ring.since(2.0)[0].tolist() == [2.0, 3.0]
    assert ring.newest(1)[1].tolist() == [[3.0]]
    ring.clear()
    assert len(ring) == 0


def test_a_ring_that_holds_nothing_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        Ring(0, 1)


@given(st.lists(st.tuples(st.floats(0, 50), st.integers(0, 2)), max_size=60))
def test_columns_are_a_histogram_of_the_newest_time(spikes):
    columns = Columns(3, 0.5, 20)
    for time, unit in spikes:
        columns.add(np.array([time]), np.array([unit], np.int32), ONE)
    if not spikes:
        return
    end = columns.end
    # A spike that was pushed out stays out, though the window does not move back.
    newest = -1.0
    expected = np.zeros((3, 20))
    for time, unit in spikes:
        newest = max(newest, time)
        column = int(np.floor(time / 0.5)) - (round(end / 0.5) - 20)
        kept_then = np.floor(time / 0.5) >= np.floor(newest / 0.5) + 1 - 20
        if column >= 0 and kept_then:
            expected[unit, column] += 1
    np.testing.assert_array_equal(columns.counts(), expected)


def test_columns_forget_what_time_has_passed():
    columns = Columns(1, 1.0, 4)
    columns.add(np.array([0.5]), np.zeros(1, np.int32), ONE)
    columns.move_to(2.5)
    assert columns.counts().tolist() == [[0, 1, 0, 0]]
    columns.move_to(1000.0)
    assert columns.counts().sum() == 0


def spikes(n, rate=10.0, unit=0, start=100.0):
    times = start + np.arange(n) / rate
    return times, np.full(n, unit, np.int32), np.ones(n, np.int32)


def test_rates_are_counted_from_the_first_spike_on():
    store = SpikeStore(("a", "b"))
    store.add(*spikes(205))
    rates, seconds = store.mean_rates(30.0)
    assert seconds == pytest.approx(20.0, abs=2 * BUCKET)
    assert rates[0] == pytest.approx(10.0, rel=0.05)
    assert rates[1] == 0.0


def test_without_a_spike_there_are_no_rates():
    assert SpikeStore(("a",)).mean_rates()[1] == 0.0


def test_a_silent_unit_has_a_falling_rate():
    store = SpikeStore(("a",))
    store.add(*spikes(100))
    store.advance(130.0)
    assert store.mean_rates(10.0) == (pytest.approx([0.0]), 10.0)


def test_spikes_of_unknown_units_are_counted_only():
    store = SpikeStore(("a",))
    store.add(np.array([1.0, 2.0]), np.array([-1, 0], np.int32), np.ones(2, np.int32))
    assert store.unknown == 1
    assert store.total == 1


def test_the_raster_shows_another_span_from_what_is_kept():
    store = SpikeStore(("a", "b"), span=2.0)
    store.add(*spikes(300, unit=1))
    assert store.raster.counts()[1].sum() == pytest.approx(20, abs=1)
    store.show(10.0)
    assert store.raster.counts()[1].sum() == pytest.approx(100, abs=1)
    assert len(store.spikes(5.0)[0]) == pytest.approx(50, abs=1)


def test_hundreds_of_units_stay_within_the_kept_spikes():
    store, rng = SpikeStore(tuple(map(str, range(300))), span=60.0), np.random.default_rng(0)
    for k in range(70):
        times = np.sort(rng.uniform(k, k + 1, 9000))
        store.add(times, rng.integers(0, 300, 9000).astype(np.int32), np.ones(9000, np.int32))
    assert store.total == 70 * 9000
    assert len(store.spikes(1e6)[0]) == KEPT


def trial(number, start, n_bins=5, width=0.1, bins=None):
    bins = np.arange(n_bins) if bins is None else np.array(bins)
    samples = np.column_stack([number + bins, np.full(len(bins), number), bins])
    return start + (bins + 0.5) * width, samples.astype(np.float32)


def test_trials_are_put_together_from_samples():
    store = TrialStore(5, 1, 0.1, kept=3)
    for k in range(4):
        store.add(*trial(k, 10.0 * k))
    store.name(3, "left")
    newest = store.newest(10)
    assert [t.number for t in newest] == [1, 2, 3]
    assert newest[-1].label == "left"
    assert newest[-1].start == pytest.approx(30.0)
    assert newest[-1].values[:, 0].tolist() == [3, 4, 5, 6, 7]


def test_two_trials_in_one_chunk_and_one_in_two():
    store = TrialStore(5, 1, 0.1)
    (a, x), (b, y) = trial(0, 1.0), trial(1, 1.2)
    store.add(np.concatenate([a, b[:2]]), np.concatenate([x, y[:2]]))
    store.add(b[2:], y[2:])
    assert store.total == 2
    assert np.isfinite(store.newest(1)[0].values).all()


def test_the_same_number_after_a_restart_is_a_new_trial():
    store = TrialStore(5, 1, 0.1)
    store.add(*trial(0, 1.0))
    store.name(0, "left")
    store.add(*trial(0, 50.0))
    assert [t.start for t in store.newest(5)] == pytest.approx([1.0, 50.0])


def test_bins_that_no_trial_has_are_left_out():
    store = TrialStore(5, 1, 0.1)
    store.add(*trial(0, 1.0, bins=[0, 1, 7, -1]))
    assert np.isnan(store.newest(1)[0].values[2:]).all()


def test_labels_are_bounded():
    store = TrialStore(5, 1, 0.1, kept=4)
    for k in range(1000):
        store.name(k, "x")
    assert len(store._labels) <= 16


def test_windows_that_are_over_are_not_given():
    store = TrialStore(5, 1, 0.1)
    store.add(*trial(0, 1.0))
    store.add(*trial(1, 9.0))
    assert [w[0] for w in store.windows(5.0)] == pytest.approx([9.0])


def test_rates_are_counted_anew_when_a_source_comes_back():
    store = SpikeStore(("a",))
    fire = lambda times: store.add(  # noqa: E731
        np.array(times), np.zeros(len(times), np.int32), np.ones(len(times), np.int32)
    )
    fire(np.arange(0.0, 20.0, 0.1))
    store.advance(60.0)
    store.begin()
    assert store.mean_rates(30.0)[1] == 0.0, "what fell silent is no unit, but the source"
    fire(np.arange(60.0, 65.0, 0.1))
    rates, seconds = store.mean_rates(30.0)
    assert seconds == pytest.approx(4.5)
    assert rates == pytest.approx([10.0], rel=0.05)
    assert store.first_time == 0.0, "what is kept is still shown"
