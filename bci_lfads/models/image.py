"""The kernel image: one block of words that carries a model to the kernel at run time.

The layout is in docs/arithmetic.md, "The kernel image". Everything that could make the kernel's
integers wrong (an overflow, a shift out of range, a size above the compiled maxima) is refused
here, so that a kernel that accepted an image computes exactly what the page says.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci_lfads.errors import ModelError
from bci_lfads.models.fixed import FixedPoint
from bci_lfads.models.integer import OUTPUT_LIMIT, state_limit
from bci_lfads.models.spec import LfadsSpec

MAGIC = 0x4441464C
"""``LFAD`` in little-endian order."""
IMAGE_VERSION = 2
HEADER_WORDS = 64
CHECKSUM_WORD = 3
SECTION_WORDS = 16
"""Sections and matrix rows start at multiples of 64 bytes, so that a card reads them in bursts."""

ACCUMULATOR_BITS = 48
"""Width of a DSP48 accumulator; every affine map must fit it."""
_SUM_BITS = 63
_SIZES = (
    "n_units", "n_bins", "n_bins_out", "encoder_size", "ic_size", "generator_size", "n_factors",
)  # fmt: skip


def tensor_order(spec: LfadsSpec) -> list[str]:
    """Return the names of all tensors of a model in the image's order."""
    return list(spec.weight_shapes())


def pack_image(
    spec: LfadsSpec, fixed: FixedPoint, maxima: Mapping[str, int] | None = None
) -> NDArray[np.uint32]:
    """Return the kernel image of a model.

    Parameters
    ----------
    spec, fixed
        The model.
    maxima
        Largest sizes that the kernel was compiled for, by the names of `LfadsSpec`
        (`bci_lfads.engines._native.MAXIMA` for this CPU); None leaves that to the kernel.

    Raises
    ------
    ModelError
        If a tensor has the wrong shape or range, a size exceeds the maxima, a shift is out of
        range, or a sum could overflow.
    """
    for name, largest in (maxima or {}).items():
        if getattr(spec, name) > largest:
            raise ModelError(
                f"the model's {name} is {getattr(spec, name)}, the kernel was compiled for at most "
                f"{largest}; train a smaller model or build the kernel with larger maxima"
            )
    shapes = spec.weight_shapes()
    _check_tensors(shapes, fixed)
    check_ranges(spec, fixed)

    header = np.zeros(HEADER_WORDS, np.int32)
    header[0:2] = MAGIC, IMAGE_VERSION
    header[4:11] = [getattr(spec, name) for name in _SIZES]
    header[11] = (
        (spec.gru == "reset_before")
        | (spec.activation == "smooth") << 1
        | (spec.ic_map == "linear") << 2
    )
    header[12:17] = (
        fixed.encoder_point, fixed.ic_point, fixed.generator_point,
        fixed.factor_point, fixed.log_rate_point,
    )  # fmt: skip
    header[17:19] = state_limit(spec, fixed.encoder_point)
    header[19:21] = state_limit(spec, fixed.generator_point)
    header[21:23] = fixed.encoder_drop, fixed.generator_drop
    header[24 : 24 + len(_POINT_WORDS)] = [fixed.points.get(name, 0) for name in _POINT_WORDS]

    sections = [_section(name, fixed.tensors[name]) for name in shapes]
    image = np.concatenate([header.view(np.uint32), *sections])
    image[2] = image.size
    image[CHECKSUM_WORD] = checksum(image)
    return image


def checksum(image: NDArray[np.uint32]) -> int:
    """Return the CRC-32 (that of zlib) of an image's bytes, its checksum word taken as zero."""
    words = image.astype("<u4")
    words[CHECKSUM_WORD] = 0
    return zlib.crc32(words.tobytes())


_POINT_WORDS = (
    *(
        f"encoder.{side}.{part}"
        for side in ("forward", "backward")
        for part in ("input_weight", "input_bias", "recurrent_weight", "recurrent_bias")
    ),
    "ic.weight", "ic.bias", "generator.initial.weight", "generator.initial.bias",
    "generator.input_bias", "generator.recurrent_weight", "generator.recurrent_bias",
    "factors.weight", "rates.weight", "rates.bias",
)  # fmt: skip


