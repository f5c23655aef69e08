"""The commands that train, score and quantise: what they write, and how they fail."""

import csv
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from models.training_cases import small_recording

from bci_lfads.about import unit_rates
from bci_lfads.cli import main
from bci_lfads.models.model import Model
from bci_lfads.models.module import TrainingModule
from bci_lfads.recordings import write

RIG = """
name = "rig"
model = "m.safetensors"
[input.spikes]
name = "spikes"
[input.markers]
name = "markers"
[window]
mode = "trials"
start = "trial/start"
"""


class CommandError(Exception):
    """Holds the one line of an error."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    write(small_recording(30), folder / "r.npz")
    write(small_recording(20, seed=5), folder / "other.npz")
    (folder / "rig.toml").write_text(RIG)
    return folder


@pytest.fixture
def cli(monkeypatch, capsys, folder):
    """Run commands in the folder as `bci-lfads` does, in this process."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "100")
    level, threads = logging.getLogger("bci_lfads").level, torch.get_num_threads()

    def run(*arguments: object):
        monkeypatch.setattr(sys, "argv", ["bci-lfads", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        if ended.value.code:
            raise CommandError(err)
        return (json.loads(out) if "--json" in arguments else out), err

    yield run
    logging.getLogger("bci_lfads").setLevel(level)
    torch.set_num_threads(threads)


SMALL = ("--bins", 10, "--bin-width", 0.02, "--hidden", 5, "--factors", 2, "--epochs", 2)


@pytest.fixture
def model(cli, folder) -> Path:
    path = folder / "m.safetensors"
    if not path.exists():
        cli("train", "r.npz", "-o", path, "--start", "trial/start", *SMALL)
    return path


def test_train_writes_model_table_and_report(cli, folder):
    found, err = cli(
        "train", "r.npz", "-o", "a.safetensors", "--start", "trial/start", *SMALL,
        "--log", "log.csv", "--report", "report.png", "--seed", 7, "--sample-validation", 0.2,
        "--json",
    )  # fmt: skip
    loaded = Model.load(folder / "a.safetensors")
    assert found["hash"] == loaded.hash
    assert loaded.provenance["seed"] == "7"
    assert loaded.spec.generator_size == 5
    assert found["windows"] == {"training": 24, "validation": 6}
    assert found["validation"]["bits_per_spike"] is not None
    with (folder / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[-1]["validation"]) > 0
    assert float(rows[-1]["samples"]) > 0
    assert "judged by 0.2 of the counts" in loaded.provenance["settings"]
    assert (folder / "report.png").stat().st_size > 10_000
    assert err.startswith("warning: only 30 windows")
    assert found["warnings"][0].startswith("only 30 windows")


def test_train_cuts_as_a_rig_does(cli, folder):
    cli("train", "r.npz", "-o", "rig.safetensors", "--rig", "rig.toml", *SMALL)
    cli("train", "r.npz", "-o", "start.safetensors", "--start", "trial/start", *SMALL)
    by_rig, by_start = (Model.load(folder / f"{n}.safetensors") for n in ("rig", "start"))
    assert by_rig.hash == by_start.hash


def test_train_calls_units_as_a_rig_does(cli, folder):
    units = '[input.units]\n"n*" = "unit_*"\n[window]'
    (folder / "units.toml").write_text(RIG.replace("[window]", units))
    cli("train", "r.npz", "-o", "named.safetensors", "--rig", "units.toml", *SMALL)
    model = Model.load(folder / "named.safetensors")
    assert model.unit_labels[:2] == ("n01", "n02")
    cli("evaluate", "named.safetensors", "other.npz", "--rig", "units.toml")


def test_train_holds_units_out_and_predicts_ahead(cli, folder):
    pytest.importorskip("sklearn")
    found, _ = cli(
        "train", "r.npz", "-o", "h.safetensors", "--start", "trial/start", "--hold-out", 0.25,
        "--ahead", 2, "--json", "--report", "h.png", *SMALL,
    )  # fmt: skip
    assert len(found["held_out"]) == 2
    assert {"co_smoothing", "forward_prediction"} <= set(found["validation"])
    model = Model.load(folder / "h.safetensors")
    assert model.spec.n_ahead == 2
    assert model.spec.n_units == 6
    assert unit_rates(model) == pytest.approx(
        small_recording(30).select(model.unit_labels).mean_rates(), rel=1e-3
    )
    out, _ = cli("evaluate", "h.safetensors", "other.npz", "--fit", "r.npz")
    assert "co_smoothing" in out
    assert "forward_prediction" in out
    assert "2 held-out units, by a Poisson regression" in out
    assert "fitted on 29 windows" in out
    cli(
        "model", "quantise", "h.safetensors", "-o", "h8.safetensors", "--bits", 8, "--recording",
        "r.npz", "--epochs", 1,
    )  # fmt: skip
    cli("train", "r.npz", "-o", "h2.safetensors", "--from", "h.safetensors", "--epochs", 1)
    named = ",".join(found["held_out"])
    found, _ = cli(
        "train", "r.npz", "-o", "n.safetensors", "--start", "trial/start", "--hold-out", named,
        "--json", *SMALL,
    )  # fmt: skip
    assert ",".join(found["held_out"]) == named


def test_train_logs_for_tensorboard(cli, folder):
    pytest.importorskip("tensorboardX")
    arguments = ("train", "r.npz", "-o", "t.safetensors", "--start", "trial/start", *SMALL)
    cli(*arguments, "--log", "board")
    (events,) = (folder / "board").iterdir()
    found = events.read_bytes()
    assert all(name in found for name in (b"training", b"validation", b"bits_per_spike"))
    with pytest.raises(CommandError, match="a log for TensorBoard cannot be written"):
        cli(*arguments, "--log", "r.npz")


def test_train_leaves_nothing_but_the_model_and_says_nothing_of_its_parts(folder, tmp_path):
    arguments = ("train", folder / "r.npz", "-o", "m.safetensors", "--start", "trial/start", *SMALL)
    done = subprocess.run(
        [sys.executable, "-m", "bci_lfads", *map(str, arguments)], cwd=tmp_path, text=True,
        capture_output=True, check=True,
    )  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]
    assert all(line.startswith("warning: ") for line in done.stderr.splitlines())
    assert "ightning" not in done.stdout + done.stderr


def test_train_that_is_interrupted_goes_on_with_the_same_command(cli, folder, monkeypatch):
    arguments = ("train", "r.npz", "-o", "i.safetensors", "--start", "trial/start", *SMALL)
    cli(*arguments)
    whole = Model.load(folder / "i.safetensors").hash
    monkeypatch.setattr("bci_lfads.models.training._WRITTEN_EVERY", 0.0)
    before = TrainingModule.on_train_epoch_start

    def interrupted(self):
        if len(self.epochs) == 1:
            raise KeyboardInterrupt
        before(self)

    monkeypatch.setattr(TrainingModule, "on_train_epoch_start", interrupted)
    found, _ = cli(*arguments, "--log", "i.csv", "--json")
    assert found["ended"] == "interrupted after 1 epochs"
    assert found["hash"] != whole
    monkeypatch.setattr(TrainingModule, "on_train_epoch_start", before)
    found, _ = cli(*arguments, "--log", "i.csv", "--resume", "--json")
    assert found["hash"] == whole
    with (folder / "i.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]
    with pytest.raises(CommandError, match="there is no training to go on with"):
        cli(*arguments, "--resume")


def test_train_on_a_sliding_window(cli, folder):
    cli("train", "r.npz", "-o", "s.safetensors", "--sliding", "--hop", 4, *SMALL)
    assert Model.load(folder / "s.safetensors").provenance["window"] == "mode sliding, hop 4"
    out, _ = cli("evaluate", "s.safetensors", "other.npz", "--sliding", "--hop", 2)
    assert "newest_bits_per_spike" in out
    assert "newest_latent_r2" in out


def test_train_goes_on_from_a_model(cli, folder, model):
    found, _ = cli(
        "train", "r.npz", "-o", "on.safetensors", "--from", model, "--epochs", 1, "--json"
    )
    assert found["epochs"] == 1
    again = Model.load(folder / "on.safetensors")
    assert again.provenance["trained_from"] == Model.load(model).hash
    assert again.alignment == Model.load(model).alignment
    with pytest.raises(CommandError, match="are those of the model to go on from"):
        cli("train", "r.npz", "-o", "on.safetensors", "--from", model, "--bins", 10)
    with pytest.raises(CommandError, match="go on from: leave out --factors, --gru"):
        cli(
            "train", "r.npz", "-o", "on.safetensors", "--from", model, "--factors", 3, "--gru",
            "reset_before",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--bins", 10), "markers in r.npz: condition/0, trial/start"),
        (("--start", "trial/start"), "say how long windows are: --bins N"),
        (("--start", "x", "--sliding", "--bins", 9), "--start and --sliding each say"),
        (("--start", "nothing", "--bins", 10), "recording's labels (condition/0, "),
        (("--sliding", "--bins", 100000), "the recording lasts"),
        ((*SMALL, "--start", "trial/start", "--keep", 2), "keep is 2.0"),
        ((*SMALL, "--start", "trial/start", "--device", "abacus"), "no device 'abacus'"),
        ((*SMALL, "--start", "trial/start", "--hold-out", "x,y"), "that are not there: x, y"),
        ((*SMALL, "--start", "trial/start", "--report", "r.doc"), "reports are written as"),
        ((*SMALL, "--start", "trial/start", "--log", "no/such/log.csv"), "no folder no/such"),
        ((*SMALL, "--start", "trial/start", "--kl", 0.1), "posteriors: leave out --kl"),
        ((*SMALL, "--start", "x", "--input-lag", 2), "no controller: leave out --input-lag"),
    ],
)  # fmt: skip
def test_train_says_what_is_missing_or_wrong(cli, arguments, message):
    with pytest.raises(CommandError) as failed:
        cli("train", "r.npz", "-o", "x.safetensors", *arguments)
    (line,) = str(failed.value).splitlines()
    assert message in line


def test_samples_of_windows_that_overlap_validate_nothing(cli):
    arguments = ("train", "r.npz", "-o", "x.safetensors", "--sliding", *SMALL)
    with pytest.raises(CommandError, match=r"take windows that do not \(--hop 10\)"):
        cli(*arguments, "--sample-validation", 0.2)
    cli(*arguments, "--sample-validation", 0.2, "--hop", 10)


def test_evaluate_shows_float_and_fixed_point_side_by_side(cli, model):
    out, err = cli("evaluate", model, "other.npz")
    assert "torch, float64" in out
    assert "native, fixed point" in out
    assert "bits_per_spike" in out
    assert "warning" not in err
    found, _ = cli("evaluate", model, "other.npz", "--rig", "rig.toml", "--json")
    assert found["n_windows"] + found["n_truncated"] == 20
    assert found["engines"]["native"]["latent_r2_each"].keys() == {
        "lorenz_x", "lorenz_y", "lorenz_z",
    }  # fmt: skip


def test_evaluate_warns_of_the_recording_that_a_model_was_trained_on(cli, model):
    _, err = cli("evaluate", model, "r.npz", "--json")
    assert "was trained on this recording" in err
    # A pattern that takes in the model's own trials among others is no other half.
    for start, seen in (("*/*", True), ("condition/*", False)):
        _, err = cli("evaluate", model, "r.npz", "--start", start, "--json")
        assert ("was trained on this recording" in err) == seen


def test_quantise_rounds_or_trains(cli, folder, model):
    found, _ = cli("model", "quantise", model, "-o", "8.safetensors", "--bits", 8, "--json")
    assert found["quantised"] == "8 bits, after training"
    assert Model.load(folder / "8.safetensors").fixed.weight_bits == 8
    found, _ = cli(
        "model",
        "quantise",
        model,
        "-o",
        "p.safetensors",
        "--bits",
        8,
        "--product-bits",
        8,
        "--json",
    )
    assert found["quantised"] == "8 bits, recurrent products of 8, after training"
    assert Model.load(folder / "p.safetensors").fixed.generator_drop == 8
    found, _ = cli(
        "model", "quantise", model, "-o", "q.safetensors", "--bits", 6, "--recording", "r.npz",
        "--epochs", 1, "--json",
    )  # fmt: skip
    scores = found["validation_bits_per_spike"]
    assert scores["after"] >= scores["before"]
    assert Model.load(folder / "q.safetensors").hash == found["hash"]


def test_quantise_says_what_it_needs(cli, model):
    with pytest.raises(CommandError, match="give --recording"):
        cli("model", "quantise", model, "-o", "x.safetensors", "--epochs", 1)
    with pytest.raises(CommandError, match="--recording too"):
        cli("model", "quantise", model, "-o", "x.safetensors", "--rig", "rig.toml")


def test_without_torch_train_says_where_it_comes_from(cli, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(CommandError, match=r"pip install 'bci-lfads\[train\]'"):
        cli("train", "r.npz", "-o", "x.safetensors", "--start", "trial/start", *SMALL)


def test_without_lightning_train_says_where_it_comes_from(cli, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    for name in ("module", "trainer", "training"):
        monkeypatch.delitem(sys.modules, f"bci_lfads.models.{name}", raising=False)
    with pytest.raises(CommandError, match=r"needs Lightning.*pip install 'bci-lfads\[train\]'"):
        cli("train", "r.npz", "-o", "x.safetensors", "--start", "trial/start", *SMALL)


def test_without_torch_models_are_scored_and_rounded_all_the_same(cli, model, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    found, _ = cli("evaluate", model, "other.npz", "--json")
    assert list(found["engines"]) == ["reference", "native"]
    cli("model", "quantise", model, "-o", "r.safetensors", "--bits", 12)


def test_the_modules_behind_these_commands_import_without_torch(folder):
    names = "cli.training, bci_lfads.fitting, bci_lfads.fit_picture, bci_lfads.evaluation"
    code = f"import sys; sys.modules['torch'] = None; import bci_lfads.{names}"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=folder)
