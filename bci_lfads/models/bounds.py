"""How large the kernel's numbers can get, whatever the counts: proven from the weights' L1 norms.

`bci_lfads.models.image.check_ranges` refuses what could overflow; here are the numbers behind
it, tighter because the bound of a state follows from the model and not from its format alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bci_lfads.models.fixed import FixedPoint
from bci_lfads.models.spec import LfadsSpec

MAX_COUNT = 255
_INT16 = 1 << 15
_INT24 = 1 << 23


class StateBounds(NamedTuple):
    """Largest magnitude of each kind of state, as integers."""

    encoder: int
    ic: int
    generator: int
    factors: int


def state_bounds(spec: LfadsSpec, fixed: FixedPoint) -> StateBounds:
    """Return what no state can exceed.

    A GRU's new state is a blend of the old one and a candidate within ±1, so it never exceeds
    the larger of 1 and its first state.
    """
    tensors, s_h = fixed.tensors, fixed.encoder_point
    first = max(_peak(tensors[f"encoder.{s}.initial_state"]) for s in ("forward", "backward"))
    encoder = _after_steps(first, s_h)
    ic = min(_INT16, _output(fixed, "ic", encoder, s_h, fixed.ic_point))
    initial = ic
    if spec.ic_map == "linear":
        exact = _output(fixed, "generator.initial", ic, fixed.ic_point, fixed.generator_point)
        initial = min(_INT16, exact)
    generator = _after_steps(initial, fixed.generator_point)
    factors = min(
        _INT24, _output(fixed, "factors", generator, fixed.generator_point, fixed.factor_point)
    )
    return StateBounds(encoder, ic, generator, factors)


def accumulator_bounds(spec: LfadsSpec, fixed: FixedPoint) -> dict[str, int]:
    """Return the bits, sign included, that the worst row of each affine map needs.

    The bound is on the sum of magnitudes, so it holds for every order of summation.

    Returns
    -------
    dict
        ``encoder.forward.input``, ``encoder.forward.recurrent``... to ``rates``.
    """
    bound = state_bounds(spec, fixed)
    s_h, s_g = fixed.encoder_point, fixed.generator_point
    rows: dict[str, list[int]] = {}
    for side in ("forward", "backward"):
        name = f"encoder.{side}"
        rows[f"{name}.input"] = row_bounds(fixed, name, MAX_COUNT, 0, "input_")
        rows[f"{name}.recurrent"] = _recurrent(fixed, name, bound.encoder)
    rows["ic"] = row_bounds(fixed, "ic", bound.encoder, s_h)
    if spec.ic_map == "linear":
        rows["generator.initial"] = row_bounds(fixed, "generator.initial", bound.ic, fixed.ic_point)
    rows["generator.recurrent"] = _recurrent(fixed, "generator", bound.generator)
    rows["factors"] = row_bounds(fixed, "factors", bound.generator, s_g)
    rows["rates"] = row_bounds(fixed, "rates", bound.factors, fixed.factor_point)
    return {name: max(values).bit_length() + 1 for name, values in rows.items()}


def _recurrent(fixed: FixedPoint, name: str, state: int) -> list[int]:
    x_point, x_max = fixed.product_input(name)
    return row_bounds(fixed, name, min(state, x_max), x_point, "recurrent_")


def row_bounds(
    fixed: FixedPoint, name: str, x_max: int, x_point: int, infix: str = ""
) -> list[int]:
    """Return the largest magnitude of each row of W x + b for |x| <= `x_max`, exactly."""
    weight, bias = f"{name}.{infix}weight", f"{name}.{infix}bias"
    norms = np.abs(fixed.tensors[weight].astype(np.int64)).sum(axis=1)
    # Python integers: the proof itself must not overflow.
    rows = [int(norm) * x_max for norm in norms]
    if bias not in fixed.tensors:
        return rows
    shift = fixed.points[weight] + x_point - fixed.points[bias]
    biases = fixed.tensors[bias].tolist()
    return [row + (abs(b) << shift) for row, b in zip(rows, biases, strict=True)]


def _after_steps(first: int, point: int) -> int:
    return min(_INT16, max(first, 1 << point))


def _output(fixed: FixedPoint, name: str, x_max: int, x_point: int, out_point: int) -> int:
    shift = fixed.points[f"{name}.weight"] + x_point - out_point
    worst = max(row_bounds(fixed, name, x_max, x_point))
    return (worst >> shift) + 1 if shift > 0 else worst << -shift


def _peak(values: NDArray[np.integer[Any]]) -> int:
    return int(np.abs(values.astype(np.int64)).max())
