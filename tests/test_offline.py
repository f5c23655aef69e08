"""Offline inference: arrays and recordings in, factors and log-rates out."""

import numpy as np
import pytest
from models.float_models import poisson, random_float_model, small_spec

from bci_lfads.engines import open_engine
from bci_lfads.engines.base import EngineInfo, Latents
from bci_lfads.errors import RecordingError
from bci_lfads.models.alignment import Alignment
from bci_lfads.models.reference import infer_float
from bci_lfads.offline import cut, infer_all, read_counts, save_latents
from bci_lfads.recordings import BinnedCounts, Markers, Recording, SpikeEvents, to_counts
from bci_lfads.rig import SlidingSettings, TrialSettings

WIDTH = 0.01
N_BINS, N_UNITS = 9, 7
SPEC = small_spec(n_bins=N_BINS, n_units=N_UNITS)
UNITS = tuple(f"n{i}" for i in range(N_UNITS))


@pytest.fixture(scope="module")
def model():
    return random_float_model(SPEC)


def recording_of(counts, *, start=0.0, labels=UNITS, markers=()):
    """Return spikes in the middle of their bins, from the counts of a row of bins."""
    row, unit = np.nonzero(counts)
    repeats = counts[row, unit]
    return Recording(
        SpikeEvents(
            np.repeat(start + (row + 0.5) * WIDTH, repeats),
            np.repeat(unit, repeats).astype(np.int32),
        ),
        tuple(labels), start, start + len(counts) * WIDTH,
        markers=Markers(np.array([t for t, _ in markers], float), tuple(m for _, m in markers)),
    )  # fmt: skip


def rows(n, seed=0):
    return np.random.default_rng(seed).poisson(0.4, (n, N_UNITS)).astype(np.uint8)


# Arrays


def test_an_array_is_read_as_it_is(model, tmp_path):
    counts = poisson(SPEC, 3)
    np.save(tmp_path / "c.npy", counts)
    found = read_counts(tmp_path / "c.npy", model)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, counts)


def test_an_array_in_fortran_order_comes_contiguous(model, tmp_path):
    counts = poisson(SPEC, 3)
    np.save(tmp_path / "c.npy", np.asfortranarray(counts))
    found = read_counts(tmp_path / "c.npy", model)
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, counts)


def test_a_header_in_the_style_of_python_2_is_read_without_a_word(model, tmp_path):
    path = tmp_path / "c.npy"
    np.save(path, np.ones((2, model.spec.n_bins, model.spec.n_units), np.uint8))
    path.write_bytes(path.read_bytes().replace(b"  \n", b"\n  ", 1))
    assert read_counts(path, model).sum() == 2 * model.spec.n_bins * model.spec.n_units


def test_an_array_without_trials_is_one(model, tmp_path):
    np.save(tmp_path / "c.npy", poisson(SPEC, 0))
    assert read_counts(tmp_path / "c.npy", model).shape == (0, N_BINS, N_UNITS)


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros((2, N_BINS, N_UNITS), np.int64), r"int64 of shape \(2, 9, 7\).*uint8.*9 bins"),
        (np.zeros((2, N_BINS, N_UNITS)), "float64"),
        (np.zeros((2, N_BINS, N_UNITS + 1), np.uint8), r"\(2, 9, 8\).*7 units"),
        (np.zeros((N_BINS, N_UNITS), np.uint8), r"shape \(9, 7\)"),
        (np.zeros((), np.uint8), r"shape \(\)"),
        (np.array([{}], object), "damaged or holds no plain array"),
    ],
)
def test_another_array_is_refused(model, tmp_path, array, says):
    np.save(tmp_path / "c.npy", array, allow_pickle=True)
    with pytest.raises(RecordingError, match=says):
        read_counts(tmp_path / "c.npy", model)


