"""The wiring: streams -> binning -> windows -> engine -> outlets.

Three threads. Acquisition pulls spikes and markers, closes windows and hands them over through a
bounded queue; it waits for nothing behind it. The thread that calls `Pipeline.run` takes windows
from the queue, runs the engine and publishes. When the queue is full the oldest waiting window is
dropped and counted. The watchdog looks at both, and publishes Status whatever they are held up by.
Every counter is published on Status, every latency on Latency.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pylsl
from numpy.typing import NDArray

from bci_lfads.about import about, unit_rates
from bci_lfads.acquisition import Acquisition
from bci_lfads.drift import UnitWatch
from bci_lfads.engines import open_engine
from bci_lfads.engines.base import Engine, Latents, allocate
from bci_lfads.errors import EngineError, RigError, StreamError
from bci_lfads.models.masking import mask_units
from bci_lfads.models.model import Model
from bci_lfads.rig import Rig, SlidingSettings, TrialSettings, masked_units
from bci_lfads.shadow import Shadow
from bci_lfads.slots import Slot, SlotQueue
from bci_lfads.streams.connection import describe
from bci_lfads.streams.markers import MarkerInlet
from bci_lfads.streams.outlets import Outlets, OutletSettings
from bci_lfads.streams.spikes import SpikeInlet
from bci_lfads.streams.unit_map import expand_units
from bci_lfads.supervision import Cause, Condition, Inlet, Limits, Sight, State, Supervisor
from bci_lfads.timing import LatencyWindow, Percentiles
from bci_lfads.watchdog import watched
from bci_lfads.windows import SlidingWindows, TrialWindows, Windows

log = logging.getLogger(__name__)

_MARKER_DELAY = 5.0
"""Seconds after a window's end within which its marker may still come."""
_LOOK_EVERY = 0.1
"""Seconds between two looks of the watchdog, at most."""


@dataclass
class Counters:
    """What the inference side counted."""

    windows: int = 0
    """Windows whose factors were published."""
    deadline_misses: int = 0
    engine_errors: int = 0


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
class _Latencies:
    engine: LatencyWindow = field(default_factory=LatencyWindow)
    closed_to_pushed: LatencyWindow = field(default_factory=LatencyWindow)
    end_to_pushed: LatencyWindow = field(default_factory=LatencyWindow)


