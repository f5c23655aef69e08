"""What the loop says of itself, and whether it still says anything."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bci_lfads.about import read_message
from bci_lfads_gui.model.health import Level

_LEVELS = {
    "running": Level.OK,
    "waiting": Level.WARN,
    "calibrating": Level.WARN,
    "degraded": Level.WARN,
    "stopped": Level.OFF,
}
_GRAVE = ("source_refused", "engine_hangs", "acquisition_hangs")


@dataclass(frozen=True)
class Message:
    """One message on Status."""

    state: str
    reason: str
    time: float
    counters: Mapping[str, Any] = field(default_factory=dict)
    trial: Mapping[str, Any] | None = None
    content: Mapping[str, Any] = field(default_factory=dict)

    def count(self, *path: str) -> int:
        """Return a counter by its place, 0 where there is none."""
        value: Any = self.counters
        for name in path:
            value = value.get(name, 0) if isinstance(value, Mapping) else 0
        return int(value) if isinstance(value, (int, float)) and math.isfinite(value) else 0


def parse(text: str | bytes) -> Message | None:
    """Read a message; None where it is none of ours."""
    content = read_message(text)
    if content is None or not isinstance(content.get("state"), str):
        return None
    counters, trial, time = content.get("counters"), content.get("trial"), content.get("time")
    return Message(
        content["state"],
        str(content.get("reason") or ""),
        float(time) if isinstance(time, (int, float)) else math.nan,
        counters if isinstance(counters, dict) else {},
        trial if isinstance(trial, dict) else None,
        content,
    )


@dataclass(frozen=True)
class RunState:
    """The state that the banner shows: what the loop said, or that it says nothing."""

    level: Level
    word: str
    reason: str


def run_state(
    message: Message | None,
    *,
    connected: bool,
    age: float | None,
    rig: str,
    status_interval: float = 0.5,
) -> RunState:
    """Return the state of a loop.

    Parameters
    ----------
    message
        Its newest message, if any came.
    connected
        Whether its Status stream is there.
    age
        Seconds since the newest message came.
    rig
        The rig's name; empty where none is chosen.
    status_interval
        Seconds between its messages, at most.
    """
    if not rig:
        return RunState(Level.OFF, "no rig", "open a rig file (Ctrl+O) or attach to a running rig")
    if message is not None and message.state == "stopped":
        return RunState(_stopped(message), "stopped", message.reason)
    if not connected:
        if message is None:
            return RunState(
                Level.OFF, "not running",
                f"press Start (F5); no stream '{rig} Status' yet",
            )  # fmt: skip
        ago = "" if age is None else f" {age:.0f} s ago"
        return RunState(
            Level.BAD,
            "gone",
            f"the loop ended without a word; its last state was '{message.state}'{ago}",
        )
    if message is None:
        return RunState(Level.WARN, "attached", "waiting for the loop's first message")
    if age is not None and age > 3 * status_interval + 1.5:
        return RunState(
            Level.BAD, "silent", f"no word for {age:.0f} s; the last state was '{message.state}'"
        )
    level = _LEVELS.get(message.state, Level.WARN)
    reason = message.reason
    if message.content.get("cause") in _GRAVE:
        level = Level.BAD
    elif message.state == "waiting" and _has_run(message):
        # A source that was there and is lost is worse than one that has not come yet.
        level = Level.BAD
        reason = f"see to the source, no factors{_for_how_long(message)}. {reason}"
    return RunState(level, message.state, reason)


def _has_run(message: Message) -> bool:
    entered = message.content.get("entered")
    return isinstance(entered, dict) and bool(entered.get("running"))


def _for_how_long(message: Message) -> str:
    since = message.content.get("since")
    if not isinstance(since, (int, float)) or not message.time > since:
        return ""
    return f" for {message.time - since:.0f} s"


def _stopped(message: Message) -> Level:
    return Level.BAD if message.content.get("cause") in ("failed", "engine_hangs") else Level.OFF
