"""Co-smoothing: how well factors foretell units that the model does not see.

As in the Neural Latents Benchmark (Pei et al. 2021, section 3.2): a Poisson regression from the
factors to each held-out unit's counts in the same bin, fitted on training trials, and its
likelihood on test trials in bits per spike. The regression is scikit-learn's (extra ``train``).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bci_lfads.errors import BciLfadsError, RecordingError
from bci_lfads.models.scores import Floats, bits_per_spike, folds

PENALTY = 1e-4
"""Of the squared weights of standardised factors, beside the mean deviance of a count: enough
that the weights of a unit with few spikes stay finite, too little to matter elsewhere."""
_FEWEST_SPIKES = 2
_MOST_STEPS = 300


class Readout(NamedTuple):
    """From factors to log-rates of units: ``factors @ weights + offsets``, natural log of Hz.

    Attributes
    ----------
    weights
        float64, shape ``(n_factors, n_units)``.
    offsets
        float64, shape ``(n_units,)``.
    """

    weights: Floats
    offsets: Floats

    def log_rates(self, factors: NDArray[np.floating]) -> Floats:
        """Return log-rates, shape ``(..., n_units)``, of factors ``(..., n_factors)``."""
        return np.asarray(np.asarray(factors, np.float64) @ self.weights + self.offsets)


def fit_readout(
    factors: NDArray[np.floating], counts: NDArray[np.uint8], bin_width: float
) -> Readout:
    """Fit a Poisson regression from factors to each unit's counts.

    A unit with hardly a spike in these windows gets its mean rate, that of half a spike at least.

    Parameters
    ----------
    factors
        Shape ``(n_windows, n_bins, n_factors)``.
    counts
        Shape ``(n_windows, n_bins, n_units)``.
    bin_width
        Seconds.

    Raises
    ------
    BciLfadsError
        If scikit-learn is not installed.
    """
    regressor, one_thread = _regressor()
    flat = np.asarray(factors, np.float64).reshape(-1, factors.shape[-1])
    mean, scale = flat.mean(axis=0), flat.std(axis=0)
    scale[scale == 0] = 1.0
    z = (flat - mean) / scale
    y = counts.reshape(-1, counts.shape[-1]).astype(np.float64)
    weights = np.zeros((z.shape[1], y.shape[1]))
    offsets = np.log(np.maximum(y.sum(axis=0), 0.5) / len(y))
    # Threads gain nothing at this size, and lose much where others compute too.
    with one_thread:
        for unit in np.flatnonzero(y.sum(axis=0) >= _FEWEST_SPIKES).tolist():
            fitted = regressor.fit(z, y[:, unit])
            weights[:, unit] = fitted.coef_ / scale
            offsets[unit] = fitted.intercept_ - mean @ weights[:, unit]
    return Readout(weights, offsets - np.log(bin_width))


def co_smoothing(
    fit_factors: NDArray[np.floating],
    fit_counts: NDArray[np.uint8],
    factors: NDArray[np.floating],
    counts: NDArray[np.uint8],
    bin_width: float,
) -> float:
    """Return bits per spike of units that the model does not see, by a readout fitted elsewhere.

    Parameters
    ----------
    fit_factors, fit_counts
        Of the windows to fit on: ``(n_windows, n_bins, n_factors)`` and ``(…, n_units)``, the
        counts those of the held-out units.
    factors, counts
        The same of the windows to score on.
    bin_width
        Seconds.

    Raises
    ------
    RecordingError
        If there is no spike to score.
    """
    readout = fit_readout(fit_factors, fit_counts, bin_width)
    return bits_per_spike(readout.log_rates(factors), counts, bin_width)


def co_smoothing_in_folds(
    factors: NDArray[np.floating], counts: NDArray[np.uint8], bin_width: float, seed: int = 0
) -> float:
    """Return the same where no windows are set apart for the fit: in five folds over windows.

    The windows must not overlap. Each is predicted by a readout fitted on the other four fifths.

    Raises
    ------
    RecordingError
        If there are too few windows, or no spike.
    """
    if len(factors) < 4:
        raise RecordingError(f"{len(factors)} windows are too few to fit a readout on and score it")
    log_rates = np.empty(counts.shape)
    for training, test in folds(len(factors), 5, seed):
        readout = fit_readout(factors[training], counts[training], bin_width)
        log_rates[test] = readout.log_rates(factors[test])
    return bits_per_spike(log_rates, counts, bin_width)


def _regressor() -> tuple[Any, Any]:
    try:
        from sklearn.linear_model import PoissonRegressor
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise BciLfadsError(
            f"co-smoothing needs scikit-learn, which cannot be imported ({error}); install it "
            "with pip install 'bci-lfads[train]'"
        ) from error
    # Newton's steps: few features, many samples.
    regressor = PoissonRegressor(
        alpha=PENALTY, solver="newton-cholesky", max_iter=_MOST_STEPS, tol=1e-7
    )
    return regressor, threadpool_limits(1)
