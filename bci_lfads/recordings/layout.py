"""The package's own layout: a recording as named arrays, the same in npz and HDF5."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci_lfads.errors import RecordingError
from bci_lfads.recordings.recording import (
    BinnedCounts,
    Markers,
    Recording,
    Series,
    SpikeEvents,
)

FORMAT = "bci-lfads recording"
VERSION = 1


def to_items(recording: Recording) -> dict[str, NDArray[Any]]:
    """Return the recording as arrays by name; text is an array of str.

    Raises
    ------
    RecordingError
        If a label cannot be stored: it holds a NUL character or is no valid Unicode.
    """
    spikes, markers = recording.spikes, recording.markers
    kinds = list(dict.fromkeys(markers.labels))
    code = {label: i for i, label in enumerate(kinds)}
    items: dict[str, NDArray[Any]] = {
        "format": np.array(FORMAT),
        "version": np.array(VERSION, np.int64),
        "name": _text([recording.name]).reshape(()),
        "start": np.array(recording.start),
        "stop": np.array(recording.stop),
        "unit_labels": _text(recording.unit_labels),
        "marker_times": markers.times,
        "marker_codes": np.array([code[label] for label in markers.labels], np.int32),
        "marker_labels": _text(kinds),
        "series_names": _text(recording.series),
    }
    if isinstance(spikes, SpikeEvents):
        items |= {"spike_times": spikes.times, "spike_units": spikes.units}
    else:
        items |= {
            "counts": spikes.counts,
            "bin_width": np.array(spikes.bin_width),
            "counts_start": np.array(spikes.start),
        }
    for i, series in enumerate(recording.series.values()):
        items |= {
            f"series_{i}_times": series.times,
            f"series_{i}_values": series.values,
            f"series_{i}_labels": _text(series.labels),
        }
    return items


def from_items(items: Mapping[str, NDArray[Any]], source: str) -> Recording:
    """Return the recording that arrays by name describe.

    Parameters
    ----------
    items
        As `to_items` gives them.
    source
        The file, for messages.

    Raises
    ------
    RecordingError
        If arrays are missing or of another kind, or if the layout is of another version.
    """

    def get(name: str, kind: type[np.generic], ndim: int) -> NDArray[Any]:
        if name not in items:
            raise RecordingError(f"{source}: not a recording of this package, it lacks {name!r}")
        array, asked = np.asarray(items[name]), np.dtype(kind)
        families = {"i": "iu", "u": "iu", "f": "fiu", "U": "U"}[asked.kind]
        fits = array.ndim == ndim and array.dtype.kind in families
        if fits and asked.kind in "iu" and array.size:
            limits = np.iinfo(asked)
            fits = limits.min <= int(array.min()) and int(array.max()) <= limits.max
        if not fits:
            raise RecordingError(
                f"{source}: {name!r} is {array.dtype} of shape {array.shape}; expected "
                f"{ndim} dimensions of {asked.name}"
            )
        return array.astype(kind, copy=False)

    def text(name: str) -> tuple[str, ...]:
        return tuple(get(name, np.str_, 1).tolist())

    if get("format", np.str_, 0).item() != FORMAT:
        raise RecordingError(f"{source}: not a recording of this package")
    version = int(get("version", np.int64, 0))
    if version != VERSION:
        raise RecordingError(
            f"{source}: layout version {version}; this package reads version {VERSION}. "
            f"A newer bci-lfads is needed"
        )
    if "counts" in items:
        spikes: SpikeEvents | BinnedCounts = BinnedCounts(
            get("counts", np.uint8, 2),
            float(get("bin_width", np.float64, 0)),
            float(get("counts_start", np.float64, 0)),
        )
    else:
        spikes = SpikeEvents(get("spike_times", np.float64, 1), get("spike_units", np.int32, 1))
    codes, kinds = get("marker_codes", np.int32, 1), text("marker_labels")
    if codes.size and (codes.min() < 0 or codes.max() >= len(kinds)):
        raise RecordingError(f"{source}: marker codes point outside of the {len(kinds)} labels")
    return Recording(
        spikes=spikes,
        unit_labels=text("unit_labels"),
        start=float(get("start", np.float64, 0)),
        stop=float(get("stop", np.float64, 0)),
        markers=Markers(get("marker_times", np.float64, 1), tuple(kinds[c] for c in codes)),
        series={
            name: Series(
                get(f"series_{i}_times", np.float64, 1),
                get(f"series_{i}_values", np.float32, 2),
                text(f"series_{i}_labels"),
            )
            for i, name in enumerate(text("series_names"))
        },
        name=get("name", np.str_, 0).item(),
    )


def _text(labels: Iterable[str]) -> NDArray[np.str_]:
    labels = list(labels)
    for label in labels:
        if "\0" in label or label != label.encode("utf-8", "replace").decode("utf-8"):
            raise RecordingError(f"label {label!r} holds characters that no file can keep")
    return np.array(labels, np.str_)
