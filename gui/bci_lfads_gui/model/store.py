"""All that the window knows of one rig; written by readers, read by Qt's timer, under one lock."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci_lfads.about import About
from bci_lfads.drift import Drift, compare
from bci_lfads.rig import TrialSettings, masked_units
from bci_lfads_gui.model.health import StreamFacts
from bci_lfads_gui.model.latency import COLUMNS
from bci_lfads_gui.model.ring import Ring
from bci_lfads_gui.model.run_state import Message
from bci_lfads_gui.model.spikes import SpikeStore
from bci_lfads_gui.model.trials import TrialStore

MARKERS_KEPT = 2000
WINDOWS_KEPT = 4096
SLIDING_KEPT = 60.0  # seconds
CONDITIONS_KEPT = 64
_BASELINE = 60.0  # seconds that stand in for the model's training rates, where it has none


@dataclass(frozen=True)
class OnNetwork:
    """A stream that is on the network, by its announcement alone."""

    name: str
    type: str
    source_id: str
    hostname: str
    uid: str
    n_channels: int
    rate: float

    def properties(self) -> dict[str, str]:
        """Return what LSL finds this very stream by, a new one in its place too."""
        known = {
            "name": self.name, "type": self.type, "hostname": self.hostname,
            "source_id": self.source_id,
        }  # fmt: skip
        return {key: value for key, value in known.items() if value}


@dataclass
class Series:
    """A stream of bins: trials, or rows of a sliding window; one of the two is there."""

    labels: tuple[str, ...]
    trials: TrialStore | None = None
    rows: Ring | None = None
    lag: float = 0.0
    """Seconds by which what it tells follows its stamps."""

    @classmethod
    def of(cls, labels: tuple[str, ...], about: About) -> Series:
        """Return an empty one for a run's streams."""
        if about.hop is None:
            return cls(labels, trials=TrialStore(about.n_bins, len(labels), about.bin_width))
        return cls(labels, rows=Ring(math.ceil(SLIDING_KEPT / about.bin_width), len(labels)))

    def add(self, stamps: NDArray[np.float64], samples: Any) -> None:
        """Take samples in; whoever calls it holds the store's lock."""
        if self.trials is not None:
            self.trials.add(stamps, samples)
        elif self.rows is not None:
            self.rows.extend(stamps, samples)


@dataclass
class Store:
    """What is known; whoever reads or writes more than one value holds `lock`.

    Attributes
    ----------
    rig
        Name of the rig that is watched; empty for none.
    about
        What runs, or would run; None while that is not known.
    problem
        Why `about` is not known, in words.
    clock
        The LSL clock, seconds.
    """

    rig: str = ""
    clock: Callable[[], float] = field(default=lambda: 0.0)
    about: About | None = None
    problem: str = ""
    lock: threading.RLock = field(default_factory=threading.RLock)
    spikes: SpikeStore | None = None
    factors: Series | None = None
    rates: Series | None = None
    decoded: Series | None = None
    """Behaviour that a decoder publishes."""
    truth: Series | None = None
    """Behaviour as it was, in rows, where a stream has it: `<rig> Cursor`, or another."""
    latency: Ring = field(default_factory=lambda: Ring(WINDOWS_KEPT, len(COLUMNS), np.float64))
    markers: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=MARKERS_KEPT))
    conditions: dict[str, int] = field(default_factory=dict)
    """A number for each label of a trial, by which all panels choose its colour."""
    message: Message | None = None
    message_at: float = math.nan
    loop_host: str = ""
    """Machine of the loop."""
    loop_here: bool = False
    engine: tuple[str, str] = ("", "")
    """Name and number format of the loop's engine."""
    status_open: bool = False
    streams: dict[str, StreamFacts] = field(default_factory=dict)
    found: tuple[OnNetwork, ...] = ()
    lsl_time: bool = True
    """Whether stamps are moments of the LSL clock."""
    _baseline: tuple[float, ...] | None = None

    def now(self) -> float:
        """Return the present on the stamps' clock."""
        if self.lsl_time:
            return self.clock()
        spikes = self.spikes
        return math.nan if spikes is None else spikes.raster.end

    def begin_run(self, about: About | None, problem: str = "") -> None:
        """Note what runs; what was kept of another run is let go where it does not fit."""
        with self.lock:
            before = self.about
            self.about, self.problem = about, problem
            if about is None:
                return
            same = before is not None and (before.unit_labels, before.n_bins, before.hop) == (
                about.unit_labels, about.n_bins, about.hop,
            )  # fmt: skip
            if self.spikes is None or self.spikes.unit_labels != about.unit_labels:
                span = self.spikes.span if self.spikes else 10.0
                self.spikes = SpikeStore(about.unit_labels, span=span)
                self._baseline = None
            if not same:
                self.factors = self.rates = self.decoded = self.truth = None

    def take_message(self, message: Message, now: float) -> None:
        """Note a message on Status."""
        with self.lock:
            self.message, self.message_at = message, now
            if message.trial is None:
                return
            number, label = message.trial.get("trial"), message.trial.get("label")
            if isinstance(number, int) and isinstance(label, str):
                if label and len(self.conditions) < CONDITIONS_KEPT:
                    self.conditions.setdefault(label, len(self.conditions))
                for series in (self.factors, self.rates, self.decoded):
                    if series is not None and series.trials is not None:
                        series.trials.name(number, label)

    def loop_state(self) -> str:
        """Return the loop's newest state; empty before a loop was heard of."""
        with self.lock:
            if self.message is not None:
                return self.message.state
            return "attached" if self.status_open else ""

    def status_age(self) -> float | None:
        """Return seconds since the newest message; None without one."""
        return None if self.message is None else self.clock() - self.message_at

    def drift(self) -> Drift | None:
        """Compare the units' rates with the model's, or with those of the first minute seen.

        None where there is nothing to compare: no source, or none of these rates yet.
        """
        with self.lock:
            spikes, about, facts = self.spikes, self.about, self.streams.get("spikes")
            if spikes is None or about is None or (facts is not None and facts.state != "open"):
                return None
            rates, seconds = spikes.mean_rates(30.0)
            if about.unit_rates is not None:
                reference = np.array(about.unit_rates)
                masked = np.isin(about.unit_labels, masked_units(about.rig, about.unit_labels))
                reference[masked] = rates[masked]  # what they fire is of no effect
                return compare(rates, seconds, reference, "training")
            if self._baseline is None:
                first, seen = spikes.mean_rates(_BASELINE)
                if seen < _BASELINE - 1.0:
                    return None
                self._baseline = tuple(first.tolist())
            return compare(rates, seconds, np.array(self._baseline), "the first minute seen")

    def zero_offset(self) -> float:
        """Return seconds from a trial's time zero to its first edge."""
        window = self.about.rig.window if self.about else None
        return window.offset if isinstance(window, TrialSettings) else 0.0
