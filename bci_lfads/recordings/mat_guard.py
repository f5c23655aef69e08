"""A look at a MATLAB 5 file before scipy reads it, which takes what it says at its word.

An array of forged size has scipy allocate for what the file cannot hold, and an element that is not
of the type that belongs there can end the process. So the elements are walked first, and each must
be what the format says ("Level 5 MAT-File Format", MathWorks): a known type, no longer than what is
left, and in an array just as many as its class, flags, shape and fields call for.
"""

from __future__ import annotations

import math
import struct
import zlib

from bci_lfads.errors import RecordingError

_NUMBERS = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}  # bytes, by type
_TEXTS = {1: 1, 2: 1, 4: 2, 16: 1, 17: 2, 18: 4}
_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
_CELL, _STRUCT, _CHAR, _DOUBLE, _LAST = 1, 2, 4, 6, 15
_COMPLEX = 0x0800
_HEADER = 128
_TAG = 8
_DEEPEST = 16  # arrays in arrays
_MOST = 4 << 30  # bytes that may be unpacked, in all

_Element = tuple[int, memoryview]


class _Walk:
    """One pass over the elements of a file."""

    def __init__(self, order: str) -> None:
        self.order, self.unpacked = order, 0

    def file(self, data: memoryview) -> None:
        """Look at all that follows the header."""
        for kind, content in self.elements(data):
            if kind == _COMPRESSED:
                for inner, array in self.elements(self.unpack(content)):
                    self.matrix(inner, array, 0)
            else:
                self.matrix(kind, content, 0)

    def elements(self, data: memoryview) -> list[_Element]:
        """Return types and contents of the elements that follow each other in `data`."""
        found = []
        while data:
            if len(data) < _TAG:
                raise RecordingError(f"{len(data)} bytes are left over, fewer than an element has")
            kind, size = struct.unpack_from(f"{self.order}II", data)
            if kind >> 16:  # a small element: type, size and content in 8 bytes
                kind, size = kind & 0xFFFF, kind >> 16
                content, after = data[4 : 4 + size], _TAG
                _require(size <= 4, f"a small element has {size} bytes")
            else:
                content = data[_TAG : _TAG + size]
                after = _TAG + size + (0 if kind == _COMPRESSED else -size % 8)
            _require(len(content) == size, f"an element of {size} bytes is cut off")
            found.append((kind, content))
            data = data[after:]
        return found

    def matrix(self, kind: int, data: memoryview, depth: int) -> None:
        """Refuse an array whose elements are not those that its class and shape call for."""
        _require(kind == _MATRIX, f"an element of type {kind} stands where an array should")
        _require(depth <= _DEEPEST, f"arrays are nested deeper than {_DEEPEST}")
        if not data:
            return  # an empty array, as in a field without a value
        parts = self.elements(data)
        _require(len(parts) >= 3, "an array is cut off")
        (flags_kind, flags), (shape_kind, packed), (name_kind, _), *values = parts
        _require(
            flags_kind == _UINT32 and len(flags) == 8 and shape_kind == _INT32
            and name_kind == _INT8 and len(packed) >= 8 and len(packed) % 4 == 0,
            "an array lacks its flags, shape or name",
        )  # fmt: skip
        flag = struct.unpack_from(f"{self.order}I", flags)[0]
        shape = struct.unpack(f"{self.order}{len(packed) // 4}i", packed)
        _require(min(shape) >= 0, f"an array has the shape {shape}")
        self.values(flag, math.prod(shape), values, depth)

    def values(self, flag: int, n: int, values: list[_Element], depth: int) -> None:
        """Look at what an array of `n` elements holds."""
        kind = flag & 0xFF
        if kind == _STRUCT:
            _require(
                len(values) >= 2 and values[0][0] == _INT32 and len(values[0][1]) == 4
                and values[1][0] == _INT8,
                "a struct array lacks the names of its fields",
            )  # fmt: skip
            (length,) = struct.unpack(f"{self.order}i", values[0][1])
            _require(length > 0 and len(values[1][1]) % length == 0, "names of fields are cut off")
            n_fields, values = len(values[1][1]) // length, values[2:]
            _require(n_fields > 0 or n <= 1, f"a struct array of {n} has no fields")
            n *= n_fields
        if kind in (_CELL, _STRUCT):
            _require(len(values) == n, f"an array of {n} cells or fields holds {len(values)}")
            for inner, content in values:
                self.matrix(inner, content, depth + 1)
            return
        _require(
            kind == _CHAR or _DOUBLE <= kind <= _LAST,
            f"an array has the class {kind}; numbers, text, cells and structs are read: save the "
            "trials without others",
        )
        sizes = _TEXTS if kind == _CHAR else _NUMBERS
        _require(
            len(values) == (2 if flag & _COMPLEX else 1)
            and all(k in sizes for k, _ in values)
            and (kind == _CHAR or all(len(v) == n * sizes[k] for k, v in values))
            and (kind != _CHAR or (n <= len(values[0][1]) and not flag & _COMPLEX)),
            f"an array of {n} elements does not hold as many",
        )  # fmt: skip

    def unpack(self, data: memoryview) -> memoryview:
        """Return what was compressed."""
        unpacker = zlib.decompressobj()
        try:
            content = unpacker.decompress(data, _MOST - self.unpacked)
        except zlib.error as error:
            raise RecordingError(f"a compressed array cannot be unpacked: {error}") from error
        _require(unpacker.eof, f"an array is cut off, or all unpack to over {_MOST >> 30} GiB")
        self.unpacked += len(content)
        return memoryview(content)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise RecordingError(otherwise)


def check_mat(content: bytes) -> None:
    """Refuse a MATLAB 5 file that is not whole and sound.

    Raises
    ------
    RecordingError
        With what is wrong, without the file's name.
    """
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    _require(order is not None, "its header names no order of bytes; save it with -v7")
    _Walk(str(order)).file(memoryview(content)[_HEADER:])
