"""What state the loop is in, and why: a pure state machine, fed with what can be seen of the loop.

It knows no thread, no clock and no stream. The pipeline shows it a `Sight` now and then, and
publishes the `Condition` that comes of it. It names what is wrong; it restarts nothing.

States and the ways between them::

    waiting -> calibrating -> running <-> degraded
       ^------------------------+------------+        (a source went; back when it is there again)
    each of them -> stopped, for good
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class State(str, Enum):
    """What the loop does."""

    WAITING = "waiting"
    """For a stream that it needs: nothing is published."""
    CALIBRATING = "calibrating"
    """The streams are there; the engine is run once on silence."""
    RUNNING = "running"
    DEGRADED = "degraded"
    """Works, but something is or was lost lately."""
    STOPPED = "stopped"


class Cause(str, Enum):
    """Why, for programs; the reason in words goes with it."""

    NONE = ""
    NOT_STARTED = "not_started"
    WARM_UP = "warm_up"
    SOURCE_AWAY = "source_away"
    SOURCE_REFUSED = "source_refused"
    ENGINE_HANGS = "engine_hangs"
    ACQUISITION_HANGS = "acquisition_hangs"
    SOURCE_SILENT = "source_silent"
    ENGINE_ERRORS = "engine_errors"
    ENGINE_SLOW = "engine_slow"
    ENGINE_REPLACED = "engine_replaced"
    SPIKES_LOST = "spikes_lost"
    GAP = "gap"
    NOT_RECORDED = "not_recorded"
    ASKED = "asked"
    FAILED = "failed"


# What a spike that is lost did, and what to do: late, ahead, invalid.
_LOST = (
    ("came too late", "raise [binning] hold_off, or see to the source"),
    ("were stamped too far ahead", "see to the source's clock"),
    ("were none", "see to what the source sends"),
)


@dataclass(frozen=True)
class Condition:
    """A state and why; the reason is empty only while running."""

    state: State
    cause: Cause = Cause.NONE
    reason: str = ""


@dataclass(frozen=True)
class Limits:
    """When something is called wrong."""

    hang: float = 2.0
    """Seconds that the engine may take for a window, or the acquisition for a look."""
    silence: float = 5.0
    """Seconds without a sample of the spike stream."""
    memory: float = 10.0
    """Seconds for which a loss keeps the loop degraded."""
    lost_share: float = 0.01
    """Of the spikes of the last `memory` seconds that may be late, ahead or invalid."""


@dataclass(frozen=True)
class Inlet:
    """An inlet: ``spikes`` or ``markers``; ``waiting``, ``open`` or ``refused``, and why."""

    what: str
    state: str
    reason: str = ""


@dataclass(frozen=True)
class Sight:
    """What can be seen of the loop at one moment. Counts are since the start; times in seconds."""

    time: float
    inlets: tuple[Inlet, ...] = ()
    last_sample: float = math.nan
    """When the newest sample of the spike stream came, or its connection; NaN before."""
    last_look: float = math.nan
    """When the acquisition last looked at its inlets; NaN where it may rightly wait."""
    engine_since: float = math.nan
    """When the engine was given the window that it has; NaN while it has none."""
    engine_errors: int = 0
    engine_error: str = ""
    """The last of them, in words."""
    dropped: int = 0
    """Windows that had to make room in the queue."""
    losses: int = 0
    """How often the spike stream was lost."""
    spikes: int = 0
    """Spikes received."""
    late: int = 0
    """Of them, that came after their bin was closed."""
    ahead: int = 0
    """Of them, whose stamps are too far in the future."""
    invalid: int = 0
    """Of them, that were no spikes."""
    engine_replaced: str = ""
    """Why another engine than the rig's computes; empty while it is the rig's."""
    unrecorded: str = ""
    """Why the session is not recorded any more; empty while it is, or is not to be."""


@dataclass
class _Episode:
    """Something that is counted, and is recent for a while after it last went up."""

    count: int = 0
    before: int = 0
    last: float = -math.inf

    def see(self, count: int, now: float, memory: float) -> int:
        """Return how much came in the episode that goes on; 0 where none does."""
        if now - self.last > memory:
            self.before = self.count
        if count > self.count:
            self.count, self.last = count, now
        return self.count - self.before if now - self.last <= memory else 0


_AWAY = {"refused": Cause.SOURCE_REFUSED}
_MOST_SIGHTS = 64  # kept to tell which share of spikes was lost lately


@dataclass
class Supervisor:
    """Turns sights into conditions.

    Parameters
    ----------
    limits
        When something is called wrong.

    Attributes
    ----------
    condition
        The newest.
    since
        When its state and cause began, LSL clock.
    changes
        How often each state was entered, by its name.
    """

    limits: Limits = field(default_factory=Limits)
    condition: Condition = field(
        default=Condition(State.WAITING, Cause.NOT_STARTED, "not started"), init=False
    )
    since: float = field(default=math.nan, init=False)
    changes: dict[str, int] = field(
        default_factory=lambda: {state.value: 0 for state in State}, init=False
    )
    _working: bool = field(default=False, init=False)
    _episodes: Mapping[str, _Episode] = field(
        default_factory=lambda: {k: _Episode() for k in ("errors", "dropped", "losses")}, init=False
    )
    _spikes: deque[tuple[float, tuple[int, ...]]] = field(
        default_factory=lambda: deque(maxlen=_MOST_SIGHTS), init=False
    )

    def calibrate(self, time: float) -> Condition:
        """Note that the streams are there and the engine is tried."""
        return self._enter(
            time, Condition(State.CALIBRATING, Cause.WARM_UP, "the engine is run on silence")
        )

    def work(self, time: float) -> Condition:
        """Note that the loop serves from now on: sights decide."""
        self._working = True
        return self._enter(time, Condition(State.RUNNING))

    def stop(self, time: float, cause: Cause, reason: str) -> Condition:
        """Note that the loop ended; nothing changes this any more."""
        return self._enter(time, Condition(State.STOPPED, cause, reason))

    def see(self, sight: Sight) -> Condition:
        """Return the condition that a sight gives."""
        if self.condition.state is State.STOPPED:
            return self.condition
        if hanging := self._hanging(sight):
            return self._enter(sight.time, hanging)
        if not self._working:
            if self.condition.state is State.DEGRADED:  # the engine came back from its trial
                return self.calibrate(sight.time)
            if self.condition.state is State.WAITING and (away := _away(sight)):
                return self._enter(sight.time, away)
            return self.condition
        found = _away(sight) or self._wrong(sight) or Condition(State.RUNNING)
        return self._enter(sight.time, found)

    def _hanging(self, sight: Sight) -> Condition | None:
        took = sight.time - sight.engine_since
        if took > self.limits.hang:
            return _degraded(
                Cause.ENGINE_HANGS, f"the engine has not come back from a window for {took:.1f} s"
            )
        return None

    def _wrong(self, sight: Sight) -> Condition | None:
        """Return the gravest of what is wrong, or was lately."""
        now, memory, episodes = sight.time, self.limits.memory, self._episodes
        errors = episodes["errors"].see(sight.engine_errors, now, memory)
        dropped = episodes["dropped"].see(sight.dropped, now, memory)
        losses = episodes["losses"].see(sight.losses, now, memory)
        received, *lost = self._received_lately(sight)
        if now - sight.last_look > self.limits.hang:
            took = now - sight.last_look
            return _degraded(
                Cause.ACQUISITION_HANGS, f"the inlets were not looked at for {took:.1f} s"
            )
        if errors:
            return _degraded(
                Cause.ENGINE_ERRORS,
                f"{errors} windows failed in the engine, the last with: {sight.engine_error}",
            )
        if dropped:
            return _degraded(
                Cause.ENGINE_SLOW,
                f"{dropped} windows were dropped: they come faster than the engine and the outlets "
                "take them",
            )
        if sight.engine_replaced:
            return _degraded(Cause.ENGINE_REPLACED, sight.engine_replaced)
        silent = now - sight.last_sample
        if silent > self.limits.silence:
            return _degraded(Cause.SOURCE_SILENT, f"spikes: no sample for {silent:.0f} s")
        if losses:
            times = "" if losses == 1 else f" {losses} times"
            return _degraded(Cause.GAP, f"spikes: the stream was lost{times}, and is back")
        if sum(lost) > self.limits.lost_share * received:
            most = max(range(len(lost)), key=lost.__getitem__)
            what, to_do = _LOST[most]
            others = sum(lost) - lost[most]
            besides = f", {others} were lost otherwise" if others else ""
            return _degraded(
                Cause.SPIKES_LOST,
                f"{lost[most]} of {received} spikes in {memory:g} s {what}: {to_do}{besides}",
            )
        if sight.unrecorded:
            return _degraded(Cause.NOT_RECORDED, f"not recorded: {sight.unrecorded}")
        return None

    def _received_lately(self, sight: Sight) -> tuple[int, ...]:
        """Return the spikes received in the last while, and of them those late, ahead, invalid."""
        seen, newest = self._spikes, (sight.spikes, sight.late, sight.ahead, sight.invalid)
        while seen and sight.time - seen[0][0] > self.limits.memory:
            seen.popleft()
        oldest = seen[0][1] if seen else newest
        # As many as can be kept must cover the memory, however often the loop is looked at.
        if not seen or sight.time - seen[-1][0] >= self.limits.memory / (_MOST_SIGHTS - 2):
            seen.append((sight.time, newest))
        return tuple(new - old for new, old in zip(newest, oldest, strict=True))

    def _enter(self, time: float, new: Condition) -> Condition:
        old = self.condition
        if old.state is State.STOPPED:
            return old
        if new.state is not old.state:
            self.changes[new.state.value] += 1
        if (new.state, new.cause) != (old.state, old.cause):
            self.since = time
        self.condition = new
        return new


def _away(sight: Sight) -> Condition | None:
    for inlet in sight.inlets:
        if inlet.state != "open":
            cause = _AWAY.get(inlet.state, Cause.SOURCE_AWAY)
            refused = "refused: " if cause is Cause.SOURCE_REFUSED else ""
            return Condition(State.WAITING, cause, f"{inlet.what}: {refused}{inlet.reason}")
    return None


def _degraded(cause: Cause, reason: str) -> Condition:
    return Condition(State.DEGRADED, cause, reason)
