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

import numpy as np
import pylsl
from numpy.typing import NDArray

from bci_lfads.about import about, unit_rates
from bci_lfads.account import Account, RunReport
from bci_lfads.acquisition import Acquisition
from bci_lfads.drift import UnitWatch
from bci_lfads.engines import open_engine
from bci_lfads.engines.base import Engine, Latents, allocate
from bci_lfads.errors import EngineError
from bci_lfads.models.model import Model
from bci_lfads.oversight import Oversight
from bci_lfads.parts import (
    as_masked,
    check_fit,
    lookback,
    make_windows,
    marker_inlet,
    spike_inlet,
)
from bci_lfads.rig import Rig, SlidingSettings, TrialSettings, masked_units
from bci_lfads.shadow import Shadow
from bci_lfads.slots import Slot, SlotQueue
from bci_lfads.streams.connection import describe
from bci_lfads.streams.markers import MarkerInlet
from bci_lfads.streams.outlets import Outlets, OutletSettings
from bci_lfads.streams.spikes import SpikeInlet
from bci_lfads.supervision import Cause, Limits
from bci_lfads.watchdog import guarded, watched

log = logging.getLogger(__name__)

_LOOK_EVERY = 0.1
"""Seconds between two looks of the watchdog, at most."""


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
    shadow
        A second engine that is compared.

    Attributes
    ----------
    account
        What the loop tells of itself. Give it the session's recorder, if there is one: its failure
        is published, and stops nothing.
    oversight
        Knows the loop's state.
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
        shadow: Shadow | None = None,
        clock: Callable[[], float] = pylsl.local_clock,
    ) -> None:
        self.rig, self.model, self.engine = rig, model, engine
        self._spikes, self._markers, self._outlets = spikes, markers, outlets
        self._on_window, self._clock = on_window, clock
        self._failure = ""
        spec = model.spec
        self._hop = rig.window.hop if isinstance(rig.window, SlidingSettings) else 0
        self._slots = SlotQueue(rig.loop.queue, spec.n_bins, spec.n_units)
        self._latents = allocate(engine.info, log_rates=rig.output.rates)
        centres = (np.arange(spec.n_bins_out) + 0.5) * model.bin_width
        self._centres, self._stamps = centres, np.empty_like(centres)
        capacity = 1
        if isinstance(rig.window, TrialSettings):
            capacity = math.ceil(rig.input.spikes.max_rate * lookback(rig.window, model))
        self._acquisition = Acquisition(
            spikes,
            markers,
            lambda: make_windows(rig.window, model, capacity, rig.binning.hold_off),
            self._slots,
            stream_clock=self._stream_clock,
            hold_off=rig.binning.hold_off,
            poll=rig.loop.poll,
            keep_truncated=getattr(rig.window, "truncated", "drop") == "publish",
            clock=clock,
        )
        units = UnitWatch(
            model.unit_labels, model.bin_width, masked_units(rig, model.unit_labels),
            unit_rates(model),
        )  # fmt: skip
        self.account = Account(
            engine, spikes, markers, self._acquisition, self._slots, units, self._stream_clock,
            shadow,
        )  # fmt: skip
        self.oversight = Oversight(
            self.account,
            Limits(**rig.supervision.model_dump()),
            outlets.push_status,
            interval=rig.loop.status_interval,
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
        self.oversight.publish()
        every = min(self.rig.loop.status_interval, _LOOK_EVERY)
        try:
            with watched(lambda: self.oversight.look(stop, on_hang), stop, every=every):
                if self._connect(connect_timeout, stop):
                    self._calibrate()
                    if on_ready is not None:
                        on_ready()
                    self._work(stop)
        except BaseException as error:
            self.oversight.finish(Cause.FAILED, self._failure or str(error) or repr(error))
            raise
        return self.account.report(self.oversight.finish(Cause.ASKED, "asked to stop"))

    def _connect(self, timeout: float, stop: threading.Event) -> bool:
        """Wait for the input streams; return whether they are there, or `stop` was set before."""
        return self._spikes.open(timeout, stop) and (
            self._markers is None or self._markers.open(timeout, stop)
        )

    def _work(self, stop: threading.Event) -> None:
        """Take in and serve until `stop` is set or one of the two fails; raise what failed."""
        failures: list[tuple[str, BaseException]] = []
        thread = threading.Thread(
            target=guarded("acquisition", self._acquisition.run, failures, stop), name="acquisition"
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
        if self.account.shadow is not None:
            self.account.shadow.close()
        self.engine.close()

    def _stream_clock(self) -> bool:
        asked = self.rig.input.spikes.clock
        if asked != "auto":
            return asked == "stream"
        return self._spikes.time_base == "stream"

    def _calibrate(self) -> None:
        """Run the engine once on silence, so that the first trial pays for nothing."""
        self.oversight.calibrate()
        spec = self.model.spec
        self._infer(np.zeros((spec.n_bins, spec.n_units), np.uint8), self._clock())
        self.oversight.work()

    def _infer(self, counts: NDArray[np.uint8], submitted: float) -> Latents:
        self.account.engine_since = submitted  # for the watchdog
        try:
            return self.engine.infer(counts, out=self._latents)
        finally:
            self.account.engine_since = math.nan

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

    def _process(self, slot: Slot) -> None:
        try:
            self.account.units.add(slot.counts[-self._hop :])  # for trials, of no hop, all of them
            submitted = self._clock()
            try:
                latents = self._infer(slot.counts, submitted)
            except EngineError as error:
                self.account.counters.engine_errors += 1
                self.account.engine_error = str(error)
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
            if self.account.shadow is not None:
                self.account.shadow.show(slot.counts, latents.factors)
        finally:
            self._slots.done(slot)
        if not self._hop:
            self.oversight.publish(slot)
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
        counters, latencies = self.account.counters, self.account.latencies
        counters.windows += 1
        latencies.engine.add(done - submitted)
        latencies.closed_to_pushed.add(pushed - closed)
        # A stream clock's stamps are not moments of this machine's clock.
        since = closed if self._stream_clock() else end
        if since is end:
            latencies.end_to_pushed.add(pushed - end)
        counters.deadline_misses += pushed - since > self.rig.loop.deadline


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
    shadow = None
    if rig.shadow is not None:
        other = open_engine(rig.shadow.engine, model, hop=hop, **rig.shadow_options())
        shadow = Shadow(other, rig.shadow.queue)
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
    return Pipeline(
        rig, model, engine, spike_inlet(rig, model), marker_inlet(rig), outlets,
        on_window=on_window, shadow=shadow,
    )  # fmt: skip
