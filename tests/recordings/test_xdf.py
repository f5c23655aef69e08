"""XDF files: spikes in the three formats, markers and signals, found and rightly timed."""

import logging

import numpy as np
import pytest
from xdf_bytes import (
    SPIKES,
    offset,
    samples,
    small,
    stream_header,
    xdf,
)

from bci_lfads.errors import RecordingError
from bci_lfads.recordings import BinnedCounts, read, to_counts


@pytest.fixture
def make(tmp_path):
    def write(content):
        path = tmp_path / "made.xdf"
        path.write_bytes(content)
        return path

    return write


def test_events_markers_and_signals_on_one_clock(make):
    recording = read(make(small()))
    assert recording.unit_labels == ("2/1", "3/0", "11/0")
    np.testing.assert_allclose(recording.spikes.times, [101.0, 101.25, 101.5, 102.0], atol=1e-6)
    assert recording.spikes.units.tolist() == [1, 0, 1, 2]
    np.testing.assert_allclose(recording.markers.times, [100.75, 101.75], atol=1e-6)
    assert recording.markers.labels == ("trial/start", "go/30")
    hand = recording.series["Hand"]
    assert hand.labels == ("x", "y")
    np.testing.assert_allclose(hand.times, [100.5, 100.6, 100.7], atol=1e-6)
    assert hand.values.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert recording.start == pytest.approx(100.5, abs=1e-6)
    assert recording.stop == pytest.approx(102.0, abs=1e-6)


@pytest.mark.parametrize(
    "labels",
    [("channel", "unit"), ("ch", "unit"), ("Channels", "Units"), ("ch_id", "unit_id")],
)
@pytest.mark.parametrize("form", ["int8", "int32", "int64", "float32", "double64"])
def test_event_columns_go_by_label_not_by_place(make, labels, form):
    swapped = ("wave_0", labels[1], labels[0])
    content = xdf(
        stream_header(1, "S", "", 3, 0, form, labels=swapped),
        samples(1, form, [(t, (9, unit, channel)) for t, (channel, unit, _) in SPIKES]),
    )
    recording = read(make(content))
    assert recording.unit_labels == ("2/1", "3/0", "11/0")
    assert recording.spikes.units.tolist() == [1, 0, 1, 2]


def test_units_listed_in_the_header_name_and_order_the_units(make):
    listed = "".join(
        f"<unit><label>{label}</label><channel>{c}</channel><unit>{u}</unit></unit>"
        for label, c, u in [("b", 11, 0), ("silent", 5, 0), ("a", 3, 0)]
    )
    content = xdf(
        stream_header(
            1, "S", "SpikeEvents", 3, 0, "int16",
            labels=("channel", "unit", "x"), desc=f"<units>{listed}</units>",
        ),
        samples(1, "int16", SPIKES),
    )  # fmt: skip
    recording = read(make(content))
    assert recording.unit_labels == ("b", "silent", "a", "2/1")
    assert recording.spikes.units.tolist() == [2, 3, 2, 0]


@pytest.mark.parametrize("form", ["int32", "string"])
def test_ids(make, form):
    ids = [10, 9, 10] if form == "int32" else ["10", "9", "10"]
    content = xdf(
        stream_header(1, "S", "Spikes", 1, 0, form),
        samples(1, form, [(0.1 * i, (v,)) for i, v in enumerate(ids)]),
        stream_header(2, "M", "Markers", 1, 0, "int32"),
        samples(2, "int32", [(0.05, (7,))]),
    )
    recording = read(make(content))
    assert recording.unit_labels == ("9", "10")
    assert recording.spikes.units.tolist() == [1, 0, 1]
    assert recording.markers.labels == ("7",)


def test_a_stream_that_looks_like_markers_can_be_chosen_as_spikes(make):
    content = xdf(
        stream_header(1, "A", "Events", 1, 0, "int32"),
        samples(1, "int32", [(0.0, (1,)), (0.5, (2,))]),
    )
    assert read(make(content)).n_units == 0
    recording = read(make(content), spikes="A")
    assert (recording.unit_labels, recording.markers.labels) == (("1", "2"), ())