_RECURRENT = ".recurrent_weight"


def _section(name: str, tensor: NDArray[np.integer[Any]]) -> NDArray[np.uint32]:
    """Return one tensor as words: input-major where inputs are sparse or few, rows padded."""
    if name.endswith("bias"):
        values = tensor.astype("<i4").reshape(1, -1)
    elif name.endswith("input_weight") or name == "rates.weight":
        values = tensor.T.astype("<i2")
    else:
        values = np.atleast_2d(tensor).astype("<i2")
    per_row = SECTION_WORDS * 4 // values.itemsize
    padded = np.pad(values, ((0, 0), (0, -values.shape[1] % per_row)))
    return np.ascontiguousarray(padded).reshape(-1).view("<u4").astype(np.uint32)


def _check_tensors(shapes: Mapping[str, tuple[int, ...]], fixed: FixedPoint) -> None:
    if set(fixed.tensors) != set(shapes):
        raise ModelError(
            f"the fixed-point model has tensors {sorted(set(fixed.tensors) - set(shapes))} too "
            f"many and lacks {sorted(set(shapes) - set(fixed.tensors))}; export it again"
        )
    for name, shape in shapes.items():
        tensor = fixed.tensors[name]
        limits = np.iinfo(np.int32 if name.endswith("bias") else np.int16)
        if tensor.shape != shape or tensor.min() < limits.min or tensor.max() > limits.max:
            raise ModelError(
                f"fixed-point tensor {name} should be {limits.bits}-bit of shape {shape}; got "
                f"shape {tensor.shape}, {tensor.min()} to {tensor.max()}; export the model again"
            )
        of_bytes = name.endswith(_RECURRENT) and fixed.drop_of(name.removesuffix(_RECURRENT)) > 0
        if of_bytes and np.abs(tensor.astype(np.int64)).max() > 127:
            raise ModelError(
                f"{name} has weights beyond ±127, which products of 8 bits do not take; export the "
                "model again"
            )
        if name not in fixed.points:
            raise ModelError(f"fixed-point tensor {name} has no point; export the model again")
        if name.endswith("initial_state") and fixed.points[name] != fixed.encoder_point:
            raise ModelError(
                f"{name} has point {fixed.points[name]}, the encoder's states have "
                f"{fixed.encoder_point}: they must be equal; export the model again"
            )


def check_ranges(spec: LfadsSpec, fixed: FixedPoint) -> None:
    """Prove that no shift is out of range and no sum can overflow, whatever the counts.

    Affine maps must fit `ACCUMULATOR_BITS`, the aligned sums before an activation 63 bits.

    Raises
    ------
    ModelError
        Naming the tensor and row for which the proof fails.
    """
    for what, value, lo, hi in _shifts(spec, fixed):
        if not lo <= value <= hi:
            raise ModelError(
                f"{what} is {value}, the kernel takes {lo} to {hi}; export the model again with "
                "other points"
            )
    state = 1 << 15
    linear = spec.ic_map == "linear"
    for side in ("forward", "backward"):
        a = _bound(fixed, f"encoder.{side}", 255, 0, "input_")
        _check_gru(spec, fixed, f"encoder.{side}", a, f"encoder.{side}.input_weight")
    _bound(fixed, "ic", state, fixed.encoder_point)
    if linear:
        _bound(fixed, "generator.initial", state, fixed.ic_point)
    a = _magnitude(fixed.tensors["generator.input_bias"])
    _check_gru(spec, fixed, "generator", a, "generator.input_bias")
    _bound(fixed, "factors", state, fixed.generator_point)
    _bound(fixed, "rates", OUTPUT_LIMIT, fixed.factor_point)


