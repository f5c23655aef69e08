"""Recordings from Neurodata Without Borders files, by way of pynwb."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci_lfads.errors import RecordingError
from bci_lfads.recordings.recording import Markers, Recording, Series, SpikeEvents

_log = logging.getLogger(__name__)
_LABELS = ("label", "unit_label", "unit_name", "name")  # columns that may name units
_MOST_CODES = 256  # an integer signal with more values than that is no series of events
_MOST_VALUES = 1 << 28
_MARGIN = 60.0
_NOT_BEHAVIOUR = (
    "ElectricalSeries", "SpikeEventSeries", "ImageSeries", "OpticalSeries", "IndexSeries",
    "ImageMaskSeries", "TwoPhotonSeries", "OnePhotonSeries",
)  # fmt: skip

_Marks = list[tuple[NDArray[np.float64], list[str]]]


def read_nwb(path: Path) -> Recording:
    """Read units, events, intervals and behaviour of an NWB file.

    Units are labelled by a column ``label``, ``unit_label``, ``unit_name`` or ``name`` where it
    is unique, else ``unit_<id>``. Markers are

    - ``<table>/start`` and ``<table>/stop`` of every interval table (trials, epochs...), with
      ``/<tags>`` where rows have tags, and ``<table>/<event>`` of its columns ``<event>_time``;
    - ``<series>/<value>`` of every one-channel series of text or integer codes with a stamp each,
    - ``<table>/<annotation>`` of every table of annotated events.

    Other numeric series, but for images and raw voltages, become series.

    A spike or marker stamp that is not a number is dropped, and so is a marker far outside of
    the spikes: more than the spikes' span, but at least 60 s, before the first or after the last
    of them. Both are counted in a logged warning.

    Raises
    ------
    RecordingError
        If pynwb is missing, the file is damaged, or it holds neither units nor markers.
    """
    try:
        from pynwb import NWBHDF5IO
    except ImportError as error:
        raise RecordingError(
            f"{path} needs pynwb to be read: pip install 'bci-lfads[nwb]'"
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on the style of the file, not its content
            with NWBHDF5IO(str(path), "r") as io:
                return _read(io.read(), path)
    except RecordingError:
        raise
    # pynwb and hdmf raise whatever a damaged or unusual file leads them to.
    except Exception as error:
        raise RecordingError(f"{path} cannot be read as NWB: {error}") from error


def _read(file: Any, path: Path) -> Recording:
    spikes, labels = _units(file, str(path))
    marks: _Marks = []
    for table in (file.intervals or {}).values():
        marks += _intervals(table)
    marks += _events(file)
    series: dict[str, Series] = {}
    for signal in _time_series(file):
        codes = _codes(signal)
        if codes is not None:
            marks.append((np.asarray(signal.timestamps[:], np.float64), codes))
        else:
            found = _series(signal)
            if found is not None:
                series.setdefault(signal.name, found)
    markers = _markers(marks, spikes.times, str(path))
    if not (labels or len(markers.times)):
        raise RecordingError(
            f"{path} holds neither units nor events; it holds "
            f"{', '.join(o.name for o in list(file.objects.values())[:8])}"
        )
    stamps = [t[[0, -1]] for t in (spikes.times, markers.times) if len(t)]
    covered = np.concatenate(stamps or [np.zeros(1)])
    return Recording(
        spikes=spikes,
        unit_labels=labels,
        start=float(covered.min()),
        stop=float(covered.max()),
        markers=markers,
        series=series,
        name=path.name,
    )


def _units(file: Any, source: str) -> tuple[SpikeEvents, tuple[str, ...]]:
    table = file.units
    if table is None or "spike_times" not in table.colnames:
        return SpikeEvents(np.empty(0), np.empty(0, np.int32)), ()
    trains = [np.asarray(table["spike_times"][i], np.float64) for i in range(len(table))]
    labels = [f"unit_{i}" for i in table.id[:]]
    for column in _LABELS:
        if column in table.colnames:
            named = [_text(v) for v in table[column][:]]
            if len(set(named)) == len(named):
                labels = named
                break
    times = np.concatenate([np.empty(0), *trains])
    units = np.repeat(np.arange(len(trains), dtype=np.int32), [len(t) for t in trains])
    good = np.isfinite(times)
    if not good.all():
        _log.warning("%s: %d spikes without a time are dropped", source, (~good).sum())
    order = np.argsort(times[good], kind="stable")
    return SpikeEvents(times[good][order], units[good][order]), tuple(labels)


def _intervals(table: Any) -> _Marks:
    n = len(table)
    tags = [""] * n
    if "tags" in table.colnames:
        tags = ["".join(f"/{_text(t)}" for t in table["tags"][i]) for i in range(n)]
    marks: _Marks = []
    for column in table.colnames:
        if not column.endswith("_time"):
            continue
        times = np.asarray(table[column][:])
        if times.ndim == 1 and times.dtype.kind in "iuf":
            event = column.removesuffix("_time")
            times = times.astype(np.float64)
            there = ~np.isnan(times)  # an event that a trial did not have
            labels = [f"{table.name}/{event}{tag}" for tag in tags]
            kept = [label for label, has in zip(labels, there, strict=True) if has]
            marks.append((times[there], kept))
    return marks


def _events(file: Any) -> _Marks:
    """Return the events of tables that have an annotation each (NWB 2.9 and later)."""
    marks: _Marks = []
    for table in file.objects.values():
        if type(table).__name__ == "EventsTable" and "annotation" in table.colnames:
            times = np.asarray(table["timestamp"][:], np.float64)
            marks.append((times, [f"{table.name}/{_text(a)}" for a in table["annotation"][:]]))
    return marks


def _time_series(file: Any) -> Iterable[Any]:
    from pynwb.base import TimeSeries

    for signal in file.objects.values():
        kinds = {kind.__name__ for kind in type(signal).__mro__}
        if isinstance(signal, TimeSeries) and not kinds & set(_NOT_BEHAVIOUR):
            yield signal


def _codes(signal: Any) -> list[str] | None:
    """Return one label a sample, if the signal is a series of events."""
    if signal.timestamps is None or signal.data is None:
        return None
    shape = np.shape(signal.data)
    if len(shape) != 1 or shape != np.shape(signal.timestamps) or shape[0] > _MOST_VALUES:
        return None
    values = np.asarray(signal.data[:])
    if values.dtype.kind not in "iuOSUb":
        return None
    if values.dtype.kind in "iub" and len(np.unique(values)) > _MOST_CODES:
        return None
    return [f"{signal.name}/{_text(v)}" for v in values]


def _series(signal: Any) -> Series | None:
    shape = np.shape(signal.data) if signal.data is not None else ()
    if len(shape) not in (1, 2) or not 0 < np.prod(shape) <= _MOST_VALUES:
        return None
    values = np.asarray(signal.data[:])
    if values.dtype.kind not in "iufb":
        return None
    values = values.reshape(len(values), -1) * float(signal.conversion) + float(signal.offset)
    if signal.timestamps is not None:
        times = np.asarray(signal.timestamps[:], np.float64)
    elif signal.rate:
        times = float(signal.starting_time or 0) + np.arange(len(values)) / float(signal.rate)
    else:
        return None
    if times.shape != (len(values),):
        return None
    good = np.isfinite(times)
    order = np.argsort(times[good], kind="stable")
    labels = tuple(f"{signal.name}_{i}" for i in range(values.shape[1]))
    return Series(times[good][order], values[good][order].astype(np.float32), labels)


def _markers(marks: _Marks, spikes: NDArray[np.float64], source: str) -> Markers:
    times = np.concatenate([np.empty(0), *(t for t, _ in marks)])
    labels = [label for _, some in marks for label in some]
    good = np.isfinite(times)
    if spikes.size:
        margin = max(_MARGIN, float(spikes[-1] - spikes[0]))
        good &= (times >= spikes[0] - margin) & (times <= spikes[-1] + margin)
    if not good.all():
        bad = [f"{labels[i]} at {times[i]:.6g} s" for i in np.flatnonzero(~good)[:3]]
        _log.warning(
            "%s: %d markers far outside of the spikes are dropped: %s",
            source, (~good).sum(), ", ".join(bad),
        )  # fmt: skip
    kept = np.flatnonzero(good)
    order = kept[np.argsort(times[kept], kind="stable")]
    return Markers(times[order], tuple(labels[i] for i in order))


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
