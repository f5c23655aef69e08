"""Scores of windows: held-out units, bins ahead, and the newest bins of a sliding window."""

import math
from dataclasses import replace

import numpy as np
import pytest
from models.float_models import random_float_model, small_spec
from models.training_cases import small_recording

from bci_lfads.errors import RecordingError
from bci_lfads.evaluation import HELD_OUT, Fit, evaluate_model, held_out_units
from bci_lfads.models.scores import bits_per_spike
from bci_lfads.preparing import prepare
from bci_lfads.recordings.recording import Markers
from bci_lfads.rig import SlidingSettings, TrialSettings
from bci_lfads.samples import Samples, subset
from bci_lfads.scoring import Asked, Known, score

WIDTH = 0.02
TRIALS = TrialSettings(mode="trials", start="trial/start")


@pytest.fixture(scope="module")
def recording():
    return small_recording(40, seed=1)


def _scored(recording, data, factors, log_rates, **options):
    names = ("",) * len(data.batch.counts)
    return score(factors, log_rates, data.samples, recording, names, Asked(), **options)


def _rates(samples: Samples, rng):
    n_windows, n_bins, n_units = samples.targets.shape
    log_rates = np.log(25.0) + rng.normal(0, 0.3, (n_windows, n_bins, n_units))
    return rng.normal(size=(n_windows, n_bins, 2)), log_rates


def _loss(log_rates, counts):
    """Return the Poisson likelihood without its constant, summed count by count."""
    total = 0.0
    for rate, k in zip(np.exp(log_rates).ravel() * WIDTH, counts.ravel(), strict=True):
        total += int(k) * math.log(rate) - rate
    return total


def test_forward_prediction_is_of_the_bins_ahead_alone(recording):
    data = prepare(recording, TRIALS, 7, WIDTH, n_ahead=3)
    assert data.samples.ahead.shape[1:] == (3, 8)
    whole = prepare(recording, TRIALS, 10, WIDTH).batch.counts
    assert np.array_equal(data.samples.targets, whole)
    factors, log_rates = _rates(data.samples, np.random.default_rng(0))
    found = _scored(recording, data, factors, log_rates)
    ahead = data.samples.ahead
    means = np.broadcast_to(np.log(ahead.mean(axis=(0, 1)) / WIDTH), ahead.shape)
    gain = _loss(log_rates[:, 7:], ahead) - _loss(means, ahead)
    expected = gain / ahead.sum() / math.log(2)
    assert found.forward_prediction == pytest.approx(expected)
    inside = bits_per_spike(log_rates[:, :7], data.batch.counts, WIDTH)
    assert found.bits_per_spike == inside
    assert found.newest_bits_per_spike is None


def test_the_newest_bins_of_a_sliding_window_are_scored_beside_all(recording):
    window = SlidingSettings(mode="sliding", hop=2)
    data = prepare(recording, window, 10, WIDTH)
    rng = np.random.default_rng(1)
    _, log_rates = _rates(data.samples, rng)
    times = recording.series["latents"].times
    values = recording.series["latents"].values
    middle = data.batch.starts[:, None] + WIDTH * (np.arange(10) + 0.5)
    nearest = np.abs(times[None] - middle.reshape(-1, 1)).argmin(axis=1)
    latents = values[nearest].reshape(*middle.shape, 3).astype(float)
    factors = latents + 5.0 * rng.normal(size=latents.shape)
    factors[:, 8:] = latents[:, 8:]  # the newest two alone say where the latents are
    found = _scored(recording, data, factors, log_rates, hop=2)
    newest = bits_per_spike(log_rates[:, 8:], data.batch.counts[:, 8:], WIDTH)
    assert found.newest_bits_per_spike == newest
    assert found.newest_latent_r2 == pytest.approx(1.0, abs=1e-6)
    assert found.latent_r2 < 0.5


def test_stretches_that_newest_bins_are_decoded_in_share_no_spike(recording, monkeypatch):
    window = SlidingSettings(mode="sliding", hop=2)
    data = prepare(recording, window, 10, WIDTH)
    seen = []

    def spy(x, y):
        seen.append(x)
        return type("R2", (), {"mean": 0.0})

    monkeypatch.setattr("bci_lfads.scoring.decode_r2", spy)
    starts = np.broadcast_to(data.batch.starts[:, None, None], (*data.batch.counts.shape[:2], 1))
    from bci_lfads.scoring import _newest_r2

    _newest_r2(starts[:, 8:], np.zeros((len(starts), 2, 1)), data.batch)
    firsts, lasts = seen[0].min(axis=(1, 2)), seen[0].max(axis=(1, 2))
    assert len(firsts) > 10
    assert (firsts[1:] - lasts[:-1] >= 10 * WIDTH - 1e-9).all()


