"""Recordings: spikes with markers and behaviour, from files, to files, and simulated.

Files are read by `read` and written by `write`; docs/recordings.md describes the formats.
"""

from bci_lfads.recordings.convert import to_counts, to_events
from bci_lfads.recordings.files import read, write
from bci_lfads.recordings.recording import (
    NO_MARKERS,
    BinnedCounts,
    Markers,
    Recording,
    Series,
    SpikeEvents,
)
from bci_lfads.recordings.summary import summary

__all__ = [
    "NO_MARKERS",
    "BinnedCounts",
    "Markers",
    "Recording",
    "Series",
    "SpikeEvents",
    "read",
    "summary",
    "to_counts",
    "to_events",
    "write",
]
