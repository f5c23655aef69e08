"""Whether the units still fire as they did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_FACTOR = 2.0  # of the reference rate: twice, or half
_SIGMAS = 4.0  # beyond what Poisson counts do by chance
_ALARM = 0.2  # of the units
_HALF = 30.0  # seconds
_MOST_NAMED = 16  # units named on Status, of each kind
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
        return too_many(len(self.changed), self.n_units)

    def in_words(self) -> str:
        """Return it as a short line."""
        if self.seconds <= 0:
            return "rates: not enough spikes yet"
        what = f"{len(self.changed)} of {self.n_units} units changed, {len(self.silent)} silent"
        return f"{what}, against {self.against}"


def too_many(n_changed: int, n_units: int) -> bool:
    """Return whether so many of so many units have changed that the model can hardly be right."""
    return n_changed > _ALARM * n_units


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


class RateMeter:
    """Counts of the newest half to whole minute, in fixed memory.

    One thread may add while another reads: what is read may miss the newest bins, no more.

    Parameters
    ----------
    n_units, bin_width
        Of the counts; seconds.
    """

    def __init__(self, n_units: int, bin_width: float) -> None:
        # Of this half minute and the one before; the last column counts the bins.
        self._sums = np.zeros((2, n_units + 1), np.int64)
        self._some = np.zeros(n_units + 1, np.int64)
        self._half = max(1, round(_HALF / bin_width))
        self._bin_width = bin_width

    def add(self, counts: NDArray[np.uint8]) -> None:
        """Add bins, uint8, shape ``(n_bins, n_units)``; allocates nothing."""
        np.sum(counts, axis=0, dtype=np.int64, out=self._some[:-1])
        self._some[-1] = len(counts)
        self._sums[0] += self._some
        if self._sums[0, -1] >= self._half:
            self._sums[1] = self._sums[0]
            self._sums[0] = 0

    @property
    def seconds(self) -> float:
        """For how long was counted."""
        return float(self._sums[:, -1].sum()) * self._bin_width

    def rates(self) -> NDArray[np.float64]:
        """Return rates in Hz, shape ``(n_units,)``; zero where nothing was counted."""
        found = self._sums.sum(axis=0)
        rates: NDArray[np.float64] = found[:-1] / (max(found[-1], 1) * self._bin_width)
        return rates


class UnitWatch:
    """What a run says of its units: which are masked, and how the others fire against training.

    Parameters
    ----------
    unit_labels, bin_width
        The model's; seconds.
    masked
        Labels of the units that it does not listen to.
    rates
        Mean rates in training, Hz; None where they are not known.
    """

    def __init__(
        self,
        unit_labels: Sequence[str],
        bin_width: float,
        masked: Sequence[str],
        rates: Sequence[float] | None,
    ) -> None:
        self._labels, self._masked = tuple(unit_labels), tuple(masked)
        self._reference = None if rates is None else np.array(rates)
        self._meter = RateMeter(len(unit_labels), bin_width)

    def add(self, counts: NDArray[np.uint8]) -> None:
        """Add new bins, uint8, shape ``(n_bins, n_units)``; allocates nothing."""
        self._meter.add(counts)

    def status(self) -> dict[str, object]:
        """Return it as JSON types; `docs/drift.md` says what is what."""
        found: dict[str, object] = {"masked": list(self._masked[:_MOST_NAMED])}
        if self._reference is None:
            return found | {"drift": None}
        drift = compare(self._meter.rates(), self._meter.seconds, self._reference, "training")
        changed, silent = (
            [self._labels[k] for k in units if self._labels[k] not in self._masked]
            for units in (drift.changed, drift.silent)
        )
        n_units = len(self._labels) - len(self._masked)
        return found | {
            "drift": {
                "seconds": drift.seconds,
                "changed": len(changed),
                "silent": len(silent),
                "of": n_units,
                "alarm": too_many(len(changed), n_units),
                "which": changed[:_MOST_NAMED],
            }
        }
