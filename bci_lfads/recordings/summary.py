"""What a recording holds, in numbers."""

from __future__ import annotations

from collections import Counter
from typing import Any

from bci_lfads.recordings.recording import BinnedCounts, Recording

_MOST_LABELS = 50


def summary(recording: Recording) -> dict[str, Any]:
    """Return what a recording holds, as plain values that JSON can carry.

    ``rate`` is the mean over units in Hz, None without units or duration. ``markers`` counts
    the most frequent labels, 50 at most; ``n_marker_labels`` says how many there are.
    """
    labels = Counter(recording.markers.labels)
    spikes = recording.spikes
    rated = recording.n_units > 0 and recording.duration > 0
    n_spikes = recording.n_spikes
    return {
        "name": recording.name,
        "spikes_as": "counts" if isinstance(spikes, BinnedCounts) else "events",
        "bin_width": spikes.bin_width if isinstance(spikes, BinnedCounts) else None,
        "n_units": recording.n_units,
        "unit_labels": list(recording.unit_labels),
        "n_spikes": n_spikes,
        "start": recording.start,
        "stop": recording.stop,
        "duration": recording.duration,
        "rate": n_spikes / recording.n_units / recording.duration if rated else None,
        "n_markers": len(recording.markers.labels),
        "n_marker_labels": len(labels),
        "markers": dict(labels.most_common(_MOST_LABELS)),
        "series": {
            name: {"n_samples": len(series.times), "labels": list(series.labels)}
            for name, series in recording.series.items()
        },
    }
