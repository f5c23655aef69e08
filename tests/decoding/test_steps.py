"""What runs in the loop, against computations of its own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bci_lfads.decoding.kalman import fit_kalman, gains_of
from bci_lfads.decoding.steps import Classifier, Features, Kalman, Linear


@pytest.fixture
def rng():
    return np.random.default_rng(4)


@given(
    n=st.integers(1, 4), history=st.integers(0, 5), length=st.integers(1, 20),
    cut=st.integers(0, 20), seed=st.integers(0, 9),
)  # fmt: skip
def test_features_are_the_newest_rows_oldest_first(n, history, length, cut, seed):
    rows = np.random.default_rng(seed).normal(size=(length, n))
    features = Features(n, history)
    first = 0
    for k, row in enumerate(rows):
        if k == cut:
            features.reset()
            first = k
        found = features.push(row).reshape(history + 1, n)
        expected = [rows[max(first, k - lag)] for lag in range(history, -1, -1)]
        np.testing.assert_array_equal(found, expected)


def test_smoothing_is_an_exponential_average_from_the_first_row_on(rng):
    rows = rng.normal(size=(30, 3))
    features, average = Features(3, 0, 4.0), rows[0].copy()
    keep = np.exp(-1 / 4.0)
    for k, row in enumerate(rows):
        if k:
            average = keep * average + (1 - keep) * row
        np.testing.assert_allclose(features.push(row), average, rtol=1e-12)


def test_counts_are_taken_as_they_are():
    features = Features(2, 1)
    features.push(np.array([255, 0], np.uint8))
    np.testing.assert_array_equal(features.push(np.array([1, 2], np.uint8)), [255, 0, 1, 2])


def test_a_classifier_gives_probabilities_and_does_not_overflow():
    step, out = Classifier(np.array([[0.0], [1.0], [2.0]]), np.zeros(3)), np.zeros(3)
    step(np.array([1.0]), out)
    np.testing.assert_allclose(out, np.exp([0, 1, 2]) / np.exp([0, 1, 2]).sum())
    step(np.array([1e4]), out)
    np.testing.assert_array_equal(out, [0, 0, 1])


def test_a_linear_map():
    out = np.zeros(2)
    Linear(np.array([[1.0, 2.0], [0.0, -1.0]]), np.array([10.0, 20.0]))(np.array([3.0, 4.0]), out)
    np.testing.assert_array_equal(out, [21, 16])


def test_a_kalman_filter_is_the_posterior_mean_of_its_gaussian(rng):
    """All states and observations at once are one Gaussian; conditioning it is another way."""
    n, m, length = 2, 3, 6
    A, C = np.array([[0.9, 0.1], [-0.2, 0.8]]), rng.normal(size=(m, n))
    a, c, begin = rng.normal(size=n), rng.normal(size=m), rng.normal(size=n)
    W, Q, P = np.diag([0.3, 0.1]), np.diag([0.5, 1.0, 0.2]), np.eye(n) * 2
    z = rng.normal(size=(length, m))
    mean = np.zeros((length, n))
    cov = np.zeros((length, n, length, n))
    previous, spread = begin, P
    for t in range(length):
        mean[t] = previous = A @ previous + a
        spread = A @ spread @ A.T + W
        cov[t, :, t] = spread
        for s in range(t):
            cov[t, :, s] = A @ cov[t - 1, :, s]
            cov[s, :, t] = cov[t, :, s].T
    gains = gains_of(A, C, W, Q, P)
    step, out = Kalman(A, a, C, c, gains, begin), np.zeros(n)
    for t in range(length):
        step(z[t], out)
        k = t + 1
        big_c = np.kron(np.eye(k), C)
        prior = cov[:k, :, :k].reshape(k * n, k * n)
        seen = big_c @ prior @ big_c.T + np.kron(np.eye(k), Q)
        rest = (z[:k] - mean[:k] @ C.T - c).ravel()
        posterior = mean[:k].ravel() + prior @ big_c.T @ np.linalg.solve(seen, rest)
        np.testing.assert_allclose(out, posterior[-n:], rtol=1e-9, atol=1e-9)
    step.reset()
    step(z[0], out)
    first = out.copy()
    step(z[1], out)
    step.reset()
    step(z[0], out)
    np.testing.assert_array_equal(out, first)


def test_a_kalman_fit_finds_what_made_the_data(rng):
    A = np.array([[0.95, 0.05], [-0.05, 0.95]])
    C = rng.normal(size=(4, 2))
    y = np.zeros((8, 1500, 2))
    for t in range(1, y.shape[1]):
        y[:, t] = y[:, t - 1] @ A.T + 0.1 * rng.normal(size=(8, 2))
    x = y @ C.T + 3.0 + 0.2 * rng.normal(size=(8, 1500, 4))
    found = fit_kalman(x, y)
    np.testing.assert_allclose(found["transition"], A, atol=0.02)
    np.testing.assert_allclose(found["observation"], C, atol=0.03)
    np.testing.assert_allclose(found["offset"], 3.0, atol=0.03)
    assert len(found["gains"]) < 200, "the gain becomes steady"