class Pipeline:
    """One rig at work. Make it with `open_pipeline`; it owns what it is given and closes it.

    Parameters
    ----------
    rig, model, engine
        What to run.
    spikes, markers
        Inlets; no markers for a sliding window.
    outlets
        Where factors go.
    on_window
        Called after each published window, in the publishing thread.
    recorder
        Of this session, if it is recorded: its failure is published, and stops nothing.
    shadow
        A second engine that is compared.
    """

    def __init__(
        self,
        rig: Rig,
        model: Model,
        engine: Engine,
        spikes: SpikeInlet,
        markers: MarkerInlet | None,
        outlets: Outlets,
        *,
        on_window: Callable[[Slot], None] | None = None,
        recorder: RecorderState | None = None,
        shadow: Shadow | None = None,
        clock: Callable[[], float] = pylsl.local_clock,
    ) -> None:
        self.recorder, self._shadow = recorder, shadow
        self.rig, self.model, self.engine = rig, model, engine
        self._spikes, self._markers, self._outlets = spikes, markers, outlets
        self._on_window, self._clock = on_window, clock
        spec = model.spec
        self._hop = rig.window.hop if isinstance(rig.window, SlidingSettings) else 0
        self._slots = SlotQueue(rig.loop.queue, spec.n_bins, spec.n_units)
        self._latents = allocate(engine.info, log_rates=rig.output.rates)
        centres = (np.arange(spec.n_bins_out) + 0.5) * model.bin_width
        self._centres, self._stamps = centres, np.empty_like(centres)
        self._counters, self._latencies = Counters(), _Latencies()
        self._units = UnitWatch(
            model.unit_labels, model.bin_width, masked_units(rig, model.unit_labels),
            unit_rates(model),
        )  # fmt: skip
        self._supervisor = Supervisor(Limits(**rig.supervision.model_dump()))
        self._supervision = threading.RLock()  # of the supervisor and Status
        self._engine_since = self._served_since = self._asked_at = math.nan
        self._failure = self._engine_error = ""
        self._said: tuple[State, Cause] | None = None  # in the log
        self._next_status = -math.inf
        capacity = 1
        if isinstance(rig.window, TrialSettings):
            capacity = math.ceil(rig.input.spikes.max_rate * lookback(rig.window, model))
        self._acquisition = Acquisition(
            spikes,
            markers,
            lambda: make_windows(rig.window, model, capacity),
            self._slots,
            stream_clock=self._stream_clock,
            hold_off=rig.binning.hold_off,
            poll=rig.loop.poll,
            keep_truncated=getattr(rig.window, "truncated", "drop") == "publish",
            clock=clock,
        )

    def run(
        self,
        stop: threading.Event,
        *,
        connect_timeout: float = 10.0,
        on_ready: Callable[[], None] | None = None,
        on_hang: Callable[[], None] | None = None,
    ) -> RunReport:
        """Connect, then publish factors until `stop` is set.

        Parameters
        ----------
        stop
            Ends the run.
        connect_timeout
            Seconds to wait for the input streams.
        on_ready
            Called before the first window, when all is allocated that the loop needs.
        on_hang
            Called, in the watchdog's thread, if `stop` is set and the engine does not come back.
            It may end the process; nothing else can.

        Raises
        ------
        StreamError
            If a stream of the rig is not there after `connect_timeout` seconds, or does not fit.
        """
        self._publish_status()
        every = min(self.rig.loop.status_interval, _LOOK_EVERY)
        try:
            with watched(lambda: self._look_after(stop, on_hang), stop, every=every):
                if self._connect(connect_timeout, stop):
                    self._calibrate()
                    if on_ready is not None:
                        on_ready()
                    self._work(stop)
        except BaseException as error:
            self._finish(Cause.FAILED, self._failure or str(error) or repr(error))
            raise
        status = self._finish(Cause.ASKED, "asked to stop")
        return RunReport(
            status,
            self._acquisition.arrival.percentiles(),
            self._latencies.engine.percentiles(),
            self._latencies.closed_to_pushed.percentiles(),
            self._latencies.end_to_pushed.percentiles(),
        )

    def _connect(self, timeout: float, stop: threading.Event) -> bool:
        """Wait for the input streams; return whether they are there, or `stop` was set before."""
        return self._spikes.open(timeout, stop) and (
            self._markers is None or self._markers.open(timeout, stop)
        )

    def _work(self, stop: threading.Event) -> None:
        """Take in and serve until `stop` is set or one of the two fails; raise what failed."""
        failures: list[tuple[str, BaseException]] = []
        thread = threading.Thread(
            target=_guarded(self._acquisition.run, failures, stop), name="acquisition"
        )
        thread.start()
        try:
            self._serve(stop)
            stop.set()
            thread.join()
            while (slot := self._slots.get(0.0)) is not None:  # what was closed in the last moment
                self._process(slot)
            self._publish_journal()
        except BaseException as error:
            failures.append(("inference", error))
        finally:
            stop.set()
            thread.join()
        if failures:
            what, failure = failures[0]
            self._failure = f"{what} failed: {failure!r}"
            raise failure

    def close(self) -> None:
        """Close inlets, outlets and engine."""
        self._spikes.close()
        if self._markers is not None:
            self._markers.close()
        self._outlets.close()
        if self._shadow is not None:
            self._shadow.close()
        self.engine.close()

    def _stream_clock(self) -> bool:
        asked = self.rig.input.spikes.clock
        if asked != "auto":
            return asked == "stream"
        return self._spikes.time_base == "stream"

    def _calibrate(self) -> None:
        """Run the engine once on silence, so that the first trial pays for nothing."""
        with self._supervision:
            self._supervisor.calibrate(self._clock())
            self._publish_status()
        spec = self.model.spec
        self._infer(np.zeros((spec.n_bins, spec.n_units), np.uint8), self._clock())
        with self._supervision:
            self._served_since = self._clock()
            self._supervisor.work(self._served_since)

    def _infer(self, counts: NDArray[np.uint8], submitted: float) -> Latents:
        self._engine_since = submitted  # for the watchdog
        try:
            return self.engine.infer(counts, out=self._latents)
        finally:
            self._engine_since = math.nan

    def _serve(self, stop: threading.Event) -> None:
        interval = min(self.rig.loop.status_interval, 0.05)
        while not stop.is_set():
            slot = self._slots.get(interval)
            if slot is not None:
                self._process(slot)
            self._publish_journal()

    def _publish_journal(self) -> None:
        for rows, stamps in self._acquisition.journal.read():
            self._outlets.push_journal(rows, stamps)

    def condition(self) -> Condition:
        """Return the state, and why."""
        with self._supervision:
            return self._supervisor.see(self._sight())

    def _sight(self) -> Sight:
        acquisition, tally = self._acquisition, self._acquisition.windows.tally
        waiting = getattr(acquisition.windows, "waiting", 0)  # stamped far ahead
        inlets = [Inlet("spikes", self._spikes.state, self._spikes.reason)]
        if self._markers is not None:
            inlets.append(Inlet("markers", self._markers.state, self._markers.reason))
        return Sight(
            self._clock(),
            tuple(inlets),
            # NaN before the loop serves, for max leaves its first argument beside a NaN.
            last_sample=max(self._served_since, acquisition.last_arrival, self._spikes.opened_at),
            last_look=math.nan if self._stream_clock() else acquisition.last_look,
            engine_since=self._engine_since,
            engine_errors=self._counters.engine_errors,
            engine_error=self._engine_error,
            engine_replaced=getattr(self.engine, "notice", ""),
            dropped=self._slots.dropped,
            losses=self._spikes.connection.losses,
            spikes=tally.received + waiting,
            spikes_lost=tally.late + tally.ahead + tally.invalid + waiting,
            unrecorded=self.recorder.problem if self.recorder is not None else "",
        )

    def _look_after(self, stop: threading.Event, on_hang: Callable[[], None] | None) -> None:
        """Look at the loop's threads; publish Status when it is time, and what changed at once."""
        now, condition = self._clock(), self.condition()
        if now >= self._next_status or (condition.state, condition.cause) != self._said:
            self._publish_status()
        if not stop.is_set() or math.isnan(self._engine_since):
            return
        if math.isnan(self._asked_at):
            self._asked_at = now
        patience = self._supervisor.limits.hang
        if min(now - self._asked_at, now - self._engine_since) > patience and on_hang is not None:
            self._finish(Cause.ENGINE_HANGS, "asked to stop, but the engine does not come back")
            on_hang()

    def _finish(self, cause: Cause, reason: str) -> dict[str, object]:
        with self._supervision:
            self._supervisor.stop(self._clock(), cause, reason)
            return self._publish_status()

    def _process(self, slot: Slot) -> None:
        try:
            self._units.add(slot.counts[-self._hop :])  # for trials, of no hop, all of them
            submitted = self._clock()
            try:
                latents = self._infer(slot.counts, submitted)
            except EngineError as error:
                self._counters.engine_errors += 1
                self._engine_error = str(error)
                log.exception("window at %.3f s (trial %d) was lost", slot.start, slot.trial)
                return
            done = self._clock()
            end = slot.start + self.model.spec.n_bins * self.model.bin_width
            if self._hop:
                self._push_newest(latents.factors, latents.log_rates, slot)
            else:
                np.add(self._centres, slot.start, out=self._stamps)
                self._outlets.push_trial(
                    latents.factors, latents.log_rates, self._stamps, slot.trial
                )
            pushed = self._clock()
            self._outlets.push_latency(end, slot.last_spike, slot.closed, submitted, done, pushed)
            self._count(end, slot.closed, submitted, done, pushed)
            if self._shadow is not None:
                self._shadow.show(slot.counts, latents.factors)
        finally:
            self._slots.done(slot)
        if not self._hop:
            self._publish_status(slot)
        if self._on_window is not None:
            self._on_window(slot)

    def _push_newest(
        self,
        factors: NDArray[np.float32],
        log_rates: NDArray[np.float32] | None,
        slot: Slot,
    ) -> None:
        """Publish the bins that this window has and the one before had not."""
        last = self.model.spec.n_bins
        first = last - self._hop
        np.add(self._centres[first:last], slot.start, out=self._stamps[first:last])
        self._outlets.push_sliding(
            factors[first:last],
            None if log_rates is None else log_rates[first:last],
            self._stamps[first:last],
        )

    def _count(
        self, end: float, closed: float, submitted: float, done: float, pushed: float
    ) -> None:
        self._counters.windows += 1
        self._latencies.engine.add(done - submitted)
        self._latencies.closed_to_pushed.add(pushed - closed)
        # A stream clock's stamps are not moments of this machine's clock.
        since = closed if self._stream_clock() else end
        if since is end:
            self._latencies.end_to_pushed.add(pushed - end)
        self._counters.deadline_misses += pushed - since > self.rig.loop.deadline

    def _publish_status(self, trial: Slot | None = None) -> dict[str, object]:
        with self._supervision:
            condition = self.condition()
            if (condition.state, condition.cause) != self._said:
                self._said = condition.state, condition.cause
                log.info("%s: %s", condition.state.value, condition.reason or "all is well")
            status = self._status(condition, trial)
            now = self._clock()
            self._next_status = now + self.rig.loop.status_interval
            self._outlets.push_status(status, now)
            return status

    def _status(self, condition: Condition, trial: Slot | None) -> dict[str, object]:
        now, windows = self._clock(), self._acquisition.windows
        status: dict[str, object] = {
            "state": condition.state.value,
            "cause": condition.cause.value,
            "reason": condition.reason,
            "since": _finite(self._supervisor.since),
            "entered": dict(self._supervisor.changes),
            "engine": self.engine.info.name,
            "time": now,
            "watermark": _finite(self._acquisition.watermark),
            "counters": {
                **vars(self._counters),
                "dropped": self._slots.dropped,
                "truncated_dropped": self._acquisition.truncated_dropped,
                "journal_lost": self._acquisition.journal.lost,
                "trials": {**vars(windows.counters)},
                "spikes": {**vars(windows.tally)},
                "inlet": {**vars(self._spikes.counters), "losses": self._spikes.connection.losses},
            },
            "clock_correction_ms": 1e3 * self._spikes.connection.correction,
            "arrival_ms": self._acquisition.arrival.percentiles().milliseconds(),
            "latency_ms": self._latencies.closed_to_pushed.percentiles().milliseconds(),
            "engine_ms": self._latencies.engine.percentiles().milliseconds(),
        }
        status["units"] = self._units.status()
        if self._shadow is not None:
            status["shadow"] = self._shadow.summary()
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


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _guarded(
    run: Callable[[threading.Event], None],
    failures: list[tuple[str, BaseException]],
    stop: threading.Event,
) -> Callable[[], None]:
    """Wrap the acquisition's thread so that its failure stops the run and is raised by it."""

    def body() -> None:
        try:
            run(stop)
        except BaseException as error:
            log.exception("acquisition failed")
            failures.append(("acquisition", error))
            stop.set()

    return body


