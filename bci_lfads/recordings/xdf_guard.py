"""A look over an XDF file before pyxdf reads it.

pyxdf trusts the counts it finds: a wrong one makes it skip data, allocate what is not there or
fail in odd places. This walk reads every length, count and header first, in time and memory
bounded by the file's size, and says which chunk is wrong.

A recorder that was killed leaves a last chunk that is cut off. That is no error: everything
before it is whole and is read.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from xml.etree import ElementTree

import numpy as np

from bci_lfads.errors import RecordingError

FILE_HEADER, STREAM_HEADER, SAMPLES, CLOCK_OFFSET, BOUNDARY, STREAM_FOOTER = range(1, 7)
_NAMES = dict(
    zip(
        range(1, 7),
        ("FileHeader", "StreamHeader", "Samples", "ClockOffset", "Boundary", "StreamFooter"),
        strict=True,
    )
)
_VALUE_BYTES = {
    "int8": 1, "int16": 2, "int32": 4, "int64": 8, "float32": 4, "double64": 8,
}  # fmt: skip
SIGNATURE = bytes.fromhex("43a546dccbf5410fb30ed5467383cbe4")  # of a Boundary chunk
_MOST_XML = 1 << 24
_MOST_CHANNELS = 1 << 16
_MOST_OFFSETS = 200_000  # eleven days at one in 5 s
_MOST_RESETS = 1_000
_RESET_SECONDS = 1.0  # a step of the clock offset by more than this may be a clock reset


@dataclass
class StreamHeader:
    """What a stream says of itself.

    Attributes
    ----------
    stream_id
        Number of the stream in the file.
    rate
        Nominal sampling rate, Hz; 0 for irregular.
    format
        XDF channel format, e.g. ``int32`` or ``string``.
    info
        The whole header.
    n_samples
        Counted, not declared.
    """

    stream_id: int
    name: str
    type: str
    source_id: str
    n_channels: int
    rate: float
    format: str
    info: ElementTree.Element
    n_samples: int = 0
    ended: bool = False
    """Whether it has its footer: a recorder that is killed writes none."""
    _offsets: int = field(default=0, repr=False)
    _resets: int = field(default=0, repr=False)
    _last_offset: tuple[float, float] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class XdfOverview:
    """What stands in an XDF file.

    Attributes
    ----------
    streams
        Headers by stream number.
    whole
        Bytes up to the end of the last whole chunk.
    cut_off
        Bytes after that, which belong to an incomplete chunk.
    """

    streams: dict[int, StreamHeader]
    whole: int
    cut_off: int


class _BadChunkError(Exception):
    pass


def inspect_xdf(path: Path) -> XdfOverview:
    """Walk through all chunks of an XDF file.

    Raises
    ------
    RecordingError
        Naming the byte and the chunk that is wrong.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            return _walk(file, size, str(path))
    except OSError as error:
        raise RecordingError(f"{path} cannot be read: {error.strerror or error}") from error


def _walk(file: BinaryIO, size: int, source: str) -> XdfOverview:
    if file.read(4) != b"XDF:":
        raise RecordingError(f"{source} is not an XDF file: it does not begin with 'XDF:'")
    streams: dict[int, StreamHeader] = {}
    at, first, tag = 4, True, 0
    try:
        while at < size:
            tag = 0
            body, content = _chunk_extent(file)
            if body + content > size:
                _must_be_end_of_file(file)
                break
            chunk = file.read(content)
            if content < 2:
                raise _BadChunkError(f"it is {content} bytes long; a chunk has at least 2")
            tag = int.from_bytes(chunk[:2], "little")
            if tag not in _NAMES:
                raise _BadChunkError(f"it has tag {tag}; XDF has tags 1 to 6")
            if first != (tag == FILE_HEADER):
                raise _BadChunkError("the first chunk, and no other, must be the FileHeader")
            _check_chunk(tag, chunk, streams)
            at, first = body + content, False
    except _TruncatedError:
        pass
    except _BadChunkError as error:
        what = f"{_NAMES[tag]} chunk" if tag in _NAMES else "chunk"
        raise RecordingError(f"{source} is damaged: {what} at byte {at}: {error}") from error
    if first:
        raise RecordingError(f"{source} is cut off within its file header; nothing can be read")
    return XdfOverview(streams, at, size - at)


