"""Random fixed-point models, for tests of everything that computes with them.

From any test: ``from models.random_models import random_model``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci_lfads.models.fixed import FixedPoint
from bci_lfads.models.spec import LfadsSpec


def random_model(
    seed: int,
    *,
    scale: float = 1.0,
    full_range: bool = False,
    fine: bool = False,
    bytes_: bool = False,
    **overrides: Any,
) -> tuple[LfadsSpec, FixedPoint]:
    """Return a small random model that `pack_image` accepts.

    Parameters
    ----------
    seed
        Of everything that is not given.
    scale
        Factor on all weights; above about 4 states saturate.
    full_range
        Fill weights and initial states with the int16 limits and values between.
    fine
        Choose points with which the integers stay close to float arithmetic.
    bytes_
        Recurrent products of 8 bits.
    overrides
        Fields of `LfadsSpec`.
    """
    rng = np.random.default_rng(seed)
    fields: dict[str, Any] = {
        "n_units": int(rng.integers(1, 41)),
        "n_bins": int(rng.integers(1, 13)),
        "n_ahead": int(rng.integers(0, 4)),
        "encoder_size": int(rng.integers(1, 41)),
        "generator_size": int(rng.integers(1, 41)),
        "n_factors": int(rng.integers(1, 9)),
        "gru": str(rng.choice(["reset_after", "reset_before"])),
        "activation": str(rng.choice(["hard", "smooth"])),
        "ic_map": str(rng.choice(["direct", "linear"])),
        "cell_clip": float(rng.choice([0.5, 2.0, 5.0])) if rng.random() < 0.5 else None,
    } | overrides
    if "ic_size" not in fields:
        direct = fields["ic_map"] == "direct"
        fields["ic_size"] = fields["generator_size"] if direct else int(rng.integers(1, 41))
    spec = LfadsSpec(**fields)
    fixed = _random_fixed(rng, spec, scale, full_range, fine)
    return spec, _to_bytes(rng, fixed) if bytes_ else fixed


FORMS = [(gru, act) for gru in ("reset_after", "reset_before") for act in ("hard", "smooth")]
PUBLISHED = {
    "n_units": 70, "n_bins": 73, "n_ahead": 0, "encoder_size": 64, "generator_size": 64,
    "n_factors": 4, "ic_map": "direct",
}  # fmt: skip
"""Sizes of arXiv 2402.04274."""
LARGEST = {
    "n_units": 256, "n_bins": 20, "n_ahead": 108, "encoder_size": 64, "ic_size": 64,
    "generator_size": 64, "n_factors": 16, "ic_map": "linear",
}  # fmt: skip
"""The card's maxima, as fpga/include/lfads_config.h has them."""


def numbered_model(seed: int, index: int, **sizes: Any) -> tuple[LfadsSpec, FixedPoint]:
    """Return one of a series: forms in turn; of sixteen, four full-range, four of 8 bits.

    Of a hundred, four have the published sizes, and one for each GRU form the card's largest.
    """
    gru, activation = FORMS[index % 4]
    if not sizes:
        sizes = PUBLISHED if index % 100 in (20, 21, 22, 23) else {}
        sizes = LARGEST if index % 100 in (32, 34) else sizes
    return random_model(
        seed + index, full_range=index % 16 >= 12, bytes_=8 <= index % 16 < 12, gru=gru,
        activation=activation, **sizes,
    )  # fmt: skip


