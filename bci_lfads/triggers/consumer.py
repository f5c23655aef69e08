"""Triggers on LSL: rows of a rig in, markers out, every decision written down."""

from __future__ import annotations

import logging
import math
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pylsl
from numpy.typing import NDArray

from bci_lfads.errors import StreamError, TriggerError
from bci_lfads.headers import Header
from bci_lfads.streams.metadata import stream_info
from bci_lfads.streams.outlets import as_json
from bci_lfads.streams.samples import SampleInlet
from bci_lfads.timing import LatencyWindow
from bci_lfads.triggers.control import Order, Orders
from bci_lfads.triggers.guard import Guard
from bci_lfads.triggers.log import EventLog
from bci_lfads.triggers.machine import Decision, Machine
from bci_lfads.triggers.rules import TriggerSettings

log = logging.getLogger(__name__)

POLL = 0.0005
"""Longest sleep between two looks at the inlet, seconds."""
LATENCY_CHANNELS = ("window_end", "received", "pushed")
_STATUS_EVERY = 0.5
_JUMP = 1.5  # bins between two stamps from which on there is a gap


class TriggerRun:
    """Rules at work on a stream of a rig.

    Parameters
    ----------
    settings
        The rules.
    orders
        Where orders come from.
    events
        Where decisions are written down.
    clock
        The LSL clock.
    """

    def __init__(
        self,
        settings: TriggerSettings,
        orders: Orders,
        events: EventLog,
        *,
        clock: Callable[[], float] = pylsl.local_clock,
    ) -> None:
        s = settings
        self._settings, self._orders, self._events, self._clock = s, orders, events, clock
        self.guard = Guard(s.rule, s.limit, s.dead_man)
        self._machine: Machine | None = None
        self._hash, self._decoder_hash = s.model_hash or "", ""
        self._width = 0.0
        self._regular = True
        self._last, self._heard = -math.inf, math.inf
        self._losses = 0
        kinds = {"DecodedBehaviour": "Behaviour"}
        query = {"name": f"{s.rig} {s.stream}", "type": kinds.get(s.stream, "LatentFactors")}
        self._inlet = SampleInlet("rows", query, self._accept, clock=clock)
        self._markers, self._latency, self._status = _outlets(s)
        self._moments = LatencyWindow()
        self._verdicts: list[Counter[str]] = [Counter() for _ in s.rule]
        self._rows = 0
        self._connected = False
        self._faults: Counter[str] = Counter()
        self._next_status = -math.inf
        self.guard.fault("stream", "not connected yet", lasting=True)

    def run(self, stop: threading.Event, *, connect_timeout: float = 30.0) -> dict[str, object]:
        """Look at rows until `stop` is set or an order says so; return the last status.

        Raises
        ------
        StreamError
            If the stream is not there after `connect_timeout` seconds or does not fit the rules.
        """
        self._write("started", {"rules": [r.name for r in self._settings.rule]})
        try:
            until = self._clock() + connect_timeout
            while not stop.is_set() and not self._obey():
                came = self.step()
                self._connected |= came or self._inlet.connection.state == "open"
                if not self._connected:
                    self._check_connecting(until, connect_timeout)
                if not came:
                    stop.wait(POLL)
        finally:
            self._note(self.guard.disarm("stopped"))
            self._write("stopped", {"verdicts": [dict(v) for v in self._verdicts]})
        return self._publish_status()

    def _check_connecting(self, until: float, timeout: float) -> None:
        connection = self._inlet.connection
        if connection.state == "refused":
            raise StreamError(connection.reason)
        if self._clock() > until:
            raise StreamError(f"{connection.reason} after {timeout:g} s")

    def close(self) -> None:
        """Close inlet and outlets."""
        self._inlet.close()
        del self._markers, self._latency, self._status

    def step(self) -> bool:
        """Look once; return whether rows came."""
        rows, stamps = self._inlet.pull()
        now = self._clock()
        self._watch(now)
        if len(stamps):
            self._look(rows, stamps, now)
        if now >= self._next_status:
            self._publish_status()
        return len(stamps) > 0

    def _look(self, rows: NDArray[Any], stamps: NDArray[np.float64], now: float) -> None:
        machine = self._machine
        if machine is None:
            return
        self._heard = now
        self.guard.clear("silence")
        newest = float(stamps[-1])
        for row, stamp in zip(rows, stamps.tolist(), strict=True):
            self._rows += 1
            if not math.isfinite(stamp) or not np.isfinite(row).all():
                self._fault("row", "a value or stamp is not finite")
                machine.reset()
                self._last = -math.inf
                continue
            self._check_order(stamp, machine)
            # Of a trial all bins come at once; its age is that of the last.
            age = now - (stamp if self._regular else newest) - 0.5 * self._width
            if abs(age) > self._settings.max_age:
                when = "old" if age > 0 else "in the future: clocks differ"
                self._fault("age", f"a row is {1e3 * abs(age):.0f} ms {when}", lasting=True)
            else:
                self.guard.clear("age")
            for decision in machine.observe(row, stamp, now):
                self._decide(decision, now)

    def _check_order(self, stamp: float, machine: Machine) -> None:
        step, self._last = stamp - self._last, stamp
        if not math.isfinite(step) or not self._regular:
            return
        if step <= 0:
            self._fault("order", f"a stamp went back by {-1e3 * step:.1f} ms")
            machine.reset()
        elif step > _JUMP * self._width:
            self._fault("gap", f"{1e3 * step:.1f} ms between two rows")
            machine.reset()

    def _decide(self, decision: Decision, received: float) -> None:
        rule = self._settings.rule[decision.rule]
        end = decision.stamp + 0.5 * self._width
        self._verdicts[decision.rule][decision.verdict] += 1
        line: dict[str, object] = {
            "rule": rule.name, "verdict": decision.verdict, "value": decision.value,
            "stamp": decision.stamp, "window_end": end, "received": received,
        }  # fmt: skip
        if decision.verdict == "fire":
            label = rule.label or rule.name
            pushed = self._clock()
            line |= {"label": label, "latency_ms": 1e3 * (pushed - end)}
            text = label if self._settings.format == "label" else as_json(line)
            self._markers.push_sample([text], pushed)
            line["pushed"] = pushed = self._clock()
            self._latency.push_sample((end, received, pushed), end)
            self._moments.add(pushed - end)
        self._write("decision", line)

    def _watch(self, now: float) -> None:
        """Look for what is wrong, whether or not rows came."""
        self._note(self.guard.tick(now))
        connection = self._inlet.connection
        if connection.state != "open":
            self._fault("stream", connection.reason, lasting=True)
            self._heard = math.inf
        else:
            self.guard.clear("stream")
            if self._heard == math.inf:
                self._heard = now
            if now - self._heard > self._settings.max_silence:
                self._fault("silence", f"no row for {now - self._heard:.2f} s", lasting=True)
        if connection.losses != self._losses:
            self._losses, self._last = connection.losses, -math.inf
            if self._machine is not None:
                self._machine.reset()
        if self._events.failure:
            self._fault("log", self._events.failure, lasting=True)

    def _fault(self, what: str, words: str, *, lasting: bool = False) -> None:
        known = lasting and what in self.guard.faults
        was_armed = self.guard.fault(what, words, lasting=lasting)
        if not known:
            self._faults[what] += 1
            self._write("fault", {"what": what, "words": words, "disarmed": was_armed})
        self._note(was_armed)

    def _note(self, disarmed: bool) -> None:
        if disarmed:
            log.warning("disarmed: %s", self.guard.reason)
            self._write("disarmed", {"reason": self.guard.reason})
            self._publish_status()

    def _obey(self) -> bool:
        """Follow the orders that wait; return whether one of them was to stop."""
        while (order := self._orders.take()) is not None:
            answer = self._follow(order)
            if order.word != "status":
                self._write(order.word, {"source": order.source, "answer": answer})
            order.answer(answer)
            if order.word == "stop":
                return True
        return False

    def _follow(self, order: Order) -> str:
        now = self._clock()
        if order.word == "status":
            return as_json(self._as_status())
        if order.word in ("arm", "renew"):
            refused = (self.guard.arm if order.word == "arm" else self.guard.renew)(now)
            return f"refused: {refused}" if refused else "armed"
        self._note(self.guard.disarm(f"ordered by {order.source}"))
        return "disarmed"

    def _accept(self, header: Header) -> None:
        """Take a stream whose model and channels are those that the rules were made for."""
        s = self._settings
        found, decoder = header.text("model/hash"), header.text("decoder/hash")
        for what, seen, expected in (
            ("model", found, self._hash), ("decoder", decoder, self._decoder_hash),
        ):  # fmt: skip
            if expected and seen != expected:
                words = f"'{header.name}' is of {what} {seen[:12]}…, not {expected[:12]}…"
                self._fault(what, words, lasting=True)
                raise StreamError(f"{words}; check the rules and start the trigger again")
        try:
            self._machine = Machine(s.rule, header.labels, self.guard)
            self._width = float(header.text("bin_width"))
        except (TriggerError, ValueError) as error:
            raise StreamError(f"'{header.name}': {error}") from error
        self._hash, self._decoder_hash = found, decoder
        self._regular = header.rate > 0
        self._last = -math.inf
        self._write("stream", {"name": header.name, "model": found, "decoder": decoder})

    def _as_status(self) -> dict[str, object]:
        guard, now = self.guard, self._clock()
        return {
            "armed": guard.armed,
            "reason": guard.reason,
            "faults": dict(guard.faults),
            "renew_within": max(0.0, guard.lease - now) if guard.armed else None,
            "time": now,
            "rows": self._rows,
            "losses": self._inlet.connection.losses,
            "fault_counts": dict(self._faults),
            "verdicts": {
                rule.name: dict(v)
                for rule, v in zip(self._settings.rule, self._verdicts, strict=True)
            },
            "window_end_to_pushed_ms": self._moments.percentiles().milliseconds(),
        }

    def _publish_status(self) -> dict[str, object]:
        now = self._clock()
        self._next_status = now + _STATUS_EVERY
        status = self._as_status()
        self._status.push_sample([as_json(status)], now)
        return status

    def _write(self, event: str, more: dict[str, object]) -> None:
        self._events.add(event, self._clock(), more)


def _outlets(
    settings: TriggerSettings,
) -> tuple[pylsl.StreamOutlet, pylsl.StreamOutlet, pylsl.StreamOutlet]:
    rig = settings.rig

    def outlet(stream: str, kind: str, labels: tuple[str, ...], **more: Any) -> pylsl.StreamOutlet:
        info = stream_info(
            f"{rig} {stream}", kind, source_id=f"bci-lfads:{rig}:{stream}", labels=labels,
            desc={"input_source": f"{rig} {settings.stream}", "format": settings.format}, **more,
        )  # fmt: skip
        return pylsl.StreamOutlet(info)

    return (
        outlet("Triggers", "Markers", ("trigger",), form="string"),
        outlet("TriggerLatency", "Metrics", LATENCY_CHANNELS, units="s", form="double64"),
        outlet("TriggerStatus", "Markers", ("status",), form="string"),
    )
