"""The command line: what each command writes, and that what goes wrong is said in one line."""

import json
import logging
import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from models import keras_files
from models.float_models import poisson, random_float_model, small_spec

from bci_lfads import __version__
from bci_lfads.cli import main
from bci_lfads.cli.show import as_json, facts, in_words
from bci_lfads.models.alignment import Alignment
from bci_lfads.models.keras_import import import_keras
from bci_lfads.models.model import Model
from bci_lfads.models.reference import infer_float
from bci_lfads.offline import cut
from bci_lfads.recordings import read, summary, write
from bci_lfads.recordings.simulate import simulate_lorenz

COMMANDS = [
    "demo", "run", "gui", "listen", "streams", "doctor", "replay", "simulate", "record", "info",
    "convert", "infer", "train", "evaluate", "realign", "verify", "export-nwb", "model",
    "model import", "model info", "model check", "model quantise", "model export", "decode",
    "decode carry", "decode fit", "decode run", "decode score", "trigger", "trigger-order",
    "closed-loop",
    "closed-loop calibrate", "closed-loop run", "closed-loop curve", "sweep", "fpga", "fpga info",
    "fpga load", "fpga selftest", "fpga bench", "fpga estimate", "soak", "lsl-config",
]  # fmt: skip
SPEC = small_spec()
SHAPE = (SPEC.n_bins, SPEC.n_units)


class Ran:
    """What a command left behind."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self):
        assert self.code == 0, self.err

        def refuse(constant):
            raise AssertionError(f"{constant} is no JSON")

        return json.loads(self.out, parse_constant=refuse)

    @property
    def error(self) -> str:
        """The one line of an error, without its first word."""
        assert self.code == 1
        assert self.out == ""
        (line,) = self.err.splitlines()
        assert line.startswith("error: ")
        return line.removeprefix("error: ")


@pytest.fixture
def cli(monkeypatch, capsys):
    """Run commands as `bci-lfads` does, in this process."""
    monkeypatch.setenv("COLUMNS", "100")
    level = logging.getLogger("bci_lfads").level

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["bci-lfads", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return Ran(ended.value.code or 0, *capsys.readouterr())

    yield run
    logging.getLogger("bci_lfads").setLevel(level)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Hold a model, its counts, a recording that fits it, and files that are of no use."""
    folder = tmp_path_factory.mktemp("cli")
    recording = simulate_lorenz(6, n_units=SPEC.n_units, rate=20.0, trial_length=0.3, seed=1)
    model = random_float_model(
        SPEC, unit_labels=recording.unit_labels,
        alignment=Alignment(start="trial/start", align=None, offset=0.0),
    )  # fmt: skip
    model.save(folder / "m.safetensors")
    write(recording, folder / "r.npz")
    np.save(folder / "c.npy", poisson(SPEC, 5))
    np.save(folder / "none.npy", poisson(SPEC, 0))
    np.save(folder / "wide.npy", np.zeros((2, SPEC.n_bins, SPEC.n_units + 1), np.uint8))
    np.save(folder / "int.npy", np.zeros((2, *SHAPE), np.int64))
    (folder / "text").write_text("hello")
    (folder / "text.npy").write_text("hello")
    (folder / "rig.toml").write_text(
        'name = "R"\nmodel = "m.safetensors"\n[input.spikes]\nname = "S"\n'
        '[window]\nmode = "sliding"\nhop = 3\n'
    )
    return folder


@pytest.fixture(autouse=True)
def _there(folder, monkeypatch):
    monkeypatch.chdir(folder)


# Help, and the program itself


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(cli, command):
    ran = cli(*command.split(), "--help")
    assert ran.code == 0
    assert f"Usage: bci-lfads {command}" in ran.out
    assert ran.err == ""


def test_the_list_of_commands_is_whole(cli):
    """So that a new command is tested too."""
    listed = cli("--help").out
    from bci_lfads.cli.app import app

    names = [c.name or c.callback.__name__ for c in app.registered_commands]
    for group in app.registered_groups:
        names.append(group.name)
        commands = group.typer_instance.registered_commands
        names += [f"{group.name} {c.name or c.callback.__name__}" for c in commands]
    assert sorted(names) == sorted(COMMANDS)
    assert all(name in listed for name in names if " " not in name)


