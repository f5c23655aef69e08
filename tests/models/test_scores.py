"""Scores against computations of their own, written out in another way."""

import math

import numpy as np
import pytest

from bci_lfads.errors import RecordingError
from bci_lfads.models import scores
from bci_lfads.models.scores import bits_per_spike, decode, decode_r2, folds, psth_r2, psths, r2

WIDTH = 0.02


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def _log_poisson(k: int, mean: float) -> float:
    return k * math.log(mean) - mean - math.lgamma(k + 1)


def test_bits_per_spike_are_the_difference_of_whole_poisson_likelihoods(rng):
    rates = rng.uniform(5, 80, (4, 7, 3))
    counts = rng.poisson(rates * WIDTH).astype(np.uint8)
    model = null = 0.0
    for trial in range(4):
        for t in range(7):
            for unit in range(3):
                k = int(counts[trial, t, unit])
                model += _log_poisson(k, rates[trial, t, unit] * WIDTH)
                null += _log_poisson(k, sum(counts[:, :, unit].ravel().tolist()) / 28)
    expected = (model - null) / int(counts.sum()) / math.log(2)
    assert bits_per_spike(np.log(rates), counts, WIDTH) == pytest.approx(expected, rel=1e-12)


def test_mean_rates_are_worth_no_bits_and_true_rates_some(rng):
    rates = np.exp(rng.normal(2.5, 1.0, (50, 20, 4)))
    counts = rng.poisson(rates * WIDTH).astype(np.uint8)
    means = np.broadcast_to(counts.mean(axis=(0, 1)) / WIDTH, rates.shape)
    assert bits_per_spike(np.log(means), counts, WIDTH) == pytest.approx(0.0, abs=1e-12)
    assert bits_per_spike(np.log(rates), counts, WIDTH) > 0.3


def test_a_silent_unit_costs_what_its_rate_promises(rng):
    counts = rng.poisson(0.5, (5, 6, 2)).astype(np.uint8)
    counts[:, :, 1] = 0
    means = np.broadcast_to([counts[:, :, 0].mean() / WIDTH, 1.0], counts.shape)
    expected = -30 * WIDTH / counts.sum() / math.log(2)
    assert bits_per_spike(np.log(means), counts, WIDTH) == pytest.approx(expected)
    with pytest.raises(RecordingError, match="no spike"):
        bits_per_spike(np.log(means), 0 * counts, WIDTH)


def test_r2_is_one_minus_the_share_of_variance_left_and_needs_variance():
    true = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0], [6.0, 5.0]])
    found = np.array([[1.5, 5.0], [2.0, 5.0], [2.0, 5.0], [6.0, 5.0]])
    result = r2(true, found)
    assert result.each[0] == pytest.approx(1 - (0.25 + 1.0) / 14.0)
    assert np.isnan(result.each[1])
    assert result.mean == result.each[0]
    assert np.isnan(r2(true[:, 1:], found[:, 1:]).mean)


def test_psth_r2_compares_trial_means_of_each_condition(rng):
    rates = rng.uniform(5, 80, (6, 5, 2))
    counts = rng.poisson(rates * WIDTH).astype(np.uint8)
    names = ["b", "a", "a", "b", "b", "a"]
    expected = []
    for unit in range(2):
        measured, inferred = [], []
        for c in ("a", "b"):
            rows = [i for i in range(6) if names[i] == c]
            for t in range(5):
                measured.append(sum(int(counts[i, t, unit]) for i in rows) / len(rows) / WIDTH)
                inferred.append(sum(rates[i, t, unit] for i in rows) / len(rows))
        mean = sum(measured) / 10
        rest = sum((m - f) ** 2 for m, f in zip(measured, inferred, strict=True))
        expected.append(1 - rest / sum((m - mean) ** 2 for m in measured))
    result = psth_r2(np.log(rates), counts, names, WIDTH, smoothing=0.0)
    assert result.each == pytest.approx(expected)
    assert result.mean == pytest.approx(sum(expected) / 2)


