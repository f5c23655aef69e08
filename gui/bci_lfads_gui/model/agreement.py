"""Decoded behaviour against behaviour as it was."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LEAST = 20  # rows without which no figure is given
_FAR = 0.1  # seconds between two true samples, beyond which nothing is known between them


def truth_at(
    times: NDArray[np.float64], true_times: NDArray[np.float64], values: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return true values at these times, by lines between the samples.

    Parameters
    ----------
    times
        Seconds, shape ``(n,)``.
    true_times, values
        Seconds in order, shape ``(m,)``, and values, shape ``(m,)``.

    Returns
    -------
    ndarray
        Shape ``(n,)``; NaN outside the samples and where they are more than 0.1 s apart.
    """
    if len(true_times) < 2:
        return np.full(len(times), np.nan)
    found = np.asarray(np.interp(times, true_times, values, left=np.nan, right=np.nan), np.float64)
    after = np.clip(np.searchsorted(true_times, times), 1, len(true_times) - 1)
    found[true_times[after] - true_times[after - 1] > _FAR] = np.nan
    return found


def agreement(decoded: NDArray[np.floating], true: NDArray[np.floating]) -> tuple[float, float]:
    """Return the correlation and the coefficient of determination, both of shape ``(n,)``.

    Returns
    -------
    r, r2
        Pearson's r, and 1 − Σ(true − decoded)² / Σ(true − mean)²; NaN of fewer than 20 rows that
        are both finite, or where one of the two does not move.
    """
    both = np.isfinite(decoded) & np.isfinite(true)
    x, y = decoded[both].astype(np.float64), true[both].astype(np.float64)
    if len(x) < _LEAST:
        return np.nan, np.nan
    dx, dy = x - x.mean(), y - y.mean()
    sx, sy = float(dx @ dx), float(dy @ dy)
    if sx <= 0 or sy <= 0:
        return np.nan, np.nan
    return float(dx @ dy) / np.sqrt(sx * sy), 1.0 - float(((y - x) ** 2).sum()) / sy
