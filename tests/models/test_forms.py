"""The variational form and the controller: what they compute, and that they learn."""

import math

import numpy as np
import pytest
from pydantic import ValidationError
from safetensors import safe_open

pytest.importorskip("torch")

import torch
from models.training_cases import BIN_WIDTH, tiny_spec, waves

from bci_lfads.engines import open_engine
from bci_lfads.errors import ModelError
from bci_lfads.models.history import TrainingSettings
from bci_lfads.models.model import Model
from bci_lfads.models.network import LfadsNetwork, network_from_weights
from bci_lfads.models.objective import loss_of, recurrent_l2
from bci_lfads.models.posteriors import ar1_kl, draw, normal_kl
from bci_lfads.models.reference import infer_float
from bci_lfads.models.spec import Controller, LfadsSpec, Variational
from bci_lfads.models.training import train

pytestmark = pytest.mark.usefixtures("one_thread")
VARIATIONAL = {"variational": Variational()}
CONTROLLER = {"controller": Controller(n_inputs=2, size=5, encoder_size=4)}
QUICK = TrainingSettings(epochs=12, batch=32, learning_rate=1e-2, warm_up=5, kl=0.05, kl_warm_up=40)
LABELS = tuple("abcdef")


def random_weights(spec: LfadsSpec, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        name: (rng.standard_normal(shape) * (shape[-1] ** -0.5 if len(shape) > 1 else 0.3)).astype(
            np.float32
        )
        for name, shape in spec.float_shapes().items()
    }


def model_of(spec: LfadsSpec, weights) -> Model:
    return Model.from_weights(spec, weights, unit_labels=LABELS, bin_width=BIN_WIDTH)


def x_of(counts) -> torch.Tensor:
    return torch.from_numpy(counts.astype(np.float64))


def test_models_without_such_forms_say_nothing_of_them():
    said = tiny_spec().model_dump(mode="json")
    assert "variational" not in said
    assert "controller" not in said
    assert LfadsSpec.model_validate(said) == tiny_spec()
    both = tiny_spec(**VARIATIONAL, **CONTROLLER)
    assert LfadsSpec.model_validate_json(both.model_dump_json()) == both


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quantisers": {}, **VARIATIONAL}, "deterministic form"),
        ({"quantisers": {}, **CONTROLLER}, "deterministic form"),
        ({"controller": {"n_inputs": 1, "size": 1, "encoder_size": 1, "lag": 10}}, "lag of 10"),
        (
            {"controller": {"n_inputs": 1, "size": 1, "encoder_size": 1, "ic_bins": 10}},
            "sees 0 of 10 bins",
        ),
        ({"controller": {"n_inputs": 0, "size": 1, "encoder_size": 1}}, "n_inputs"),
        ({"variational": {"ic_variance_floor": -1}}, "ic_variance_floor"),
    ],
)
def test_forms_that_are_none(changes, message):
    with pytest.raises(ValidationError, match=message):
        tiny_spec(**changes)


def test_inference_of_a_variational_model_takes_the_mean_in_every_engine():
    spec = tiny_spec(**VARIATIONAL)
    weights = random_weights(spec)
    plain = {k: v for k, v in weights.items() if k in tiny_spec().float_shapes()}
    counts = waves(3)
    expected = infer_float(tiny_spec(), plain, counts)
    found = open_engine("torch", model_of(spec, weights)).infer_batch(counts)
    np.testing.assert_allclose(found.log_rates, expected.log_rates, rtol=0, atol=1e-5)
    pytest.importorskip("bci_lfads.engines._native")
    kernels = [
        open_engine("native", m).infer_batch(counts)
        for m in (model_of(spec, weights), model_of(tiny_spec(), plain))
    ]
    np.testing.assert_array_equal(kernels[0].log_rates, kernels[1].log_rates)


def test_a_variational_model_is_saved_whole(tmp_path):
    model = model_of(tiny_spec(**VARIATIONAL), random_weights(tiny_spec(**VARIATIONAL)))
    model.save(tmp_path / "m.safetensors")
    again = Model.load(tmp_path / "m.safetensors")
    assert again.hash == model.hash
    np.testing.assert_array_equal(
        again.weights["ic.log_variance.weight"], model.weights["ic.log_variance.weight"]
    )
    with safe_open(tmp_path / "m.safetensors", "numpy") as file:
        assert file.metadata()["format_version"] == "2"
        assert "fixed/ic.log_variance.weight" not in list(file.keys())
    plain = model_of(tiny_spec(), random_weights(tiny_spec()))
    plain.save(tmp_path / "p.safetensors")
    with safe_open(tmp_path / "p.safetensors", "numpy") as file:
        assert file.metadata()["format_version"] == "1"


