"""The window: panels around a banner and controls, one timer, and desks for what it starts."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pylsl
from qtpy.QtCore import QByteArray, QSettings, QSize, QTimer
from qtpy.QtWidgets import QApplication, QDockWidget, QMainWindow, QVBoxLayout, QWidget

from bci_lfads.about import About, about
from bci_lfads.errors import BciLfadsError
from bci_lfads.lsl_config import differences
from bci_lfads.models.model import Model
from bci_lfads.rig import load_rig
from bci_lfads_gui.annotations import Annotator
from bci_lfads_gui.arrangement import Arrangement
from bci_lfads_gui.controller import Recorder
from bci_lfads_gui.desks.base import short
from bci_lfads_gui.desks.loop import LoopDesk
from bci_lfads_gui.desks.record import RecordDesk
from bci_lfads_gui.desks.replay import ReplayDesk
from bci_lfads_gui.export import SUFFIXES, save_panel
from bci_lfads_gui.keyboard import Shortcut, as_table, calling, install
from bci_lfads_gui.model.health import Level
from bci_lfads_gui.model.store import OnNetwork, Store
from bci_lfads_gui.opengl import OpenGL
from bci_lfads_gui.palette import THEMES, Theme
from bci_lfads_gui.panels.banner import Banner
from bci_lfads_gui.panels.base import Panel
from bci_lfads_gui.panels.behaviour import BehaviourPanel
from bci_lfads_gui.panels.controls import Controls
from bci_lfads_gui.panels.factors import FactorsPanel
from bci_lfads_gui.panels.latency import LatencyPanel
from bci_lfads_gui.panels.raster import RasterPanel
from bci_lfads_gui.panels.space import SpacePanel
from bci_lfads_gui.panels.streams import StreamsPanel
from bci_lfads_gui.questions import Questions
from bci_lfads_gui.readers.discovery import Discovery, running_rigs
from bci_lfads_gui.readers.rig_reader import RigReader
from bci_lfads_gui.style import style_sheet

FRAME = 33  # milliseconds
_LAYOUT = 2  # number of the layout that is remembered; another one is not restored


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
    opengl
        What draws three dimensions; default: OpenGL where a graphics card does it.
    """

    def __init__(
        self,
        settings: QSettings,
        recorder: Recorder | None = None,
        opengl: OpenGL | None = None,
    ) -> None:
        super().__init__()
        self.settings, self.questions = settings, Questions(self)
        self.store = Store(clock=pylsl.local_clock)
        self.found: tuple[OnNetwork, ...] = ()
        self.rig_file: Path | None = None
        self.annotator: Annotator | None = None
        self._reader: RigReader | None = None
        self._frame = 0
        self._decoded = False
        self.theme: Theme = THEMES.get(str(settings.value("theme", "dark")), THEMES["dark"])
        self.banner, self.controls = Banner(self.store), Controls()
        self.streams, self.raster = StreamsPanel(self.store), RasterPanel(self.store)
        self.factors, self.latency = FactorsPanel(self.store), LatencyPanel(self.store)
        self.space = SpacePanel(self.store, opengl or OpenGL())
        self.behaviour = BehaviourPanel(self.store)
        self.panels: list[Panel] = [
            self.raster, self.factors, self.streams, self.space, self.latency, self.behaviour,
        ]  # fmt: skip
        self.loop, self.replay = LoopDesk(self), ReplayDesk(self)
        self.record = RecordDesk(self, recorder or Recorder())
        self.arrangement = Arrangement(self, self.panels)
        self._lay_out()
        self._connect()
        self._shortcuts = self._list_shortcuts()
        install(self, self._shortcuts)
        self.resize(1280, 720)
        self.arrangement.reset()
        self._restore()
        self.set_theme(self.theme)
        self._discovery = Discovery(self._on_found)
        self._discovery.start()
        self._timer = QTimer(self)
        self._timer.setInterval(FRAME)
        self._timer.timeout.connect(self.tick)
        self._timer.start()

    @property
    def docks(self) -> dict[str, QDockWidget]:
        """Each panel's dock, by its name."""
        return self.arrangement.docks

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
        if others := differences(rig.lsl):
            self.tell(f"{'; '.join(others)}: open it with `bci-lfads gui {path.name}`", bad=True)
            return False
        self.rig_file, self.questions.folder = path, path.parent
        self.settings.setValue("rig_file", str(path))
        self.controls.rig_name.setText(short(path.name))
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

    def use(self, stream: OnNetwork) -> None:
        """Use a stream that was picked: attach to its rig, watch its spikes, or compare with it."""
        if stream.source_id.startswith("bci-lfads:") and stream.type != "Behaviour":
            self.attach(stream.source_id.split(":", 2)[1])
        elif self.store.about is None or self._reader is None:
            self.tell(
                "open or attach to a rig first: its model says which units to look for", bad=True
            )
        elif stream.type == "Behaviour":
            self._reader.compare_with(stream)
            self.tell(f"comparing what is decoded with '{stream.name}'")
        else:
            self._watch(self.store.rig, self.store.about, stream.properties())
            self.tell(f"watching the spikes of '{stream.name}'; the loop keeps its own stream")

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
        if rig:
            if self.annotator is None:
                self.annotator = Annotator(rig)
            self._reader = RigReader(self.store, expected, spikes)
            self._reader.start()

    def _on_found(self, found: tuple[OnNetwork, ...]) -> None:
        """Note what is on the network; called from the discovery's thread."""
        self.found = found
        self.store.found = found

    def annotate(self, text: str) -> None:
        """Publish an annotation."""
        if self.annotator is None:
            self.tell("open or attach to a rig first: annotations are a stream of it", bad=True)
            return
        stamp = self.annotator.push(text)
        if stamp is not None:
            with self.store.lock:
                self.store.markers.append((stamp, f"✎ {text}"))
            at = time.strftime("%H:%M:%S")
            if self.record.records:
                self.tell(f"noted at {at}, and recorded: {text}")
            else:
                self.tell(f"not recorded (● Record…), only sent, at {at}: {text}", bad=True)

    # Looks

    def tell(self, text: str, *, bad: bool = False) -> None:
        """Say something in the line at the bottom."""
        bar = self.statusBar()
        bar.setStyleSheet(f"color:{self.theme.lights[Level.BAD if bad else Level.OFF]};")
        bar.showMessage(("✖ " if bad else "") + text, 0 if bad else 15_000)

    def set_theme(self, theme: Theme) -> None:
        """Take on other colours."""
        self.theme = theme
        self.settings.setValue("theme", theme.name)
        self.setStyleSheet(style_sheet(theme))
        self.banner.set_theme(theme)
        for panel in self.panels:
            panel.set_theme(theme)

    def switch_theme(self) -> None:
        """Dark to light, or back."""
        self.set_theme(THEMES["light" if self.theme.name == "dark" else "dark"])

    def save_panel(self, panel: Panel | None = None) -> None:
        """Save a panel: the given one, or the one that has the keyboard."""
        if panel is None:
            focus = QApplication.focusWidget()
            held = (p for p in self.panels if focus and p.isAncestorOf(focus))
            panel = next(held, self.raster)
        kinds = "Picture (*.png);;Drawing (*.svg);;Numbers (*.csv)"
        path = self.questions.new_file(f"Save {panel.title}", f"{panel.name}.png", kinds)
        if path is None:
            return
        if path.suffix.lower() not in SUFFIXES:
            path = path.with_name(path.name + ".png")
        wrong = save_panel(panel, path)
        self.tell(wrong or f"saved {path}", bad=bool(wrong))

    # Each frame

    def tick(self) -> None:
        """Draw what is new; called 30 times a second."""
        self._frame += 1
        for panel in self.panels:
            if self._frame % panel.every == 0 and not panel.visibleRegion().isEmpty():
                panel.refresh()
        if self._frame % self.banner.every == 0:
            self.banner.refresh(self.streams.worst())
            for desk in (self.loop, self.replay, self.record):
                desk.mind()
            decoded = self.store.decoded is not None
            if decoded and not self._decoded:
                self.arrangement.show_decoded()
            self._decoded = decoded

    # Making and ending

    def _lay_out(self) -> None:
        top = QWidget()
        column = QVBoxLayout(top)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(1)
        column.addWidget(self.banner)
        column.addWidget(self.controls)
        # The menu's place: always on top, whatever the docks do.
        self.setMenuWidget(top)
        self.statusBar()  # there from the beginning, so that nothing moves when it speaks
        self.raster.setFocus()

    def _connect(self) -> None:
        controls, loop, replay, record = self.controls, self.loop, self.replay, self.record
        for button, do in (
            (controls.open_rig, self._choose_rig), (controls.attach, self._choose_running),
            (controls.start, loop.start), (controls.stop, loop.stop),
            (controls.record, record.toggle), (controls.open_recording, replay.choose),
            (controls.play, replay.play), (controls.end, replay.stop),
            (controls.step, calling(replay.step, "step 1")),
            (controls.to_marker, calling(replay.step, "step-to *")),
        ):  # fmt: skip
            button.clicked.connect(calling(do))
        controls.recorder.activated.connect(calling(record.choose))
        controls.annotate.connect(self.annotate)
        controls.seek.connect(replay.seek)
        self.streams.picked.connect(self.use)
        for panel in self.panels:
            panel.export_button.clicked.connect(calling(self.save_panel, panel))

    def _list_shortcuts(self) -> list[Shortcut]:
        step, toggle = self.replay.step, self.arrangement.toggle
        shortcuts = [
            Shortcut("Ctrl+O", "choose a rig file", self._choose_rig),
            Shortcut("Ctrl+K", "attach to a rig that runs", self._choose_running),
            Shortcut("F5", "start the loop", self.loop.start),
            Shortcut("Shift+F5", "stop the loop (asks once)", self.loop.stop),
            Shortcut("Ctrl+P", "choose a recording", self.replay.choose),
            Shortcut("Space", "start the replay, pause it, go on", self.replay.play),
            Shortcut(".", "replay one second more", calling(step, "step 1")),
            Shortcut("M", "replay to the next marker", calling(step, "step-to *")),
            Shortcut("Ctrl+R", "record, or end the recording", self.record.toggle),
            Shortcut("Ctrl+L", "write an annotation", self.controls.note.setFocus),
            Shortcut("Ctrl+T", "dark or light", self.switch_theme),
            Shortcut("Ctrl+E", "save a panel", self.save_panel),
            Shortcut("Ctrl+0", "all panels in their places", self.arrangement.reset),
        ]
        for k, panel in enumerate(self.panels, 1):
            what = f"show or hide ‘{panel.title}’"
            shortcuts.append(Shortcut(f"Ctrl+{k}", what, calling(toggle, panel.name)))
        shortcuts += [
            Shortcut("F1", "this list", self.show_shortcuts),
            Shortcut("Ctrl+Q", "close the window; the loop goes on", self.close),
        ]
        return shortcuts

    def show_shortcuts(self) -> None:
        """List the keyboard's shortcuts."""
        self.questions.inform("Keyboard", as_table(self._shortcuts))

    def _choose_rig(self) -> None:
        path = self.questions.file("Rig file", "Rig files (*.toml)")
        if path is not None:
            self.open_rig_file(path)

    def _choose_running(self) -> None:
        rig = self.questions.rig(running_rigs(self.found))
        if rig is not None:
            self.attach(rig)

    def _restore(self) -> None:
        geometry, state = self.settings.value("geometry"), self.settings.value("layout")
        if isinstance(geometry, QByteArray):
            self.restoreGeometry(geometry)
        if isinstance(state, QByteArray):
            self.restoreState(state, _LAYOUT)
        recording = self.settings.value("recording")
        if isinstance(recording, str) and Path(recording).is_file():
            self.replay.open(Path(recording))

    def sizeHint(self) -> QSize:
        """Return the size that it has at first."""
        return QSize(1280, 720)

    def closeEvent(self, event: Any) -> None:
        """End what is this window's: threads, replay; the loop runs on."""
        if not self.record.may_close():
            event.ignore()
            return
        self.settings.setValue("geometry", self.saveGeometry())
        self.settings.setValue("layout", self.saveState(_LAYOUT))
        self._timer.stop()
        self.replay.close()
        self._discovery.stop()
        if self._reader is not None:
            self._reader.stop()
            self._reader = None
        if self.annotator is not None:
            self.annotator.close()
            self.annotator = None
        event.accept()
