"""Looks after a loop: shows the supervisor what there is to see, and publishes Status."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable

from bci_lfads.account import Account
from bci_lfads.slots import Slot
from bci_lfads.supervision import Cause, Condition, Limits, State, Supervisor

log = logging.getLogger(__name__)


class Oversight:
    """What state a loop is in, and its messages on Status; any thread may call it.

    Parameters
    ----------
    account
        Of the loop.
    limits
        When something is called wrong.
    push
        Publishes a message, given it and its time.
    interval
        Seconds between two messages, at most.
    clock
        The LSL clock.
    """

    def __init__(
        self,
        account: Account,
        limits: Limits,
        push: Callable[[dict[str, object], float], None],
        *,
        interval: float,
        clock: Callable[[], float],
    ) -> None:
        self._account, self._supervisor = account, Supervisor(limits)
        self._push, self._interval, self._clock = push, interval, clock
        self._lock = threading.RLock()
        self._said: tuple[State, Cause] | None = None
        self._next, self._asked_at = -math.inf, math.nan

    def condition(self) -> Condition:
        """Look, and return the state and why."""
        with self._lock:
            return self._supervisor.see(self._account.sight(self._clock()))

    def calibrate(self) -> None:
        """Note that the streams are there and the engine is tried."""
        with self._lock:
            self._supervisor.calibrate(self._clock())
            self.publish()

    def work(self) -> None:
        """Note that the loop serves from now on."""
        with self._lock:
            self._account.served_since = self._clock()
            self._supervisor.work(self._account.served_since)

    def finish(self, cause: Cause, reason: str) -> dict[str, object]:
        """Note that the loop ended, and return the last message."""
        with self._lock:
            self._supervisor.stop(self._clock(), cause, reason)
            return self.publish()

    def publish(self, trial: Slot | None = None) -> dict[str, object]:
        """Publish a message and return it; `trial` just came out."""
        with self._lock:
            condition, supervisor = self.condition(), self._supervisor
            if (condition.state, condition.cause) != self._said:
                self._said = condition.state, condition.cause
                log.info("%s: %s", condition.state.value, condition.reason or "all is well")
            now = self._clock()
            status: dict[str, object] = {
                "state": condition.state.value,
                "cause": condition.cause.value,
                "reason": condition.reason,
                "since": supervisor.since if math.isfinite(supervisor.since) else None,
                "entered": dict(supervisor.changes),
                "time": now,
                **self._account.status(trial),
            }
            self._next = now + self._interval
            self._push(status, now)
            return status

    def look(self, stop: threading.Event, on_hang: Callable[[], None] | None) -> None:
        """Publish when it is time, and changes at once; see to an engine that hangs at the end.

        Parameters
        ----------
        stop
            Whether the loop is to end.
        on_hang
            Called if it is, and the engine does not come back.
        """
        now, condition = self._clock(), self.condition()
        if now >= self._next or (condition.state, condition.cause) != self._said:
            self.publish()
        since = self._account.engine_since
        if not stop.is_set() or math.isnan(since) or on_hang is None:
            return
        if math.isnan(self._asked_at):
            self._asked_at = now
        if min(now - self._asked_at, now - since) > self._supervisor.limits.hang:
            self.finish(Cause.ENGINE_HANGS, "asked to stop, but the engine does not come back")
            on_hang()