def test_a_model_with_a_controller_and_a_fixed_point_form_is_refused():
    spec = tiny_spec(**CONTROLLER)
    fixed = model_of(tiny_spec(), random_weights(tiny_spec())).fixed
    with pytest.raises(ModelError, match="has no fixed-point form, but this one has"):
        Model(spec, random_weights(spec), fixed, LABELS, BIN_WIDTH)
    with pytest.raises(ModelError, match="lacks its fixed-point form"):
        Model(tiny_spec(), random_weights(tiny_spec()), None, LABELS, BIN_WIDTH)


def test_the_fast_way_of_torch_computes_the_same_controller(monkeypatch):
    spec = tiny_spec(**CONTROLLER, n_ahead=2)
    net = network_from_weights(spec, random_weights(spec), torch.float64).eval()
    x = x_of(waves(4))
    with torch.no_grad():
        fast = net.outputs(x)
        monkeypatch.setattr(LfadsNetwork, "_plain", False)
        slow = net.outputs(x)
    assert fast.inputs.shape == (4, 12, 2)
    for one, other in zip(fast[:3], slow[:3], strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("gru", ["reset_after", "reset_before"])
@pytest.mark.parametrize("activation", ["hard", "smooth"])
def test_inputs_come_late_and_early_by_the_lag(gru, activation):
    """With a controller that keeps nothing, a count moves no inputs within the lag."""
    con = Controller(n_inputs=2, size=5, encoder_size=4, lag=3)
    spec = tiny_spec(controller=con, gru=gru, activation=activation)
    weights = random_weights(spec)
    weights["controller.input_weight"][:, 8:] = 0  # no factors
    weights["controller.input_weight"][:5] = 0
    weights["controller.recurrent_weight"][:] = 0
    weights["controller.input_bias"][:5] = -40  # the update gate is shut
    net = network_from_weights(spec, weights, torch.float64).eval()
    x = torch.zeros(1, 10, 6, dtype=torch.float64)
    with torch.no_grad():
        base = net.outputs(x).inputs
        x[0, 5] = 3
        moved = (net.outputs(x).inputs - base).abs().sum(dim=-1)[0]
    assert np.flatnonzero(moved > 1e-9).tolist() == [0, 1, 2, 8, 9]


def test_the_divergence_of_normals_is_that_of_torch():
    mean, variance = torch.randn(4, 3), torch.rand(4, 3) + 0.1
    prior_mean, prior_log = torch.randn(3), torch.randn(3)
    expected = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, variance.sqrt()),
        torch.distributions.Normal(prior_mean, (0.5 * prior_log).exp()),
    ).sum(dim=-1)
    torch.testing.assert_close(normal_kl(mean, variance, prior_mean, prior_log), expected)


def test_the_divergence_over_time_is_that_of_the_whole_process():
    """Its mean over draws, against the closed form with the process' full covariance."""
    torch.manual_seed(0)
    T, tau, noise = 6, 3.0, 0.2
    mean = torch.randn(1, T, 1, dtype=torch.float64)
    variance = torch.rand(1, T, 1, dtype=torch.float64) * 0.3 + 0.05
    alpha = math.exp(-1 / tau)
    lags = (torch.arange(T)[:, None] - torch.arange(T)).abs()
    covariance = (noise / (1 - alpha**2) * alpha**lags).double()
    expected = torch.distributions.kl_divergence(
        torch.distributions.MultivariateNormal(mean[0, :, 0], torch.diag(variance[0, :, 0])),
        torch.distributions.MultivariateNormal(torch.zeros(T).double(), covariance),
    )
    n = 40_000
    means, variances = mean.expand(n, T, 1), variance.expand(n, T, 1)
    logs = (torch.tensor([math.log(v)], dtype=torch.float64) for v in (tau, noise))
    found = ar1_kl(means, variances, draw(means, variances), *logs)
    assert abs(found.mean() - expected) < 5 * found.std() / n**0.5
    assert found.std() / n**0.5 < 0.01 * expected