HEADER = b"\x93NUMPY\x01\x00\x76\x00"
HUGE = b"{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999, 9, 7), }"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no NumPy array"),
        (b"counts: 1, 2, 3\n", "no NumPy array"),
        (b"PK\x03\x04 an npz under another name", "no NumPy array"),
        (HEADER + HUGE.ljust(117) + b"\n", "damaged"),
        (HEADER + HUGE.replace(b"99999999999999", 19 * b"3").ljust(117) + b"\n", "damaged"),
        (HEADER + HUGE[:60].ljust(117) + b"\n", "damaged"),
        (HEADER + HUGE.replace(b", 9,", b", 9" + 20 * b"0" + b",").ljust(117) + b"\n", "damaged"),
        (HEADER + b"{'descr': " + 100 * b"(", "damaged"),
        (HEADER, "damaged"),
        (HEADER.replace(b"\x01\x00", b"\x03\x00") + HUGE.ljust(117) + b"\n", r"version 3\.0"),
    ],
    ids=[
        "empty",
        "text",
        "zip",
        "huge",
        "product",
        "open-bracket",
        "dimension",
        "brackets",
        "cut",
        "later",
    ],
)
def test_a_file_that_is_no_array_is_refused(model, tmp_path, content, says):
    (tmp_path / "c.npy").write_bytes(content)
    with pytest.raises(RecordingError, match=says) as error:
        read_counts(tmp_path / "c.npy", model)
    assert "c.npy" in str(error.value)


def test_a_missing_file_and_a_folder(model, tmp_path):
    with pytest.raises(RecordingError, match="cannot be read: No such file"):
        read_counts(tmp_path / "none.npy", model)
    with pytest.raises(RecordingError, match="cannot be read: Is a directory"):
        read_counts(tmp_path, model)


# Recordings


def test_trials_are_cut_by_a_rigs_window(model):
    counts = rows(60)
    recording = recording_of(
        counts, markers=[(0.1, "trial/a"), (0.13, "go"), (0.3, "trial/b"), (0.35, "go")]
    )
    window = TrialSettings(mode="trials", start="trial/*", align="go", offset=-0.02)
    batch = cut(recording, model, window)
    assert batch.labels == ("go", "go")
    assert batch.start_labels == ("trial/a", "trial/b")
    assert batch.starts == pytest.approx([0.11, 0.33])
    np.testing.assert_array_equal(batch.counts, [counts[11:20], counts[33:42]])
    assert not batch.truncated.any()


def test_a_sliding_window_moves_by_its_hop(model):
    counts = rows(30)
    batch = cut(recording_of(counts), model, SlidingSettings(mode="sliding", hop=4))
    # Its grid is the clock's own, and here the recording begins on one of its edges.
    assert np.diff(batch.starts) == pytest.approx(4 * WIDTH)
    assert (batch.trials == -1).all()
    whole = [i for i, truncated in enumerate(batch.truncated) if not truncated]
    assert len(whole) >= 5
    for i in whole:
        first = round(batch.starts[i] / WIDTH)
        np.testing.assert_array_equal(batch.counts[i], counts[first : first + N_BINS])


def test_without_a_window_trials_are_cut_as_the_model_was_trained():
    trained = Alignment(start="cue", align=None, offset=0.05)
    model = random_float_model(SPEC, alignment=trained)
    counts = rows(40)
    batch = cut(recording_of(counts, markers=[(0.1, "cue"), (0.2, "other")]), model)
    assert batch.starts == pytest.approx([0.15])
    np.testing.assert_array_equal(batch.counts, [counts[15:24]])


def test_the_rigs_window_wins_over_the_models():
    model = random_float_model(SPEC, alignment=Alignment(start="cue", align=None, offset=0.05))
    recording = recording_of(rows(40), markers=[(0.1, "cue")])
    batch = cut(recording, model, TrialSettings(mode="trials", start="cue"))
    assert batch.starts == pytest.approx([0.1])


def test_without_any_alignment_windows_lie_side_by_side(model):
    counts = rows(4 * N_BINS + 3)
    batch = cut(recording_of(counts, start=5.003, markers=[(5.1, "cue")]), model)
    assert batch.starts == pytest.approx(5.003 + WIDTH * N_BINS * np.arange(4))
    np.testing.assert_array_equal(batch.counts, counts[: 4 * N_BINS].reshape(4, N_BINS, N_UNITS))


