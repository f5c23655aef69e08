"""The demo's sums and its picture; the demo itself is run end to end elsewhere."""

import numpy as np
import pytest

from bci_lfads.account import RunReport
from bci_lfads.demo import DemoResult, _at_centres, _read_out, bundled
from bci_lfads.demo_picture import draw
from bci_lfads.engines import open_engine
from bci_lfads.errors import BciLfadsError
from bci_lfads.listen import Heard
from bci_lfads.models.model import Model
from bci_lfads.offline import cut, infer_all
from bci_lfads.recordings import read
from bci_lfads.recordings.simulate import simulate_lorenz
from bci_lfads.rig import load_rig
from bci_lfads.timing import LatencyWindow
from bci_lfads.windows import TrialWindows, stack, windows_of


@pytest.fixture(scope="module")
def recording():
    return simulate_lorenz(4, n_units=5, trial_length=0.3, gap=(0.1, 0.2), seed=2)


@pytest.fixture(scope="module")
def batch(recording):
    windows = TrialWindows(5, 25, 0.01, start="trial/start", lookback=1.0, capacity=100_000)
    return stack(windows_of(recording, windows))


def test_known_latents_are_taken_at_the_centres_of_the_bins(recording, batch):
    found = _at_centres(recording, batch)
    true = recording.series["latents"]
    assert found.shape == (4, 25, 3)
    assert found.dtype == np.float64
    step = np.diff(true.times).min()
    for trial in range(4):
        for row in (0, 11, 24):
            at = batch.starts[trial] + (row + 0.5) * 0.01
            nearest = np.abs(true.times - at).argmin()
            assert abs(true.times[nearest] - at) <= step
            np.testing.assert_array_equal(found[trial, row], true.values[nearest])


def test_latents_that_are_a_linear_map_of_the_factors_are_read_out():
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(6, 20, 4)).astype(np.float32)
    latents = factors.astype(float) @ rng.normal(size=(4, 3)) + [1.0, -2.0, 30.0]
    assert _read_out(factors, latents) == pytest.approx(latents, abs=1e-9)


def test_a_trial_is_read_out_by_a_map_that_did_not_see_it():
    """Odd trials follow another map than even ones, and so are read out wrongly."""
    factors = np.random.default_rng(1).normal(size=(6, 20, 2)).astype(np.float32)
    latents = factors.astype(float).copy()
    latents[1::2] *= -1
    assert _read_out(factors, latents) == pytest.approx(-latents, abs=1e-9)


def test_noise_is_not_read_out():
    rng = np.random.default_rng(2)
    factors = rng.normal(size=(40, 30, 3)).astype(np.float32)
    latents = rng.normal(size=(40, 30, 1))
    rest = ((latents - _read_out(factors, latents)) ** 2).sum()
    assert rest > 0.99 * (latents**2).sum()


def test_bundled_files_are_there_and_fit_each_other():
    model = Model.load(bundled("demo_model.safetensors"))
    recording = read(bundled("demo.npz"))
    assert set(model.unit_labels) <= set(recording.unit_labels)
    assert {"latents"} <= set(recording.series)
    for name in ("demo.toml", "demo_sliding.toml"):
        rig = load_rig(bundled(name))
        assert Model.load(rig.model).hash == model.hash
    with pytest.raises(BciLfadsError, match=r"file gone\.npz is missing"):
        bundled("gone.npz")


@pytest.mark.parametrize("suffix", [".png", ".svg"])
@pytest.mark.parametrize("missing", [0, 3], ids=["all trials", "some lost"])
def test_the_picture_is_drawn(tmp_path, suffix, missing):
    result = _result(missing)
    file = tmp_path / f"demo{suffix}"
    draw(result, file)
    content = file.read_bytes()
    assert len(content) > 10_000
    assert content.startswith(b"\x89PNG" if suffix == ".png" else b"<?xml")
    if suffix == ".png":
        from matplotlib.image import imread

        assert imread(file).shape[:2] == (960, 1680)


def _result(missing: int) -> DemoResult:
    """Return what a demo that lost its first trials would give, with made-up latencies."""
    rig = load_rig(bundled("demo.toml"))
    model = Model.load(rig.model)
    recording = read(bundled("demo.npz"))
    batch = cut(recording, model, rig.window)
    with open_engine("native", model) as engine:
        offline = infer_all(engine, batch.counts).factors
    known = range(missing, len(offline))
    latents = _at_centres(recording, batch)[missing:]
    recovered = _read_out(offline[missing:], latents)
    n = len(known)
    none = LatencyWindow().percentiles()
    return DemoResult(
        rig, model, recording, batch, offline, {k: offline[k] for k in known}, n, latents,
        recovered, np.array([0.9, 0.8, 0.7]), RunReport({}, none, none, none, none),
        Heard(np.empty((0, 6), np.float32), *(np.empty(0) for _ in range(3)), np.empty((0, 5))),
        0.006 + 0.001 * np.random.default_rng(0).random(n), np.full(n, 0.01), 1.0,
    )  # fmt: skip
