"""A decoder on LSL: factors of a rig in, behaviour out, as long as it is left to run."""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pylsl
from numpy.typing import NDArray

from bci_lfads.decoding.file import Decoder
from bci_lfads.decoding.outlets import DecodedOutlets
from bci_lfads.decoding.rows import JUMP
from bci_lfads.errors import DecoderError, StreamError
from bci_lfads.headers import Header
from bci_lfads.streams.connection import describe
from bci_lfads.streams.outlets import LATENCY_CHANNELS
from bci_lfads.streams.samples import SampleInlet
from bci_lfads.timing import LatencyWindow, Percentiles

log = logging.getLogger(__name__)

POLL = 0.0005
"""Longest sleep between two looks at the inlets, seconds."""
_STATUS_EVERY = 0.5
_REMEMBERED = 1024  # decoded rows whose moments wait for the loop's account of their window
_WAITING = 256  # accounts that wait for their row
_PATIENCE = 1.0  # seconds
_SAME_CLOCK = 30.0  # seconds from a window's end to its factors; above, stamps are of other clocks
_LAST_SPIKE, _PUSHED = (LATENCY_CHANNELS.index(c) for c in ("last_spike", "pushed"))


@dataclass
class Counters:
    """What became of the rows."""

    rows: int = 0
    """Received."""
    published: int = 0
    stretches: int = 0
    """Begun: trials, after gaps, after losses. Each begins without a past."""
    gaps: int = 0
    """Jumps in the stamps of a sliding window."""
    disordered: int = 0
    """Rows stamped before the one that came before: not decoded."""
    invalid: int = 0
    """Rows, or outputs, that were not finite: not published."""


@dataclass(frozen=True)
class DecodeReport:
    """What a decoder did: the last message on its status, and latencies to behaviour pushed."""

    status: dict[str, object]
    received_to_pushed: Percentiles
    """From factors received."""
    spike_to_pushed: Percentiles
    """From the last spike of a window."""


