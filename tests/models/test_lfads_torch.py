"""Checkpoints of lfads-torch come in and go out with the numbers that its equations give."""

import math

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from models.lfads_torch_files import CONTROLLER, HP, forward, state, write

from bci_lfads.engines import open_engine
from bci_lfads.engines.torch_engine import TorchEngine
from bci_lfads.errors import ModelError
from bci_lfads.models.check import check_model
from bci_lfads.models.importers import import_model
from bci_lfads.models.lfads_torch_export import export_lfads_torch
from bci_lfads.models.model import Model

WIDTH = 0.02
pytestmark = pytest.mark.usefixtures("one_thread")


def counts(n_bins: int, n_units: int, n: int = 5) -> np.ndarray:
    return np.random.default_rng(1).poisson(0.7, (n, n_bins, n_units)).astype(np.uint8)


def case(name: str):
    """Return hyper-parameters and a state_dict of a form."""
    if name == "plain":
        return HP, state(HP, 7)
    if name == "deterministic":
        hp = HP | {"variational": False}
        return hp, state(hp, 7)
    if name == "ahead and unseen units":
        hp = HP | {"recon_seq_len": 12}
        return hp, state(hp, 10)
    if name == "no clip":
        hp = HP | {"cell_clip": math.inf}
        return hp, state(hp, 7)
    if name == "tight clip":
        hp = HP | {"cell_clip": 0.3}
        return hp, state(hp, 7)
    if name == "part of the window":
        hp = HP | {"ic_enc_seq_len": 4}
        return hp, state(hp, 7)
    hp = HP | CONTROLLER
    if name == "controller":
        return hp, state(hp, 7)
    if name == "controller without lag":
        hp |= {"ci_lag": 0}
        return hp, state(hp, 7)
    if name == "controller, long lag, part of the window, ahead":
        hp |= {"ci_lag": 3, "ic_enc_seq_len": 2, "recon_seq_len": 11}
        return hp, state(hp, 7)
    if name == "controller, deterministic":
        hp |= {"variational": False}
        return hp, state(hp, 7)
    raise AssertionError(name)


WITHOUT = [
    "plain", "deterministic", "ahead and unseen units", "no clip", "tight clip",
    "part of the window",
]  # fmt: skip
WITH = [
    "controller", "controller without lag", "controller, long lag, part of the window, ahead",
    "controller, deterministic",
]  # fmt: skip


