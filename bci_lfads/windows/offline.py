"""Windows of a whole recording, cut by the very classes that cut them live."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bci_lfads.binning import events_of
from bci_lfads.errors import RecordingError
from bci_lfads.recordings.recording import BinnedCounts, Recording
from bci_lfads.windows.base import Window, Windows

_CHUNK = 2048
"""Spikes, and markers, pushed between two steps of the watermark at most."""


@dataclass(frozen=True)
class WindowBatch:
    """Many windows as arrays.

    Attributes
    ----------
    counts
        uint8, shape ``(n_windows, n_bins, n_units)``.
    starts
        Left edge of each window's first bin, seconds, float64, shape ``(n_windows,)``.
    zeros
        Stamp of each window's align marker, seconds; NaN for sliding windows.
    trials
        Trial numbers, int64; -1 for sliding windows.
    labels, start_labels
        Labels of the markers that aligned and started each.
    truncated
        Whether some of it may be missing, bool.
    bin_width
        Seconds.
    """

    counts: NDArray[np.uint8]
    starts: NDArray[np.float64]
    zeros: NDArray[np.float64]
    trials: NDArray[np.int64]
    labels: tuple[str, ...]
    start_labels: tuple[str, ...]
    truncated: NDArray[np.bool_]
    bin_width: float


def windows_of(recording: Recording, windows: Windows) -> Iterator[Window]:
    """Cut a recording exactly as it would be cut if it came live and in time.

    Binned counts enter at the middle of their bins, and window edges are put on edges of those
    bins.

    Parameters
    ----------
    recording
        With as many units as `windows` has; see `Recording.select`.
    windows
        New `TrialWindows` or `SlidingWindows`; its counters tell afterwards what happened.

    Yields
    ------
    Windows, each valid until the next one.

    Raises
    ------
    RecordingError
        Where the units' number differs, or the bin width is not a whole multiple of the width of
        the recording's own bins.
    """
    who = recording.name or "recording"
    if recording.n_units != windows.n_units:
        raise RecordingError(
            f"{who} has {recording.n_units} units; the windows have {windows.n_units}"
        )
    spikes = recording.spikes
    if isinstance(spikes, BinnedCounts):
        ratio = windows.grid.width / spikes.bin_width
        if round(ratio) < 1 or abs(ratio - round(ratio)) > 1e-6 * ratio:
            raise RecordingError(
                f"{who} has bins of {spikes.bin_width} s; bins of {windows.grid.width} s are not "
                f"a whole multiple of them"
            )
        windows.snap_to(spikes.start, spikes.bin_width)
    return _feed(recording, windows)


def _feed(recording: Recording, windows: Windows) -> Iterator[Window]:
    times, units, counts = events_of(recording)
    markers = recording.markers
    windows.begin(recording.start)
    watermark = recording.start
    n_spikes = n_markers = 0
    ends = np.concatenate((times[_CHUNK - 1 :: _CHUNK], markers.times[_CHUNK - 1 :: _CHUNK]))
    for end in (*np.sort(ends), np.inf):
        chunk = slice(n_spikes, n_spikes := int(np.searchsorted(times, end, "right")))
        windows.push_spikes(times[chunk], units[chunk], counts[chunk])
        chunk = slice(n_markers, n_markers := int(np.searchsorted(markers.times, end, "right")))
        windows.push_markers(markers.times[chunk], markers.labels[chunk])
        to = min(float(end), recording.stop)
        yield from _move(windows, watermark, to)
        watermark = max(watermark, to)
    yield from windows.flush()


def _move(windows: Windows, watermark: float, to: float) -> Iterator[Window]:
    """Move the watermark on in steps small enough that no window is skipped."""
    while watermark + windows.max_step < to:
        watermark += windows.max_step
        yield from windows.close(watermark)
    yield from windows.close(to)


def stack(
    windows: Iterable[Window], *, markers: Iterable[str] = (), max_bytes: int = 1 << 32
) -> WindowBatch:
    """Copy windows into arrays.

    Parameters
    ----------
    windows
        All of one shape and bin width, at least one.
    markers
        Labels of the recording's markers, to name where no window fits.
    max_bytes
        Bound of the counts' size.

    Raises
    ------
    RecordingError
        Where there are no windows, or more than fit.
    """
    kept: list[Window] = []
    for window in windows:
        if (len(kept) + 1) * window.counts.nbytes > max_bytes:
            raise RecordingError(
                f"more than {len(kept)} windows of {window.counts.shape} do not fit in "
                f"{max_bytes / 2**30:g} GiB; take a longer hop, or work window by window"
            )
        kept.append(window.copy())
    if not kept:
        kinds = list(dict.fromkeys(markers))
        named = ", ".join(kinds[:8]) + (f" and {len(kinds) - 8} more" if len(kinds) > 8 else "")
        raise RecordingError(
            "no window could be cut; compare the marker patterns with the recording's labels "
            f"({named or 'none'}), and the window's length with the recording's"
        )
    return WindowBatch(
        np.stack([w.counts for w in kept]),
        np.array([w.start for w in kept]),
        np.array([w.zero for w in kept]),
        np.array([w.trial for w in kept], np.int64),
        tuple(w.label for w in kept),
        tuple(w.start_label for w in kept),
        np.array([w.truncated for w in kept]),
        kept[0].width,
    )