class _TruncatedError(Exception):
    pass


def _chunk_extent(file: BinaryIO) -> tuple[int, int]:
    """Return where the content of the next chunk begins, and its length."""
    lead = file.read(1)
    width = lead[0] if lead else 0
    if lead and width not in (1, 4, 8):
        raise _BadChunkError(f"its length has {width} bytes; 1, 4 or 8 are possible")
    raw = file.read(width)
    if not lead or len(raw) < width:
        raise _TruncatedError
    return file.tell(), int.from_bytes(raw, "little")


def _must_be_end_of_file(file: BinaryIO) -> None:
    """Tell a file that was cut off from one in which a length is wrong.

    After a wrong length the rest of the file holds further chunks, Boundary chunks among them
    (recorders write one every ten seconds).
    """
    overlap = b""
    while block := file.read(1 << 20):
        if SIGNATURE in overlap + block:
            raise _BadChunkError("it is longer than the file, and yet further chunks follow")
        overlap = block[-len(SIGNATURE) :]


def _check_chunk(tag: int, chunk: bytes, streams: dict[int, StreamHeader]) -> None:
    if tag == BOUNDARY:
        return
    if tag == FILE_HEADER:
        _xml(chunk[2:])
        return
    if len(chunk) < 6:
        raise _BadChunkError(f"it is {len(chunk)} bytes long, too short for a stream number")
    number = int.from_bytes(chunk[2:6], "little")
    if tag == STREAM_HEADER:
        if number in streams:
            raise _BadChunkError(f"stream {number} has a header already")
        streams[number] = _stream_header(number, chunk[6:])
        return
    if number not in streams:
        raise _BadChunkError(f"stream {number} has no header before it")
    stream = streams[number]
    if tag == SAMPLES:
        stream.n_samples += _count_samples(chunk, stream)
    elif tag == CLOCK_OFFSET:
        _check_offset(chunk, stream)
    else:
        _check_footer(chunk[6:])
        stream.ended = True


def _xml(raw: bytes) -> ElementTree.Element:
    if len(raw) > _MOST_XML:
        raise _BadChunkError(f"its XML has {len(raw)} bytes; at most {_MOST_XML} are read")
    text = raw.decode("utf-8", "replace")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise _BadChunkError("its XML declares entities, which XDF does not use")
    try:
        return ElementTree.fromstring(text)  # noqa: S314 - bounded, and without entities
    except (ElementTree.ParseError, ValueError) as error:
        raise _BadChunkError(f"its XML cannot be parsed: {error}") from error


def _stream_header(number: int, raw: bytes) -> StreamHeader:
    info = _xml(raw)
    if info.tag != "info":
        raise _BadChunkError(f"its XML is <{info.tag}>, not <info>")

    def need(tag: str) -> str:
        value = (info.findtext(tag) or "").strip()
        if not value:
            raise _BadChunkError(f"stream {number} does not say its {tag}")
        return value

    name, form = need("name"), need("channel_format")
    try:
        n_channels, rate = int(need("channel_count")), float(need("nominal_srate"))
    except ValueError as error:
        raise _BadChunkError(f"stream {number} ({name}): {error}") from error
    if form not in _VALUE_BYTES and form != "string":
        raise _BadChunkError(
            f"stream {number} ({name}) has channel format {form!r}; XDF has "
            f"{', '.join(_VALUE_BYTES)} and string"
        )
    if not 0 < n_channels <= _MOST_CHANNELS:
        raise _BadChunkError(
            f"stream {number} ({name}) has {n_channels} channels; 1 to {_MOST_CHANNELS} are read"
        )
    if not (rate == 0 or (rate > 0 and math.isfinite(rate) and math.isfinite(1 / rate))):
        raise _BadChunkError(f"stream {number} ({name}) has a sampling rate of {rate} Hz")
    return StreamHeader(
        stream_id=number,
        name=name,
        type=(info.findtext("type") or "").strip(),
        source_id=(info.findtext("source_id") or "").strip(),
        n_channels=n_channels,
        rate=rate,
        format=form,
        info=info,
    )


