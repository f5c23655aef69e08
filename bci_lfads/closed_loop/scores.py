"""How well targets were reached, in numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bci_lfads.closed_loop.task import Reach

_Z = 1.96  # of a 95 % interval


@dataclass(frozen=True)
class Score:
    """Scores of reaches; NaN where there is nothing to score.

    Attributes
    ----------
    reaches
        How many are over.
    success
        Share of them that succeeded.
    success_low, success_high
        95 % interval of it (Wilson 1927).
    time
        Median over successes of the time to target, seconds.
    efficiency
        Mean over successes of straight way over way taken.
    """

    reaches: int
    success: float
    success_low: float
    success_high: float
    time: float
    efficiency: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {k: round(v, 4) if isinstance(v, float) else v for k, v in asdict(self).items()}


def score(reaches: Sequence[Reach]) -> Score:
    """Return the scores of reaches."""
    n = len(reaches)
    if not n:
        return Score(0, *[math.nan] * 5)
    won = [r for r in reaches if r.success]
    p = len(won) / n
    middle = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z * math.sqrt(p * (1 - p) / n + _Z**2 / (4 * n * n)) / (1 + _Z**2 / n)
    return Score(
        n,
        p,
        middle - half,
        middle + half,
        float(np.median([r.time for r in won])) if won else math.nan,
        float(np.mean([r.efficiency for r in won])) if won else math.nan,
    )
