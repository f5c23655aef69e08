"""A frozen model fitted to today's units: what folds, what stays, and what turnover costs."""

import json
import logging
import sys
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from models.float_models import random_float_model, small_spec

from bci_lfads.cli import main
from bci_lfads.demo import bundled
from bci_lfads.engines import open_engine
from bci_lfads.errors import ModelError, RecordingError
from bci_lfads.models.model import Model
from bci_lfads.models.realign import RealignSettings, realign
from bci_lfads.models.reference import evaluate
from bci_lfads.offline import infer_all
from bci_lfads.realigning import prepare_realign
from bci_lfads.recordings import SpikeEvents, write
from bci_lfads.recordings.simulate import Lorenz, gather, simulate_lorenz
from bci_lfads.rig import TrialSettings

pytestmark = pytest.mark.usefixtures("one_thread")
FROZEN = ("recurrent", "initial_state", "ic.", "generator.", "factors.")


def some_counts(model, n=20, seed=0):
    rng = np.random.default_rng(seed)
    return rng.poisson(0.5, (n, model.spec.n_bins, model.spec.n_units)).astype(np.uint8)


def test_units_that_only_moved_are_found_by_their_labels():
    """Without a step the read-in only sorts the units, and the factors are those of before."""
    model = random_float_model(small_spec())
    counts = some_counts(model)
    order = np.random.default_rng(1).permutation(model.spec.n_units)
    labels = tuple(model.unit_labels[k] for k in order)
    found = realign(
        model, counts[..., order], labels, counts, RealignSettings(steps=1, learning_rate=0.0)
    )
    assert found.model.unit_labels == labels
    assert found.before == pytest.approx(found.after)
    assert found.before == pytest.approx(0.0, abs=1e-5)
    factors = evaluate(model.spec, model.weights, counts).factors
    again = evaluate(found.model.spec, found.model.weights, counts[..., order]).factors
    np.testing.assert_allclose(again, factors, atol=1e-4)


def test_all_but_the_way_in_and_out_stays_and_the_divergence_falls():
    model = random_float_model(small_spec())
    today = some_counts(model, 40, 5)[..., :-2] * np.uint8(3)
    labels = tuple(f"new{k}" for k in range(today.shape[-1]))
    found = realign(
        model, today, labels, some_counts(model, 40), RealignSettings(steps=60, divergence=10.0)
    )
    assert found.after < 0.7 * found.before
    assert found.model.spec.n_units == len(labels)
    for name, value in model.weights.items():
        if any(part in name for part in FROZEN):
            np.testing.assert_array_equal(found.model.weights[name], value)
    assert found.model.provenance["realigned_from"] == model.hash
    with open_engine("native", found.model) as engine:
        assert np.isfinite(engine.infer_batch(today).factors).all()
    rates = np.exp(evaluate(found.model.spec, found.model.weights, today).log_rates).mean((0, 1))
    np.testing.assert_allclose(rates, today.mean((0, 1)) / model.bin_width, rtol=0.5)


def test_too_few_windows_are_refused():
    model = random_float_model(small_spec())
    with pytest.raises(ModelError, match="1 windows of today"):
        realign(model, some_counts(model, 1), model.unit_labels, some_counts(model))
    recording = simulate_lorenz(3, n_units=model.spec.n_units)
    named = replace(recording, unit_labels=model.unit_labels)
    with pytest.raises(RecordingError, match="whole windows"):
        prepare_realign(model, named, named, TrialSettings(mode="trials", start="trial/start"))


def test_turnover_of_units_is_made_good():
    """Half of the demo's units are others: at least half of the R² lost comes back.

    benchmarks/realignment.py does it with more draws, windows and steps.
    """
    model = Model.load(bundled("demo_model.safetensors"))
    task = Lorenz(
        n_units=48, trial_length=0.73, gap=(0.2, 0.5), rate=12.0, speed=2.0, population_seed=2402
    )

    def windows(seed, n, gone=()):
        day = gather(replace(task, seed=seed).blocks(), n)
        others = gather(replace(task, seed=seed, population_seed=5).blocks(), n)
        away = np.isin(np.arange(48), gone)
        times = np.r_[day.spikes.times[~away[day.spikes.units]],
                      others.spikes.times[away[others.spikes.units]]]  # fmt: skip
        units = np.r_[day.spikes.units[~away[day.spikes.units]],
                      others.spikes.units[away[others.spikes.units]]]  # fmt: skip
        order = np.argsort(times, kind="stable")
        turned = replace(day, spikes=SpikeEvents(times[order], units[order]))
        data = prepare_realign(model, turned, turned)
        starts = turned.markers.times[[m == "trial/start" for m in turned.markers.labels]]
        series = turned.series["latents"]
        centres = starts[:, None] + model.bin_width * (np.arange(73) + 0.5)
        at = np.searchsorted(0.5 * (series.times[1:] + series.times[:-1]), centres)
        return data.today, series.values[at][: len(data.today)].astype(float)

    def factors(some, counts):
        with open_engine("native", some) as engine:
            found = infer_all(engine, counts).factors
        return np.concatenate([found, np.ones((*found.shape[:2], 1))], axis=-1)

    reference, latents = windows(1, 80)
    x = factors(model, reference)
    decoder = np.linalg.lstsq(x.reshape(-1, 5), latents.reshape(-1, 3), rcond=None)[0]
    gone = np.random.default_rng(0).choice(48, 24, replace=False)
    counts, true = windows(3, 100, gone)
    same, _ = windows(3, 100)

    def r2(some, which):
        rest = ((true[60:] - factors(some, which[60:]) @ decoder) ** 2).sum()
        return 1 - rest / ((true[60:] - true[60:].mean((0, 1))) ** 2).sum()

    found = realign(
        model, counts[:60], model.unit_labels, reference, RealignSettings(steps=60, batch=20)
    )
    before, lost, regained = r2(model, same), r2(model, counts), r2(found.model, counts)
    assert before - lost > 0.02
    assert regained - lost > 0.5 * (before - lost), (before, lost, regained)


def test_the_command(tmp_path, monkeypatch, capsys):
    recording = simulate_lorenz(14, n_units=7, trial_length=0.3)
    model = random_float_model(small_spec())
    model = replace(model, unit_labels=recording.unit_labels)
    model.save(tmp_path / "m.safetensors")
    write(recording, tmp_path / "r.npz")
    write(recording.select(recording.unit_labels[1:]), tmp_path / "today.npz")
    level = logging.getLogger("bci_lfads").level
    arguments = [
        "bci-lfads", "--quiet", "realign", tmp_path / "m.safetensors", tmp_path / "today.npz",
        "-o", tmp_path / "out.safetensors", "--reference", tmp_path / "r.npz",
        "--start", "trial/start", "--steps", 3, "--json",
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", list(map(str, arguments)))
    with pytest.raises(SystemExit) as ended:
        main()
    logging.getLogger("bci_lfads").setLevel(level)
    assert not ended.value.code
    said = json.loads(capsys.readouterr().out)
    new = Model.load(tmp_path / "out.safetensors")
    assert (said["hash"], said["windows"], said["units_of_the_same_label"]) == (new.hash, 14, 6)
    assert new.unit_labels == recording.unit_labels[1:]