def test_the_version(cli):
    ran = cli("--version")
    assert (ran.code, ran.out) == (0, f"{__version__}\n")


@pytest.mark.parametrize("arguments", [[], ["--quiet"], ["model"]])
def test_no_command_shows_the_help(cli, arguments):
    ran = cli(*arguments)
    assert ran.code == 2
    assert "Usage: bci-lfads" in ran.out + ran.err


@pytest.mark.parametrize("arguments", [["dance"], ["infer"], ["info", "r.npz", "--loud"]])
def test_a_wrong_call_is_told_how_it_goes(cli, arguments):
    ran = cli(*arguments)
    assert ran.code == 2
    assert "Usage: bci-lfads" in ran.err


def test_the_installed_program_says_what_is_wrong(tmp_path):
    program = Path(sys.executable).with_name("bci-lfads")
    for start in ([str(program)], [sys.executable, "-m", "bci_lfads"]):
        done = subprocess.run(
            [*start, "info", "none.npz"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr == "error: none.npz cannot be read: No such file or directory\n"


def test_an_error_of_the_system_is_a_line_too(cli, tmp_path):
    """The demo's folder is a file."""
    (tmp_path / "out").write_text("")
    assert cli("demo", "-o", tmp_path / "out").error == f"{tmp_path / 'out'}: File exists"


def test_brackets_in_messages_stay(cli):
    """They name settings, and are no markup."""
    assert cli("info", "[red]/x[/red].npz").error.startswith("[red]/x[/red].npz cannot be read")


def test_brackets_in_tables_stay_and_nothing_is_cut_short(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    facts("[t] of :dog:", {"[input.units]": "[/red] :x:", "hash": "0123456789" * 10})
    out = capsys.readouterr().out
    assert "[t] of :dog:" in out
    assert "[input.units]" in out
    assert "[/red] :x:" in out
    assert sum(c.isdigit() for c in out) == 100


def test_values_in_words():
    assert in_words(462.07233337) == "462.072"
    assert in_words({"a": 1, "b": [0.5, 1e-9]}) == "a 1, b 0.5, 1e-09"
    assert in_words([]) == in_words(None) == "none"


def test_json_has_no_numbers_that_json_lacks(capsys):
    as_json({"a": float("nan"), "b": [float("inf"), 1.5], "c": Path("x")})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5], "c": "x"}


def test_progress_is_shown_on_a_terminal_and_nowhere_else(tmp_path):
    """On standard error, so that standard output stays JSON."""
    command = [
        sys.executable, "-m", "bci_lfads", "simulate", "lorenz", "--trials", "2", "--json", "-o",
    ]  # fmt: skip
    piped = subprocess.run(
        [*command, "a.npz"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert piped.stderr == ""
    try:
        ours, theirs = pty.openpty()
    except OSError as error:
        pytest.skip(f"this machine gives no terminal: {error}")
    shown = subprocess.run(
        [*command, "b.npz"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=theirs, text=True,
        check=True, env=os.environ | {"TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    assert json.loads(shown.stdout)["n_markers"] == 4
    bar = os.read(ours, 10_000).decode()
    os.close(ours)
    assert "simulating" in bar
    assert "/2" in bar


# Models


@pytest.fixture(scope="module")
def published(shared_data) -> Path:
    """Return the Keras file of the published model."""
    return shared_data / "published-lfads" / "keras_model.h5"


def test_the_published_model_is_imported_and_infers_in_both_engines(cli, published, tmp_path):
    file, out = tmp_path / "m.safetensors", tmp_path / "out.npz"
    ran = cli("model", "import", published, "-o", file)
    assert ran.code == 0
    assert ran.out.startswith(f"{file}: 73 bins of 10 ms, 70 units, 4 factors")
    model = Model.load(file)
    counts = np.random.default_rng(0).poisson(0.2, (8, 73, 70)).astype(np.uint8)
    np.save(tmp_path / "in.npy", counts)
    expected = infer_float(model.spec, model.weights, counts)
    for engine, most in (("native", 0.05), ("torch", 1e-5)):
        ran = cli("infer", file, tmp_path / "in.npy", "-o", out, "--engine", engine)
        assert ran.code == 0, ran.err
        with np.load(out) as found:
            assert found["factors"].shape == (8, 73, 4)
            assert found["log_rates"].shape == (8, 73, 70)
            assert found["factors"].dtype == found["log_rates"].dtype == np.float32
            assert np.abs(found["factors"] - expected.factors).max() < most
            assert np.abs(found["log_rates"] - expected.log_rates).max() < most


def test_an_import_takes_the_bin_width_that_is_given(cli, tmp_path):
    layers, weights = keras_files.small()
    source = keras_files.write(tmp_path / "k.h5", layers, weights)
    ran = cli("model", "import", source, "-o", tmp_path / "m", "--bin-width", 0.02, "--json")
    assert ran.json["hash"] == import_keras(source, bin_width=0.02).hash
    assert (ran.json["n_bins"], ran.json["n_units"], ran.json["n_factors"]) == (9, 7, 3)
    assert Model.load(tmp_path / "m").bin_width == 0.02
    assert not (tmp_path / "m.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nothing.h5", "-o", "x"), "no file at nothing.h5"),
        (("text", "-o", "x"), "supported: Keras HDF5"),
        (("m.safetensors", "-o", "x"), "a bci-lfads model is used as it is"),
        (("r.npz", "-o", "x"), "a zip archive"),
        ((".", "-o", "x"), "no file at ."),
    ],
)
def test_what_cannot_be_imported_is_named(cli, arguments, says):
    assert says in cli("model", "import", *arguments).error


def test_an_import_into_a_missing_folder(cli, tmp_path):
    source = keras_files.write(tmp_path / "k.h5", *keras_files.small())
    error = cli("model", "import", source, "-o", tmp_path / "no" / "m.safetensors").error
    assert "cannot be written: there is no folder" in error


def test_a_model_is_described(cli):
    model = Model.load("m.safetensors")
    found = cli("model", "info", "m.safetensors", "--json").json
    assert found["hash"] == model.hash
    assert found["unit_labels"] == list(model.unit_labels)
    assert found["spec"]["n_bins"] == SPEC.n_bins
    assert found["alignment"]["start"] == "trial/start"
    shown = cli("model", "info", "m.safetensors").out
    assert "9 bins of 10 ms" in shown
    assert "'trial/start' +0 ms" in shown
    assert model.hash in shown.replace("│", "").replace(" ", "").replace("\n", "")


def test_a_model_is_checked(cli):
    found = cli("model", "check", "m.safetensors", "--json").json
    assert found["simulated"] is True
    assert found["arithmetic"] == "native engine"
    assert 0 < found["factors_max_error"] < 0.01
    assert "factors_max_error" in cli("model", "check", "m.safetensors").out
    on_counts = cli("model", "check", "m.safetensors", "--counts", "c.npy", "--json").json
    assert (on_counts["simulated"], on_counts["n_trials"]) == (False, 5)
    on_recording = cli("model", "check", "m.safetensors", "--counts", "r.npz", "--json").json
    assert on_recording["n_trials"] == 6


@pytest.mark.parametrize("command", [("model", "info"), ("model", "check")])
@pytest.mark.parametrize(
    ("file", "says"),
    [("none.safetensors", "no model file"), ("text", "not a safetensors"), (".", "no model file")],
)
def test_a_file_that_is_no_model(cli, command, file, says):
    assert says in cli(*command, file).error


def test_a_model_cannot_be_checked_on_nothing(cli):
    assert "no window" in cli("model", "check", "m.safetensors", "--counts", "none.npy").error


# Inference


def test_inference_of_an_array(cli, tmp_path):
    out = tmp_path / "out.npz"
    found = cli("infer", "m.safetensors", "c.npy", "-o", out, "--json").json
    model = Model.load("m.safetensors")
    assert found["output"] == str(out)
    assert found["windows"] == 5
    assert found["factors"] == [5, SPEC.n_bins, SPEC.n_factors]
    assert found["model_hash"] == model.hash
    assert found["microseconds_per_window"] > 0
    expected = infer_float(SPEC, model.weights, np.load("c.npy"))
    with np.load(out) as file:
        assert file["factors"] == pytest.approx(expected.factors, abs=0.01)
        assert file["log_rates"] == pytest.approx(expected.log_rates, abs=0.01)
        assert str(file["model_hash"]) == model.hash


def test_inference_of_a_recording(cli, tmp_path):
    """Trials as the model was trained; or by a rig's window."""
    out = tmp_path / "out"
    assert cli("infer", "m.safetensors", "r.npz", "-o", out, "--json").json["windows"] == 6
    with np.load(out) as file:
        assert file["labels"].tolist() == ["trial/start"] * 6
        starts = cut(read("r.npz"), Model.load("m.safetensors")).starts
        np.testing.assert_array_equal(file["starts"], starts)
    found = cli("infer", "m.safetensors", "r.npz", "-o", out, "--rig", "rig.toml", "--json").json
    with np.load(out) as file:
        assert len(file["factors"]) == found["windows"] > 6
        assert np.diff(file["starts"]) == pytest.approx(0.03)


def test_inference_of_no_trials_is_no_error(cli, tmp_path):
    for engine in ("native", "torch"):
        out = tmp_path / f"{engine}.npz"
        ran = cli("infer", "m.safetensors", "none.npy", "-o", out, "--engine", engine, "--json")
        assert ran.json["windows"] == 0
        assert ran.json["microseconds_per_window"] is None
        with np.load(out) as file:
            assert file["factors"].shape == (0, SPEC.n_bins, SPEC.n_factors)
            assert file["log_rates"].shape == (0, *SHAPE)
            assert file["factors"].dtype == file["log_rates"].dtype == np.float32


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("m.safetensors", "gone.npy", "-o", "x"), "gone.npy cannot be read: No such file"),
        (("m.safetensors", "gone.npz", "-o", "x"), "gone.npz cannot be read: No such file"),
        (("gone.safetensors", "c.npy", "-o", "x"), "no model file at gone.safetensors"),
        (("text", "c.npy", "-o", "x"), "text is not a safetensors file"),
        (("m.safetensors", "text.npy", "-o", "x"), "text.npy is no NumPy array"),
        (("m.safetensors", "text", "-o", "x"), "text is empty or of unknown format"),
        (("m.safetensors", "wide.npy", "-o", "x"), "(2, 9, 8); the model takes uint8 of shape"),
        (("m.safetensors", "int.npy", "-o", "x"), "int.npy holds int64"),
        (("m.safetensors", "c.npy", "-o", "no/x.npz"), "there is no folder no"),
        (("m.safetensors", "c.npy", "-o", "."), "it is a folder"),
        (("m.safetensors", "c.npy", "-o", "x", "--engine", "gpu"), "there are native, torch, fpga"),
        (("m.safetensors", "c.npy", "-o", "x", "--engine", "fpga"), "Xilinx Runtime"),
        (("m.safetensors", "c.npy", "-o", "x", "--rig", "rig.toml"), "leave out --rig"),
        (("m.safetensors", "r.npz", "-o", "x", "--rig", "gone.toml"), "no rig file at gone.toml"),
        (("m.safetensors", "r.npz", "-o", "x", "--rig", "text"), "text is not readable as TOML"),
    ],
)  # fmt: skip
def test_what_cannot_be_inferred_is_said_in_a_line(cli, folder, arguments, says):
    assert says in cli("infer", *arguments).error
    assert not (folder / "x").exists()


