"""Factors to two or three dimensions, on axes that stay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Frame:
    """A basis and the ranges of its axes, frozen when it was fitted.

    Attributes
    ----------
    mean, components
        Principal components: shapes ``(n_factors,)`` and ``(n_components, n_factors)``.
    explained
        Share of the variance of each component.
    low, high
        Range of each factor and then of each component that the fitted points had, with a margin.
    """

    mean: NDArray[np.float64]
    components: NDArray[np.float64]
    explained: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def axes(self) -> list[str]:
        """Return what can be shown: each factor, then each component."""
        factors = [f"factor {k}" for k in range(len(self.mean))]
        return factors + [f"PC{k + 1} ({100 * e:.0f} %)" for k, e in enumerate(self.explained)]

    def coordinates(self, points: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return factors and components side by side, shape ``(n, n_axes)``."""
        values = points.astype(np.float64)
        return np.concatenate([values, (values - self.mean) @ self.components.T], axis=1)


def fit(points: NDArray[np.float32], most: int = 3, margin: float = 0.15) -> Frame | None:
    """Fit a frame to points, shape ``(n, n_factors)``; None where there are too few.

    The sign of a component is that of its largest weight, so that a second fit does not mirror it.
    """
    values = points[np.isfinite(points).all(axis=1)].astype(np.float64)
    if len(values) < 3:
        return None
    mean = values.mean(axis=0)
    _, sizes, rows = np.linalg.svd(values - mean, full_matrices=False)
    rows = rows[:most]
    largest = np.abs(rows).argmax(axis=1)
    rows = rows * np.sign(rows[np.arange(len(rows)), largest])[:, None]
    spread = sizes**2
    explained = spread[: len(rows)] / max(float(spread.sum()), 1e-12)
    shown = np.concatenate([values, (values - mean) @ rows.T], axis=1)
    low, high = shown.min(axis=0), shown.max(axis=0)
    wide = np.maximum(high - low, 1e-6)
    return Frame(mean, rows, explained, low - margin * wide, high + margin * wide)


def rotate(points: NDArray[np.float64], azimuth: float, elevation: float) -> NDArray[np.float64]:
    """Project points, shape ``(n, 3)``, to a plane, ``(n, 2)``; angles in degrees."""
    a, e = np.radians(azimuth), np.radians(elevation)
    right = np.array([-np.sin(a), np.cos(a), 0.0])
    up = np.array([-np.sin(e) * np.cos(a), -np.sin(e) * np.sin(a), np.cos(e)])
    projected: NDArray[np.float64] = points @ np.column_stack([right, up])
    return projected
