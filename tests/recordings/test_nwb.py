"""NWB files: units, events of every kind, behaviour; outliers and what is not there."""

import logging
import warnings
from datetime import datetime, timezone

import h5py
import numpy as np
import pytest

from bci_lfads.errors import RecordingError
from bci_lfads.recordings import read
from bci_lfads.recordings.files import read_here  # quicker than in a process for each

pynwb = pytest.importorskip("pynwb", reason="pynwb is not installed (extra nwb)")
TRAINS = {7: [0.5, 2.0, 9.0], 3: [], 12: [1.0, 2.5]}


@pytest.fixture
def file():
    """Return an empty file in memory."""
    return pynwb.NWBFile(
        session_description="made for a test",
        identifier="test",
        session_start_time=datetime(2024, 5, 1, tzinfo=timezone.utc),
    )


@pytest.fixture
def save(tmp_path):
    def write(content):
        path = tmp_path / "made.nwb"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pynwb's, on its own ways
            with pynwb.NWBHDF5IO(str(path), "w") as io:
                io.write(content)
        return path

    return write


def add_units(file, **columns):
    for name in columns:
        file.add_unit_column(name, "made for a test")
    for i, (number, times) in enumerate(TRAINS.items()):
        row = {name: values[i] for name, values in columns.items()}
        file.add_unit(id=number, spike_times=np.array(times, float), **row)


def test_spikes_of_all_units_in_order(file, save):
    add_units(file)
    recording = read_here(save(file))
    assert recording.unit_labels == ("unit_7", "unit_3", "unit_12")
    assert recording.spikes.times.tolist() == [0.5, 1.0, 2.0, 2.5, 9.0]
    assert recording.spikes.units.tolist() == [0, 2, 0, 2, 0]
    assert (recording.start, recording.stop) == (0.5, 9.0)


@pytest.mark.parametrize(
    ("named", "labels"),
    [
        (["a", "b", "c"], ("a", "b", "c")),
        (["a", "b", "a"], ("unit_7", "unit_3", "unit_12")),  # says too little to be a label
    ],
)
def test_labels_come_from_a_column_that_tells_units_apart(file, save, named, labels):
    add_units(file, unit_name=named)
    assert read_here(save(file)).unit_labels == labels


def test_trials_become_markers(file, save):
    add_units(file)
    file.add_trial_column("go_cue_time", "when the cue came")
    file.add_trial_column("target", "a number that is no time")
    file.add_trial(start_time=1.0, stop_time=2.0, go_cue_time=1.5, target=4, tags=["left", "easy"])
    file.add_trial(start_time=3.0, stop_time=4.0, go_cue_time=np.nan, target=5, tags=["right"])
    markers = read_here(save(file)).markers
    assert list(zip(markers.times.tolist(), markers.labels, strict=True)) == [
        (1.0, "trials/start/left/easy"),
        (1.5, "trials/go_cue/left/easy"),
        (2.0, "trials/stop/left/easy"),
        (3.0, "trials/start/right"),
        (4.0, "trials/stop/right"),
    ]


def series(name, data, **timing):
    return pynwb.TimeSeries(name=name, data=data, unit="n/a", **timing)


def test_series_of_text_and_of_codes_become_markers_and_others_series(file, save):
    add_units(file)
    file.add_acquisition(series("words", ["go", "stop"], timestamps=[4.0, 3.0]))
    file.add_stimulus(series("codes", np.array([11, 12]), timestamps=[1.0, 5.0]))
    file.add_acquisition(series("counter", np.arange(1000), timestamps=np.arange(1000) / 100))
    file.add_acquisition(series("hand", np.arange(6.0).reshape(3, 2), rate=2.0, starting_time=1.0))
    file.create_processing_module("behavior", "made").add(
        pynwb.TimeSeries(name="eye", data=[1, 2], unit="m", conversion=0.5, offset=1.0, rate=1.0)
    )
    recording = read_here(save(file))
    assert recording.markers.labels == ("codes/11", "words/stop", "words/go", "codes/12")
    assert set(recording.series) == {"counter", "hand", "eye"}
    hand = recording.series["hand"]
    assert hand.times.tolist() == [1.0, 1.5, 2.0]
    assert hand.values.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert hand.labels == ("hand_0", "hand_1")
    assert recording.series["eye"].values.tolist() == [[1.5], [2.0]]


