"""Post-training quantisation: float weights to the integers of docs/arithmetic.md.

Scales are powers of two, one a tensor, and everything is rounded to nearest, ties to even.
Ranges of states come from what the weights prove, or, where counts for calibration are given
and say that less is enough, from those with a margin.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bci_lfads.errors import ModelError
from bci_lfads.models.bounds import MAX_COUNT
from bci_lfads.models.drops import WIDEST, choose_drops
from bci_lfads.models.fixed import FixedPoint, required
from bci_lfads.models.image import check_ranges
from bci_lfads.models.reference import Floats, evaluate
from bci_lfads.models.spec import LfadsSpec, Quantisers

MARGIN = 2.0
"""Room above what calibration saw: other days bring other counts."""
MAX_OUTPUT_POINT = 16
MAX_STATE_POINT = 15
MAX_INPUT_POINT = 22
"""Of weights that meet counts: those are integers, so the product has no further point."""
MAX_WEIGHT_POINT = 18
SPARE_BITS = 4
"""Most bits of precision given up so that 32-bit accumulators are proven enough."""
LARGEST_CANDIDATE = 1 - 2.0**-15
"""Of a GRU's new state; the smallest is -1, which fits the same format."""
_GATE_BITS = 61
_SIDES = ("forward", "backward")


class _Ranges(NamedTuple):
    """Magnitudes that must be representable."""

    encoder: float
    ic: float
    generator: float
    factors: float
    log_rates: float


def quantise(
    spec: LfadsSpec,
    weights: Mapping[str, NDArray[np.float32]],
    calibration: NDArray[np.uint8] | None = None,
    weight_bits: int = 16,
    product_bits: int = 16,
    drops: tuple[int, int] | None = None,
) -> FixedPoint:
    """Return the fixed-point form of a model.

    Parameters
    ----------
    spec, weights
        The float model. Where `spec.quantisers` is set its points are used as they are, so
        that the kernel computes exactly the model that was trained.
    calibration
        Counts like those to come, uint8, shape ``(n_trials, n_bins, n_units)``; without them
        ranges are those that the weights prove.
    weight_bits
        Width of the weights, 4 to 16.
    product_bits
        16, or 8 for recurrent products of 8 bits: of weights that have no more, with states that
        are rounded to 8 bits where they enter a product (and kept at 16).
    drops
        For products of 8 bits: how many bits those of the encoder and of the generator drop of a
        state, 1 to 8. Default: what costs least in calibration (`drops.choose_drops`); without
        calibration 8, so that no state saturates.

    Raises
    ------
    ModelError
        If a weight is missing, of wrong shape or not finite, or if no fixed-point form fits the
        kernel's accumulators, naming the tensor and the row.
    """
    if not 4 <= weight_bits <= 16:
        raise ModelError(f"weights of {weight_bits} bits asked for; the kernel takes 4 to 16")
    if product_bits not in (8, 16) or (product_bits == 8 and weight_bits > 8):
        raise ModelError(
            f"products of {product_bits} bits with weights of {weight_bits} asked for; the kernel "
            "has products of 16 bits, and of 8 with weights of at most 8"
        )
    if drops is not None and (product_bits == 16 or not all(1 <= d <= WIDEST for d in drops)):
        raise ModelError(f"drops of {drops} asked for; products of 8 bits drop 1 to {WIDEST}")
    check_weights(spec, weights)
    if spec.controller is not None:
        required(None)
    if spec.quantisers is not None:
        if product_bits != 16:
            raise ModelError("the model was trained with products of 16 bits; keep those")
        fixed = _as_trained(spec, spec.quantisers, weights, weight_bits)
    else:
        ranges = _ranges(spec, weights, calibration)

        def make(encoder_drop: int, generator_drop: int) -> FixedPoint:
            return _post_training(spec, weights, ranges, weight_bits, encoder_drop, generator_drop)

        if product_bits == 16:
            fixed = make(0, 0)
        elif drops is not None or calibration is None:
            fixed = make(*(drops or (WIDEST, WIDEST)))
        else:
            fixed = choose_drops(spec, weights, make, calibration)
    check_ranges(spec, fixed)
    return fixed


def check_weights(spec: LfadsSpec, weights: Mapping[str, NDArray[np.float32]]) -> None:
    """Refuse weights that are not exactly those of the specification.

    Raises
    ------
    ModelError
        Naming what is missing, unknown, of the wrong shape, or not finite.
    """
    shapes = spec.float_shapes()
    missing, unknown = sorted(set(shapes) - set(weights)), sorted(set(weights) - set(shapes))
    if missing or unknown:
        raise ModelError(
            f"the model's weights lack {missing or 'nothing'} and have unknown "
            f"{unknown or 'nothing'}; the form is set by ic_map, variational, controller and "
            "the sizes in its spec"
        )
    for name, shape in shapes.items():
        value = np.asarray(weights[name])
        if value.shape != shape or not np.issubdtype(value.dtype, np.floating):
            raise ModelError(
                f"weight {name} should be floating-point of shape {shape}; "
                f"found {value.dtype} of shape {value.shape}"
            )
        if not np.isfinite(value).all():
            raise ModelError(
                f"weight {name} has {int((~np.isfinite(value)).sum())} values that are not "
                "finite; the training that made it diverged"
            )