def counts_file(times, rows, *, reference="", unit="count", form="int16", rate=100.0):
    desc = f"<timestamp_reference>{reference}</timestamp_reference>" if reference else ""
    return xdf(
        stream_header(
            1, "C", "SpikeCounts", 2, rate, form, labels=("u1", "u2"), units=(unit,) * 2, desc=desc
        ),
        samples(1, form, [(t, r) for t, r in zip(times, rows, strict=True)]),
    )


@pytest.mark.parametrize(("reference", "start"), [("", 4.99), ("end", 4.99), ("start", 5.0)])
def test_counts(make, reference, start, caplog):
    content = counts_file([5.0, 5.01, 5.04], [(1, 0), (300, 2), (0, 3)], reference=reference)
    with caplog.at_level(logging.WARNING):
        recording = read(make(content))
    assert isinstance(recording.spikes, BinnedCounts)
    assert recording.unit_labels == ("u1", "u2")
    assert recording.spikes.counts.tolist() == [[1, 0], [255, 2], [0, 0], [0, 0], [0, 3]]
    assert recording.spikes.start == pytest.approx(start)
    assert recording.spikes.bin_width == 0.01
    assert "2 of 5 bins are missing" in caplog.text
    assert "45 spikes above 255" in caplog.text


@pytest.mark.parametrize("drift", [20e-6, 310e-6, -310e-6])
def test_counts_keep_the_pace_of_a_clock_that_drifts(make, drift, caplog):
    """Bins stay nominal; a source that is slow leaves some empty, one that is fast shares some."""
    n, width = 20_000, 0.01
    ends = 7.0 + width * (1 + drift) * np.arange(n)
    with caplog.at_level(logging.WARNING):
        recording = read(make(counts_file(ends, [(1, i % 2) for i in range(n)])))
    spikes = recording.spikes
    assert spikes.bin_width == width
    edges = spikes.start + width * np.arange(len(spikes.counts) + 1)
    expected = np.histogram(ends - width / 2, edges)[0]
    assert expected.sum() == n
    np.testing.assert_array_equal(spikes.counts[:, 0], expected)
    assert spikes.counts[:, 1].sum() == n // 2
    assert len(expected) - n == {20e-6: 0, 310e-6: 6, -310e-6: -6}[drift]
    assert bool(caplog.text) == (abs(drift) > 20e-6)
    assert to_counts(recording, 2 * width).spikes.bin_width == 2 * width


def test_rates_are_not_taken_for_counts(make):
    path = make(counts_file([0.0, 0.01], [(1, 0), (2, 0)], unit="Hz", form="float32"))
    recording = read(path)
    assert recording.n_units == 0
    assert list(recording.series) == ["C"]
    with pytest.raises(RecordingError, match="in Hz"):
        read(path, spikes="C")