def test_raw_voltages_are_left_out(file, save):
    add_units(file)
    device = file.create_device("probe")
    group = file.create_electrode_group("shank", "made", "M1", device)
    file.add_electrode(location="M1", group=group)
    region = file.create_electrode_table_region([0], "made")
    file.add_acquisition(
        pynwb.ecephys.ElectricalSeries(
            name="raw", data=np.zeros((100, 1)), electrodes=region, rate=100.0
        )
    )
    assert read_here(save(file)).series == {}


def test_stamps_that_cannot_be_are_dropped_and_told(file, save, caplog):
    file.add_unit(spike_times=[0.5, np.nan, 2.0])
    file.add_acquisition(
        series("codes", np.array([1, 2, 3, 4]), timestamps=[-1.5e9, 1.0, 62.5, np.nan])
    )
    with caplog.at_level(logging.WARNING):
        recording = read(save(file))
    assert recording.spikes.times.tolist() == [0.5, 2.0]
    assert recording.markers.labels == ("codes/2",)
    assert "1 spikes without a time" in caplog.text
    assert "3 markers far outside" in caplog.text
    assert "codes/1 at -1.5e+09 s" in caplog.text


def test_events_without_units_are_read(file, save):
    file.add_epoch(start_time=0.0, stop_time=8.0, tags=["rest"])
    recording = read_here(save(file))
    assert (recording.n_units, recording.markers.labels) == (
        0,
        ("epochs/start/rest", "epochs/stop/rest"),
    )


def test_neither_units_nor_events_is_refused(file, save):
    file.add_acquisition(series("hand", np.arange(3.0), rate=2.0))
    with pytest.raises(RecordingError, match=r"neither units nor events; it holds .*hand"):
        read_here(save(file))


def test_a_damaged_file_is_refused(file, save):
    add_units(file)
    path = save(file)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RecordingError, match="damaged HDF5"):
        read_here(path)


def test_hdf5_that_only_says_it_is_nwb_is_refused(tmp_path):
    path = tmp_path / "made.nwb"
    with h5py.File(path, "w") as file:
        file.attrs["nwb_version"] = "2.0"
        file["units"] = np.zeros(3)
    with pytest.raises(RecordingError, match="cannot be read as NWB"):
        read_here(path)


def test_real_units_are_those_in_the_file(shared_data):
    path = shared_data / "nwb-spikes/A8604-211122.nwb"
    recording = read_here(path)
    with h5py.File(path) as file:
        times, ends = file["units/spike_times"][:], file["units/spike_times_index"][:]
    for unit, train in enumerate(np.split(times, ends[:-1])):
        found = recording.spikes.times[recording.spikes.units == unit]
        np.testing.assert_array_equal(found, np.sort(train))


def test_real_events_but_for_the_outlier(shared_data, caplog):
    path = shared_data / "nwb-spikes/sub-4_ses-4_ecephys+image.nwb"
    with caplog.at_level(logging.WARNING):
        recording = read_here(path)
    with h5py.File(path) as file:
        codes, times = file["acquisition/events/data"][:], file["acquisition/events/timestamps"][:]
    kept = [
        (time, label)
        for time, label in zip(recording.markers.times, recording.markers.labels, strict=True)
        if label.startswith("events/")
    ]
    assert times[0] < -1e9
    assert "events/0 at -1.5429e+09 s" in caplog.text
    order = np.argsort(times[1:], kind="stable")
    assert [t for t, _ in kept] == times[1:][order].tolist()
    assert [label for _, label in kept] == [f"events/{c}" for c in codes[1:][order]]
    assert 0 <= recording.start < recording.stop < 3000
