"""Who may fire: armed or not, dead-man switch, refractory times, rate limits, faults."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Literal

from bci_lfads.triggers.rules import Limit, Rule

Verdict = Literal["fire", "disarmed", "refractory", "rule limit", "total limit"]


class _Window:
    """Times of the newest firings, for one limit."""

    def __init__(self, limit: Limit) -> None:
        self._seconds = limit.seconds
        self._times: deque[float] = deque(maxlen=limit.count)

    def full(self, now: float) -> bool:
        """Return whether one more now would be one too many."""
        times = self._times
        return len(times) == times.maxlen and now - times[0] < self._seconds

    def add(self, now: float) -> None:
        """Note a firing."""
        self._times.append(now)


class Guard:
    """The guard rails: disarmed at first, after every fault, and when no one renews.

    Nothing but an order arms it. All times are seconds of one clock; if that goes back it is a
    fault.

    Parameters
    ----------
    rules
        Their refractory times and limits.
    total
        Limit of all rules together.
    dead_man
        Seconds after which an arming ends unless it is renewed.
    """

    def __init__(self, rules: Sequence[Rule], total: Limit, dead_man: float) -> None:
        self._refractory = [rule.refractory for rule in rules]
        self._limits = [None if rule.limit is None else _Window(rule.limit) for rule in rules]
        self._total, self._dead_man = _Window(total), dead_man
        self._fired = [-math.inf] * len(rules)
        self._until = -math.inf
        self._now = -math.inf
        self.armed = False
        self.reason = "not armed yet"
        """Why it is disarmed; empty while it is armed."""
        self.faults: dict[str, str] = {}
        """What is wrong now, in words, by what it is of; while there is any it cannot be armed."""

    def arm(self, now: float) -> str:
        """Arm, or return why not."""
        self.tick(now)
        if self.faults:
            return "; ".join(self.faults.values())
        self.armed, self.reason = True, ""
        self._until = now + self._dead_man
        return ""

    def renew(self, now: float) -> str:
        """Put the dead-man switch off for its time, or return why not: it never arms."""
        self.tick(now)
        if not self.armed:
            return f"disarmed: {self.reason}"
        self._until = now + self._dead_man
        return ""

    def disarm(self, reason: str) -> bool:
        """Disarm; return whether it was armed."""
        was, self.armed = self.armed, False
        if was:
            self.reason = reason
        return was

    def fault(self, what: str, words: str, *, lasting: bool = False) -> bool:
        """Disarm for a fault; a lasting one forbids arming until it is cleared.

        Returns
        -------
        bool
            Whether it was armed.
        """
        if lasting:
            self.faults[what] = words
        return self.disarm(f"{what}: {words}")

    def clear(self, what: str) -> None:
        """Say that a lasting fault is over. It stays disarmed."""
        self.faults.pop(what, None)

    def tick(self, now: float) -> bool:
        """Let time pass; return whether it was disarmed by that."""
        back, self._now = now < self._now, now
        if back:
            return self.fault("clock", "it went back")
        if self.armed and now >= self._until:
            return self.disarm(f"dead-man switch: not renewed within {self._dead_man:g} s")
        return False

    @property
    def lease(self) -> float:
        """The moment at which the dead-man switch disarms; minus infinity while disarmed."""
        return self._until if self.armed else -math.inf

    def ask(self, rule: int, now: float) -> Verdict:
        """Return whether a rule may fire now; if so, it counts as fired."""
        self.tick(now)
        limit = self._limits[rule]
        if not self.armed:
            return "disarmed"
        if now - self._fired[rule] < self._refractory[rule]:
            return "refractory"
        if limit is not None and limit.full(now):
            return "rule limit"
        if self._total.full(now):
            return "total limit"
        self._fired[rule] = now
        if limit is not None:
            limit.add(now)
        self._total.add(now)
        return "fire"