def make_windows(window: TrialSettings | SlidingSettings, model: Model, capacity: int) -> Windows:
    """Return the windows that a rig file asks for, the same online and offline.

    Parameters
    ----------
    window
        The rig's ``[window]``.
    model
        Its units, bins and bin width.
    capacity
        Spikes that the history of trials holds.
    """
    spec = model.spec
    return windows_for(window, spec.n_units, spec.n_bins, model.bin_width, capacity)


def windows_for(
    window: TrialSettings | SlidingSettings,
    n_units: int,
    n_bins: int,
    bin_width: float,
    capacity: int,
) -> Windows:
    """Return what `make_windows` does, before there is a model: to train one."""
    if isinstance(window, SlidingSettings):
        return SlidingWindows(n_units, n_bins, bin_width, hop=window.hop)
    return TrialWindows(
        n_units, n_bins, bin_width,
        start=window.start, align=window.align, offset=window.offset, abort=window.abort,
        lookback=_lookback(window, n_bins * bin_width), capacity=capacity,
    )  # fmt: skip


def lookback(window: TrialSettings, model: Model) -> float:
    """Return for how long spikes are remembered: a window, and as long as its marker is late."""
    return _lookback(window, model.spec.n_bins * model.bin_width)


def _lookback(window: TrialSettings, length: float) -> float:
    return length + max(0.0, -window.offset) + _MARKER_DELAY


