"""Paths in state space, and the box around them: what the flat and the deep view both draw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Path:
    """One trajectory.

    Attributes
    ----------
    points
        Shape ``(n, 3)``, on the chosen axes; NaN where a bin did not come.
    condition
        By which its colour is chosen.
    strength
        From 0, faint, to 1, the newest.
    """

    points: NDArray[np.float64]
    condition: int
    strength: float

    @property
    def newest(self) -> bool:
        """Whether it is the newest: its end is marked."""
        return self.strength == 1.0

    @property
    def width(self) -> float:
        """Of its line, pixels."""
        return 2.5 if self.newest else 1.2


def unit_cube(
    points: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return points in a cube from -1/2 to 1/2."""
    return (points - low) / (high - low) - 0.5


def _edges() -> NDArray[np.float64]:
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * 0.5
    ends = [
        (corners[i], corners[j])
        for i in range(8)
        for j in range(i + 1, 8)
        if np.abs(corners[i] - corners[j]).sum() == 1
    ]
    return np.array(ends).reshape(-1, 3)


BOX = _edges()
"""The cube's edges: each two rows are one."""
NAMES_AT = np.array([[0.0, 0.62, -0.56], [0.62, 0.0, -0.56], [0.56, -0.6, 0.06]])
"""Where the names of the axes stand, beside edges that are in front at first."""
AZIMUTH, ELEVATION = 35.0, 25.0
"""From where it is looked at first, degrees."""
