"""A recording's spikes as they are to be pushed: when, with which stamps, in which format."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bci_lfads.errors import RecordingError
from bci_lfads.recordings.recording import BinnedCounts, Recording, SpikeEvents

Format = Literal["events", "ids", "counts"]
_MOST_CELLS = 4_000_000_000
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SpikeSchedule:
    """Items to push, in order.

    Attributes
    ----------
    times
        Moment of each item, seconds on the recording's clock, float64, shape ``(n_items,)``: a
        spike's time or a bin's end. It is the item's stamp and the earliest moment to push it.
    values
        Unit indices, int32, shape ``(n_items,)``; or counts, uint8, ``(n_items, n_units)``.
    n_spikes
        Spikes in each item, or None where each item is one spike.
    grid
        Bin width where the items are counts, else None; time shifts keep to it.
    stop
        End of the stretch on the recording's clock, whole bins where the items are counts.
    """

    times: NDArray[np.float64]
    values: NDArray[np.int32] | NDArray[np.uint8]
    n_spikes: NDArray[np.int64] | None
    grid: float | None
    stop: float

    def count(self, begin: int, end: int) -> int:
        """Return the spikes in these items."""
        return end - begin if self.n_spikes is None else int(self.n_spikes[begin:end].sum())


def schedule(recording: Recording, form: Format, bin_width: float | None = None) -> SpikeSchedule:
    """Lay a recording out for a format.

    Parameters
    ----------
    recording
        Events or counts. Counts pushed as events get the stamp of their bin's centre.
    form
        ``events``, ``ids`` or ``counts``.
    bin_width
        Of counts, seconds; not needed where the recording holds counts.

    Raises
    ------
    RecordingError
        Where the bin width is missing, of no use, or not that of the recording's counts.
    """
    spikes = recording.spikes
    if form != "counts":
        events = spikes if isinstance(spikes, SpikeEvents) else to_events(spikes)
        return SpikeSchedule(events.times, events.units, None, None, recording.stop)
    if isinstance(spikes, SpikeEvents):
        spikes = to_counts(spikes, recording, bin_width)
    elif bin_width is not None and not np.isclose(bin_width, spikes.bin_width):
        raise RecordingError(
            f"{recording.name or 'recording'} holds counts in bins of {spikes.bin_width} s; "
            f"they cannot be replayed in bins of {bin_width} s"
        )
    ends = np.asarray(
        spikes.start + spikes.bin_width * np.arange(1, len(spikes.counts) + 1), np.float64
    )
    stop = float(ends[-1]) if len(ends) else recording.stop
    return SpikeSchedule(
        ends, spikes.counts, spikes.counts.sum(axis=1, dtype=np.int64), spikes.bin_width, stop
    )


def to_events(counts: BinnedCounts) -> SpikeEvents:
    """Return one event a spike at its bin's centre."""
    row, unit = np.nonzero(counts.counts)
    repeats = counts.counts[row, unit]
    times = counts.start + (row + 0.5) * counts.bin_width
    return SpikeEvents(np.repeat(times, repeats), np.repeat(unit, repeats).astype(np.int32))


def to_counts(spikes: SpikeEvents, recording: Recording, bin_width: float | None) -> BinnedCounts:
    """Count spikes in bins from the recording's start on; the last bin holds its stop.

    Raises
    ------
    RecordingError
        Where the bin width is missing, or the bins would not fit into memory.
    """
    who = recording.name or "recording"
    if bin_width is None or not bin_width > 0:
        raise RecordingError(f"{who} holds events; counts need a bin width above 0 s, "
                             f"got {bin_width}")  # fmt: skip
    n_bins = max(1, int(np.ceil(recording.duration / bin_width - 1e-9)))
    if n_bins * recording.n_units > _MOST_CELLS:
        raise RecordingError(
            f"{who} covers {recording.duration:.0f} s: {n_bins} bins of {bin_width} s for "
            f"{recording.n_units} units are too many; replay events, or cut the recording"
        )
    edges = recording.start + bin_width * np.arange(n_bins + 1)
    row = np.searchsorted(edges, spikes.times, "right") - 1
    inside = (row >= 0) & (row < n_bins)
    cell = row[inside] * recording.n_units + spikes.units[inside]
    wide = np.bincount(cell, minlength=n_bins * recording.n_units)
    saturated = int(np.maximum(wide - 255, 0).sum())
    outside = int(np.count_nonzero(~inside))
    if saturated or outside:
        _log.warning("%s: %d spikes above 255 a bin and %d outside of the recording's stretch "
                     "are left out of the counts", who, saturated, outside)  # fmt: skip
    counts = np.minimum(wide, 255).astype(np.uint8).reshape(n_bins, recording.n_units)
    return BinnedCounts(counts, bin_width, recording.start)
