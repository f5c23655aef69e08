"""Sessions recorded chunk by chunk: what a killed recorder leaves, and streams that come back."""

import math
import signal
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import pylsl
import pytest
import pyxdf

from bci_lfads.errors import RecordingError
from bci_lfads.headers import parse_header
from bci_lfads.recordings.session import SessionRecorder
from bci_lfads.recordings.xdf_guard import inspect_xdf
from bci_lfads.recordings.xdf_writer import XdfWriter
from bci_lfads.rig import load_rig

FORMATS = ("int8", "int16", "int32", "int64", "float32", "double64")


def header(name, form, n_channels):
    kinds = {f: getattr(pylsl, f"cf_{f}") for f in (*FORMATS, "string")}
    return pylsl.StreamInfo(name, "T", n_channels, 0.0, kinds[form], name).as_xml()


def test_what_is_written_is_read_back(tmp_path):
    path = tmp_path / "written.xdf"
    rng = np.random.default_rng(0)
    stamps = np.sort(rng.random((2, 300)), axis=1)
    writer = XdfWriter(path)
    sent = {}
    for form in FORMATS:
        number = writer.stream(header(form, form, 3), form)
        kind = {"float32": np.float32, "double64": np.float64}.get(form, form)
        sent[form] = (100 * rng.standard_normal((300, 3))).astype(kind)
        writer.samples(number, sent[form][:200], stamps[0, :200])
        writer.samples(number, sent[form][:0], stamps[0, :0])
        writer.samples(number, sent[form][200:], stamps[0, 200:])
        writer.clock_offset(number, 1.0, 0.0)
    texts = writer.stream(header("text", "string", 1), "string")
    writer.samples(texts, [["Ü" * 300], [b"b"]], np.array([1.0, 2.0]))
    writer.boundary()
    writer.footer(texts)
    writer.close()
    assert inspect_xdf(path).cut_off == 0
    streams, _ = pyxdf.load_xdf(path, dejitter_timestamps=False)
    found = {s["info"]["name"][0]: s for s in streams}
    for form in FORMATS:
        np.testing.assert_array_equal(found[form]["time_series"], sent[form])
        np.testing.assert_array_equal(found[form]["time_stamps"], stamps[0])
    assert found["text"]["time_series"] == [["Ü" * 300], ["b"]]


@pytest.fixture
def rig(tmp_path, unique):
    path = tmp_path / "rig.toml"
    path.write_text(
        f"""
        name = "{unique}"
        model = "m.safetensors"
        [input.spikes]
        name = "{unique} S"
        [window]
        mode = "sliding"
        """
    )
    return path


@pytest.mark.parametrize(
    ("name", "says"), [("kept.xdf", "exists"), ("made.npz", "recorded to .xdf")]
)
def test_where_no_session_is_recorded_to(rig, tmp_path, name, says):
    (tmp_path / "kept.xdf").write_bytes(b"kept")
    with pytest.raises(RecordingError, match=says):
        SessionRecorder(load_rig(rig), tmp_path / name)
    assert (tmp_path / "kept.xdf").read_bytes() == b"kept"


def outlet(name, source_id=None):
    info = pylsl.StreamInfo(name, "T", 1, 0.0, "double64", source_id or f"{name} id")
    return pylsl.StreamOutlet(info)


@pytest.mark.lsl
def test_whatever_the_rig_has_is_recorded_and_nothing_of_another_rig(rig, tmp_path, unique):
    """Also what its decoder and triggers publish, which may come at any time."""
    recorder = SessionRecorder(load_rig(rig), tmp_path / "made.xdf", drains=True)

    def step_until(done):
        end = time.monotonic() + 30
        while not done():
            assert time.monotonic() < end, recorder.names
            recorder.step()
            time.sleep(0.005)

    source, other = outlet(f"{unique} S"), outlet("other", f"bci-lfads:{unique}2:Triggers")
    words = ("Factors", "Latency", "Journal", "Status")
    outputs = [outlet(f"{unique} {w}", f"bci-lfads:{unique}:{w}") for w in words[:3]]
    step_until(lambda: len(recorder.names) == 4)
    assert not recorder.complete, "there is no Status"
    outputs.append(outlet(f"{unique} Status", f"bci-lfads:{unique}:Status"))
    step_until(lambda: recorder.complete)
    later = ("DecodedBehaviour", "Triggers")
    outputs += [outlet(f"{unique} {w}", f"bci-lfads:{unique}:{w}") for w in later]
    step_until(lambda: len(recorder.names) == 7)
    for k, one in enumerate([*outputs, source, other]):
        one.push_sample([float(k)], 5.0)
    step_until(lambda: all(s.taken for s in recorder._streams.values()))
    recorder.run(lambda seconds: True)
    streams, _ = pyxdf.load_xdf(tmp_path / "made.xdf", dejitter_timestamps=False)
    found = {s["info"]["name"][0]: s["time_series"].tolist() for s in streams}
    order = [f"{unique} {w}" for w in (*words, *later, "S")]
    assert found == {name: [[float(k)]] for k, name in enumerate(order)}
    assert all(s.ended for s in inspect_xdf(tmp_path / "made.xdf").streams.values())


