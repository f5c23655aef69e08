"""How long it takes from a window's end to its factors, and where the time goes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import Qt

from bci_lfads_gui.model.health import Level
from bci_lfads_gui.model.latency import PARTS, LatencySummary, histogram, summarise
from bci_lfads_gui.model.store import Store
from bci_lfads_gui.palette import Theme
from bci_lfads_gui.panels.base import Panel, bare_plot, choice, rich_note, style_plot

WINDOWS = ("100", "500", "4096")


class LatencyPanel(Panel):
    """Histogram against the deadline, and the parts that a window's latency is made of."""

    title = "Latency"
    name = "latency"
    every = 10

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        label, self.most = choice("windows", WINDOWS, "Newest windows that are counted", 1)
        self.bar.addWidget(label)
        self.bar.addWidget(self.most)
        self.finish_bar()
        self.numbers = rich_note(
            "no window yet",
            "From the end of a window to its factors pushed, milliseconds (from its closing, where "
            "the stamps are on the clock of the spike stream)",
        )
        self.body.addWidget(self.numbers)
        self.view = pg.GraphicsLayoutWidget()
        self.body.addWidget(self.view, 1)
        self.plot = bare_plot(self.view, row=0, col=0)
        self.plot.setMouseEnabled(x=False, y=False)
        self.plot.setLabel("bottom", "window's end to pushed, ms")
        self.plot.setLabel("left", "windows")
        self._bars = pg.BarGraphItem(x=[], height=[], width=1.0)
        self.plot.addItem(self._bars)
        self._deadline = pg.InfiniteLine(0.0, label="deadline", labelOpts={"position": 0.9})
        self.plot.addItem(self._deadline, ignoreBounds=True)
        self._median = pg.InfiniteLine(0.0)
        self.plot.addItem(self._median, ignoreBounds=True)
        self.parts = rich_note(
            "",
            "Medians. hold-off: waiting for late spikes (a setting of the rig); LSL in, binning: "
            "beyond it, until the window was closed; queue: waiting for the engine; publish: "
            "handing to LSL, to this window: LSL's way here and the 10 ms at which it looks",
        )
        self.body.addWidget(self.parts)
        self._seen: object = None
        self._rows: list[list[Any]] = []

    def watch(self, store: Store) -> None:
        """Show another store."""
        super().watch(store)
        self._seen = None

    def set_theme(self, theme: Theme) -> None:
        """Take on other colours."""
        super().set_theme(theme)
        self.view.setBackground(theme.window)
        style_plot(self.plot, theme)
        self._bars.setOpts(brush=theme.condition(0), pen=pg.mkPen(theme.window, width=0.5))
        self._deadline.setPen(
            pg.mkPen(theme.lights[Level.BAD], width=2, style=Qt.PenStyle.DashLine)
        )
        self._deadline.label.setColor(theme.lights[Level.BAD])
        self._median.setPen(pg.mkPen(theme.text, width=1))
        self._seen = None

    def refresh(self) -> None:
        """Draw the newest windows."""
        store = self.store
        with store.lock:
            seen = (store.latency.total, self.most.currentText(), store.lsl_time, id(store))
            if seen == self._seen:
                return
            ends, rows = store.latency.newest(int(self.most.currentText()))
            rig = store.about.rig if store.about else None
            message, lsl_time = store.message, store.lsl_time
        self._seen = seen
        deadline = rig.loop.deadline if rig else 0.05
        hold_off = rig.binning.hold_off if rig else 0.0
        summary = summarise(ends, rows, deadline=deadline, hold_off=hold_off, lsl_time=lsl_time)
        self._rows = np.column_stack([ends, rows, summary.total]).tolist()
        edges, counts = histogram(summary.total, deadline)
        centres = 5e2 * (edges[1:] + edges[:-1])
        self._bars.setOpts(x=centres, height=counts, width=1e3 * (edges[1] - edges[0]))
        self._deadline.setPos(1e3 * deadline)
        self._median.setPos(0.0 if math.isnan(summary.median) else 1e3 * summary.median)
        self.plot.setXRange(0.0, 1e3 * float(edges[-1]), padding=0)
        self.plot.setYRange(0.0, max(1.0, 1.1 * float(counts.max())), padding=0)
        of_run = message.count("deadline_misses") if message else 0
        self._say(summary, deadline, of_run)

    def table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """Return the windows that are counted, in seconds."""
        header = ("window_end", "last_spike", "window_closed", "submitted", "done", "pushed")
        return (*header, "received", "latency"), self._rows

    def _say(self, summary: LatencySummary, deadline: float, of_run: int) -> None:
        if not summary.n:
            self.numbers.setText("no window yet")
            self.parts.setText("")
            return
        bad = self.theme.lights[Level.BAD if of_run else Level.OK]
        self.numbers.setText(
            f"p50 <b>{_ms(summary.median)}</b> &nbsp; p99 <b>{_ms(summary.p99)}</b> &nbsp; max "
            f"<b>{_ms(summary.maximum)}</b> ms<br>"
            f'<span style="color:{bad}">later than {1e3 * deadline:g} ms: <b>{summary.misses}</b> '
            f"of {summary.n}, <b>{of_run}</b> in this run</span>"
        )
        parts = [f"{name} <b>{_ms(summary.parts[name])}</b>" for name in PARTS]
        parts.append(f"to this window <b>{_ms(summary.received)}</b>")
        self.parts.setText(" · ".join(parts) + " ms")


def _ms(seconds: float) -> str:
    return "–" if math.isnan(seconds) else f"{1e3 * seconds:.2f}"