def test_a_recording_of_other_units(cli, tmp_path):
    write(simulate_lorenz(2, n_units=3), tmp_path / "three.npz")
    error = cli("infer", "m.safetensors", tmp_path / "three.npz", "-o", tmp_path / "x").error
    assert "has 3 units but not unit_04, unit_05, unit_06, unit_07" in error


def test_a_rig_that_does_not_fit_the_model(cli, tmp_path):
    text = Path("rig.toml").read_text()
    for change, says in (
        (text.replace("hop = 3", "hop = 10"), "window.hop is 10 bins"),
        (text + '[input.units]\nzz = "1/0"\n', "[input.units] maps 'zz', which the model does not"),
    ):
        (tmp_path / "rig.toml").write_text(change)
        arguments = ("m.safetensors", "r.npz", "-o", tmp_path / "x", "--rig", tmp_path / "rig.toml")
        assert says in cli("infer", *arguments).error


# Recordings


@pytest.mark.parametrize("task", ["lorenz", "reach"])
@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_a_simulation_is_written(cli, tmp_path, task, suffix):
    file = tmp_path / f"s{suffix}"
    found = cli("simulate", task, "-o", file, "--trials", 2, "--units", 5, "--json").json
    recording = read(file)
    assert found == {"file": str(file), **json.loads(json.dumps(summary(recording)))}
    assert recording.n_units == 5
    assert "latents" in recording.series


