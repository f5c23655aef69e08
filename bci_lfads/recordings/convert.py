"""Events to counts and back, for recordings as a whole."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bci_lfads.errors import RecordingError
from bci_lfads.recordings.recording import BinnedCounts, Recording, SpikeEvents

_log = logging.getLogger(__name__)
_MOST_CELLS = 1 << 32
_TOLERANCE = 1e-6  # of a bin: what rounding may have done to a width or a duration


def to_counts(recording: Recording, bin_width: float) -> Recording:
    """Return the recording with its spikes as counts.

    Bins begin at the recording's start (or with its first bin, where it holds counts) and are
    half open, but for the last one, which holds the stop. Counts above 255 saturate; spikes
    outside of the stretch are left out; both are logged.

    Parameters
    ----------
    recording
        Events, or counts in bins of which `bin_width` is a whole multiple.
    bin_width
        Seconds.

    Raises
    ------
    RecordingError
        Where the bin width does not fit, or the bins would not fit into memory.
    """
    who = recording.name or "recording"
    if not (math.isfinite(bin_width) and bin_width > 0):
        raise RecordingError(f"{who}: a bin width must be above 0 s, got {bin_width}")
    spikes = recording.spikes
    if isinstance(spikes, BinnedCounts):
        wide, start = _sum(spikes, bin_width, who), spikes.start
    else:
        wide, start = _count(recording, spikes, bin_width, who), recording.start
    saturated = int((wide[wide > 255] - 255).sum())
    if saturated:
        _log.warning("%s: %d spikes above 255 in a bin are left out", who, saturated)
    counts = np.minimum(wide, 255).astype(np.uint8)
    return replace(recording, spikes=BinnedCounts(counts, bin_width, start))


def to_events(recording: Recording) -> Recording:
    """Return the recording with its spikes as events.

    A count becomes that many events at its bin's centre, so that no event is on an edge and
    binning them again gives the same counts.
    """
    spikes = recording.spikes
    if isinstance(spikes, SpikeEvents):
        return recording
    row, unit = np.nonzero(spikes.counts)
    repeats = spikes.counts[row, unit]
    times = spikes.start + (row + 0.5) * spikes.bin_width
    events = SpikeEvents(np.repeat(times, repeats), np.repeat(unit, repeats).astype(np.int32))
    return replace(recording, spikes=events)


def _count(
    recording: Recording, spikes: SpikeEvents, bin_width: float, who: str
) -> NDArray[np.int64]:
    n_units = recording.n_units
    n_bins = max(1, math.ceil(recording.duration / bin_width - _TOLERANCE))
    if n_bins * n_units > _MOST_CELLS:
        raise RecordingError(
            f"{who} covers {recording.duration:.0f} s: {n_bins} bins of {bin_width} s for "
            f"{n_units} units do not fit into memory; take wider bins"
        )
    edges = recording.start + bin_width * np.arange(n_bins + 1)
    row = np.searchsorted(edges, spikes.times, "right") - 1
    row[(row == n_bins) & (spikes.times <= recording.stop)] = n_bins - 1
    inside = (row >= 0) & (row < n_bins)
    outside = int(np.count_nonzero(~inside))
    if outside:
        _log.warning("%s: %d spikes outside of its stretch are left out", who, outside)
    cell = row[inside] * n_units + spikes.units[inside]
    return np.bincount(cell, minlength=n_bins * n_units).reshape(n_bins, n_units)


def _sum(spikes: BinnedCounts, bin_width: float, who: str) -> NDArray[np.int64]:
    times = round(bin_width / spikes.bin_width)
    if times < 1 or abs(bin_width / spikes.bin_width - times) > _TOLERANCE * times:
        raise RecordingError(
            f"{who} holds counts in bins of {spikes.bin_width} s; {bin_width} s is no whole "
            f"multiple of that"
        )
    n_bins, n_units = spikes.counts.shape
    whole = math.ceil(n_bins / times)
    padded = np.zeros((whole * times, n_units), np.int64)
    padded[:n_bins] = spikes.counts
    summed: NDArray[np.int64] = padded.reshape(whole, times, n_units).sum(axis=1)
    return summed
