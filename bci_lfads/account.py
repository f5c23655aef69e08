"""What a run tells of itself: counters and latencies, on Status while it goes on and after it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from bci_lfads.acquisition import Acquisition
from bci_lfads.drift import UnitWatch
from bci_lfads.engines.base import Engine
from bci_lfads.shadow import Shadow
from bci_lfads.slots import Slot, SlotQueue
from bci_lfads.streams.markers import MarkerInlet
from bci_lfads.streams.spikes import SpikeInlet
from bci_lfads.supervision import Inlet, Sight
from bci_lfads.timing import LatencyWindow, Percentiles


@dataclass
class Counters:
    """What the inference side counted."""

    windows: int = 0
    """Windows whose factors were published."""
    deadline_misses: int = 0
    engine_errors: int = 0


@dataclass
class Latencies:
    """Of the inference side; see `RunReport`."""

    engine: LatencyWindow = field(default_factory=LatencyWindow)
    closed_to_pushed: LatencyWindow = field(default_factory=LatencyWindow)
    end_to_pushed: LatencyWindow = field(default_factory=LatencyWindow)


@dataclass(frozen=True)
class RunReport:
    """What a run did.

    Attributes
    ----------
    status
        The last message on Status.
    arrival, engine, closed_to_pushed, end_to_pushed
        Latencies: from a spike's stamp until it was taken in; the engine alone; from a window
        closed to its factors pushed; from a window's end to its factors pushed (includes the
        hold-off).
    """

    status: dict[str, object]
    arrival: Percentiles
    engine: Percentiles
    closed_to_pushed: Percentiles
    end_to_pushed: Percentiles


class RecorderState(Protocol):
    """What is published of a session's recorder."""

    @property
    def file(self) -> str:
        """Name of the file that it writes."""

    @property
    def problem(self) -> str:
        """Why it does not record (any more), in words; empty while it does."""


@dataclass
class Account:
    """What can be seen of a loop's parts. Any thread may read it; it changes none of them.

    Attributes
    ----------
    engine, spikes, markers, acquisition, slots, units
        The parts that are told of.
    stream_clock
        Whether bins are closed by the newest stamp.
    shadow, recorder
        Where there are.
    counters, latencies, engine_error
        The inference thread keeps them; the error is the last, in words.
    engine_since
        When the engine was given the window that it has, LSL clock; NaN while it has none.
    served_since
        When the loop began to serve, LSL clock; NaN before.
    """

    engine: Engine
    spikes: SpikeInlet
    markers: MarkerInlet | None
    acquisition: Acquisition
    slots: SlotQueue
    units: UnitWatch
    stream_clock: Callable[[], bool]
    shadow: Shadow | None = None
    recorder: RecorderState | None = None
    counters: Counters = field(default_factory=Counters)
    latencies: Latencies = field(default_factory=Latencies)
    engine_error: str = ""
    engine_since: float = math.nan
    served_since: float = math.nan

    def sight(self, now: float) -> Sight:
        """Return what the supervisor goes by."""
        acquisition, tally = self.acquisition, self.acquisition.windows.tally
        waiting = acquisition.windows.waiting
        inlets = [Inlet("spikes", self.spikes.state, self.spikes.reason)]
        if self.markers is not None:
            inlets.append(Inlet("markers", self.markers.state, self.markers.reason))
        return Sight(
            now,
            tuple(inlets),
            # NaN before the loop serves, for max leaves its first argument beside a NaN.
            last_sample=max(self.served_since, acquisition.last_arrival, self.spikes.opened_at),
            last_look=math.nan if self.stream_clock() else acquisition.last_look,
            engine_since=self.engine_since,
            engine_errors=self.counters.engine_errors,
            engine_error=self.engine_error,
            engine_replaced=getattr(self.engine, "notice", ""),  # engines with a stand-in have one
            dropped=self.slots.dropped,
            losses=self.spikes.connection.losses,
            spikes=tally.received + waiting,
            late=tally.late,
            ahead=tally.ahead + waiting,
            invalid=tally.invalid,
            unrecorded=self.recorder.problem if self.recorder is not None else "",
        )

    def status(self, trial: Slot | None = None) -> dict[str, object]:
        """Return what Status says beside the state, ready for JSON; `trial` just came out."""
        windows = self.acquisition.windows
        status: dict[str, object] = {
            "engine": self.engine.info.name,
            "watermark": _finite(self.acquisition.watermark),
            "counters": {
                **vars(self.counters),
                "dropped": self.slots.dropped,
                "truncated_dropped": self.acquisition.truncated_dropped,
                "journal_lost": self.acquisition.journal.lost,
                "trials": {**vars(windows.counters)},
                "spikes": {**vars(windows.tally)},
                "inlet": {**vars(self.spikes.counters), "losses": self.spikes.connection.losses},
            },
            "clock_correction_ms": 1e3 * self.spikes.connection.correction,
            "arrival_ms": self.acquisition.arrival.percentiles().milliseconds(),
            "latency_ms": self.latencies.closed_to_pushed.percentiles().milliseconds(),
            "engine_ms": self.latencies.engine.percentiles().milliseconds(),
            "units": self.units.status(),
        }
        if self.shadow is not None:
            status["shadow"] = self.shadow.summary()
        if self.recorder is not None:
            status["recording"] = {"file": self.recorder.file, "problem": self.recorder.problem}
        if trial is not None:
            status["trial"] = {
                "trial": trial.trial,
                "label": trial.label,
                "start": trial.start,
                "truncated": trial.truncated,
            }
        return status

    def report(self, status: dict[str, object]) -> RunReport:
        """Return what the run did; `status` was its last message."""
        return RunReport(
            status,
            self.acquisition.arrival.percentiles(),
            self.latencies.engine.percentiles(),
            self.latencies.closed_to_pushed.percentiles(),
            self.latencies.end_to_pushed.percentiles(),
        )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
