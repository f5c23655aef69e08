"""The cycle and area model, and the command that prints it."""

import json
from pathlib import Path

import pytest
from models.random_models import random_model
from typer.testing import CliRunner

from bci_lfads.cli import estimating  # noqa: F401  registers the command
from bci_lfads.cli.app import app
from bci_lfads.errors import ModelError
from bci_lfads.fpga_model import U55C, Build, Form, area, step_cycles, step_stages, trial
from bci_lfads.fpga_model.area import total
from bci_lfads.fpga_model.step import tree_cycles
from bci_lfads.models.importers import import_model

PUBLISHED = {
    "n_units": 70, "n_bins": 73, "n_ahead": 0, "encoder_size": 64, "generator_size": 64,
    "n_factors": 4, "ic_map": "direct", "gru": "reset_after", "activation": "hard",
}  # fmt: skip
CONFIG = Path(__file__).resolve().parents[2] / "fpga" / "include" / "lfads_config.h"


def published():
    return random_model(3, **PUBLISHED)


def test_build_is_the_kernels_configuration() -> None:
    build = Build.of_kernel()
    text = CONFIG.read_text()
    for value, define in (
        (build.max_units, "LFADS_MAX_UNITS"), (build.max_bins, "LFADS_MAX_BINS"),
        (build.max_hidden, "LFADS_MAX_HIDDEN"), (build.max_factors, "LFADS_MAX_FACTORS"),
        (build.reuse, "LFADS_REUSE"), (build.spikes, "LFADS_SPIKES"),
    ):  # fmt: skip
        assert f"#define {define} {value}\n" in text
    assert (build.lanes, build.state, build.rows) == (8, 64, 192)
    assert Build.of_kernel({"LFADS_REUSE": 6}).state == 66


def test_a_define_that_the_kernel_does_not_have_is_refused() -> None:
    with pytest.raises(ModelError, match="LFADS_LANES"):
        Build.of_kernel({"LFADS_LANES": 8})
    with pytest.raises(ModelError, match="1 or more"):
        Build.of_kernel({"LFADS_REUSE": 0})


@pytest.mark.parametrize(("lanes", "cycles"), [(1, 1), (2, 1), (3, 2), (8, 2), (9, 3), (16, 3)])
def test_tree_has_two_levels_a_cycle_and_one_for_the_input_part(lanes: int, cycles: int) -> None:
    assert tree_cycles(lanes) == cycles


def test_the_published_model_takes_at_most_twelve_microseconds_and_fits() -> None:
    spec, fixed = published()
    build = Build.of_kernel()
    cycles = trial(build, spec, fixed)
    assert sum(p.cycles for p in cycles.phases) == cycles.factors
    assert cycles.microseconds(300) <= 12
    assert cycles.most_active >= 10  # of 70 in a bin of 10 ms
    assert total(area(build)).fits(U55C)


def test_more_of_everything_takes_longer() -> None:
    spec, fixed = published()
    build = Build.of_kernel()
    base = trial(build, spec, fixed)
    assert trial(build, spec, fixed, active=70).factors > base.factors
    assert trial(build, spec, fixed, extra_registers=1).factors >= base.factors + 146 * 3
    slower = trial(Build.of_kernel({"LFADS_REUSE": 16}), spec, fixed)
    assert slower.factors > base.factors
    assert slower.most_active > base.most_active
    assert base.log_rates > base.factors


def test_a_trial_is_bound_by_projections_where_they_are_slower_than_steps() -> None:
    spec, fixed = published()
    build = Build.of_kernel()
    at_most = trial(build, spec, fixed).most_active
    assert (
        trial(build, spec, fixed, active=at_most).phases[1]
        == trial(build, spec, fixed, active=0).phases[1]
    )
    over = trial(build, spec, fixed, active=at_most + 1).phases[1]
    assert over.cycles > trial(build, spec, fixed, active=at_most).phases[1].cycles


@pytest.mark.parametrize("gru", ["reset_after", "reset_before"])
@pytest.mark.parametrize("activation", ["hard", "smooth"])
def test_every_stage_has_a_reason(gru: str, activation: str) -> None:
    spec, fixed = random_model(0, gru=gru, activation=activation, bytes_=True)
    form = Form.of(spec, fixed, "generator")
    assert form.shortens
    build = Build.of_kernel()
    stages = step_stages(build, form)
    assert all(s.cycles > 0 and s.why for s in stages)
    assert sum(s.cycles for s in stages) == step_cycles(build, form)
    assert step_cycles(build, form) > step_cycles(build, Form())


def test_less_reuse_takes_more_multipliers() -> None:
    uses = [total(area(Build.of_kernel({"LFADS_REUSE": r}))) for r in (4, 8, 16)]
    assert uses[0].dsp - uses[1].dsp == 2 * 192 * 8
    assert uses[1].dsp - uses[2].dsp == 2 * 192 * 4
    assert not total(area(Build.of_kernel({"LFADS_REUSE": 2}))).fits(U55C)


def test_a_model_larger_than_the_build_is_refused() -> None:
    spec, fixed = random_model(1, encoder_size=65)
    with pytest.raises(ModelError, match="--define LFADS_MAX_HIDDEN=65"):
        trial(Build.of_kernel(), spec, fixed)


def test_estimate_prints_the_model_and_json(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "published-lfads" / "keras_model.h5"
    if not path.exists():
        pytest.skip("the published model is not here")
    file = tmp_path / "published.safetensors"
    import_model(path).save(file)
    runner = CliRunner()
    shown = runner.invoke(app, ["fpga", "estimate", str(file)])
    assert shown.exit_code == 0, shown.output
    assert "not run on hardware" in shown.output
    assert "of a U55C" in shown.output
    result = runner.invoke(app, ["fpga", "estimate", str(file), "--json"])
    found = json.loads(result.output)
    assert found["microseconds_to_last_factor"] <= 12
    assert found["trial"]["factors"] == sum(p["cycles"] for p in found["trial"]["phases"])
    slow = runner.invoke(
        app,
        ["fpga", "estimate", str(file), "--json", "--define", "LFADS_REUSE=16", "--clock", "150"],
    )
    assert json.loads(slow.output)["microseconds_to_last_factor"] > 24
    wrong = runner.invoke(app, ["fpga", "estimate", str(file), "--define", "REUSE"])
    assert wrong.exit_code == 2