def open_pipeline(
    rig: Rig, *, model: Model | None = None, on_window: Callable[[Slot], None] | None = None
) -> Pipeline:
    """Load the rig's model, open its engine and outlets, and prepare its inlets.

    Parameters
    ----------
    rig
        The rig.
    model
        Instead of the rig's model file.
    on_window
        Called after each published window, in the publishing thread.

    Raises
    ------
    ModelError, EngineError, RigError
        Naming what does not fit.
    """
    model = model or Model.load(rig.model)
    check_fit(rig, model)
    model = as_masked(rig, model)
    spec, asked = model.spec, rig.input.spikes
    hop = rig.window.hop if isinstance(rig.window, SlidingSettings) else None
    engine = open_engine(
        rig.engine, model, hop=hop, n_threads=rig.loop.engine_threads, **rig.engine_options()
    )
    outlets = Outlets(
        OutletSettings(
            rig=rig.name,
            unit_labels=model.unit_labels,
            n_factors=spec.n_factors,
            bin_width=model.bin_width,
            n_bins=spec.n_bins_out,
            hop=hop,
            model_hash=model.hash,
            engine=engine.info.name,
            number_format=engine.info.numeric_format,
            input_source=describe(asked.properties()),
            rates=rig.output.rates,
            clock=asked.clock,
            about=about(rig, model, running=True).to_text(),
        )
    )
    shadow = None
    if rig.shadow is not None:
        shadow = Shadow(open_engine(rig.shadow.engine, model, hop=hop), rig.shadow.queue)
    return Pipeline(
        rig, model, engine, spike_inlet(rig, model), marker_inlet(rig), outlets,
        on_window=on_window, shadow=shadow,
    )  # fmt: skip


