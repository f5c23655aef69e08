"""Co-smoothing against a computation of its own: Newton's method in plain NumPy, unit by unit."""

import math
import sys

import numpy as np
import pytest

from bci_lfads.errors import BciLfadsError, RecordingError

pytest.importorskip("sklearn")

from bci_lfads.models.cosmoothing import (
    PENALTY,
    co_smoothing,
    co_smoothing_in_folds,
    fit_readout,
)
from bci_lfads.models.scores import folds

WIDTH = 0.02


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def _population(rng, n=60):
    factors = rng.normal(1.0, 2.0, (n, 12, 3))
    loading = rng.normal(size=(3, 4)) * 0.3
    means = np.exp(factors @ loading - 1.0)
    return factors, rng.poisson(means).astype(np.uint8)


def _newton(x, y):
    """Return weights and offset of the penalised Poisson regression of log-means on x."""
    mean, scale = x.mean(axis=0), x.std(axis=0)
    z = np.column_stack([(x - mean) / scale, np.ones(len(x))])
    penalty = np.diag([PENALTY] * x.shape[1] + [0.0])
    w = np.zeros(z.shape[1])
    w[-1] = math.log(y.mean())
    for _ in range(30):
        mu = np.exp(z @ w)
        slope = z.T @ (mu - y) / len(y) + penalty @ w
        w = w - np.linalg.solve((z * mu[:, None]).T @ z / len(y) + penalty, slope)
    weights = w[:-1] / scale
    return weights, w[-1] - mean @ weights


def _bits(log_rates, counts):
    """Return bits per spike, count by count."""
    gain = 0.0
    for unit in range(counts.shape[2]):
        mean = counts[:, :, unit].mean()
        for log_rate, k in zip(
            log_rates[:, :, unit].ravel(), counts[:, :, unit].ravel(), strict=True
        ):
            expected = math.exp(log_rate) * WIDTH
            gain += int(k) * math.log(expected) - expected - int(k) * math.log(mean) + mean
    return gain / counts.sum() / math.log(2)


def test_the_readout_is_the_poisson_regression_of_each_unit(rng):
    factors, counts = _population(rng)
    readout = fit_readout(factors, counts, WIDTH)
    for unit in range(4):
        w, b = _newton(factors.reshape(-1, 3), counts[:, :, unit].ravel().astype(float))
        np.testing.assert_allclose(readout.weights[:, unit], w, atol=1e-6)
        assert readout.offsets[unit] == pytest.approx(b - math.log(WIDTH), abs=1e-6)


def test_co_smoothing_is_the_likelihood_of_other_windows_over_their_mean_rates(rng):
    factors, counts = _population(rng)
    found = co_smoothing(factors[:40], counts[:40], factors[40:], counts[40:], WIDTH)
    log_rates = np.empty((20, 12, 4))
    for unit in range(4):
        w, b = _newton(factors[:40].reshape(-1, 3), counts[:40, :, unit].ravel().astype(float))
        log_rates[:, :, unit] = factors[40:] @ w + b - math.log(WIDTH)
    assert found == pytest.approx(_bits(log_rates, counts[40:]), abs=1e-7)
    assert found > 0.05


def test_in_folds_no_window_is_predicted_by_a_readout_that_saw_it(rng):
    factors, counts = _population(rng, 20)
    log_rates = np.empty(counts.shape)
    for training, test in folds(20, 5, 0):
        for unit in range(4):
            x, y = factors[training].reshape(-1, 3), counts[training][:, :, unit].ravel()
            w, b = _newton(x, y.astype(float))
            log_rates[test, :, unit] = factors[test] @ w + b - math.log(WIDTH)
    found = co_smoothing_in_folds(factors, counts, WIDTH)
    assert found == pytest.approx(_bits(log_rates, counts), abs=1e-7)
    with pytest.raises(RecordingError, match="3 windows are too few"):
        co_smoothing_in_folds(factors[:3], counts[:3], WIDTH)


def test_factors_that_say_nothing_are_worth_nothing(rng):
    factors, counts = _population(rng)
    noise = rng.normal(size=factors.shape)
    assert co_smoothing(noise[:40], counts[:40], noise[40:], counts[40:], WIDTH) < 0.0


def test_units_with_hardly_a_spike_get_a_rate_and_no_weights(rng):
    factors, counts = _population(rng)
    counts[:, :, 0] = 0
    counts[:, :, 1] = 0
    counts[3, 4, 1] = 1
    readout = fit_readout(factors, counts, WIDTH)
    assert not readout.weights[:, :2].any()
    assert readout.offsets[0] == pytest.approx(math.log(0.5 / 720 / WIDTH))
    assert readout.offsets[1] == pytest.approx(math.log(1 / 720 / WIDTH))
    assert readout.log_rates(factors).shape == (60, 12, 4)


def test_without_scikit_learn_it_says_where_that_comes_from(rng, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(BciLfadsError, match=r"pip install 'bci-lfads\[train\]'"):
        fit_readout(*_population(rng), WIDTH)
