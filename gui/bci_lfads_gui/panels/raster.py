"""Every spike of every unit, with trials and markers; rates as a heat map beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from qtpy.QtCore import QRectF, Qt
from qtpy.QtWidgets import QLabel

from bci_lfads_gui.model.store import Store
from bci_lfads_gui.palette import Theme
from bci_lfads_gui.panels.base import Panel, bare_plot, choice, shared_prefix, style_plot

SPANS = ("2", "5", "10", "30", "60")
_LABELS = 12  # markers whose text is shown
_LONGEST = 14  # characters of it
_FROM, _STEP = 90, 45  # shade of one spike in a column, and what each further one adds


class RasterPanel(Panel):
    """Raster (units × time) and, beside it, the rates of the same units."""

    title = "Spikes and rates"
    name = "raster"

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        label, self.span = choice("last s", SPANS, "Seconds that the raster shows", at=2)
        self.bar.addWidget(label)
        self.bar.addWidget(self.span)
        self.of_rates = QLabel()
        self.of_rates.setToolTip("What the heat map shows, from dark to bright")
        self.bar.addStretch(1)
        self.bar.addWidget(self.of_rates)
        self.finish_bar()
        self.view = pg.GraphicsLayoutWidget()
        self.body.addWidget(self.view)
        self.plot = bare_plot(self.view, row=0, col=0)
        self.heat = bare_plot(self.view, row=0, col=1)
        self.view.ci.layout.setColumnStretchFactor(0, 3)
        self.view.ci.layout.setColumnStretchFactor(1, 1)
        self.plot.setToolTip("A row a unit, a dot a spike; shaded: the windows of trials")
        for plot in (self.plot, self.heat):
            plot.setMouseEnabled(x=False, y=True)
        self.plot.setLabel("left", "unit")
        self.plot.setLabel("bottom", "seconds before now")
        self.heat.setLabel("bottom", "seconds")
        for plot in (self.plot, self.heat):
            # Of one height, so that a unit's row is the same in both.
            plot.getAxis("bottom").setHeight(40)
        self.heat.getAxis("left").setStyle(showValues=False)
        self.heat.getAxis("left").setWidth(8)
        self.plot.sigYRangeChanged.connect(self._follow)
        self._image, self._heat_image = pg.ImageItem(), pg.ImageItem()
        self.plot.addItem(self._image)
        self.heat.addItem(self._heat_image)
        self._colours = pg.colormap.get("viridis").getLookupTable(nPts=256)
        self._markers = pg.PlotCurveItem(connect="pairs")
        self._aligns = pg.PlotCurveItem(connect="pairs")
        self.plot.addItem(self._markers)
        self.plot.addItem(self._aligns)
        self._texts = [pg.TextItem(anchor=(0, 0)) for _ in range(_LABELS)]
        for text in self._texts:
            self.plot.addItem(text, ignoreBounds=True)
        self._units: tuple[str, ...] = ()
        self._top = 1.0
        self._heat_version: object = None
        self._frame = 0
        self._table: NDArray[np.float64] = np.empty((0, 0))
        self._table_names: tuple[str, ...] = ()

    def set_theme(self, theme: Theme) -> None:
        """Take on other colours."""
        super().set_theme(theme)
        self.view.setBackground(theme.window)
        style_plot(self.plot, theme)
        style_plot(self.heat, theme)
        self._image.setLookupTable(theme.raster_table())
        self._image.setLevels((0, 255))
        self._markers.setPen(pg.mkPen(theme.marker, width=1))
        self._aligns.setPen(pg.mkPen(theme.align, width=2))
        for text in self._texts:
            text.setColor(theme.marker)
            text.fill = pg.mkBrush(theme.base)

    def watch(self, store: Store) -> None:
        """Show another store."""
        super().watch(store)
        self._top, self._heat_version = 1.0, None

    def refresh(self) -> None:
        """Draw the newest columns; the heat map every fifth time."""
        self._frame += 1
        store, span = self.store, float(self.span.currentText())
        with store.lock:
            spikes = store.spikes
            if spikes is None:
                self._image.clear()
                self._heat_image.clear()
                self._show_lines([], [], 1)
                return
            spikes.show(span)
            counts, end, width = spikes.raster.counts(), spikes.raster.end, spikes.raster.width
            labels = spikes.unit_labels
            now = store.now()
            markers = list(store.markers)
            trials = store.factors.trials if store.factors else None
            windows = trials.windows(end - span) if trials is not None else []
            offset = store.zero_offset()
        if labels != self._units:
            self._units = labels
            self._name_units(labels)
        if math.isnan(end):
            self._image.clear()
            self._show_lines([], [], len(labels))
            return
        now = end if math.isnan(now) else min(now, end)
        self._draw(counts, end, width, span, windows)
        self._image.setRect(QRectF(end - now - span, 0.0, span, len(labels)))
        self.plot.setXRange(-span, 0.0, padding=0)
        shown = [(t - now, label) for t, label in markers if -span < t - now <= 0]
        zeros = [start - offset - now for start, _, _ in windows]
        self._show_lines(shown, [z for z in zeros if z > -span], len(labels))
        if self._frame % 5 == 1:
            self._draw_heat()

    def table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """Return the spikes that are shown: LSL time and unit."""
        with self.store.lock:
            if self.store.spikes is None:
                return ("time_s", "unit"), ()
            times, units = self.store.spikes.spikes(float(self.span.currentText()))
            labels = self.store.spikes.unit_labels
        return ("time_s", "unit"), [
            (f"{t:.6f}", labels[u]) for t, u in zip(times.tolist(), units.tolist(), strict=True)
        ]

    def _draw(
        self,
        counts: NDArray[np.uint16],
        end: float,
        width: float,
        span: float,
        windows: list[tuple[float, float, str]],
    ) -> None:
        n_columns = counts.shape[1]
        ground = np.zeros(n_columns, np.uint8)
        for start, stop, _ in windows:
            first, last = (round((t - end + span) / width) for t in (start, stop))
            ground[max(0, first) : max(0, last)] = 1
        shade = np.minimum(counts, 4).astype(np.uint8)
        shade *= _STEP
        shade += _FROM - _STEP
        image = np.where(counts > 0, shade, ground)
        self._image.setImage(image, autoLevels=False, levels=(0, 255))

    def _show_lines(
        self, markers: list[tuple[float, str]], aligns: list[float], n_units: int
    ) -> None:
        for curve, times in ((self._markers, [t for t, _ in markers]), (self._aligns, aligns)):
            curve.setData(np.repeat(times, 2), np.tile((0.0, float(n_units)), len(times)))
        before = shared_prefix(tuple(self.store.conditions))
        newest = _apart(markers, 0.17 * float(self.span.currentText()))
        for text, (at, label) in zip(self._texts, newest, strict=False):
            text.setText(_short(label.removeprefix(before)))
            text.setPos(at, n_units)
            text.show()
        for text in self._texts[len(newest) :]:
            text.hide()

    def _follow(self) -> None:
        """Show the same units in the heat map."""
        self.heat.setYRange(*self.plot.getViewBox().viewRange()[1], padding=0)

    def _name_units(self, labels: tuple[str, ...]) -> None:
        step = max(1, math.ceil(len(labels) / 12))
        ticks = [(k + 0.5, labels[k]) for k in range(0, len(labels), step)]
        self.plot.getAxis("left").setTicks([ticks])
        self.plot.setYRange(0, len(labels), padding=0)
        self.plot.setLimits(yMin=0, yMax=len(labels))

    # Heat map

    def _draw_heat(self) -> None:
        with self.store.lock:
            rates, spikes = self.store.rates, self.store.spikes
            trials = rates.trials if rates else None
            rows = rates.rows if rates else None
            version: object = None
            if trials is not None and trials.total:
                version = ("trial", trials.version)
                if version == self._heat_version:
                    return
                trial = trials.newest(1)[0]
                start = self.store.zero_offset()
                values, x, wide = trial.values.T, start, trials.n_bins * trials.bin_width
                title = f"rates, trial {trial.number} {trial.label}"
                below = "seconds in trial"
            elif rows is not None and len(rows):
                width = self.store.about.bin_width if self.store.about else 0.01
                most = max(1, round(10.0 / width))
                values = rows.newest(most)[1]
                values = values[:: max(1, len(values) // 400)].T
                wide = min(most, len(rows)) * width
                x, title, below = -wide, "rates", "s before now"
            elif spikes is not None:
                values, _ = spikes.rate_map()
                values, x, wide = values[:, -21:-1], -10.0, 10.0
                title, below = "rates of spikes, by 0.5 s", "s before now"
            else:
                return
        self._heat_version = version
        finite = values[np.isfinite(values)]
        high = float(np.percentile(finite, 99)) if len(finite) else 1.0
        # Colours keep their meaning from moment to moment: the scale shrinks slowly.
        self._top = max(high, 0.97 * self._top, 1.0)
        shown = np.nan_to_num(values, nan=0.0, posinf=self._top)
        scaled = np.clip(shown * (255.0 / self._top), 0, 255).astype(np.uint8)
        self._heat_image.setImage(scaled, autoLevels=False, levels=(0, 255), lut=self._colours)
        self._heat_image.setRect(QRectF(x, 0.0, max(wide, 1e-3), values.shape[0]))
        self.heat.setXRange(x, x + wide, padding=0)
        self.heat.setLabel("bottom", below)
        self.of_rates.setText(f"{title} · 0 to {self._top:.0f} Hz")


def _short(label: str) -> str:
    """Return the end of a label: there is what tells one marker from another."""
    while len(label) > _LONGEST and "/" in label:
        label = label.partition("/")[2]
    return label if len(label) <= _LONGEST else f"…{label[1 - _LONGEST :]}"


def _apart(markers: list[tuple[float, str]], least: float) -> list[tuple[float, str]]:
    """Return the newest markers whose labels do not lie on each other."""
    kept: list[tuple[float, str]] = []
    for at, label in reversed(markers):
        if at > -0.6 * least or (kept and kept[-1][0] - at < least):
            continue
        kept.append((at, label))
        if len(kept) == _LABELS:
            break
    return kept
