"""XDF files made by hand, from the format's specification, so that tests know every byte."""

import struct
from collections.abc import Iterable, Sequence

SIGNATURE = bytes.fromhex("43a546dccbf5410fb30ed5467383cbe4")
_CODES = {"int8": "b", "int16": "h", "int32": "i", "int64": "q", "float32": "f", "double64": "d"}
HEADER = b"<?xml version='1.0'?><info><version>1.0</version></info>"


def number(value: int, width: int = 4) -> bytes:
    return bytes([width]) + value.to_bytes(width, "little")


def chunk(tag: int, content: bytes, width: int = 4) -> bytes:
    return number(len(content) + 2, width) + struct.pack("<H", tag) + content


def stream_header(
    stream: int,
    name: str,
    kind: str,
    n_channels: int,
    rate: float,
    form: str,
    *,
    labels: Sequence[str] = (),
    units: Sequence[str] = (),
    desc: str = "",
) -> bytes:
    channels = "".join(
        f"<channel><label>{label}</label><unit>{unit}</unit></channel>"
        for label, unit in zip(labels, list(units) or [""] * len(labels), strict=True)
    )
    xml = (
        f"<?xml version='1.0'?><info><name>{name}</name><type>{kind}</type>"
        f"<channel_count>{n_channels}</channel_count><nominal_srate>{rate}</nominal_srate>"
        f"<channel_format>{form}</channel_format><source_id>id-{name}</source_id>"
        f"<desc><channels>{channels}</channels>{desc}</desc></info>"
    )
    return chunk(2, struct.pack("<I", stream) + xml.encode())


def samples(stream: int, form: str, rows: Iterable[tuple[float | None, Sequence]]) -> bytes:
    rows = list(rows)
    body = struct.pack("<I", stream) + number(len(rows))
    for time, values in rows:
        body += b"\0" if time is None else b"\x08" + struct.pack("<d", time)
        if form == "string":
            for text in values:
                body += number(len(text.encode()), 1) + text.encode()
        else:
            body += struct.pack(f"<{len(values)}{_CODES[form]}", *values)
    return chunk(3, body)


def offset(stream: int, time: float, value: float) -> bytes:
    return chunk(4, struct.pack("<Idd", stream, time, value), 1)


def boundary() -> bytes:
    return chunk(5, SIGNATURE, 1)


def footer(stream: int, count: int) -> bytes:
    xml = f"<info><sample_count>{count}</sample_count></info>"
    return chunk(6, struct.pack("<I", stream) + xml.encode())


def xdf(*chunks: bytes) -> bytes:
    return b"XDF:" + chunk(1, HEADER) + b"".join(chunks)


SPIKES = [(1.0, (3, 0, 7)), (1.25, (2, 1, 7)), (1.5, (3, 0, 7)), (2.0, (11, 0, 7))]
MARKS = [(0.75, ("trial/start",)), (1.75, ("go/30",))]


def small() -> bytes:
    """Return spike events, markers and a signal, with clock offsets of 100 s."""
    return xdf(
        stream_header(1, "Spikes", "SpikeEvents", 3, 0, "int16", labels=("channels", "units", "0")),
        stream_header(2, "Marks", "Markers", 1, 0, "string"),
        stream_header(3, "Hand", "Behaviour", 2, 10, "float32", labels=("x", "y")),
        offset(1, 0.0, 100.0),
        samples(1, "int16", SPIKES[:2]),
        samples(2, "string", MARKS),
        boundary(),
        samples(3, "float32", [(0.5, (1, 2)), (None, (3, 4)), (None, (5, 6))]),
        offset(1, 5.0, 100.0),
        offset(2, 0.0, 100.0),
        offset(3, 0.0, 100.0),
        samples(1, "int16", SPIKES[2:]),
        footer(1, 4),
        footer(2, 2),
        footer(3, 3),
    )
