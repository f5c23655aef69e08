"""LSL streams recorded to XDF: all that was sent is in the file, whatever ends the recording."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pylsl
import pytest

from bci_lfads.errors import RecordingError
from bci_lfads.recordings import read
from bci_lfads.recordings.record import record
from bci_lfads.recordings.xdf_guard import inspect_xdf

ROOT = Path(__file__).resolve().parents[2]


def outlet(name, kind, labels, form):
    info = pylsl.StreamInfo(name, kind, len(labels), 0.0, form, f"id of {name}")
    channels = info.desc().append_child("channels")
    for label in labels:
        channels.append_child("channel").append_child_value("label", label)
    return pylsl.StreamOutlet(info)


def spikes(name):
    return outlet(f"{name} Spikes", "SpikeEvents", ("channel", "unit"), "int32")


def test_a_file_is_not_replaced_unasked(tmp_path):
    path = tmp_path / "made.xdf"
    path.write_bytes(b"kept")
    with pytest.raises(RecordingError, match=r"exists; .*overwrite"):
        record(path)
    assert path.read_bytes() == b"kept"


@pytest.mark.parametrize(
    ("name", "says"), [("made.npz", "recorded to .xdf"), ("none/made.xdf", "no folder")]
)
def test_where_nothing_can_be_recorded_to(tmp_path, name, says):
    with pytest.raises(RecordingError, match=says):
        record(tmp_path / name)


@pytest.mark.lsl
class TestOverLsl:
    def test_all_that_was_sent_is_read_back(self, tmp_path, unique):
        import pyxdf

        path = tmp_path / "made.xdf"
        events = spikes(unique)
        markers = outlet(f"{unique} 'Marks'", "Markers", ("label",), "string")
        other = spikes(f"not {unique}")  # not asked for
        rng = np.random.default_rng(0)
        rows = rng.integers(0, 3, (500, 2)).astype(np.int32)
        stamps = pylsl.local_clock() + np.cumsum(rng.exponential(0.002, len(rows)))
        marks = [("trial/start", stamps[3]), ("Ü", stamps[300])]
        sent = False

        def push(_):
            nonlocal sent
            if not sent:
                sent = True
                events.push_chunk(rows, stamps.tolist())
                for label, stamp in marks:
                    markers.push_sample([label], stamp)
                other.push_sample([1, 1])

        # One of the two by its name as well as by the query.
        wanted = [f"{unique} Spikes", f"starts-with(name,'{unique} ')"]
        lasted = record(path, streams=wanted, seconds=2.0, on_progress=push)
        assert lasted >= 2.0

        streams, _ = pyxdf.load_xdf(path, synchronize_clocks=False, dejitter_timestamps=False)
        raw = {s["info"]["name"][0]: s for s in streams}
        assert set(raw) == {f"{unique} Spikes", f"{unique} 'Marks'"}
        assert len(streams) == 2
        np.testing.assert_array_equal(raw[f"{unique} Spikes"]["time_series"], rows)
        np.testing.assert_array_equal(raw[f"{unique} Spikes"]["time_stamps"], stamps)
        assert raw[f"{unique} 'Marks'"]["time_series"] == [["trial/start"], ["Ü"]]

        recording = read(path)
        keys = [f"{channel}/{unit}" for channel, unit in rows.tolist()]
        assert [recording.unit_labels[u] for u in recording.spikes.units] == keys
        # What the recorder measured between two clocks that are one.
        np.testing.assert_allclose(recording.spikes.times, stamps, rtol=0, atol=5e-3)
        assert recording.markers.labels == ("trial/start", "Ü")

    def test_a_stream_that_is_not_there_is_named_beside_those_that_are(self, tmp_path, unique):
        there = spikes(unique)
        says = rf"'{unique} Other' not found .* in 1 s; there is .*'{unique} Spikes' \(SpikeEvents"
        with pytest.raises(RecordingError, match=says):
            record(
                tmp_path / "made.xdf", streams=[f"{unique} Spikes", f"{unique} Other"], timeout=1.0
            )
        assert list(tmp_path.iterdir()) == []
        del there

    def test_waiting_for_streams_can_be_stopped(self, tmp_path, unique):
        asked = iter([False, False, True])
        assert record(tmp_path / "made.xdf", streams=[unique], stop=lambda: next(asked)) == 0.0
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.timeout(90)
    def test_a_source_that_goes_does_not_hold_the_end_up(self, tmp_path, unique):
        path = tmp_path / "made.xdf"
        source = [spikes(unique)]
        ticks = 0

        def push(_):
            nonlocal ticks
            ticks += 1
            if ticks == 1:
                source[0].push_sample([4, 0], 5.0)
            if ticks == 8:
                source.clear()

        record(path, streams=[f"{unique} Spikes"], stop=lambda: ticks >= 12, on_progress=push)
        recording = read(path)
        assert recording.unit_labels == ("4/0",)

    @pytest.mark.timeout(90)
    def test_a_source_that_comes_back_is_recorded_again(self, tmp_path, unique):
        path = tmp_path / "made.xdf"
        source, sent, came = [spikes(unique)], 0, pylsl.local_clock()
        quiet_until = 0.0

        def push(_):
            nonlocal sent, quiet_until
            now = time.monotonic()
            # Before it goes, and before the end, what it sent last is on its way for a while.
            if now < quiet_until or not source[0].have_consumers():
                return
            if sent == 5 and quiet_until and source[1:] == []:
                source[0] = None
                source[:] = [spikes(unique), "back"]
                return
            source[0].push_sample([sent, 0], came + sent)
            sent += 1
            if sent in (5, 10):
                quiet_until = now + 2.0

        def over():
            return sent >= 10 and time.monotonic() > quiet_until

        record(path, streams=[f"{unique} Spikes"], stop=over, on_progress=push)
        (found,) = inspect_xdf(path).streams.values()
        assert found.ended
        assert read(path).unit_labels == tuple(f"{k}/0" for k in range(10))

    @pytest.mark.timeout(90)
    def test_ctrl_c_leaves_a_whole_file(self, tmp_path, unique):
        """It reaches the whole process group, as from a terminal."""
        path = tmp_path / "made.xdf"
        source, done = spikes(unique), threading.Event()

        def push():
            while not done.wait(0.01):
                source.push_sample([4, 0])

        pushing = threading.Thread(target=push)
        pushing.start()
        command = ["record", str(path), "--stream", f"{unique} Spikes"]
        process = subprocess.Popen(
            [sys.executable, "-m", "bci_lfads", *command],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
            start_new_session=True,
        )  # fmt: skip
        try:
            end = time.monotonic() + 30
            # Some seconds in, it has written samples.
            while not (path.exists() and path.stat().st_size > 8_000):
                assert process.poll() is None, process.communicate()[0]
                assert time.monotonic() < end
                time.sleep(0.1)
            os.killpg(process.pid, signal.SIGINT)
            out, _ = process.communicate(timeout=30)
        finally:
            done.set()
            pushing.join()
            process.kill()
            process.communicate()
        assert process.returncode == 0, out
        assert inspect_xdf(path).cut_off == 0
        assert path.read_bytes().rstrip().endswith(b"</info>")  # the footer
        assert read(path).n_spikes > 100
