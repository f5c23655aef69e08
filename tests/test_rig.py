"""Rig files: what is accepted, and what is said of what is not."""

from pathlib import Path

import pytest

from bci_lfads.errors import RigError
from bci_lfads.rig import SlidingSettings, TrialSettings, load_rig

TRIALS = """
name = "R"
model = "m.safetensors"
[input.spikes]
name = "Spikes"
[input.markers]
name = "Markers"
[input.units]
u0 = "12/0"
[window]
mode = "trials"
start = "trial/*"
align = "go"
offset = -0.2
"""
SLIDING = TRIALS[: TRIALS.index("[window]")] + '[window]\nmode = "sliding"\nhop = 2\n'


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "rig.toml"
        path.write_text(text)
        return path

    return write


def test_a_rig_with_trials(write):
    path = write(TRIALS)
    rig = load_rig(path)
    assert rig.window == TrialSettings(mode="trials", start="trial/*", align="go", offset=-0.2)
    assert rig.model == path.parent / "m.safetensors"
    assert rig.engine == "native"
    assert rig.input.spikes.properties() == {"name": "Spikes"}
    assert rig.input.units == {"u0": "12/0"}
    assert rig.binning.hold_off == 0.005


def test_a_rig_with_a_sliding_window(write):
    assert load_rig(write(SLIDING)).window == SlidingSettings(mode="sliding", hop=2)


def test_a_home_folder_that_is_not_known_is_told(write):
    with pytest.raises(RigError, match="home folder that is not known"):
        load_rig(write(TRIALS.replace('"m.safetensors"', '"~no_such_user/m.safetensors"')))


def test_an_absolute_model_path_stays(write, tmp_path):
    text = TRIALS.replace('"m.safetensors"', f'"{tmp_path}/other/m.safetensors"')
    assert load_rig(write(text)).model == tmp_path / "other" / "m.safetensors"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (('name = "R"\n', ""), "name: Field required"),
        (('mode = "trials"', 'mode = "trails"'), r"window: .*trails"),
        (("offset = -0.2", 'offset = "early"'), r"offset: .*\(found 'early'\)"),
        (("offset = -0.2", "offest = -0.2"), "offest: Extra inputs"),
        (('[input.spikes]\nname = "Spikes"', "[input.spikes]"), "at least one of name, type"),
        (('[input.markers]\nname = "Markers"\n', ""), r"needs \[input.markers\]"),
        (('name = "R"', 'name = "R'), "not readable as TOML"),
        (('name = "R"', 'name = "R"\nx = ' + "{x = " * 600), "not readable as TOML: maximum rec"),
        (('name = "R"', 'name = "R"\nengine = "gpu"'), "engine: .*'native'.*'gpu'"),
    ],
)
def test_what_is_wrong_is_named(write, change, says):
    text = TRIALS.replace(*change)
    assert text != TRIALS
    with pytest.raises(RigError, match=says) as error:
        load_rig(write(text))
    assert "rig.toml" in str(error.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(RigError, match="no rig file at"):
        load_rig(tmp_path / "none.toml")


def test_a_huge_file_is_not_read(write):
    with pytest.raises(RigError, match="at most 1 MiB"):
        load_rig(write("#" * (1 << 20) + "\n"))
