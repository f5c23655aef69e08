"""The table behind the smooth activations: tanh over 0..8 in 64 pieces of second order.

`fpga/tools/tanh_table.py` writes these numbers to the kernel's header; the integer reference
uses them directly, so the two cannot differ (a test compares the header with this module).
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

PIECES = 64
PIECE_BITS = 13
"""log2 of a piece's length: 2^13 steps of 2^-16, an eighth."""
POINT = 20
"""Binary point of the table's result."""
K1 = 16
"""Right shift after the product with the first-order coefficient."""
K2 = 11
"""Right shift after the product with the second-order coefficient."""
LIMIT = (PIECES << PIECE_BITS) - 1
"""Largest argument, 2^19 - 1: 8 less one step."""


class TanhTable(NamedTuple):
    """Coefficients of each piece, integers, shape ``(64,)``; c0 has point `POINT`."""

    c0: NDArray[np.int64]
    c1: NDArray[np.int64]
    c2: NDArray[np.int64]


@lru_cache(maxsize=1)
def tanh_table() -> TanhTable:
    """Return the table.

    Each piece is the parabola through tanh at its two ends and its middle: neighbours meet, so
    the whole never falls by more than one step of 2^-20, where pieces of least maximum error
    would jump by several of 2^-16 at their ends.
    """
    one = 1 << POINT
    step = 1 << PIECE_BITS
    ends = np.arange(PIECES + 1) * step / 2**16
    value = np.tanh(ends) * one
    middle = np.tanh(ends[:-1] + step / 2**17) * one
    # p(d) = c0 + slope d + curve d², through d = 0, step/2 and step.
    c0 = np.rint(value)
    rise = value[1:] - c0[:-1]
    half = middle - c0[:-1]
    curve = (2 * rise - 4 * half) / step**2
    slope = (4 * half - rise) / step
    return TanhTable(
        c0[:-1].astype(np.int64),
        np.rint(slope * 2.0**K1).astype(np.int64),
        np.rint(curve * 2.0 ** (K1 + K2)).astype(np.int64),
    )


def tanh_magnitude(argument: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return tanh, point `POINT`, of arguments 0 to `LIMIT`, point 16."""
    c0, c1, c2 = tanh_table()
    piece = argument >> PIECE_BITS
    d = argument & ((1 << PIECE_BITS) - 1)
    inner = c1[piece] + ((d * c2[piece]) >> K2)
    y: NDArray[np.int64] = np.clip(c0[piece] + ((d * inner) >> K1), 0, 1 << POINT)
    return y


def header() -> str:
    """Return the kernel's C++ header with this table."""
    lines = [
        "// Written by fpga/tools/tanh_table.py from bci_lfads/models/tanh_table.py; do not edit.",
        "#ifndef LFADS_TANH_TABLE_H",
        "#define LFADS_TANH_TABLE_H",
        "",
        "#include <cstdint>",
        "",
        "namespace lfads {",
        "",
        f"constexpr int TANH_PIECE_BITS = {PIECE_BITS};",
        f"constexpr int TANH_POINT = {POINT};",
        f"constexpr int TANH_K1 = {K1};",
        f"constexpr int TANH_K2 = {K2};",
        f"constexpr int32_t TANH_LIMIT = {LIMIT};",
    ]
    for name, values in tanh_table()._asdict().items():
        lines += ["// clang-format off", f"constexpr int32_t TANH_{name.upper()}[{PIECES}] = {{"]
        for start in range(0, PIECES, 8):
            lines.append("    " + " ".join(f"{v}," for v in values[start : start + 8]))
        lines += ["};", "// clang-format on"]
    return "\n".join([*lines, "", "} // namespace lfads", "", "#endif", ""])
