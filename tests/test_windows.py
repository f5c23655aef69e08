"""Trials and sliding windows: exact in any chunking, and never at a loss for where spikes went."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bci_lfads.errors import RecordingError
from bci_lfads.parts import windows_for
from bci_lfads.recordings.recording import BinnedCounts, Markers, Recording, SpikeEvents
from bci_lfads.rig import BinningSettings, SlidingSettings
from bci_lfads.windows import SlidingWindows, TrialWindows, Window, stack, windows_of

N_UNITS = 3
HOLD_OFF = 0.05
MANY = 3000


class Stream:
    """Spikes and markers as they might arrive: jittered in order by less than the hold-off."""

    def __init__(self, seed: int, origin: float, duration: float, rate: float, width: float):
        rng = np.random.default_rng(seed)
        n = rng.poisson(rate * duration)
        stamps = origin + rng.uniform(0, duration, n)
        # A third of the spikes sit on edges of whole bins, where a careless rule would slip.
        on_edge = rng.random(n) < 1 / 3
        stamps[on_edge] = origin + np.rint((stamps[on_edge] - origin) / width) * width
        self.times = np.minimum(np.sort(stamps), origin + duration)
        self.units = rng.integers(-1, N_UNITS + 1, n).astype(np.int32)
        self.counts = rng.integers(1, 4, n).astype(np.int32)
        arrival = self.times + rng.uniform(0, 0.99 * HOLD_OFF, n)
        self.order = np.argsort(arrival)
        self.arrival = arrival[self.order]
        self.origin, self.stop = origin, origin + duration

    def counts_on(self, edges: np.ndarray) -> np.ndarray:
        """Count as an offline analysis would, with half-open bins."""
        before_end = self.times < edges[-1]
        masks = [before_end & (self.units == u) for u in range(N_UNITS)]
        each = [np.histogram(self.times[m], edges, weights=self.counts[m])[0] for m in masks]
        return np.minimum(np.stack(each, 1), 255)

    def play(self, windows, chunk: int, markers=()) -> list[Window]:
        """Push all in chunks, closing after each; markers come as soon as their stamp."""
        markers = sorted(markers, key=lambda m: m[0])
        windows.begin(self.origin)
        given_out = []
        for i in range(0, len(self.order), chunk):
            now = self.arrival[min(i + chunk, len(self.arrival)) - 1]
            due = [m for m in markers if m[0] <= now]
            markers = markers[len(due) :]
            windows.push_markers([m[0] for m in due], [m[1] for m in due])
            take = self.order[i : i + chunk]
            windows.push_spikes(self.times[take], self.units[take], self.counts[take])
            given_out += [w.copy() for w in windows.close(now - HOLD_OFF)]
        windows.push_markers([m[0] for m in markers], [m[1] for m in markers])
        given_out += [w.copy() for w in windows.close(self.stop)]
        return given_out + [w.copy() for w in windows.flush()]


STREAMS = st.builds(
    Stream,
    seed=st.integers(0, 2**32),
    origin=st.sampled_from([0.0, -3.3, 1e6, 1e6 + 0.123, 1.7e9]),
    duration=st.floats(0.3, 2.0),
    rate=st.sampled_from([50, 1000]),
    width=st.sampled_from([0.01, 0.02]),
)
CHUNKS = st.sampled_from([1, 2, 7, 64, 10**6])


def check_law(windows) -> None:
    t = windows.tally
    assert t.received == t.kept + t.late + t.ahead + t.outside + t.unknown + t.invalid


def check_trial_law(windows: TrialWindows) -> None:
    check_law(windows)
    c = windows.counters
    n_open = len(windows._open) + (windows._waiting is not None)
    assert c.started == c.emitted + c.aborted + c.unaligned + c.dropped + n_open


@given(STREAMS, CHUNKS, st.sampled_from([0.01, 0.02, 0.001]), st.integers(1, 40), st.integers(1, 9))
@settings(deadline=None, max_examples=MANY)
def test_sliding_windows_are_exact_in_any_chunking(stream, chunk, width, n_bins, hop):
    windows = SlidingWindows(N_UNITS, n_bins, width, hop=hop, horizon=0.1, max_backlog=10**6)
    got = stream.play(windows, chunk)
    for window in got:
        np.testing.assert_array_equal(window.counts, stream.counts_on(window.edges()))
        assert window.counts.flags.c_contiguous
        assert not window.truncated
    grid = windows.grid
    first = math.ceil((stream.origin - 2 * width) / width)
    while grid.edge(first) < stream.origin:
        first += 1
    end = first + n_bins
    ends = range(end + -end % hop, grid.index(stream.stop) + 1, hop)
    assert [w.first + n_bins for w in got] == list(ends)
    check_law(windows)
    assert windows.tally.received == stream.counts.sum()
    assert windows.tally.late == windows.tally.ahead == windows.counters.skipped == 0


@given(
    STREAMS,
    CHUNKS,
    st.lists(st.floats(-0.1, 2.1), max_size=12),
    st.integers(1, 50),
    st.sampled_from([0.0, -0.3, 0.25, -5.0, 3.0]),
)
@settings(deadline=None, max_examples=MANY)
def test_trials_are_exact_in_any_chunking(stream, chunk, moments, n_bins, offset):
    windows = TrialWindows(N_UNITS, n_bins, 0.01, start="go*", offset=offset, max_pending=12)
    markers = [(stream.origin + m, f"go/{i}") for i, m in enumerate(sorted(moments))]
    got = stream.play(windows, chunk, markers)
    check_trial_law(windows)
    for window in got:
        stamp, label = markers[window.trial]
        assert (window.zero, window.label, window.start) == (stamp, label, stamp + offset)
        edges = (stamp + offset) + np.arange(n_bins + 1) * 0.01
        expected = stream.counts_on(edges)
        np.testing.assert_array_equal(window.counts, expected)
        inside = (stream.times >= edges[0]) & (stream.times < edges[-1])
        inside &= (stream.units >= 0) & (stream.units < N_UNITS)
        newest = stream.times[inside].max() if inside.any() else math.nan
        np.testing.assert_equal(window.last_spike, newest)
        whole = edges[0] >= stream.origin and edges[-1] <= stream.stop
        assert window.truncated == (not whole)
    # Whatever overlaps what was received is given, whatever does not is not.
    covered = [
        i
        for i, (m, _) in enumerate(markers)
        if m + offset < stream.stop and (m + offset) + n_bins * 0.01 > stream.origin
    ]
    assert sorted(w.trial for w in got) == covered


@pytest.mark.fault("markers")
@given(STREAMS, st.lists(st.tuples(st.floats(0, 2), st.sampled_from("saax")), max_size=30))
@settings(deadline=None, max_examples=MANY)
def test_chunking_changes_nothing_in_any_sequence_of_markers(stream, moments):
    markers = [(stream.origin + t, label) for t, label in moments]
    outcomes = []
    for chunk in (1, 64, 10**6):
        windows = TrialWindows(
            N_UNITS, 20, 0.01, start="s", align="a", offset=-0.1, abort="x", max_pending=2
        )
        got = stream.play(windows, chunk, markers)
        check_trial_law(windows)
        assert not windows._open
        outcomes.append([(w.trial, w.zero, w.truncated, w.counts.tobytes()) for w in got])
        outcomes[-1].append(vars(windows.counters) | {"late_markers": None})
    assert outcomes[0] == outcomes[1] == outcomes[2]


@pytest.mark.parametrize("hop", [1, 3])
def test_a_sliding_window_is_given_just_when_it_was_said_to_end(hop):
    windows = SlidingWindows(1, 4, 0.01, hop=hop)
    assert windows.next_end == math.inf
    windows.begin(0.123)
    for _ in range(20):
        due = windows.next_end
        assert list(windows.close(np.nextafter(due, 0))) == []
        assert [w.stop for w in windows.close(due)] == [due]


def test_a_trial_is_given_just_when_it_was_said_to_end():
    windows = TrialWindows(1, 10, 0.1, start="s")
    windows.begin(0.0)
    windows.push_markers([1.0, 1.3], ["s", "s"])
    assert windows.next_end == math.inf  # the watermark has not passed a marker
    assert list(windows.close(1.5)) == []
    for _ in range(2):
        due = windows.next_end
        assert list(windows.close(np.nextafter(due, 0))) == []
        assert [w.stop for w in windows.close(due)] == [due]
    assert windows.next_end == math.inf


def test_overlapping_trials_are_given_in_the_order_in_which_they_close():
    windows = TrialWindows(1, 10, 0.1, start="s", align="a*")
    windows.begin(0.0)
    windows.push_spikes([1.05, 1.55], [0, 0])
    windows.push_markers([0.5, 1.0, 1.2, 1.5], ["s", "a1", "s", "a2"])
    assert list(windows.close(1.9)) == []
    windows.push_spikes([1.95, 2.2], [0, 0])
    first, second = (w.copy() for w in windows.close(3.0))
    assert (first.label, first.trial, first.zero) == ("a1", 0, 1.0)
    assert first.counts.ravel().tolist() == [1, 0, 0, 0, 0, 1, 0, 0, 0, 1]
    assert (second.label, second.trial, second.last_spike) == ("a2", 1, 2.2)
    assert second.counts.sum() == 3


@pytest.mark.fault("markers")
def test_a_start_before_the_old_trial_was_aligned_replaces_it():
    windows = TrialWindows(1, 2, 0.1, start="s*", align="a")
    windows.begin(0.0)
    windows.push_markers([1.0, 1.1, 1.2, 1.3], ["s1", "s2", "a", "a"])
    (window,) = windows.close(2.0)
    assert (window.start_label, window.trial, window.zero) == ("s2", 1, 1.2)
    assert windows.counters.unaligned == 1
    assert windows.counters.stray == 1  # the second align
    windows.push_markers([3.0], ["s3"])
    assert list(windows.close(4.0)) == list(windows.flush()) == []
    assert windows.counters.unaligned == 2


@pytest.mark.fault("markers")
def test_abort_cancels_the_newest_open_trial_and_never_a_closed_one():
    windows = TrialWindows(1, 10, 0.1, start="s*", abort="abort*")
    windows.begin(0.0)
    windows.push_markers([1.0, 1.5, 1.7], ["s1", "s2", "abort"])
    assert [w.label for w in windows.close(3.0)] == ["s1"]
    windows.push_markers([4.0, 5.0], ["s3", "abort"])  # its window ends as the abort comes
    assert [w.label for w in windows.close(6.0)] == ["s3"]
    windows.push_markers([7.0, 6.9], ["s4", "abort late"])
    assert [w.label for w in windows.close(9.0)] == ["s4"]
    assert (windows.counters.aborted, windows.counters.stray) == (1, 2)
    waiting = TrialWindows(1, 10, 0.1, start="s", align="a", abort="x")
    waiting.begin(0.0)
    waiting.push_markers([1.0, 1.1, 1.2], ["s", "x", "a"])
    assert list(waiting.close(9.0)) == []
    assert (waiting.counters.aborted, waiting.counters.stray) == (1, 1)


def test_patterns_are_shell_style_and_mind_case():
    windows = TrialWindows(1, 1, 0.1, start="trial_*", align="trial_go[12]", abort="*fail")
    windows.begin(0.0)
    labels = ["trial_begin", "Trial_go1", "other", "trial_go3", "trial_go2", "trial_fail"]
    windows.push_markers(np.arange(6.0) + 1, labels)
    got = [(w.trial, w.start_label, w.label) for w in windows.close(20.0)]
    assert got == [(1, "trial_go3", "trial_go2")]
    assert windows.counters.unaligned == 1
    assert windows.counters.stray == 1


@pytest.mark.fault("markers")
def test_markers_may_come_unordered_twice_late_and_with_no_time():
    windows = TrialWindows(1, 5, 0.1, start="s", align="a")
    windows.begin(0.0)
    windows.push_spikes(np.arange(40) * 0.1 + 0.05, np.zeros(40, int))
    windows.push_markers([1.0, 0.9, 1.0, 0.9], ["a", "s", "a", "s"])
    windows.push_markers([math.nan, math.inf, 1e300, -1e300], ["s"] * 4)
    (window,) = windows.close(4.0)
    assert window.counts.ravel().tolist() == [1] * 5
    assert (windows.counters.duplicates, windows.counters.refused_markers) == (2, 4)
    # The window has long passed: it is served from the history.
    windows.push_markers([2.0, 2.0], ["s", "a"])
    (window,) = windows.close(4.1)
    assert (window.zero, window.counts.sum(), window.truncated) == (2.0, 5, False)
    assert windows.counters.late_markers == 2
    # A start that comes later than a newer one was given up when that one began.
    windows.push_markers([4.3], ["s"])
    assert list(windows.close(4.4)) == []
    windows.push_markers([4.2], ["s"])
    assert list(windows.close(4.5)) == []
    windows.push_markers([4.6], ["a"])
    assert [w.trial for w in windows.close(9.0)] == [2]
    assert windows.counters.unaligned == 1
    with pytest.raises(ValueError, match="zip"):
        windows.push_markers([1.0, 2.0], ["s"])


def test_windows_that_the_source_did_not_wholly_cover_are_flagged():
    windows = TrialWindows(1, 10, 0.1, start="s", offset=-0.5)
    windows.begin(10.0)
    windows.push_markers([9.0, 10.2, 12.0, 14.0, 16.0, 18.0], ["s"] * 6)
    windows.mark_gap(12.2, 12.3)
    windows.mark_gap(13.0, 15.0)
    windows.mark_gap(5.0, 4.0)
    got = {w.zero: w.truncated for w in windows.close(18.1)}
    assert got == {10.2: True, 12.0: True, 16.0: False}
    assert [(w.zero, w.truncated) for w in windows.flush()] == [(18.0, True)]
    assert windows.counters.dropped == 2  # at 9 s and at 14 s there was nothing
    assert windows.counters.truncated == 3


def test_a_history_that_was_overwritten_flags_the_windows_it_concerns():
    times = np.arange(1000) * 0.01 + 0.005
    windows = TrialWindows(1, 10, 0.1, start="s", capacity=300, lookback=4.0)
    windows.begin(0.0)
    for i in range(0, 1000, 10):
        windows.push_spikes(times[i : i + 10], np.zeros(10, int))
        assert list(windows.close(times[i])) == []
    # 4 s of lookback hold 400 events, of which 300 fit (and less than a chunk is in hand).
    assert windows.tally.overwritten == pytest.approx(600, abs=120)
    windows.push_markers([6.5, 7.1], ["s", "s"])
    got = [(w.zero, w.truncated, int(w.counts.sum())) for w in windows.close(9.99)]
    assert got == [(6.5, True, 50), (7.1, False, 100)]
    windows.push_markers([9.0], ["s"])  # open: filled as spikes come, whatever the history does
    windows.close(9.995)
    enough = TrialWindows(1, 10, 0.1, start="s", capacity=300, lookback=2.0)
    enough.begin(0.0)
    for i in range(0, 1000, 10):
        enough.push_spikes(times[i : i + 10], np.zeros(10, int))
        list(enough.close(times[i]))
    assert enough.tally.overwritten == 0


@pytest.mark.fault("too-long")
def test_too_many_open_trials_drop_the_oldest():
    windows = TrialWindows(1, 100, 0.1, start="s", max_pending=3)
    windows.begin(0.0)
    windows.push_markers(np.arange(5.0) + 1, ["s"] * 5)
    assert [w.trial for w in windows.close(30.0)] == [2, 3, 4]
    assert windows.counters.dropped == 2
    check_trial_law(windows)


@pytest.mark.fault("too-long")
def test_waiting_markers_are_bounded_and_the_furthest_are_refused():
    windows = TrialWindows(1, 1, 0.1, start="s")
    windows.begin(0.0)
    windows.push_markers(1e8 + np.arange(5000.0), ["s"] * 5000)
    windows.push_markers([1.0], ["s"])
    assert windows.counters.refused_markers == 905
    assert [w.zero for w in windows.close(2.0)] == [1.0]


@pytest.mark.fault("stall")
def test_late_spikes_are_counted_and_used_where_still_possible():
    trials = TrialWindows(1, 10, 0.1, start="s")
    trials.begin(0.0)
    trials.push_markers([1.0, 2.0], ["s", "s"])
    assert [w.trial for w in trials.close(2.5)] == [0]
    trials.push_spikes([2.1, 1.5, 2.7], [0, 0, 0], [1, 2, 4])
    (window,) = trials.close(3.0)
    assert window.counts.sum() == 5
    assert (trials.tally.late, trials.tally.kept) == (3, 4)
    check_law(trials)

    sliding = SlidingWindows(1, 2, 0.5)
    sliding.begin(1.0)
    assert [w.start for w in sliding.close(2.6)] == [1.0, 1.5]
    # Before the start; of a closed bin; of the open bin though the watermark has passed it.
    sliding.push_spikes([0.9, 2.4, 2.55], [0, 0, 0], [1, 2, 4])
    (window,) = sliding.close(3.0)
    assert window.counts.ravel().tolist() == [0, 4]
    tally = sliding.tally
    assert (tally.outside, tally.late, tally.kept, tally.received) == (1, 2, 4, 7)


@pytest.mark.fault("bad-values")
@pytest.mark.parametrize(
    "windows",
    [TrialWindows(2, 4, 0.25, start="s"), SlidingWindows(2, 4, 0.25)],
    ids=["trials", "sliding"],
)
def test_senseless_input_is_counted_or_refused(windows):
    windows.begin(0.0)
    bad = [math.nan, math.inf, -math.inf, 0.5, 0.5, 0.5, 0.5]
    windows.push_spikes(bad, [0, 0, 0, -1, 2, 0, 0], [1, 1, 5, 1, 1, -3, 0])
    tally = windows.tally
    assert (tally.received, tally.invalid, tally.unknown, tally.kept) == (10, 8, 2, 0)
    for watermark in (math.nan, math.inf, -math.inf, 1e300):
        assert list(windows.close(watermark)) == []
    windows.push_spikes([], [], [])
    windows.push_spikes(np.zeros(5000), np.zeros(5000, int))
    assert windows.tally.kept == 5000
    for wrong in (([0.0], [0, 1]), ([0.0], [0], [1, 1]), ([[0.0]], [[0]])):
        with pytest.raises(ValueError, match="equally many"):
            windows.push_spikes(*wrong)
    windows.push_markers([0.0], ["s"])
    (window,) = windows.close(1.0)
    assert window.counts[:, 0].tolist() == [255, 0, 0, 0]
    assert windows.tally.saturated == 5000 - 255


def test_saturation_counts_once_a_bin_when_sliding():
    sliding = SlidingWindows(1, 3, 1.0)
    sliding.begin(0.0)
    sliding.push_spikes([0.5], [0], [300])
    assert len(list(sliding.close(3.0))) == 1
    assert sliding.tally.saturated == 45


@pytest.mark.fault("clock-jump")
def test_the_clock_may_jump_by_an_age():
    sliding = SlidingWindows(2, 10, 0.01, hop=3, max_backlog=20, horizon=0.5)
    sliding.begin(0.0)
    sliding.push_spikes([0.5, 1e9 + 0.5, 7e8], [0, 1, 1])
    got = [w.copy() for w in sliding.close(1e9)]
    assert len(got) == 20
    assert not any(w.counts.any() for w in got)
    assert got[-1].stop == pytest.approx(1e9, abs=0.03)
    assert sliding.counters.emitted + sliding.counters.skipped == pytest.approx(1e9 / 0.03, abs=9)
    assert sliding.tally.late == 1  # what waited for a bin that was skipped
    rows = sum(w.counts.sum() for w in (w.copy() for w in sliding.close(1e9 + 0.55)))
    assert rows > 0
    assert list(sliding.close(5.0)) == []  # never back
    sliding.push_spikes([5.0], [0])
    assert sliding.tally.late == 2
    check_law(sliding)

    trials = TrialWindows(2, 10, 0.01, start="s")
    trials.begin(0.0)
    trials.push_markers([1.0, 1e9 + 1], ["s", "s"])
    trials.push_spikes([1.05, 1e9 + 1.05], [0, 1])
    assert [int(w.counts.sum()) for w in trials.close(1e9)] == [1]
    assert [int(w.counts.sum()) for w in trials.close(1e9 + 2)] == [1]
    assert list(trials.close(3.0)) == []


@pytest.mark.fault("clock-jump")
def test_a_jump_gives_the_newest_windows_with_all_their_spikes():
    sliding = SlidingWindows(1, 4, 1.0, max_backlog=3, horizon=2.0)
    sliding.begin(0.0)
    times = np.arange(100) + 0.5
    sliding.push_spikes(times, np.zeros(100, int), np.arange(100) % 7 + 1)
    got = [w.copy() for w in sliding.close(100.0)]
    assert [w.first for w in got] == [94, 95, 96]
    for window in got:
        expected = (np.arange(window.first, window.first + 4) % 7) + 1
        assert window.counts.ravel().tolist() == expected.tolist()
    assert sliding.counters.skipped == 94
    check_law(sliding)


@pytest.mark.fault("clock-jump")
def test_spikes_too_far_ahead_wait_in_bounded_memory():
    sliding = SlidingWindows(1, 2, 0.01, horizon=0.1)
    sliding.begin(0.0)
    sliding.push_spikes(np.full(70_000, 50.0), np.zeros(70_000, int))
    assert sliding.tally.ahead == 70_000 - 65_536
    sliding.push_spikes([0.005], [0])
    assert [int(w.counts.sum()) for w in sliding.close(0.02)] == [1]
    assert list(sliding.flush()) == []
    assert sliding.tally.ahead == 70_000
    check_law(sliding)


def test_spikes_of_the_longest_hold_off_are_not_too_far_ahead():
    """They come so far ahead of the bins that are closed, and many would not find room to wait."""
    longest = 10.0
    with pytest.raises(ValidationError):
        BinningSettings(hold_off=longest + 0.1)
    windows = windows_for(SlidingSettings(mode="sliding"), 3, 4, 0.01, 1, hold_off=longest)
    windows.begin(0.0)
    times = np.linspace(0.0, longest + 1.0, 100_000)
    windows.push_spikes(times, np.zeros(len(times), np.int32))
    assert (windows.tally.ahead, windows.waiting) == (0, 0)


def test_windows_not_taken_from_the_iterator_come_with_the_next_call():
    sliding = SlidingWindows(1, 1, 1.0)
    sliding.begin(0.0)
    sliding.push_spikes([0.5, 1.5, 2.5], [0, 0, 0], [1, 2, 3])
    assert next(sliding.close(2.0)).counts.sum() == 1
    assert [int(w.counts.sum()) for w in sliding.close(2.5)] == [2]
    trials = TrialWindows(1, 1, 1.0, start="s")
    trials.begin(0.0)
    trials.push_markers([0.0, 1.0], ["s", "s"])
    assert next(trials.close(2.0)).trial == 0
    assert next(trials.close(2.0)).trial == 1


def test_a_hop_copies_nothing():
    sliding = SlidingWindows(4, 5, 0.01, hop=2)
    sliding.begin(0.0)
    for watermark in np.arange(0, 9, 0.013):
        for window in sliding.close(watermark):
            assert window.counts.base is sliding._rows
    trials = TrialWindows(4, 5, 0.01, start="s", max_pending=2)
    memory = {id(o.window.counts) for o in trials._free}
    trials.begin(0.0)
    trials.push_markers(np.arange(5.0), ["s"] * 5)
    assert {id(w.counts) for w in trials.close(9.0)} == memory


def test_edges_of_counts_fall_between_the_middles_of_source_bins():
    phase, source = 1e6 + 0.0123456, 0.001
    trials = TrialWindows(1, 5, 0.01, start="s", offset=-0.0004)
    trials.snap_to(phase, source)
    trials.begin(phase)
    middles = phase + (np.arange(200) + 0.5) * source
    trials.push_spikes(middles, np.zeros(200, int))
    trials.push_markers(phase + np.array([0.02, 0.0219, 0.0999]), ["s"] * 3)
    got = [w.counts.ravel().tolist() for w in trials.close(phase + 1)]
    assert got == [[10] * 5] * 3
    sliding = SlidingWindows(1, 5, 0.01)
    sliding.snap_to(phase, source)
    sliding.begin(phase)
    sliding.push_spikes(middles, np.zeros(200, int))
    got = [w.counts.ravel().tolist() for w in sliding.close(phase + 0.2)]
    assert len(got) == 15
    assert got == [[10] * 5] * 15
    with pytest.raises(ValueError, match="begun"):
        sliding.snap_to(phase, source)
    with pytest.raises(ValueError, match="bin width"):
        trials.snap_to(0.0, 0.0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: TrialWindows(0, 1, 0.01, start="s"),
        lambda: TrialWindows(1, 0, 0.01, start="s"),
        lambda: TrialWindows(1, 1, 0.0, start="s"),
        lambda: TrialWindows(1, 1, 0.01, start="s", max_pending=0),
        lambda: TrialWindows(1, 1, 0.01, start="s", offset=math.nan),
        lambda: TrialWindows(1, 1, 0.01, start="s", capacity=0),
        lambda: SlidingWindows(1, 1, 0.01, hop=0),
        lambda: SlidingWindows(1, 1, 0.01, horizon=math.inf),
        lambda: SlidingWindows(1, 1, 0.01, max_backlog=0),
        lambda: SlidingWindows(1, 1, 0.01, origin=math.nan),
    ],
)
def test_settings_out_of_range_are_refused(make):
    with pytest.raises(ValueError, match=r"\d|nan|inf"):
        make()


# --- whole recordings ---


@given(STREAMS, CHUNKS, st.integers(1, 3))
@settings(deadline=None, max_examples=MANY)
def test_a_recording_is_cut_as_the_live_stream_is(stream, chunk, hop):
    known = (stream.units >= 0) & (stream.units < N_UNITS)
    repeat = np.where(known, stream.counts, 0)
    spikes = SpikeEvents(np.repeat(stream.times, repeat), np.repeat(stream.units, repeat))
    moments = np.arange(stream.origin, stream.stop, 0.13)
    labels = tuple(f"go{i}" for i in range(len(moments)))
    recording = Recording(
        spikes, ("a", "b", "c"), stream.origin, stream.stop, Markers(moments, labels)
    )
    for make in (
        lambda: TrialWindows(N_UNITS, 15, 0.01, start="go*", offset=-0.05),
        lambda: SlidingWindows(N_UNITS, 15, 0.01, hop=hop, max_backlog=4 if chunk == 1 else 999),
    ):
        offline = [w.copy() for w in windows_of(recording, make())]
        live = make()
        if isinstance(live, SlidingWindows):
            live._max_backlog = 999
        online = stream.play(live, chunk, zip(moments, labels, strict=True))
        assert len(offline) == len(online)
        for a, b in zip(offline, online, strict=True):
            np.testing.assert_array_equal(a.counts, b.counts)
            assert (a.start, a.trial, a.label, a.truncated) == (
                b.start, b.trial, b.label, b.truncated,
            )  # fmt: skip


def test_a_sparse_recording_with_a_wild_stamp_is_cut_at_once():
    times = np.array([-1.54e9, 1.0, 2.0])
    recording = Recording(
        SpikeEvents(times, np.zeros(3, np.int32)), ("a",), -1.54e9, 3.0,
        Markers(np.array([-1.54e9, 1.0]), ("s", "s")),
    )  # fmt: skip
    batch = stack(windows_of(recording, TrialWindows(1, 4, 0.25, start="s")))
    assert batch.counts[..., 0].tolist() == [[1, 0, 0, 0], [1, 0, 0, 0]]
    assert batch.truncated.tolist() == [False, False]
    with pytest.raises(RecordingError, match="GiB"):
        stack(windows_of(recording, SlidingWindows(1, 4, 0.25)), max_bytes=4000)


def test_recordings_that_do_not_fit_the_windows_are_refused():
    counts = BinnedCounts(np.zeros((50, 2), np.uint8), 0.004)
    recording = Recording(counts, ("a", "b"), 0.0, 0.2, name="session 3")
    with pytest.raises(RecordingError, match=r"session 3 has 2 units; the windows have 3"):
        windows_of(recording, SlidingWindows(3, 2, 0.008))
    with pytest.raises(RecordingError, match=r"bins of 0.004 s; bins of 0.01 s"):
        windows_of(recording, SlidingWindows(2, 2, 0.01))
    with pytest.raises(RecordingError, match="compare the marker patterns"):
        stack(windows_of(recording, TrialWindows(2, 2, 0.008, start="s")))


def test_real_trials_are_counted_to_the_last_spike(shared_data):
    loadmat = pytest.importorskip("scipy.io").loadmat
    path = shared_data / "shenoy-delay-97u-1ms" / "ps4_realdata.mat"
    trials = loadmat(path)["train_trial"].ravel()[:120]
    # Trials one after the other, 700 ms each, spikes at the middle of their millisecond.
    whole = np.concatenate([t["spikes"].T for t in trials]).astype(np.uint8)
    n_trials, n_units = len(trials), whole.shape[1]
    expected = whole.reshape(n_trials, 70, 10, n_units).sum(2)
    start = 1e6 + 0.25
    rows, units = np.nonzero(whole)
    onsets = start + np.arange(n_trials) * 0.7
    labels = tuple(f"trial {i}" for i in range(n_trials))
    unit_labels = tuple(f"u{i}" for i in range(n_units))
    stop = start + len(whole) * 0.001
    for spikes in (
        SpikeEvents(start + (rows + 0.5) * 0.001, units.astype(np.int32)),
        BinnedCounts(whole, 0.001, start),
    ):
        recording = Recording(spikes, unit_labels, start, stop, Markers(onsets, labels))
        windows = TrialWindows(n_units, 70, 0.01, start="trial *")
        batch = stack(windows_of(recording, windows))
        np.testing.assert_array_equal(batch.counts, expected)
        assert batch.counts.sum(dtype=int) == whole.sum(dtype=int) == windows.tally.kept
        assert batch.labels == labels
        assert not batch.truncated[:-1].any()
