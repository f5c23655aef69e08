"""The window: panels around a banner and controls, one timer, and the processes it starts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pylsl
from qtpy.QtCore import QByteArray, QSettings, QSize, Qt, QTimer
from qtpy.QtGui import QAction, QKeySequence
from qtpy.QtWidgets import (
    QApplication,
    QDockWidget,
    QFileDialog,
    QInputDialog,
    QLineEdit,
    QMainWindow,
    QMessageBox,
    QTextEdit,
    QVBoxLayout,
    QWidget,
)  # fmt: skip

from bci_lfads.about import About, about
from bci_lfads.errors import BciLfadsError
from bci_lfads.models.model import Model
from bci_lfads.rig import load_rig
from bci_lfads_gui.annotations import Annotator
from bci_lfads_gui.controller import Player, Process, Recorder, interrupt
from bci_lfads_gui.export import SUFFIXES, save_panel
from bci_lfads_gui.model.health import Level
from bci_lfads_gui.model.store import OnNetwork, Store
from bci_lfads_gui.palette import THEMES, Theme
from bci_lfads_gui.panels.banner import Banner
from bci_lfads_gui.panels.base import Panel
from bci_lfads_gui.panels.controls import Controls
from bci_lfads_gui.panels.factors import FactorsPanel
from bci_lfads_gui.panels.latency import LatencyPanel
from bci_lfads_gui.panels.raster import RasterPanel
from bci_lfads_gui.panels.space import SpacePanel
from bci_lfads_gui.panels.streams import StreamsPanel
from bci_lfads_gui.readers.discovery import Discovery, running_rigs
from bci_lfads_gui.readers.rig_reader import RigReader
from bci_lfads_gui.style import style_sheet

FRAME = 33  # milliseconds
_LAYOUT = 1  # number of the layout that is remembered; another one is not restored
_SHORTCUTS = (
    ("Ctrl+O", "choose a rig file"),
    ("Ctrl+K", "attach to a rig that runs"),
    ("F5", "start the loop"),
    ("Shift+F5", "stop the loop (asks once)"),
    ("Ctrl+P", "choose a recording"),
    ("Space", "start the replay, pause it, go on"),
    (".", "replay one second more"),
    ("M", "replay to the next marker"),
    ("Ctrl+R", "record, or end the recording"),
    ("Ctrl+L", "write an annotation"),
    ("Ctrl+T", "dark or light"),
    ("Ctrl+E", "save a panel"),
    ("Ctrl+1 … 5", "show or hide a panel"),
    ("Ctrl+0", "all panels in their places"),
    ("F1", "this list"),
    ("Ctrl+Q", "close the window; the loop goes on"),
)


class Window(QMainWindow):
    """The live window.

    Closing it ends the replay that it started, and nothing else: the loop runs on, and a
    recording does if the operator says so.

    Parameters
    ----------
    settings
        Where the layout is remembered.
    recorder
        The recorder; default: the one of this user and session.
    """

    def __init__(self, settings: QSettings, recorder: Recorder | None = None) -> None:
        super().__init__()
        self.setWindowTitle("bci-lfads")
        self._settings = settings
        self.store = Store(clock=pylsl.local_clock)
        self.rig_file: Path | None = None
        self.recording: Path | None = None
        self.loop: Process | None = None
        self.player: Player | None = None
        self.recorder = recorder or Recorder()
        self.annotator: Annotator | None = None
        self._reader: RigReader | None = None
        self._stopping_since: float | None = None
        self._told: set[object] = set()
        self._frame = 0
        self.found: tuple[OnNetwork, ...] = ()
        self.theme: Theme = THEMES.get(str(settings.value("theme", "dark")), THEMES["dark"])
        self.banner, self.controls = Banner(self.store), Controls()
        self.streams, self.raster = StreamsPanel(self.store), RasterPanel(self.store)
        self.factors, self.space = FactorsPanel(self.store), SpacePanel(self.store)
        self.latency = LatencyPanel(self.store)
        self.panels: list[Panel] = [
            self.raster, self.factors, self.streams, self.space, self.latency,
        ]  # fmt: skip
        self.docks: dict[str, QDockWidget] = {}
        self._lay_out()
        self._connect()
        self._act()
        self.resize(1280, 720)
        self.arrange()
        self._default_layout = self.saveState(_LAYOUT)
        self._restore()
        self.set_theme(self.theme)
        self.raster.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.raster.setFocus()
        self._discovery = Discovery(self._on_found)
        self._discovery.start()
        self._timer = QTimer(self)
        self._timer.setInterval(FRAME)
        self._timer.timeout.connect(self.tick)
        self._timer.start()

    # What is watched

    def open(self, what: str) -> None:
        """Watch a rig file's rig, or a running rig by its name."""
        if what.endswith(".toml") or Path(what).is_file():
            self.open_rig_file(Path(what))
        else:
            self.attach(what)

    def open_rig_file(self, path: Path) -> bool:
        """Watch the rig of a file; return whether that can be read."""
        path = path.expanduser().resolve()
        try:
            rig = load_rig(path)
            expected = about(rig, Model.load(rig.model))
        except BciLfadsError as error:
            self.tell(str(error), bad=True)
            return False
        self.rig_file = path
        self._settings.setValue("rig_file", str(path))
        self.controls.rig_name.setText(_short(path.name))
        self.controls.rig_name.setToolTip(str(path))
        self._watch(rig.name, expected)
        return True

    def attach(self, rig: str) -> None:
        """Watch a rig that runs, here or on another machine."""
        self.rig_file = None
        self.controls.rig_name.setText("attached")
        self.controls.rig_name.setToolTip("")
        self._watch(rig, None)

    def detach(self) -> None:
        """Watch nothing."""
        self.rig_file = None
        self.controls.rig_name.setText("no rig file")
        self._watch("", None)

    def _watch(
        self, rig: str, expected: About | None, spikes: dict[str, str] | None = None
    ) -> None:
        if self._reader is not None:
            self._reader.stop()
            self._reader = None
        if self.annotator is not None and self.annotator.name != f"{rig} Annotations":
            self.annotator.close()
            self.annotator = None
        self.store = Store(rig=rig, clock=pylsl.local_clock, found=self.found)
        self.banner.watch(self.store)
        for panel in self.panels:
            panel.watch(self.store)
        self.setWindowTitle(f"{rig} – bci-lfads" if rig else "bci-lfads")
        self._told.clear()
        if rig:
            if self.annotator is None:
                self.annotator = Annotator(rig)
            self._reader = RigReader(self.store, expected, spikes)
            self._reader.start()

    def _on_found(self, found: tuple[OnNetwork, ...]) -> None:
        """Note what is on the network; called from the discovery's thread."""
        self.found = found
        self.store.found = found

    def use(self, stream: OnNetwork) -> None:
        """Use a stream that was picked: attach to its rig, or watch its spikes."""
        if stream.source_id.startswith("bci-lfads:"):
            self.attach(stream.source_id.split(":", 2)[1])
        elif self.store.about is None:
            self.tell(
                "open or attach to a rig first: its model says which units to look for", bad=True
            )
        else:
            query = {"name": stream.name, "type": stream.type, "hostname": stream.hostname}
            if stream.source_id:
                query["source_id"] = stream.source_id
            self._watch(self.store.rig, self.store.about, {k: v for k, v in query.items() if v})
            self.tell(f"watching the spikes of '{stream.name}'; the loop keeps its own stream")

    # The loop

    def start_loop(self) -> None:
        """Start the loop of the rig file."""
        if self.rig_file is None:
            self.tell("choose a rig file first", bad=True)
            return
        if self._loop_runs():
            self.tell(f"rig '{self.store.rig}' runs already", bad=True)
            return
        # Read again: the file may have been edited since.
        if not self.open_rig_file(self.rig_file):
            return
        engine = self.controls.engine.currentIndex()
        chosen = ["--engine", self.controls.engine.currentText()] if engine else []
        self.loop = Process("run", str(self.rig_file), *chosen)
        self._stopping_since = None
        self.tell(f"started the loop as process {self.loop.pid}; messages in {self.loop.log}")

    def stop_loop(self) -> None:
        """Ask, then ask the loop to stop."""
        pid, where = self._loop_pid()
        if not pid:
            self.tell(where or "no loop runs", bad=True)
            return
        if not self.ask("Stop the loop?", f"Rig '{self.store.rig}' stops publishing factors."):
            return
        if self.loop is not None and self.loop.running and self.loop.pid == pid:
            self.loop.stop()
        elif not interrupt(pid):
            self.tell(f"process {pid} is no loop of this machine; stop it where it runs", bad=True)
            return
        self._stopping_since = time.monotonic()
        self.tell("asked the loop to stop")

    def _loop_runs(self) -> bool:
        with self.store.lock:
            message = self.store.message
            there = self.store.status_open and (message is None or message.state != "stopped")
        return there or (self.loop is not None and self.loop.running)

    def _loop_pid(self) -> tuple[int, str]:
        """Return the loop's process id, or 0 and why it cannot be stopped from here."""
        if self.loop is not None and self.loop.running:
            return self.loop.pid, ""
        with self.store.lock:
            if not self.store.status_open or self.store.about is None:
                return 0, ""
            if not self.store.loop_here:
                return 0, f"the loop runs on {self.store.loop_host}: stop it there"
            return self.store.about.pid, ""

    # The replay

    def open_recording(self, path: Path) -> None:
        """Choose what to replay."""
        self.recording = path.expanduser().resolve()
        self._settings.setValue("recording", str(self.recording))
        self.controls.recording_name.setText(_short(path.name))
        self.controls.recording_name.setToolTip(str(self.recording))

    def play(self) -> None:
        """Start the replay, or pause it, or go on."""
        if self.player is not None and self.player.running:
            self.player.order("resume" if self.player.progress.get("paused") else "pause")
            return
        self._start_player(paused=False)

    def step(self, order: str) -> None:
        """Replay a part, then pause; a replay that was not begun begins with it."""
        running = self.player is not None and self.player.running
        if not running and not self._start_player(paused=True):
            return
        if self.player is not None:
            self.player.order(order)

    def _start_player(self, *, paused: bool) -> bool:
        if self.recording is None:
            self.tell("choose a recording first", bad=True)
            return False
        self._end_player()
        rig = self.store.about.rig if self.store.about else None
        speed = self.controls.speed.currentText().lstrip("×")
        arguments = ["replay", str(self.recording), "--control", "--speed", speed]
        if speed == "max":
            if not self.store.rig:
                self.tell("at max speed a replay follows a rig: open or attach to one", bad=True)
                return False
            arguments += ["--follow", self.store.rig]
        if rig is not None:
            spikes, markers = rig.input.spikes, rig.input.markers
            arguments += ["--spikes", spikes.name or "ReplaySpikes"]
            arguments += ["--markers", (markers.name or "ReplayMarkers") if markers else ""]
            if spikes.format != "auto":
                arguments += ["--format", spikes.format]
            if spikes.format == "counts" and self.store.about is not None:
                arguments += ["--bin-width", repr(self.store.about.bin_width)]
        if self.controls.loop.isChecked():
            arguments.append("--loop")
        if paused:
            arguments.append("--paused")
        self.player = Player(*arguments)
        self.tell(f"replaying {self.recording.name} at {self.controls.speed.currentText()}")
        return True

    def end_replay(self) -> None:
        """End the replay."""
        if self.player is not None:
            self.player.stop()

    def seek(self, share: float) -> None:
        """Go elsewhere in the recording."""
        if self.player is not None and (duration := self.player.progress.get("duration")):
            self.player.order(f"seek {share * float(duration):.6f}")

    def _end_player(self) -> None:
        if self.player is not None:
            self.player.end()
            self.player = None

    # The recorder, and annotations

    def record(self) -> None:
        """Begin a recording, or end it."""
        if self.recorder.running:
            self.recorder.stop()
            self.tell(f"the recording ends; {self.recorder.output}")
            return
        suggested = f"{self.store.rig or 'recording'}-{time.strftime('%Y%m%d-%H%M%S')}.xdf"
        path = self.ask_for_new_file("Record to", suggested, "XDF (*.xdf)")
        if path is None:
            return
        if path.suffix != ".xdf":
            path = path.with_name(path.name + ".xdf")
        self.recorder.start(path)
        self._told.discard("recorder")
        self.tell(f"recording all streams to {path}")

    def annotate(self, text: str) -> None:
        """Publish an annotation."""
        if self.annotator is None:
            self.tell("open or attach to a rig first: annotations are a stream of it", bad=True)
            return
        stamp = self.annotator.push(text)
        if stamp is not None:
            with self.store.lock:
                self.store.markers.append((stamp, f"✎ {text}"))
            self.tell(f"noted at {stamp:.3f} s: {text}")

    # Questions; tests answer them

    def ask(self, title: str, text: str) -> bool:
        """Ask a question whose answer is yes or no."""
        yes = QMessageBox.StandardButton.Yes
        return bool(QMessageBox.question(self, title, text) == yes)

    def ask_for_file(self, title: str, kinds: str) -> Path | None:
        """Ask for a file that is there."""
        name = QFileDialog.getOpenFileName(self, title, self._folder(), kinds)[0]
        return Path(name) if name else None

    def ask_for_new_file(self, title: str, suggested: str, kinds: str) -> Path | None:
        """Ask for a file to write."""
        start = os.path.join(self._folder(), suggested)
        name = QFileDialog.getSaveFileName(self, title, start, kinds)[0]
        return Path(name) if name else None

    def ask_for_rig(self, running: list[str]) -> str | None:
        """Ask which rig to attach to."""
        text, good = QInputDialog.getItem(
            self, "Attach", "Rigs that run, or type a name:", running, 0, True
        )
        return text.strip() or None if good else None

    def ask_about_recording(self) -> str:
        """Ask what becomes of a recording when the window closes: stop, leave or stay."""
        box = QMessageBox(self)
        box.setWindowTitle("Still recording")
        box.setText(f"{self.recorder.output} is being recorded.")
        stop = box.addButton("End the recording", QMessageBox.ButtonRole.AcceptRole)
        leave = box.addButton("Leave it recording", QMessageBox.ButtonRole.DestructiveRole)
        box.addButton("Do not close", QMessageBox.ButtonRole.RejectRole)
        box.exec()
        clicked = box.clickedButton()
        return "stop" if clicked is stop else "leave" if clicked is leave else "stay"

    def tell(self, text: str, *, bad: bool = False) -> None:
        """Say something in the line at the bottom."""
        bar = self.statusBar()
        bar.setStyleSheet(f"color:{self.theme.lights[Level.BAD if bad else Level.OFF]};")
        bar.showMessage(("✖ " if bad else "") + text, 0 if bad else 15_000)

    # Looks

    def set_theme(self, theme: Theme) -> None:
        """Take on other colours."""
        self.theme = theme
        self._settings.setValue("theme", theme.name)
        self.setStyleSheet(style_sheet(theme))
        self.banner.set_theme(theme)
        for panel in self.panels:
            panel.set_theme(theme)

    def switch_theme(self) -> None:
        """Dark to light, or back."""
        self.set_theme(THEMES["light" if self.theme.name == "dark" else "dark"])

    def arrange(self) -> None:
        """Show all panels in their places."""
        left, top = Qt.DockWidgetArea.LeftDockWidgetArea, Qt.Orientation.Horizontal
        docks = self.docks
        for dock in docks.values():
            dock.setFloating(False)
            dock.show()
        self.addDockWidget(left, docks["raster"])
        self.splitDockWidget(docks["raster"], docks["streams"], Qt.Orientation.Vertical)
        self.splitDockWidget(docks["raster"], docks["factors"], top)
        self.splitDockWidget(docks["streams"], docks["space"], top)
        self.splitDockWidget(docks["space"], docks["latency"], top)
        width, height = max(self.width(), 800), max(self.height(), 500)
        self.resizeDocks([docks["raster"], docks["factors"]], [58 * width, 42 * width], top)
        self.resizeDocks(
            [docks["streams"], docks["space"], docks["latency"]],
            [47 * width, 30 * width, 23 * width], top,
        )  # fmt: skip
        self.resizeDocks(
            [docks["raster"], docks["streams"]], [55 * height, 45 * height],
            Qt.Orientation.Vertical,
        )  # fmt: skip

    def save_panel(self, panel: Panel | None = None) -> None:
        """Save a panel: the given one, or one that is asked for."""
        if panel is None:
            panel = self._focused() or self.raster
        kinds = "Picture (*.png);;Drawing (*.svg);;Numbers (*.csv)"
        path = self.ask_for_new_file(f"Save {panel.title}", f"{panel.name}.png", kinds)
        if path is None:
            return
        if path.suffix.lower() not in SUFFIXES:
            path = path.with_name(path.name + ".png")
        wrong = save_panel(panel, path)
        self.tell(wrong or f"saved {path}", bad=bool(wrong))

    def show_shortcuts(self) -> None:
        """List the keyboard's shortcuts."""
        rows = "".join(
            f"<tr><td><b>{k}</b>&nbsp;&nbsp;</td><td>{w}</td></tr>" for k, w in _SHORTCUTS
        )
        self.inform("Keyboard", f"<table>{rows}</table>")

    def inform(self, title: str, text: str) -> None:
        """Show a text."""
        QMessageBox.information(self, title, text)

    # Each frame

    def tick(self) -> None:
        """Draw what is new; called 30 times a second."""
        self._frame += 1
        for panel in self.panels:
            if self._frame % panel.every == 0 and not panel.visibleRegion().isEmpty():
                panel.refresh()
        if self._frame % self.banner.every == 0:
            self.banner.refresh(self.streams.worst())
            self._mind_processes()

    def _mind_processes(self) -> None:
        controls = self.controls
        pid, why = self._loop_pid()
        runs = self._loop_runs()
        controls.start.setEnabled(self.rig_file is not None and not runs)
        controls.stop.setEnabled(bool(pid))
        if why:
            controls.stop.setToolTip(why)
        if self.loop is not None and not self.loop.running:
            code, words = self.loop.exit_code, self.loop.last_words()
            self.loop = None
            if code:
                self.tell(f"the loop ended with exit code {code}: {words}", bad=True)
            else:
                self.tell("the loop has stopped")
            self._stopping_since = None
        if self._stopping_since is not None and time.monotonic() - self._stopping_since > 10:
            self._stopping_since = None
            self.tell("the loop was asked to stop 10 s ago and still runs", bad=True)
        self._mind_player()
        self._mind_recorder()

    def _mind_player(self) -> None:
        controls, player = self.controls, self.player
        if player is not None and not player.running:
            code, words = player.exit_code, player.last_words()
            self._end_player()
            if code:
                self.tell(f"the replay ended with exit code {code}: {words}", bad=True)
            else:
                self.tell("the replay has ended")
            player = None
        plays = player is not None
        paused = plays and bool(player.progress.get("paused")) if player else False
        controls.play.setText("▶ Replay" if not plays else "▶ Go on" if paused else "❚❚ Pause")
        controls.play.setEnabled(self.recording is not None)
        for button in (controls.step, controls.to_marker):
            button.setEnabled(self.recording is not None)
        for widget in (controls.end, controls.place):
            widget.setEnabled(plays)
        for widget in (controls.speed, controls.loop, controls.open_recording):
            widget.setEnabled(not plays)
        progress = player.progress if player else {}
        controls.show_place(progress.get("position"), progress.get("duration"))

    def _mind_recorder(self) -> None:
        recorder, controls = self.recorder, self.controls
        if recorder.running:
            minutes, seconds = divmod(int(time.time() - recorder.since), 60)
            size = recorder.size() / 1e6
            controls.record.setText("■ End recording")
            controls.record_state.setText(f"{minutes}:{seconds:02d}, {size:.1f} MB")
            controls.record_state.setToolTip(str(recorder.output))
            return
        controls.record.setText("● Record…")
        controls.record_state.setText("")
        if (wrong := recorder.failure) and "recorder" not in self._told:
            self._told.add("recorder")
            self.tell(f"the recording failed: {wrong}", bad=True)

    # Making and ending

    def _lay_out(self) -> None:
        self.setDockNestingEnabled(True)
        self.setDockOptions(
            QMainWindow.DockOption.AnimatedDocks
            | QMainWindow.DockOption.AllowNestedDocks
            | QMainWindow.DockOption.AllowTabbedDocks
        )
        top = QWidget()
        column = QVBoxLayout(top)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(1)
        column.addWidget(self.banner)
        column.addWidget(self.controls)
        # The menu's place: always on top, whatever the docks do.
        self.setMenuWidget(top)
        middle = QWidget()
        middle.setFixedSize(0, 0)
        self.setCentralWidget(middle)
        for panel in self.panels:
            dock = QDockWidget(panel.title, self)
            dock.setObjectName(f"dock {panel.name}")
            dock.setWidget(panel)
            self.docks[panel.name] = dock
            panel.export_button.clicked.connect(_calling(self.save_panel, panel))

    def _connect(self) -> None:
        controls = self.controls
        self.streams.picked.connect(self.use)
        controls.open_rig.clicked.connect(self._choose_rig)
        controls.attach.clicked.connect(self._choose_running)
        controls.start.clicked.connect(self.start_loop)
        controls.stop.clicked.connect(self.stop_loop)
        controls.record.clicked.connect(self.record)
        controls.annotate.connect(self.annotate)
        controls.open_recording.clicked.connect(self._choose_recording)
        controls.play.clicked.connect(self.play)
        controls.step.clicked.connect(_calling(self.step, "step 1"))
        controls.to_marker.clicked.connect(_calling(self.step, "step-to *"))
        controls.end.clicked.connect(self.end_replay)
        controls.seek.connect(self.seek)

    def _act(self) -> None:
        """Give the keyboard its shortcuts."""
        actions: list[tuple[str, Callable[[], object]]] = [
            ("Ctrl+O", self._choose_rig), ("Ctrl+K", self._choose_running), ("F5", self.start_loop),
            ("Shift+F5", self.stop_loop), ("Ctrl+P", self._choose_recording),
            ("Space", self.play), (".", _calling(self.step, "step 1")),
            ("M", _calling(self.step, "step-to *")), ("Ctrl+R", self.record),
            ("Ctrl+L", self.controls.note.setFocus), ("Ctrl+T", self.switch_theme),
            ("Ctrl+E", self.save_panel), ("Ctrl+0", self.arrange), ("F1", self.show_shortcuts),
            ("Ctrl+Q", self.close),
        ]  # fmt: skip
        actions += [
            (f"Ctrl+{k}", _calling(self._toggle, panel.name))
            for k, panel in enumerate(self.panels, 1)
        ]
        for keys, do in actions:
            action = QAction(self)
            action.setShortcut(QKeySequence(keys))
            action.triggered.connect(_calling(self._unless_typing, keys, do))
            self.addAction(action)

    def _unless_typing(self, keys: str, do: Callable[[], object]) -> None:
        typing = isinstance(QApplication.focusWidget(), (QLineEdit, QTextEdit))
        if not (typing and keys in ("Space", ".", "M")):
            do()

    def _toggle(self, name: str) -> None:
        self.docks[name].setVisible(not self.docks[name].isVisible())

    def _focused(self) -> Panel | None:
        focus = QApplication.focusWidget()
        return next((p for p in self.panels if focus and p.isAncestorOf(focus)), None)

    def _choose_rig(self) -> None:
        path = self.ask_for_file("Rig file", "Rig files (*.toml)")
        if path is not None:
            self.open_rig_file(path)

    def _choose_running(self) -> None:
        rig = self.ask_for_rig(running_rigs(self.found))
        if rig is not None:
            self.attach(rig)

    def _choose_recording(self) -> None:
        path = self.ask_for_file("Recording", "Recordings (*.npz *.h5 *.hdf5 *.xdf *.nwb *.mat)")
        if path is not None:
            self.open_recording(path)

    def _folder(self) -> str:
        return str(self.rig_file.parent if self.rig_file else Path.cwd())

    def _restore(self) -> None:
        geometry, state = self._settings.value("geometry"), self._settings.value("layout")
        if isinstance(geometry, QByteArray):
            self.restoreGeometry(geometry)
        if isinstance(state, QByteArray):
            self.restoreState(state, _LAYOUT)
        recording = self._settings.value("recording")
        if isinstance(recording, str) and Path(recording).is_file():
            self.open_recording(Path(recording))

    def sizeHint(self) -> QSize:
        """Return the size that it has at first."""
        return QSize(1280, 720)

    def closeEvent(self, event: Any) -> None:
        """End what is this window's: threads, replay; the loop runs on."""
        if self.recorder.running:
            answer = self.ask_about_recording()
            if answer == "stay":
                event.ignore()
                return
            if answer == "stop":
                self.recorder.end()
        self._settings.setValue("geometry", self.saveGeometry())
        self._settings.setValue("layout", self.saveState(_LAYOUT))
        self._timer.stop()
        self._end_player()
        self._discovery.stop()
        if self._reader is not None:
            self._reader.stop()
            self._reader = None
        if self.annotator is not None:
            self.annotator.close()
            self.annotator = None
        event.accept()


def _calling(function: Callable[..., object], *arguments: Any) -> Callable[..., None]:
    """Return a slot that calls with these arguments, whatever a signal gives."""

    def call(*_: object) -> None:
        function(*arguments)

    return call


def _short(name: str, most: int = 28) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
