"""What all panels share: their colours, their pace, and what they can be saved as."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pyqtgraph as pg
from qtpy.QtCore import Qt
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QToolButton, QVBoxLayout, QWidget

from bci_lfads_gui.model.store import Store
from bci_lfads_gui.palette import DARK, Theme

TRIALS = ("5", "10", "20", "40")
"""Numbers of trials to choose from."""
_DASHES = ((), (4, 2), (1, 2))
_STROKES = ("━", "╍", "┅")
_MOST_NAMED = 16


class Panel(QWidget):
    """A part of the window. It draws what the store holds, and asks nothing of LSL.

    Attributes
    ----------
    title
        Of its dock.
    every
        Frames of the window's timer (30 a second) from one `refresh` to the next.
    """

    title = ""
    name = ""
    every = 1

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.setObjectName(self.name)
        self.store = store
        self.theme = DARK
        self.bar = QHBoxLayout()
        self.bar.setContentsMargins(4, 2, 4, 0)
        self.bar.setSpacing(4)
        self.body = QVBoxLayout(self)
        self.body.setContentsMargins(2, 2, 2, 2)
        self.body.setSpacing(2)
        self.body.addLayout(self.bar)
        self.export_button = QToolButton()
        self.export_button.setText("⤓")
        self.export_button.setToolTip("Save this panel as PNG, SVG or CSV (Ctrl+E)")

    def finish_bar(self) -> None:
        """Put the button for saving at the end of the bar."""
        self.bar.addStretch(1)
        self.bar.addWidget(self.export_button)

    def watch(self, store: Store) -> None:
        """Show another store."""
        self.store = store

    def set_theme(self, theme: Theme) -> None:
        """Take on other colours."""
        self.theme = theme

    def refresh(self) -> None:
        """Draw what is new."""

    def table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """Return what is shown as a header and rows, for a CSV file."""
        return (), ()


def choice(label: str, options: Sequence[str], tip: str, at: int = 0) -> tuple[QLabel, QComboBox]:
    """Return a labelled choice."""
    box = QComboBox()
    box.addItems(list(options))
    box.setCurrentIndex(at)
    box.setToolTip(tip)
    box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    return QLabel(label), box


def rich_note(text: str, tip: str) -> QLabel:
    """Return a label for rich text, which takes the lines that it needs."""
    label = QLabel(text)
    label.setTextFormat(Qt.TextFormat.RichText)
    label.setWordWrap(True)
    label.setToolTip(tip)
    return label


def bare_plot(view: pg.GraphicsLayoutWidget, **where: int) -> Any:
    """Add a plot without pyqtgraph's own menu and button."""
    plot = view.addPlot(**where)
    plot.setMenuEnabled(False)
    plot.hideButtons()
    return plot


def style_plot(plot: Any, theme: Theme) -> None:
    """Give a plot the theme's colours."""
    for side in ("left", "bottom"):
        axis = plot.getAxis(side)
        axis.setPen(pg.mkPen(theme.line))
        axis.setTextPen(pg.mkPen(theme.text))
        axis.enableAutoSIPrefix(False)  # seconds stay seconds


def legend(known: Mapping[str, int], theme: Theme) -> str:
    """Return conditions and their strokes as rich text; what all begin with is said once."""
    before = shared_prefix(tuple(known))
    parts = [
        f'<span style="color:{theme.condition(k)}">{_STROKES[theme.stroke(k)]}</span>&nbsp;'
        + escape(label[len(before) :])
        for label, k in list(known.items())[:_MOST_NAMED]
    ]
    more = len(known) - _MOST_NAMED
    parts += [f"and {more} more"] if more > 0 else []
    return " &nbsp;".join([escape(before), *parts] if before else parts)


def shared_prefix(labels: Sequence[str]) -> str:
    """Return what several labels begin with, up to a slash; empty for one label."""
    if len(labels) < 2:
        return ""
    levels = zip(*(label.split("/")[:-1] for label in labels), strict=False)
    shared = itertools.takewhile(lambda names: len(set(names)) == 1, levels)
    return "".join(f"{names[0]}/" for names in shared)


def pen(theme: Theme, condition: int, *, width: float, strength: float = 1.0) -> Any:
    """Return a pen in a condition's colour and stroke; strength is from 0 to 1.

    Plots' pens count the screen's pixels, of which a scaled screen has more.
    """
    screen = QGuiApplication.primaryScreen()
    width *= 1.0 if screen is None else screen.devicePixelRatio()
    colour = pg.mkColor(theme.condition(condition))
    colour.setAlphaF(strength)
    stroke = theme.stroke(condition)
    return pg.mkPen(colour, width=width, dash=_DASHES[stroke] if stroke else None)


def escape(text: str) -> str:
    """Return text that rich text shows as it is."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
