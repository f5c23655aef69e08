from itertools import islice

import numpy as np
import pytest

from bci_lfads.errors import RecordingError
from bci_lfads.recordings.recording import Recording, SpikeEvents
from bci_lfads.recordings.simulate import (
    Lorenz,
    Population,
    Reach,
    gather,
    simulate_lorenz,
    simulate_reach,
    stream_lorenz,
    stream_reach,
)
from bci_lfads.recordings.simulate.lorenz import BETA, RHO, SIGMA, orbit
from bci_lfads.recordings.simulate.population import STEP


def events(recording: Recording) -> SpikeEvents:
    assert isinstance(recording.spikes, SpikeEvents)
    return recording.spikes


@pytest.mark.parametrize("simulate", [simulate_lorenz, simulate_reach])
def test_a_seed_gives_the_same_recording_and_another_gives_another(simulate):
    first, again, other = (simulate(3, n_units=7, seed=s) for s in (5, 5, 6))
    np.testing.assert_array_equal(events(first).times, events(again).times)
    np.testing.assert_array_equal(events(first).units, events(again).units)
    assert first.markers.labels == again.markers.labels
    assert not np.array_equal(events(first).times[:5], events(other).times[:5])


@pytest.mark.parametrize(
    ("stream", "simulate"), [(stream_lorenz, simulate_lorenz), (stream_reach, simulate_reach)]
)
def test_a_longer_recording_begins_with_the_shorter_one(stream, simulate):
    short = simulate(2, n_units=5, seed=1)
    longer = simulate(duration=short.stop + 0.3, n_units=5, seed=1)
    n = short.n_spikes
    np.testing.assert_array_equal(events(longer).times[:n], events(short).times)
    assert longer.stop == short.stop + 0.3
    assert longer.n_spikes > n
    blocks = list(islice(stream(n_units=5, seed=1), 2))
    assert blocks[0].start == 0
    assert blocks[1].start == blocks[0].stop
    assert sum(b.n_spikes for b in blocks) == n


@pytest.mark.parametrize("simulate", [simulate_lorenz, simulate_reach])
def test_the_population_is_apart_from_the_noise(simulate):
    one, two = (simulate(2, n_units=6, seed=s, population_seed=9) for s in (1, 2))
    # Log-rates are affine in the latents by the same map: fit on one, predict the other.
    x, y = (np.c_[r.series["latents"].values, np.ones(len(r.series["rates"].times))]
            for r in (one, two))  # fmt: skip
    fit = np.linalg.lstsq(x, np.log(one.series["rates"].values), rcond=None)[0]
    np.testing.assert_allclose(y @ fit, np.log(two.series["rates"].values), atol=2e-3)


@pytest.mark.parametrize(("simulate", "rate"), [(simulate_lorenz, 12.0), (simulate_reach, 10.0)])
def test_counts_agree_with_the_true_rates_within_poisson_error(simulate, rate):
    recording = simulate(60, n_units=30, rate=rate, seed=11)
    expected = recording.series["rates"].values.mean(axis=0, dtype=float) * recording.duration
    counts = np.bincount(events(recording).units, minlength=30)
    z = (counts - expected) / np.sqrt(expected)
    assert np.abs(z).max() < 4.5
    assert 0.6 < z.std() < 1.4
    assert recording.n_spikes / recording.duration / 30 == pytest.approx(rate, rel=0.1)


def test_spike_times_pass_time_rescaling():
    """Integrated rate between spikes is exponential with mean 1 (Brown et al. 2002)."""
    population = Population(np.array([[1.0], [-0.5]]), np.log([80.0, 40.0]))
    t = np.arange(60_000) * STEP
    latents = np.sin(2 * np.pi * 1.3 * t)[:, None]
    spikes = population.spikes(latents, 500, np.random.default_rng(2))
    assert (np.diff(spikes.times) >= 0).all()
    for unit in range(2):
        edges = np.r_[0, np.cumsum(population.rates(latents)[:, unit] * STEP)]
        at = spikes.times[spikes.units == unit] / STEP - 500
        assert ((at >= 0) & (at < len(t))).all()
        u = np.sort(1 - np.exp(-np.diff(np.interp(at, np.arange(len(edges)), edges))))
        gap = np.abs(u - (np.arange(u.size) + 0.5) / u.size).max()
        assert gap < 1.95 / np.sqrt(u.size)  # Kolmogorov-Smirnov, 0.1 %
        fraction = at % 1  # continuous within the step
        assert abs(fraction.mean() - 0.5) < 4 * np.sqrt(1 / 12 / at.size)
        assert np.unique(fraction).size == at.size


def test_the_orbit_solves_the_lorenz_equations():
    path = orbit((1.0, 2.0, 20.0), 2000, 0.002)
    x, y, z = path.T
    slope = (path[2:] - path[:-2]) / 0.004
    field = np.stack([SIGMA * (y - x), x * (RHO - z) - y, x * y - BETA * z], 1)[1:-1]
    assert np.abs(slope - field).max() < 2e-3 * np.abs(field).max()
    # Half the step: an error 16 times smaller, as befits the fourth order.
    fine, finer = orbit((1, 2, 20), 400, 0.005)[-1], orbit((1, 2, 20), 800, 0.0025)[-1]
    finest = orbit((1, 2, 20), 6400, 0.0003125)[-1]
    ratio = np.linalg.norm(fine - finest) / np.linalg.norm(finer - finest)
    assert 10 < ratio < 25


