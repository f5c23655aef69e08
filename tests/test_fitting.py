"""From a recording to a model and its scores, with tiny networks."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from models.training_cases import small_recording

from bci_lfads import evaluation
from bci_lfads.engines import open_engine
from bci_lfads.errors import BciLfadsError, EngineError, ModelError, RecordingError
from bci_lfads.evaluation import evaluate_model
from bci_lfads.fit_picture import draw, report
from bci_lfads.fitting import Sizes, fit_model
from bci_lfads.models.history import TrainingSettings, epochs_for
from bci_lfads.models.model import Model
from bci_lfads.models.scores import bits_per_spike, decode_r2
from bci_lfads.offline import cut, infer_all
from bci_lfads.preparing import digest, prepare
from bci_lfads.recordings.recording import BinnedCounts, Markers, Series
from bci_lfads.rig import SlidingSettings, TrialSettings
from bci_lfads.rounding import quantise_model
from bci_lfads.samples import subset
from bci_lfads.scoring import Asked, conditions_of, series_at

pytestmark = pytest.mark.usefixtures("one_thread")
TRIALS = TrialSettings(mode="trials", start="trial/start")
WIDTH = 0.02
QUICK = TrainingSettings(epochs=4, batch=16, learning_rate=1e-2, warm_up=2, seed=3)


@pytest.fixture(scope="module")
def recording():
    return small_recording(40, seed=1)


@pytest.fixture(scope="module")
def data(recording):
    return prepare(recording, TRIALS, 10, WIDTH, seed=3)


@pytest.fixture(scope="module")
def fitted(data):
    return fit_model(data, Sizes(factors=2, hidden=6), QUICK)


def test_windows_are_those_that_the_model_is_given_later(recording, data, fitted):
    later = cut(recording, fitted.model)
    rows = np.searchsorted(later.trials, data.batch.trials)
    assert np.array_equal(later.counts[rows], data.batch.counts)
    assert len(data.parts.training) + len(data.parts.validation) == len(data.batch.counts)


def test_the_model_carries_where_it_comes_from(recording, fitted):
    model = fitted.model
    assert model.unit_labels == recording.unit_labels
    assert model.bin_width == WIDTH
    assert model.alignment is not None
    assert model.alignment.start == "trial/start"
    provenance = model.provenance
    assert provenance["data"].startswith("simulated Lorenz, ")
    assert "32 windows for training, 8 for validation" in provenance["data"]
    assert provenance["seed"] == "3"
    assert provenance["epochs"].startswith(f"{fitted.history.best} of 4")
    assert f"torch {torch.__version__}" in provenance["versions"]
    assert provenance["data_sha256"] == digest(recording)
    score = fitted.scores.bits_per_spike
    assert provenance["validation bits_per_spike"] == f"{score:.4f}"


def test_scores_are_those_of_the_validation_windows(recording, data, fitted):
    held = subset(data.batch, data.parts.validation)
    with open_engine("native", fitted.model) as engine:
        latents = infer_all(engine, held.counts)
    expected = bits_per_spike(latents.log_rates, held.counts, WIDTH)
    assert fitted.scores.bits_per_spike == expected
    r2 = decode_r2(latents.factors, series_at(recording, "latents", held))
    assert fitted.scores.latent_r2 == r2.mean
    assert set(fitted.scores.latent_r2_each) == {"lorenz_x", "lorenz_y", "lorenz_z"}
    assert fitted.scores.psth_r2 is not None


def test_a_saved_model_is_the_same(fitted, tmp_path):
    fitted.model.save(tmp_path / "m.safetensors")
    again = Model.load(tmp_path / "m.safetensors")
    assert again.hash == fitted.model.hash
    assert dict(again.provenance) == dict(fitted.model.provenance)


def test_training_goes_on_from_a_model_and_never_gets_worse(data, fitted):
    more = fit_model(data, None, QUICK, start=fitted.model)
    best = fitted.history.best_epoch.validation
    assert more.history.epochs[0].validation == pytest.approx(best, abs=1e-6)
    assert more.history.best_epoch.validation <= best + 1e-9
    assert more.model.spec == fitted.model.spec
    assert more.model.provenance["trained_from"] == fitted.model.hash


def test_a_model_of_other_units_or_bins_cannot_be_trained_further(recording, fitted):
    longer = prepare(recording, TRIALS, 9, WIDTH)
    with pytest.raises(ModelError, match=r"it has 10 bins of 0\.02 s, the data 9"):
        fit_model(longer, None, QUICK, start=fitted.model)
    fewer = prepare(recording, TRIALS, 10, WIDTH, units=recording.unit_labels[:5])
    with pytest.raises(ModelError, match="its units are 8 others"):
        fit_model(fewer, None, QUICK, start=fitted.model)


def test_units_that_hardly_fire_are_left_out(recording):
    times = recording.spikes.times
    rate = np.bincount(recording.spikes.units, minlength=8) / recording.duration
    limit = float(np.median(rate))
    data = prepare(recording, TRIALS, 10, WIDTH, min_rate=limit)
    kept = [u for u, r in zip(recording.unit_labels, rate, strict=True) if r >= limit]
    assert data.recording.unit_labels == tuple(kept)
    with pytest.raises(RecordingError, match="no unit fires at 9999 Hz"):
        prepare(recording, TRIALS, 10, WIDTH, min_rate=9999)
    with pytest.raises(RecordingError, match="expected 0 or more"):
        prepare(recording, TRIALS, 10, WIDTH, min_rate=-1)
    assert len(times) == recording.n_spikes


def test_counts_are_trained_on_too_and_their_bins_must_fit(recording):
    spikes = recording.spikes
    counts = np.zeros((int(recording.duration / 0.01) + 1, 8), np.uint8)
    np.add.at(counts, ((spikes.times / 0.01).astype(int), spikes.units), 1)
    binned = replace(recording, spikes=BinnedCounts(counts, 0.01))
    assert prepare(binned, TRIALS, 10, WIDTH, min_rate=1.0).batch.counts.shape[1:] == (10, 8)
    with pytest.raises(RecordingError, match="not a whole multiple"):
        prepare(binned, TRIALS, 10, 0.015)


def test_what_is_unfit_is_named_before_training(recording):
    silent = replace(recording, unit_labels=(*recording.unit_labels, "ghost"))
    faults = " ".join(prepare(silent, TRIALS, 10, WIDTH).faults)
    assert "1 of 9 units are silent in all windows (ghost)" in faults
    assert "only 40 windows" in faults


def test_truncated_windows_are_left_out(recording):
    late = replace(recording, stop=recording.stop - 0.1)
    late = replace(
        late,
        spikes=type(late.spikes)(
            late.spikes.times[late.spikes.times < late.stop],
            late.spikes.units[late.spikes.times < late.stop],
        ),
    )
    data = prepare(late, TRIALS, 10, WIDTH)
    assert len(data.batch.counts) == 39
    assert "1 of 40 windows may lack spikes" in " ".join(data.faults)


def test_a_sliding_window_is_trained_without_alignment(recording):
    data = prepare(recording, SlidingSettings(mode="sliding", hop=3), 10, WIDTH)
    model = fit_model(data, Sizes(2, 5), replace(QUICK, epochs=1)).model
    assert model.alignment is None
    assert model.provenance["window"] == "mode sliding, hop 3"


def test_evaluation_scores_float_and_fixed_point_side_by_side(recording, fitted):
    found = evaluate_model(fitted.model, recording)
    assert list(found.engines) == ["torch", "native"]
    floats, fixed = found.engines.values()
    assert floats.bits_per_spike == pytest.approx(fixed.bits_per_spike, abs=2e-3)
    assert floats.bits_per_spike != fixed.bits_per_spike
    assert found.n_windows == 40
    assert found.n_conditions == 2
    content = found.as_dict()
    assert content["engines"]["native"]["latent_r2_each"].keys() == fixed.latent_r2_each.keys()
    assert "behaviour_r2" not in content["engines"]["native"]


def test_without_torch_the_float_model_is_evaluated_in_numpy(recording, fitted, monkeypatch):
    expected = evaluate_model(fitted.model, recording).engines["torch"]

    def opened(name, model):
        if name == "torch":
            raise EngineError("no torch here")
        return open_engine(name, model)

    monkeypatch.setattr(evaluation, "open_engine", opened)
    done = []
    found = evaluate_model(
        fitted.model, recording, on_progress=lambda n, total: done.append((n, total))
    )
    assert list(found.engines) == ["reference", "native"]
    assert found.engines["reference"].bits_per_spike == pytest.approx(expected.bits_per_spike)
    assert done[-1] == (80, 80)


def test_behaviour_is_decoded_at_a_lag(recording, fitted):
    latents = recording.series["latents"]
    behaviour = Series(latents.times + 0.04, latents.values[:, :1], ("hand",))
    moved = replace(recording, series={"behaviour": behaviour})
    late = evaluate_model(fitted.model, moved, asked=Asked(lag=0.05)).engines["native"]
    assert late.behaviour_lag == pytest.approx(0.04)
    assert late.latent_r2 is None
    assert late.behaviour_r2_each is not None
    assert list(late.behaviour_r2_each) == ["hand"]
    with pytest.raises(RecordingError, match="the lag is nan"):
        Asked(lag=float("nan"))


def test_windows_where_behaviour_is_not_known_are_not_decoded(recording, fitted):
    values = recording.series["latents"].values.copy()
    values[: len(values) // 2] = np.nan
    times = recording.series["latents"].times
    half = replace(recording, series={"behaviour": Series(times, values[:, :1], ("hand",))})
    r2 = evaluate_model(fitted.model, half).engines["native"].behaviour_r2
    assert r2 is not None
    assert np.isfinite(r2)
    none = replace(half, series={"behaviour": Series(times, np.nan * values[:, :1], ("hand",))})
    assert evaluate_model(fitted.model, none).engines["native"].behaviour_r2 is None


def test_a_trial_has_the_condition_of_the_nearest_marker_that_is_its_own(recording, data):
    found = conditions_of(recording, data.batch)
    assert found == tuple(f"condition/{k % 2}" for k in range(40))
    zeros = data.batch.zeros
    order = np.argsort(times := np.array([zeros[0] + 0.05, zeros[2] - 0.05, zeros[2] + 0.02]))
    labels = ("x/first", "x/far", "x/near")
    marked = replace(recording, markers=Markers(times[order], tuple(labels[i] for i in order)))
    assert conditions_of(marked, data.batch, "x/*")[:3] == ("x/first", "none", "x/near")
    with pytest.raises(RecordingError, match="no marker fits 'y/\\*'; the recording has x/first"):
        conditions_of(marked, data.batch, "y/*")
    plain = replace(recording, markers=Markers(zeros, ("trial/start",) * 40))
    assert set(conditions_of(plain, data.batch)) == {"trial/start"}


def test_sliding_windows_have_no_conditions(recording, fitted):
    batch = cut(recording, fitted.model, SlidingSettings(mode="sliding"))
    assert set(conditions_of(recording, batch)) == {""}
    scores = evaluate_model(fitted.model, recording, SlidingSettings(mode="sliding"))
    assert scores.engines["native"].psth_r2 is None
    assert scores.engines["native"].latent_r2 is not None


def test_rounding_to_fewer_bits_changes_only_the_integers(recording, fitted):
    batch = cut(recording, fitted.model)
    model, history = quantise_model(fitted.model, 8, batch)
    assert history is None
    assert model.fixed.weight_bits == 8
    assert np.abs(model.fixed.tensors["ic.weight"].astype(int)).max() <= 128
    assert np.array_equal(model.weights["ic.weight"], fitted.model.weights["ic.weight"])
    assert model.provenance["quantised"] == "8 bits, after training"
    proven, _ = quantise_model(fitted.model, 8)
    assert proven.fixed.generator_point <= model.fixed.generator_point


def test_training_with_rounding_gives_a_model_that_is_no_worse(recording, fitted):
    batch = cut(recording, fitted.model)
    settings = replace(QUICK, epochs=2, learning_rate=1e-3)
    model, history = quantise_model(fitted.model, 5, batch, settings)
    assert history.best_epoch.validation <= history.epochs[0].validation
    assert model.provenance["quantised"].startswith("5 bits, trained with rounding")
    assert model.provenance["quantised_from"] == fitted.model.hash
    with pytest.raises(ModelError, match="give a recording"):
        quantise_model(fitted.model, 5, None, settings)


@pytest.mark.parametrize("series", ["latents", "behaviour", "none"])
def test_the_report_draws_what_there_is(fitted, series):
    named = replace(
        fitted.data,
        recording=replace(
            fitted.data.recording, series={series: fitted.data.recording.series["latents"]}
        ),
    )
    figure = draw(replace(fitted, data=named), Asked())
    figure.draw_without_rendering()
    titles = " ".join(a.get_title() for s in figure.subfigs for a in _axes(s))
    assert "Spikes, trial" in titles
    assert {"latents": "Latents of", "behaviour": "Behaviour of", "none": "principal axes"}[
        series
    ] in titles


def _axes(figure):
    return [*figure.axes, *(a for s in figure.subfigs for a in _axes(s))]


def test_the_report_is_a_picture_or_a_page(fitted, tmp_path):
    report(fitted, tmp_path / "r.png")
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")
    report(fitted, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert fitted.model.hash in page
    assert "data:image/png;base64," in page
    assert "to look at, 1" in page
    with pytest.raises(BciLfadsError, match=r"written as \.png, \.pdf, \.svg, \.html"):
        report(fitted, tmp_path / "r.txt")


def test_few_windows_are_trained_for_more_epochs():
    assert epochs_for(64000) == 50
    assert epochs_for(640, 64) == 400
    assert epochs_for(10) == 1000
