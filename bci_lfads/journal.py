"""What the acquisition did, step by step, so that a recording can be put through it again.

Windows depend on which spikes had come when a bin was closed, and on the clock correction that
was added to their stamps; neither is in the streams themselves. The journal says both: each row
tells how many samples had been taken, and what was then done. docs/verification.md describes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from bci_lfads.memory import held

CHANNELS = ("event", "spikes", "spike_stamp", "markers", "marker_stamp", "a", "b")
"""Of a row: what was done; samples taken from the spike stream so far and the stamp of the newest,
as it came; the same of markers; and what the event needs."""
_CAPACITY = 1 << 15


class Event(IntEnum):
    """What a row says was done, after the samples that it counts had been taken."""

    CLOSE = 0
    """The watermark was moved to ``a``, and with it a bin or a window closed."""
    BEGIN = 1
    """Spikes were said to be received from ``a`` on."""
    SNAP = 2
    """Bins were put on a source's: an edge at ``a``, ``b`` wide."""
    GAP = 3
    """Spikes from ``a`` to ``b`` were said not to have been received."""
    ANEW = 4
    """A stream clock came back: windows were given up and begun anew."""
    FLUSH = 5
    """The run was over, and what was left was given."""
    CLOCK = 6
    """Samples taken from now on: ``a`` is added to stamps of spikes, ``b`` to those of markers."""
    OPEN = 7
    """Samples taken from now on are of the connections that were made at ``a`` to the spikes and at
    ``b`` to the markers; 0 before the first. No row counts samples of two connections."""


class Journal:
    """Rows on their way from the acquisition's thread to the one that publishes.

    Memory is fixed. Should the publishing thread be held up for so long that there is no room,
    further rows are left out and counted.
    """

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._rows = held((capacity, len(CHANNELS)))
        self._stamps = held(capacity)
        self._written = self._read = 0
        self.lost = 0
        """Rows left out."""
        self.spikes = self.markers = 0
        """Samples taken so far."""
        self.spike_stamp = self.marker_stamp = np.nan
        """Stamps of the newest, as they came."""

    def write(self, event: Event, now: float, a: float = np.nan, b: float = np.nan) -> None:
        """Note what was done; `now` is the LSL clock."""
        if self._written - self._read == len(self._rows):
            self.lost += 1
            return
        at = self._written % len(self._rows)
        self._rows[at] = (
            event, self.spikes, self.spike_stamp, self.markers, self.marker_stamp, a, b,
        )  # fmt: skip
        self._stamps[at] = now
        self._written += 1

    def read(self) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Give rows and stamps that were not read yet, in pieces, each valid until the next."""
        until = self._written
        while self._read < until:
            first = self._read % len(self._rows)
            n = min(until - self._read, len(self._rows) - first)
            yield self._rows[first : first + n], self._stamps[first : first + n]
            self._read += n