def _as_trained(
    spec: LfadsSpec,
    quantisers: Quantisers,
    weights: Mapping[str, NDArray[np.float32]],
    weight_bits: int,
) -> FixedPoint:
    if (quantisers.sigmoid_point, quantisers.tanh_point, weight_bits) != (16, 15, 16):
        raise ModelError(
            f"the model was trained with sigmoid point {quantisers.sigmoid_point} and tanh point "
            f"{quantisers.tanh_point}, {weight_bits}-bit weights are asked for; the kernel "
            "reproduces only 16, 15 and 16 bits: train with those, or without quantisers"
        )
    state = quantisers.state_point
    points = {
        name: state if name.endswith("initial_state") else quantisers.weight_point
        for name in spec.weight_shapes()
    }
    # Weights and biases alike are 16 bit there: a bias must saturate where it did in training.
    tensors = {
        name: _integers(weights[name], point, 16).astype(_dtype(name))
        for name, point in points.items()
    }
    return FixedPoint(tensors, points, state, state, state, state, MAX_OUTPUT_POINT, weight_bits)


def _post_training(
    spec: LfadsSpec,
    weights: Mapping[str, NDArray[np.float32]],
    ranges: _Ranges,
    weight_bits: int,
    encoder_drop: int,
    generator_drop: int,
) -> FixedPoint:
    points: dict[str, int] = {}
    for name in spec.weight_shapes():
        if name.endswith("weight"):
            cap = MAX_INPUT_POINT if name.endswith("input_weight") else MAX_WEIGHT_POINT
            points[name] = min(cap, _fit(_peak(weights[name]), weight_bits))

    encoder = _state_point(ranges.encoder)
    directions = [f"encoder.{side}" for side in _SIDES]
    encoder = _settle_gru(
        spec, weights, points, directions, encoder, max(1.0, _first_encoder(weights)), encoder_drop
    )
    generator = _state_point(ranges.generator)
    generator = _settle_gru(
        spec, weights, points, ["generator"], generator, _proven_generator(spec, weights),
        generator_drop,
    )  # fmt: skip
    ic = generator if spec.ic_map == "direct" else _state_point(ranges.ic)
    factors, log_rates = _output_point(ranges.factors), _output_point(ranges.log_rates)

    taken = encoder - encoder_drop
    products = {f"encoder.{s}.input_bias": points[f"encoder.{s}.input_weight"] for s in _SIDES}
    products |= {
        f"encoder.{s}.recurrent_bias": points[f"encoder.{s}.recurrent_weight"] + taken
        for s in _SIDES
    }
    recurrent = points["generator.recurrent_weight"] + generator - generator_drop
    products |= {
        "ic.bias": points["ic.weight"] + encoder,
        "generator.input_bias": recurrent,
        "generator.recurrent_bias": recurrent,
        "rates.bias": points["rates.weight"] + factors,
    }
    if spec.ic_map == "linear":
        products["generator.initial.bias"] = points["generator.initial.weight"] + ic
    for name, product in products.items():
        points[name] = min(product, _fit(_peak(weights[name]), 32))
    points |= {f"encoder.{s}.initial_state": encoder for s in _SIDES}

    tensors = {
        name: _integers(weights[name], points[name], _bits(name, weight_bits)).astype(_dtype(name))
        for name in spec.weight_shapes()
    }
    return FixedPoint(
        tensors, points, encoder, ic, generator, factors, log_rates, weight_bits, encoder_drop,
        generator_drop,
    )  # fmt: skip


def _ranges(
    spec: LfadsSpec,
    weights: Mapping[str, NDArray[np.float32]],
    calibration: NDArray[np.uint8] | None,
) -> _Ranges:
    """Return what each state must be able to hold: proven, or seen with a margin if that is less.

    A GRU's state is a blend of its last one and a candidate within ±1: no larger than 1 or the
    first state.
    """
    seen = _Ranges(*[math.inf] * 5)
    if calibration is not None:
        trace = evaluate(spec, weights, calibration)
        first = max(1.0, _peak(trace.initial))
        values = (_peak(trace.ic), first, _peak(trace.factors), _peak(trace.log_rates))
        seen = _Ranges(math.inf, *(MARGIN * value for value in values))
    encoder = max(LARGEST_CANDIDATE, _first_encoder(weights))
    ic = min(seen.ic, _reach(spec, weights, "ic", encoder))
    first = ic
    if spec.ic_map == "linear":
        first = _reach(spec, weights, "generator.initial", ic)
    generator = max(LARGEST_CANDIDATE, min(seen.generator, first))
    factors = min(seen.factors, _reach(spec, weights, "factors", generator))
    # ±128 holds every rate there is; a model that has others in calibration gets more.
    log_rates = 0.0 if calibration is None else seen.log_rates
    return _Ranges(encoder, ic, generator, factors, log_rates)