def test_a_recording_without_the_models_markers_is_cut_side_by_side_and_that_is_said(caplog):
    model = random_float_model(SPEC, alignment=Alignment(start="cue", align=None, offset=0.0))
    batch = cut(recording_of(rows(20), markers=[(0.05, "other")]), model)
    assert len(batch.counts) == 2
    assert "no marker 'cue'" in caplog.text


def test_counts_are_cut_like_events(model):
    recording = recording_of(rows(40), markers=[(0.1, "go"), (0.22, "go")])
    window = TrialSettings(mode="trials", start="go")
    events, binned = (cut(r, model, window) for r in (recording, to_counts(recording, WIDTH / 2)))
    assert isinstance(to_counts(recording, WIDTH / 2).spikes, BinnedCounts)
    np.testing.assert_array_equal(events.counts, binned.counts)


def test_units_come_in_the_models_order_and_others_are_left_out(model):
    counts = rows(2 * N_BINS)
    order = np.random.default_rng(3).permutation(N_UNITS)
    shuffled = np.insert(counts[:, order], 2, 5, axis=1)
    labels = [UNITS[i] for i in order]
    labels.insert(2, "an extra unit")
    batch = cut(recording_of(shuffled, labels=labels), model)
    np.testing.assert_array_equal(batch.counts.reshape(-1, N_UNITS), counts)


def test_units_that_are_called_otherwise_are_mapped(model):
    counts = rows(2 * N_BINS)
    labels = [f"{i}/0" for i in range(N_UNITS - 1)] + ["last"]
    recording = recording_of(counts, labels=labels)
    with pytest.raises(RecordingError, match="has 7 units but not n0, n1"):
        cut(recording, model)
    batch = cut(recording, model, unit_map={"n*": "*/0", "n6": "last"})
    np.testing.assert_array_equal(batch.counts.reshape(-1, N_UNITS), counts)
    swapped = cut(recording, model, unit_map={"n*": "*/0", "n6": "last", "n0": "1/0", "n1": "0/0"})
    np.testing.assert_array_equal(
        swapped.counts.reshape(-1, N_UNITS), counts[:, [1, 0, 2, 3, 4, 5, 6]]
    )


@pytest.mark.parametrize(
    ("unit_map", "says"),
    [
        ({"x": "n1"}, r"\[input.units\] maps 'x', which the model does not have"),
        ({"n1": "n0"}, r"\[input.units\] gives one and the same unit to n0, n1"),
        ({"n*": "n"}, r"one \* on either side"),
        ({"n2": "gone"}, "has 7 units but not gone"),
    ],
)
def test_a_map_that_does_not_fit_is_refused(model, unit_map, says):
    with pytest.raises(RecordingError, match=says):
        cut(recording_of(rows(20)), model, unit_map=unit_map)


def test_a_recording_that_gives_no_window_is_refused(model):
    with pytest.raises(RecordingError, match="no window could be cut"):
        cut(recording_of(rows(N_BINS - 1)), model)
    recording = recording_of(rows(20), markers=[(0.1, "go")])
    with pytest.raises(RecordingError, match="no window could be cut"):
        cut(recording, model, TrialSettings(mode="trials", start="gone"))


def test_bins_that_are_no_fraction_of_the_models_are_refused(model):
    recording = to_counts(recording_of(rows(40)), 0.004)
    with pytest.raises(RecordingError, match="whole multiple"):
        cut(recording, model)


# Inference


def test_all_windows_are_inferred_and_progress_is_told(model):
    counts = poisson(SPEC, 600)
    done = []
    with open_engine("native", model) as engine:
        latents = infer_all(engine, counts, on_progress=done.append)
        expected = engine.infer_batch(counts)
    np.testing.assert_array_equal(latents.factors, expected.factors)
    np.testing.assert_array_equal(latents.log_rates, expected.log_rates)
    assert done[-1] == 600
    assert len(done) > 1
    assert done == sorted(done)


