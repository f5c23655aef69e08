"""What each stream of an XDF file is: spikes in one of three formats, markers, or a signal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from bci_lfads.errors import RecordingError
from bci_lfads.recordings.xdf_guard import StreamHeader

SpikeFormat = Literal["events", "ids", "counts"]
Role = Literal["events", "ids", "counts", "markers", "signal"]
# Singular as in the design, plural as Neural Data Simulator writes them, _id as its file
# streamer does.
_CHANNEL = re.compile(r"(ch|channel)(s|_?ids?)?", re.IGNORECASE)
_UNIT = re.compile(r"unit(s|_?ids?)?", re.IGNORECASE)
_SPIKES = re.compile(r"spike|sorted|unit", re.IGNORECASE)
_COUNTS = re.compile(r"count", re.IGNORECASE)
_HERTZ = re.compile(r"hz|hertz|(spikes|counts|events)\s*(/|per)\s*s.*|1/s", re.IGNORECASE)


@dataclass(frozen=True)
class Roles:
    """Which stream is which, by stream number."""

    spikes: int | None
    spike_format: SpikeFormat | None
    markers: tuple[int, ...]
    signals: tuple[int, ...]


def channel_labels(stream: StreamHeader) -> tuple[str, ...]:
    """Return the labels that a stream's header gives its channels; empty where it gives none."""
    labels = [
        (c.findtext("label") or c.findtext("name") or "").strip()
        for c in stream.info.iterfind("desc/channels/channel")
    ]
    return tuple(labels) if len(labels) == stream.n_channels and all(labels) else ()


def event_columns(stream: StreamHeader) -> tuple[int, int] | None:
    """Return the columns that hold channel and unit of a spike, or None."""
    labels = channel_labels(stream)
    channel = [i for i, label in enumerate(labels) if _CHANNEL.fullmatch(label)]
    unit = [i for i, label in enumerate(labels) if _UNIT.fullmatch(label)]
    return (channel[0], unit[0]) if len(channel) == 1 and len(unit) == 1 else None


def in_hertz(stream: StreamHeader) -> bool:
    """Return whether a stream says that its values are rates."""
    return any(
        _HERTZ.fullmatch((c.findtext("unit") or "").strip())
        for c in stream.info.iterfind("desc/channels/channel")
    )


def assign(
    streams: dict[int, StreamHeader],
    source: str,
    spikes: str | None = None,
    markers: str | Sequence[str] | None = None,
) -> Roles:
    """Say which stream is which.

    Parameters
    ----------
    streams
        Headers by stream number.
    source
        The file, for messages.
    spikes
        Name, type or source_id of the spike stream. Without it the file must hold one stream
        that is clearly spikes, or none.
    markers
        Names, types or source_ids of the marker streams. Without it all of them are taken.

    Raises
    ------
    RecordingError
        If several streams hold spikes, or none is what was asked for.
    """
    guessed = {number: _guess(stream) for number, stream in streams.items()}
    if spikes is not None:
        found = _matching(streams, spikes, source, "spike")
    else:
        found = [n for n, role in guessed.items() if role not in ("markers", "signal")]
        # Of a stream that was started anew the empty first part is of no interest.
        found = [n for n in found if streams[n].n_samples] or found[:1]
    if len(found) > 1:
        raise RecordingError(
            f"{source} holds several spike streams: {_names(streams[n] for n in found)}; choose "
            f"one with the option spikes=NAME"
        )
    chosen = found[0] if found else None
    form = _spike_format(streams[chosen], source) if chosen is not None else None
    if markers is None:
        marked = [n for n, role in guessed.items() if role == "markers" and n != chosen]
    else:
        wanted = [markers] if isinstance(markers, str) else markers
        marked = [n for m in wanted for n in _matching(streams, m, source, "marker")]
        for n in marked:
            if streams[n].format not in ("string", "int8", "int16", "int32", "int64"):
                raise RecordingError(
                    f"{source}: {streams[n].name!r} has {streams[n].format} samples; markers are "
                    f"string or integer"
                )
    signals = tuple(
        n
        for n, stream in streams.items()
        if n != chosen and n not in marked and stream.format != "string"
        and guessed[n] == "signal"
    )  # fmt: skip
    return Roles(chosen, form, tuple(dict.fromkeys(marked)), signals)


def _guess(stream: StreamHeader) -> Role:
    if stream.source_id.startswith("bci-lfads:"):
        return "signal"  # what a run published: neither its input nor markers of the task
    named = f"{stream.type} {stream.name}"
    if stream.format == "string":
        spikes = stream.rate == 0 and stream.n_channels == 1 and _SPIKES.search(stream.type)
        return "ids" if spikes else "markers"
    if stream.rate == 0:
        if stream.n_channels > 1:
            return "events" if event_columns(stream) else "signal"
        if stream.format.startswith("int"):
            return "ids" if _SPIKES.search(named) else "markers"
        return "signal"
    if in_hertz(stream):
        return "signal"
    counts = [c.findtext("unit") or "" for c in stream.info.iterfind("desc/channels/channel")]
    if _COUNTS.search(stream.type) or (counts and all(_COUNTS.search(c) for c in counts)):
        return "counts"
    return "counts" if re.search("spike", stream.type, re.IGNORECASE) else "signal"


def _spike_format(stream: StreamHeader, source: str) -> SpikeFormat:
    if stream.format != "string":
        if stream.rate > 0:
            if in_hertz(stream):
                raise RecordingError(
                    f"{source}: stream {stream.name!r} is in Hz; spikes are events or counts"
                )
            return "counts"
        if event_columns(stream):
            return "events"
    if stream.n_channels == 1 and stream.rate == 0 and not stream.format.startswith(("f", "d")):
        return "ids"
    raise RecordingError(
        f"{source}: stream {stream.name!r} ({stream.n_channels} channels of {stream.format}, "
        f"{stream.rate:g} Hz, labels {', '.join(channel_labels(stream)[:6]) or 'none'}) holds no "
        f"spikes; accepted are: irregular with channels labelled 'channel' and 'unit', irregular "
        f"with one channel of int or string ids, or regular counts with a channel a unit"
    )


def _matching(streams: dict[int, StreamHeader], wanted: str, source: str, what: str) -> list[int]:
    found = [n for n, s in streams.items() if wanted in (s.name, s.type, s.source_id)]
    if not found:
        raise RecordingError(
            f"{source} has no {what} stream with name, type or source_id {wanted!r}; it holds "
            f"{_names(streams.values())}"
        )
    return found


def _names(streams: Iterable[StreamHeader]) -> str:
    return ", ".join(f"{s.name!r} (type {s.type!r})" for s in streams) or "no streams"
