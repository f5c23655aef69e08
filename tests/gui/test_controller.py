"""Processes without a window."""

import json
import os
import subprocess
import sys
import time

import pytest

from bci_lfads_gui.controller import (
    Player,
    Process,
    Recorder,
    interrupt,
    is_command,
    last_words,
)


def test_a_process_that_fails_leaves_its_words(tmp_path):
    process = Process("info", str(tmp_path / "none.npz"))
    process._process.wait(30)
    assert process.exit_code == 1
    assert process.last_words().startswith("error:")
    process.log.unlink()


def test_words_of_no_log_are_none(tmp_path):
    assert last_words(tmp_path / "none") == ""


@pytest.fixture
def sleeper():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def test_a_process_that_is_no_loop_is_not_interrupted(sleeper):
    assert not interrupt(sleeper.pid)
    assert not is_command(sleeper.pid, "run")
    assert not interrupt(2**22 + 1)
    assert sleeper.poll() is None


@pytest.mark.lsl
def test_a_replay_takes_orders_and_ends_with_its_input(files):
    player = Player(
        "replay", str(files.recording), "--control", "--paused",
        "--spikes", f"{files.name} S", "--markers", f"{files.name} M",
    )  # fmt: skip
    try:
        wait_for(lambda: player.progress.get("paused"))
        assert player.progress["position"] == 0
        player.order("step 0.5")
        wait_for(lambda: player.progress["position"] == pytest.approx(0.5))
        player.order("seek 20")
        wait_for(lambda: player.progress["position"] == pytest.approx(20))
        player.order("nonsense")
        player.order("step-to go/*")
        wait_for(lambda: player.progress["position"] == pytest.approx(20.3))
        player._process.stdin.close()
        assert player._process.wait(10) == 0
    finally:
        player.end()
    assert "nonsense" in player.log.read_text()
    player.log.unlink()


@pytest.mark.lsl
def test_a_later_window_finds_and_ends_a_recording(tmp_path, files):
    from bci_lfads.streams.sources import MarkerSource

    source = MarkerSource(f"{files.name} M")
    output = tmp_path / "out.xdf"
    first = Recorder(tmp_path / "notes")
    assert not first.running
    first.start(output, [f"{files.name} M"])
    try:
        wait_for(lambda: "recording" in first._process.log.read_text() and output.exists(), 20)
        later = Recorder(tmp_path / "notes")
        assert later.running
        assert later.output == output
        later.end()
        assert first._process._process.wait(15) == 0
        assert not later.running
        assert first.failure == ""
        assert not Recorder(tmp_path / "notes").running
    finally:
        first._process._process.kill()
        first._process._process.wait()
        source.close()
    first._process.log.unlink()


def test_a_note_of_a_process_that_is_another_now_is_left(tmp_path, sleeper):
    (tmp_path / "recording.json").write_text(
        json.dumps({"pid": sleeper.pid, "output": "x.xdf", "since": 0.0})
    )
    recorder = Recorder(tmp_path)
    recorder.stop()
    assert sleeper.poll() is None


def test_the_loop_needs_no_qt():
    code = (
        "import sys, bci_lfads.pipeline, bci_lfads.cli.loop, bci_lfads.cli.data; "
        "print([m for m in sys.modules if m.startswith(('qtpy', 'PySide', 'bci_lfads_gui'))])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/",
        env=os.environ,
    )  # fmt: skip
    assert ran.stdout.strip() == "[]"


def wait_for(condition, seconds=15.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)