def test_a_simulation_is_the_same_for_the_same_seed(cli, tmp_path):
    hashes = []
    for name, seed in (("a", 4), ("b", 4), ("c", 5)):
        file = tmp_path / f"{name}.npz"
        cli("simulate", "lorenz", "-o", file, "--seconds", 3, "--seed", seed)
        hashes.append(read(file).spikes.times.tobytes())
    assert hashes[0] == hashes[1] != hashes[2]


def test_what_a_simulation_made_is_shown_in_short(cli, tmp_path):
    out = cli("simulate", "lorenz", "-o", tmp_path / "s.npz", "--trials", 2).out
    assert "trial/start (2)" in out
    assert "n_samples" not in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("lorenz",), "either -o FILE or --live"),
        (("lorenz", "-o", "x.npz", "--live"), "either -o FILE or --live"),
        (("tango", "-o", "x.npz"), "no simulation called 'tango'; there are lorenz, reach"),
        (("lorenz", "-o", "no/x.npz"), "there is no folder no"),
        (("lorenz", "-o", "x.txt", "--trials", "1"), "written to .npz, .h5 or .hdf5, not to .txt"),
        (("lorenz", "-o", "x.npz", "--units", "0"), "n_units = 0: it must be above zero"),
        (("lorenz", "-o", "x.npz", "--rate", "-1"), "rate = -1.0: it must be above zero"),
        (("lorenz", "-o", "x.npz", "--trials", "0"), "nothing to simulate"),
        (("lorenz", "-o", "x.npz", "--seconds", "inf"), "nothing to simulate"),
        (("lorenz", "-o", "x.npz", "--seconds", "1", "--trials", "1"), "either n_trials or durat"),
        (("lorenz", "--live", "--format", "counts"), "events or ids, not 'counts'"),
    ],
)
def test_what_cannot_be_simulated_is_said_in_a_line(cli, folder, arguments, says):
    assert says in cli("simulate", *arguments).error
    assert not (folder / "x.npz").exists()


