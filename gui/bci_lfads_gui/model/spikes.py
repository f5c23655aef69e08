"""Spikes of the last minute: what the raster shows, and how fast each unit fires."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bci_lfads_gui.model.ring import Ring

KEPT = 1 << 19
"""Spikes that are kept: 60 s of 256 units at 34 Hz."""
BUCKET = 0.5
"""Seconds over which the rates of the units are counted."""
N_BUCKETS = 120


class Columns:
    """Counts by unit and column of time, on a grid that moves with the newest spike.

    Parameters
    ----------
    n_units
        Rows.
    width
        Of a column, seconds.
    n_columns
        Columns kept; older ones are overwritten.
    """

    def __init__(self, n_units: int, width: float, n_columns: int) -> None:
        self.width, self.n_columns = width, n_columns
        self._counts = np.zeros((n_units, n_columns), np.uint16)
        self._end: int | None = None  # the column after the newest one

    @property
    def end(self) -> float:
        """Right edge of the newest column, seconds; NaN before the first spike."""
        return math.nan if self._end is None else self._end * self.width

    def add(
        self, times: NDArray[np.float64], units: NDArray[np.int32], counts: NDArray[np.int32]
    ) -> None:
        """Count spikes; those older than all columns are left out."""
        if not len(times):
            return
        columns = np.floor(times / self.width).astype(np.int64)
        self.move_to(float(np.max(times)))
        end = self._end or 0
        kept = (columns >= end - self.n_columns) & (columns < end)
        at = (units[kept], columns[kept] % self.n_columns)
        np.add.at(self._counts, at, np.minimum(counts[kept], 1000).astype(np.uint16))

    def move_to(self, time: float) -> None:
        """Make `time` fall into the newest column, unless it is older."""
        end = math.floor(time / self.width) + 1
        if self._end is None:
            self._end = end
        new = min(end - self._end, self.n_columns)
        if new > 0:
            self._counts[:, np.arange(end - new, end) % self.n_columns] = 0
            self._end = end

    def counts(self) -> NDArray[np.uint16]:
        """Return a copy, shape ``(n_units, n_columns)``, oldest column first."""
        shift = 0 if self._end is None else self._end % self.n_columns
        return np.concatenate([self._counts[:, shift:], self._counts[:, :shift]], axis=1)


class SpikeStore:
    """The newest spikes and what is counted of them.

    Parameters
    ----------
    unit_labels
        One a unit.
    span
        Seconds that the raster shows.
    n_columns
        Of the raster.
    """

    def __init__(
        self, unit_labels: tuple[str, ...], *, span: float = 10.0, n_columns: int = 1200
    ) -> None:
        self.unit_labels = unit_labels
        self.n_columns = n_columns
        self.span = span
        self.first_time = math.nan
        """Stamp of the first spike of all that are kept."""
        self._since = math.nan  # the first stamp since the source came
        self.unknown = 0
        """Spikes of units that the model does not have."""
        self._spikes = Ring(KEPT, 2, np.int32)
        self.raster = Columns(self.n_units, span / n_columns, n_columns)
        self._rates = Columns(self.n_units, BUCKET, N_BUCKETS)

    @property
    def n_units(self) -> int:
        """Number of units."""
        return len(self.unit_labels)

    @property
    def total(self) -> int:
        """Spikes that came."""
        return self._spikes.total

    def add(
        self, times: NDArray[np.float64], units: NDArray[np.int32], counts: NDArray[np.int32]
    ) -> None:
        """Take spikes; those of unknown units (-1) are only counted."""
        known = (units >= 0) & (units < self.n_units) & np.isfinite(times)
        self.unknown += int(np.count_nonzero(units < 0))
        times, units, counts = times[known], units[known], counts[known]
        if not len(times):
            return
        if math.isnan(self._since):
            self._since = float(times.min())
            if math.isnan(self.first_time):
                self.first_time = self._since
        self._spikes.extend(times, np.column_stack([units, counts]))
        self.raster.add(times, units, counts)
        self._rates.add(times, units, counts)

    def advance(self, now: float) -> None:
        """Let time go on where no unit fires; `now` is on the stamps' clock."""
        if not math.isnan(self.first_time):
            self.raster.move_to(now)
            self._rates.move_to(now)

    def begin(self) -> None:
        """Count rates from the next spike on: the source came, or came back."""
        self._since = math.nan

    def clear(self) -> None:
        """Forget all spikes: the source began anew."""
        self._spikes.clear()
        self.first_time = self._since = math.nan
        self.raster = Columns(self.n_units, self.span / self.n_columns, self.n_columns)
        self._rates = Columns(self.n_units, BUCKET, N_BUCKETS)

    def show(self, span: float) -> None:
        """Let the raster show another stretch, from the spikes that are kept."""
        if span == self.span:
            return
        self.span = span
        self.raster = Columns(self.n_units, span / self.n_columns, self.n_columns)
        times, rows = self._spikes.newest()
        self.raster.add(times, rows[:, 0], rows[:, 1])

    def spikes(self, span: float) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """Return times and units of the last `span` seconds that are kept."""
        times, rows = self._spikes.newest()
        kept = times >= (times.max() - span if len(times) else 0.0)
        return times[kept], rows[kept, 0]

    def rate_map(self) -> tuple[NDArray[np.float64], float]:
        """Return rates, Hz, shape ``(n_units, 120)``, by half seconds, and the last one's end."""
        return self._rates.counts() / BUCKET, self._rates.end

    def mean_rates(self, seconds: float = 30.0) -> tuple[NDArray[np.float64], float]:
        """Return each unit's rate, Hz, and the seconds since the source came, of which it is.

        The newest half second, which is not over, does not count.
        """
        end = self._rates.end - BUCKET
        if math.isnan(end) or math.isnan(self._since):
            return np.zeros(self.n_units), 0.0
        begun = math.ceil(self._since / BUCKET) * BUCKET
        n = round(min(seconds, max(0.0, end - begun), (N_BUCKETS - 1) * BUCKET) / BUCKET)
        if n == 0:
            return np.zeros(self.n_units), 0.0
        counts = self._rates.counts()[:, -1 - n : -1]
        return counts.sum(axis=1) / (n * BUCKET), n * BUCKET
