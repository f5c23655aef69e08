"""The grid and the compiled counting against NumPy."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bci_lfads import _binning
from bci_lfads.binning import (
    SATURATED,
    BinGrid,
    EventRing,
    SpikeTally,
    bin_recording,
    events_of,
    new_tally,
)
from bci_lfads.recordings.recording import BinnedCounts, Recording, SpikeEvents

ORIGINS = st.one_of(
    st.floats(-1e3, 1e3), st.floats(1e6, 1e6 + 10), st.just(1.7e9), st.integers(-50, 50).map(float)
)
WIDTHS = st.sampled_from([0.001, 0.01, 0.02, 0.1, 1 / 3, 0.0078125])


@given(ORIGINS, WIDTHS, st.integers(-(10**8), 10**8), st.data())
def test_the_bin_of_a_time_is_where_searchsorted_puts_it(origin, width, first, data):
    grid = BinGrid(origin, width)
    edges = grid.edges(first, 12)
    inside = st.floats(edges[0], np.nextafter(edges[-1], -np.inf))
    # Edges themselves and their neighbours are where rounding would show.
    near = st.sampled_from(
        [f(e) for e in edges[1:-1] for f in (float, _below, _above)] + [float(edges[0])]
    )
    times = np.array(data.draw(st.lists(st.one_of(inside, near), max_size=40)))
    expected = np.searchsorted(edges, times, "right") - 1 + first
    np.testing.assert_array_equal(grid.indices(times), expected)
    assert all(
        grid.edge(int(k)) <= t < grid.edge(int(k) + 1) for k, t in zip(expected, times, strict=True)
    )


def _below(x: float) -> float:
    return float(np.nextafter(x, -np.inf))


def _above(x: float) -> float:
    return float(np.nextafter(x, np.inf))


def test_edges_are_origin_plus_k_widths_in_float64():
    grid = BinGrid(1e6 + 0.1, 0.01)
    k = np.arange(-5, 2000)
    np.testing.assert_array_equal(grid.edges(-5, 2004), (1e6 + 0.1) + k * 0.01)
    assert [grid.edge(int(i)) for i in k] == list((1e6 + 0.1) + k * 0.01)
    assert grid.edge(3) < grid.centre(3) < grid.edge(4)


def test_far_and_senseless_times_have_an_index_too():
    grid = BinGrid(0.0, 0.01)
    far = 2**52
    got = grid.indices([1e300, -1e300, np.inf, -np.inf, np.nan])
    assert got.tolist() == [far, -far, far, -far, np.iinfo(np.int64).min]
    assert grid.index(1e9) == np.searchsorted(grid.edges(10**11 - 3, 6), 1e9, "right") + 10**11 - 4


@pytest.mark.parametrize(
    ("origin", "width"),
    [(0, 0), (0, -1), (0, np.nan), (0, np.inf), (np.nan, 1), (np.inf, 1), (1e15, 0.01)],
)
def test_a_grid_that_float64_cannot_hold_is_refused(origin, width):
    with pytest.raises(ValueError, match=r"bin width|cannot start"):
        BinGrid(origin, width)
    with pytest.raises(ValueError, match="bin grid"):
        _binning.accumulate(
            np.empty(0), _ints([]), _ints([]), origin, width, _zeros(1, 1), new_tally()
        )


@given(st.floats(-100, 100), st.floats(0, 0.02), st.sampled_from([0.001, 0.005, 0.01]))
def test_snapping_moves_the_origin_to_the_nearest_source_edge(origin, phase, source):
    snapped = BinGrid(origin, 0.01).snapped(phase, source)
    assert abs(snapped.origin - origin) <= 0.501 * source + 1e-9
    steps = (snapped.origin - phase) / source
    assert steps == pytest.approx(round(steps), abs=1e-6)


@given(st.floats(-1e6, 1e6))
def test_an_origin_in_the_midst_of_a_source_bin_goes_to_the_earlier_edge(shift):
    """However the sums that put it there were rounded, so that a replay is cut as offline."""
    snapped = BinGrid(4.565 + shift, 0.01).snapped(shift, 0.01)
    assert snapped.origin == pytest.approx(4.56 + shift, abs=1e-6)


EVENTS = st.lists(
    st.tuples(
        st.one_of(
            st.floats(-0.2, 1.2),
            st.integers(-20, 120).map(lambda i: 0.3 + i * 0.01),
            st.sampled_from([np.nan, np.inf, -np.inf, 1e300, -1e300, 5e-324]),
        ),
        st.integers(-2, 5),
        st.integers(-1, 300),
    ),
    max_size=60,
)


@given(EVENTS, st.sampled_from([0.0, 0.3, -0.1]), st.sampled_from([0.01, 0.1]))
def test_counts_are_those_of_numpy_histogram(events, origin, width):
    n_bins, n_units = 9, 4
    times, units, counts = _arrays(events)
    out, tally = _zeros(n_bins, n_units), new_tally()
    newest = _binning.accumulate(times, units, counts, origin, width, out, tally)

    good = np.isfinite(times) & (counts > 0) & (units >= 0) & (units < n_units)
    edges = origin + np.arange(n_bins + 1) * width
    inside = good & (times >= edges[0]) & (times < edges[-1])
    of_unit = [inside & (units == u) for u in range(n_units)]
    full = np.stack([np.histogram(times[m], edges, weights=counts[m])[0] for m in of_unit], 1)
    np.testing.assert_array_equal(out, np.minimum(full, 255))
    assert newest == (times[inside].max() if inside.any() else -np.inf)

    got = SpikeTally.of(tally)
    assert got.kept == counts[inside].sum() == out.sum(dtype=int) + got.saturated
    assert got.outside == counts[good & ~inside].sum()
    assert got.received == got.kept + got.outside + got.unknown + got.invalid
    bad = ~np.isfinite(times) | (counts < 0)
    assert got.invalid == np.maximum(counts[bad], 1).sum()


def test_a_bin_holds_at_most_255_and_the_rest_is_counted():
    out, tally = _zeros(1, 2), new_tally()
    for n in (200, 55, 3, 2**31 - 1):
        _binning.accumulate(np.array([0.5]), _ints([1]), _ints([n]), 0.0, 1.0, out, tally)
    assert out.tolist() == [[0, 255]]
    assert tally[SATURATED] == 3 + 2**31 - 1
    assert SpikeTally.of(tally).kept == 258 + 2**31 - 1


def test_the_end_of_the_last_bin_is_outside_where_numpy_counts_it():
    times = np.array([0.0, 1.0, 3.0])
    out, tally = _zeros(3, 1), new_tally()
    _binning.accumulate(times, _ints([0] * 3), _ints([1] * 3), 0.0, 1.0, out, tally)
    assert out.ravel().tolist() == [1, 1, 0]
    assert np.histogram(times, [0, 1, 2, 3])[0].tolist() == [1, 1, 1]


def test_arrays_of_another_type_or_length_are_refused():
    good = (np.zeros(2), _ints([0, 0]), _ints([1, 1]))
    with pytest.raises(TypeError):
        _binning.accumulate(np.zeros(2, "f4"), *good[1:], 0.0, 1.0, _zeros(1, 1), new_tally())
    with pytest.raises(ValueError, match="length"):
        _binning.accumulate(*good[:2], _ints([1]), 0.0, 1.0, _zeros(1, 1), new_tally())
    with pytest.raises(ValueError, match="tally"):
        _binning.accumulate(*good, 0.0, 1.0, _zeros(1, 1), np.zeros(3, np.int64))


@given(EVENTS, st.integers(1, 20), st.integers(1, 7))
def test_a_ring_gives_back_the_newest_arrivals(events, capacity, chunk):
    times, units, counts = _arrays(events)
    ring, tally = EventRing(capacity, 4), new_tally()
    for i in range(0, len(times), chunk):
        c = slice(i, i + chunk)
        ring.append(times[c], units[c], counts[c], tally)
    good = np.isfinite(times) & (counts > 0) & (units >= 0) & (units < 4)
    times, units, counts = times[good], units[good], counts[good]
    assert len(ring) == min(len(times), capacity)
    lost = slice(0, max(0, len(times) - capacity))
    got = SpikeTally.of(tally)
    assert got.kept == counts.sum()
    assert got.overwritten == counts[lost].sum()
    assert ring.overwritten_until == (times[lost].max() if lost.stop else -math.inf)

    from_ring, direct = _zeros(10, 4), _zeros(10, 4)
    last = ring.add_to(from_ring, BinGrid(0.0, 0.1), new_tally())
    kept = slice(lost.stop, None)
    args = (times[kept], units[kept], counts[kept])
    assert last == _binning.accumulate(*args, 0.0, 0.1, direct, new_tally())
    np.testing.assert_array_equal(from_ring, direct)


def test_overwriting_what_no_one_needs_is_no_loss_and_wild_stamps_speak_for_no_one():
    ring, tally = EventRing(2, 1), new_tally()
    for t in (1.0, 1e9, 2.0, 3.0):
        ring.append(np.array([t]), _ints([0]), _ints([1]), tally, plausible=5.0, needed_from=2.5)
    assert SpikeTally.of(tally).overwritten == 1  # the wild one, which is still to come
    assert ring.overwritten_until == ring.newest == 5.0
    assert SpikeTally.of(tally).unordered == 2
    with pytest.raises(ValueError, match="history"):
        EventRing(0, 1)


def test_late_and_unordered_events_are_counted():
    ring, tally = EventRing(8, 1), new_tally()
    times = np.array([3.0, 1.0, 2.0, 4.0])
    ring.append(times, _ints([0] * 4), _ints([1, 2, 3, 4]), tally, watermark=2.0)
    got = SpikeTally.of(tally)
    assert (got.received, got.kept, got.late, got.unordered) == (10, 8, 2, 5)


def test_a_recording_of_events_and_its_own_bins_give_the_same_counts():
    rng = np.random.default_rng(1)
    fine = rng.poisson(0.3, (500, 3)).astype(np.uint8)
    binned = _recording(BinnedCounts(fine, 0.001, start=12.0), stop=12.5)
    times, units, counts = events_of(binned)
    assert counts.sum() == binned.n_spikes
    spikes = SpikeEvents(np.repeat(times, counts), np.repeat(units, counts))
    events = _recording(spikes, stop=12.5)
    expected = fine.reshape(50, 10, 3).sum(1)
    for recording in (binned, events):
        got, tally = bin_recording(recording, 12.0, 0.01, 50)
        np.testing.assert_array_equal(got, expected)
        assert tally.kept == tally.received == binned.n_spikes
    _, tally = bin_recording(binned, 12.1, 0.01, 5)
    assert tally.outside == binned.n_spikes - fine[100:150].sum()


def _recording(spikes, stop: float) -> Recording:
    return Recording(spikes, ("a", "b", "c"), start=12.0, stop=stop)


def _ints(values) -> np.ndarray:
    return np.array(values, np.int32)


def _zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.uint8)


def _arrays(events) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    times, units, counts = zip(*events, strict=True) if events else ((), (), ())
    return np.array(times, np.float64), _ints(units), _ints(counts)
