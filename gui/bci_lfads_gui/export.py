"""A panel as a file: PNG, SVG or CSV."""

from __future__ import annotations

import csv
from pathlib import Path

from qtpy.QtCore import QPoint, QRect
from qtpy.QtGui import QPainter
from qtpy.QtSvg import QSvgGenerator

from bci_lfads_gui.panels.base import Panel

SUFFIXES = (".png", ".svg", ".csv")


def save_panel(panel: Panel, path: Path) -> str:
    """Save what a panel shows, by the suffix of `path`; return why not, or nothing."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".png":
            return "" if panel.grab().save(str(path)) else f"{path} could not be written"
        if suffix == ".svg":
            return _svg(panel, path)
        if suffix == ".csv":
            header, rows = panel.table()
            if not header:
                return f"the panel {panel.title} has no numbers to save"
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(header)
                writer.writerows(rows)
            return ""
    except OSError as error:
        return f"{path} could not be written: {error.strerror}"
    return f"'{path.name}' ends in none of {', '.join(SUFFIXES)}"


def _svg(panel: Panel, path: Path) -> str:
    with path.open("wb"):  # says why not; the generator would not
        pass
    generator = QSvgGenerator()
    generator.setFileName(str(path))
    generator.setSize(panel.size())
    generator.setViewBox(QRect(0, 0, panel.width(), panel.height()))
    generator.setTitle(panel.title)
    painter = QPainter(generator)
    try:
        panel.render(painter, QPoint())
    finally:  # Qt does not survive a file that is let go of while it is painted on
        done = painter.end()
    return "" if done else f"{path} could not be written"
