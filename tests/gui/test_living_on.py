"""What lives on when a window closes or dies, and what does not."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time

import pylsl
import pytest

from bci_lfads_gui.controller import Process

pytestmark = [pytest.mark.gui, pytest.mark.lsl]

_WINDOW = """
import json, sys
from pathlib import Path
from qtpy.QtCore import QSettings, QTimer
from qtpy.QtWidgets import QApplication
from bci_lfads_gui.app import prepare_plots
from bci_lfads_gui.controller import Recorder
from bci_lfads_gui.window import Window

rig, recording, folder = map(Path, sys.argv[1:])
app = QApplication([])
prepare_plots()
settings = QSettings(str(folder / "w.ini"), QSettings.Format.IniFormat)
window = Window(settings, Recorder(folder))
window.show()
window.open_rig_file(rig)
window.replay.open(recording)
window.loop.start()
window.replay.play()

def tell():
    if window.banner.shown.word == "running":
        print(json.dumps([window.loop.process.pid, window.replay.player.pid]), flush=True)
        timer.stop()

timer = QTimer()
timer.timeout.connect(tell)
timer.start(100)
app.exec()
"""


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.fault("gui-killed")
def test_killing_the_window_leaves_the_loop_and_no_orphan(files, tmp_path, qtbot, window):
    dying = subprocess.Popen(
        [sys.executable, "-c", _WINDOW, str(files.rig), str(files.recording), str(tmp_path)],
        stdout=subprocess.PIPE, cwd=tempfile.gettempdir(), text=True,
    )  # fmt: skip
    loop = 0
    try:
        assert select.select([dying.stdout], [], [], 40.0)[0], "the loop does not run"
        loop, player = json.loads(dying.stdout.readline())
        dying.send_signal(signal.SIGKILL)
        dying.wait()
        wait_for(lambda: not alive(player))
        assert alive(loop)
        # Another window attaches by name alone, and stops the loop that it did not start.
        shown = window()
        shown.questions.rig = lambda running: files.name
        shown.controls.attach.click()
        qtbot.waitUntil(lambda: shown.banner.shown.word in ("running", "waiting"), timeout=90_000)
        qtbot.waitUntil(lambda: shown.store.about is not None, timeout=90_000)
        assert shown.store.about.pid == loop
        assert shown.store.about.unit_labels == tuple(f"n{i}" for i in range(7))
        shown.detach()
        qtbot.waitUntil(lambda: shown.banner.shown.word == "no rig")
        assert alive(loop)
        shown.attach(files.name)
        qtbot.waitUntil(shown.controls.stop.isEnabled, timeout=90_000)
        shown.controls.stop.click()
        wait_for(lambda: not alive(loop))
    finally:
        dying.kill()
        dying.stdout.close()
        if loop and alive(loop):
            os.kill(loop, signal.SIGKILL)


@pytest.mark.fault("gui-killed")
def test_closing_the_window_leaves_the_loop(files, qtbot, window):
    shown = window()
    shown.open_rig_file(files.rig)
    shown.replay.open(files.recording)
    shown.loop.start()
    shown.replay.play()
    loop, player = shown.loop.process, shown.replay.player
    qtbot.waitUntil(lambda: shown.store.status_open, timeout=90_000)
    shown.close()
    assert not player.running
    assert loop.running
    assert pylsl.resolve_byprop("name", f"{files.name} Status", timeout=30)
    loop.end()
    assert loop.exit_code == 0 or "spikes" in loop.last_words()


def test_run_opens_a_window_in_a_process_of_its_own(files, monkeypatch, tmp_path):
    """The window is told by a stand-in: what matters is that the loop does not become it."""
    from bci_lfads.cli import loop

    started = []
    monkeypatch.setattr(loop.subprocess, "Popen", lambda *a, **k: started.append((a, k)))
    loop._open_window(files.rig)
    (((command,), options),) = started
    assert command[-2:] == ["gui", str(files.rig)]
    assert options["start_new_session"]


def test_a_picture_of_the_window(files, tmp_path):
    picture = tmp_path / "w.png"
    process = Process(
        "gui", str(files.rig), "--theme", "light", "--size", "1280x720", "--screenshot",
        str(picture), "--after", "1",
    )  # fmt: skip
    wait_for(lambda: not process.running, 40)
    assert process.exit_code == 0, process.log.read_text()
    assert picture.stat().st_size > 10_000
    process.log.unlink()


def test_without_a_screen_it_says_so(files, monkeypatch):
    for name in ("QT_QPA_PLATFORM", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    process = Process("gui", str(files.rig))
    wait_for(lambda: not process.running)
    assert process.exit_code == 1
    assert "there is no screen" in process.log.read_text()
    process.log.unlink()


def wait_for(condition, seconds=20.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)
