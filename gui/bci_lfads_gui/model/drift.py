"""Whether the units still fire as they did."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_FACTOR = 2.0  # of the reference rate: twice, or half
_SIGMAS = 4.0  # beyond what Poisson counts do by chance
_ALARM = 0.2  # of the units
_SILENT = 0.5  # Hz; a unit that fired more than this and now does not at all


@dataclass(frozen=True)
class Drift:
    """How the units' rates compare with a reference.

    Attributes
    ----------
    against
        The reference, in words.
    seconds
        Over which the present rates were counted.
    changed, silent
        Units whose rate doubled or halved, and units that fell silent (they are in both).
    n_units
        Number of units.
    """

    against: str
    seconds: float
    changed: tuple[int, ...]
    silent: tuple[int, ...]
    n_units: int

    @property
    def alarm(self) -> bool:
        """Whether so many units changed that the model can hardly be right."""
        return len(self.changed) > _ALARM * self.n_units

    def in_words(self) -> str:
        """Return it as a short line."""
        if self.seconds <= 0:
            return "rates: not enough spikes yet"
        what = f"{len(self.changed)} of {self.n_units} units changed, {len(self.silent)} silent"
        return f"{what}, against {self.against}"


def compare(
    rates: NDArray[np.float64], seconds: float, reference: NDArray[np.float64], against: str
) -> Drift:
    """Compare rates, Hz, counted over some seconds, with a reference, Hz; both ``(n_units,)``.

    A unit has changed where its rate is above twice or below half of the reference and the
    difference is more than four standard deviations of a Poisson count.
    """
    if seconds <= 0 or len(rates) != len(reference):
        return Drift(against, 0.0, (), (), len(rates))
    expected = reference * seconds
    far = np.abs(rates * seconds - expected) > _SIGMAS * np.sqrt(np.maximum(expected, 1.0))
    apart = (rates > _FACTOR * reference) | (rates < reference / _FACTOR)
    silent = (rates == 0) & (reference > _SILENT) & (expected > _SIGMAS**2)
    changed = (far & apart) | silent
    return Drift(
        against, seconds, tuple(np.flatnonzero(changed).tolist()),
        tuple(np.flatnonzero(silent).tolist()), len(rates),
    )  # fmt: skip
