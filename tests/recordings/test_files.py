"""Recordings as a whole: to files and back, from events to counts, summed up."""

import gzip
import json
import logging
from contextlib import suppress

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bci_lfads.errors import RecordingError
from bci_lfads.recordings import (
    BinnedCounts,
    Markers,
    Recording,
    Series,
    SpikeEvents,
    read,
    summary,
    to_counts,
    to_events,
    write,
)
from bci_lfads.recordings.files import read_here  # quicker than in a process for each

LABELS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
TIMES = st.lists(st.floats(-1e9, 1e9), max_size=20).map(sorted).map(np.array)
FORMATS = pytest.mark.parametrize("suffix", [".npz", ".h5", ".hdf5"])


def of_length(n, elements, kind):
    return st.lists(elements, min_size=n, max_size=n).map(lambda v: np.array(v, kind))


@st.composite
def recordings(draw):
    units = tuple(draw(st.lists(LABELS, max_size=4, unique=True)))
    start, stop = sorted(draw(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))))
    spikes = SpikeEvents(np.empty(0), np.empty(0, np.int32))
    if draw(st.booleans()):
        n = draw(st.integers(0, 5))
        counts = draw(of_length(n * len(units), st.integers(0, 255), np.uint8))
        width = draw(st.floats(1e-6, 10.0))
        spikes = BinnedCounts(counts.reshape(n, len(units)), width, draw(st.floats(-1e6, 1e6)))
    elif units:
        times = draw(TIMES)
        place = st.integers(0, len(units) - 1)
        spikes = SpikeEvents(times, draw(of_length(len(times), place, np.int32)))
    marks = draw(TIMES)
    labels = draw(st.lists(LABELS, min_size=len(marks), max_size=len(marks)))
    series = {}
    for name in draw(st.lists(LABELS, max_size=2, unique=True)):
        times, channels = draw(TIMES), draw(st.lists(LABELS, max_size=3))
        size = len(times) * len(channels)
        values = draw(of_length(size, st.floats(width=32, allow_nan=False), np.float32))
        series[name] = Series(times, values.reshape(len(times), len(channels)), tuple(channels))
    return Recording(
        spikes, units, start, stop, Markers(marks, tuple(labels)), series, draw(LABELS)
    )


def assert_same(found, expected):
    for field in ("unit_labels", "start", "stop", "name"):
        assert getattr(found, field) == getattr(expected, field)
    assert type(found.spikes) is type(expected.spikes)
    for field, value in vars(expected.spikes).items():
        np.testing.assert_array_equal(getattr(found.spikes, field), value)
        assert np.asarray(getattr(found.spikes, field)).dtype == np.asarray(value).dtype
    np.testing.assert_array_equal(found.markers.times, expected.markers.times)
    assert found.markers.labels == expected.markers.labels
    assert list(found.series) == list(expected.series)
    for name, series in expected.series.items():
        np.testing.assert_array_equal(found.series[name].times, series.times)
        np.testing.assert_array_equal(found.series[name].values, series.values)
        assert found.series[name].values.dtype == np.float32
        assert found.series[name].labels == series.labels


@FORMATS
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(recording=recordings())
def test_what_is_written_is_read_back_to_the_bit(tmp_path, suffix, recording):
    path = tmp_path / f"made{suffix}"
    write(recording, path)
    assert_same(read_here(path), recording)


def events(times=(0.0, 0.25, 0.5, 0.75), units=(0, 1, 0, 0), start=0.0, stop=1.0, n_units=2):
    return Recording(
        SpikeEvents(np.array(times), np.array(units, np.int32)),
        tuple(f"u{i}" for i in range(n_units)),
        start,
        stop,
        Markers(np.array([0.1, 0.2, 0.9]), ("go", "go", "stop")),
        {"hand": Series(np.array([0.0, 0.5]), np.zeros((2, 1), np.float32), ("x",))},
        "made",
    )


