"""One LSL stream, kept connected without ever blocking: found, opened, lost, found again."""

from __future__ import annotations

import logging
import math
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any, Literal

import numpy as np
import pylsl
from numpy.typing import NDArray
from pylsl.util import LostError, TimeoutError  # noqa: A004 - pylsl's own name

from bci_lfads.errors import StreamError
from bci_lfads.headers import Header, parse_header

log = logging.getLogger(__name__)

State = Literal["waiting", "open", "refused"]
_FORGET = 2.0  # seconds after which a stream that no longer answers is taken as gone
_LOOK_EVERY = 0.05  # seconds between two looks for a stream while there is none
_CHECK_EVERY = 1.0  # seconds
_SAME_CLOCK = 1e-3  # seconds: a smaller correction between processes of one host is noise
_PATIENCE = 5.0  # seconds for a stream that is found to open
_SILENCE = 5.0  # seconds without a sample after which to ask whether the source still answers
_MOST_REFUSED = 64


class Connection:
    """A stream that is asked for by its properties, and connected whenever it is there.

    Every method returns at once (`open` aside), so that the thread that pulls is never held up
    by a source that is not there. When the source is lost, it is looked for again by the same
    properties; a stream that `accept` refuses is left alone until another takes its place.

    Stamps are moved to this machine's LSL clock by LSL's own clock correction, the first of which
    is waited for. Between processes of one host there is one clock, so nothing is corrected: what
    LSL measures there is the jitter of its packets, and it would move spikes between bins.

    Parameters
    ----------
    what
        Name in messages: ``spikes`` or ``markers``.
    query
        LSL properties that must match exactly, such as name and type.
    accept
        Looks at a stream's header; raises StreamError to refuse it.
    seconds
        Of samples that may wait to be pulled, in a stream of regular rate.
    max_rate
        Samples per second of an irregular stream, to size its buffer by.
    hosts
        Those that the stream may come from; empty for any.
    """

    def __init__(
        self,
        what: str,
        query: Mapping[str, str],
        accept: Callable[[Header], None],
        *,
        seconds: float = 30.0,
        max_rate: float = 1000.0,
        hosts: Sequence[str] = (),
        clock: Callable[[], float] = pylsl.local_clock,
    ) -> None:
        self.what, self.query = what, dict(query)
        self._accept, self._clock = accept, clock
        self._seconds, self._max_rate, self._hosts = seconds, max_rate, tuple(hosts)
        self._resolver = pylsl.ContinuousResolver(pred=predicate(query), forget_after=_FORGET)
        self._inlet: pylsl.StreamInlet | None = None
        self._info: Any = None
        self._accepted = False
        self._avoid: dict[str, float] = {}  # uid of what was lost or refused, and until when
        self._next_look = self._next_check = self._last_sample = -math.inf
        self._deadline = math.inf
        self._opening = False
        self.state: State = "waiting"
        self.reason = f"no stream with {describe(query)} yet"
        self.header: Header | None = None
        self.losses = 0
        self.opened_at = math.nan
        """LSL time from which on samples are received."""
        self.correction = 0.0
        """Seconds that are added to stamps."""
        self.added = 0.0
        """Seconds that were added to the stamps of the last samples pulled."""
        self.stamp = math.nan
        """Of the last sample pulled, as it came."""

    def open(self, timeout: float, stop: threading.Event | None = None) -> bool:
        """Wait until the stream is connected; return whether it is, or `stop` was set before.

        Raises
        ------
        StreamError
            If it is not there in time, naming what is, or is refused.
        """
        until = time.monotonic() + timeout
        while not self.poll():
            if self.state == "refused":
                raise StreamError(f"{self.what}: {self.reason}")
            if time.monotonic() > until:
                raise StreamError(
                    f"{self.what}: {self.reason} after {timeout:g} s; {_others(self.query)}"
                )
            if stop is None:
                time.sleep(0.01)
            elif stop.wait(0.01):
                return False
        return True

    def poll(self) -> bool:
        """Do what can be done now towards being connected; return whether it is."""
        if self.state == "open":
            return True
        now = self._clock()
        if self._inlet is None:
            if now >= self._next_look:
                self._next_look = now + _LOOK_EVERY
                self._look()
            return False
        try:
            return self._complete(self._inlet)
        except LostError:
            self._drop("the stream was lost while it was being opened")
        except TimeoutError:
            if now > self._deadline:
                self._drop(f"the stream does not open: no answer in {_PATIENCE:g} s")
        return False

    def pull(self, most: int, buffer: NDArray[Any] | None = None) -> tuple[Any, NDArray[Any]]:
        """Return what has arrived: samples and their stamps on this machine's clock.

        Parameters
        ----------
        most
            Samples to take.
        buffer
            Where numeric samples go, shape ``(most, n_channels)``.

        Returns
        -------
        samples
            As of pylsl with ``as_numpy``: of a string stream the raw bytes.
        stamps
            float64, shape ``(n,)``; empty when nothing is there or the stream is away.
        """
        if not self.poll() or (inlet := self._inlet) is None:
            return (), np.empty(0)
        try:
            samples, stamps = inlet.pull_chunk(0.0, most, dest_obj=buffer, as_numpy=True)
        except LostError:
            self._lose()
            return (), np.empty(0)
        now = self._clock()
        if len(stamps):
            self._last_sample = now
            self.stamp, self.added = float(stamps[-1]), self.correction
            if self.correction:
                stamps += self.correction
        if now >= self._next_check:
            self._next_check = now + _CHECK_EVERY
            self._check(inlet, now)
        return samples, stamps

    def close(self) -> None:
        """Disconnect, for good."""
        self._inlet = None
        self.state, self.reason = "waiting", "closed"
        self._next_look = math.inf

    def _look(self) -> None:
        now = self._clock()
        self._avoid = {uid: until for uid, until in self._avoid.items() if until > now}
        found = [i for i in self._resolver.results() if i.uid() not in self._avoid]
        if not found:
            return
        if self._hosts and (strangers := {i.hostname() for i in found} - set(self._hosts)):
            found = [i for i in found if i.hostname() in self._hosts]
            if not found:
                self.state = "refused"
                self.reason = (
                    f"{describe(self.query)} comes from {', '.join(sorted(strangers))}; allowed: "
                    f"{', '.join(self._hosts)}"
                )
                return
        if len(found) > 1:
            hosts = ", ".join(f"'{i.name()}' on {i.hostname()} ({i.source_id()})" for i in found)
            self.state = "waiting"
            self.reason = f"{len(found)} streams fit {describe(self.query)}: {hosts}; say which"
            return
        self._info = found[0]
        irregular = found[0].nominal_srate() == pylsl.IRREGULAR_RATE
        amount = self._max_rate * self._seconds / 100 if irregular else self._seconds
        try:
            self._inlet = new_inlet(found[0], max(10, math.ceil(amount)))
        except StreamError as error:
            self._refuse(error)
            return
        self._deadline = now + _PATIENCE
        self._accepted = self._opening = False
        self.state, self.reason = "waiting", "connecting"

    def _complete(self, inlet: pylsl.StreamInlet) -> bool:
        """Take the next steps of connecting, each of which raises a timeout until it is done."""
        if not self._accepted:
            try:
                header = parse_header(inlet.info(0.0).as_xml())
                self._accept(header)
            except (StreamError, ValueError) as error:
                self._refuse(error)
                return False
            self.header, self._accepted = header, True
        if not self._opening:
            inlet.open_stream(0.0)
            self._opening = True
            self.opened_at = self._clock()
        self.correction = self._worthwhile(inlet.time_correction(0.0))
        self._last_sample = self._clock()
        self._next_check = self._last_sample + _CHECK_EVERY
        self.state, self.reason = "open", ""
        log.info(
            "%s: connected to '%s' on %s, clock correction %.3f ms",
            self.what, self._info.name(), self._info.hostname(), 1e3 * self.correction,
        )  # fmt: skip
        return True

    def _check(self, inlet: pylsl.StreamInlet, now: float) -> None:
        """Follow the clocks, and notice a source that went without a word (power, cable)."""
        try:
            self.correction = self._worthwhile(inlet.time_correction(0.0))
        except TimeoutError:
            pass  # the last one holds
        except LostError:
            self._lose()
            return
        if now - self._last_sample > _SILENCE:
            uid = self._info.uid()
            if all(i.uid() != uid for i in self._resolver.results()):
                self._lose()

    def _refuse(self, error: Exception) -> None:
        self._drop(str(error), avoid=math.inf)
        self.state = "refused"
        log.warning("%s refused: %s", self.what, error)

    def _lose(self) -> None:
        self.losses += 1
        self._drop("the stream was lost; looking for it")
        log.warning("%s: %s", self.what, self.reason)

    def _worthwhile(self, correction: float) -> float:
        header = self.header
        if header is not None and header.text("time_base") == "stream":
            return 0.0
        near = self._info.hostname() == socket.gethostname() and abs(correction) < _SAME_CLOCK
        return 0.0 if near else correction

    def _drop(self, reason: str, *, avoid: float | None = None) -> None:
        """Let go of the inlet; what answers no more is forgotten by the resolver in a while."""
        until = self._clock() + _FORGET if avoid is None else avoid
        while len(self._avoid) >= _MOST_REFUSED:
            self._avoid.pop(next(iter(self._avoid)))
        self._avoid[self._info.uid()] = until
        self._inlet = None
        self.state, self.reason = "waiting", reason