def _first_encoder(weights: Mapping[str, NDArray[np.float32]]) -> float:
    return max(_peak(weights[f"encoder.{side}.initial_state"]) for side in _SIDES)


def _proven_generator(spec: LfadsSpec, weights: Mapping[str, NDArray[np.float32]]) -> float:
    first = _reach(spec, weights, "ic", max(1.0, _first_encoder(weights)))
    if spec.ic_map == "linear":
        first = _reach(spec, weights, "generator.initial", first)
    return max(1.0, first)


def _settle_gru(
    spec: LfadsSpec,
    weights: Mapping[str, NDArray[np.float32]],
    points: dict[str, int],
    names: list[str],
    state_point: int,
    proven: float,
    drop: int,
) -> int:
    """Lower the points of recurrent weights and state so that sums fit; return the state's.

    Where at most `SPARE_BITS` bits buy the proof that 32-bit accumulators are enough, they are
    given up, half by the weights and half by the state. The sum before an activation must fit
    in any case. No state exceeds `proven`; products take it with `drop` bits less, and then no
    more than 8.
    """

    def excess(name: str, state_point: int) -> int:
        U, b = weights[f"{name}.recurrent_weight"], weights[f"{name}.recurrent_bias"]
        h_max = min(proven * 2.0**state_point, 2.0**15) * 2.0**-drop
        if drop:
            h_max = min(h_max, 2.0**7)
        scale = 2.0 ** points[f"{name}.recurrent_weight"]
        norms = np.abs(np.asarray(U, np.float64)).sum(axis=1)
        # Rounding adds at most half a step to each weight.
        biases = np.abs(b) * scale * 2.0 ** (state_point - drop)
        rows = (norms * scale + U.shape[1] / 2) * h_max + biases + 1
        return max(0, math.ceil(math.log2(float(rows.max()))) - 31)

    worst = max(excess(name, state_point) for name in names)
    if worst <= SPARE_BITS:
        # A state that may saturate is 16 bits wide at any point; lowering it gains nothing.
        if proven * 2.0**state_point <= 2.0**15:
            state_point -= worst // 2
        for name in names:
            points[f"{name}.recurrent_weight"] -= excess(name, state_point)
    for name in names:
        reach = _reach(spec, weights, f"{name}.recurrent", 2.0 ** (15 - state_point))
        if name == "generator":
            reach += _peak(weights["generator.input_bias"])
        else:
            reach += _reach(spec, weights, f"{name}.input", MAX_COUNT)
        # r · c has 16 bits more than c.
        room = _GATE_BITS - 16 - state_point + drop - math.ceil(math.log2(max(reach, 1.0)))
        points[f"{name}.recurrent_weight"] = min(points[f"{name}.recurrent_weight"], room)
    return state_point


def _reach(
    spec: LfadsSpec, weights: Mapping[str, NDArray[np.float32]], name: str, x_max: float
) -> float:
    """Return the largest magnitude of W x + b for |x| <= `x_max`."""
    joint = "_" if f"{name}_weight" in spec.weight_shapes() else "."
    rows = np.abs(np.asarray(weights[f"{name}{joint}weight"], np.float64)).sum(axis=1) * x_max
    bias = weights.get(f"{name}{joint}bias")
    return float((rows if bias is None else rows + np.abs(bias)).max())


def _fit(peak: float, bits: int) -> int:
    """Return the largest point at which `peak` rounds to a signed integer of `bits` bits."""
    if peak == 0:
        return bits - 1
    limit = 2 ** (bits - 1) - 1
    point = math.floor(math.log2((limit + 0.5) / peak))
    return point if round(peak * 2.0**point) <= limit else point - 1


def _state_point(peak: float) -> int:
    """Return the point of a state: 16 bits; one that could exceed 2^15 saturates."""
    return max(0, min(MAX_STATE_POINT, _fit(peak, 16)))


def _output_point(peak: float) -> int:
    """Return the point of factors or log-rates: 24 bits with sign."""
    return min(MAX_OUTPUT_POINT, _fit(peak, 24))


def _bits(name: str, weight_bits: int) -> int:
    if name.endswith("bias"):
        return 32
    return 16 if name.endswith("initial_state") else weight_bits


def _dtype(name: str) -> type[np.integer]:
    return np.int32 if name.endswith("bias") else np.int16


def _integers(values: NDArray[np.float32], point: int, bits: int) -> Floats:
    limit = 2.0 ** (bits - 1)
    integers: Floats = np.clip(
        np.rint(np.asarray(values, np.float64) * 2.0**point), -limit, limit - 1
    )
    return integers


def _peak(values: NDArray[np.floating]) -> float:
    return float(np.abs(np.asarray(values, np.float64)).max())
