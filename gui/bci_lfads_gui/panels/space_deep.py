"""State space in three dimensions, drawn by OpenGL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from pyqtgraph import opengl as gl

from bci_lfads_gui.palette import DARK, Theme
from bci_lfads_gui.panels.paths import AZIMUTH, BOX, ELEVATION, NAMES_AT, Path, unit_cube

_SMOOTH = "translucent"
_FAR = 2.5  # from which the box fills a square


class DeepView(gl.GLViewWidget):
    """Paths in a box. Dragging turns it, the wheel comes nearer."""

    def __init__(self) -> None:
        super().__init__()
        self.setCameraParams(fov=40)
        self.setCameraPosition(distance=_FAR, elevation=ELEVATION, azimuth=AZIMUTH)
        self._theme = DARK
        self._curves: list[Any] = []
        self._heads = gl.GLScatterPlotItem(pos=np.zeros((0, 3)), size=9, glOptions=_SMOOTH)
        self._box = gl.GLLinePlotItem(pos=BOX, mode="lines", antialias=True, glOptions=_SMOOTH)
        self._names = [gl.GLTextItem(pos=at, text="") for at in NAMES_AT]
        for item in (self._box, *self._names, self._heads):
            self.addItem(item)

    def set_theme(self, theme: Theme) -> None:
        """Take on other colours."""
        self._theme = theme
        self.setBackgroundColor(theme.window)
        self._box.setData(color=pg.mkColor(theme.line).getRgbF())
        for name in self._names:
            name.setData(color=pg.mkColor(theme.muted))

    def resizeEvent(self, event: Any) -> None:
        """Keep the whole box in sight: the angle of view is that of the width."""
        super().resizeEvent(event)
        self.setCameraPosition(distance=_FAR * max(1.0, self.width() / max(1, self.height())))

    def clear_paths(self) -> None:
        """Draw nothing."""
        for curve in self._curves:
            curve.setVisible(False)
        self._heads.setVisible(False)

    def draw(
        self, paths: Sequence[Path], names: Sequence[str],
        low: NDArray[np.float64], high: NDArray[np.float64],
    ) -> None:  # fmt: skip
        """Draw paths, oldest first, on axes of these names and ranges."""
        while len(self._curves) < len(paths):
            curve = gl.GLLinePlotItem(antialias=True, glOptions=_SMOOTH)
            self.addItem(curve)
            self._curves.append(curve)
        for curve in self._curves[len(paths) :]:
            curve.setVisible(False)
        heads = []
        for curve, path in zip(self._curves, paths, strict=False):
            points = unit_cube(path.points, low, high)
            points = points[np.isfinite(points).all(axis=1)].astype(np.float32)
            curve.setVisible(len(points) > 1)
            if len(points) < 2:
                continue
            colour = pg.mkColor(self._theme.condition(path.condition)).getRgbF()[:3]
            curve.setData(pos=points, color=(*colour, path.strength), width=path.width)
            if path.newest:
                heads.append((points[-1], (*colour, 1.0)))
        self._heads.setVisible(bool(heads))
        if heads:
            at, colours = zip(*heads, strict=True)
            self._heads.setData(pos=np.array(at), color=np.array(colours))
        for text, name in zip(self._names, names, strict=True):
            text.setData(text=name)