def new_inlet(info: pylsl.StreamInfo, buffer: int) -> pylsl.StreamInlet:
    """Return an inlet that does not look for its stream again by itself.

    Parameters
    ----------
    info
        The stream, as it announces itself.
    buffer
        Seconds that LSL keeps, or hundreds of samples of an irregular stream.

    Raises
    ------
    StreamError
        Where LSL makes none of it, as of a rate that is no number.
    """
    try:
        return pylsl.StreamInlet(info, buffer, recover=False)
    except RuntimeError as error:
        raise StreamError(
            f"LSL makes no inlet of stream '{info.name()}' ({info.channel_count()} channels, "
            f"{info.nominal_srate():g} Hz); see to what its source says of it"
        ) from error


def predicate(query: Mapping[str, str], *, begins: Mapping[str, str] | None = None) -> str:
    """Return LSL's XPath for properties that must match.

    Parameters
    ----------
    query
        Properties that must be equal.
    begins
        Properties that must begin so.

    Raises
    ------
    StreamError
        Where a property has both kinds of quotes, for which XPath has no words.
    """
    parts = [f"{name}={_quoted(name, value)}" for name, value in query.items()]
    parts += [f"starts-with({n},{_quoted(n, value)})" for n, value in (begins or {}).items()]
    return " and ".join(parts)


def _quoted(name: str, value: str) -> str:
    quote = '"' if "'" in value else "'"
    if quote in value:
        raise StreamError(f"a stream's {name} cannot be asked for with both quotes: {value}")
    return f"{quote}{value}{quote}"


def describe(query: Mapping[str, str]) -> str:
    """Return properties in words."""
    return " and ".join(f"{name} '{value}'" for name, value in query.items())


def _others(query: Mapping[str, str]) -> str:
    """Return what is on the network, the likeliest first, for an error's last words."""
    likeness = SequenceMatcher(b=" ".join(query.values()), autojunk=False)

    def like(info: Any) -> float:
        likeness.set_seq1(f"{info.name()} {info.type()}")
        return likeness.ratio()

    infos = sorted(pylsl.resolve_streams(1.0), key=like, reverse=True)
    found = [f"'{i.name()}' (type {i.type()}, {i.hostname()})" for i in infos]
    more = f" and {len(found) - 8} more" if len(found) > 8 else ""
    return f"on the network: {', '.join(found[:8])}{more}" if found else "no stream is there at all"