def test_draws_have_the_posterior_s_moments_and_floor():
    spec = tiny_spec(variational=Variational(ic_variance_floor=0.5))
    weights = random_weights(spec)
    weights["ic.log_variance.weight"][:] = 0
    weights["ic.log_variance.bias"][:] = -50  # nothing but the floor
    for name in ("generator.recurrent_weight", "generator.input_bias", "generator.recurrent_bias"):
        weights[name][:] = 0
    weights["generator.input_bias"][:8] = 40  # the update gate keeps the first state
    weights["factors.weight"][:] = np.eye(8)[:2]
    net = network_from_weights(spec, weights, torch.float64).train()
    x = x_of(waves(1)).expand(20_000, 10, 6)
    torch.manual_seed(0)
    with torch.no_grad():
        drawn, mean = net.sampled(x).factors[:, -1], net(x[:1])[0][0, -1]
    torch.testing.assert_close(drawn.mean(dim=0), mean, rtol=0, atol=0.03)
    torch.testing.assert_close(drawn.var(dim=0), torch.full((2,), 0.5).double(), rtol=0.05, atol=0)


def test_only_variational_networks_are_drawn_from():
    with pytest.raises(ModelError, match="nothing to draw from"):
        LfadsNetwork(tiny_spec()).sampled(torch.zeros(1, 10, 6))


@pytest.mark.parametrize("prior", ["autoregressive", "independent"])
def test_every_weight_is_learned(prior):
    spec = tiny_spec(
        **VARIATIONAL, controller=Controller(n_inputs=2, size=5, encoder_size=4, prior=prior)
    )
    net = network_from_weights(spec, random_weights(spec))
    loss, kl = loss_of(net, x_of(waves(16)).float(), 10, 0.7, math.log(BIN_WIDTH))
    assert kl > 0
    (loss + kl).backward()
    assert [n for n in spec.float_shapes() if not net.weight(n).grad.abs().sum() > 0] == []


FORMS = {
    "variational": VARIATIONAL,
    "controller": CONTROLLER,
    "both": {**VARIATIONAL, **CONTROLLER},
    "both, reset before, hard": {
        **VARIATIONAL, **CONTROLLER, "gru": "reset_before", "activation": "hard",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_each_form_finds_structure_that_mean_rates_do_not_have(name):
    spec = tiny_spec(**FORMS[name])
    trained = train(spec, waves(256), waves(64, seed=1), BIN_WIDTH, QUICK)
    assert trained.history.best_epoch.bits_per_spike > 0.15
    model = model_of(spec, trained.weights)
    assert (model.fixed is None) == (spec.controller is not None)


def test_the_same_seed_draws_the_same():
    spec, settings = tiny_spec(**FORMS["both"]), TrainingSettings(epochs=1, batch=16)
    one, other = (train(spec, waves(32), waves(16), BIN_WIDTH, settings) for _ in range(2))
    assert all(np.array_equal(one.weights[k], other.weights[k]) for k in one.weights)


def test_a_heavy_divergence_draws_posteriors_to_the_prior():
    spec, found = tiny_spec(**VARIATIONAL), []
    for kl in (0.0, 1e3):
        settings = TrainingSettings(
            epochs=4, batch=32, learning_rate=1e-2, kl=kl, kl_warm_up=1, patience=None
        )
        weights = train(spec, waves(128), waves(64, seed=1), BIN_WIDTH, settings).weights
        with torch.no_grad():
            drawn = network_from_weights(spec, weights).sampled(x_of(waves(64)).float())
        found.append(float(drawn.kl.mean()))
    free, bound = found
    assert bound < 0.5 * free


def test_first_states_may_stay_as_they_are():
    for how, moved in (("learned", True), ("fixed", False)):
        settings = TrainingSettings(epochs=2, batch=32, first_states=how)
        spec = tiny_spec(**CONTROLLER)
        weights = train(spec, waves(64), waves(32, seed=1), BIN_WIDTH, settings).weights
        for name in ("encoder.forward", "controller.encoder.backward"):
            assert weights[f"{name}.initial_state"].any() == moved


def test_l2_keeps_recurrent_weights_small():
    spec = tiny_spec(**CONTROLLER)
    net = network_from_weights(spec, random_weights(spec), torch.float64)
    weights = random_weights(spec)
    flat = np.concatenate([v.ravel() for k, v in weights.items() if "recurrent_weight" in k])
    assert recurrent_l2(net).item() == pytest.approx(0.5 * (flat**2).mean())
    sizes = []
    for l2 in (0.0, 100.0):
        settings = TrainingSettings(epochs=4, batch=32, l2=l2, kl_warm_up=0, weight_decay=0.0)
        trained = train(tiny_spec(), waves(128), waves(32, seed=1), BIN_WIDTH, settings)
        sizes.append(np.abs(trained.weights["generator.recurrent_weight"]).mean())
    assert sizes[1] < 0.92 * sizes[0]
