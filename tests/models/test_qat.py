"""The kernel in torch: its integers to the bit, gradients, and what fine-tuning gives."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from models.float_models import FORMS, poisson, random_weights, small_spec
from models.random_models import random_counts, random_model
from models.training_cases import BIN_WIDTH, tiny_spec, waves

from bci_lfads.engines import open_engine
from bci_lfads.errors import ModelError
from bci_lfads.models.fixed import FixedPoint
from bci_lfads.models.history import TrainingSettings
from bci_lfads.models.integer import infer_integer
from bci_lfads.models.model import Model
from bci_lfads.models.qat import GENTLE, QuantisedNetwork, as_floats, check_exact, fine_tune
from bci_lfads.models.quantise import quantise
from bci_lfads.models.training import train

pytestmark = pytest.mark.usefixtures("one_thread")


def _integers(net: QuantisedNetwork, fixed: FixedPoint, counts):
    with torch.no_grad():
        factors, log_rates = net.eval()(torch.from_numpy(counts.astype(np.float64)))
    return (
        np.ldexp(factors.numpy(), fixed.factor_point),
        np.ldexp(log_rates.numpy(), fixed.log_rate_point),
    )


@pytest.mark.parametrize("gru", ["reset_after", "reset_before"])
@pytest.mark.parametrize("activation", ["hard", "smooth"])
@pytest.mark.parametrize("scale", [0.5, 1.0, 6.0])
def test_outputs_are_those_of_the_integer_reference(gru, activation, scale):
    for seed in range(8):
        spec, fixed = random_model(seed, gru=gru, activation=activation, scale=scale)
        counts = random_counts(seed, spec, 3, rate=0.5)
        factors, log_rates = _integers(QuantisedNetwork(spec, fixed), fixed, counts)
        expected = infer_integer(spec, fixed, counts)
        np.testing.assert_array_equal(factors, expected.factors)
        np.testing.assert_array_equal(log_rates, expected.log_rates)


@pytest.mark.parametrize("gru", ["reset_after", "reset_before"])
def test_so_they_are_for_weights_at_the_limits_of_their_format(gru):
    for seed in range(4):
        spec, fixed = random_model(seed, gru=gru, full_range=True)
        counts = random_counts(seed, spec, 2, rate=2.0)
        factors, log_rates = _integers(QuantisedNetwork(spec, fixed), fixed, counts)
        expected = infer_integer(spec, fixed, counts)
        np.testing.assert_array_equal(factors, expected.factors)
        np.testing.assert_array_equal(log_rates, expected.log_rates)


@pytest.mark.parametrize(
    ("form", "bits"),
    # A model that has quantisers was trained for 16 bits.
    [(form, bits) for form in FORMS for bits in (16, 8) if bits == 16 or "quantisers" not in form],
)
def test_float_weights_round_to_the_integers_of_post_training_quantisation(form, bits):
    spec = small_spec(**form)
    weights = random_weights(spec)
    fixed = quantise(spec, weights, poisson(spec), bits)
    exported = QuantisedNetwork(spec, fixed, weights).export()
    for name, value in fixed.tensors.items():
        if spec.quantisers is None or not name.endswith("bias"):
            assert np.array_equal(exported.tensors[name], value)
            assert exported.tensors[name].dtype == value.dtype
    assert exported.points == fixed.points


@pytest.mark.parametrize("gru", ["reset_after", "reset_before"])
@pytest.mark.parametrize("activation", ["hard", "smooth"])
def test_products_of_8_bits_are_those_of_the_integer_reference(gru, activation):
    for seed in range(6):
        spec, fixed = random_model(seed, gru=gru, activation=activation, bytes_=True)
        # Other weights than those of products of 8 bits have 16 there.
        fixed = replace(fixed, weight_bits=16)
        counts = random_counts(seed, spec, 2, rate=0.5)
        net = QuantisedNetwork(spec, fixed)
        factors, log_rates = _integers(net, fixed, counts)
        expected = infer_integer(spec, fixed, counts)
        np.testing.assert_array_equal(factors, expected.factors)
        np.testing.assert_array_equal(log_rates, expected.log_rates)
        for name, tensor in net.export().tensors.items():
            assert np.array_equal(tensor, fixed.tensors[name])


def test_a_model_that_float64_cannot_hold_exactly_is_refused():
    spec, fixed = random_model(1, gru="reset_after")
    points = dict(fixed.points)
    points["generator.recurrent_weight"] = 46 - fixed.generator_point
    with pytest.raises(ModelError, match=r"generator\.recurrent: .* float64 holds 53"):
        check_exact(spec, replace(fixed, points=points))


@pytest.mark.parametrize("form", [{}, {"activation": "hard", "gru": "reset_before"}])
def test_gradients_are_nearly_those_of_the_float_network(form):
    from bci_lfads.models.network import network_from_weights

    spec = small_spec(**form)
    weights = random_weights(spec, scale=0.7)
    net = QuantisedNetwork(spec, quantise(spec, weights, poisson(spec)), weights)
    plain = network_from_weights(spec, weights, torch.float64)
    x = torch.from_numpy(poisson(spec).astype(np.float64))
    for some in (net, plain):
        (some(x)[1] ** 2).sum().backward()
    for name in spec.weight_shapes():
        ours, theirs = net.weight(name).grad, plain.weight(name).grad
        assert torch.linalg.norm(ours - theirs) < 0.02 * torch.linalg.norm(theirs) + 1e-6, name


@pytest.fixture(scope="module")
def good():
    """A trained model's weights, on data that it can follow."""
    settings = TrainingSettings(epochs=12, batch=32, learning_rate=1e-2, warm_up=5)
    return train(tiny_spec(), waves(256), waves(64, seed=1), BIN_WIDTH, settings).weights


