"""A second engine on the same windows, whose factors are compared and never published.

It has a thread and a bounded queue of its own. The loop copies a window and its factors into a
free place of the queue and goes on; where no place is free, the window is not compared, and is
counted. Whatever the second engine does (fail, hang, be slow) costs the loop that copy at most.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bci_lfads.engines.base import Engine, allocate

log = logging.getLogger(__name__)


@dataclass
class _Place:
    counts: NDArray[np.uint8]
    factors: NDArray[np.float32]


class Shadow:
    """Compares factors of a second engine with those that were published.

    Parameters
    ----------
    engine
        The second engine. It is closed with this.
    n_places
        Windows that may wait for it.

    Attributes
    ----------
    compared, equal, skipped, failed
        Windows that were compared; of those, with the same factors to the bit; that found no
        place in the queue; that the second engine failed in.
    largest, newest
        Largest difference of a factor in all windows, and in the newest that was compared.
    """

    def __init__(self, engine: Engine, n_places: int = 16) -> None:
        self.engine = engine
        info = engine.info
        self._free = deque(
            _Place(
                np.zeros((info.n_bins, info.n_units), np.uint8),
                np.zeros((info.n_bins_out, info.n_factors), np.float32),
            )
            for _ in range(n_places)
        )
        self._ready: deque[_Place] = deque()
        self._there = threading.Semaphore(0)
        self._latents = allocate(info, log_rates=False)
        self._difference = np.empty_like(self._latents.factors)
        self.compared = self.equal = self.skipped = self.failed = 0
        self.largest = self.newest = self._sum_of_squares = 0.0
        self._over = False
        # It may hang in the engine: the process must be able to end without it.
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)
        self._thread.start()

    def show(self, counts: NDArray[np.uint8], factors: NDArray[np.float32]) -> None:
        """Have a window compared, if there is a place for it; never waits."""
        try:
            place = self._free.popleft()
        except IndexError:
            self.skipped += 1
            return
        np.copyto(place.counts, counts)
        np.copyto(place.factors, factors)
        self._ready.append(place)
        self._there.release()

    def summary(self) -> dict[str, object]:
        """Return what was found, ready for JSON."""
        n = self.compared * self._difference.size
        return {
            "engine": self.engine.info.name,
            "compared": self.compared,
            "equal": self.equal,
            "skipped": self.skipped,
            "failed": self.failed,
            "largest_difference": self.largest,
            "newest_difference": self.newest,
            "rms_difference": (self._sum_of_squares / n) ** 0.5 if n else 0.0,
        }

    def close(self, timeout: float = 2.0) -> bool:
        """Compare what waits, and end; return whether the second engine came back in time."""
        self._over = True
        self._there.release()
        self._thread.join(timeout)
        if self._thread.is_alive():
            log.warning("the shadow engine does not come back; it is left behind")
            return False
        self.engine.close()
        return True

    def _run(self) -> None:
        while True:
            self._there.acquire()
            if not self._ready:
                if self._over:
                    return
                continue
            place = self._ready.popleft()
            try:
                self._compare(place)
            except Exception as error:  # whatever it is, the loop goes on
                if not self.failed:
                    log.warning("the shadow engine failed in a window: %r", error)
                self.failed += 1
            finally:
                self._free.append(place)

    def _compare(self, place: _Place) -> None:
        factors = self.engine.infer(place.counts, self._latents).factors
        np.subtract(factors, place.factors, out=self._difference)
        np.abs(self._difference, out=self._difference)
        self.newest = float(self._difference.max())
        self.largest = max(self.largest, self.newest)
        self._sum_of_squares += float(np.vdot(self._difference, self._difference))
        self.equal += self.newest == 0.0
        self.compared += 1
