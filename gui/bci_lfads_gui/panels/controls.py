"""Buttons: the loop, the replay, the recorder, and what the operator has to say."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSlider,
    QVBoxLayout,
    QWidget,
)  # fmt: skip

from bci_lfads_gui.annotations import LONGEST

ENGINES = ("engine of the rig file", "native", "torch", "fpga")
SPEEDS = ("×1", "×0.5", "×2", "×5", "×10", "max")
_STOP = "Ask the loop to stop in good order; asks once (Shift+F5)"
RECORDERS = ("by this program", "by LabRecorder…")
SLIDER = 1000


class Controls(QFrame):
    """Two rows of buttons. They say what is wanted by signals; the window does it."""

    seek = Signal(float)
    """Share of the recording to go to, 0 to 1."""
    annotate = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("controls")
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 4, 8, 4)
        column.setSpacing(4)
        first, second = QHBoxLayout(), QHBoxLayout()
        column.addLayout(first)
        column.addLayout(second)
        self.open_rig = _button("Rig…", "Choose a rig file (Ctrl+O)")
        self.rig_name = _name("no rig file")
        self.attach = _button(
            "Attach…", "Watch a rig that already runs, here or elsewhere (Ctrl+K)"
        )
        self.engine = QComboBox()
        self.engine.addItems(list(ENGINES))
        self.engine.setToolTip("Engine for the next start")
        self.start = _button("▶ Start", "Start the loop of the rig file as a process (F5)")
        self.stop = _button("■ Stop", _STOP)
        self.note = QLineEdit()
        self.note.setPlaceholderText("Annotation, Enter sends it (Ctrl+L)")
        self.note.setMaxLength(LONGEST)
        self.note.setToolTip("Sent as a marker on '<rig> Annotations', stamped when Enter is hit")
        self.send = _button("Note", "Send the annotation")
        self.record = _button(
            "● Record…", "Record all streams to an XDF file, or end that (Ctrl+R)"
        )
        self.recorder = QComboBox()
        self.recorder.addItems(list(RECORDERS))
        self.recorder.setToolTip(
            "Who records: this program, to a file of this machine, or LabRecorder by its remote "
            "control (choose it again to give another address)"
        )
        self.record_state = _name("")
        for widget in (
            self.open_rig, self.rig_name, self.engine, self.start, self.stop, _line(), self.attach,
            _line(), self.record, self.recorder, self.record_state, _line(), self.note, self.send,
        ):  # fmt: skip
            first.addWidget(widget, 1 if widget is self.note else 0)
        self.open_recording = _button("Replay file…", "Choose a recording to replay (Ctrl+P)")
        self.recording_name = _name("no file")
        self.speed = QComboBox()
        self.speed.addItems(list(SPEEDS))
        self.speed.setToolTip(
            "Speed of the next replay. Only at ×1 are stamps on the LSL clock; max follows the rig"
        )
        self.loop = QCheckBox("loop")
        self.loop.setToolTip("Begin again at the end")
        self.play = _button("▶ Replay", "Start the replay, pause it, go on (Space)")
        self.step = _button("+1 s", "Go on for one second of the recording, then pause (.)")
        self.to_marker = _button("→ marker", "Go on to the next marker, then pause (M)")
        self.end = _button("■ Replay", "End the replay")
        self.place = QSlider(Qt.Orientation.Horizontal)
        self.place.setRange(0, SLIDER)
        self.place.setToolTip("Where the replay is; drag to go elsewhere")
        self.place.sliderReleased.connect(self._seek)
        self.clock = _name("– / – s")
        for widget in (
            self.open_recording, self.recording_name, self.speed, self.loop, self.play, self.step,
            self.to_marker, self.end, self.place, self.clock,
        ):  # fmt: skip
            second.addWidget(widget, 1 if widget is self.place else 0)
        self.send.clicked.connect(self._annotate)
        self.note.returnPressed.connect(self._annotate)

    def show_stop(self, why_not: str) -> None:
        """Show why the loop cannot be stopped from here, if so."""
        self.stop.setToolTip(why_not or _STOP)

    def show_place(self, position: float | None, duration: float | None) -> None:
        """Show where the replay is, seconds; None for nowhere."""
        if position is None or not duration:
            self.clock.setText("– / – s")
            return
        self.clock.setText(f"{position:.1f} / {duration:.1f} s")
        if not self.place.isSliderDown():
            self.place.setValue(round(SLIDER * position / duration))

    def _seek(self) -> None:
        self.seek.emit(self.place.value() / SLIDER)

    def _annotate(self) -> None:
        text = self.note.text().strip()
        if text:
            self.annotate.emit(text)
            self.note.clear()


def _button(text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    # Space and letters are shortcuts of the window, not of the button that was clicked last.
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    return button


def _name(text: str) -> QLabel:
    label = QLabel(text)
    label.setMaximumWidth(260)
    return label


def _line() -> QWidget:
    line = QFrame()
    line.setFrameShape(QFrame.Shape.VLine)
    line.setObjectName("line")
    return line
