"""How good a model is, in numbers that others use too.

Log-likelihood in bits per spike and R² of PSTHs are those of the Neural Latents Benchmark (F. Pei
et al., "Neural Latents Benchmark '21: evaluating latent variable models of neural population
activity", NeurIPS datasets and benchmarks 2021), but for what each function says. Arrays in,
numbers out; no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bci_lfads.errors import RecordingError

Floats = NDArray[np.float64]
ALPHAS = tuple(10.0**k for k in range(-4, 5))
"""Penalties that a ridge regression on standardised inputs chooses from, a sample."""
SMOOTHING = 0.03
"""Standard deviation of the Gaussian that smooths measured PSTHs, seconds."""


class R2(NamedTuple):
    """Coefficients of determination: the mean over outputs, and each.

    Attributes
    ----------
    mean
        Over the outputs that vary.
    each
        float64, shape ``(n_outputs,)``; NaN for one that does not vary.
    """

    mean: float
    each: Floats


def bits_per_spike(
    log_rates: NDArray[np.floating], counts: NDArray[np.uint8], bin_width: float
) -> float:
    """Return by how much rates predict counts better than each unit's mean rate does.

    ``(L(rates) - L(means)) / (number of spikes · ln 2)`` with Poisson log-likelihoods L, and
    the means those of the very counts that are scored.

    Parameters
    ----------
    log_rates
        Natural logarithm of Hz, shape ``(n_windows, n_bins, n_units)``.
    counts
        Of the same shape.
    bin_width
        Seconds.

    Raises
    ------
    RecordingError
        If there is no spike.

    Notes
    -----
    The benchmark scores units that the model did not see (co-smoothing). Here the model sees all
    units of the windows scored, though it was not trained on them: compare models with each other
    by this, not with the benchmark's tables.
    """
    n = counts.astype(np.float64)
    spikes = n.sum()
    if spikes == 0:
        raise RecordingError("no spike in the windows to be scored")
    log_means = np.asarray(log_rates, np.float64) + np.log(bin_width)
    model = (n * log_means - np.exp(log_means)).sum()
    mean = n.mean(axis=(0, 1))
    totals = n.sum(axis=(0, 1))
    fires = totals > 0
    null = (totals[fires] * np.log(mean[fires])).sum() - mean.sum() * n.shape[0] * n.shape[1]
    return float((model - null) / (spikes * np.log(2.0)))


def r2(true: Floats, found: Floats) -> R2:
    """Return 1 - residual / variance of each output, both shaped ``(n_samples, n_outputs)``."""
    rest = ((true - found) ** 2).sum(axis=0)
    spread = ((true - true.mean(axis=0)) ** 2).sum(axis=0)
    varies = spread > 1e-12 * np.maximum(1.0, (true**2).sum(axis=0))
    each = np.full(true.shape[1], np.nan)
    each[varies] = 1.0 - rest[varies] / spread[varies]
    return R2(float(each[varies].mean()) if varies.any() else float("nan"), each)


def psth_r2(
    log_rates: NDArray[np.floating],
    counts: NDArray[np.uint8],
    conditions: Sequence[str],
    bin_width: float,
    smoothing: float = SMOOTHING,
) -> R2:
    """Return how well mean inferred rates of each condition follow its measured PSTH.

    R² of each unit over all conditions' bins. The measured PSTH is smoothed by a Gaussian of
    standard deviation `smoothing`, seconds (0: not at all); the inferred rates are not. Both are
    means over the same trials; the noise of a PSTH of few trials bounds R².

    Parameters
    ----------
    log_rates, counts
        Shape ``(n_trials, n_bins, n_units)``; log-rates are natural logarithms of Hz.
    conditions
        One a trial.
    bin_width
        Seconds.
    smoothing
        Seconds.
    """
    measured, inferred = psths(log_rates, counts, conditions, bin_width, smoothing)
    n_units = counts.shape[2]
    return r2(measured.reshape(-1, n_units), inferred.reshape(-1, n_units))


class Psths(NamedTuple):
    """Mean rates by condition, Hz, in the order of their sorted names.

    Attributes
    ----------
    measured, inferred
        float64, shape ``(n_conditions, n_bins, n_units)``.
    """

    measured: Floats
    inferred: Floats


def psths(
    log_rates: NDArray[np.floating],
    counts: NDArray[np.uint8],
    conditions: Sequence[str],
    bin_width: float,
    smoothing: float = SMOOTHING,
) -> Psths:
    """Return measured and inferred PSTHs; see `psth_r2` for the arguments."""
    labels = np.array(list(conditions))
    n_bins = counts.shape[1]
    rates = np.exp(np.asarray(log_rates, np.float64)[:, :n_bins])
    blur = _gaussian(n_bins, smoothing / bin_width)
    names = sorted(set(conditions))
    measured = [blur @ counts[labels == c].mean(axis=0) / bin_width for c in names]
    return Psths(np.stack(measured), np.stack([rates[labels == c].mean(axis=0) for c in names]))


def _gaussian(n: int, deviation: float) -> Floats:
    """Return a matrix that smooths; each row sums to one at the ends too."""
    if deviation <= 0:
        return np.eye(n)
    distance = np.subtract.outer(np.arange(n), np.arange(n)) / deviation
    kernel = np.exp(-0.5 * distance**2)
    return np.asarray(kernel / kernel.sum(axis=1, keepdims=True), np.float64)


class Fold(NamedTuple):
    """Indices of trials."""

    training: NDArray[np.int64]
    test: NDArray[np.int64]


def folds(n: int, k: int = 5, seed: int = 0) -> list[Fold]:
    """Return trials shuffled into `k` parts, each once the test and otherwise training."""
    parts = np.array_split(np.random.default_rng(seed).permutation(n), max(2, min(k, n)))
    return [
        Fold(np.sort(np.concatenate(parts[:i] + parts[i + 1 :])), np.sort(parts[i]))
        for i in range(len(parts))
    ]


def decode(
    factors: NDArray[np.floating],
    targets: NDArray[np.floating],
    *,
    lag: int = 0,
    n_folds: int = 5,
    seed: int = 0,
) -> tuple[Floats, Floats]:
    """Read targets out of factors, each trial by a ridge regression that did not see it.

    Parameters
    ----------
    factors
        Shape ``(n_trials, n_bins, n_factors)``.
    targets
        Shape ``(n_trials, n_bins, n_outputs)``, at the middle of the same bins.
    lag
        Bins by which targets follow factors: positive where activity comes before behaviour.
    n_folds
        Parts into which trials are shuffled. The penalty is chosen among `ALPHAS` by leaving out
        each of five parts of the training trials in turn.
    seed
        Of the shuffle.

    Returns
    -------
    true, found : ndarray
        float64, shape ``(n_trials, n_bins - |lag|, n_outputs)``.

    Raises
    ------
    RecordingError
        If there are fewer than four trials, or none of their bins is left by the lag.
    """
    x, y = shifted(factors, targets, lag)
    if len(x) < 4:
        raise RecordingError(f"{len(x)} trials cannot be cross-validated; at least 4 are needed")
    found = np.empty_like(y)
    for training, test in folds(len(x), n_folds, seed):
        alpha = best_alpha(x[training], y[training], seed)
        ((weights, offset),) = ridge(x[training], y[training], (alpha,))
        found[test] = x[test] @ weights + offset
    return y, found


def decode_r2(
    factors: NDArray[np.floating], targets: NDArray[np.floating], *, lag: int = 0, seed: int = 0
) -> R2:
    """Return the cross-validated R² of targets (behaviour, known latents); see `decode`."""
    true, found = decode(factors, targets, lag=lag, seed=seed)
    n = true.shape[2]
    return r2(true.reshape(-1, n), found.reshape(-1, n))


def shifted(
    factors: NDArray[np.floating], targets: NDArray[np.floating], lag: int
) -> tuple[Floats, Floats]:
    """Return factors and the targets that follow them by `lag` bins, in float64.

    Raises
    ------
    RecordingError
        If the lag is as long as the windows.
    """
    x, y = np.asarray(factors, np.float64), np.asarray(targets, np.float64)
    n_bins = y.shape[1]
    if abs(lag) >= n_bins:
        raise RecordingError(f"a lag of {lag} bins leaves nothing of windows of {n_bins} bins")
    # Factors may go on beyond the window; targets do not.
    x = x[:, :n_bins]
    return x[:, max(0, -lag) : n_bins - max(0, lag)], y[:, max(0, lag) : n_bins + min(0, lag)]


def best_alpha(x: Floats, y: Floats, seed: int = 0) -> float:
    """Return the penalty with the least squared error of left-out trials, outputs weighed alike.

    Parameters
    ----------
    x, y
        Shape ``(n_trials, n_bins, n_inputs)`` and ``(n_trials, n_bins, n_outputs)``.
    seed
        Of the shuffle of trials into five parts.
    """
    errors = np.zeros(len(ALPHAS))
    scale = y.reshape(-1, y.shape[-1]).std(axis=0)
    scale[scale == 0] = 1.0
    for training, test in folds(len(x), 5, seed):
        for i, (weights, offset) in enumerate(ridge(x[training], y[training], ALPHAS)):
            errors[i] += (((x[test] @ weights + offset - y[test]) / scale) ** 2).sum()
    return ALPHAS[int(errors.argmin())]


def ridge(x: Floats, y: Floats, alphas: Sequence[float]) -> list[tuple[Floats, Floats]]:
    """Return for each penalty the map of standardised inputs, and its offset.

    Parameters
    ----------
    x, y
        Shape ``(..., n_inputs)`` and ``(..., n_outputs)``.
    alphas
        Penalties a sample.

    Returns
    -------
    list of (weights, offset)
        float64, of inputs as they are: ``(n_inputs, n_outputs)`` and ``(n_outputs,)``.
    """
    flat, outputs = x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
    mean, scale = flat.mean(axis=0), flat.std(axis=0)
    scale[scale == 0] = 1.0
    z = (flat - mean) / scale
    middle = outputs.mean(axis=0)
    gram, cross = z.T @ z, z.T @ (outputs - middle)
    found = []
    for alpha in alphas:
        weights = np.linalg.solve(gram + alpha * len(z) * np.eye(len(gram)), cross)
        weights /= scale[:, None]
        found.append((weights, middle - mean @ weights))
    return found