@pytest.mark.parametrize(
    ("times", "rows", "form", "says"),
    [
        ([0.0, 0.01], [(0.5, 0), (1, 0)], "float32", "whole numbers"),
        ([0.0, 0.01], [(-1, 0), (1, 0)], "int16", "whole numbers"),
        ([0.0] * 9, [(1, 0)] * 9, "int16", "8 of 9 samples share a bin"),
        ([0.01 * (i // 4) for i in range(99)], [(1, 0)] * 99, "int16", "off a grid of 10 ms"),
    ],
)
def test_counts_that_are_none_are_refused(make, times, rows, form, says):
    with pytest.raises(RecordingError, match=says):
        read(make(counts_file(times, rows, form=form)))


def test_two_spike_streams_ask_for_a_choice(make):
    content = xdf(
        *(stream_header(i, f"S{i}", "Spikes", 1, 0, "int16") for i in (1, 2)),
        *(samples(i, "int16", [(0.0, (i,))]) for i in (1, 2)),
    )
    path = make(content)
    with pytest.raises(RecordingError, match=r"'S1'.*'S2'.*spikes=NAME"):
        read(path)
    assert read(path, spikes="id-S2").unit_labels == ("2",)
    with pytest.raises(RecordingError, match=r"no spike stream .*'S3'"):
        read(path, spikes="S3")


def test_marker_streams_are_merged_or_chosen(make):
    content = xdf(
        *(stream_header(i, f"M{i}", "Markers", 1, 0, "string") for i in (1, 2)),
        *(samples(i, "string", [(i + 0.0, (f"a{i}",)), (i + 5.0, ("b",))]) for i in (1, 2)),
    )
    path = make(content)
    assert read(path).markers.labels == ("a1", "a2", "b", "b")
    assert read(path, markers="M2").markers.times.tolist() == [2.0, 7.0]
    assert read(path, markers=["M1", "M2"]).markers.labels == ("a1", "a2", "b", "b")
    with pytest.raises(RecordingError, match="no marker stream"):
        read(path, markers="M3")


def test_unordered_spikes_are_put_in_order(make):
    content = xdf(
        stream_header(1, "S", "Spikes", 1, 0, "int16"),
        samples(1, "int16", [(2.0, (1,)), (1.0, (2,))]),
    )
    assert read(make(content)).spikes.units.tolist() == [1, 0]


def test_units_that_are_no_whole_numbers_are_refused(make):
    content = xdf(
        stream_header(1, "S", "", 2, 0, "float32", labels=("channel", "unit")),
        samples(1, "float32", [(2.0, (1.5, 0))]),
    )
    with pytest.raises(RecordingError, match="whole numbers"):
        read(make(content))


def test_a_clock_reset_is_mended(make):
    # The outlet's clock falls from 1000 s to 0 s while the recorder's runs on.
    before = [(1000.0 + i, (1,)) for i in range(30)]
    after = [(0.0 + i, (2,)) for i in range(30)]
    content = xdf(
        stream_header(1, "S", "Spikes", 1, 0, "int16"),
        *(offset(1, 1000.0 + i, -900.0) for i in range(0, 30, 5)),
        samples(1, "int16", before),
        *(offset(1, 0.0 + i, 130.0) for i in range(0, 30, 5)),
        samples(1, "int16", after),
    )
    recording = read(make(content))
    np.testing.assert_allclose(recording.spikes.times, 100.0 + np.arange(60), atol=1e-3)


def test_nothing_is_printed(make, capfd):
    read(make(small()))
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


class TestExampleFiles:
    """Expected values: upstream_README.md beside the files."""

    def test_minimal(self, shared_data):
        recording = read(shared_data / "xdf-example-files/minimal.xdf")
        data = recording.series["SendDataC"]
        np.testing.assert_allclose(data.times, np.arange(5.0, 5.81, 0.1))
        assert data.values[0].tolist() == [192, 255, 238]
        assert data.values[-1].tolist() == [15, 25, 35]
        assert recording.n_units == 0
        assert recording.markers.labels[1:4] == ("Hello", "World", "from")

    def test_empty_streams(self, shared_data):
        recording = read(shared_data / "xdf-example-files/empty_streams.xdf")
        assert recording.markers.labels == ('{"state": 2}',)
        data = recording.series["Data stream: test stream 0 counter"]
        assert data.values[:, 0].tolist() == list(range(10))
        assert len(recording.series["Empty data stream: test stream 0 counter"].times) == 0

    def test_clock_resets(self, shared_data):
        recording = read(shared_data / "xdf-example-files/clock_resets.xdf")
        assert len(recording.markers.labels) == 175
        assert len(recording.series["BioSemi"].times) == 27_815
        assert 570 < recording.duration < 580

    @pytest.mark.parametrize(
        ("name", "says"),
        [
            ("chunk_length_lie", "too short for a stream number"),
            ("out_of_order_clock_offsets", "0 channels"),
            ("out_of_order_sample_chunk", "0 channels"),
            ("str_test", "take 54 bytes, the chunk has 60"),
        ],
    )
    def test_files_found_by_fuzzing_are_refused(self, shared_data, name, says):
        with pytest.raises(RecordingError, match=says):
            read(shared_data / f"xdf-rs-fuzz/{name}.xdf")
