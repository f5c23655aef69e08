"""Decoded behaviour, over behaviour as it was where a stream has that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from bci_lfads_gui.model.agreement import agreement
from bci_lfads_gui.model.overlay import Stretch, cursor_of, stretches
from bci_lfads_gui.model.store import Series, Store
from bci_lfads_gui.palette import Theme
from bci_lfads_gui.panels.base import (
    TRIALS,
    Panel,
    choice,
    escape,
    legend,
    rich_note,
    shared_prefix,
)
from bci_lfads_gui.panels.behaviour_plots import BehaviourPlots

SPANS = ("2", "5", "10", "30", "60")
_AXES = 3
VIEWS = ("plane, traces", "traces", "plane")


class BehaviourPanel(Panel):
    """A trace for each channel that is decoded, and a plane.

    The plane shows the cursor and its target where the true behaviour has channels ``x`` and
    ``y``, else the first two channels that are decoded.
    """

    title = "Decoded behaviour"
    name = "behaviour"
    every = 2

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        label, self.view_of = choice(
            "", VIEWS, "Each channel against time; the cursor, or the first two channels as x, y"
        )
        self.bar.addWidget(self.view_of)
        label, self.kept = choice("trials", TRIALS, "Trials over each other, older ones fainter", 1)
        self.bar.addWidget(label)
        self.bar.addWidget(self.kept)
        label, self.span = choice(
            "or last s", SPANS, "Seconds of a sliding window that are shown and compared", at=1
        )
        self.bar.addWidget(label)
        self.bar.addWidget(self.span)
        self.finish_bar()
        self.view = BehaviourPlots()
        self.body.addWidget(self.view, 1)
        self.note = rich_note(
            "",
            "Over what is shown: Pearson's correlation r, and R², which is 1 where decoded and "
            "true are equal and 0 where their mean would do as well",
        )
        self.body.addWidget(self.note)
        self._version: object = None
        self._shown: list[Stretch] = []
        self._labels: tuple[str, ...] = ()

    def watch(self, store: Store) -> None:
        """Show another store."""
        super().watch(store)
        self._version, self._shown, self._labels = None, [], ()
        self.view.forget()
        self.note.clear()

    def set_theme(self, theme: Theme) -> None:
        """Take on other colours."""
        super().set_theme(theme)
        self.view.set_theme(theme)
        self._version = None

    def refresh(self) -> None:
        """Draw what is new."""
        with self.store.lock:
            decoded, truth = self.store.decoded, self.store.truth
            choices = (
                self.view_of.currentIndex(), self.span.currentText(), self.kept.currentText(),
            )  # fmt: skip
            version = (_version(decoded), _version(truth), choices)
            if version == self._version:
                return
            self._version = version
            offset, facts = self.store.zero_offset(), self.store.streams.get("behaviour")
            span, trials = float(self.span.currentText()), int(self.kept.currentText())
            shown = (
                []
                if decoded is None
                else stretches(decoded, truth, span=span, trials=trials, offset=offset)
            )
            cursor = cursor_of(truth)
        if decoded is None or not shown:
            rig = escape(self.store.rig or "RIG")
            self.note.setText(
                f"no decoder runs; <code>bci-lfads decode run DECODER {rig}</code> starts one"
            )
            return
        self._shown, self._labels = shown, decoded.labels
        in_trials = decoded.trials is not None
        known = self.store.conditions
        numbers = [known.get(s.label, 0) if in_trials else 1 for s in shown]
        # More channels than that, such as probabilities of classes, are no place.
        can_plane = 1 < len(decoded.labels) <= _AXES or cursor is not None
        view = VIEWS[self.view_of.currentIndex()]
        self.view.arrange(
            decoded.labels, trials if in_trials else 1, plane="plane" in view and can_plane,
            traces="traces" in view or not can_plane,
            below="seconds in trial" if in_trials else "seconds before newest",
        )  # fmt: skip
        width = decoded.trials.bin_width if decoded.trials else 0.0
        length = len(shown[-1].x) * width
        self.view.draw(
            shown, numbers, cursor, (offset, offset + length) if in_trials else (-span, 0.0)
        )
        away = facts.reason if facts is not None and facts.state != "open" else ""
        self._say(decoded.lag, away)

    def table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """Return the rows that are shown: decoded, and true at the same times."""
        header = ("trial", "label", "time_s", *self._labels, *(f"true {c}" for c in self._labels))
        rows: list[Sequence[Any]] = []
        for s in self._shown:
            there = np.isfinite(s.times) & np.isfinite(s.decoded).any(axis=1)
            values = np.column_stack([s.times, s.decoded, s.true])[there].tolist()
            rows += [("" if s.number is None else s.number, s.label, *row) for row in values]
        return header, rows

    def _say(self, lag: float, away: str) -> None:
        newest, theme = self._shown[-1], self.theme
        if newest.number is None:
            head = f'<span style="color:{theme.condition(1)}">━</span> decoded'
        else:
            named = legend(self.store.conditions, theme)
            head = f"newest: trial {newest.number} (bold) &nbsp; {named}"
        if before := shared_prefix(self._labels):
            head += f" · channels: {escape(before)}…"
        if lag:
            head += f", {1e3 * lag:g} ms after its bins"
        true = np.concatenate([s.true for s in self._shown])
        if not np.isfinite(true).any():
            why = f": {escape(away)}" if away else (
                " (where a stream has it: Streams, ‘Use selected’)"
            )  # fmt: skip
            self.note.setText(f"{head} · the true behaviour is not known{why}")
            return
        decoded = np.concatenate([s.decoded for s in self._shown])
        parts = []
        for k, label in enumerate(self._labels):
            r, r2 = agreement(decoded[:, k], true[:, k])
            if math.isfinite(r):
                parts.append(f"{escape(label)}: r <b>{r:.2f}</b>, R² <b>{r2:.2f}</b>")
        figures = " · ".join(parts) or "too little of both yet"
        self.note.setText(
            f'{head} &nbsp;<span style="color:{theme.text}">─</span> true · {figures}'
        )


def _version(series: Series | None) -> object:
    if series is None:
        return None
    trials = series.trials.version if series.trials is not None else 0
    return id(series), trials, series.rows.total if series.rows is not None else 0
