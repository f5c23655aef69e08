"""The integer reference: its rounding, and that it computes LFADS and not something else."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models.random_models import random_counts, random_model
from numpy.typing import NDArray

from bci_lfads.errors import ModelError
from bci_lfads.models.fixed import FixedPoint
from bci_lfads.models.integer import infer_integer, round_shift, state_limit, to_float
from bci_lfads.models.spec import LfadsSpec


@given(st.integers(-(2**61), 2**61), st.integers(1, 46))
def test_rounding_is_to_nearest_with_ties_to_even(v: int, n: int) -> None:
    quotient, rest = divmod(v, 1 << n)
    half = 1 << (n - 1)
    expected = quotient + (rest > half or (rest == half and quotient % 2 == 1))
    assert round_shift(np.array(v), n) == expected


def test_rounding_by_nothing_or_to_the_left_is_exact() -> None:
    assert round_shift(np.array([-3, 5]), 0).tolist() == [-3, 5]
    assert round_shift(np.array([-3, 5]), -4).tolist() == [-48, 80]


def _float_lfads(
    spec: LfadsSpec, fixed: FixedPoint, counts: NDArray[np.uint8]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """LFADS in float64 with the weights that the integers stand for."""
    w = {k: v * 2.0 ** -fixed.points[k] for k, v in fixed.tensors.items()}

    def sigma(x: NDArray[Any]) -> NDArray[Any]:
        if spec.activation == "smooth":
            return 1 / (1 + np.exp(-x))
        return np.clip(0.5 * x + 0.5, 0, 1)

    def tau(x: NDArray[Any]) -> NDArray[Any]:
        return np.tanh(x) if spec.activation == "smooth" else np.clip(x, -1, 1)

    def step(name: str, a: NDArray[Any], h: NDArray[Any]) -> NDArray[Any]:
        U, b = w[f"{name}.recurrent_weight"], w[f"{name}.recurrent_bias"]
        size = len(h)
        c = U @ h + b
        z = sigma((a + c)[:size])
        r = sigma((a + c)[size : 2 * size])
        if spec.gru == "reset_after":
            n = tau(a[2 * size :] + r * c[2 * size :])
        else:
            n = tau(a[2 * size :] + U[2 * size :] @ (r * h) + b[2 * size :])
        h = z * h + (1 - z) * n
        return h if spec.cell_clip is None else np.clip(h, -spec.cell_clip, spec.cell_clip)

    states = []
    for side, order in (("forward", counts), ("backward", counts[::-1])):
        name = f"encoder.{side}"
        h = w[f"{name}.initial_state"]
        for x in order:
            h = step(name, w[f"{name}.input_weight"] @ x + w[f"{name}.input_bias"], h)
        states.append(h)
    g = w["ic.weight"] @ np.concatenate(states) + w["ic.bias"]
    if spec.ic_map == "linear":
        g = w["generator.initial.weight"] @ g + w["generator.initial.bias"]
    factors = []
    for _ in range(spec.n_bins_out):
        g = step("generator", w["generator.input_bias"], g)
        factors.append(w["factors.weight"] @ g)
    f = np.array(factors)
    return f, f @ w["rates.weight"].T + w["rates.bias"]


@pytest.mark.parametrize("gru", ["reset_after", "reset_before"])
@pytest.mark.parametrize("activation", ["hard", "smooth"])
@pytest.mark.parametrize("ic_map", ["direct", "linear"])
@pytest.mark.parametrize("clip", [None, 0.4])
def test_agrees_with_float_lfads_within_the_formats(
    gru: str, activation: str, ic_map: str, clip: float | None
) -> None:
    spec, fixed = random_model(
        3, gru=gru, activation=activation, ic_map=ic_map, cell_clip=clip, fine=True
    )
    counts = random_counts(3, spec)[0] & 7
    latents = to_float(fixed, infer_integer(spec, fixed, counts))
    factors, log_rates = _float_lfads(spec, fixed, counts)
    assert latents.log_rates is not None
    assert np.abs(latents.factors - factors).max() < 2e-3
    assert np.abs(latents.log_rates - log_rates).max() < 4e-3


def test_batch_is_each_trial() -> None:
    spec, fixed = random_model(4)
    counts = random_counts(4, spec, 3)
    batch = infer_integer(spec, fixed, counts)
    for i in range(3):
        single = infer_integer(spec, fixed, counts[i])
        assert np.array_equal(batch.factors[i], single.factors)
        assert np.array_equal(batch.log_rates[i], single.log_rates)


def test_empty_batch() -> None:
    spec, fixed = random_model(4)
    empty = infer_integer(spec, fixed, random_counts(4, spec, 0))
    assert empty.log_rates.shape == (0, spec.n_bins_out, spec.n_units)


def test_outputs_saturate_at_24_bits() -> None:
    spec, fixed = random_model(2, scale=6)
    biases = dict(fixed.tensors)
    biases["rates.bias"] = np.full(spec.n_units, 2**31 - 1, np.int32)
    loud = replace(fixed, tensors=biases, log_rate_point=19)
    assert infer_integer(spec, loud, random_counts(2, spec)[0]).log_rates.max() == 2**23 - 1


def test_clip_wider_than_the_format_is_the_format() -> None:
    spec, _ = random_model(0, cell_clip=5.0)
    assert state_limit(spec, 15) == (-32767, 32767)
    assert state_limit(spec, 10) == (-5120, 5120)


def test_wrong_counts_are_refused() -> None:
    spec, fixed = random_model(0)
    with pytest.raises(ModelError, match="uint8"):
        infer_integer(spec, fixed, np.zeros((spec.n_bins, spec.n_units), np.int64))  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="got uint8 of shape"):
        infer_integer(spec, fixed, np.zeros((spec.n_bins, spec.n_units + 1), np.uint8))