def test_held_out_units_are_foretold_by_a_readout_fitted_on_known_windows(recording):
    pytest.importorskip("sklearn")
    from bci_lfads.models.cosmoothing import co_smoothing, co_smoothing_in_folds

    data = prepare(recording, TRIALS, 10, WIDTH, hold_out=0.25, seed=4)
    assert len(data.held_out) == 2
    assert data.batch.counts.shape[2] == 6
    assert data.recording.unit_labels == tuple(
        u for u in recording.unit_labels if u not in data.held_out
    )
    names = (*data.recording.unit_labels, *data.held_out)
    both = np.concatenate([data.batch.counts, data.samples.held_out], axis=2)
    order = [names.index(u) for u in recording.unit_labels]
    assert np.array_equal(both[:, :, order], prepare(recording, TRIALS, 10, WIDTH).batch.counts)

    factors, log_rates = _rates(data.samples, np.random.default_rng(2))
    held = data.samples.held_out
    in_folds = co_smoothing_in_folds(factors, held, WIDTH)
    assert _scored(recording, data, factors, log_rates).co_smoothing == in_folds
    other = Known(factors[:20], held[:20])
    found = _scored(recording, data, factors, log_rates, known=other).co_smoothing
    assert found == co_smoothing(factors[:20], held[:20], factors, held, WIDTH)


@pytest.mark.parametrize(
    ("hold_out", "message"),
    [
        (("u", "unit_1"), "units to hold out that are not there: u, unit_1"),
        (1.5, "a share of 1.5 to hold out"),
        (0.99, "all 8 units would be held out"),
    ],
)
def test_units_that_cannot_be_held_out_are_named(recording, hold_out, message):
    with pytest.raises(RecordingError, match=message):
        prepare(recording, TRIALS, 10, WIDTH, hold_out=hold_out)


def test_named_units_are_held_out_and_a_seed_draws_others(recording):
    chosen = recording.unit_labels[2], recording.unit_labels[5]
    assert prepare(recording, TRIALS, 10, WIDTH, hold_out=chosen[::-1]).held_out == chosen
    draws = {
        prepare(recording, TRIALS, 10, WIDTH, hold_out=0.25, seed=s).held_out for s in range(5)
    }
    assert len(draws) > 1


@pytest.fixture(scope="module")
def model(recording):
    labels = tuple(u for u in recording.unit_labels if u not in recording.unit_labels[1:3])
    spec = small_spec(n_units=6, n_bins=8, n_ahead=2)
    return random_float_model(spec, unit_labels=labels, bin_width=WIDTH)


def test_units_that_a_model_does_not_know_are_held_out_unless_it_says_which(recording, model):
    assert held_out_units(model, recording) == recording.unit_labels[1:3]
    said = replace(model, provenance={HELD_OUT: f'["{recording.unit_labels[2]}", "gone"]'})
    assert held_out_units(said, recording) == (recording.unit_labels[2],)
    assert held_out_units(replace(model, provenance={HELD_OUT: "[]"}), recording) == ()
    silent = recording.select(recording.unit_labels)
    keep = silent.spikes.units != 1
    spikes = replace(
        silent.spikes, times=silent.spikes.times[keep], units=silent.spikes.units[keep]
    )
    assert held_out_units(model, replace(silent, spikes=spikes)) == (recording.unit_labels[2],)


def test_evaluate_fits_where_it_is_told_and_says_so(recording, model):
    pytest.importorskip("sklearn")
    in_folds = evaluate_model(model, recording, TRIALS)
    assert in_folds.held_out == recording.unit_labels[1:3]
    assert in_folds.fitted_on == "four fifths of the scored windows, in turn"
    scores = in_folds.engines["native"].as_dict()
    assert {"bits_per_spike", "co_smoothing", "forward_prediction"} <= set(scores)
    other = small_recording(20, seed=9)
    elsewhere = evaluate_model(model, recording, TRIALS, fit=Fit(other))
    assert elsewhere.fitted_on == "19 windows of simulated Lorenz"
    assert elsewhere.engines["native"].co_smoothing != scores["co_smoothing"]


def test_the_models_own_trials_are_fitted_on_where_others_are_scored(recording, model):
    pytest.importorskip("sklearn")
    markers = recording.markers
    starts = [i for i, label in enumerate(markers.labels) if label == "trial/start"]
    halves = Markers(
        markers.times[starts],
        tuple("trial/test" if k % 2 else "trial/train" for k in range(len(starts))),
    )
    split = replace(recording, markers=halves)
    from bci_lfads.models.alignment import Alignment

    trained = replace(model, alignment=Alignment(start="trial/train"))
    test = TrialSettings(mode="trials", start="trial/test")
    found = evaluate_model(trained, split, test)
    assert found.fitted_on == "20 windows, trial/train"
    assert found.n_windows == 20
    own = evaluate_model(trained, split)
    assert own.fitted_on == "four fifths of the scored windows, in turn"
    with pytest.raises(RecordingError, match="overlap those that are scored"):
        evaluate_model(trained, split, test, fit=Fit(window=test))


def test_rows_of_samples_are_rows_of_all_their_parts(recording):
    samples = prepare(recording, TRIALS, 7, WIDTH, n_ahead=3, hold_out=0.25).samples
    rows = np.array([3, 5])
    some = samples.rows(rows)
    assert np.array_equal(some.targets, samples.targets[rows])
    assert np.array_equal(some.held_out, samples.held_out[rows])
    with pytest.raises(RecordingError, match="no whole window"):
        subset(samples.batch, np.array([], np.int64))
