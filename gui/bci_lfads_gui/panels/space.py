"""State space: trajectories in two or three dimensions, on axes that stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QLabel, QPushButton, QStackedWidget, QWidget

from bci_lfads_gui.model.projection import Frame, fit, rotate
from bci_lfads_gui.model.store import Store
from bci_lfads_gui.palette import Theme
from bci_lfads_gui.panels.base import TRIALS, Panel, choice, conditions, style_plot
from bci_lfads_gui.panels.behaviour import BehaviourView

_ENOUGH_TRIALS = 5
_ENOUGH_BINS = 300
_TAIL = 3.0  # seconds of a sliding window's trajectory
_PIECES = 12  # of a tail, each fainter than the one after it
_TURN = 0.5  # degrees a pixel


class SpacePanel(Panel):
    """Trajectories on frozen axes: factors, or the principal components of the first trials."""

    title = "State space"
    name = "space"
    every = 2

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        label, self.shown = choice(
            "", ("factors", "behaviour"), "Factors, or decoded behaviour against the true one"
        )
        self.bar.addWidget(self.shown)
        label, self.dimensions = choice("", ("2-D", "3-D"), "Drag to turn in 3-D")
        self.bar.addWidget(self.dimensions)
        self.axes = []
        self._of_factors: list[QWidget] = [self.dimensions]
        for name in ("x", "y", "z"):
            label, box = choice(name, (), f"Factor or principal component on {name}")
            box.setFixedWidth(84)
            self.bar.addWidget(label)
            self.bar.addWidget(box)
            self.axes.append(box)
            self._of_factors += [label, box]
        self._of_z = (label, box)
        label, self.kept = choice("trials", TRIALS, "Trials that are shown, older ones fainter", 1)
        self.bar.addWidget(label)
        self.bar.addWidget(self.kept)
        self.fit_button = QPushButton("Fit axes")
        self.fit_button.setToolTip(
            "Fit principal components and ranges to the trials of now; until then axes stay frozen"
        )
        self.fit_button.clicked.connect(self.fit_now)
        self.bar.addWidget(self.fit_button)
        self._of_factors += [label, self.kept, self.fit_button]
        for widget in self._of_z:
            widget.hide()
        self.finish_bar()
        self.view = _Turnable()
        self.view.turned.connect(self._turn)
        self.behaviour = BehaviourView()
        self._views = QStackedWidget()
        self._views.addWidget(self.view)
        self._views.addWidget(self.behaviour)
        self.body.addWidget(self._views)
        self.plot = self.view.addPlot(row=0, col=0)
        self.plot.setMenuEnabled(False)
        self.plot.hideButtons()
        self.note = QLabel()
        self.body.addWidget(self.note)
        self._curves: list[Any] = []
        self._heads = pg.ScatterPlotItem(size=9, pxMode=True)
        self.plot.addItem(self._heads)
        self._box = pg.PlotCurveItem(connect="pairs")
        self.plot.addItem(self._box)
        self._frame: Frame | None = None
        self._version: object = None
        self._known: dict[str, int] = {}
        self._azimuth, self._elevation = 35.0, 25.0
        self._rows: list[list[Any]] = []

    @property
    def frame(self) -> Frame | None:
        """The frozen axes, once there are any."""
        return self._frame

    def watch(self, store: Store) -> None:
        """Show another store, on axes of its own."""
        super().watch(store)
        self._frame, self._version, self._known = None, None, {}
        self._rows = []
        for curve in self._curves:
            curve.setData([], [])
        self._heads.setData([])
        self.behaviour.forget()
        self.note.setText("no factors yet")

    def set_theme(self, theme: Theme) -> None:
        """Take on other colours."""
        super().set_theme(theme)
        self.view.setBackground(theme.window)
        self.behaviour.set_theme(theme)
        style_plot(self.plot, theme)
        self._box.setPen(pg.mkPen(theme.line, width=1))
        self._version = None

    def fit_now(self) -> None:
        """Fit the axes to what is kept now, and freeze them."""
        points = self._points()
        frame = fit(points) if points is not None else None
        if frame is None:
            self.note.setText("too few bins to fit axes to")
            return
        self._frame, self._version = frame, None
        names = frame.axes()
        n_factors = len(frame.mean)
        defaults = [n_factors + k if n_factors + k < len(names) else k for k in range(3)]
        for box, default in zip(self.axes, defaults, strict=True):
            had = box.currentIndex() if box.count() == len(names) else default
            box.blockSignals(True)
            box.clear()
            box.addItems([name.partition(" (")[0] for name in names])
            box.setCurrentIndex(had)
            box.blockSignals(False)

    def refresh(self) -> None:
        """Draw what is new; fit the axes once there is enough."""
        of_behaviour = self.shown.currentIndex() == 1
        if self._views.currentIndex() != of_behaviour:
            self._views.setCurrentIndex(int(of_behaviour))
            for widget in self._of_factors:
                widget.setVisible(not of_behaviour)
            self._version = None
        if of_behaviour:
            self.behaviour.show_store(self.store)
            self.note.setText(self.behaviour.note)
            return
        with self.store.lock:
            series = self.store.factors
            if series is None:
                return
            count = (
                series.trials.version if series.trials else series.rows.total if series.rows else 0
            )
            total = series.trials.total if series.trials else 0
            enough = total >= _ENOUGH_TRIALS or (series.rows is not None and count >= _ENOUGH_BINS)
        if self._frame is not None and len(self._frame.mean) != len(series.labels):
            self._frame = None
        if self._frame is None:
            if not enough:
                self.note.setText(f"axes are fitted after {_ENOUGH_TRIALS} trials, or 3 s")
                return
            self.fit_now()
        boxes = tuple(box.currentIndex() for box in self.axes)
        three = self.dimensions.currentIndex() == 1
        for widget in self._of_z:
            widget.setVisible(three)
        turned = (self._azimuth, self._elevation) if three else ()
        version = (count, boxes, three, turned, self.kept.currentText())
        if version == self._version or self._frame is None:
            return
        self._version = version
        self._draw(self._frame, boxes, three)

    def table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """Return the trajectories that are shown."""
        if self._views.currentIndex() == 1:
            return self.behaviour.table()
        names = [box.currentText() for box in self.axes]
        return ("path", "label", *names), self._rows

    def _points(self) -> NDArray[np.float32] | None:
        with self.store.lock:
            series = self.store.factors
            if series is None:
                return None
            if series.trials is not None:
                trials = series.trials.newest(series.trials.kept)
                return np.concatenate([t.values for t in trials]) if trials else None
            return series.rows.newest()[1] if series.rows is not None else None

    def _paths(self) -> list[tuple[NDArray[np.float32], str, float]]:
        """Return points, label and strength (0 to 1) of each path, oldest first."""
        with self.store.lock:
            series = self.store.factors
            if series is None:
                return []
            if series.trials is not None:
                kept = int(self.kept.currentText())
                trials = series.trials.newest(kept)
                n = len(trials)
                return [
                    (t.values, t.label, 1.0 if k == n - 1 else 0.1 + 0.5 * (k + 1) / n)
                    for k, t in enumerate(trials)
                ]
            if series.rows is None:
                return []
            width = self.store.about.bin_width if self.store.about else 0.01
            values = series.rows.newest(max(2, round(_TAIL / width)))[1]
        step = max(1, len(values) // 600)
        pieces = np.array_split(values[::step], _PIECES)
        joined = [
            np.concatenate([piece, following[:1]])
            for piece, following in zip(pieces, [*pieces[1:], pieces[-1][-1:]], strict=True)
        ]
        return [(p, "", (k + 1) / _PIECES) for k, p in enumerate(joined) if len(p) > 1]

    def _draw(self, frame: Frame, boxes: tuple[int, ...], three: bool) -> None:
        paths = self._paths()
        conditions([label for _, label, _ in paths], self._known)
        names = frame.axes()
        low, high = frame.low[list(boxes)], frame.high[list(boxes)]
        while len(self._curves) < len(paths):
            curve = pg.PlotCurveItem(connect="finite", antialias=True)
            self.plot.addItem(curve)
            self._curves.append(curve)
        self._rows, heads = [], []
        for k, curve in enumerate(self._curves):
            if k >= len(paths):
                curve.setData([], [])
                continue
            points, label, strength = paths[k]
            at = frame.coordinates(points)[:, list(boxes)]
            self._rows += [[k, label, *row] for row in at.tolist()]
            flat = rotate(_unit(at, low, high), self._azimuth, self._elevation) if three else at
            colour = pg.mkColor(self.theme.condition(self._known.get(label, 0)))
            colour.setAlphaF(strength)
            curve.setPen(pg.mkPen(colour, width=2.5 if strength == 1.0 else 1.2))
            curve.setZValue(k)
            curve.setData(flat[:, 0], flat[:, 1])
            if strength == 1.0:
                heads.append({"pos": flat[-1, :2], "brush": colour, "pen": None})
        self._heads.setData(heads)
        self._heads.setZValue(len(paths) + 1)
        if three:
            self._show_box()
            self.plot.setXRange(-0.9, 0.9, padding=0)
            self.plot.setYRange(-0.9, 0.9, padding=0)
        else:
            self._box.setData([], [])
            self.plot.setXRange(low[0], high[0], padding=0)
            self.plot.setYRange(low[1], high[1], padding=0)
        self.plot.setAspectLocked(three)
        for side in ("bottom", "left"):
            self.plot.showAxis(side, not three)
        self.plot.setMouseEnabled(x=not three, y=not three)
        self.plot.setLabel("bottom", names[boxes[0]])
        self.plot.setLabel("left", names[boxes[1]])
        self.note.setText(
            "axes frozen; drag to turn" if three else "axes frozen until ‘Fit axes’; ● newest bin"
        )

    def _show_box(self) -> None:
        corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * 0.5
        ends = [
            (corners[i], corners[j])
            for i in range(8)
            for j in range(i + 1, 8)
            if np.abs(corners[i] - corners[j]).sum() == 1
        ]
        lines = rotate(np.array(ends).reshape(-1, 3), self._azimuth, self._elevation)
        self._box.setData(lines[:, 0], lines[:, 1])

    def _turn(self, right: float, down: float) -> None:
        if self.dimensions.currentIndex() == 1:
            self._azimuth = (self._azimuth - _TURN * right) % 360
            self._elevation = float(np.clip(self._elevation + _TURN * down, -90, 90))


class _Turnable(pg.GraphicsLayoutWidget):
    """A view that says how it is dragged."""

    turned = Signal(float, float)

    def __init__(self) -> None:
        super().__init__()
        self._from: Any = None

    def mousePressEvent(self, event: Any) -> None:
        self._from = event.pos() if event.button() == Qt.MouseButton.LeftButton else None
        super().mousePressEvent(event)

    def mouseMoveEvent(self, event: Any) -> None:
        if self._from is not None and event.buttons() & Qt.MouseButton.LeftButton:
            moved = event.pos() - self._from
            self._from = event.pos()
            self.turned.emit(float(moved.x()), float(moved.y()))
        super().mouseMoveEvent(event)


def _unit(
    points: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return points in a cube from -1/2 to 1/2."""
    return (points - low) / (high - low) - 0.5
