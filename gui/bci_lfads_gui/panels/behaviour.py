"""Decoded behaviour against the true one: a plane with the cursor, and a trace for each channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray

from bci_lfads_gui.model.ring import Ring
from bci_lfads_gui.model.store import Series, Store
from bci_lfads_gui.palette import Theme
from bci_lfads_gui.panels.base import style_plot

_TRACES = 4
_SPAN = 5.0  # seconds of the traces
_TAIL = 1.5  # seconds of the plane's path
_POINTS = 600
_PLACE, _TARGET = ("x", "y"), ("target_x", "target_y")
_Rows = tuple[NDArray[np.float64], NDArray[np.float32]]


class BehaviourView(pg.GraphicsLayoutWidget):
    """What a decoder publishes, and what it should have, where that is published too.

    The plane shows the cursor and its target where `<rig> Cursor` tells them, else the first two
    channels of the behaviour.
    """

    def __init__(self) -> None:
        super().__init__()
        self.plane = self.addPlot(row=0, col=0, rowspan=_TRACES)
        self.plane.setAspectLocked(True)
        self._paths = [pg.PlotCurveItem(connect="finite", antialias=True) for _ in range(2)]
        self._heads = pg.ScatterPlotItem(size=11, pxMode=True)
        self._target = pg.ScatterPlotItem(size=18, pxMode=True, symbol="s")
        for item in (*self._paths, self._target, self._heads):
            self.plane.addItem(item)
        self._traces: list[Any] = []
        self._curves: list[list[Any]] = []
        self._labels: tuple[str, ...] = ()
        self._theme: Theme | None = None
        self._rows: list[list[float]] = []
        self._extent = 1.0
        self._version: object = None
        self.note = ""

    def set_theme(self, theme: Theme) -> None:
        """Take on other colours."""
        self._theme, self._version = theme, None
        self.setBackground(theme.window)
        for plot in (self.plane, *self._traces):
            plot.setMenuEnabled(False)
            plot.hideButtons()
            style_plot(plot, theme)

    def forget(self) -> None:
        """Take away what was drawn of another store."""
        self._version, self._extent, self._rows = None, 1.0, []
        for curve in (*self._paths, *(c for pair in self._curves for c in pair)):
            curve.setData([], [])
        self._heads.setData([])
        self._target.setData([])

    def show_store(self, store: Store) -> None:
        """Draw what is new."""
        with store.lock:
            decoded, cursor = store.behaviour, store.cursor
            version = (
                id(decoded), decoded.rows.total if decoded and decoded.rows else 0,
                id(cursor), cursor.rows.total if cursor and cursor.rows else 0,
            )  # fmt: skip
            if version == self._version:
                return
            self._version = version
            if decoded is None or decoded.rows is None or not len(decoded.rows):
                self.note = f"no decoder runs: bci-lfads decode run DECODER {store.rig or 'RIG'}"
                return
            labels = tuple(c for c in decoded.labels if c not in ("trial", "bin"))
            found = _newest(decoded.rows, _SPAN)
            true = _newest(cursor.rows, _SPAN) if cursor and cursor.rows else None
        self._arrange(labels)
        self._draw_traces(decoded.labels, found, cursor, true)
        if cursor is not None and true is not None and set(_PLACE) <= set(cursor.labels):
            self._draw_cursor(cursor.labels, true)
        else:
            self._draw_plane(decoded.labels, found)
        compared = [c for c in labels if cursor is not None and c in cursor.labels]
        self.note = (
            f"decoded (colour) against true (grey): {', '.join(compared)}"
            if compared
            else "decoded; the true behaviour is not published"
        )

    def table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """Return the decoded rows that are shown."""
        return ("seconds_before_now", *self._labels), self._rows

    def _arrange(self, labels: tuple[str, ...]) -> None:
        if labels == self._labels:
            return
        self._labels = labels
        for plot in self._traces:
            self.removeItem(plot)
        self._traces, self._curves = [], []
        for k, label in enumerate(labels[:_TRACES]):
            plot = self.addPlot(row=k, col=1)
            plot.setLabel("left", label)
            plot.getAxis("left").setWidth(48)
            plot.setXRange(-_SPAN, 0.0, padding=0)
            plot.getAxis("bottom").setStyle(showValues=k == min(len(labels), _TRACES) - 1)
            curves = [pg.PlotCurveItem(connect="finite") for _ in range(2)]
            for curve in curves:
                plot.addItem(curve)
            self._traces.append(plot)
            self._curves.append(curves)
        if self._theme is not None:
            self.set_theme(self._theme)

    def _draw_traces(
        self, labels: tuple[str, ...], found: _Rows, cursor: Series | None, true: _Rows | None
    ) -> None:
        theme, now = self._theme, float(found[0][-1])
        if theme is None:
            return
        columns = [labels.index(c) for c in self._labels]
        self._rows = np.column_stack([found[0] - now, found[1][:, columns]]).tolist()
        for k, (label, curves) in enumerate(zip(self._labels, self._curves, strict=False)):
            of_decoded, of_true = curves
            of_decoded.setPen(pg.mkPen(theme.condition(k), width=2))
            of_decoded.setData(*_trace(found, columns[k], now))
            of_true.setPen(pg.mkPen(theme.muted, width=1.5))
            if cursor is not None and true is not None and label in cursor.labels:
                of_true.setData(*_trace(true, cursor.labels.index(label), now))
            else:
                of_true.setData([], [])

    def _draw_cursor(self, labels: tuple[str, ...], true: _Rows) -> None:
        theme = self._theme
        if theme is None:
            return
        times, rows = true
        recent = times > times[-1] - _TAIL
        at = rows[recent][:, [labels.index(c) for c in _PLACE]].astype(float)
        if set(_TARGET) <= set(labels):  # at rest the cursor is put back, which is no movement
            at[np.isnan(rows[recent][:, labels.index(_TARGET[0])])] = np.nan
        self._path(0, at, theme.condition(0))
        self._path(1, np.empty((0, 2)), theme.muted)
        target = rows[-1, [labels.index(c) for c in _TARGET]] if _TARGET[0] in labels else None
        shown = target is not None and bool(np.isfinite(target).all())
        self._target.setData(
            [{"pos": target, "pen": pg.mkPen(theme.condition(1), width=2), "brush": None}]
            if shown
            else []
        )
        now = rows[-1, [labels.index(c) for c in _PLACE]]
        self._heads.setData([{"pos": now, "brush": theme.condition(0), "pen": None}])
        self._stretch(rows[:, [labels.index(c) for c in (*_PLACE, *_TARGET) if c in labels]])
        self.plane.setLabel("bottom", _PLACE[0])
        self.plane.setLabel("left", _PLACE[1])

    def _draw_plane(self, labels: tuple[str, ...], found: _Rows) -> None:
        theme = self._theme
        if theme is None or len(self._labels) < 2:
            return
        times, rows = found
        first = [labels.index(c) for c in self._labels[:2]]
        at = rows[times > times[-1] - _TAIL][:, first]
        self._path(0, at, theme.condition(0))
        self._path(1, np.empty((0, 2)), theme.muted)
        self._target.setData([])
        self._heads.setData([{"pos": at[-1], "brush": theme.condition(0), "pen": None}])
        self._stretch(rows[:, first])
        self.plane.setLabel("bottom", self._labels[0])
        self.plane.setLabel("left", self._labels[1])

    def _path(self, which: int, at: NDArray[Any], colour: str) -> None:
        self._paths[which].setPen(pg.mkPen(colour, width=2))
        self._paths[which].setData(*np.asarray(at, float).T)

    def _stretch(self, values: NDArray[np.float32]) -> None:
        """Widen the plane to what was seen; it never shrinks, so that movement stays comparable."""
        seen = np.abs(values[np.isfinite(values)])
        if len(seen):
            self._extent = max(self._extent, 1.15 * float(seen.max()))
        self.plane.setXRange(-self._extent, self._extent, padding=0)
        self.plane.setYRange(-self._extent, self._extent, padding=0)


def _newest(rows: Ring, span: float) -> _Rows:
    times, values = rows.newest(4096)
    if len(times):
        kept = (times > times[-1] - span) & (times <= times[-1])
        times, values = times[kept], values[kept]
    return times, values


def _trace(rows: _Rows, column: int, now: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return seconds before now and values, with breaks where stamps have gaps."""
    step = max(1, len(rows[0]) // _POINTS)
    x, y = rows[0][::step] - now, rows[1][::step, column].astype(np.float64)
    steps = np.diff(x)
    usual = float(np.median(steps)) if len(steps) else 0.0
    gaps = np.flatnonzero(steps > 2.5 * usual) + 1
    return np.insert(x, gaps, np.nan), np.insert(y, gaps, np.nan)
