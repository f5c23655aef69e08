"""How a stream does: what is measured of it, and the rules that make a light of that."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

_OVER = 5.0  # seconds over which a rate is measured
_REMEMBER = 60.0  # seconds for which gaps and counts are remembered
_MOST = 4096
_SLOW = 0.9  # of the nominal rate
_QUIET, _MUTE = 2.0, 10.0  # seconds without a spike
_LITTLE = 1e-3  # share of the spikes that may be late, saturated, …
_BEARABLE = {"unknown": 0.5}  # unsorted spikes are of no unit of the model, and many
_FACTORS = ("factors", "rates", "latency")
_OUTPUTS = (*_FACTORS, "status")
_OFF_CLOCK = 5e-3  # seconds that a clock offset may move in a minute


class Level(IntEnum):
    """A light, from well to bad."""

    OFF = 0
    """Not there, and not needed."""
    OK = 1
    WARN = 2
    BAD = 3


@dataclass(frozen=True)
class Light:
    """A level and, unless all is well, why, in words."""

    level: Level
    reason: str = ""


class StreamMeter:
    """Counts what arrives of one stream: rate, age of the newest, longest gap; fixed memory."""

    def __init__(self) -> None:
        self._arrivals: deque[tuple[float, int]] = deque(maxlen=_MOST)
        self._gaps: deque[tuple[float, float]] = deque(maxlen=256)
        self._last = self._began = math.nan
        self.total = 0

    def begin(self, now: float) -> None:
        """Note that the stream was connected."""
        self._began = now
        self._arrivals.clear()

    def add(self, n: int, now: float) -> None:
        """Note `n` samples that arrived at `now`, seconds."""
        if n <= 0:
            return
        if not math.isnan(self._last):
            gap = now - self._last
            # Only gaps that are worth it, so that a minute of them fits.
            if gap > 0.05:
                self._gaps.append((now, gap))
        self._last = now
        self.total += n
        if self._arrivals and now - self._arrivals[-1][0] < 0.02:
            at, before = self._arrivals.pop()
            self._arrivals.append((at, before + n))
        else:
            self._arrivals.append((now, n))

    def age(self, now: float) -> float | None:
        """Return seconds since the newest sample came; None without one."""
        return None if math.isnan(self._last) else now - self._last

    def rate(self, now: float) -> float:
        """Return samples per second over the last 5 s, or since the stream came."""
        over = _OVER if math.isnan(self._began) else min(_OVER, now - self._began)
        if over < 0.5:
            return math.nan
        return sum(n for at, n in self._arrivals if at > now - over) / over

    def gap(self, now: float) -> float:
        """Return the longest time without a sample within the last minute, seconds."""
        gaps = [gap for at, gap in self._gaps if at > now - _REMEMBER]
        return max([*gaps, self.age(now) or 0.0])


class Trend:
    """How much a counter, or a clock, moved within the last minute; fixed memory."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque(maxlen=256)

    def add(self, value: float, now: float) -> None:
        """Note a value; at most four a second are kept, a restarted counter begins anew."""
        if self._seen and now - self._seen[-1][0] < 0.25:
            return
        self._seen.append((now, value))

    def change(self, now: float) -> float:
        """Return newest minus oldest value of the last minute; a reset counts from zero."""
        values = [value for at, value in self._seen if at > now - _REMEMBER]
        if len(values) < 2:
            return 0.0
        return values[-1] if values[-1] < values[0] else values[-1] - values[0]

    def spread(self, now: float) -> float:
        """Return largest minus smallest value of the last minute."""
        values = [value for at, value in self._seen if at > now - _REMEMBER]
        return max(values) - min(values) if values else 0.0


@dataclass(frozen=True)
class StreamFacts:
    """What is known of one stream.

    Attributes
    ----------
    role
        ``spikes``, ``markers``, ``factors``, ``rates``, ``status``, ``latency``, …
    state, reason
        Of the connection: ``waiting``, ``open`` or ``refused``, and why.
    nominal, rate
        Samples per second, as announced (0: irregular) and as measured over 5 s.
    age, gap
        Seconds since the newest sample, and longest time without one in the last minute.
    correction, correction_spread
        Clock offset, and how far it moved in the last minute, seconds.
    counts
        What the loop counted of it in the last minute, by name.
    received
        Spikes that the loop received in the last minute, of which those are.
    """

    role: str
    name: str
    required: bool
    state: str
    reason: str
    hostname: str = ""
    nominal: float = 0.0
    rate: float = math.nan
    age: float | None = None
    gap: float = 0.0
    correction: float = 0.0
    correction_spread: float = 0.0
    counts: Mapping[str, int] = field(default_factory=dict)
    received: int = 0


def judge(facts: StreamFacts, *, status_interval: float = 0.5, loop: str = "running") -> Light:
    """Return the light of a stream, the worst of all rules.

    Parameters
    ----------
    facts
        What is known of it.
    status_interval
        Seconds between the loop's messages, at most.
    loop
        The loop's newest state; empty before one was heard of. What a loop publishes is not
        missed before it began and after it was stopped, nor, but for its Status, while it waits.
    """
    if facts.state == "waiting" and facts.role in _OUTPUTS and loop in ("", "stopped"):
        return Light(Level.OFF, "the loop has stopped" if loop else "press Start (F5)")
    if facts.state == "open" and facts.role in _FACTORS and loop == "waiting":
        return Light(Level.OFF, "none while the loop waits")
    if facts.state == "refused":
        return Light(Level.BAD if facts.required else Level.WARN, f"refused: {facts.reason}")
    if facts.state != "open":
        level = Level.BAD if facts.required else Level.OFF
        return Light(level, f"missing: {facts.reason}" if facts.required else facts.reason)
    lights = [Light(Level.OK), *_silence(facts, status_interval), *_loss(facts)]
    worst = max(light.level for light in lights)
    return Light(worst, "; ".join(x.reason for x in lights if x.reason and x.level == worst))


def _silence(facts: StreamFacts, status_interval: float) -> list[Light]:
    age, role = facts.age, facts.role
    if role == "status":
        patience = 3 * status_interval + 1.5
        if age is not None and age > patience:
            return [Light(Level.BAD, f"no word from the loop for {age:.0f} s")]
        return []
    if role == "spikes" and facts.nominal == 0:
        if age is None:
            return [Light(Level.WARN, "no spike yet")]
        if age > _QUIET:
            level = Level.BAD if age > _MUTE else Level.WARN
            return [Light(level, f"no spike for {age:.0f} s")]
        return []
    if facts.nominal > 0:
        if age is None:
            return [Light(Level.WARN, "no sample yet")]
        if age > _QUIET:
            return [Light(Level.BAD, f"no sample for {age:.0f} s")]
        if facts.rate < _SLOW * facts.nominal:
            return [Light(Level.WARN, f"{facts.rate:.1f} Hz instead of {facts.nominal:g}")]
    return []


def _loss(facts: StreamFacts) -> list[Light]:
    lights = [
        Light(Level.WARN, f"{n} {what} in the last minute")
        for what, n in facts.counts.items()
        if n > _BEARABLE.get(what, _LITTLE) * facts.received
    ]
    if facts.correction_spread > _OFF_CLOCK:
        moved = 1e3 * facts.correction_spread
        lights.append(Light(Level.WARN, f"clock offset moved by {moved:.1f} ms in a minute"))
    return lights