def test_fine_tuning_wins_back_what_few_bits_cost(good):
    spec, held = tiny_spec(), waves(64, seed=1)
    fixed = quantise(spec, good, waves(64), 4)
    settings = replace(GENTLE, epochs=4, learning_rate=3e-3, batch=32, warm_up=2)
    history = fine_tune(spec, good, fixed, waves(256), held, BIN_WIDTH, settings).history
    before, after = history.epochs[0], history.best_epoch
    assert before.epoch == 0
    assert after.bits_per_spike > before.bits_per_spike + 0.02


@pytest.mark.parametrize("gru", ["reset_after", "reset_before"])
@pytest.mark.parametrize("product_bits", [16, 8])
def test_the_native_engine_gives_what_the_tuned_network_gave(good, gru, product_bits):
    spec, held = tiny_spec(gru=gru), waves(16, seed=1)
    fixed = quantise(spec, good, waves(64), 8, product_bits)
    settings = replace(GENTLE, epochs=1)
    tuned = fine_tune(spec, good, fixed, waves(64), held, BIN_WIDTH, settings)
    labels = tuple("abcdef")
    model = Model(spec, tuned.weights, tuned.fixed, labels, BIN_WIDTH)
    with torch.no_grad():
        net = QuantisedNetwork(spec, tuned.fixed).eval()
        factors, log_rates = net(torch.from_numpy(held.astype(np.float64)))
    with open_engine("native", model) as engine:
        latents = engine.infer_batch(held)
    assert np.array_equal(latents.factors, factors.numpy())
    assert np.array_equal(latents.log_rates, log_rates.numpy())


def test_the_tuned_float_weights_are_what_the_integers_stand_for(good):
    spec = tiny_spec()
    fixed = quantise(spec, good, waves(64), 6)
    settings = replace(GENTLE, epochs=1)
    tuned = fine_tune(spec, good, fixed, waves(64), waves(16, seed=1), BIN_WIDTH, settings)
    for name, value in as_floats(tuned.fixed).items():
        np.testing.assert_allclose(tuned.weights[name], value, rtol=1e-7)
    assert any(not np.array_equal(v, fixed.tensors[k]) for k, v in tuned.fixed.tensors.items())
