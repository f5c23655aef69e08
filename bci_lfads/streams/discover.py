"""What is on the network, what it could be used for, and how it does."""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pylsl
from pylsl.util import LostError, TimeoutError  # noqa: A004 - pylsl's own name

from bci_lfads.errors import StreamError
from bci_lfads.headers import Header, parse_header
from bci_lfads.streams.connection import new_inlet
from bci_lfads.streams.decoders import spike_format

Role = Literal[
    "events", "ids", "counts", "markers", "factors", "rates", "behaviour", "status", "latency",
    "signal",
]  # fmt: skip
_SPIKES = re.compile(r"spike|sorted|unit|count", re.IGNORECASE)
_MARKERS = re.compile(r"marker|trigger|event|stim", re.IGNORECASE)
_OURS: dict[str, Role] = {
    "LatentFactors": "factors", "FiringRates": "rates", "Behaviour": "behaviour",
    "Markers": "status", "Metrics": "latency",
}  # fmt: skip

_PATIENCE = 2.0  # seconds for streams to answer
_POLL = 0.02
_MOST = 1024  # samples in one pull
_PULLS = 16  # in one look, so that a flood cannot hold the others up
_MOST_STREAMS = 100  # listened to, for each costs threads
_SLOW = 0.9  # of the nominal rate
_OLD, _AHEAD = 1.0, 0.1  # seconds


@dataclass(frozen=True)
class Health:
    """What was heard of a stream.

    Attributes
    ----------
    seconds
        For which it was listened to.
    samples
        Received.
    rate
        Samples per second.
    age
        Seconds from the newest stamp to its arrival, on this machine's clock; None without
        samples.
    correction
        Clock correction, seconds; None where it was not to be had.
    """

    seconds: float
    samples: int
    rate: float
    age: float | None
    correction: float | None


@dataclass(frozen=True)
class FoundStream:
    """A stream, as the network tells of it.

    Attributes
    ----------
    rate
        Nominal, Hz; 0 for irregular.
    role
        What it carries, by what it says of itself.
    usable
        What it can be used as here, or why not, in words.
    health
        What was heard of it; None where no one listened.
    problems
        What a rig user should know.
    """

    name: str
    type: str
    source_id: str
    hostname: str
    format: str
    n_channels: int
    rate: float
    uid: str
    role: Role
    usable: str
    health: Health | None
    problems: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


class _Listener:
    """One stream that is asked and listened to; nothing here waits."""

    def __init__(self, info: pylsl.StreamInfo, *, listens: bool) -> None:
        self.info, self._listens = info, listens
        self.header: Header | None = None
        self.failure = ""
        self.samples = self.largest = 0
        self.age: float | None = None
        self.correction: float | None = None
        self._inlet: pylsl.StreamInlet | None = None
        self._opened = False
        try:
            self._inlet = new_inlet(info, 60)
        except StreamError as error:
            self.failure = str(error)

    @property
    def settled(self) -> bool:
        """Whether there is nothing more to be asked."""
        answered = self.correction if self._listens else self.header
        return bool(self.failure) or answered is not None

    def ask(self) -> None:
        """Take the next steps."""
        inlet = self._inlet
        if inlet is None:
            return
        try:
            if self.header is None:
                self.header = parse_header(inlet.info(0.0).as_xml())
            if not self._listens:
                return
            if not self._opened:
                inlet.open_stream(0.0)
                self._opened = True
            self.correction = inlet.time_correction(0.0)
        except TimeoutError:
            return
        except LostError:
            self.failure = "it went away"
        except ValueError as error:
            self.failure = str(error)

    def begin(self) -> None:
        """Forget what came before all streams were open."""
        self.take()
        self.samples = self.largest = 0
        self.age = None

    def take(self) -> None:
        """Take what has come."""
        if self.failure or self._inlet is None or not self._opened:
            return
        chunk = 0
        try:
            for _ in range(_PULLS):
                stamps = self._inlet.pull_chunk(0.0, _MOST, as_numpy=True)[1]
                if not len(stamps):
                    break
                chunk += len(stamps)
                newest = float(np.max(stamps)) + (self.correction or 0.0)
                self.age = pylsl.local_clock() - newest
        except LostError:
            self.failure = "it went away"
        self.samples += chunk
        self.largest = max(self.largest, chunk)


