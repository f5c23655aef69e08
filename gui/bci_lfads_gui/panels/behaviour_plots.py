"""The plots of decoded behaviour: a plane, and a trace for each channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray

from bci_lfads_gui.model.overlay import PLACE, Cursor, Stretch
from bci_lfads_gui.palette import DARK, Theme
from bci_lfads_gui.panels.base import bare_plot, pen, shared_prefix, style_plot

_MOST, _BELOW = 8, 4  # channels in all, and below each other
_POINTS = 1500  # of a trace
_Floats = NDArray[np.float64]


class BehaviourPlots(pg.GraphicsLayoutWidget):
    """Draws stretches of behaviour, decoded over true, and a cursor with its target."""

    def __init__(self) -> None:
        super().__init__()
        self.plane: Any = None
        self.traces: list[Any] = []
        self.of_traces: list[list[tuple[Any, Any]]] = []
        """Of each channel: curves of true and decoded values, the newest stretch first."""
        self.of_plane: list[tuple[Any, Any]] = []
        self.head: Any = None
        self.target: Any = None
        self._labels: tuple[str, ...] = ()
        self._layout: tuple[object, ...] = ()
        self._theme: Theme = DARK
        self._low, self._high = np.full(2, np.inf), np.full(2, -np.inf)

    def forget(self) -> None:
        """Take away all plots."""
        self.clear()
        self._layout, self.plane, self.traces, self.of_traces, self.of_plane = (), None, [], [], []

    def set_theme(self, theme: Theme) -> None:
        """Take on other colours."""
        self._theme = theme
        self.setBackground(theme.window)
        for plot in self._plots():
            style_plot(plot, theme)

    def arrange(
        self, labels: tuple[str, ...], curves: int, *, plane: bool, traces: bool, below: str
    ) -> None:
        """Make the plots, where those that there are differ.

        Parameters
        ----------
        labels
            Of the decoded channels.
        curves
            Stretches that may be drawn.
        plane, traces
            What is shown.
        below
            What the time axis counts.
        """
        wanted = (labels, curves, plane, traces, below)
        if wanted == self._layout:
            return
        self.forget()
        self._layout, self._labels = wanted, labels
        self._low, self._high = np.full(2, np.inf), np.full(2, -np.inf)
        shown = labels[:_MOST] if traces else ()
        before = shared_prefix(labels)
        height = min(len(shown), _BELOW)
        if plane:
            self.plane = self._add(row=0, col=0, rowspan=max(1, height))
            self.plane.setAspectLocked(True)
            self.of_plane = _curves(self.plane, curves)
            self.target = pg.ScatterPlotItem(size=18, pxMode=True, symbol="s")
            self.head = pg.ScatterPlotItem(size=11, pxMode=True)
            for item in (self.target, self.head):
                self.plane.addItem(item)
        for k, label in enumerate(shown):
            plot = self._add(row=k % _BELOW, col=1 + k // _BELOW)
            plot.setLabel("left", label[len(before) :])
            plot.getAxis("left").setWidth(48)
            if self.traces:
                plot.setXLink(self.traces[0])
            last = k + 1 in (height, len(shown))
            plot.getAxis("bottom").setStyle(showValues=last)
            if last:
                plot.setLabel("bottom", below)
            self.traces.append(plot)
            self.of_traces.append(_curves(plot, curves))

    def _add(self, **where: int) -> Any:
        plot = bare_plot(self, **where)
        style_plot(plot, self._theme)
        return plot

    def draw(
        self, shown: Sequence[Stretch], conditions: Sequence[int], cursor: Cursor | None,
        span: tuple[float, float],
    ) -> None:  # fmt: skip
        """Draw stretches, oldest first, by their conditions; `span` is that of the time axis."""
        pens = [self._pens(s.strength, k) for s, k in zip(shown, conditions, strict=True)]
        for k, pairs in enumerate(self.of_traces):
            lines = [(s.x, s.true[:, k], s.decoded[:, k]) for s in shown]
            for of_x, ways, pair in _newest_first(lines, pens, pairs):
                x, true, decoded = of_x
                step = max(1, len(x) // _POINTS)
                for curve, values, way in zip(pair, (true, decoded), ways, strict=True):
                    curve.setPen(way)
                    curve.setData(x[::step], values[::step])
        if self.traces:
            self.traces[0].setXRange(*span, padding=0)
        if self.plane is not None:
            newest = self._theme.condition(conditions[-1])
            self._draw_plane(shown, pens, newest, cursor)

    def _draw_plane(
        self, shown: Sequence[Stretch], pens: Sequence[Any], newest: str, cursor: Cursor | None
    ) -> None:
        theme = self._theme
        placed = set(PLACE) <= set(self._labels)
        names = PLACE if placed or cursor is not None else self._labels[:2]
        seen: list[_Floats] = []
        if not placed and cursor is not None:  # a decoded velocity is no place
            shown, pens = [], []
        columns = [self._labels.index(c) for c in names] if shown else []
        lines = [(s.true[:, columns], s.decoded[:, columns]) for s in shown]
        for line, ways, pair in _newest_first(lines, pens, self.of_plane):
            for curve, at, way in zip(pair, line, ways, strict=True):
                curve.setPen(way)
                curve.setData(at[:, 0], at[:, 1])
                seen.append(at)
        head, target, colour = None, None, newest
        if cursor is not None:
            head, colour = cursor.at, theme.text  # it is the true one
            target = cursor.target if np.isfinite(cursor.target).all() else None
            if not placed and self.of_plane:
                self.of_plane[0][0].setPen(pg.mkPen(theme.text, width=2))
                self.of_plane[0][0].setData(cursor.path[:, 0], cursor.path[:, 1])
            seen += [cursor.path, cursor.at[None], cursor.target[None]]
        elif lines:
            of_newest = lines[-1][1]
            there = np.flatnonzero(np.isfinite(of_newest).all(axis=1))
            head = of_newest[there[-1]] if len(there) else None
        self.head.setData([] if head is None else [{"pos": head, "brush": colour, "pen": None}])
        frame = pg.mkPen(theme.condition(2), width=2)
        found = [] if target is None else [{"pos": target, "pen": frame, "brush": None}]
        self.target.setData(found)
        self.plane.setLabel("bottom", names[0])
        self.plane.setLabel("left", names[1])
        self._widen(seen)

    def _widen(self, seen: Sequence[_Floats]) -> None:
        """Widen the plane to what was seen; it never shrinks, so that movement is comparable."""
        points = np.concatenate([np.empty((0, 2)), *seen])
        points = points[np.isfinite(points).all(axis=1)]
        if not len(points):
            return
        self._low = np.minimum(self._low, points.min(axis=0))
        self._high = np.maximum(self._high, points.max(axis=0))
        self.plane.setXRange(self._low[0], self._high[0], padding=0.08)
        self.plane.setYRange(self._low[1], self._high[1], padding=0.08)

    def _pens(self, strength: float, condition: int) -> tuple[Any, Any]:
        """Return the pens of what was true and of what is decoded."""
        newest, true = strength == 1.0, pg.mkColor(self._theme.text)
        true.setAlphaF(strength)
        width = 2.0 if newest else 1.2
        return pg.mkPen(true, width=1.2), pen(
            self._theme, condition, width=width, strength=strength
        )

    def _plots(self) -> list[Any]:
        return [*self.traces, *([] if self.plane is None else [self.plane])]


def _curves(plot: Any, n: int) -> list[tuple[Any, Any]]:
    pairs = [
        (pg.PlotCurveItem(connect="finite"), pg.PlotCurveItem(connect="finite")) for _ in range(n)
    ]
    for pair in reversed(pairs):  # the newest above the others
        for curve in pair:
            plot.addItem(curve)
    return pairs


def _newest_first(
    lines: Sequence[Any], pens: Sequence[Any], pairs: Sequence[tuple[Any, Any]]
) -> list[tuple[Any, Any, tuple[Any, Any]]]:
    """Return what goes into which curves; curves that are left over are emptied."""
    for pair in pairs[len(lines) :]:
        for curve in pair:
            curve.setData([], [])
    return list(zip(reversed(lines), reversed(pens), pairs, strict=False))