@pytest.mark.lsl
@pytest.mark.parametrize("what", ["announcement", "description"])
def test_a_stream_that_is_wrong_is_said_once_and_ends_no_recording(
    rig, tmp_path, unique, caplog, monkeypatch, what
):
    recorder = SessionRecorder(load_rig(rig), tmp_path / "made.xdf", drains=True)
    # Of a rate that is no number LSL does not even read the name.
    rate = math.nan if what == "announcement" else 0.0
    source_id = f"bci-lfads:{unique}:Triggers"
    info = pylsl.StreamInfo(f"{unique} Triggers", "T", 1, rate, "double64", source_id)
    says = {
        "announcement": "is not recorded: LSL makes no inlet of stream '(invalid",
        "description": f"'{unique} Triggers' is not recorded: made up",
    }[what]

    def parse(xml):
        if "Triggers" in xml:
            raise ValueError("made up")
        return parse_header(xml)

    monkeypatch.setattr("bci_lfads.recordings.stream_recorder.parse_header", parse)
    wrong = pylsl.StreamOutlet(info)
    status = outlet(f"{unique} Status", f"bci-lfads:{unique}:Status")
    end = time.monotonic() + 30
    while recorder.names != [f"{unique} Status"] or says not in caplog.text:
        assert time.monotonic() < end
        recorder.step()
    wrong.push_sample([1.0])
    status.push_sample([7.0], 5.0)
    recorder.run(lambda seconds: True)
    assert caplog.text.count(says) == 1
    (stream,), _ = pyxdf.load_xdf(tmp_path / "made.xdf", dejitter_timestamps=False)
    assert stream["time_series"].tolist() == [[7.0]]


@pytest.mark.lsl
def test_what_a_run_said_last_is_waited_for(rig, tmp_path, unique):
    """On a busy machine it may be on its way when the recorder is told to end."""
    recorder = SessionRecorder(load_rig(rig), tmp_path / "made.xdf", drains=True)
    status = outlet(f"{unique} Status", f"bci-lfads:{unique}:Status")
    while not recorder.names:
        recorder.step()
    late = threading.Timer(0.1, lambda: status.push_sample([7.0], 5.0))
    late.start()
    recorder.run(lambda seconds: True)
    late.join()
    (stream,), _ = pyxdf.load_xdf(tmp_path / "made.xdf", dejitter_timestamps=False)
    assert stream["time_series"].tolist() == [[7.0]]


@pytest.mark.fault("signals")
@pytest.mark.lsl
@pytest.mark.parametrize("of_a_rig", [True, False])
def test_a_killed_recorder_leaves_all_but_the_last_second(rig, tmp_path, unique, of_a_rig):
    """Of a stream so slow that a buffer would have kept all of it."""
    path, source, done = tmp_path / "made.xdf", outlet(f"{unique} S"), threading.Event()

    def push():
        while not done.wait(0.05):
            source.push_sample([pylsl.local_clock()])

    pushing = threading.Thread(target=push)
    pushing.start()
    which = ["--rig", str(rig)] if of_a_rig else ["--stream", f"{unique} S"]
    process = subprocess.Popen(
        [sys.executable, "-m", "bci_lfads", "--quiet", "record", str(path), *which],
        cwd=tempfile.gettempdir(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        until = time.monotonic() + 60
        while not (path.exists() and path.stat().st_size > 1500):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < until
            time.sleep(0.05)
        time.sleep(2.0)
        killed = pylsl.local_clock()
        process.send_signal(signal.SIGKILL)
        process.communicate()
    finally:
        done.set()
        pushing.join()
        process.kill()
    assert path.stat().st_size < 8_000
    assert inspect_xdf(path).cut_off == 0
    (stream,), _ = pyxdf.load_xdf(path, dejitter_timestamps=False, synchronize_clocks=False)
    values = stream["time_series"][:, 0]
    assert np.diff(values).max() < 0.5  # nothing is missing in between
    assert killed - values[-1] < 1.0


@pytest.mark.lsl
def test_a_stream_that_comes_back_is_one_more_of_the_file(rig, tmp_path, unique):
    path = tmp_path / "made.xdf"
    recorder = SessionRecorder(load_rig(rig), path)
    for first in (0, 10):
        source = outlet(f"{unique} S")
        end = time.monotonic() + 30
        while not source.have_consumers():
            recorder.step()
            assert time.monotonic() < end
        source.push_chunk([[float(k)] for k in range(first, first + 10)], [5.0] * 10)
        while not recorder.names:
            recorder.step()
        time.sleep(0.3)
        recorder.step()
        del source
        while recorder.names:
            recorder.step()
    recorder.run(lambda seconds: True)
    streams, _ = pyxdf.load_xdf(path, dejitter_timestamps=False)
    values = [s["time_series"][:, 0].tolist() for s in streams]
    assert values == [list(range(10)), list(range(10, 20))]
