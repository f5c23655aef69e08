"""Splitting windows, and naming what is unfit in them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bci_lfads.errors import RecordingError
from bci_lfads.models.training_data import check_bins, faults, independent, split

LABELS = ("a", "b", "c")


def _good(n: int = 120):
    return np.random.default_rng(0).poisson(0.5, (n, 10, 3)).astype(np.uint8)


@given(st.integers(8, 300), st.floats(0.05, 3.0), st.floats(0.05, 0.5), st.integers(0, 5))
def test_no_moment_is_in_training_and_in_validation(n, step, share, seed):
    starts = 7.0 + step * np.arange(n)
    try:
        training, validation = split(starts, 1.0, share, seed)
    except RecordingError:
        return
    assert not set(training) & set(validation)
    assert len(training)
    assert len(validation)
    apart = np.abs(starts[training][:, None] - starts[validation][None])
    assert apart.min() >= 1.0 - 1e-5


def test_trials_are_drawn_singly_and_all_are_used():
    training, validation = split(2.0 * np.arange(50), 1.0, 0.2, seed=1)
    assert len(validation) == 10
    assert len(training) == 40
    assert np.diff(validation).max() > 1
    assert not np.array_equal(validation, split(2.0 * np.arange(50), 1.0, 0.2, seed=2).validation)


def test_a_sliding_window_is_drawn_in_runs_so_that_little_is_lost():
    training, validation = split(0.01 * np.arange(20000), 0.73, 0.2)
    assert len(training) + len(validation) > 0.9 * 20000
    assert 0.15 * 20000 < len(validation) < 0.25 * 20000


def test_too_few_windows_are_named():
    with pytest.raises(RecordingError, match="5 windows of 1 s leave"):
        split(2.0 * np.arange(5), 1.0)
    with pytest.raises(RecordingError, match="above 0 and below 1"):
        split(2.0 * np.arange(50), 1.0, share=1.0)


def test_good_windows_have_no_faults():
    assert faults(_good(), LABELS, 0.01, 120) == []


def test_silent_units_few_trials_empty_windows_and_saturation_are_named():
    counts = _good(50)
    counts[:, :, 1] = 0
    counts[3] = 0
    counts[4, 0, 0] = 255
    silent, few, empty, saturated = faults(counts, LABELS, 0.01, 50)
    assert silent.startswith("1 of 3 units are silent in all windows (b)")
    assert few.startswith("only 50 windows")
    assert empty.startswith("1 of 50 windows hold no spike")
    assert saturated.startswith("1 of 1500 counts are at 255")


def test_too_few_and_too_many_spikes_are_named():
    rare = np.zeros((200, 100, 3), np.uint8)
    rare[:, 0, :] = np.arange(200)[:, None] % 20 == 0
    assert "one spike in 2000 bins of 10 ms" in faults(rare, LABELS, 0.01, 200)[1]
    loud = _good()
    loud[:, :, 2] = 20
    assert "unit c has 20.0 spikes a bin" in faults(loud, LABELS, 0.01, 120)[0]


def test_windows_without_any_spike_cannot_be_trained_on():
    with pytest.raises(RecordingError, match="5 windows hold no spike of any of 3 units"):
        faults(0 * _good(5), LABELS, 0.01, 5)


def test_bins_that_the_recording_cannot_give_are_refused():
    check_bins(0.01, 73, 10.0, 0.005)
    with pytest.raises(RecordingError, match=r"0\.015 s are not a whole multiple.*take 0\.02"):
        check_bins(0.015, 10, 10.0, 0.01)
    with pytest.raises(RecordingError, match=r"are 7\.3 s; the recording lasts 5 s"):
        check_bins(0.1, 73, 5.0, None)
    with pytest.raises(RecordingError, match="no course in time"):
        check_bins(0.1, 1, 5.0, None)
    with pytest.raises(RecordingError, match="above 0"):
        check_bins(float("nan"), 5, 5.0, None)


def test_of_windows_that_overlap_the_next_is_taken_that_does_not():
    assert independent(0.1 * np.arange(100), 1.0).tolist() == list(range(0, 100, 10))
    assert independent(2.0 * np.arange(7), 1.0).tolist() == list(range(7))
