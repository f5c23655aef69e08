"""Checkpoints that no engine here computes are refused with the reason."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from models.lfads_torch_files import CONTROLLER, HP, state, write

from bci_lfads.errors import ModelError
from bci_lfads.models.importers import import_model
from bci_lfads.models.lfads_torch_export import export_lfads_torch
from bci_lfads.models.model import Model
from bci_lfads.models.spec import LfadsSpec


def refused(path: Path, message: str, **more) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        import_model(path, **{"bin_width": 0.01, **more})
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ext_input_dim": 2}, "2 external inputs"),
        ({"encod_seq_len": None}, "encod_seq_len is None; expected a whole number"),
        ({"encod_seq_len": 10**9}, "encod_seq_len is 1000000000"),
        ({"encod_seq_len": [9]}, "encod_seq_len is no plain value"),
        ({"recon_seq_len": 8}, "sees 9 bins .* and reconstructs 8"),
        ({"ic_enc_seq_len": 10}, "ic_enc_seq_len 10"),
        ({"cell_clip": "5"}, "cell_clip is '5'"),
        ({"cell_clip": float("nan")}, "cell_clip is nan"),
        ({"cell_clip": -1.0}, "cell_clip: Input should be greater than 0"),
        ({"ic_post_var_min": -1.0}, "ic_variance_floor"),
    ],
)
def test_hyper_parameters(tmp_path, changes, message):
    refused(write(tmp_path / "a.ckpt", state(HP, 7), HP | changes), message)


def test_a_lag_as_long_as_the_window(tmp_path):
    hp = HP | CONTROLLER
    path = write(tmp_path / "a.ckpt", state(hp, 7), hp | {"ci_lag": 9})
    refused(path, "more than its lag of 9")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("encoder.ic_linear.weight", None, "lacks the tensor encoder.ic_linear.weight"),
        ("encoder.ic_enc_h0", None, "lacks the tensor encoder.ic_enc_h0"),
        ("readout.0.weight", None, "no readout.0.weight"),
        ("readout.0.bias", np.zeros(6), r"readout.0.bias has shape \(6,\); expected \(7,\)"),
        ("decoder.ic_to_g0.weight", np.full((8, 5), np.nan), "no finite numbers"),
        ("decoder.rnn.cell.gen_cell.weight_ih", np.zeros((24, 2)), r"expected \(24, 0\)"),
        ("encoder.ic_linear.bias", np.zeros(10, np.int64), "no finite numbers"),
        ("recon.0.scale", np.zeros((2, 7)), "zero-inflated gamma"),
        ("readin.0.0.weight", np.zeros((2, 7)), "tensors that lfads-torch's own modules do not"),
        ("encoder.ic_linear.weight", np.zeros((10, 12, 1)), "expected 2 axes"),
        ("readout.0.weight", np.zeros((5, 3)), "sees 7 units and reads out 5"),
        ("readout.0.weight", np.zeros((14, 3)), "Gaussian or gamma.*--poisson"),
    ],
)
def test_tensors(tmp_path, name, value, message):
    weights = state(HP, 7)
    weights.pop(name, None)
    if value is not None:
        weights[name] = value
    refused(write(tmp_path / "a.ckpt", weights, HP), message)


def test_twice_as_many_rates_may_be_units_that_are_not_seen(tmp_path):
    path = write(tmp_path / "a.ckpt", state(HP, 14), HP)
    assert import_model(path, bin_width=0.01, poisson=True).spec.n_units == 14


def test_the_bin_width_must_be_given_and_be_one(tmp_path):
    path = write(tmp_path / "a.ckpt", state(HP, 7), HP)
    refused(path, "give --bin-width SECONDS", bin_width=None)
    for width in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ModelError, match="expected above 0"):
            import_model(path, bin_width=width)


def test_other_files_of_torch(tmp_path):
    path = tmp_path / "a.pt"
    torch.save({k: torch.tensor(v) for k, v in state(HP, 7).items()}, path)
    refused(path, "no state_dict")
    torch.save({"state_dict": {"w": torch.ones(2)}, "hyper_parameters": {"a": 1}}, path)
    refused(path, "lacks the tensor encoder.ic_enc_h0")
    torch.save({"state_dict": {k: torch.tensor(v) for k, v in state(HP, 7).items()}}, path)
    refused(path, "lacks hyper_parameters")
    torch.save([1, 2], path)
    refused(path, "no dictionary")
    torch.save(torch.ones(2), path, _use_new_zipfile_serialization=False)
    refused(path, "a pickle, such as PyTorch wrote before")
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", "{}")
    refused(path, "zip archive of 1 members and not a checkpoint")
    path.write_bytes(path.read_bytes()[:-20])
    refused(path, "cannot be read as a zip archive")


def test_a_checkpoint_that_would_run_a_program(tmp_path, monkeypatch):
    class Hostile:
        def __reduce__(self):
            return os.system, ("touch ran",)

    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "a.ckpt", state(HP, 7), HP | {"lr_stop": Hostile()})
    refused(path, "posix.system|nt.system")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16])
def test_other_widths_of_numbers_are_read(tmp_path, kind):
    path = tmp_path / "a.ckpt"
    tensors = {k: torch.tensor(v).to(kind) for k, v in state(HP, 7).items()}
    torch.save({"state_dict": tensors, "hyper_parameters": HP}, path)
    model = import_model(path, bin_width=0.01)
    np.testing.assert_array_equal(
        model.weights["rates.weight"], tensors["readout.0.weight"].float().numpy()
    )


@pytest.mark.parametrize(
    ("form", "message"),
    [({}, "reset-after"), ({"gru": "reset_before", "activation": "hard"}, "hard")],
)
def test_forms_that_lfads_torch_has_not_are_not_exported(tmp_path, form, message):
    spec = LfadsSpec(
        n_units=3, n_bins=4, encoder_size=2, ic_size=2, generator_size=2, n_factors=1, **form
    )
    weights = {k: np.zeros(v, np.float32) for k, v in spec.float_shapes().items()}
    model = Model.from_weights(spec, weights, unit_labels=("a", "b", "c"), bin_width=0.01)
    with pytest.raises(ModelError, match=message):
        export_lfads_torch(model, tmp_path / "b.pt")
    assert not list(tmp_path.iterdir())
