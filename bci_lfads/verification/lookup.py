"""Of a window: what was published of it, and what all recorded spikes would have made of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bci_lfads.models.model import Model
from bci_lfads.verification.inputs import AllSpikes
from bci_lfads.verification.session import RecordedRun
from bci_lfads.windows import Window


class Expected:
    """Counts of all recorded spikes, whenever they came."""

    def __init__(self, spikes: AllSpikes, model: Model) -> None:
        self._spikes, self._model = spikes, model

    def of(
        self, window: Window, era: tuple[int, int]
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return a window's counts, and of each spike in it the journal's row.

        Spikes that were taken in another era are on another clock, and not counted.
        """
        spec, spikes, width = self._model.spec, self._spikes, window.width
        # The edges decide; a bin more on either side is surely enough to look at.
        near = slice(*np.searchsorted(spikes.times, (window.start - width, window.stop + width)))
        bins = window.grid.indices(spikes.times[near]) - window.first
        inside = (bins >= 0) & (bins < spec.n_bins)
        rows = spikes.row[near]
        inside &= (rows > era[0]) & (rows <= era[1])
        counts = np.zeros((spec.n_bins, spec.n_units), np.int64)
        np.add.at(counts, (bins[inside], spikes.units[near][inside]), spikes.counts[near][inside])
        return np.minimum(counts, 255).astype(np.uint8), rows[inside]


class Published:
    """What was published, found by trial or by stamp."""

    def __init__(self, run: RecordedRun, model: Model) -> None:
        stream = run.factors
        self._hop = run.about.hop
        self._values = (
            np.empty((0, model.spec.n_factors), np.float32) if stream is None else stream.values
        )
        self._stamps = np.empty(0) if stream is None else stream.stamps
        self._rates = run.rates
        self.n = len(self._stamps)
        """Samples of factors."""
        self._taken = np.zeros(self.n, bool)
        # Where windows begin: by their first stamp, and trials by their number.
        firsts = np.arange(self.n)
        if self._hop is None:
            firsts = np.flatnonzero(self._values[:, -1] == 0)
        self._at = {float(self._stamps[i]): i for i in firsts.tolist()}
        self._numbered = {float(self._values[i, -2]): i for i in firsts.tolist()}
        half = 0.5 * model.bin_width
        self.last_end = float(self._stamps.max() + half) if len(self._stamps) else -np.inf

    def take(
        self, trial: int | None, stamps: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None, NDArray[np.float64]] | None:
        """Return factors, rates and stamps of a window; None where it was not published.

        A trial is found by its number, or by its stamps where that is not known.
        """
        n, trials = len(stamps), self._hop is None
        if trials and trial is not None:
            first = self._numbered.get(float(np.float32(trial)))
        else:
            first = self._at.get(float(stamps[0]))
        if first is None or first + n > len(self._stamps):
            return None
        rows = slice(first, first + n)
        if trials and not (
            np.array_equal(self._values[rows, -1], np.arange(n))
            and (self._values[rows, -2] == self._values[first, -2]).all()
        ):
            return None
        self._taken[rows] = True
        n_values = self._values.shape[1] - (2 if trials else 0)
        return self._values[rows, :n_values], self._rates_of(rows), self._stamps[rows]

    def rest(self) -> tuple[int, int]:
        """Return how many samples belong to no window: between others, and after all others."""
        n = int(np.count_nonzero(~self._taken))
        return n - self._after_all(), self._after_all()

    def trials_between(self) -> int:
        """Return how many trials that belong to no window lie between others."""
        some = ~self._taken
        some[len(some) - self._after_all() :] = False
        return len(np.unique(self._values[some, -2])) if self._hop is None else 0

    def _after_all(self) -> int:
        return len(self._taken) - 1 - int(np.flatnonzero(self._taken).max(initial=-1))

    def _rates_of(self, rows: slice) -> NDArray[np.float32] | None:
        """Return the rates that were published with these factors; None where there are none."""
        rates = self._rates
        if rates is None or rows.stop > len(rates.stamps):
            return None
        if not np.array_equal(rates.stamps[rows], self._stamps[rows]):
            return np.full_like(rates.values[rows], np.nan)  # equal to nothing
        return rates.values[rows, :-2] if self._hop is None else rates.values[rows]
