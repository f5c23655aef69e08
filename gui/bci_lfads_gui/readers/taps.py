"""One stream each: how it is connected, what becomes of its samples, and how it does."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bci_lfads.about import About
from bci_lfads.errors import StreamError
from bci_lfads.headers import Header
from bci_lfads.streams.connection import Connection
from bci_lfads.streams.markers import MarkerInlet
from bci_lfads.streams.spikes import SpikeInlet
from bci_lfads_gui.model.health import StreamFacts, StreamMeter, Trend

_MOST = 2048  # samples in one pull
_PULLS = 8  # in one look, so that a flood cannot hold the other streams up
_BUFFER = 10.0  # seconds that LSL keeps for us; beyond that it drops the oldest
_DTYPES = {"float32": np.float32, "double64": np.float64}


class Tap(Protocol):
    """A stream that is read."""

    role: str
    required: bool
    connection: Connection
    meter: StreamMeter

    def read(self, now: float) -> None:
        """Connect if that can be done now, and take what has come."""


class _Tap:
    """What all taps share."""

    def __init__(self, role: str, connection: Connection, *, required: bool) -> None:
        self.role, self.connection, self.required = role, connection, required
        self.meter = StreamMeter()
        self._opened = math.nan

    def _came(self, now: float) -> bool:
        """Return whether the stream came, or came back, since this was asked last."""
        opened = self.connection.opened_at
        if self.connection.state != "open" or opened == self._opened:
            return False
        self._opened = opened
        self.meter.begin(now)
        return True

    def _note(self, n: int, now: float) -> None:
        self._came(now)
        self.meter.add(n, now)


class SpikeTap(_Tap):
    """Spikes of the model's units.

    Parameters
    ----------
    about
        Which stream, and which units.
    begin
        Called where the stream came, or came back, before its first chunk is taken.
    take
        Given a chunk of spikes.
    query
        Another stream than the rig's, picked by hand.
    """

    def __init__(
        self,
        about: About,
        begin: Callable[[], None],
        take: Callable[..., None],
        query: Mapping[str, str] | None = None,
    ) -> None:
        asked = about.rig.input.spikes
        self._inlet = SpikeInlet(
            query or asked.properties(), about.unit_labels, about.bin_width,
            unit_map=about.rig.input.units, form="auto" if query else asked.format,
            declared_unit=asked.declared_unit, timestamp_reference=asked.timestamp_reference,
            max_rate=asked.max_rate,
        )  # fmt: skip
        super().__init__("spikes", self._inlet.connection, required=True)
        self._begin, self._take = begin, take

    @property
    def on_stream_clock(self) -> bool:
        """Whether the stream has a clock of its own."""
        return self._inlet.time_base == "stream"

    def read(self, now: float) -> None:
        """Take what has come."""
        n = 0
        for _ in range(_PULLS):
            chunk = self._inlet.pull()
            if self._came(now):
                self._begin()
            if not self._inlet.n_pulled:
                break
            n += self._inlet.n_pulled
            self._take(chunk.times, chunk.units, chunk.counts)
        self._note(n, now)


class MarkerTap(_Tap):
    """Labelled moments."""

    def __init__(
        self, query: Mapping[str, str], take: Callable[[float, str], None], *, required: bool
    ) -> None:
        self._inlet = MarkerInlet(query)
        super().__init__("markers", self._inlet.connection, required=required)
        self._take = take

    def read(self, now: float) -> None:
        """Take what has come."""
        chunk = self._inlet.pull()
        for time, label in zip(chunk.times.tolist(), chunk.labels, strict=True):
            self._take(time, label)
        self._note(len(chunk.labels), now)


class SampleTap(_Tap):
    """Numbers or text of a stream that a run, or a decoder, publishes.

    Parameters
    ----------
    role, required
        As of `StreamFacts`.
    query
        LSL properties.
    accept
        Given the header when the stream is there; raises StreamError to refuse it.
    take
        Given samples, stamps and the time of receipt. Numeric samples are only valid within.
    """

    def __init__(
        self,
        role: str,
        query: Mapping[str, str],
        accept: Callable[[Header], None],
        take: Callable[[Any, NDArray[np.float64], float], None],
        *,
        required: bool,
        max_rate: float = 1000.0,
    ) -> None:
        self._take = take
        self._buffer: NDArray[Any] | None = None

        def prepare(header: Header) -> None:
            if header.format != "string" and header.format not in _DTYPES:
                raise StreamError(f"stream '{header.name}' is of {header.format}, not of floats")
            accept(header)
            kind = _DTYPES.get(header.format)
            self._buffer = None if kind is None else np.empty((_MOST, header.n_channels), kind)

        connection = Connection(role, query, prepare, seconds=_BUFFER, max_rate=max_rate)
        super().__init__(role, connection, required=required)

    def read(self, now: float) -> None:
        """Take what has come."""
        n = 0
        for _ in range(_PULLS):
            # Connecting comes first: another stream of that name changes the buffer.
            if not self.connection.poll():
                break
            samples, stamps = self.connection.pull(_MOST, self._buffer)
            if not len(stamps):
                break
            n += len(stamps)
            self._take(samples, np.asarray(stamps, np.float64), now)
        self._note(n, now)


class Accountant:
    """Turns taps and the loop's counters into facts; remembers a minute of each."""

    def __init__(self) -> None:
        self._trends: dict[str, Trend] = {}

    def facts(self, tap: Tap, counts: Mapping[str, int], now: float) -> StreamFacts:
        """Return what is known of a stream."""
        connection, header = tap.connection, tap.connection.header
        clock = self._trend(f"{tap.role} clock")
        if connection.state == "open":
            clock.add(connection.correction, now)
        recent = {}
        for name, value in counts.items():
            trend = self._trend(f"{tap.role} {name}")
            trend.add(float(value), now)
            recent[name] = int(trend.change(now))
        received = recent.pop("received", 0)
        query = connection.query
        return StreamFacts(
            role=tap.role,
            name=header.name if header else query.get("name", " ".join(query.values())),
            required=tap.required,
            state=connection.state,
            reason=connection.reason,
            hostname=header.info.findtext("hostname") or "" if header else "",
            nominal=header.rate if header else 0.0,
            rate=tap.meter.rate(now),
            age=tap.meter.age(now),
            gap=tap.meter.gap(now),
            correction=connection.correction,
            correction_spread=clock.spread(now),
            counts=recent,
            received=received,
        )

    def _trend(self, name: str) -> Trend:
        return self._trends.setdefault(name, Trend())