@pytest.mark.parametrize("name", WITHOUT + WITH)
def test_the_torch_engine_computes_the_equations_of_lfads_torch(tmp_path, name):
    hp, weights = case(name)
    model = import_model(write(tmp_path / "a.ckpt", weights, hp), bin_width=WIDTH)
    x = counts(hp["encod_seq_len"], model.spec.n_units)
    factors, log_counts, inputs = forward(weights, hp, x)
    engine = TorchEngine(model)
    found = engine.infer_batch(x[:, : model.spec.n_bins])
    assert np.abs(factors).max() > 0.3
    np.testing.assert_allclose(found.factors, factors, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.log_rates, log_counts - math.log(WIDTH), rtol=0, atol=2e-6)
    if inputs is not None:
        found = engine.infer_inputs(x[:, : model.spec.n_bins])
        np.testing.assert_allclose(found, inputs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", WITHOUT)
def test_the_kernel_follows_within_its_tolerance(tmp_path, name):
    pytest.importorskip("bci_lfads.engines._native")
    hp, weights = case(name)
    model = import_model(write(tmp_path / "a.ckpt", weights, hp), bin_width=WIDTH)
    report = check_model(model, counts(model.spec.n_bins, model.spec.n_units, 32))
    assert sum(report.saturated.values()) == 0
    assert report.factors_max_error < 5e-3 * report.factors_std + 2e-3
    assert report.log_rates_max_error < 5e-3


@pytest.mark.parametrize("name", WITH)
def test_engines_without_a_controller_refuse_and_say_what_to_do(tmp_path, name):
    hp, weights = case(name)
    model = import_model(write(tmp_path / "a.ckpt", weights, hp), bin_width=WIDTH)
    assert model.fixed is None
    model.save(tmp_path / "m.safetensors")
    again = Model.load(tmp_path / "m.safetensors")
    assert again.hash == model.hash
    for engine in ("native", "fpga"):
        with pytest.raises(ModelError, match=r"controller.*torch engine"):
            open_engine(engine, again)
    with open_engine("torch", again) as opened:
        x = counts(model.spec.n_bins, 7)[0]
        np.testing.assert_array_equal(opened.infer(x).factors, TorchEngine(model).infer(x).factors)


@pytest.mark.parametrize("name", WITHOUT + WITH)
def test_what_was_imported_is_exported_and_imported_the_same(tmp_path, name):
    hp, weights = case(name)
    model = import_model(write(tmp_path / "a.ckpt", weights, hp), bin_width=WIDTH)
    assert export_lfads_torch(model, tmp_path / "b.pt") == []
    again = import_model(tmp_path / "b.pt", poisson=True)
    assert again.hash == model.hash
    exported = torch.load(tmp_path / "b.pt", weights_only=True)
    assert {k: tuple(v.shape) for k, v in exported["state_dict"].items()} == {
        k: v.shape for k, v in weights.items()
    }
    if name != "part of the window":  # of that the kernel's form has the part alone
        alike = set(exported["hyper_parameters"]) - {"dropout_rate"}
        alike -= set() if hp["co_dim"] else {"ci_lag"}
        alike -= set() if hp["variational"] else {"ic_post_var_min"}
        for key in alike:
            assert exported["hyper_parameters"][key] == hp[key], key
    x = counts(hp["encod_seq_len"], model.spec.n_units)
    plain = {k: v.numpy() for k, v in exported["state_dict"].items()}
    for one, other in zip(forward(plain, hp, x)[:2], forward(weights, hp, x)[:2], strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-6)


def test_sessions_have_their_own_read_in_and_readout(tmp_path):
    hp = HP | {"encod_data_dim": 4}
    weights = state(hp, [6, 9, 5], readin=[6, 9, 5])
    for name in ("day_a", "day_b", "day_c"):
        (tmp_path / f"{name}.h5").touch()
    pattern = {"datafile_pattern": str(tmp_path / "day_*.h5")}
    path = write(tmp_path / "a.ckpt", weights, hp, datamodule_hyper_parameters=pattern)
    for asked, number, n in (("0", 0, 6), ("1", 1, 9), ("day_b", 1, 9), ("day_c.h5", 2, 5)):
        model = import_model(path, bin_width=WIDTH, session=asked)
        assert model.spec.n_units == n
        x = counts(9, n)
        factors, log_counts, _ = forward(weights, hp, x, number)
        found = TorchEngine(model).infer_batch(x)
        np.testing.assert_allclose(found.factors, factors, rtol=0, atol=1e-6)
        np.testing.assert_allclose(found.log_rates, log_counts - math.log(WIDTH), atol=2e-6)
    with pytest.raises(ModelError, match=r"3 sessions; choose one with --session.*day_\*"):
        import_model(path, bin_width=WIDTH)
    with pytest.raises(ModelError, match="from 0 to 2; session 3"):
        import_model(path, bin_width=WIDTH, session="3")
    with pytest.raises(ModelError, match="'day_x' cannot be told"):
        import_model(path, bin_width=WIDTH, session="day_x")


def test_models_of_other_lengths_of_factors_are_exported_with_the_same_rates(tmp_path):
    hp, weights = case("controller")
    model = import_model(write(tmp_path / "a.ckpt", weights, hp), bin_width=WIDTH)
    w = dict(model.weights)
    w["factors.weight"] = w["factors.weight"] * np.float32([[2], [0.3], [5]])
    changed = Model.from_weights(
        model.spec, w, unit_labels=model.unit_labels, bin_width=model.bin_width
    )
    notes = export_lfads_torch(changed, tmp_path / "b.pt")
    assert "lengths" in notes[0]
    again = import_model(tmp_path / "b.pt")
    x = counts(9, 7)
    expected, found = TorchEngine(changed).infer_batch(x), TorchEngine(again).infer_batch(x)
    np.testing.assert_allclose(found.log_rates, expected.log_rates, rtol=0, atol=5e-6)
    np.testing.assert_allclose(
        found.factors * np.float32([2, 0.3, 5]), expected.factors, rtol=0, atol=5e-6
    )
