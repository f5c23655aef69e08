"""MATLAB files with trials: one time line, exact counts, refusals that name the trial."""

import numpy as np
import pytest

from bci_lfads.errors import RecordingError
from bci_lfads.recordings import read, to_counts

io = pytest.importorskip("scipy.io", reason="scipy is not installed (extra mat)")


def trials(cells):
    """Return a struct array from rows of (trialId, spikes)."""
    fields = [("trialId", object), ("spikes", object)]
    array = np.empty((len(cells), len(cells[0])), fields)
    for at in np.ndindex(array.shape):
        array[at] = cells[at[0]][at[1]]
    return array


@pytest.fixture
def make(tmp_path):
    def write(**content):
        path = tmp_path / "made.mat"
        io.savemat(path, content)
        return path

    return write


def spikes(*rows):
    return np.array(rows, np.uint8)


A, B = spikes([1, 0, 0], [0, 0, 2]), spikes([0, 1, 0], [0, 0, 0])
TWO_SPLITS = {"train_trial": trials([[(3, A), (1, B)]]), "test_trial": trials([[(2, B), (4, A)]])}


def test_trials_follow_by_their_ids(make):
    recording = read(make(**TWO_SPLITS), gap=0.007)
    assert recording.unit_labels == ("unit_01", "unit_02")
    np.testing.assert_allclose(recording.markers.times, [0, 0.01, 0.02, 0.03])
    assert recording.markers.labels == (
        "trial/train/1", "trial/test/0", "trial/train/0", "trial/test/1",
    )  # fmt: skip
    np.testing.assert_allclose(
        recording.spikes.times,
        [0.0015, 0.0115, 0.0205, 0.0225, 0.0225, 0.0305, 0.0325, 0.0325],
    )
    assert recording.spikes.units.tolist() == [0, 0, 0, 1, 1, 0, 1, 1]
    assert recording.stop == pytest.approx(0.04)


def test_one_split_with_named_conditions_and_another_interval(make):
    recording = read(
        make(**TWO_SPLITS), split="test", interval=0.01, gap=0.0, conditions=["left", "right"]
    )
    assert recording.markers.labels == ("trial/test/left", "trial/test/right")
    np.testing.assert_allclose(recording.markers.times, [0, 0.03])
    np.testing.assert_allclose(recording.spikes.times, [0.015, 0.035, 0.055, 0.055])


def test_conditions_with_fewer_trials_are_padded(make):
    recording = read(make(train_trial=trials([[(1, A), (2, B)], [(3, A), ([], [])]])))
    assert recording.markers.labels == ("trial/train/0", "trial/train/1", "trial/train/0")


@pytest.mark.parametrize(
    ("content", "options", "says"),
    [
        ({"x": np.zeros(3)}, {}, r"holds x \(1, 3\); expected struct arrays"),
        ({"a_trial": trials([[(1, A), (2, B[:1])]])}, {}, r"\[1, 2\] units"),
        ({"a_trial": trials([[(1, A), (2, -1.0 * A)]])}, {}, r"trial 2 \(a\) has spikes of"),
        ({"a_trial": trials([[(1, A * np.nan)]])}, {}, r"trial 1 \(a\) has spikes of float64"),
        ({"a_trial": trials([[(1, 0.5 * A)]])}, {}, r"trial 1 \(a\) has spikes of float64"),
        ({"a_trial": trials([[("one", A)]])}, {}, "no single number as trialId"),
        ({"a_trial": trials([[([], [])]])}, {}, "all its trials are empty"),
        (TWO_SPLITS, {"split": "valid"}, "no split 'valid'; it has train, test"),
        (TWO_SPLITS, {"conditions": ["left"]}, "1 conditions given for 2 columns"),
        (TWO_SPLITS, {"interval": 0.0}, "must be positive"),
        (TWO_SPLITS, {"gap": float("nan")}, "must be positive"),
    ],
)
def test_what_is_wrong_is_named(make, content, options, says):
    with pytest.raises(RecordingError, match=says):
        read(make(**content), **options)


def test_a_damaged_file_is_refused(make):
    path = make(**TWO_SPLITS)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RecordingError, match="damaged MATLAB file"):
        read(path)


@pytest.mark.parametrize("split", ["train", "test"])
def test_real_trials_have_their_exact_counts(shared_data, split):
    path = shared_data / "shenoy-delay-97u-1ms/ps4_realdata.mat"
    structs = io.loadmat(path)[f"{split}_trial"]
    by_id = {int(struct["trialId"].item()): struct["spikes"] for struct in structs.ravel()}
    recording = read(path, split=split)
    assert recording.n_spikes == sum(int(s.sum()) for s in by_id.values())
    assert set(recording.markers.labels) == {
        f"trial/{split}/{angle}" for angle in (30, 70, 110, 150, 190, 230, 310, 350)
    }
    # 700 ms of spikes, then 300 ms of silence, at 10 ms.
    counts = to_counts(recording, 0.01).spikes.counts.reshape(728, 100, 97)
    assert not counts[:, 70:].any()
    truth = np.stack([by_id[i] for i in sorted(by_id)])
    truth = truth.reshape(728, 97, 70, 10).sum(axis=3).transpose(0, 2, 1)
    np.testing.assert_array_equal(counts[:, :70], truth)