def _shifts(spec: LfadsSpec, fixed: FixedPoint) -> Iterator[tuple[str, int, int, int]]:
    """Yield every shift that the kernel makes: what it is, its size, smallest and largest."""
    p = fixed.points
    yield "the encoder's state point", fixed.encoder_point, 0, 15
    yield "the generator's state point", fixed.generator_point, 0, 15
    yield "the bits that the encoder's products drop", fixed.encoder_drop, 0, 15
    yield "the bits that the generator's products drop", fixed.generator_drop, 0, 15
    direct = spec.ic_map == "direct"
    if direct:
        difference = fixed.ic_point - fixed.generator_point
        yield "the difference of direct initial condition and generator point", difference, 0, 0
    maps = [
        ("ic", "", fixed.encoder_point, fixed.ic_point),
        ("factors", "", fixed.generator_point, fixed.factor_point),
        ("rates", "", fixed.factor_point, fixed.log_rate_point),
    ]
    if not direct:
        maps.append(("generator.initial", "", fixed.ic_point, fixed.generator_point))
    for side in ("forward", "backward"):
        maps.append((f"encoder.{side}", "input_", 0, p[f"encoder.{side}.input_weight"]))
        product_point, _ = fixed.product_input(f"encoder.{side}")
        maps.append((f"encoder.{side}", "recurrent_", product_point, 0))
    maps.append(("generator", "recurrent_", fixed.product_input("generator")[0], 0))
    for name, infix, x_point, out_point in maps:
        point = p[f"{name}.{infix}weight"] + x_point
        bias = f"{name}.{infix}bias"
        if bias in fixed.tensors:
            yield f"the bias shift of {bias}", point - p[bias], 0, 31
        yield f"the point of the product of {name}.{infix}weight", point, 0, 46
        yield f"the rounding shift after {name}.{infix}weight", point - out_point, -31, 46
    for name in ("encoder.forward", "encoder.backward", "generator"):
        inputs = "input_bias" if name == "generator" else "input_weight"
        yield f"the point of {name}.{inputs}", p[f"{name}.{inputs}"], 0, 46


def _magnitude(values: NDArray[np.integer[Any]]) -> list[int]:
    # Python integers: the proof itself must not overflow.
    return [abs(int(v)) for v in values]


def _bound(fixed: FixedPoint, name: str, x_max: int, x_point: int, infix: str = "") -> list[int]:
    """Return the largest magnitude of each row of W x + b for |x| <= x_max."""
    weight, bias = f"{name}.{infix}weight", f"{name}.{infix}bias"
    norm = np.abs(fixed.tensors[weight].astype(np.int64)).sum(axis=1)
    rows = [int(n) * x_max for n in norm]
    if bias in fixed.tensors:
        shift = fixed.points[weight] + x_point - fixed.points[bias]
        rows = [
            row + (b << shift) for row, b in zip(rows, _magnitude(fixed.tensors[bias]), strict=True)
        ]
    _check_bits(weight, rows, ACCUMULATOR_BITS)
    return rows


def _check_gru(spec: LfadsSpec, fixed: FixedPoint, name: str, a: list[int], a_name: str) -> None:
    """Check the sums before the activations, given the bounds of the input part."""
    a_point = fixed.points[a_name]
    x_point, x_max = fixed.product_input(name)
    c = _bound(fixed, name, x_max, x_point, "recurrent_")
    c_point = fixed.points[f"{name}.recurrent_weight"] + x_point
    size = len(c) // 3
    if spec.gru == "reset_after":
        gated = [(row << 16, 16 + c_point) for row in c[2 * size :]]
    else:
        gated = [(row, c_point) for row in c[2 * size :]]
    sums = []
    for row, (value, value_point) in zip(
        a, [*((row, c_point) for row in c[: 2 * size]), *gated], strict=True
    ):
        point = max(a_point, value_point)
        total = (row << (point - a_point)) + (value << (point - value_point))
        # An activation shifts sums of few fractional bits left, to point 16.
        sums.append(total << max(0, 16 - point))
    _check_bits(f"{name}, before an activation", sums, _SUM_BITS)


def _check_bits(what: str, rows: list[int], bits: int) -> None:
    worst = max(rows)
    if worst >= 1 << (bits - 1):
        raise ModelError(
            f"{what}: row {rows.index(worst)} may reach {worst.bit_length() + 1} bits, the kernel "
            f"has {bits}; export the model again with a smaller point or smaller weights"
        )
