"""A consumer of the published factors, as a decoder would be one: pylsl and the stream's text.

It shares nothing with the loop but the network, and so measures what a decoder would see.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pylsl
from numpy.typing import NDArray
from pylsl.util import LostError, TimeoutError  # noqa: A004 - pylsl's own name

from bci_lfads.about import read_message
from bci_lfads.errors import StreamError
from bci_lfads.streams.connection import predicate

log = logging.getLogger(__name__)
LATENCY_COLUMNS = ("last_spike", "window_closed", "submitted", "done", "pushed")


@dataclass
class Heard:
    """What a listener received.

    Attributes
    ----------
    factors
        float32, shape ``(n_samples, n_channels)``: for trials the last two channels are the
        trial's number and the bin.
    stamps, received
        Per sample: its LSL stamp, and when it was taken from the inlet (LSL clock), seconds.
    latency_stamps, latency
        Stamps (the end of each window) and rows of `LATENCY_COLUMNS`.
    status
        Messages of the Status stream.
    """

    factors: NDArray[np.float32]
    stamps: NDArray[np.float64]
    received: NDArray[np.float64]
    latency_stamps: NDArray[np.float64]
    latency: NDArray[np.float64]
    status: list[dict[str, Any]] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write everything to an ``.npz``."""
        with path.open("wb") as file:
            np.savez_compressed(
                file,
                factors=self.factors,
                stamps=self.stamps,
                received=self.received,
                latency_stamps=self.latency_stamps,
                latency=self.latency,
                status=np.array([json.dumps(s) for s in self.status], np.str_),
            )

    def trials(self) -> dict[int, NDArray[np.float32]]:
        """Return the factors of each trial, ``(n_bins, n_factors)`` by number, if it is whole.

        Whole is a trial that has each bin once, and as many as the longest.
        """
        numbers = self.factors[:, -2].astype(int)
        bins = np.arange(self.factors[:, -1].max(initial=-1) + 1)
        found = {n: self.factors[numbers == n] for n in np.unique(numbers)}
        return {
            int(n): rows[:, :-2] for n, rows in found.items() if np.array_equal(rows[:, -1], bins)
        }

    def windows(
        self, bin_width: float, *, sliding: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the end of each window, and when the last of its samples was received.

        Parameters
        ----------
        bin_width
            Of the model, seconds.
        sliding
            Whether the samples are of a sliding window with a hop of one bin, each of which ends
            a window, or of trials.

        Returns
        -------
        ends, received
            LSL clock, seconds, float64, shape ``(n_windows,)``.
        """
        if sliding:
            return self.stamps + 0.5 * bin_width, self.received
        numbers = self.factors[:, -2]
        own = [numbers == n for n in np.unique(numbers)]
        ends = np.array([self.stamps[rows].max() + 0.5 * bin_width for rows in own])
        return ends, np.array([self.received[rows].max() for rows in own])

    def received_at(self) -> dict[int, float]:
        """Return when the last bin of each trial was received, LSL clock."""
        numbers = self.factors[:, -2].astype(int)
        return {int(n): float(self.received[numbers == n].max()) for n in np.unique(numbers)}


def load_heard(path: Path) -> Heard:
    """Read what `Heard.save` wrote."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    status = [json.loads(text) for text in arrays.pop("status").tolist()]
    return Heard(**arrays, status=status)


def _nothing() -> Heard:
    nothing = np.empty(0)
    return Heard(
        np.empty((0, 0), np.float32), nothing, nothing, nothing, np.empty((0, len(LATENCY_COLUMNS)))
    )


def _inlet(
    rig: str, stream: str, timeout: float, stop: threading.Event
) -> pylsl.StreamInlet | None:
    """Return an open inlet, or None if `stop` was set before there was one."""
    name = f"{rig} {stream}"
    resolver = pylsl.ContinuousResolver(pred=predicate({"name": name}))
    until = time.monotonic() + timeout
    while not (found := resolver.results()):
        if stop.wait(0.05):
            return None
        if time.monotonic() > until:
            raise StreamError(f"no stream '{name}' within {timeout:g} s; {_instead(rig, stream)}")
    inlet = pylsl.StreamInlet(found[0], max_buflen=360, recover=True)
    try:
        inlet.open_stream(timeout)
    except (LostError, TimeoutError) as error:
        raise StreamError(
            f"stream '{name}' is announced by {found[0].hostname()} but did not open within "
            f"{timeout:g} s: {error}"
        ) from error
    return inlet


def _instead(rig: str, stream: str) -> str:
    """Say what to do about a stream that is not there."""
    other, advice = {
        "TrialFactors": ("Factors", "it runs a sliding window: listen with --sliding"),
        "Factors": ("TrialFactors", "it runs trials: listen without --sliding"),
    }.get(stream, ("", ""))
    if other and pylsl.resolve_bypred(predicate({"name": f"{rig} {other}"}), 1, 1.5):
        return f"rig '{rig}' publishes {other}; {advice}"
    return f"is `bci-lfads run` of rig '{rig}' going?"


def listen(
    rig: str,
    stop: threading.Event,
    *,
    sliding: bool = False,
    timeout: float = 10.0,
    on_ready: Callable[[], None] | None = None,
    on_samples: Callable[[int], None] | None = None,
) -> Heard:
    """Receive factors, latencies and status of a rig until it stops or `stop` is set.

    Parameters
    ----------
    rig
        Name of the rig, the prefix of its streams.
    stop
        Set it to end.
    sliding
        Whether the rig runs a sliding window (stream Factors) or trials (TrialFactors).
    timeout
        Seconds to wait for the streams.
    on_ready
        Called when all inlets are open.
    on_samples
        Called with the number of samples received so far.

    Raises
    ------
    StreamError
        If the rig's streams are not there.
    """
    inlets: list[pylsl.StreamInlet] = []
    for stream in ("Factors" if sliding else "TrialFactors", "Latency", "Status"):
        inlet = _inlet(rig, stream, timeout, stop)
        if inlet is None:
            return _nothing()
        inlets.append(inlet)
    factors, latency, status = inlets
    if on_ready:
        on_ready()
    rows: list[NDArray[np.float32]] = []
    stamps: list[float] = []
    received: list[float] = []
    latencies: list[list[float]] = []
    latency_stamps: list[float] = []
    messages: list[dict[str, Any]] = []
    try:
        over = False
        while not (over or stop.is_set()):
            # Blocks until the first sample is there, so that `received` is when it came.
            sample, stamp = factors.pull_sample(timeout=0.1)
            now = pylsl.local_clock()
            if stamp is not None:
                rows.append(np.array(sample, np.float32))
                stamps.append(stamp)
                received.append(now)
                more, more_stamps = factors.pull_chunk(timeout=0.0, max_samples=4096)
                now = pylsl.local_clock()
                rows.extend(np.array(row, np.float32) for row in more)
                stamps.extend(more_stamps)
                received.extend([now] * len(more_stamps))
                if on_samples:
                    on_samples(len(stamps))
            values, at = latency.pull_chunk(timeout=0.0)
            latencies.extend(values)
            latency_stamps.extend(at)
            for (text,) in status.pull_chunk(timeout=0.0)[0]:
                if (message := read_message(text)) is None:
                    log.warning("what is no message on Status is left out: %.40r", text)
                else:
                    messages.append(message)
            over = stamp is None and bool(messages) and messages[-1].get("state") == "stopped"
    finally:
        for inlet in (factors, latency, status):
            inlet.close_stream()
    width = factors.channel_count
    return Heard(
        np.array(rows, np.float32).reshape(-1, width),
        np.array(stamps),
        np.array(received),
        np.array(latency_stamps),
        np.array(latencies).reshape(-1, len(LATENCY_COLUMNS)),
        messages,
    )
