"""The commands that take a model of lfads-torch in and give one back."""

import json
import sys

import numpy as np
import pytest

pytest.importorskip("torch")

from models.lfads_torch_files import CONTROLLER, HP, state, write

from bci_lfads.cli import main
from bci_lfads.models.model import Model


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object):
        monkeypatch.setattr(sys, "argv", ["bci-lfads", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return (ended.value.code or 0, *capsys.readouterr())

    return run


def test_in_and_out_and_in_again(cli, tmp_path):
    write(tmp_path / "a.ckpt", state(HP, 7), HP)
    code, _, err = cli("model", "import", "a.ckpt", "-o", "a.safetensors")
    assert (code, "give --bin-width SECONDS" in err) == (1, True)
    made = ("-o", "a.safetensors", "--bin-width", 0.02)
    code, out, _ = cli("model", "import", "a.ckpt", *made)
    assert (code, "9 bins of 20 ms, 7 units, 3 factors" in out) == (0, True)
    code, out, _ = cli("model", "export", "a.safetensors", "-o", "b.pt", "--json")
    assert json.loads(out) == {
        "output": "b.pt", "hash": Model.load("a.safetensors").hash, "notes": [],
    }  # fmt: skip
    code, _, err = cli("model", "import", "b.pt", "-o", "b.safetensors")
    assert (code, err) == (0, "")
    assert Model.load("b.safetensors").hash == Model.load("a.safetensors").hash


def test_a_session_is_chosen(cli, tmp_path):
    hp = HP | {"encod_data_dim": 4}
    write(tmp_path / "a.ckpt", state(hp, [6, 9], readin=[6, 9]), hp)
    made = ("-o", "a.safetensors", "--bin-width", 0.02)
    code, _, err = cli("model", "import", "a.ckpt", *made)
    assert (code, "2 sessions; choose one with --session" in err) == (1, True)
    code, out, _ = cli("model", "import", "a.ckpt", *made, "--session", 1)
    assert (code, "9 units" in out) == (0, True)


def test_a_model_with_a_controller_runs_in_torch_and_gives_its_inputs(cli, tmp_path):
    hp = HP | CONTROLLER
    write(tmp_path / "a.ckpt", state(hp, 7), hp)
    assert cli("model", "import", "a.ckpt", "-o", "a.safetensors", "--bin-width", 0.02)[0] == 0
    code, out, _ = cli("model", "info", "a.safetensors")
    assert (code, "2 inferred inputs" in out, "torch engine" in out) == (0, True, True)
    np.save("x.npy", np.ones((4, 9, 7), np.uint8))
    for command in (("model", "check", "a.safetensors"), ("infer", "a.safetensors", "x.npy", "-o", "y.npz")):  # fmt: skip  # noqa: E501
        code, _, err = cli(*command)
        assert (code, "Open it with the torch engine" in err) == (1, True)
    code, _, err = cli("infer", "a.safetensors", "x.npy", "-o", "y.npz", "--engine", "torch")
    assert (code, err) == (0, "")
    with np.load("y.npz") as found:
        assert found["inferred_inputs"].shape == (4, 9, 2)
