"""Recording all streams: by this program's own recorder, or by LabRecorder."""

from __future__ import annotations

import time

from bci_lfads_gui.controller import Recorder
from bci_lfads_gui.desks.base import Host
from bci_lfads_gui.labrecorder import HERE, LabRecorder


class RecordDesk:
    """Begins and ends recordings, and shows how they do.

    Parameters
    ----------
    window
        That this stands in.
    recorder
        This program's own; a recording that an earlier window began goes on in it.
    """

    def __init__(self, window: Host, recorder: Recorder) -> None:
        self._window = window
        self.recorder = recorder
        self.lab: LabRecorder | None = None
        """LabRecorder, where it is to record."""
        self._told = ""

    @property
    def records(self) -> bool:
        """Whether streams are recorded, as far as this window knows."""
        return self.recorder.running or (self.lab is not None and self.lab.recording)

    def choose(self) -> None:
        """Choose who records; ask where LabRecorder is."""
        window, choice = self._window, self._window.controls.recorder
        if choice.currentIndex() == 0:
            self._let_go()
            return
        preset = str(window.settings.value("labrecorder", HERE))
        address = window.questions.text(
            "LabRecorder",
            "Where LabRecorder takes orders, host:port (its checkbox 'RCS' must be set):",
            preset,
        )
        try:
            lab = None if address is None else LabRecorder(address)
        except ValueError as error:
            window.tell(str(error), bad=True)
            lab = None
        if lab is None:
            choice.setCurrentIndex(0 if self.lab is None else 1)
            return
        self._let_go()
        self.lab = lab
        window.settings.setValue("labrecorder", lab.address)
        window.tell(f"LabRecorder at {lab.address} records from now on")

    def toggle(self) -> None:
        """Begin a recording, or end it."""
        self._told = ""
        if self.recorder.running:
            self.recorder.stop()
            self._window.tell(f"the recording ends; {self.recorder.output}")
        elif self.lab is not None:
            self._order(self.lab)
        else:
            self._begin()

    def may_close(self) -> bool:
        """Ask what becomes of this program's recording; return whether the window may close."""
        if self.recorder.running:
            answer = self._window.questions.about_recording(self.recorder.output)
            if answer == "stay":
                return False
            if answer == "stop":
                self.recorder.end()
        self._let_go()
        return True

    def mind(self) -> None:
        """Show how the recording does."""
        recorder, lab, controls = self.recorder, self.lab, self._window.controls
        runs = self.records
        by_lab = runs and not recorder.running
        controls.record.setText("■ End recording" if runs else "● Record…")
        controls.recorder.setEnabled(not runs)
        if recorder.running:
            size = recorder.size() / 1e6
            controls.record_state.setText(f"{_since(recorder.since)}, {size:.1f} MB")
            controls.record_state.setToolTip(str(recorder.output))
        elif lab is not None:
            words = "asking…" if lab.busy else f"asked {_since(lab.since)} ago" if by_lab else ""
            controls.record_state.setText(words)
            controls.record_state.setToolTip(
                f"LabRecorder at {lab.address} takes orders; whether it writes, its window says"
            )
        else:
            controls.record_state.setText("")
        failure = lab.failure if lab is not None and lab.failure else recorder.failure
        if failure and failure != self._told:
            self._told = failure
            self._window.tell(f"the recording failed: {failure}", bad=True)

    def _begin(self) -> None:
        window = self._window
        suggested = f"{self._name()}.xdf"
        path = window.questions.new_file("Record to", suggested, "XDF (*.xdf)")
        if path is None:
            return
        if path.suffix != ".xdf":
            path = path.with_name(path.name + ".xdf")
        self.recorder.start(path)
        window.tell(f"recording all streams to {path}")

    def _order(self, lab: LabRecorder) -> None:
        window = self._window
        if lab.recording:
            lab.stop()
            window.tell(f"asked LabRecorder at {lab.address} to stop")
            return
        file = window.questions.text(
            "LabRecorder", "File on LabRecorder's machine (empty: as it is set there):", ""
        )
        if file is None:
            return
        try:
            lab.start(file)
        except ValueError as error:
            window.tell(str(error), bad=True)
            return
        window.tell(f"asked LabRecorder at {lab.address} to record all streams")

    def _name(self) -> str:
        return f"{self._window.store.rig or 'recording'}-{time.strftime('%Y%m%d-%H%M%S')}"

    def _let_go(self) -> None:
        if self.lab is not None:
            self.lab.close()
            self.lab = None


def _since(moment: float) -> str:
    minutes, seconds = divmod(int(time.time() - moment), 60)
    return f"{minutes}:{seconds:02d}"