def test_a_negative_seed_is_a_wrong_call(cli):
    ran = cli("simulate", "lorenz", "-o", "x.npz", "--seed", -1)
    assert ran.code == 2
    assert "--seed" in ran.err


def test_a_recording_is_described(cli):
    assert cli("info", "r.npz", "--json").json == json.loads(json.dumps(summary(read("r.npz"))))
    shown = cli("info", "r.npz").out
    assert "trial/start (6)" in shown
    assert "unit_01, unit_02" in shown


def test_a_recording_is_converted(cli, tmp_path):
    file = tmp_path / "c.h5"
    ran = cli(
        "convert", "r.npz", file, "--bin-width", 0.01, "--units", "unit_03, unit_01", "--json"
    )
    found = read(file)
    assert found.unit_labels == ("unit_03", "unit_01")
    assert found.spikes.bin_width == 0.01
    assert (
        ran.json["n_spikes"] == found.n_spikes == read("r.npz").select(found.unit_labels).n_spikes
    )
    assert f"{file}: 7 units" in cli("convert", "r.npz", file).out
    assert read(file).spikes.times.tolist() == read("r.npz").spikes.times.tolist()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("info", "gone.npz"), "gone.npz cannot be read: No such file or directory"),
        (("info", "text"), "text is empty or of unknown format"),
        (("info", "."), ". cannot be read: Is a directory"),
        (("info", "c.npy"), "a bare NumPy array without unit labels or times"),
        (("convert", "gone.npz", "x.npz"), "gone.npz cannot be read"),
        (("convert", "r.npz", "no/x.npz"), "there is no folder no"),
        (("convert", "r.npz", "x.xdf"), "XDF files are recorded from LSL"),
        (("convert", "r.npz", "x.npz", "--units", "a,b"), "has 7 units but not a, b"),
        (("convert", "r.npz", "x.npz", "--bin-width", "0"), "bin width must be above 0 s"),
        (("convert", "r.npz", "x.npz", "--bin-width", "nan"), "bin width must be above 0 s"),
        (("replay", "gone.npz"), "gone.npz cannot be read"),
        (("replay", "r.npz", "--speed", "fast"), "speed is 'fast'; give a number, or max"),
        (("replay", "r.npz", "--speed", "0"), "give a number above 0"),
        (("replay", "r.npz", "--format", "bits"), "there are events, ids and counts"),
        (("replay", "r.npz", "--format", "counts"), "say how wide a bin is"),
        (("record", "no/x.xdf"), "there is no folder no"),
        (("run", "gone.toml"), "no rig file at gone.toml"),
        (("run", "text"), "text is not readable as TOML"),
        (("listen", "R", "-o", "no/x.npz"), "there is no folder no"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_said_in_a_line(cli, folder, arguments, says):
    assert says in cli(*arguments).error
    assert not (folder / "x.npz").exists()


# The loop's commands, over LSL


@pytest.mark.lsl
def test_a_run_without_its_streams_says_what_it_looked_for(cli, tmp_path, unique):
    text = Path("rig.toml").read_text().replace('"R"', f'"{unique}"').replace('"S"', f'"{unique}"')
    (tmp_path / "rig.toml").write_text(
        text.replace("m.safetensors", str(Path.cwd() / "m.safetensors"))
    )
    error = cli("--quiet", "run", tmp_path / "rig.toml", "--timeout", 0.2).error
    assert f"no stream with name '{unique}' yet after 0.2 s" in error


@pytest.mark.lsl
def test_a_listener_without_a_rig_says_so(cli, unique):
    error = cli("listen", unique, "--timeout", 0.2).error
    assert f"no stream '{unique} TrialFactors'" in error


@pytest.mark.lsl
def test_streams_are_listed_as_json(cli):
    found = cli("streams", "--wait", 0.2, "--seconds", 0.1, "--json").json
    assert isinstance(found, list)


@pytest.mark.lsl
def test_a_doctor_without_a_rig(cli):
    found = cli("doctor", "--json").json
    assert found["ready"] is True
    findings = {f["what"]: f for f in found["findings"]}
    assert findings["LSL"]["verdict"] == "ok"
    assert findings["engine native"]["verdict"] == "ok"
    assert findings["engine fpga"]["verdict"] == "note"


@pytest.mark.lsl
def test_a_doctor_says_of_a_bad_rig_what_is_wrong(cli, tmp_path):
    for content, says in (
        ("name = 3", "model: Field required"),
        (Path("rig.toml").read_text(), "no model file at"),
    ):
        (tmp_path / "rig.toml").write_text(content)
        ran = cli("doctor", tmp_path / "rig.toml", "--json")
        assert ran.code == 1
        found = json.loads(ran.out)
        assert found["ready"] is False
        failed = [f["found"] for f in found["findings"] if f["verdict"] == "fail"]
        assert any(says in text for text in failed), failed
    ran = cli("doctor", tmp_path / "rig.toml")
    assert ran.code == 1
    assert "no model file at" in ran.out
