"""State space drawn by this CPU: two dimensions, or three turned to the screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from qtpy.QtCore import Qt, Signal

from bci_lfads_gui.model.projection import rotate
from bci_lfads_gui.palette import DARK, Theme
from bci_lfads_gui.panels.base import bare_plot, pen, style_plot
from bci_lfads_gui.panels.paths import AZIMUTH, BOX, ELEVATION, NAMES_AT, Path, unit_cube

_TURN = 0.5  # degrees a pixel


class FlatView(pg.GraphicsLayoutWidget):
    """Paths in a plot; in three dimensions dragging turns them."""

    turned = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.plot = bare_plot(self, row=0, col=0)
        self.azimuth, self.elevation = AZIMUTH, ELEVATION
        self.deep = False
        self._theme = DARK
        self._from: Any = None
        self._curves: list[Any] = []
        self._heads = pg.ScatterPlotItem(size=9, pxMode=True)
        self._box = pg.PlotCurveItem(connect="pairs")
        self._names = [pg.TextItem(anchor=(0.5, 0.5)) for _ in range(3)]
        for item in (self._heads, self._box, *self._names):
            self.plot.addItem(item)

    def set_theme(self, theme: Theme) -> None:
        """Take on other colours."""
        self._theme = theme
        self.setBackground(theme.window)
        style_plot(self.plot, theme)
        self._box.setPen(pg.mkPen(theme.line, width=1))
        for name in self._names:
            name.setColor(theme.muted)

    def clear_paths(self) -> None:
        """Draw nothing."""
        for curve in self._curves:
            curve.setData([], [])
        self._heads.setData([])

    def draw(
        self, paths: Sequence[Path], names: Sequence[str],
        low: NDArray[np.float64], high: NDArray[np.float64],
    ) -> None:  # fmt: skip
        """Draw paths, oldest first, on axes of these names and ranges."""
        while len(self._curves) < len(paths):
            curve = pg.PlotCurveItem(connect="finite", antialias=True)
            self.plot.addItem(curve)
            self._curves.append(curve)
        heads = []
        for k, (curve, path) in enumerate(zip(self._curves, paths, strict=False)):
            flat = self._turn(unit_cube(path.points, low, high)) if self.deep else path.points
            look = pen(self._theme, path.condition, width=path.width, strength=path.strength)
            curve.setPen(look)
            curve.setZValue(k)
            curve.setData(flat[:, 0], flat[:, 1])
            if path.newest:
                colour = self._theme.condition(path.condition)
                heads.append({"pos": flat[-1, :2], "brush": colour, "pen": None})
        for curve in self._curves[len(paths) :]:
            curve.setData([], [])
        self._heads.setData(heads)
        self._heads.setZValue(len(paths) + 1)
        self._frame(names, low, high)

    def _frame(
        self, names: Sequence[str], low: NDArray[np.float64], high: NDArray[np.float64]
    ) -> None:
        box = self._turn(BOX) if self.deep else np.empty((0, 2))
        self._box.setData(box[:, 0], box[:, 1])
        for text, name, at in zip(self._names, names, self._turn(NAMES_AT), strict=True):
            text.setVisible(self.deep)
            text.setText(name)
            text.setPos(*at)
        plot = self.plot
        plot.setAspectLocked(self.deep)
        if self.deep:
            plot.setXRange(-0.75, 0.75, padding=0)
            plot.setYRange(-0.75, 0.75, padding=0)
        else:
            plot.setXRange(low[0], high[0], padding=0)
            plot.setYRange(low[1], high[1], padding=0)
        for side, name in (("bottom", names[0]), ("left", names[1])):
            plot.setLabel(side, name)
            plot.showAxis(side, not self.deep)
        plot.setMouseEnabled(x=not self.deep, y=not self.deep)

    def _turn(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        return rotate(points, self.azimuth, self.elevation)

    def mousePressEvent(self, event: Any) -> None:
        """Begin to turn."""
        self._from = event.pos() if event.button() == Qt.MouseButton.LeftButton else None
        super().mousePressEvent(event)

    def mouseMoveEvent(self, event: Any) -> None:
        """Turn."""
        if self.deep and self._from is not None and event.buttons() & Qt.MouseButton.LeftButton:
            moved = event.pos() - self._from
            self._from = event.pos()
            self.azimuth = (self.azimuth - _TURN * moved.x()) % 360
            self.elevation = float(np.clip(self.elevation + _TURN * moved.y(), -90, 90))
            self.turned.emit()
        super().mouseMoveEvent(event)
