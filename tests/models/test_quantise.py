"""Quantisation: how close, how exact, and what it refuses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models.float_models import FORMS, poisson, random_weights, small_spec

from bci_lfads.errors import ModelError
from bci_lfads.models.bounds import accumulator_bounds, row_bounds, state_bounds
from bci_lfads.models.fixed import FixedPoint
from bci_lfads.models.image import pack_image
from bci_lfads.models.integer import infer_integer, to_float
from bci_lfads.models.quantise import quantise
from bci_lfads.models.reference import infer_float
from bci_lfads.models.spec import LfadsSpec


@pytest.mark.parametrize("calibrated", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_integers_follow_the_float_model(form, calibrated):
    spec = small_spec(**form)
    weights, counts = random_weights(spec, scale=1.3), poisson(spec, 8)
    fixed = quantise(spec, weights, counts if calibrated else None)
    pack_image(spec, fixed)
    exact = infer_float(spec, weights, counts)
    found = to_float(fixed, infer_integer(spec, fixed, counts))
    # Without calibration the ranges are proven ones, wider than what comes.
    tolerance = 2**-16 if spec.quantisers else 2e-3 if calibrated else 6e-3
    assert np.abs(found.factors - exact.factors).max() <= tolerance
    assert np.abs(found.log_rates - exact.log_rates).max() <= tolerance


def test_a_trained_size_stays_close_and_fits_32_bits():
    spec = small_spec(
        n_units=60, n_bins=40, encoder_size=64, ic_size=64, generator_size=64, n_factors=8
    )
    weights, counts = random_weights(spec, scale=0.8), poisson(spec, 8, 0.15)
    fixed = quantise(spec, weights, counts)
    exact = infer_float(spec, weights, counts)
    found = to_float(fixed, infer_integer(spec, fixed, counts))
    assert np.abs(found.log_rates - exact.log_rates).max() < 5e-3
    bits = accumulator_bounds(spec, fixed)
    assert bits["encoder.forward.recurrent"] <= 32
    assert bits["encoder.backward.recurrent"] <= 32


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.floats(1e-3, 30), st.sampled_from(FORMS[:6]))
def test_any_scale_of_weights_is_accepted_by_the_kernel(seed, scale, form):
    spec = small_spec(**form)
    fixed = quantise(spec, random_weights(spec, seed, scale))
    pack_image(spec, fixed)
    for name, tensor in fixed.tensors.items():
        if not name.endswith("bias"):
            assert tensor.dtype == np.int16
            assert np.abs(tensor.astype(int)).max() <= 32767


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.1, 10))
def test_rounding_is_to_nearest(seed, scale):
    spec = small_spec()
    weights = random_weights(spec, seed, scale)
    fixed = quantise(spec, weights)
    for name, point in fixed.points.items():
        error = fixed.tensors[name] * 2.0**-point - weights[name].astype(np.float64)
        assert np.abs(error).max() <= 2.0 ** -(point + 1), name


def test_bounds_hold_for_the_worst_counts():
    # Counts that drive one row to its bound: full where the weight is positive.
    spec = small_spec()
    fixed = quantise(spec, random_weights(spec))
    name = "encoder.forward"
    W = fixed.tensors[f"{name}.input_weight"].astype(np.int64)
    b = fixed.tensors[f"{name}.input_bias"].astype(np.int64)
    bounds = row_bounds(fixed, name, 255, 0, "input_")
    for row in range(len(W)):
        for sign in (1, -1):
            worst = np.where(sign * W[row] > 0, 255, 0)
            assert abs(int(W[row] @ worst + b[row])) <= bounds[row]


@pytest.mark.parametrize("form", FORMS)
def test_states_stay_within_their_proven_bounds(form):
    from bci_lfads.models.integer import _Integers

    spec = small_spec(**form)
    fixed = quantise(spec, random_weights(spec, scale=3.0))
    bounds = state_bounds(spec, fixed)
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 256, (10, spec.n_bins, spec.n_units)).astype(np.uint8)
    net = _Integers(spec, fixed)
    for trial in counts.astype(np.int64):
        assert np.abs(net.encode("forward", trial)).max() <= bounds.encoder
    factors = infer_integer(spec, fixed, counts).factors
    assert np.abs(factors).max() <= bounds.factors


def test_eight_bit_weights():
    spec = small_spec()
    fixed = quantise(spec, random_weights(spec), weight_bits=8)
    weights = [v for k, v in fixed.tensors.items() if k.endswith("weight")]
    assert 64 <= max(np.abs(v).max() for v in weights) <= 127
    assert fixed.weight_bits == 8


def test_trained_quantisers_are_used_as_they_are():
    spec = small_spec(activation="hard", quantisers={})
    weights = random_weights(spec)
    weights["ic.bias"][0] = 5.0
    weights["rates.weight"][0, 0] = 2.5 * 2**-14
    fixed = quantise(spec, weights, poisson(spec))
    assert {fixed.points[n] for n in fixed.points if not n.endswith("initial_state")} == {14}
    assert fixed.encoder_point == fixed.ic_point == fixed.generator_point == 9
    assert fixed.factor_point == 9
    assert fixed.tensors["ic.bias"][0] == 32767  # saturated as in training
    assert fixed.tensors["rates.weight"][0, 0] == 2  # a tie goes to even


def test_quantisers_that_the_kernel_lacks_are_refused():
    spec = small_spec(activation="hard", quantisers={"sigmoid_point": 8})
    with pytest.raises(ModelError, match="sigmoid point 8"):
        quantise(spec, random_weights(spec))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("ic.bias"), r"lack \['ic.bias'\]"),
        (lambda w: w.update(extra=np.zeros(1, np.float32)), r"unknown \['extra'\]"),
        (lambda w: w.update({"ic.bias": np.zeros(4, np.float32)}), r"shape \(5,\).*\(4,\)"),
        (lambda w: w.update({"ic.bias": np.zeros(5, np.int16)}), "floating-point.*int16"),
        (lambda w: w["ic.bias"].fill(np.nan), "ic.bias has 5 values that are not finite"),
        (lambda w: w["ic.weight"].fill(1e30), "ic.weight"),
    ],
)
def test_wrong_weights_are_refused(change, message):
    spec = small_spec()
    weights = random_weights(spec)
    change(weights)
    with pytest.raises(ModelError, match=message):
        quantise(spec, weights)


def test_all_zero_weights_are_a_model():
    spec = small_spec()
    weights = {n: np.zeros(s, np.float32) for n, s in spec.weight_shapes().items()}
    fixed = quantise(spec, weights)
    assert not infer_integer(spec, fixed, poisson(spec)).log_rates.any()


def _tail_heavy() -> tuple[LfadsSpec, dict[str, np.ndarray], np.ndarray]:
    """Return a model whose generator's first state is proven to be far larger than it ever is."""
    spec = small_spec(n_bins=12, generator_size=24, ic_size=24, encoder_size=24)
    weights = random_weights(spec, seed=4)
    weights["ic.weight"] *= 3.0
    return spec, weights, poisson(spec, 40)


