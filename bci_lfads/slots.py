"""A bounded hand-over of windows between two threads, without allocation."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bci_lfads.memory import held
from bci_lfads.windows import Window


@dataclass
class Slot:
    """A copy of one window, and when it closed.

    Attributes
    ----------
    counts
        uint8, shape ``(n_bins, n_units)``; the slot's own memory.
    start
        Left edge of the first bin, seconds on the LSL clock.
    trial
        Trial number, -1 for a sliding window.
    label
        The marker that aligned the trial.
    last_spike
        Stamp of the newest spike in the window, or NaN.
    closed
        When the window closed, LSL clock.
    truncated
        Whether part of the window lies outside of what was received.
    """

    counts: NDArray[np.uint8]
    start: float = 0.0
    trial: int = -1
    label: str = ""
    last_spike: float = float("nan")
    closed: float = 0.0
    truncated: bool = False

    def fill(self, window: Window, closed: float) -> None:
        """Copy a window into this slot."""
        np.copyto(self.counts, window.counts)
        self.start, self.trial, self.label = window.start, window.trial, window.label
        self.last_spike, self.closed, self.truncated = window.last_spike, closed, window.truncated


class SlotQueue:
    """First in, first out, of fixed length; when full, the oldest waiting window is dropped.

    One thread puts; another gets, and gives the slot back with `done`. `put` never waits; who
    would rather wait than drop asks for room first.

    Parameters
    ----------
    n_slots
        Windows that may wait.
    n_bins, n_units
        Shape of a window.
    """

    def __init__(self, n_slots: int, n_bins: int, n_units: int) -> None:
        # One more than may wait, for the one that the getter works on.
        self._free = deque(Slot(held((n_bins, n_units), np.uint8)) for _ in range(n_slots + 1))
        self._ready: deque[Slot] = deque()
        self._most = n_slots
        self._changed = threading.Condition()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._ready)

    def put(self, window: Window, closed: float) -> None:
        """Copy a window in; drop the oldest that waits if there is no room."""
        with self._changed:
            if len(self._ready) == self._most:
                slot = self._ready.popleft()
                self.dropped += 1
            else:
                slot = self._free.popleft()
            slot.fill(window, closed)
            self._ready.append(slot)
            self._changed.notify()

    def wait_for_room(self, timeout: float) -> bool:
        """Return whether the next `put` drops nothing, after at most `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._ready) < self._most, timeout)

    def get(self, timeout: float) -> Slot | None:
        """Return the oldest waiting window, or None after `timeout` seconds."""
        with self._changed:
            if not self._ready:
                self._changed.wait(timeout)
            slot = self._ready.popleft() if self._ready else None
            self._changed.notify()
            return slot

    def done(self, slot: Slot) -> None:
        """Give a slot back."""
        with self._changed:
            self._free.append(slot)
