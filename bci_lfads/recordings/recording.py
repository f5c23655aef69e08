"""The one type that every reader gives and every consumer of recordings takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from bci_lfads.errors import RecordingError


@dataclass(frozen=True)
class SpikeEvents:
    """Spikes as events.

    Attributes
    ----------
    times
        Spike times in seconds, float64, shape ``(n_spikes,)``, ascending.
    units
        Index into the recording's unit labels, int32, shape ``(n_spikes,)``.
    """

    times: NDArray[np.float64]
    units: NDArray[np.int32]


@dataclass(frozen=True)
class BinnedCounts:
    """Spikes as counts on a regular grid.

    Attributes
    ----------
    counts
        uint8, shape ``(n_bins, n_units)``.
    bin_width
        Seconds.
    start
        Left edge of the first bin, seconds.
    """

    counts: NDArray[np.uint8]
    bin_width: float
    start: float = 0.0


@dataclass(frozen=True)
class Markers:
    """Labelled moments: times in seconds, float64, ascending, and one label each."""

    times: NDArray[np.float64]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Series:
    """A sampled signal beside the spikes: behaviour, or a simulation's known latents.

    Attributes
    ----------
    times
        Seconds, float64, shape ``(n_samples,)``, ascending.
    values
        float32, shape ``(n_samples, n_channels)``.
    labels
        One a channel.
    """

    times: NDArray[np.float64]
    values: NDArray[np.float32]
    labels: tuple[str, ...]


NO_MARKERS = Markers(np.empty(0), ())


@dataclass(frozen=True)
class Recording:
    """A stretch of spikes with what was recorded beside them.

    Attributes
    ----------
    spikes
        Events or counts.
    unit_labels
        Unique; the position is the unit's index.
    markers
        Trial events and the like.
    series
        Further signals by name: ``behaviour``, ``latents``, ``rates`` (Hz)...
    start, stop
        The stretch covered, seconds, on the clock of all time stamps in the recording.
    name
        Where it comes from, in words.

    Raises
    ------
    RecordingError
        Where shapes, order or labels do not fit each other.
    """

    spikes: SpikeEvents | BinnedCounts
    unit_labels: tuple[str, ...]
    start: float
    stop: float
    markers: Markers = NO_MARKERS
    series: Mapping[str, Series] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        _check(self)

    @property
    def n_units(self) -> int:
        """Number of units."""
        return len(self.unit_labels)

    @property
    def n_spikes(self) -> int:
        """Number of spikes."""
        if isinstance(self.spikes, SpikeEvents):
            return len(self.spikes.times)
        return int(self.spikes.counts.sum(dtype=np.int64))

    @property
    def duration(self) -> float:
        """Seconds from start to stop."""
        return self.stop - self.start

    def mean_rates(self) -> NDArray[np.float64]:
        """Return each unit's spikes a second over the whole stretch, Hz, shape ``(n_units,)``."""
        if isinstance(self.spikes, SpikeEvents):
            total = np.bincount(self.spikes.units, minlength=self.n_units)
        else:
            total = self.spikes.counts.sum(axis=0, dtype=np.int64)
        return np.asarray(total / max(self.duration, np.finfo(float).tiny))

    def select(self, units: tuple[str, ...]) -> Recording:
        """Return the recording with these units, in this order, and no others.

        Raises
        ------
        RecordingError
            Naming units that the recording does not have.
        """
        index = {label: i for i, label in enumerate(self.unit_labels)}
        missing = [u for u in units if u not in index]
        if missing:
            raise RecordingError(
                f"{self.name or 'recording'} has {self.n_units} units but not "
                f"{_some(missing)}; it has {_some(self.unit_labels)}"
            )
        take = np.array([index[u] for u in units], np.int64)
        if isinstance(self.spikes, BinnedCounts):
            return replace(
                self,
                unit_labels=units,
                spikes=replace(self.spikes, counts=self.spikes.counts[:, take]),
            )
        to_new = np.full(self.n_units, -1, np.int32)
        to_new[take] = np.arange(len(units), dtype=np.int32)
        new = to_new[self.spikes.units]
        keep = new >= 0
        return replace(
            self, unit_labels=units, spikes=SpikeEvents(self.spikes.times[keep], new[keep])
        )


def _some(labels: tuple[str, ...] | list[str], most: int = 5) -> str:
    more = f" and {len(labels) - most} more" if len(labels) > most else ""
    return ", ".join(labels[:most]) + more


def _check(rec: Recording) -> None:
    who = rec.name or "recording"
    if len(set(rec.unit_labels)) != len(rec.unit_labels):
        raise RecordingError(f"{who}: unit labels are not unique")
    if not (np.isfinite(rec.start) and np.isfinite(rec.stop) and rec.start <= rec.stop):
        raise RecordingError(f"{who}: covers {rec.start} s to {rec.stop} s, which is no stretch")
    if isinstance(rec.spikes, SpikeEvents):
        times, units = rec.spikes.times, rec.spikes.units
        _ascending(who, "spike", times)
        if units.shape != times.shape:
            raise RecordingError(f"{who}: {times.size} spike times but {units.size} unit indices")
        if units.size and (units.min() < 0 or units.max() >= rec.n_units):
            raise RecordingError(
                f"{who}: unit indices run from {units.min()} to {units.max()}; "
                f"there are {rec.n_units} units"
            )
    else:
        counts = rec.spikes.counts
        if counts.ndim != 2 or counts.shape[1] != rec.n_units or counts.dtype != np.uint8:
            raise RecordingError(
                f"{who}: counts are {counts.dtype} of shape {counts.shape}; expected uint8 of "
                f"shape (n_bins, {rec.n_units})"
            )
        if not rec.spikes.bin_width > 0:
            raise RecordingError(f"{who}: bin width is {rec.spikes.bin_width} s")
    _ascending(who, "marker", rec.markers.times)
    if len(rec.markers.labels) != len(rec.markers.times):
        raise RecordingError(
            f"{who}: {len(rec.markers.times)} marker times but {len(rec.markers.labels)} labels"
        )
    for name, series in rec.series.items():
        _ascending(who, name, series.times)
        if series.values.shape != (len(series.times), len(series.labels)):
            raise RecordingError(
                f"{who}: {name} has values of shape {series.values.shape}, {len(series.times)} "
                f"times and {len(series.labels)} labels"
            )


def _ascending(who: str, what: str, times: NDArray[np.float64]) -> None:
    if times.ndim != 1 or not np.isfinite(times).all():
        raise RecordingError(f"{who}: {what} times must be one finite number each")
    if times.size > 1 and (np.diff(times) < 0).any():
        raise RecordingError(f"{who}: {what} times are not in ascending order")
