"""Two ways to go through a recording: by the clock, or as fast as the consumer takes it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bci_lfads.errors import StreamError

_SPIN = 3e-4  # before a due time the loop spins, for sleeps end late by up to this
_NAP = 0.02  # longest sleep, so that orders are followed soon
_WAIT = 1e-3


class ClockPace:
    """The recording's own intervals, divided by a speed."""

    def __init__(
        self, speed: float, clock: Callable[[], float], sleep: Callable[[float], None]
    ) -> None:
        self._speed, self._clock, self._sleep = speed, clock, sleep
        self._when = self._position = 0.0

    def anchor(self, position: float, when: float, shift: float) -> None:
        """Say that this moment of the recording is due at that clock time."""
        self._position, self._when = position, when

    def due(self, position: float) -> float:
        """Return the clock time at which a moment of the recording is due."""
        return self._when + (position - self._position) / self._speed

    def lateness(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how long ago these moments were due, seconds."""
        due = self._when + (positions - self._position) / self._speed
        return np.asarray(self._clock() - due, np.float64)

    def reach(self, following: float, newest: float) -> float:
        """Return the moment of the recording that is due now."""
        return self._position + (self._clock() - self._when) * self._speed

    def wait(self, following: float) -> None:
        """Sleep until shortly before the next item is due; at once when it is near."""
        left = self.due(following) - self._clock()
        self._sleep(min(left - _SPIN, _NAP) if left > _SPIN else 0.0)


class ConsumerPace:
    """At most so many recorded seconds ahead of what the consumer has worked through.

    Parameters
    ----------
    progress
        Returns the stamp up to which the consumer has closed bins, or None before the first.
    ahead
        Seconds of stamps; more than the consumer's hold-off and window.
    timeout
        Seconds of clock time without progress after which the replay gives up.
    """

    def __init__(
        self,
        progress: Callable[[], float | None],
        ahead: float,
        timeout: float,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._progress, self._ahead, self._timeout = progress, ahead, timeout
        self._slice = ahead / 8
        self._clock, self._sleep = clock, sleep
        self._start = -math.inf
        self._seen = -math.inf
        self._since = clock()

    def anchor(self, position: float, when: float, shift: float) -> None:
        """Say where the replay goes on; time spent until now is not the consumer's."""
        self._start = max(self._start, position + shift)
        self._since = self._clock()

    def due(self, position: float) -> float:
        """Return the clock time: everything is due now."""
        return self._clock()

    def reach(self, following: float, newest: float) -> float:
        """Return the moment up to which to push: the next slice, if the consumer has kept up.

        What counts is the newest stamp that was pushed, not the next: a silent stretch of any
        length is one step.
        """
        stamp = self._progress()
        seen = self._start if stamp is None else max(stamp, self._start)
        now = self._clock()
        if seen > self._seen:
            self._seen, self._since = seen, now
        if newest <= seen + self._ahead - self._slice:
            self._since = now
            return following + self._slice
        if now - self._since > self._timeout:
            raise StreamError(
                f"the consumer has closed no bin for {self._timeout:g} s: its watermark is "
                f"{'not known' if stamp is None else f'{stamp:.3f} s'} and stamps up to "
                f"{newest:.3f} s were pushed; is it running and reading this stream?"
            )
        return -math.inf

    def wait(self, following: float) -> None:
        """Give the consumer a moment."""
        self._sleep(_WAIT)
