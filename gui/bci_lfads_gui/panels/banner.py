"""The state of the run at a glance: in colour, with its reason, and what runs."""

from __future__ import annotations

from dataclasses import replace

from qtpy.QtCore import Qt
from qtpy.QtGui import QFontMetrics
from qtpy.QtWidgets import QFrame, QGridLayout, QLabel, QSizePolicy

from bci_lfads.rig import TrialSettings
from bci_lfads_gui.model.health import Level, Light
from bci_lfads_gui.model.run_state import Message, RunState, run_state
from bci_lfads_gui.model.shadow import shadow_light
from bci_lfads_gui.model.store import Store
from bci_lfads_gui.palette import DARK, GLYPHS, Theme
from bci_lfads_gui.panels.base import escape

_LEAST_ROOM = 120  # pixels; a label that was never shown has no width yet


class Banner(QFrame):
    """What the loop says, whether it still says anything, and what it runs."""

    every = 6

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.setObjectName("banner")
        self.store = store
        self.theme: Theme = DARK
        self.shown = RunState(Level.OFF, "", "")
        self.state = QLabel()
        self.state.setObjectName("state")
        self.state.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.state.setMinimumWidth(170)
        self.state.setToolTip(
            "State of the loop, as its Status stream says it; in the colour of the worst light"
        )
        self.reason, self.facts, self.counts, self.drift, self.inputs = (QLabel() for _ in range(5))
        for label in (self.reason, self.facts, self.counts, self.drift, self.inputs):
            label.setTextFormat(Qt.TextFormat.RichText)
            font = label.font()
            font.setPointSizeF(0.95 * font.pointSizeF())
            label.setFont(font)
            # A long reason must not make the window wider than the screen.
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.facts.setWhatsThis("Engine, number format, model (SHA-256), window")
        self.counts.setToolTip(
            "Since the run began, as the loop counted: windows published, deadlines missed, "
            "windows dropped, spikes late, times that the spike stream was lost"
        )
        self.drift.setWhatsThis(
            "Units whose rate doubled or halved against the model's training data, or, where the "
            "model does not know it, against the first minute that this window saw"
        )
        self.inputs.setWhatsThis("The worst of the rig's streams; see the panel Streams")
        self.shadow = QLabel()
        self.shadow.setTextFormat(Qt.TextFormat.RichText)
        self.shadow.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.shadow.setWhatsThis(
            "What a second engine, in the shadow of the first, makes of windows"
        )
        grid = QGridLayout(self)
        grid.setContentsMargins(8, 4, 8, 4)
        grid.setHorizontalSpacing(14)
        grid.setVerticalSpacing(2)
        grid.addWidget(self.state, 0, 0, 2, 1)
        grid.addWidget(self.reason, 0, 1)
        grid.addWidget(self.facts, 1, 1)
        grid.addWidget(self.inputs, 0, 2)
        grid.addWidget(self.counts, 1, 2)
        grid.addWidget(self.drift, 0, 3)
        grid.addWidget(self.shadow, 2, 1, 1, 3)
        self.shadow.hide()
        self.heading = QLabel()
        self.heading.setTextFormat(Qt.TextFormat.RichText)
        self.heading.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        grid.addWidget(self.heading, 1, 3)
        for column, stretch in ((1, 11), (2, 8), (3, 8)):
            grid.setColumnStretch(column, stretch)

    def watch(self, store: Store) -> None:
        """Show another store."""
        self.store = store

    def set_theme(self, theme: Theme) -> None:
        """Take on other colours."""
        self.theme = theme

    def refresh(self, worst: Light | None = None) -> None:
        """Show the newest message.

        Parameters
        ----------
        worst
            The worst light of the rig's streams.
        """
        store = self.store
        with store.lock:
            message, about, problem = store.message, store.about, store.problem
            connected, age, here = store.status_open, store.status_age(), store.loop_here
            host, engine = store.loop_host, store.engine
        interval = about.rig.loop.status_interval if about else 0.5
        state = run_state(
            message, connected=connected, age=age, rig=store.rig, status_interval=interval
        )
        reason = state.reason or problem
        if state.level >= Level.OK and worst is not None and worst.level > state.level:
            # The largest light is the worst of all.
            state = replace(state, level=worst.level)
            reason = reason or worst.reason
        self.shown = state
        colour = self.theme.lights[state.level]
        self.state.setText(f"{GLYPHS[state.level]} {state.word}")
        # Not without a selector: its tool tip would look so, too.
        self.state.setStyleSheet(
            f"QLabel {{ background:{colour};color:{self.theme.on_light};border-radius:4px;"
            "font-size:17pt;font-weight:600;padding:4px 10px; }"
        )
        reason = reason or "all well"
        _put(self.reason, f"<b>{escape(_fitting(self.reason, reason, bold=True))}</b>", reason)
        if about is None:
            self.facts.setText(escape(problem) if store.rig else "")
        else:
            window = "trials" if isinstance(about.rig.window, TrialSettings) else "sliding"
            name, form = engine if engine[0] else (about.rig.engine, "")
            what = (
                f"{name}{f' {form}' if form else ''} · model {about.model_hash[:10]} · "
                f"{window} {about.n_bins} × {1e3 * about.bin_width:g} ms · "
                f"{len(about.unit_labels)} units, {about.n_factors} factors"
            )
            _put(self.facts, escape(_fitting(self.facts, what)), what)
        where = "this machine" if here else host
        at = "" if not store.rig else f"rig <b>{escape(store.rig)}</b>"
        at += f" on {escape(where)}" if where else ""
        if connected and age is not None and age > 3 * interval:
            at += f" · last word {age:.1f} s ago"
        _put(self.heading, at, at)
        if message is not None:
            self._count(message)
        else:
            self.counts.setText("")
        self._streams(worst)
        self._drift()
        light = shadow_light(message.content) if message is not None and connected else None
        self.shadow.setVisible(light is not None)
        if light is not None:
            self._light(self.shadow, light)

    def _count(self, message: Message) -> None:
        numbers = (
            ("this run: windows", message.count("windows"), False),
            ("missed", message.count("deadline_misses"), True),
            ("dropped", message.count("dropped"), True),
            ("late", message.count("spikes", "late"), True),
            ("losses", message.count("inlet", "losses"), True),
        )
        warn = self.theme.lights[Level.WARN]
        shown = [
            f'<span style="color:{warn}">{what} <b>{n}</b></span>' if bad else f"{what} {n}"
            for what, n, bad in numbers
            if n or not bad
        ]
        if len(shown) == 1:
            shown.append("nothing missed, late or lost")
        self.counts.setText(" · ".join(shown))

    def _streams(self, worst: Light | None) -> None:
        if worst is None or worst.level == Level.OFF:
            self.inputs.setText("")
            return
        light = Light(worst.level, worst.reason or "streams well")
        self._light(self.inputs, light)

    def _light(self, label: QLabel, light: Light) -> None:
        colour, words = self.theme.lights[light.level], f"{GLYPHS[light.level]} {light.reason}"
        shown = escape(_fitting(label, words))
        _put(label, f'<span style="color:{colour}">{shown}</span>', light.reason)

    def _drift(self) -> None:
        drift = self.store.drift()
        if drift is None:
            with self.store.lock:
                spikes = self.store.streams.get("spikes")
            there = spikes is not None and spikes.state == "open"
            words = "learning the first minute" if there else "no spikes to judge by"
            words = f"drift: {words}" if self.store.rig else ""
            _put(self.drift, words, words)
            return
        level = Level.BAD if drift.alarm else Level.WARN if drift.changed else Level.OK
        words = ("drift: " if drift.seconds else "") + drift.in_words()
        self._light(self.drift, Light(level if drift.seconds else Level.OFF, words))


def _fitting(label: QLabel, text: str, *, bold: bool = False) -> str:
    """Return as much of a text as the label has room for; its tool tip has all of it."""
    font = label.font()
    font.setBold(bold)
    room = max(label.width(), _LEAST_ROOM)
    return str(QFontMetrics(font).elidedText(text, Qt.TextElideMode.ElideRight, room))


def _put(label: QLabel, text: str, whole: str) -> None:
    """Show a text; its tool tip has the whole of it, and what it is."""
    if label.text() != text:
        label.setText(text)
    tip = "\n".join(filter(None, (whole, label.whatsThis())))
    if label.toolTip() != tip and "<" not in tip:
        label.setToolTip(tip)