def test_measured_psths_are_smoothed_by_a_gaussian_that_keeps_a_constant(rng):
    counts = np.full((2, 9, 1), 3, np.uint8)
    assert psths(np.zeros((2, 9, 1)), counts, "aa", WIDTH).measured == pytest.approx(150.0)
    counts = np.zeros((1, 41, 1), np.uint8)
    counts[0, 20] = 1
    smooth = psths(np.zeros((1, 41, 1)), counts, "a", WIDTH, smoothing=0.06).measured[0, :, 0]
    distance = np.arange(41) - 20
    expected = np.exp(-0.5 * (distance / 3) ** 2) / (3 * math.sqrt(2 * math.pi)) / WIDTH
    assert smooth == pytest.approx(expected, abs=2e-3 * expected.max())


def test_a_linear_map_of_the_factors_is_found(rng):
    factors = rng.normal(size=(12, 15, 4))
    targets = factors @ rng.normal(size=(4, 2)) + [3.0, -50.0]
    assert decode_r2(factors, targets).mean == pytest.approx(1.0, abs=1e-6)


def test_noise_is_not_decoded(rng):
    assert decode_r2(rng.normal(size=(20, 15, 6)), rng.normal(size=(20, 15, 2))).mean < 0.01


@pytest.mark.parametrize("lag", [3, -2])
def test_a_lag_says_by_how_many_bins_targets_follow_factors(rng, lag):
    factors = rng.normal(size=(12, 30, 2))
    targets = np.roll(factors, lag, axis=1)
    assert decode_r2(factors, targets, lag=lag).mean == pytest.approx(1.0, abs=1e-6)
    assert decode_r2(factors, targets, lag=0).mean < 0.3
    true, _ = decode(factors, targets, lag=lag)
    assert true.shape[1] == 30 - abs(lag)


def test_ridge_is_the_minimum_of_its_penalised_error(rng):
    """Against least squares on rows appended for the penalty."""
    x, y = rng.normal(2.0, 3.0, (5, 8, 3)), rng.normal(1.0, 1.0, (5, 8, 2))
    alpha = 0.3
    ((weights, offset),) = scores.ridge(x, y, (alpha,))
    flat, outputs = x.reshape(-1, 3), y.reshape(-1, 2)
    z = (flat - flat.mean(axis=0)) / flat.std(axis=0)
    rows = np.vstack([z, math.sqrt(alpha * 40) * np.eye(3)])
    aims = np.vstack([outputs - outputs.mean(axis=0), np.zeros((3, 2))])
    expected = np.linalg.lstsq(rows, aims, rcond=None)[0]
    np.testing.assert_allclose(flat @ weights + offset, z @ expected + outputs.mean(axis=0))


def test_a_trial_is_decoded_by_a_map_that_did_not_see_it(rng):
    """Of two trials that nothing else is like, neither is decoded from the other."""
    factors = np.zeros((8, 10, 8))
    for i in range(8):
        factors[i, :, i] = rng.normal(size=10)
    targets = factors.sum(axis=2, keepdims=True)
    assert decode_r2(factors, targets).mean < 0.05


def test_every_trial_is_tested_once():
    parts = folds(13, 5)
    assert sorted(np.concatenate([p.test for p in parts])) == list(range(13))
    assert all(not set(p.training) & set(p.test) for p in parts)


def test_too_few_trials_and_too_long_lags_are_refused(rng):
    with pytest.raises(RecordingError, match="3 trials cannot be cross-validated"):
        decode(np.zeros((3, 5, 1)), np.zeros((3, 5, 1)))
    with pytest.raises(RecordingError, match="a lag of 5 bins leaves nothing"):
        decode(np.zeros((8, 5, 1)), np.zeros((8, 5, 1)), lag=5)


def test_factors_may_go_on_beyond_the_window(rng):
    factors = rng.normal(size=(8, 12, 2))
    assert decode_r2(factors, factors[:, :10]).mean == pytest.approx(1.0, abs=1e-6)
