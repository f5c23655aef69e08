"""What is on the network, what it could be used for, and how it does."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pylsl
from pylsl.util import LostError, TimeoutError  # noqa: A004 - pylsl's own name

from bci_lfads.errors import StreamError
from bci_lfads.headers import Header, parse_header
from bci_lfads.streams.decoders import spike_format

_PATIENCE = 2.0
_POLL = 0.02
_MOST = 4096
_SLOW = 0.9  # of the nominal rate


@dataclass(frozen=True)
class Health:
    """What was heard of a stream.

    Attributes
    ----------
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

    samples: int
    rate: float
    age: float | None
    correction: float | None


@dataclass(frozen=True)
class FoundStream:
    """A stream, as the network tells of it.

    Attributes
    ----------
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
    usable: str
    health: Health | None
    problems: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


class _Listener:
    """One stream that is listened to."""

    def __init__(self, info: pylsl.StreamInfo) -> None:
        self.info = info
        self.inlet = pylsl.StreamInlet(info, 10, recover=False)
        self.header: Header | None = None
        self.failure = ""
        self.samples, self.age, self.correction = 0, None, None
        self._opened = False

    def step(self) -> None:
        """Take the next steps without waiting."""
        if self.failure:
            return
        try:
            if self.header is None:
                self.header = parse_header(self.inlet.info(0.0).as_xml())
            if not self._opened:
                self.inlet.open_stream(0.0)
                self._opened = True
            if self.correction is None:
                self.correction = self.inlet.time_correction(0.0)
        except TimeoutError:
            return
        except (LostError, ValueError) as error:
            self.failure = str(error)

    def take(self) -> None:
        """Take what has come."""
        if self.failure or not self._opened:
            return
        try:
            while len(stamps := self.inlet.pull_chunk(0.0, _MOST, as_numpy=True)[1]):
                self.samples += len(stamps)
                newest = float(np.max(stamps)) + (self.correction or 0.0)
                self.age = pylsl.local_clock() - newest
        except LostError as error:
            self.failure = str(error)


def list_streams(wait: float = 1.0, listen: float = 0.0) -> list[FoundStream]:
    """Look for all streams, and listen to them.

    Parameters
    ----------
    wait
        Seconds to look.
    listen
        Seconds to listen to all of them at once; 0 only reads their descriptions.
    """
    listeners = [_Listener(info) for info in pylsl.resolve_streams(wait)]
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until and any(
        w.correction is None and not w.failure for w in listeners
    ):
        for listener in listeners:
            listener.step()
        time.sleep(_POLL)
    for listener in listeners:
        listener.take()
        listener.samples = 0
    began = time.monotonic()
    while time.monotonic() - began < listen:
        for listener in listeners:
            listener.take()
        time.sleep(_POLL)
    seconds = time.monotonic() - began
    found = [_found(listener, seconds if listen > 0 else None) for listener in listeners]
    return sorted(found, key=lambda s: (s.hostname, s.name, s.uid))


def _found(listener: _Listener, seconds: float | None) -> FoundStream:
    info, header = listener.info, listener.header
    health = None
    if seconds is not None:
        health = Health(
            listener.samples, listener.samples / seconds, listener.age, listener.correction
        )
    problems = [listener.failure] if listener.failure else []
    if header is None:
        problems.append("it does not answer")
        usable = "unknown"
    else:
        usable = usable_as(header)
        problems += _problems(header, health)
    return FoundStream(
        info.name(), info.type(), info.source_id(), info.hostname(),
        header.format if header else "", info.channel_count(), info.nominal_srate(), info.uid(),
        usable, health, tuple(problems),
    )  # fmt: skip


def usable_as(header: Header) -> str:
    """Return in words what a stream can be used as here."""
    if header.text("model/hash"):
        return "published by bci-lfads"
    irregular = header.rate == 0 and header.n_channels == 1
    if irregular and "marker" in header.type.lower():
        return "markers"
    try:
        form = spike_format(header)
    except StreamError as error:
        return f"nothing: {error}"
    if form == "counts":
        return f"spikes as counts, {header.n_channels} units in bins of {1e3 / header.rate:g} ms"
    if irregular and header.format == "string" and "spike" not in header.type.lower():
        return "markers"
    listed = header.listed_units(("channel", "unit") if form == "events" else ("id",))
    named = f"{len(listed)} units listed" if listed else "units not listed"
    return f"spikes as {form}, {named}"


def _problems(header: Header, health: Health | None) -> list[str]:
    problems = []
    if not header.source_id:
        problems.append("no source_id: other programs cannot find it again after a restart")
    if header.rate > 0 and not header.labels:
        problems.append("its channels have no labels")
    if len(set(header.labels)) < len(header.labels):
        problems.append("channels share labels")
    if health is None:
        return problems
    if header.rate > 0 and health.rate < _SLOW * header.rate:
        problems.append(f"{health.rate:.1f} samples a second instead of {header.rate:g}")
    if health.age is not None and header.text("time_base") != "stream":
        if health.age > 1.0:
            problems.append(f"stamps are {health.age:.1f} s old when they come")
        elif health.age < -0.1:
            problems.append(f"stamps are {-health.age:.1f} s in the future")
    return problems
