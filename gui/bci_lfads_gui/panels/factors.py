"""Factors against time: the last trials over each other, or the trace of a sliding window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from qtpy.QtWidgets import QSizePolicy

from bci_lfads_gui.model.store import Store
from bci_lfads_gui.model.trials import Trial
from bci_lfads_gui.palette import Theme
from bci_lfads_gui.panels.base import (
    TRIALS,
    Panel,
    bare_plot,
    choice,
    legend,
    pen,
    rich_note,
    style_plot,
)

_MOST = 8  # factors side by side
_POINTS = 1500  # of a trace
_OLD = 2.0  # seconds; bins that are older are said to be
SPANS = ("2", "5", "10", "30")


class FactorsPanel(Panel):
    """A plot for each factor."""

    title = "Factors"
    name = "factors"

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        label, self.kept = choice("trials", TRIALS, "Trials over each other, older ones fainter", 1)
        self.bar.addWidget(label)
        self.bar.addWidget(self.kept)
        label, self.span = choice("or last s", SPANS, "Seconds of a sliding window's trace", 2)
        self.bar.addWidget(label)
        self.bar.addWidget(self.span)
        label, self.first = choice("from", ("0",), "First factor that is shown, of eight at most")
        self.bar.addWidget(label)
        self.bar.addWidget(self.first)
        self.finish_bar()
        self.view = pg.GraphicsLayoutWidget()
        self.body.addWidget(self.view)
        self.legend = rich_note(
            "no factors yet", "Conditions: the label of each trial's align marker"
        )
        # A long list of conditions must not make the panel wider.
        self.legend.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.body.addWidget(self.legend)
        self._plots: list[Any] = []
        self._curves: list[list[Any]] = []
        self._zero: list[Any] = []
        self._layout: tuple[object, ...] = ()
        self._version: object = None
        self._trials: list[Trial] = []
        self._trace: tuple[NDArray[np.float64], NDArray[np.float32]] | None = None
        self._said: tuple[str, str] = "", ""  # before and after the age of what is shown

    def watch(self, store: Store) -> None:
        """Show another store."""
        super().watch(store)
        self._version, self._layout = None, ()
        self._trials, self._trace = [], None
        self._plots, self._curves, self._zero = [], [], []
        self.view.clear()
        self.legend.setText("no factors yet")

    def set_theme(self, theme: Theme) -> None:
        """Take on other colours."""
        super().set_theme(theme)
        self.view.setBackground(theme.window)
        for plot, zero in zip(self._plots, self._zero, strict=True):
            style_plot(plot, theme)
            zero.setPen(pg.mkPen(theme.align, width=1))
        self._version = None

    def refresh(self) -> None:
        """Draw what is new."""
        self._draw()
        before, after = self._said
        text = f"{before}{self._ago()}{after}"
        if self._version is not None and self.legend.text() != text:
            self.legend.setText(text)

    def _ago(self) -> str:
        """Return how old the newest bin is, where that is worth a word."""
        if self._trials:
            width = self.store.about.bin_width if self.store.about else 0.0
            newest = self._trials[-1].start + len(self._trials[-1].values) * width
        elif self._trace is not None:
            newest = float(self._trace[0][-1])
        else:
            return ""
        age = self.store.now() - newest
        return f", {age:.0f} s ago" if age > _OLD else ""

    def _draw(self) -> None:
        with self.store.lock:
            series = self.store.factors
            if series is None:
                return
            n, trials, rows = len(series.labels), series.trials, series.rows
            kept, first = int(self.kept.currentText()), self.first.currentIndex()
            self._arrange(n, first, kept if trials is not None else 1)
            if trials is not None:
                version: object = ("trials", id(trials), trials.version, kept, first)
                if version == self._version:
                    return
                self._trials = trials.newest(kept)
                width, offset = trials.bin_width, self.store.zero_offset()
            elif rows is not None:
                version = ("rows", id(rows), rows.total, first, self.span.currentText())
                if version == self._version:
                    return
                times, values = rows.newest()
        self._version = version
        if trials is not None:
            self._draw_trials(first, width, offset)
        elif rows is not None:
            self._draw_trace(first, times, values)

    def table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """Return the bins that are shown."""
        series = self.store.factors
        labels = series.labels if series else ()
        if series is not None and series.rows is not None and self._trace is not None:
            times, values = self._trace
            return ("time_s", *labels), [
                (f"{t:.6f}", *map(_number, row))
                for t, row in zip(times.tolist(), values.tolist(), strict=True)
            ]
        rows = []
        width = self.store.about.bin_width if self.store.about else 0.0
        for trial in self._trials:
            for k, row in enumerate(trial.values.tolist()):
                at = f"{trial.start + (k + 0.5) * width:.6f}"
                rows.append((trial.number, trial.label, k, at, *map(_number, row)))
        return ("trial", "label", "bin", "time_s", *labels), rows

    def _arrange(self, n: int, first: int, n_curves: int) -> None:
        """Make a plot for each factor that is shown, and curves in it."""
        wanted = (n, first, n_curves)
        if wanted == self._layout:
            return
        self._layout = wanted
        starts = [str(k) for k in range(0, max(n, 1), _MOST)]
        if [self.first.itemText(k) for k in range(self.first.count())] != starts:
            self.first.blockSignals(True)
            self.first.clear()
            self.first.addItems(starts)
            self.first.setCurrentIndex(min(first, len(starts) - 1))
            self.first.blockSignals(False)
        self.view.clear()
        shown = range(first * _MOST, min(n, (first + 1) * _MOST))
        n_columns = 2 if len(shown) > 4 else 1
        self._plots, self._curves, self._zero = [], [], []
        for at, k in enumerate(shown):
            plot = bare_plot(self.view, row=at // n_columns, col=at % n_columns)
            plot.setLabel("left", f"f{k}")
            plot.getAxis("left").setWidth(44)
            if self._plots:
                plot.setXLink(self._plots[0])
            last = at + n_columns >= len(shown)
            plot.getAxis("bottom").setStyle(showValues=last)
            zero = pg.InfiniteLine(0.0, pen=pg.mkPen(self.theme.align, width=1))
            plot.addItem(zero, ignoreBounds=True)
            curves = [pg.PlotCurveItem(connect="finite") for _ in range(n_curves)]
            for curve in curves:
                plot.addItem(curve)
            self._plots.append(plot)
            self._curves.append(curves)
            self._zero.append(zero)
            style_plot(plot, self.theme)
        self._version = None

    def _draw_trials(self, first: int, width: float, offset: float) -> None:
        known = self.store.conditions
        n = len(self._trials)
        for place, curves in enumerate(self._curves):
            k = first * _MOST + place
            for age, curve in enumerate(curves):
                if age >= n:
                    curve.setData([], [])
                    continue
                trial = self._trials[n - 1 - age]
                x = offset + (np.arange(len(trial.values)) + 0.5) * width
                strength = 1.0 if age == 0 else 0.6 * (1 - age / len(curves)) + 0.15
                thick = 2.5 if age == 0 else 1.2
                of_condition = known.get(trial.label, 0)
                curve.setPen(pen(self.theme, of_condition, width=thick, strength=strength))
                curve.setZValue(-age)
                curve.setData(x, trial.values[:, k])
            self._zero[place].setVisible(True)
        if self._plots:
            self._plots[0].setXRange(offset, offset + self._length(width), padding=0.01)
            self._plots[-1].setLabel("bottom", "seconds from time zero of the trial")
        newest = self._trials[-1] if self._trials else None
        head = f"newest: trial {newest.number} (bold)" if newest else "no trial yet"
        self._said = head, f" &nbsp; {legend(known, self.theme)}"

    def _length(self, width: float) -> float:
        return width * max((len(t.values) for t in self._trials), default=1)

    def _draw_trace(
        self, first: int, times: NDArray[np.float64], values: NDArray[np.float32]
    ) -> None:
        span = float(self.span.currentText())
        if not len(times):
            return
        newest = times[-1]
        kept = (times > newest - span) & (times <= newest)
        times, values = times[kept], values[kept]
        self._trace = times, values
        step = max(1, len(times) // _POINTS)
        x = times[::step] - newest
        width = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
        # A gap in the stamps is a gap in the trace.
        gaps = np.flatnonzero(np.diff(x) > 1.5 * step * width + 1e-9) + 1
        x = np.insert(x, gaps, np.nan)
        for place, curves in enumerate(self._curves):
            y = np.insert(values[::step, first * _MOST + place].astype(float), gaps, np.nan)
            curves[0].setPen(pen(self.theme, 0, width=1.5))
            curves[0].setData(x, y)
            self._zero[place].setVisible(False)
        self._plots[0].setXRange(-span, 0.0, padding=0)
        self._plots[-1].setLabel("bottom", "seconds before the newest bin")
        self._said = f"sliding window, last {span:g} s", ""


def _number(value: float) -> str:
    return f"{value:.7g}"
