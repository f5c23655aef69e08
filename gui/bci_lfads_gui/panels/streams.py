"""All streams with a light each; those of the rig first, missing ones red."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QBrush, QColor
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
)

from bci_lfads_gui.model.health import Level, Light, StreamFacts, judge
from bci_lfads_gui.model.store import OnNetwork, Store
from bci_lfads_gui.palette import GLYPHS
from bci_lfads_gui.panels.base import Panel

_ROLES = ("spikes", "markers", "factors", "rates", "status", "latency", "decoded", "behaviour")
_COLUMNS = ("", "stream", "as", "Hz", "age s", "notes", "gap s", "clock ms", "from")
_NOTES = _COLUMNS.index("notes")
_SPARE = ("from", "clock ms", "gap s", "as", "age s")  # left out in turn where it is narrow
_NOTES_LEAST = 24  # characters of notes that are to be seen
_TIPS = (
    "● well, ▲ look at it, ✖ not well, ○ not there and not needed",
    "Name on the network",
    "What it is used as here",
    "Samples per second over 5 s, and the nominal rate where there is one",
    "Seconds since the newest sample came",
    "Why the light is not green; of spikes, what the loop counted within the last minute",
    "Longest time without a sample within the last minute, seconds",
    "Offset of the stream's clock to this machine's, milliseconds",
    "The machine that sends it",
)


class StreamsPanel(Panel):
    """Stream picker: what the rig needs, how it does, and what else is on the network."""

    title = "Streams"
    name = "streams"
    every = 8

    picked = Signal(object)
    """A stream (`OnNetwork`) that is to be used: spikes to watch, or a rig to attach to."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._others: list[OnNetwork] = []
        self._shown: list[list[str]] = []
        # Columns only grow, and stay once they were needed: what is read does not move.
        self._widths = [0] * len(_COLUMNS)
        self._used = [False] * len(_COLUMNS)
        self.use = QPushButton("Use selected")
        self.use.setToolTip(
            "Watch the selected stream's spikes in the raster (this window only; the loop keeps "
            "its own), or attach to the rig that publishes it"
        )
        self.use.clicked.connect(self._use)
        self.bar.addWidget(self.use)
        self.finish_bar()
        self.view = QTableWidget(0, len(_COLUMNS))
        self.view.setHorizontalHeaderLabels(list(_COLUMNS))
        for k, tip in enumerate(_TIPS):
            self.view.horizontalHeaderItem(k).setToolTip(tip)
        self.view.verticalHeader().hide()
        self.view.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 6)
        self.view.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.view.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.view.setShowGrid(False)
        font = self.view.font()
        font.setPointSizeF(0.9 * font.pointSizeF())
        self.view.setFont(font)
        self.view.horizontalHeader().setFont(font)
        self.view.setWordWrap(False)
        header = self.view.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        # Notes take what is left and are cut short; the whole is in each row's tool tip.
        header.setSectionResizeMode(_NOTES, QHeaderView.ResizeMode.Stretch)
        header.setMinimumSectionSize(16)
        self.view.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.view.itemDoubleClicked.connect(lambda _item: self._use())
        self.body.addWidget(self.view)

    def watch(self, store: Store) -> None:
        """Show another store, with columns as wide as it needs."""
        super().watch(store)
        self._widths = [0] * len(_COLUMNS)
        self._used = [False] * len(_COLUMNS)

    def refresh(self) -> None:
        """Show the lights."""
        with self.store.lock:
            found = self.store.found
        lights = self._lights()
        used = {facts.name for facts, _ in lights if facts.state == "open"}
        self._others = pickable(found, used, self.store.rig)
        rows: list[tuple[Light, list[str]]] = [
            (light, _row(facts, light)) for facts, light in lights
        ]
        nothing = Light(Level.OFF)
        rows += [
            (nothing, ["", s.name, _kind(s), f"{s.rate:g}" if s.rate else "", "",
                       _what_for(s, self.store.rig), "", "", s.hostname])
            for s in self._others
        ]  # fmt: skip
        self._fill(rows)

    def worst(self) -> Light:
        """Return the worst light of the rig's streams."""
        # Of lights that are equally bad the first one counts: what comes in, before what goes out.
        lights = self._lights()
        if not lights:
            return Light(Level.OFF)
        facts, light = max(lights, key=lambda pair: pair[1].level)
        return Light(light.level, f"{facts.role}: {light.reason}" if light.reason else "")

    def _lights(self) -> list[tuple[StreamFacts, Light]]:
        """Return the rig's streams, in their order, with their lights."""
        store = self.store
        with store.lock:
            streams, about = dict(store.streams), store.about
            loop = store.loop_state()
        interval = about.rig.loop.status_interval if about else 0.5
        return [
            (streams[role], judge(streams[role], status_interval=interval, loop=loop))
            for role in _ROLES
            if role in streams
        ]

    def table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """Return the rows that are shown."""
        return ("light", *_COLUMNS[1:]), self._shown

    def _fill(self, rows: list[tuple[Light, list[str]]]) -> None:
        if self.view.rowCount() != len(rows):
            self.view.setRowCount(len(rows))
        self._shown = []
        for y, (light, texts) in enumerate(rows):
            colour = self.theme.lights[light.level]
            texts = [GLYPHS[light.level], *texts[1:]]
            self._shown.append([light.level.name.lower(), *texts[1:]])
            whole = "\n".join(
                f"{name or 'light'}: {text}"
                for name, text in zip(_COLUMNS, self._shown[-1], strict=True)
                if text
            )
            for x, text in enumerate(texts):
                item = self.view.item(y, x)
                if item is None:
                    item = QTableWidgetItem()
                    if x in (3, 4, 6, 7):
                        item.setTextAlignment(
                            Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                        )
                    self.view.setItem(y, x, item)
                if item.text() != text:
                    item.setText(text)
                item.setToolTip(whole)
                lit = x in (0, _NOTES) or (x == 1 and light.level == Level.BAD)
                muted = light.level == Level.OFF
                tone = colour if lit else self.theme.muted if muted else self.theme.text
                item.setForeground(QBrush(QColor(tone)))

        self._leave_out()

    def _leave_out(self) -> None:
        """Leave out columns that are empty, and the least telling until notes can be read."""
        view = self.view
        room = view.viewport().width() - _NOTES_LEAST * view.fontMetrics().averageCharWidth()
        header = view.horizontalHeader()
        for k in range(len(_COLUMNS)):
            hint = max(view.sizeHintForColumn(k), header.sectionSizeHint(k)) + 1
            self._widths[k] = max(self._widths[k], hint)
            self._used[k] = self._used[k] or any(row[k] for row in self._shown)
            if k != _NOTES and header.sectionSize(k) != self._widths[k]:
                header.resizeSection(k, self._widths[k])
        needed = sum(self._widths) - self._widths[_NOTES]
        for name in _SPARE:
            column = _COLUMNS.index(name)
            hidden = needed > room or not self._used[column]
            needed -= self._widths[column] if hidden else 0
            if view.isColumnHidden(column) != hidden:
                view.setColumnHidden(column, hidden)

    def _use(self) -> None:
        row = self.view.currentRow() - (self.view.rowCount() - len(self._others))
        if 0 <= row < len(self._others) and _rig_of(self._others[row]) != (self.store.rig or None):
            self.picked.emit(self._others[row])


