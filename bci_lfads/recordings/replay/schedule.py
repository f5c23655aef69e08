"""A recording's spikes as they are to be pushed: when, with which stamps, in which format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bci_lfads.errors import RecordingError
from bci_lfads.recordings.convert import to_counts, to_events
from bci_lfads.recordings.recording import BinnedCounts, Recording, SpikeEvents

Format = Literal["events", "ids", "counts"]


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
    if form != "counts":
        events = to_events(recording).spikes
        if not isinstance(events, SpikeEvents):
            raise TypeError("events expected")
        return SpikeSchedule(events.times, events.units, None, None, recording.stop)
    if bin_width is None and isinstance(recording.spikes, SpikeEvents):
        raise RecordingError(
            f"{recording.name or 'recording'} holds events; to replay counts say how wide a bin is"
        )
    spikes = (recording if bin_width is None else to_counts(recording, bin_width)).spikes
    if not isinstance(spikes, BinnedCounts):
        raise TypeError("counts expected")
    ends = np.asarray(
        spikes.start + spikes.bin_width * np.arange(1, len(spikes.counts) + 1), np.float64
    )
    stop = float(ends[-1]) if len(ends) else recording.stop
    return SpikeSchedule(
        ends, spikes.counts, spikes.counts.sum(axis=1, dtype=np.int64), spikes.bin_width, stop
    )