def _count_samples(chunk: bytes, stream: StreamHeader) -> int:
    """Return the number of samples; their lengths must add up to the chunk's."""
    n, at = _length(chunk, 6)
    if n > len(chunk) - at:
        raise _BadChunkError(f"it says {n} samples, more than it has bytes ({len(chunk)})")
    if stream.format == "string":
        end = _end_of_strings(chunk, at, n, stream.n_channels)
    else:
        end = _end_of_numbers(chunk, at, n, stream.n_channels * _VALUE_BYTES[stream.format])
    if end != len(chunk):
        raise _BadChunkError(
            f"its {n} samples of stream {stream.stream_id} ({stream.name}) take {end} bytes, the "
            f"chunk has {len(chunk)}"
        )
    return n


def _length(chunk: bytes, at: int) -> tuple[int, int]:
    """Return the variable-length integer at this place and the place after it."""
    if at >= len(chunk) or chunk[at] not in (1, 4, 8):
        raise _BadChunkError("a length within it is not 1, 4 or 8 bytes wide, or is missing")
    end = at + 1 + chunk[at]
    if end > len(chunk):
        raise _BadChunkError("a length within it goes beyond its end")
    return int.from_bytes(chunk[at + 1 : end], "little"), end


def _end_of_numbers(chunk: bytes, at: int, n: int, sample: int) -> int:
    # The usual case, each sample with its stamp, is checked at once; then one by one.
    if n * (9 + sample) == len(chunk) - at:
        widths = np.frombuffer(chunk, np.uint8, offset=at)[:: 9 + sample]
        if (widths == 8).all():
            return len(chunk)
    for _ in range(n):
        at = _after_stamp(chunk, at) + sample
    return at


def _end_of_strings(chunk: bytes, at: int, n: int, n_channels: int) -> int:
    for _ in range(n):
        at = _after_stamp(chunk, at)
        for _ in range(n_channels):
            length, at = _length(chunk, at)
            at += length
    return at


def _after_stamp(chunk: bytes, at: int) -> int:
    if at >= len(chunk) or chunk[at] not in (0, 8):
        raise _BadChunkError("a time stamp within it is not 0 or 8 bytes wide, or is missing")
    return at + 1 + chunk[at]


def _check_offset(chunk: bytes, stream: StreamHeader) -> None:
    if len(chunk) != 22:
        raise _BadChunkError(f"it is {len(chunk)} bytes long, not 22")
    time, value = struct.unpack("<dd", chunk[6:])
    if not (math.isfinite(time) and math.isfinite(value)):
        raise _BadChunkError(f"stream {stream.stream_id}: offset {value} s at {time} s")
    last, stream._last_offset = stream._last_offset, (time, value)
    if last and (time < last[0] or abs(value - last[1]) > _RESET_SECONDS):
        stream._resets += 1
    stream._offsets += 1
    # Clock synchronisation takes time in proportion to both.
    if stream._offsets > _MOST_OFFSETS or stream._resets > _MOST_RESETS:
        raise _BadChunkError(
            f"stream {stream.stream_id} ({stream.name}) has {stream._offsets} clock offsets with "
            f"{stream._resets} resets; at most {_MOST_OFFSETS} with {_MOST_RESETS} are read"
        )


def _check_footer(raw: bytes) -> None:
    # A footer is a courtesy: what it says is counted anyway. Only entities are not let through.
    if len(raw) > _MOST_XML or b"<!DOCTYPE" in raw or b"<!ENTITY" in raw:
        raise _BadChunkError("its XML declares entities or is too long")
