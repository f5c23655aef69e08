"""Recordings from XDF files, by way of pyxdf."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
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
from bci_lfads.recordings.xdf_guard import StreamHeader, XdfOverview, inspect_xdf
from bci_lfads.recordings.xdf_roles import assign, channel_labels
from bci_lfads.recordings.xdf_spikes import spikes_from

_log = logging.getLogger(__name__)


def read_xdf(
    path: Path,
    *,
    spikes: str | None = None,
    markers: str | Sequence[str] | None = None,
) -> Recording:
    """Read the spikes, markers and signals of an XDF file.

    Clocks are synchronised and clock resets handled by pyxdf. Its dejittering is off: spikes and
    bins carry the stamps that count, and where a regular stream has gaps dejittering moves
    stamps by up to 156 ms. A file whose last chunk is cut off, as a recorder that was killed
    leaves it, is read up to there; a warning says how much was lost.

    Parameters
    ----------
    path
        The file.
    spikes
        Name, type or source_id of the spike stream; needed where several streams hold spikes.
        Without spikes in the file the recording has no units, and its markers.
    markers
        Names, types or source_ids of the marker streams; default: every irregular string or
        integer stream and every string stream, merged by time.

    Raises
    ------
    RecordingError
        If the file is damaged, or no stream is what was asked for.
    """
    overview = inspect_xdf(path)
    source = str(path)
    roles = assign(overview.streams, source, spikes, markers)
    loaded = load_streams(path, overview)
    headers = overview.streams
    streams = {n: _Loaded(headers[n], *loaded[n], source=source) for n in headers}

    events: SpikeEvents | BinnedCounts = SpikeEvents(np.empty(0), np.empty(0, np.int32))
    units: tuple[str, ...] = ()
    if roles.spikes is not None and roles.spike_format is not None:
        chosen = streams[roles.spikes]
        events, units = spikes_from(
            chosen.header, roles.spike_format, chosen.times, chosen.values, source
        )
    if not overview.streams:
        raise RecordingError(f"{source} holds no streams; there is nothing to read")
    marks = _merge([streams[n] for n in roles.markers])
    series: dict[str, Series] = {}
    for n in roles.signals:
        name = headers[n].name if headers[n].name not in series else f"{headers[n].name} ({n})"
        series[name] = _series(streams[n])
    times = [marks.times, *(s.times for s in series.values())]
    if isinstance(events, SpikeEvents):
        times.append(events.times)
    else:
        stop = events.start + events.bin_width * len(events.counts)
        times.append(np.array([events.start, stop]))
    stamps = np.concatenate([t[[0, -1]] for t in times if t.size] or [np.zeros(1)])
    return Recording(
        spikes=events,
        unit_labels=units,
        start=float(stamps.min()),
        stop=float(stamps.max()),
        markers=marks,
        series=series,
        name=path.name,
    )


class _Loaded:
    """A stream with its samples in the order of their stamps."""

    def __init__(
        self, header: StreamHeader, times: NDArray[np.float64], values: Any, *, source: str
    ) -> None:
        if len(times) != len(values) or not np.isfinite(times).all():
            raise RecordingError(
                f"{source}: stream {header.name!r} has {len(values)} samples, and "
                f"{int(np.isfinite(times).sum())} usable time stamps"
            )
        self.header = header
        order = np.argsort(times, kind="stable")
        self.times = times[order]
        self.values = (
            [values[i] for i in order] if header.format == "string" else np.asarray(values)[order]
        )


def load_streams(
    path: Path, overview: XdfOverview, *, synchronise: bool = True
) -> dict[int, tuple[NDArray[np.float64], Any]]:
    """Read the stamps and samples of all streams, in the order of arrival, by stream number.

    Parameters
    ----------
    path, overview
        The file, and what was found in it.
    synchronise
        Whether stamps are moved to the recorder's clock; else they are as the sources gave them.

    Raises
    ------
    RecordingError
        If pyxdf has no answer for the file.
    """
    import pyxdf

    if overview.cut_off:
        _log.warning(
            "%s is cut off in its last chunk; %d bytes are lost, all before them is read",
            path, overview.cut_off,
        )  # fmt: skip
    try:
        with path.open("rb") as file, _quiet():
            whole = io.BytesIO(file.read(overview.whole)) if overview.cut_off else file
            streams, _ = pyxdf.load_xdf(
                whole, synchronize_clocks=synchronise, dejitter_timestamps=False
            )
        return {
            s["info"]["stream_id"]: (np.asarray(s["time_stamps"], np.float64), s["time_series"])
            for s in streams
        }
    # A file that passed the guard can still hold what pyxdf has no answer for.
    except Exception as error:
        raise RecordingError(
            f"{path} cannot be read: pyxdf says {type(error).__name__}: {error}"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Turn pyxdf's log into debug messages of ours, and its warnings into silence."""
    theirs = logging.getLogger("pyxdf")
    handler = _Forward()
    propagate = theirs.propagate
    theirs.addHandler(handler)
    theirs.propagate = False
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    finally:
        theirs.removeHandler(handler)
        theirs.propagate = propagate


class _Forward(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _log.debug("pyxdf: %s", record.getMessage())


def _merge(streams: list[_Loaded]) -> Markers:
    times = np.concatenate([np.empty(0), *(s.times for s in streams)])
    labels = [_label(value) for s in streams for value in s.values]
    order = np.argsort(times, kind="stable")
    return Markers(times[order], tuple(labels[i] for i in order))


def _label(value: Any) -> str:
    # One sample of a string stream is a list, of a numeric stream an array.
    return "/".join(part for part in map(str, value) if part)


def _series(stream: _Loaded) -> Series:
    labels = channel_labels(stream.header)
    return Series(
        stream.times,
        np.asarray(stream.values, np.float32).reshape(len(stream.times), stream.header.n_channels),
        labels or tuple(str(i) for i in range(stream.header.n_channels)),
    )
