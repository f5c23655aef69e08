"""Fitting a Kalman filter, with its gains worked out beforehand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_MOST_GAINS = 1000
_STEADY = 1e-9
_FLOOR = 1e-6  # of the mean variance, added to each covariance's diagonal


def fit_kalman(x: Floats, y: Floats) -> dict[str, Floats]:
    """Fit ``y' = A y + a + w`` and ``x = C y + c + v`` by least squares, and work out the gains.

    The state is the behaviour itself, as in W. Wu et al., "Bayesian population decoding of motor
    cortical activity using a Kalman filter", Neural Computation 2006 (eqs. 3 to 8).

    Parameters
    ----------
    x, y
        Features and behaviour, shape ``(n_pieces, n_rows, m)`` and ``(n_pieces, n_rows, n)``.

    Returns
    -------
    dict
        Arguments of `bci_lfads.decoding.steps.Kalman`.
    """
    n, m = y.shape[2], x.shape[2]
    transition, drift, w = _least_squares(y[:, :-1].reshape(-1, n), y[:, 1:].reshape(-1, n))
    observation, offset, q = _least_squares(y.reshape(-1, n), x.reshape(-1, m))
    # Begins as anywhere in the data.
    begin, spread = y.mean(axis=(0, 1)), _floored(np.cov(y.reshape(-1, n).T).reshape(n, n))
    gains = gains_of(transition, observation, w, q, spread)
    return {
        "transition": transition, "drift": drift, "observation": observation, "offset": offset,
        "gains": gains, "begin": begin,
    }  # fmt: skip


def gains_of(
    transition: Floats, observation: Floats, w: Floats, q: Floats, spread: Floats
) -> Floats:
    """Return the gains of the first steps, up to where they no longer change.

    Parameters
    ----------
    transition, observation
        A and C, shapes ``(n, n)`` and ``(m, n)``.
    w, q
        Covariances of state and observation noise, ``(n, n)`` and ``(m, m)``.
    spread
        Covariance of the state before the first row, ``(n, n)``.

    Returns
    -------
    ndarray
        Shape ``(n_steps, n, m)``.
    """
    gains: list[Floats] = []
    p = spread
    identity = np.eye(len(transition))
    while len(gains) < _MOST_GAINS:
        p = transition @ p @ transition.T + w
        gain = np.linalg.solve(observation @ p @ observation.T + q, observation @ p).T
        keep = identity - gain @ observation
        p = keep @ p @ keep.T + gain @ q @ gain.T  # Joseph's form stays symmetric and positive
        gains.append(gain)
        scale = max(1e-300, float(np.abs(gain).max()))
        if len(gains) > 1 and float(np.abs(gain - gains[-2]).max()) <= _STEADY * scale:
            break
    return np.ascontiguousarray(gains)


def _least_squares(x: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
    """Return map, offset and covariance of the rest."""
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    weights = np.linalg.lstsq(x - mean_x, y - mean_y, rcond=None)[0].T
    offset = mean_y - weights @ mean_x
    rest = y - x @ weights.T - offset
    return np.ascontiguousarray(weights), offset, _floored(rest.T @ rest / len(rest))


def _floored(covariance: Floats) -> Floats:
    n = len(covariance)
    floor = _FLOOR * max(float(np.trace(covariance)) / n, 1e-12)
    return np.asarray(covariance + floor * np.eye(n), np.float64)
