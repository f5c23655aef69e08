"""HDF5 files with trials of binned spikes: laid on one time line, or refused."""

import h5py
import numpy as np
import pytest

from bci_lfads.errors import RecordingError
from bci_lfads.recordings import BinnedCounts, read
from bci_lfads.recordings.files import read_here  # quicker than in a process for each

TRAIN = np.arange(24).reshape(2, 4, 3)
VALID = 100 + np.arange(12).reshape(1, 4, 3)
TIMES = {"time_data": 0.01 * np.arange(4)}


@pytest.fixture
def make(tmp_path):
    def write(attributes=None, **content):
        path = tmp_path / "made.h5"
        with h5py.File(path, "w") as file:
            for name, value in content.items():
                file[name] = value
            file.attrs.update(attributes or {})
        return path

    return write


@pytest.mark.parametrize("name", ["data", "encod_data", "spikes"])
@pytest.mark.parametrize("kind", ["int64", "uint8", "float32"])
def test_trials_follow_each_other_train_first(make, name, kind):
    recording = read_here(
        make(**{f"valid_{name}": VALID.astype(kind), f"train_{name}": TRAIN.astype(kind)}, **TIMES)
    )
    spikes = recording.spikes
    assert isinstance(spikes, BinnedCounts)
    np.testing.assert_array_equal(spikes.counts, np.concatenate([TRAIN, VALID]).reshape(12, 3))
    assert (spikes.bin_width, spikes.start) == (0.01, 0.0)
    assert (recording.start, recording.stop) == (0.0, pytest.approx(0.12))
    assert recording.markers.labels == ("trial/train", "trial/train", "trial/valid")
    np.testing.assert_allclose(recording.markers.times, [0.0, 0.04, 0.08])


def test_what_goes_with_the_trials_becomes_series(make):
    def of(n, offset):
        return offset + np.arange(4.0 * n * 2).reshape(n, 4, 2)

    recording = read_here(
        make(
            train_data=TRAIN, valid_data=VALID, **TIMES,
            train_behaviours=of(2, 0), valid_behaviours=of(1, 50),
            train_rates=TRAIN / 2, valid_rates=VALID / 2,
            train_latent=of(2, 0),  # without the valid split
            train_note=np.zeros(2), valid_note=np.zeros(1),
        )
    )  # fmt: skip
    assert set(recording.series) == {"behaviour", "rates"}
    behaviour, rates = recording.series["behaviour"], recording.series["rates"]
    np.testing.assert_allclose(behaviour.times, 0.01 * (np.arange(12) + 0.5))
    assert behaviour.values[[0, 7, 8, 11], 0].tolist() == [0, 14, 50, 56]
    assert rates.labels == recording.unit_labels == ("unit_01", "unit_02", "unit_03")


@pytest.mark.parametrize("name", ["bin_width", "bin_size", "dt"])
def test_the_bin_width_may_be_an_attribute(make, name):
    assert read_here(make({name: 0.005}, train_data=TRAIN)).spikes.bin_width == 0.005


def test_the_bin_width_may_be_given(make):
    path = make(train_data=TRAIN)
    with pytest.raises(RecordingError, match="bin_width=SECONDS"):
        read_here(path)
    assert read(path, bin_width=0.02).spikes.bin_width == 0.02


@pytest.mark.parametrize(
    ("content", "options", "says"),
    [
        ({"train_data": TRAIN[0]}, {}, r"train_data is int64 of shape \(4, 3\)"),
        ({"train_data": -TRAIN}, {}, "whole numbers from 0 to 255"),
        ({"train_data": TRAIN + 0.5}, {}, "whole numbers from 0 to 255"),
        ({"train_data": TRAIN * 100}, {}, "whole numbers from 0 to 255"),
        ({"train_data": TRAIN, "test_data": TRAIN[:, :2]}, {}, "same bins and units"),
        ({"train_data": TRAIN, "time_data": [0, 1, 2, 4]}, {}, "how long its bins are"),
        ({"train_data": TRAIN}, {"bin_width": -1.0}, "no length"),
        ({"other": TRAIN}, {}, "HDF5 file with other"),
        ({}, {}, "nothing in it"),
    ],
)
def test_what_is_wrong_is_named(make, content, options, says):
    with pytest.raises(RecordingError, match=says):
        read_here(make(**content), **options)


def test_a_damaged_file_is_refused(make):
    path = make(train_data=TRAIN, **TIMES)
    whole = path.read_bytes()
    for length in (100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(RecordingError, match="damaged HDF5"):
            read_here(path)


def test_a_real_set(shared_data):
    path = shared_data / "lorenz-tndm/lorenz.h5"
    recording = read_here(path)
    counts = recording.spikes.counts.reshape(8, 100, 30)
    with h5py.File(path) as file:
        for split, trials in (("train", slice(5)), ("valid", slice(5, 6)), ("test", slice(6, 8))):
            np.testing.assert_array_equal(counts[trials], file[f"{split}_data"][:])
            np.testing.assert_array_equal(
                recording.series["rates"].values.reshape(8, 100, 30)[trials],
                file[f"{split}_rates"][:].astype(np.float32),
            )