def as_masked(rig: Rig, model: Model) -> Model:
    """Return the model as it runs in this rig: without the units that it masks."""
    masked, rates = masked_units(rig, model.unit_labels), unit_rates(model)
    if masked and rates is None:
        log.warning(
            "the model does not say its units' mean rates; those that are masked (%s) are taken "
            "for silent", ", ".join(masked),
        )  # fmt: skip
    return mask_units(model, masked, rates)


def spike_inlet(rig: Rig, model: Model) -> SpikeInlet:
    """Return the inlet for a rig's spikes, not yet connected."""
    asked = rig.input.spikes
    return SpikeInlet(
        asked.properties(), model.unit_labels, model.bin_width,
        unit_map=rig.input.units, form=asked.format, declared_unit=asked.declared_unit,
        timestamp_reference=asked.timestamp_reference, max_rate=asked.max_rate,
        optional=masked_units(rig, model.unit_labels), hosts=asked.hosts,
    )  # fmt: skip


def marker_inlet(rig: Rig) -> MarkerInlet | None:
    """Return the inlet for a rig's markers, not yet connected; None for a sliding window."""
    if rig.input.markers is None or isinstance(rig.window, SlidingSettings):
        return None
    return MarkerInlet(rig.input.markers.properties(), hosts=rig.input.markers.hosts)


def check_fit(rig: Rig, model: Model) -> None:
    """Refuse a rig whose settings do not fit the model.

    Raises
    ------
    RigError
        Naming the setting.
    """
    masked_units(rig, model.unit_labels)
    try:
        expand_units(model.unit_labels, rig.input.units)
    except StreamError as error:
        raise RigError(str(error)) from error
    window = rig.window
    if isinstance(window, SlidingSettings) and window.hop > model.spec.n_bins:
        raise RigError(
            f"window.hop is {window.hop} bins; the model's window has {model.spec.n_bins}, so bins "
            f"would be left out; choose a hop of at most {model.spec.n_bins}"
        )