def test_lorenz_trials_and_latents():
    recording = simulate_lorenz(50, n_units=3, trial_length=0.6, gap=(0.1, 0.3), seed=4)
    at = dict.fromkeys(("trial/start", "trial/end"))
    for label in at:
        at[label] = recording.markers.times[[m == label for m in recording.markers.labels]]
    assert len(at["trial/start"]) == len(at["trial/end"]) == 50
    np.testing.assert_allclose(at["trial/end"] - at["trial/start"], 0.6, atol=1e-9)
    gaps = at["trial/start"] - np.r_[0, at["trial/end"][:-1]]
    assert gaps.min() >= 0.1 - 1e-9
    assert gaps.max() <= 0.3 + 1e-9
    latents = recording.series["latents"]
    assert np.abs(latents.values.mean(axis=0)).max() < 0.4
    assert np.abs(latents.values.std(axis=0) - 1).max() < 0.25
    np.testing.assert_allclose(np.diff(latents.times), 0.01)


def test_conditions_come_back_and_are_announced():
    recording = simulate_lorenz(4, n_units=2, n_conditions=2, gap=(0.05, 0.3), seed=8)
    starts = [t for t, m in zip(recording.markers.times, recording.markers.labels, strict=True)
              if m == "trial/start"]  # fmt: skip
    assert [m for m in recording.markers.labels if m.startswith("cond")] == [
        "condition/0", "condition/1", "condition/0", "condition/1",
    ]  # fmt: skip
    latents = recording.series["latents"]

    def trial(k: int) -> np.ndarray:
        offsets = np.arange(0.02, 0.7, 0.01)
        return np.stack([np.interp(starts[k] + offsets, latents.times, v)
                         for v in latents.values.T])  # fmt: skip

    assert np.abs(trial(0) - trial(2)).max() < 0.02
    assert np.abs(trial(0) - trial(1)).max() > 0.5


def test_a_continuous_orbit_has_no_jumps():
    jumps = []
    for continuous in (False, True):
        recording = simulate_lorenz(6, n_units=2, speed=0.5, continuous=continuous)
        jumps.append(np.abs(np.diff(recording.series["latents"].values, axis=0)).max())
    assert jumps[1] < 0.4 < jumps[0]


def test_reach_units_are_cosine_tuned():
    recording = simulate_reach(160, n_units=12, rate=25.0, seed=3)
    labels = np.array(recording.markers.labels)
    moves = np.array([m.startswith("move/") for m in labels])
    angles = np.deg2rad([float(m.split("/")[1]) for m in labels[moves]])
    begin = recording.markers.times[moves] - 0.1
    spikes = events(recording)
    directions, turn = np.unique(angles, return_inverse=True)
    np.testing.assert_array_equal(np.bincount(turn), 20)
    loading = Reach(n_units=12, rate=25.0).population().loading
    for unit in range(12):
        times = spikes.times[spikes.units == unit]
        counts = np.searchsorted(times, begin + 0.5) - np.searchsorted(times, begin)
        mean = np.array([counts[turn == k].mean() for k in range(8)])
        design = np.c_[np.ones(8), np.cos(directions), np.sin(directions)]
        fit = np.linalg.lstsq(design, mean, rcond=None)[0]
        rest = mean - design @ fit
        assert 1 - rest @ rest / ((mean - mean.mean()) @ (mean - mean.mean())) > 0.8
        preferred = np.arctan2(fit[2], fit[1])
        true = np.arctan2(loading[unit, 3], loading[unit, 2])
        assert abs(np.angle(np.exp(1j * (preferred - true)))) < np.deg2rad(40)


def test_reaches_arrive_at_their_targets_and_velocity_is_the_slope_of_position():
    recording = simulate_reach(8, n_units=2, seed=1)
    cursor = recording.series["behaviour"]
    assert cursor.labels == ("x", "y", "vx", "vy")
    slope = np.gradient(cursor.values[:, :2], cursor.times, axis=0)
    np.testing.assert_allclose(slope[1:-1], cursor.values[1:-1, 2:], atol=1.0)
    for time, label in zip(recording.markers.times, recording.markers.labels, strict=True):
        if label.startswith("move/"):
            angle = np.deg2rad(float(label.split("/")[1]))
            where = [np.interp(time + 0.75, cursor.times, cursor.values[:, k]) for k in (0, 1)]
            np.testing.assert_allclose(where, [8 * np.cos(angle), 8 * np.sin(angle)], atol=1.5)
    assert recording.markers.labels[0] == "trial/start"
    order = [m.split("/")[0] for m in recording.markers.labels[:5]]
    assert order == ["trial", "target", "go", "move", "trial"]


@pytest.mark.parametrize(
    "settings", [{"rate": 0.0}, {"n_units": 0}, {"gap": (0.5, 0.1)}, {"rate": np.nan}]
)
def test_impossible_settings_are_refused(settings):
    for task in (Lorenz, Reach):
        with pytest.raises(RecordingError, match=next(iter(settings))):
            task(**settings)


def test_how_much_to_simulate_must_be_said():
    with pytest.raises(RecordingError, match="either n_trials or duration"):
        simulate_lorenz()
    with pytest.raises(RecordingError, match="nothing to simulate"):
        gather(stream_lorenz(), n_trials=0)
    with pytest.raises(RecordingError, match="conditions"):
        Lorenz(n_conditions=2, continuous=True)
