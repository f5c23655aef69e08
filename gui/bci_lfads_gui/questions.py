"""What the window asks its operator. Tests put answers in the place of these."""

from __future__ import annotations

import os
from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QInputDialog, QLineEdit, QMessageBox, QWidget


class Questions:
    """Dialogs, each of which waits for its answer.

    Parameters
    ----------
    parent
        The window.
    """

    def __init__(self, parent: QWidget) -> None:
        self._parent = parent
        self.folder = Path.cwd()
        """Where files are looked for first."""

    def sure(self, title: str, text: str, yes: str, no: str) -> bool:
        """Ask before something is done; the answers say what they do."""
        box = QMessageBox(QMessageBox.Icon.Question, title, text, parent=self._parent)
        do = box.addButton(yes, QMessageBox.ButtonRole.AcceptRole)
        box.setDefaultButton(box.addButton(no, QMessageBox.ButtonRole.RejectRole))
        box.exec()
        return box.clickedButton() is do

    def file(self, title: str, kinds: str) -> Path | None:
        """Ask for a file that is there."""
        name = QFileDialog.getOpenFileName(self._parent, title, str(self.folder), kinds)[0]
        return Path(name) if name else None

    def new_file(self, title: str, suggested: str, kinds: str) -> Path | None:
        """Ask for a file to write."""
        start = os.path.join(self.folder, suggested)
        name = QFileDialog.getSaveFileName(self._parent, title, start, kinds)[0]
        return Path(name) if name else None

    def text(self, title: str, label: str, preset: str) -> str | None:
        """Ask for a line of text; None where the operator thought better of it."""
        text, good = QInputDialog.getText(
            self._parent, title, label, QLineEdit.EchoMode.Normal, preset
        )
        return text.strip() if good else None

    def rig(self, running: list[str]) -> str | None:
        """Ask which rig to attach to."""
        label = "Rigs that run, or type a name:" if running else (
            "No rig runs on the network now. Name of one to wait for:"
        )  # fmt: skip
        text, good = QInputDialog.getItem(self._parent, "Attach", label, running, 0, True)
        return text.strip() or None if good else None

    def about_recording(self, output: Path | None) -> str:
        """Ask what becomes of a recording when the window closes: stop, leave or stay."""
        box = QMessageBox(self._parent)
        box.setWindowTitle("Still recording")
        box.setText(f"{output} is being recorded.")
        stop = box.addButton("End the recording", QMessageBox.ButtonRole.AcceptRole)
        leave = box.addButton("Leave it recording", QMessageBox.ButtonRole.DestructiveRole)
        box.addButton("Do not close", QMessageBox.ButtonRole.RejectRole)
        box.exec()
        clicked = box.clickedButton()
        return "stop" if clicked is stop else "leave" if clicked is leave else "stay"

    def inform(self, title: str, text: str) -> None:
        """Show a text."""
        QMessageBox.information(self._parent, title, text)
