"""A recorded session: the streams of one rig, as they came and with the stamps that they had."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from bci_lfads.about import About, read_about, read_message
from bci_lfads.errors import RecordingError, StreamError
from bci_lfads.headers import Header, parse_header
from bci_lfads.recordings.xdf import load_streams
from bci_lfads.recordings.xdf_guard import inspect_xdf

_OUTPUT = "bci-lfads:"


@dataclass(frozen=True)
class RawStream:
    """One stream of the file, in the order of arrival.

    Attributes
    ----------
    header
        What it says of itself.
    values
        Shape ``(n, n_channels)``; of a text stream objects, UTF-8 bytes, as LSL gives them.
    stamps
        As they came, uncorrected, float64, shape ``(n,)``.
    """

    header: Header
    values: NDArray[Any]
    stamps: NDArray[np.float64]


@dataclass(frozen=True)
class RecordedRun:
    """One run of a rig in a recorded file.

    Attributes
    ----------
    about
        What the run said of itself.
    spikes, markers
        The streams that fit the rig's input, one for each time that a source was there.
    factors, rates
        None where the file has none.
    latency, journal
        Shape ``(n, 5)`` and `bci_lfads.journal.CHANNELS`.
    decoded, triggers
        DecodedBehaviour and Triggers of the rig's name, one for each time that they were there.
    status
        Messages, in their order.
    cut_off
        Whether the file's recorder was killed: a chunk or the end of a stream is missing.
    """

    about: About
    spikes: tuple[RawStream, ...]
    markers: tuple[RawStream, ...]
    factors: RawStream | None
    rates: RawStream | None
    latency: RawStream
    journal: RawStream
    decoded: tuple[RawStream, ...]
    triggers: tuple[RawStream, ...]
    status: tuple[Mapping[str, Any], ...]
    cut_off: bool

    @property
    def stopped(self) -> bool:
        """Whether the run ended in good order, and that was recorded."""
        said = bool(self.status) and self.status[-1].get("state") == "stopped"
        return said and not self.cut_off


def load_runs(path: Path) -> list[RecordedRun]:
    """Read every run of a rig from an XDF file.

    Raises
    ------
    RecordingError
        If the file is damaged, holds no run, or lacks what a verification needs.
    """
    overview = inspect_xdf(path)
    streams: list[RawStream] = []
    for number, (stamps, values) in load_streams(path, overview, synchronise=False).items():
        xml = ElementTree.tostring(overview.streams[number].info, "unicode")
        try:
            header = parse_header(xml)
        except ValueError as error:
            raise RecordingError(f"{path}: stream {number} is damaged: {error}") from error
        streams.append(RawStream(header, _values(header, values), stamps))
    runs = [s for s in streams if s.header.source_id.startswith(_OUTPUT) and _word(s) == "Status"]
    if not runs:
        raise RecordingError(
            f"{path} holds no run of a rig; record one with `bci-lfads run RIG --record FILE`"
        )
    cut_off = overview.cut_off > 0 or not all(s.ended for s in overview.streams.values())
    return [_run(path, run, streams, cut_off) for run in runs]


def _run(path: Path, status: RawStream, streams: list[RawStream], cut_off: bool) -> RecordedRun:
    try:
        about = read_about(status.header)
    except StreamError as error:
        raise RecordingError(f"{path}: {error}") from error

    def all_of(word: str) -> tuple[RawStream, ...]:
        wanted = f"{_OUTPUT}{about.rig.name}:{word}"
        return tuple(s for s in streams if s.header.source_id == wanted)

    def output(word: str) -> RawStream | None:
        """Return the stream that was made in this run: those of one run are made together."""
        return min(all_of(word), key=lambda s: abs(_made(s) - _made(status)), default=None)

    journal, latency = output("Journal"), output("Latency")
    if journal is None or latency is None:
        missing = "Journal" if journal is None else "Latency"
        raise RecordingError(
            f"{path} lacks the stream '{about.rig.name} {missing}', without which nothing can be "
            f"verified; record sessions with `bci-lfads run RIG --record FILE`"
        )
    asked = about.rig.input
    return RecordedRun(
        about,
        _fitting(streams, asked.spikes.properties()),
        () if asked.markers is None else _fitting(streams, asked.markers.properties()),
        output("TrialFactors" if about.hop is None else "Factors"),
        output("Rates"),
        latency,
        journal,
        all_of("DecodedBehaviour"),
        all_of("Triggers"),
        tuple(_message(path, row[0]) for row in status.values),
        cut_off,
    )


def _message(path: Path, text: str) -> dict[str, Any]:
    message = read_message(text)
    if message is None:
        raise RecordingError(f"{path} holds what is no message on Status: {text[:40]!r}")
    return message


def _word(stream: RawStream) -> str:
    return stream.header.source_id.rsplit(":", 1)[-1]


def _made(stream: RawStream) -> float:
    """Return when a stream was made, on the clock of its machine; NaN where it does not say."""
    try:
        return float(stream.header.info.findtext("created_at") or "nan")
    except ValueError:
        return math.nan


def _fitting(streams: list[RawStream], asked: Mapping[str, str]) -> tuple[RawStream, ...]:
    def fits(header: Header) -> bool:
        return all((header.info.findtext(k) or "") == value for k, value in asked.items())

    return tuple(s for s in streams if fits(s.header))


def _values(header: Header, values: Any) -> NDArray[Any]:
    if header.format == "string":
        rows = [[str(text).encode() for text in row] for row in values]
        return np.array(rows, object).reshape(-1, header.n_channels)
    return np.asarray(values).reshape(-1, header.n_channels)