def test_drops_of_products_of_8_bits_are_those_that_cost_least_in_calibration():
    spec, weights, counts = _tail_heavy()
    aims = infer_float(spec, weights, counts).log_rates

    def cost(fixed: FixedPoint) -> float:
        off = to_float(fixed, infer_integer(spec, fixed, counts)).log_rates - aims
        return float((np.exp(aims) * (np.exp(off) - 1 - off)).mean())

    chosen = quantise(spec, weights, counts, 8, 8)
    every = {d: cost(quantise(spec, weights, counts, 8, 8, (8, d))) for d in range(3, 9)}
    assert chosen.generator_drop == min(every, key=every.get)
    assert len(set(every.values())) == len(every)
    by_encoder = {
        d: cost(quantise(spec, weights, counts, 8, 8, (d, chosen.generator_drop)))
        for d in range(3, 9)
    }
    assert cost(chosen) == min(by_encoder.values())
    widest = quantise(spec, weights, None, 8, 8)
    assert (widest.encoder_drop, widest.generator_drop) == (8, 8)


def test_drops_that_products_do_not_have_are_refused():
    spec, weights, _ = _tail_heavy()
    for drops, bits in (((8, 9), 8), ((0, 8), 8), ((8, 8), 16)):
        with pytest.raises(ModelError, match="products of 8 bits drop 1 to 8"):
            quantise(spec, weights, None, 8, bits, drops)
