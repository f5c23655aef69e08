"""Window, loop and source die and come back in every order: clear states, and no orphan."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.gui, pytest.mark.lsl]
_PATIENCE = 90.0  # seconds for a state to be shown, on a machine that does much else
_MARK = "BCI_LFADS_TEST_OF_ORDERS"

_WINDOW = """
import json, sys
from pathlib import Path
from qtpy.QtCore import QSettings, QSocketNotifier, QTimer
from qtpy.QtWidgets import QApplication
from bci_lfads_gui.app import prepare_plots
from bci_lfads_gui.controller import Recorder
from bci_lfads_gui.window import Window

rig, folder = sys.argv[1], Path(sys.argv[2])
app = QApplication([])
prepare_plots()
settings = QSettings(str(folder / "w.ini"), QSettings.Format.IniFormat)
window = Window(settings, Recorder(folder))
window.show()
window.attach(rig)
told = []

def tell():
    shown = window.banner.shown
    now = [window.store.rig, shown.word, shown.reason, shown.level.name]
    if told != [now]:
        told[:] = [now]
        print(json.dumps(now), flush=True)

def obey():
    order = sys.stdin.readline().strip()
    if order == "attach":
        window.attach(rig)
    elif order == "detach":
        window.detach()
    else:
        app.quit()

timer, orders = QTimer(), QSocketNotifier(0, QSocketNotifier.Type.Read)
timer.timeout.connect(tell)
orders.activated.connect(obey)
timer.start(50)
app.exec()
"""


class Actor:
    """A process of the test that is killed and started again."""

    def __init__(self, command, unique):
        self._command, self._unique = command, unique
        self.process = None
        self.said = []

    @property
    def up(self):
        return self.process is not None

    def start(self):
        self.said = said = []
        self.process = process = subprocess.Popen(
            self._command, cwd=tempfile.gettempdir(), env=os.environ | {_MARK: self._unique},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=lambda: said.extend(process.stdout))
        self._reader.start()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._reader.join()
        self.process.stdin.close()
        self.process.stdout.close()
        self.process = None

    def toggle(self):
        (self.kill if self.up else self.start)()

    def order(self, text):
        self.process.stdin.write(f"{text}\n")
        self.process.stdin.flush()

    def shown(self):
        """Return rig, state, reason and level that a window shows now."""
        return json.loads(self.said[-1]) if self.said else None


def every_order():
    """Return which of three to kill or start next, so that each is once in each company.

    The 8 companies that three can be in are the corners of a cube; killing or starting one is an
    edge. This is a walk over each edge once in each direction (Hierholzer's circuit).
    """
    left = {corner: [0, 1, 2] for corner in range(8)}
    stack, circuit = [(0, None)], []
    while stack:
        corner, _ = stack[-1]
        if left[corner]:
            which = left[corner].pop()
            stack.append((corner ^ (1 << which), which))
        else:
            circuit.append(stack.pop()[1])
    return [which for which in reversed(circuit) if which is not None]


def test_the_walk_meets_every_order():
    corner, seen = 0, set()
    for which in every_order():
        seen.add((corner, which))
        corner ^= 1 << which
    assert len(seen) == len(every_order()) == 24
    assert corner == 0


def test_states_are_clear_whoever_dies_and_comes_back(files, tmp_path, unique):
    bci_lfads = [sys.executable, "-m", "bci_lfads", "--quiet"]
    window = Actor([sys.executable, "-c", _WINDOW, files.name, str(tmp_path)], unique)
    loop = Actor([*bci_lfads, "run", str(files.sliding), "--timeout", "900"], unique)
    source = Actor(
        [*bci_lfads, "replay", str(files.recording), "--loop", "--spikes", f"{files.name} S",
         "--markers", f"{files.name} M"], unique,
    )  # fmt: skip
    actors = (window, loop, source)
    heard = False  # whether this window has heard of a loop

    def check():
        nonlocal heard
        if not window.up:
            return
        if loop.up:
            words = ("running", "degraded") if source.up else ("waiting",)
        else:
            words = ("gone",) if heard else ("not running",)
        wait_for(window, words)
        heard = heard or loop.up
        rig, word, reason, _ = window.shown()
        assert rig == files.name
        if word == "waiting":
            assert "spikes" in reason, "it says for what it waits"
        assert reason or word == "running"

    try:
        attached = set()
        for which in every_order():
            actors[which].toggle()
            if which == 0:
                heard = False
            check()
            company = tuple(actor.up for actor in actors)
            if window.up and company not in attached:
                attached.add(company)
                window.order("detach")
                wait_for(window, ("no rig",))
                heard = False
                window.order("attach")
                check()
            assert len(processes_of(unique)) == sum(company), (
                "nobody dies with, or outlives, another"
            )
        assert len(attached) == 4
    finally:
        for actor in actors:
            if actor.up:
                actor.kill()
    assert not processes_of(unique)


def wait_for(window, words):
    until = time.monotonic() + _PATIENCE
    while (shown := window.shown()) is None or shown[1] not in words:
        assert window.process.poll() is None, "the window ended"
        assert time.monotonic() < until, f"waited for {words}; the window shows {shown}"
        time.sleep(0.05)


def processes_of(unique):
    """Return the processes that were started by this test, and by whom it started."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"{_MARK}={unique}".encode() in environment:
            found.append(int(entry.name))
    return found