def random_counts(
    seed: int, spec: LfadsSpec, n_trials: int = 1, rate: float = 0.3
) -> NDArray[np.uint8]:
    """Return Poisson counts, uint8, shape ``(n_trials, n_bins, n_units)``, with a few of 255."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rate, (n_trials, spec.n_bins, spec.n_units)).astype(np.uint8)
    counts[rng.random(counts.shape) < 0.002] = 255
    return counts


def _random_fixed(
    rng: np.random.Generator, spec: LfadsSpec, scale: float, full_range: bool, fine: bool
) -> FixedPoint:
    lowest_state, lowest_weight, points_end = (12, 13, 14) if fine else (8, 9, 16)
    if full_range:
        points_end = 13
    encoder_point = int(rng.integers(lowest_state, 16))
    generator_point = lowest_state if fine else int(rng.integers(lowest_state, 16))
    linear = spec.ic_map == "linear"
    ic_point = int(rng.integers(lowest_state, 13)) if linear else generator_point
    factor_point = int(rng.integers(lowest_state + 2, 20))
    log_rate_point = int(rng.integers(lowest_state + 2, 20))
    points = {}
    for name in spec.weight_shapes():
        if name.endswith("weight"):
            # Full-range input weights are kept below 8, lest their sums need more than 63 bits.
            lowest = 12 if full_range and "input" in name else lowest_weight
            points[name] = int(rng.integers(lowest, points_end))
    product_point = {
        "ic": encoder_point, "generator.initial": ic_point, "rates": factor_point,
    }  # fmt: skip
    tensors: dict[str, NDArray[np.integer[Any]]] = {}
    for name, shape in spec.weight_shapes().items():
        if name.endswith("bias"):
            stem = name.removesuffix("bias")
            if name == "generator.input_bias":
                points[name] = int(rng.integers(12, 28))
            else:
                state_point = generator_point if name.startswith("generator") else encoder_point
                x_point = 0 if "input" in name else product_point.get(stem[:-1], state_point)
                product = points[stem + "weight"] + x_point
                points[name] = product - int(rng.integers(0, 8))
            values = 0.5 * scale * rng.standard_normal(shape)
            bits = 32
        else:
            if name.endswith("initial_state"):
                points[name] = encoder_point
                values = 0.3 * rng.standard_normal(shape)
            else:
                values = scale * rng.standard_normal(shape) / np.sqrt(shape[-1])
            bits = 16
        limit = 1 << (bits - 1)
        ints = np.rint(values * 2.0 ** points[name])
        if full_range and bits == 16:
            ints = rng.integers(-limit, limit, shape)
            ints[rng.random(shape) < 0.3] = -limit
            ints[rng.random(shape) < 0.3] = limit - 1
        dtype = np.int32 if bits == 32 else np.int16
        tensors[name] = np.clip(ints, -limit, limit - 1).astype(dtype)
    return FixedPoint(
        tensors, points, encoder_point, ic_point, generator_point, factor_point, log_rate_point
    )


def _to_bytes(rng: np.random.Generator, fixed: FixedPoint) -> FixedPoint:
    """Return the model with recurrent weights of 8 bits and states rounded for the products."""
    tensors, points = dict(fixed.tensors), dict(fixed.points)
    drops = {}
    for name in ("encoder.forward", "encoder.backward", "generator"):
        state = "encoder" if name.startswith("encoder") else "generator"
        drop = drops.setdefault(state, int(rng.integers(5, 9)))
        weight, bias = f"{name}.recurrent_weight", f"{name}.recurrent_bias"
        tensors[weight] = np.clip(fixed.tensors[weight] >> 8, -127, 127)
        tensors[bias] = fixed.tensors[bias] >> (8 + drop)
        points[weight] -= 8
        points[bias] -= 8 + drop
        # What has fewer fractional bits than none is no point.
        shift = max(0, -min(points[weight] + fixed_point(fixed, state) - drop, points[bias]))
        points[weight] += shift
        points[bias] += shift
    return replace(
        fixed, tensors=tensors, points=points, weight_bits=8, encoder_drop=drops["encoder"],
        generator_drop=drops["generator"],
    )  # fmt: skip


def fixed_point(fixed: FixedPoint, state: str) -> int:
    """Return the point of the encoder's or the generator's state."""
    return fixed.encoder_point if state == "encoder" else fixed.generator_point