def test_no_windows_give_empty_arrays(model):
    with open_engine("native", model) as engine:
        latents = infer_all(engine, poisson(SPEC, 0))
    assert latents.factors.shape == (0, N_BINS, 3)
    assert latents.log_rates.shape == (0, N_BINS, N_UNITS)


def test_an_engine_is_never_given_all_at_once():
    """Memory stays small, whatever the recording's length."""

    class Counting:
        info = EngineInfo("counting", "", "", "", 2, 3, 4, 1)
        most = 0

        def infer_batch(self, counts, *, log_rates=True):
            self.most = max(self.most, len(counts))
            n = len(counts)
            return Latents(np.ones((n, 3, 1), np.float32), np.ones((n, 3, 4), np.float32))

    engine = Counting()
    latents = infer_all(engine, np.zeros((1000, 2, 4), np.uint8))
    assert engine.most < 300
    assert latents.factors.shape == (1000, 3, 1)
    assert (latents.log_rates == 1).all()


# The file


def test_the_file_holds_factors_log_rates_and_where_they_belong(model, tmp_path):
    recording = recording_of(rows(60), markers=[(0.1, "go"), (0.3, "go")])
    batch = cut(recording, model, TrialSettings(mode="trials", start="go"))
    with open_engine("native", model) as engine:
        latents = infer_all(engine, batch.counts)
    save_latents(tmp_path / "out", latents, batch, model)
    with np.load(tmp_path / "out", allow_pickle=False) as file:
        assert set(file.files) == {
            "factors", "log_rates", "starts", "trials", "labels", "truncated", "bin_width",
            "unit_labels", "model_hash",
        }  # fmt: skip
        assert file["factors"].dtype == file["log_rates"].dtype == np.float32
        assert file["factors"].shape == (2, N_BINS, 3)
        assert file["log_rates"].shape == (2, N_BINS, N_UNITS)
        np.testing.assert_array_equal(file["factors"], latents.factors)
        assert file["starts"] == pytest.approx([0.1, 0.3])
        assert file["trials"].tolist() == [0, 1]
        assert file["labels"].tolist() == ["go", "go"]
        assert file["truncated"].tolist() == [False, False]
        assert file["bin_width"] == WIDTH
        assert tuple(file["unit_labels"].tolist()) == UNITS
        assert str(file["model_hash"]) == model.hash


def test_a_file_of_an_array_says_nothing_of_trials(model, tmp_path):
    latents = Latents(np.zeros((1, 9, 3), np.float32), np.zeros((1, 9, 7), np.float32))
    save_latents(tmp_path / "out.npz", latents, None, model)
    with np.load(tmp_path / "out.npz", allow_pickle=False) as file:
        assert set(file.files) == {
            "factors", "log_rates", "bin_width", "unit_labels", "model_hash",
        }  # fmt: skip


def test_log_rates_are_natural_logarithms_of_hertz(tmp_path):
    """A model whose readout is its bias alone gives the rates that the bias says."""
    hertz = np.array([1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0])
    weights = {name: np.zeros(shape, np.float32) for name, shape in SPEC.weight_shapes().items()}
    weights["rates.bias"] = np.log(hertz).astype(np.float32)
    model = type(random_float_model(SPEC)).from_weights(
        SPEC, weights, unit_labels=UNITS, bin_width=WIDTH
    )
    counts = poisson(SPEC, 2)
    with open_engine("native", model) as engine:
        latents = infer_all(engine, counts)
    save_latents(tmp_path / "out.npz", latents, None, model)
    with np.load(tmp_path / "out.npz") as file:
        assert np.exp(file["log_rates"]) == pytest.approx(
            np.broadcast_to(hertz, (2, N_BINS, N_UNITS)), rel=1e-3
        )
    float_rates = infer_float(SPEC, weights, counts).log_rates
    assert latents.log_rates == pytest.approx(float_rates, abs=1e-3)