def _row(facts: StreamFacts, light: Light) -> list[str]:
    there = facts.state == "open"
    rate = "" if not there or math.isnan(facts.rate) else f"{facts.rate:.4g}"
    if there and facts.nominal:
        rate += f" / {facts.nominal:g}"
    counts = ", ".join(f"{n} {what}" for what, n in facts.counts.items() if n)
    if there and facts.role == "spikes":
        counts = f"in 1 min: {counts or '0 late, unknown, saturated'}"
    return [
        "",
        facts.name,
        facts.role,
        rate,
        "" if facts.age is None else f"{facts.age:.1f}",
        light.reason or counts,
        f"{facts.gap:.1f}" if there else "",
        f"{1e3 * facts.correction:+.2f}" if there else "",
        facts.hostname,
    ]


def _rig_of(stream: OnNetwork) -> str:
    """Return the rig that publishes a stream; empty for another program's."""
    return stream.source_id.split(":", 2)[1] if stream.source_id.startswith("bci-lfads:") else ""


def pickable(found: Sequence[OnNetwork], used: set[str], rig: str) -> list[OnNetwork]:
    """Return what is not in use, this rig's first.

    Of another rig that is its Status, by which it can be attached to, and behaviour, which can be
    compared with.
    """

    def wanted(stream: OnNetwork) -> bool:
        by_it = stream.name.endswith(" Status") or stream.type == "Behaviour"
        return stream.name not in used and (by_it or _rig_of(stream) in ("", rig))

    return sorted(filter(wanted, found), key=lambda stream: _rig_of(stream) != rig)


def _what_for(stream: OnNetwork, rig: str) -> str:
    of = _rig_of(stream)
    if of and of == rig:
        return "notes of this window" if stream.name.endswith(" Annotations") else "of this rig"
    return "another rig, to attach to" if of and stream.type != "Behaviour" else "not used here"


def _kind(stream: OnNetwork) -> str:
    rig = _rig_of(stream)
    return f"of rig {rig}" if rig else stream.type or "signal"
