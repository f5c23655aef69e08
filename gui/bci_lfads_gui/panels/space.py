"""State space: trajectories in two or three dimensions, on axes that stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtWidgets import QLabel, QPushButton, QSizePolicy

from bci_lfads_gui.model.projection import Frame, fit
from bci_lfads_gui.model.store import Store
from bci_lfads_gui.opengl import OpenGL
from bci_lfads_gui.palette import Theme
from bci_lfads_gui.panels.base import TRIALS, Panel, choice
from bci_lfads_gui.panels.paths import Path
from bci_lfads_gui.panels.space_flat import FlatView

_ENOUGH_TRIALS = 5
_ENOUGH_BINS = 300
_TAIL = 3.0  # seconds of a sliding window's trajectory
_PIECES = 12  # of a tail, each fainter than the one after it


class SpacePanel(Panel):
    """Trajectories on frozen axes: factors, or the principal components of the first trials.

    Parameters
    ----------
    opengl
        What draws three dimensions.
    """

    title = "State space"
    name = "space"
    every = 2

    def __init__(self, store: Store, opengl: OpenGL) -> None:
        super().__init__(store)
        label, self.dimensions = choice("", ("2-D", "3-D"), "Drag to turn in 3-D")
        self.bar.addWidget(self.dimensions)
        self.axes = []
        for name in ("x", "y", "z"):
            label, box = choice(name, (), f"Factor or principal component on {name}")
            box.setFixedWidth(84)
            self.bar.addWidget(label)
            self.bar.addWidget(box)
            self.axes.append(box)
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
        # Not hidden in two dimensions: the panels would move when the third is asked for.
        for widget in self._of_z:
            widget.setEnabled(False)
        self.finish_bar()
        self._opengl = opengl
        self.flat = FlatView()
        self.flat.turned.connect(self._redraw)
        self.deep: Any = None  # the OpenGL view, once it was asked for
        self.body.addWidget(self.flat, 1)
        self.note = QLabel()
        # A long reason must not make the panel wider.
        self.note.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.body.addWidget(self.note)
        self._frame: Frame | None = None
        self._version: object = None
        self._rows: list[list[Any]] = []

    @property
    def frame(self) -> Frame | None:
        """The frozen axes, once there are any."""
        return self._frame

    def watch(self, store: Store) -> None:
        """Show another store, on axes of its own."""
        super().watch(store)
        self._frame, self._version = None, None
        self._rows = []
        for view in self._views():
            view.clear_paths()
        self.note.setText("no factors yet")

    def set_theme(self, theme: Theme) -> None:
        """Take on other colours."""
        super().set_theme(theme)
        for view in self._views():
            view.set_theme(theme)
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
            widget.setEnabled(three)
        version = (count, boxes, three, self.kept.currentText())
        if version == self._version or self._frame is None:
            return
        self._version = version
        self._draw(self._frame, boxes, three)

    def table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """Return the trajectories that are shown."""
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
                    (t.values, t.label, 1.0 if k == n - 1 else 0.15 + 0.6 * (k + 1) / n)
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
        found = self._paths()
        self._rows, paths = [], []
        for k, (values, label, strength) in enumerate(found):
            at = frame.coordinates(values)[:, list(boxes)]
            self._rows += [[k, label, *row] for row in at.tolist()]
            paths.append(Path(at, self.store.conditions.get(label, 0), strength))
        why_not = self._opengl.why_not() if three else ""
        if three and not why_not and self.deep is None:
            self._make_deep()
        view = self.deep if three and self.deep is not None and not why_not else self.flat
        for other in self._views():
            other.setVisible(other is view)
        self.flat.deep = three
        names = [frame.axes()[box] for box in boxes]
        view.draw(paths, names, frame.low[list(boxes)], frame.high[list(boxes)])
        frozen = "axes frozen until ‘Fit axes’; ● newest bin"
        by = f"without OpenGL: {why_not}" if why_not else "OpenGL"
        self.note.setText(f"{by}; drag turns · {frozen}" if three else frozen)
        self.note.setToolTip(f"{self.note.text()}\n{self._opengl.renderer}".strip())

    def _make_deep(self) -> None:
        # Imported late: PyOpenGL need not be installed.
        from bci_lfads_gui.panels.space_deep import DeepView

        self.deep = DeepView()
        self.deep.set_theme(self.theme)
        self.body.insertWidget(self.body.indexOf(self.flat), self.deep, 1)

    def _views(self) -> list[Any]:
        return [self.flat] if self.deep is None else [self.flat, self.deep]

    def _redraw(self) -> None:
        self._version = None