class DecoderRun:
    """Decodes a rig's factors.

    Parameters
    ----------
    rig
        The rig's name.
    decoder
        Fitted to factors.
    poll
        Longest sleep between two looks, seconds.

    Raises
    ------
    DecoderError
        If the decoder takes counts.
    """

    def __init__(
        self,
        rig: str,
        decoder: Decoder,
        *,
        poll: float = POLL,
        clock: Callable[[], float] = pylsl.local_clock,
    ) -> None:
        facts = decoder.facts
        if facts.input != "factors":
            raise DecoderError(
                "this decoder takes spike counts, which a run does not publish; fit one to factors"
            )
        self._decoder, self._facts, self._poll, self._clock = decoder, facts, poll, clock
        self._trials = facts.mode == "trials"
        stream = "TrialFactors" if self._trials else "Factors"
        query = {"name": f"{rig} {stream}", "type": "LatentFactors"}
        self._factors = SampleInlet("factors", query, self._accept, clock=clock)
        self._latencies = SampleInlet(
            "latencies", {"name": f"{rig} Latency", "type": "Metrics"}, _accept_latency,
            max_rate=1.0 / facts.bin_width, clock=clock,
        )  # fmt: skip
        self._outlets = DecodedOutlets(rig, decoder, describe(query))
        self._running = decoder.start()
        n_out = len(facts.channels) + 2 * self._trials
        self._out = np.zeros((1024, n_out), np.float32)
        self._stamps = np.zeros(1024)
        self.counters = Counters()
        self._losses = 0
        self._last = -math.inf
        self._trial = math.nan
        self._received_to_pushed, self._spike_to_pushed = LatencyWindow(), LatencyWindow()
        # Ends of bins that were decoded, when their row came, and when their behaviour was out.
        self._ends = np.full(_REMEMBERED, -math.inf)
        self._came, self._went = np.zeros(_REMEMBERED), np.zeros(_REMEMBERED)
        self._distance = np.zeros(_REMEMBERED)
        self._at = 0
        self._accounts: deque[tuple[float, float, float]] = deque(maxlen=_WAITING)
        self._next_status = -math.inf
        self._state, self._reason = "waiting", "not started"

    def run(self, stop: threading.Event, *, connect_timeout: float = 10.0) -> DecodeReport:
        """Decode until `stop` is set; a rig that goes away is waited for.

        Raises
        ------
        StreamError
            If the factors are not there after `connect_timeout` seconds, or are not those that
            the decoder was fitted to.
        """
        self._publish_status("waiting", "connecting to the factors")
        try:
            connected = self._factors.connection.open(connect_timeout, stop)
        except StreamError as error:
            self._publish_status("stopped", str(error))
            raise
        while connected and not stop.is_set():
            if not self.step():
                stop.wait(self._poll)
        status = self._publish_status("stopped", "asked to stop")
        return DecodeReport(
            status, self._received_to_pushed.percentiles(), self._spike_to_pushed.percentiles()
        )

    def step(self) -> bool:
        """Look once; return whether factors came."""
        rows, stamps = self._factors.pull()
        received = self._clock()
        if len(stamps):
            self._decode(rows, stamps, received)
        self._account(*self._latencies.pull())
        if received >= self._next_status:
            connection = self._factors.connection
            state = "running" if connection.state == "open" else connection.state
            self._publish_status(state, connection.reason)
        return len(stamps) > 0

    def close(self) -> None:
        """Close inlets and outlets."""
        self._factors.close()
        self._latencies.close()
        self._outlets.close()

    def _accept(self, header: Header) -> None:
        facts = self._facts
        try:
            self._decoder.check_model(header.text("model/hash"))
        except DecoderError as error:
            raise StreamError(str(error)) from error
        expected = facts.n_inputs + 2 * self._trials
        if header.n_channels != expected:
            raise StreamError(
                f"'{header.name}' has {header.n_channels} channels; the decoder expects {expected}"
            )
        hop = header.text("window/hop")
        if hop != (str(facts.hop) if facts.hop else ""):
            raise StreamError(
                f"'{header.name}' has a hop of {hop or 'no'} bins; the decoder was fitted to one "
                f"of {facts.hop}: factors of bins that are older when they come differ"
            )

    def _decode(self, rows: NDArray[np.float32], stamps: NDArray[np.float64], now: float) -> None:
        losses = self._factors.connection.losses
        if losses != self._losses:
            self._losses, self._last, self._trial = losses, -math.inf, math.nan
        n_inputs, width, counters = self._facts.n_inputs, self._facts.bin_width, self.counters
        n_out = len(self._facts.channels)
        n = 0
        for row, stamp in zip(rows, stamps.tolist(), strict=True):
            counters.rows += 1
            begins = self._begins(row, stamp, width)
            if begins is None:
                counters.disordered += 1
                continue
            if begins:
                counters.stretches += 1
                self._running.reset()
            found = self._running(row[:n_inputs])
            self._last = stamp
            if not math.isfinite(float(found.sum())):
                counters.invalid += 1
                self._last, self._trial = -math.inf, math.nan  # what it remembers is spoilt
                continue
            self._out[n, :n_out] = found
            self._out[n, n_out:] = row[n_inputs:]
            self._stamps[n] = stamp
            n += 1
        if not n:
            return
        self._outlets.push(self._out[:n], self._stamps[:n])
        pushed = self._clock()
        counters.published += n
        self._received_to_pushed.add(pushed - now)
        for end in self._stamps[:n]:
            self._ends[self._at] = end + 0.5 * width
            self._came[self._at], self._went[self._at] = now, pushed
            self._at = (self._at + 1) % _REMEMBERED

    def _begins(self, row: NDArray[np.float32], stamp: float, width: float) -> bool | None:
        """Return whether a stretch begins with a row; None for one that is out of order."""
        if self._trials:
            trial = float(row[-2])
            began = trial != self._trial
            self._trial = trial
            return None if not began and stamp <= self._last else began
        if stamp <= self._last:
            return None
        if self._last == -math.inf:
            return True
        gap = stamp - self._last > JUMP * width
        self.counters.gaps += gap
        return gap

    def _account(self, rows: NDArray[np.float64], stamps: NDArray[np.float64]) -> None:
        """Match the loop's own moments with those of here, and publish both."""
        for row, end in zip(rows, stamps.tolist(), strict=True):
            self._accounts.append((end, float(row[_LAST_SPIKE]), float(row[_PUSHED])))
        now = self._clock()
        for _ in range(len(self._accounts)):
            end, last_spike, factors_pushed = account = self._accounts.popleft()
            np.subtract(self._ends, end, out=self._distance)
            np.abs(self._distance, out=self._distance)
            k = int(self._distance.argmin())
            if self._distance[k] < 0.25 * self._facts.bin_width:
                pushed = float(self._went[k])
                self._outlets.push_latency(
                    end, (last_spike, factors_pushed, float(self._came[k]), pushed)
                )
                if abs(factors_pushed - end) < _SAME_CLOCK:
                    self._spike_to_pushed.add(pushed - last_spike)
            elif now - factors_pushed < _PATIENCE:
                self._accounts.append(account)

    def _publish_status(self, state: str, reason: str) -> dict[str, object]:
        now = self._clock()
        self._next_status = now + _STATUS_EVERY
        if (state, reason) != (self._state, self._reason):
            log.info("%s%s", state, f": {reason}" if reason else "")
            self._state, self._reason = state, reason
        status: dict[str, object] = {
            "state": state,
            "reason": reason,
            "time": now,
            "counters": {**vars(self.counters), "losses": self._factors.connection.losses},
            "received_to_pushed_ms": self._received_to_pushed.percentiles().milliseconds(),
            "spike_to_pushed_ms": self._spike_to_pushed.percentiles().milliseconds(),
        }
        self._outlets.push_status(status, now)
        return status


def _accept_latency(header: Header) -> None:
    if header.labels != LATENCY_CHANNELS:
        raise StreamError(f"'{header.name}' is no Latency stream of this version of bci-lfads")
