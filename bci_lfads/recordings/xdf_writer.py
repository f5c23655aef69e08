"""XDF files written chunk by chunk, each of which is out of this process's hands at once.

The format is described at https://github.com/sccn/xdf/wiki/Specifications. LabRecorder keeps what
it writes in a buffer, and killed it leaves a file without it (of a slow stream, nothing at all);
here every chunk is one write to the system, so that a killed recorder loses what was not written
yet, and no more. A chunk that is cut off is what readers of XDF expect of such a file.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pylsl
from numpy.typing import NDArray

from bci_lfads.recordings.xdf_guard import (
    BOUNDARY,
    CLOCK_OFFSET,
    FILE_HEADER,
    SAMPLES,
    SIGNATURE,
    STREAM_FOOTER,
    STREAM_HEADER,
)

_LE = {"int8": "i1", "int16": "<i2", "int32": "<i4", "int64": "<i8", "float32": "<f4",
       "double64": "<f8"}  # fmt: skip


class XdfWriter:
    """A new XDF file.

    Parameters
    ----------
    path
        The file; one that is there is replaced.

    Raises
    ------
    OSError
        Here and by every method: where the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=0)
        self._formats: dict[int, str] = {}
        self._counts: dict[int, int] = {}
        self._edges: dict[int, tuple[float, float]] = {}
        now = datetime.now(timezone.utc).isoformat()
        header = (
            f"<?xml version='1.0'?><info><version>1.0</version><datetime>{now}</datetime>"
            f"<lsl_clock>{pylsl.local_clock()!r}</lsl_clock></info>"
        )
        self._write(b"XDF:" + _chunk(FILE_HEADER, header.encode()))

    def stream(self, xml: str, form: str) -> int:
        """Add a stream with its description as LSL gives it; return its number in the file."""
        number = len(self._formats) + 1
        self._write(_chunk(STREAM_HEADER, struct.pack("<I", number) + xml.encode()))
        self._formats[number], self._counts[number] = form, 0
        return number

    def samples(self, stream: int, values: Any, stamps: NDArray[np.float64]) -> None:
        """Write samples, each with its stamp.

        Parameters
        ----------
        stream
            As of `stream`.
        values
            Shape ``(n, n_channels)``; of a string stream bytes or text.
        stamps
            Seconds, shape ``(n,)``.
        """
        if not len(stamps):
            return
        form = self._formats[stream]
        if form == "string":
            body = b"".join(
                b"\x08" + struct.pack("<d", t) + b"".join(map(_text, row))
                for t, row in zip(stamps, values, strict=True)
            )
        else:
            rows = np.empty(
                len(stamps), [("n", "u1"), ("t", "<f8"), ("v", _LE[form], (values.shape[1],))]
            )
            rows["n"], rows["t"], rows["v"] = 8, stamps, values
            body = rows.tobytes()
        self._write(_chunk(SAMPLES, struct.pack("<I", stream) + _length(len(stamps)) + body))
        first = self._edges.get(stream, (float(stamps[0]), 0.0))[0]
        self._edges[stream] = first, float(stamps[-1])
        self._counts[stream] += len(stamps)

    def clock_offset(self, stream: int, time: float, offset: float) -> None:
        """Note what is to be added to a stream's stamps at some moment of this clock."""
        self._write(_chunk(CLOCK_OFFSET, struct.pack("<Idd", stream, time - offset, offset)))

    def boundary(self) -> None:
        """Write a mark at which readers of a damaged file find their place again."""
        self._write(_chunk(BOUNDARY, SIGNATURE))

    def footer(self, stream: int) -> None:
        """End a stream."""
        first, last = self._edges.get(stream, (0.0, 0.0))
        xml = (
            f"<?xml version='1.0'?><info><first_timestamp>{first!r}</first_timestamp>"
            f"<last_timestamp>{last!r}</last_timestamp>"
            f"<sample_count>{self._counts[stream]}</sample_count></info>"
        )
        self._write(_chunk(STREAM_FOOTER, struct.pack("<I", stream) + xml.encode()))

    def close(self) -> None:
        """Close the file; streams without a footer are none the worse."""
        self._file.close()

    def _write(self, chunk: bytes) -> None:
        view = memoryview(chunk)
        while view:  # an unbuffered file may take a part
            view = view[self._file.write(view) or 0 :]


def read_clocks(path: Path) -> tuple[datetime, float] | None:
    """Return when a file was begun, and what the LSL clock said then; None where it does not say.

    The file is one that `xdf_guard.inspect_xdf` has looked at.
    """
    with path.open("rb") as file:
        head = file.read(4096)
    end = head.find(b"</info>")
    begin = head.find(b"<info>")
    if not 0 <= begin < end:
        return None
    info = ElementTree.fromstring(head[begin : end + 7])  # noqa: S314 - bounded, without entities
    time, clock = info.findtext("datetime"), info.findtext("lsl_clock")
    try:
        return None if not time or not clock else (datetime.fromisoformat(time), float(clock))
    except ValueError:
        return None


def _chunk(tag: int, content: bytes) -> bytes:
    return _length(len(content) + 2) + struct.pack("<H", tag) + content


def _length(n: int) -> bytes:
    return b"\x04" + struct.pack("<I", n) if n < 1 << 32 else b"\x08" + struct.pack("<Q", n)


def _text(value: bytes | str | Sequence[Any]) -> bytes:
    raw = value if isinstance(value, bytes) else str(value).encode()
    return _length(len(raw)) + raw