@pytest.mark.parametrize("name", ["a.xdf", "a.nwb", "a"])
def test_other_formats_are_not_written(tmp_path, name):
    says = "bci-lfads record a.xdf" if name == "a.xdf" else "are written to .npz, .h5 or .hdf5"
    with pytest.raises(RecordingError, match=says):
        write(events(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "made.h5"
    write(events(), path)
    bad = Recording(events().spikes, ("a\0", "b"), 0.0, 1.0)
    with pytest.raises(RecordingError, match="no file can keep"):
        write(bad, path)
    assert_same(read_here(path), events())
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(RecordingError, match="cannot be written"):
        write(events(), tmp_path / "missing/made.npz")


@FORMATS
def test_a_name_says_nothing_of_the_content(tmp_path, suffix):
    path = tmp_path / f"made{suffix}"
    write(events(), path)
    assert_same(read(path.rename(tmp_path / "no_suffix")), events())


@FORMATS
def test_a_file_cut_off_is_refused(tmp_path, suffix):
    path = tmp_path / f"made{suffix}"
    write(events(), path)
    whole = path.read_bytes()
    for length in range(8, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(RecordingError, match=r"damaged|unknown format"):
            read_here(path)


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(where=st.floats(0, 1, exclude_max=True), mask=st.integers(1, 255))
def test_an_altered_byte_is_refused_or_does_no_harm(tmp_path, suffix, where, mask):
    path = tmp_path / f"made{suffix}"
    write(events(), path)
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= mask
    path.write_bytes(content)
    with suppress(RecordingError):
        assert_same(read_here(path), events())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"time,unit\n0.1,3\n", "unknown format"),
        (gzip.compress(b"XDF:"), "unpack it first"),
        (b"MATLAB 7.3 MAT-file" + bytes(520), "save it with -v7"),
        (b"\x93NUMPY\x01\x00", "bare NumPy array"),
    ],
)
def test_other_files_are_refused_with_what_is_accepted(tmp_path, content, says):
    path = tmp_path / "made.bin"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=f"{says}.*recordings are read from .npz"):
        read(path)


def test_what_is_no_file_is_refused(tmp_path):
    for path, says in ((tmp_path / "none.npz", "No such file"), (tmp_path, "directory")):
        with pytest.raises(RecordingError, match=says):
            read(path)


def test_options_of_another_format_are_refused(tmp_path):
    write(events(), tmp_path / "made.npz")
    with pytest.raises(RecordingError, match=r"without the option markers; .*: none"):
        read(tmp_path / "made.npz", markers="M")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"unit_labels": None}, "lacks 'unit_labels'"),
        ({"version": np.array(2)}, "newer bci-lfads"),
        ({"format": np.array("other")}, "not a recording of this package"),
        ({"spike_units": np.array([0, 1, 0, 2])}, "indices run from 0 to 2"),
        ({"spike_units": np.array([0, 1, 0, 2**31])}, "'spike_units' is"),
        ({"spike_times": np.array([0.0, 1.0, 0.5, 2.0])}, "not in ascending order"),
        ({"spike_times": np.array([[0.0]])}, "'spike_times' is"),
        ({"marker_codes": np.array([0, 0, 7])}, "outside of the 2 labels"),
        ({"stop": np.array(-1.0)}, "no stretch"),
        ({"series_0_values": np.zeros((3, 1))}, "hand has values of shape"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path, change, says):
    path = tmp_path / "made.npz"
    write(events(), path)
    with np.load(path) as file:
        items = {name: file[name] for name in file.files}
    items |= change
    np.savez(path, **{name: value for name, value in items.items() if value is not None})
    with pytest.raises(RecordingError, match=says):
        read(path)


def test_an_npz_of_objects_is_never_unpickled(tmp_path):
    path = tmp_path / "made.npz"
    np.savez(path, format=np.array([{}], object))
    with pytest.raises(RecordingError, match="pickle"):
        read(path)


def test_hdf5_groups_where_arrays_should_be_are_refused(tmp_path):
    path = tmp_path / "made.h5"
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "bci-lfads recording"
        file.create_group("spike_times")
    with pytest.raises(RecordingError, match="is not an array"):
        read_here(path)