def list_streams(wait: float = 1.0, listen: float = 0.0) -> list[FoundStream]:
    """Look for all streams, and listen to them.

    Takes at most `wait`, some two seconds for streams that do not answer, and `listen`.

    Parameters
    ----------
    wait
        Seconds to look.
    listen
        Seconds to listen to all of them at once; 0 only reads their descriptions.

    Returns
    -------
    found
        By host and name; at most 100.
    """
    infos = pylsl.resolve_streams(wait)[:_MOST_STREAMS]
    listeners = [_Listener(info, listens=listen > 0) for info in infos]
    until = time.monotonic() + _PATIENCE
    while (waiting := [w for w in listeners if not w.settled]) and time.monotonic() < until:
        for listener in waiting:
            listener.ask()
        time.sleep(_POLL)
    for listener in listeners:
        listener.begin()
    began = time.monotonic()
    while time.monotonic() - began < listen:
        time.sleep(_POLL)
        for listener in listeners:
            listener.take()
    seconds = time.monotonic() - began
    found = [_found(listener, seconds if listen > 0 else None) for listener in listeners]
    return sorted(found, key=lambda s: (s.hostname, s.name, s.uid))


def role_of(header: Header) -> Role:
    """Return what a stream carries, by what it says of itself; `signal` is all the rest."""
    if header.text("model/hash") and header.type in _OURS:
        return _OURS[header.type]
    said = f"{header.name} {header.type}"
    is_marker = header.format == "string" or _MARKERS.search(said)
    if header.rate == 0 and header.n_channels == 1 and is_marker and not _SPIKES.search(said):
        return "markers"
    try:
        form = spike_format(header)
    except StreamError:
        return "signal"
    # Any regular stream could be counts; what is not called so is not offered as such.
    is_called = _SPIKES.search(said) or header.text("channels/channel/unit").startswith("count")
    return "signal" if form == "counts" and not is_called else form


def usable_as(header: Header, role: Role) -> str:
    """Return in words what a stream can be used as here, or why not."""
    if role in _OURS.values():
        return f"{role}, published by bci-lfads"
    if role == "markers":
        return "markers"
    if role == "counts":
        width = f"bins of {1e3 / header.rate:g} ms"
        return f"spikes as counts, {_units(header.n_channels)} in {width}"
    if role == "signal":
        try:
            spike_format(header)
        except StreamError as error:
            return f"refused: {error}"
        return "a signal; spikes as counts if its channels are called as the model's units"
    listed = header.listed_units(("channel", "unit") if role == "events" else ("id",))
    return f"spikes as {role}, {_units(len(listed))} listed"


def problems_of(header: Header, health: Health | None, largest: int = 0) -> list[str]:
    """Return in words what is wrong with a stream.

    Parameters
    ----------
    header, health
        What it says, and what was heard.
    largest
        Samples that came at once at most: a source that sends blocks is allowed one of them.
    """
    problems = []
    if not header.source_id:
        problems.append("no source_id: it cannot be found again after a restart")
    if header.n_channels > 1 and not header.labels:
        problems.append("its channels have no labels, or not all of them")
    if twice := [label for label, n in Counter(header.labels).items() if n > 1]:
        problems.append(f"channels share labels: {', '.join(twice[:5])}")
    if health is None:
        return problems
    due = _SLOW * (header.rate * health.seconds - max(1, largest))
    if header.rate > 0 and (health.samples < due or not health.samples):
        problems.append(f"{health.rate:.1f} samples a second instead of {header.rate:g}")
    if health.age is not None and header.text("time_base") != "stream":
        if health.age > _OLD:
            problems.append(f"stamps are {health.age:.1f} s old when they come")
        elif health.age < -_AHEAD:
            problems.append(f"stamps are {-health.age:.1f} s in the future")
    return problems


def _units(n: int) -> str:
    return f"{n or 'no'} unit{'' if n == 1 else 's'}"


def _found(listener: _Listener, seconds: float | None) -> FoundStream:
    info, header = listener.info, listener.header
    health = None
    if seconds is not None:
        health = Health(
            seconds, listener.samples, listener.samples / seconds, listener.age,
            listener.correction,
        )  # fmt: skip
    role: Role = "signal"
    usable = "refused: it does not say what it is"
    problems = [listener.failure] if listener.failure else []
    if header is not None:
        role = role_of(header)
        usable = usable_as(header, role)
        problems += problems_of(header, health, listener.largest)
    elif not problems:
        problems = ["it does not answer"]
    return FoundStream(
        info.name(), info.type(), info.source_id(), info.hostname(),
        header.format if header else "", info.channel_count(), info.nominal_srate(), info.uid(),
        role, usable, health, tuple(problems),
    )  # fmt: skip
