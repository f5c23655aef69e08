"""The keyboard's shortcuts: one table for what they do and for the list that F1 shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from qtpy.QtGui import QAction, QKeySequence
from qtpy.QtWidgets import QApplication, QLineEdit, QTextEdit, QWidget

_TYPED = ("Space", ".", "M")  # these are letters where text is written


class Shortcut(NamedTuple):
    """Keys, what they are for, and what they do."""

    keys: str
    what: str
    do: Callable[[], object]


def install(window: QWidget, shortcuts: Sequence[Shortcut]) -> None:
    """Give a window its shortcuts."""
    for shortcut in shortcuts:
        action = QAction(window)
        action.setShortcut(QKeySequence(shortcut.keys))
        action.triggered.connect(calling(_unless_typing, shortcut))
        window.addAction(action)


def as_table(shortcuts: Sequence[Shortcut]) -> str:
    """Return the shortcuts as rich text; those that say nothing are left out."""
    rows = (
        f"<tr><td><b>{s.keys}</b>&nbsp;&nbsp;</td><td>{s.what}</td></tr>"
        for s in shortcuts
        if s.what
    )
    return f"<table>{''.join(rows)}</table>"


def calling(function: Callable[..., object], *arguments: Any) -> Callable[..., None]:
    """Return a slot that calls with these arguments, whatever a signal gives."""

    def call(*_: object) -> None:
        function(*arguments)

    return call


def _unless_typing(shortcut: Shortcut) -> None:
    typing = isinstance(QApplication.focusWidget(), (QLineEdit, QTextEdit))
    if not (typing and shortcut.keys in _TYPED):
        shortcut.do()