class TestConvert:
    def test_events_to_counts(self):
        recording = to_counts(events(), 0.25)
        assert recording.spikes.counts.tolist() == [[1, 0], [0, 1], [1, 0], [1, 0]]
        assert (recording.spikes.bin_width, recording.spikes.start) == (0.25, 0.0)
        assert recording.markers.labels == ("go", "go", "stop")

    def test_the_last_bin_holds_the_stop(self):
        recording = to_counts(events(times=(0.0, 0.5, 1.0, 1.0)), 0.5)
        assert recording.spikes.counts.tolist() == [[1, 0], [2, 1]]

    @settings(max_examples=200, deadline=None)
    @given(
        times=st.lists(st.floats(-5, 15), max_size=50).map(sorted),
        width=st.sampled_from([0.001, 0.01, 0.1, 1 / 3, 1.0, 100.0]),
    )
    def test_counts_are_those_of_a_histogram(self, times, width):
        recording = events(times, [0] * len(times), -5.0, 15.0, 1)
        spikes = to_counts(recording, width).spikes
        edges = -5.0 + width * np.arange(len(spikes.counts) + 1)
        assert edges[-2] < 15.0 <= edges[-1] + 1e-6 * width
        # A histogram's last bin has both its edges; ours too, as far as the recording goes.
        edges[-1] = max(edges[-1], 15.0)
        np.testing.assert_array_equal(spikes.counts[:, 0], np.histogram(times, edges)[0])

    @settings(max_examples=100, deadline=None)
    @given(recording=recordings(), times=st.integers(1, 4))
    def test_counts_to_events_and_back(self, recording, times):
        if not isinstance(recording.spikes, BinnedCounts):
            assert to_events(recording) is recording
            return
        given_spikes = recording.spikes
        turned = to_events(recording)
        assert turned.n_spikes == recording.n_spikes
        row = np.floor((turned.spikes.times - given_spikes.start) / given_spikes.bin_width)
        again = np.zeros(given_spikes.counts.shape, np.int64)
        np.add.at(again, (row.astype(int), turned.spikes.units), 1)
        if given_spikes.bin_width > 1e-3:  # below that, float64 ends 1e6 s from the origin
            np.testing.assert_array_equal(again, given_spikes.counts)
        wide = to_counts(recording, times * given_spikes.bin_width).spikes
        if int(given_spikes.counts.max(initial=0)) * times <= 255:
            assert wide.counts.sum() == recording.n_spikes
        assert len(wide.counts) == -(-len(given_spikes.counts) // times)

    def test_counts_saturate_and_say_so(self, caplog):
        counts = np.full((2, 1), 200, np.uint8)
        recording = Recording(BinnedCounts(counts, 0.01), ("u",), 0.0, 0.02)
        with caplog.at_level(logging.WARNING):
            assert to_counts(recording, 0.02).spikes.counts.tolist() == [[255]]
        assert "145 spikes above 255" in caplog.text

    def test_spikes_outside_of_the_stretch_are_left_out_and_told(self, caplog):
        recording = events(times=(-1.0, 0.5, 0.6, 1.5))
        with caplog.at_level(logging.WARNING):
            assert to_counts(recording, 0.5).n_spikes == 2
        assert "2 spikes outside" in caplog.text

    @pytest.mark.parametrize("width", [0.015, 0.005, 0.010001])
    def test_bins_that_are_no_multiple_are_refused(self, width):
        recording = to_counts(events(), 0.01)
        with pytest.raises(RecordingError, match="no whole multiple"):
            to_counts(recording, width)

    @pytest.mark.parametrize("width", [0.0, -0.01, float("nan"), float("inf")])
    def test_widths_that_are_none_are_refused(self, width):
        with pytest.raises(RecordingError, match="must be above 0 s"):
            to_counts(events(), width)

    def test_more_bins_than_memory_are_refused(self):
        with pytest.raises(RecordingError, match="take wider bins"):
            to_counts(events(stop=1e9), 1e-3)


class TestSelect:
    @pytest.mark.parametrize("counts", [False, True])
    def test_units_in_the_order_asked_for(self, counts):
        recording = to_counts(events(), 0.25) if counts else events()
        turned = recording.select(("u1", "u0"))
        assert turned.unit_labels == ("u1", "u0")
        expected = to_counts(events(), 0.25).spikes.counts[:, ::-1]
        spikes = to_counts(turned, 0.25).spikes
        np.testing.assert_array_equal(spikes.counts, expected)
        assert recording.select(("u1",)).n_spikes == 1

    def test_units_that_are_not_there_are_named(self):
        with pytest.raises(RecordingError, match="2 units but not x, y; it has u0, u1"):
            events().select(("u0", "x", "y"))


class TestSummary:
    def test_numbers(self):
        found = summary(events())
        assert found["n_spikes"] == 4
        assert found["rate"] == 2.0
        assert found["markers"] == {"go": 2, "stop": 1}
        assert found["series"] == {"hand": {"n_samples": 2, "labels": ["x"]}}
        assert (found["spikes_as"], found["bin_width"]) == ("events", None)
        counted = summary(to_counts(events(), 0.25))
        assert (counted["spikes_as"], counted["bin_width"]) == ("counts", 0.25)
        assert json.loads(json.dumps(found)) == found

    def test_nothing_at_all(self):
        empty = Recording(SpikeEvents(np.empty(0), np.empty(0, np.int32)), (), 0.0, 0.0)
        assert summary(empty)["rate"] is None

    @settings(max_examples=50, deadline=None)
    @given(recording=recordings())
    def test_any_recording_can_be_summed_up_as_json(self, recording):
        json.dumps(summary(recording))
