"""Inlets that a test fills itself: no network."""

import math
from collections import deque
from types import SimpleNamespace

import numpy as np

from bci_lfads.streams.chunks import NO_MARKERS, NO_SPIKES, MarkerChunk, SpikeChunk
from bci_lfads.streams.decoders import DecoderCounters


class FakeSpikes:
    def __init__(self) -> None:
        self.chunks: deque[SpikeChunk] = deque()
        self.state = "open"
        self.last_stamp, self.n_pulled = -math.inf, 0
        self.source_bins = None
        self.reason, self.time_base = "", "lsl"
        self.counters = DecoderCounters()
        self.connection = SimpleNamespace(
            losses=0, correction=0.0, added=0.0, stamp=math.nan, opened_at=0.0
        )  # fmt: skip

    @property
    def opened_at(self):
        return self.connection.opened_at

    @opened_at.setter
    def opened_at(self, time):
        self.connection.opened_at = time

    def open(self, timeout, stop):
        return self.state == "open" or not stop.wait(timeout)

    def close(self):
        self.state, self.reason = "waiting", "closed"

    def push(self, *times, unit=0):
        n = len(times)
        self.chunks.append(
            SpikeChunk(np.array(times, float), np.full(n, unit, np.int32), np.ones(n, np.int32))
        )

    def pull(self) -> SpikeChunk:
        if self.state != "open" or not self.chunks:
            self.n_pulled = 0
            return NO_SPIKES
        chunk = self.chunks.popleft()
        self.n_pulled = max(1, len(chunk.times))
        bins = self.source_bins
        to_end = 0.5 * bins.width if bins else 0.0  # counts come at their bin's centre
        self.last_stamp = max([self.last_stamp, *(chunk.times + to_end).tolist()])
        return chunk


class FakeMarkers:
    def __init__(self) -> None:
        self.waiting: deque[tuple[float, str]] = deque()
        self.state, self.reason = "open", ""
        self.connection = SimpleNamespace(added=0.0, stamp=math.nan, opened_at=0.0)

    def open(self, timeout, stop):
        return self.state == "open" or not stop.wait(timeout)

    def close(self):
        self.state = "waiting"

    def pull(self) -> MarkerChunk:
        taken = [self.waiting.popleft() for _ in range(len(self.waiting))]
        if not taken:
            return NO_MARKERS
        times, labels = zip(*taken, strict=True)
        return MarkerChunk(np.array(times, float), labels)
