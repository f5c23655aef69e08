"""Orders to a running replay, from another thread."""

from __future__ import annotations

import threading
from typing import NamedTuple


class Orders(NamedTuple):
    """What the replay is to do next. A seek and a step are given once, the rest hold."""

    stop: bool
    paused: bool
    seek: float | None
    step: float | str | None
    stepping: bool


class ReplayControl:
    """Pause, resume, step, seek and stop a replay that runs in another thread."""

    def __init__(self, *, paused: bool = False) -> None:
        self._changed = threading.Condition()
        self._stop = False
        self._paused = paused
        self._seek: float | None = None
        self._step: float | str | None = None
        self._stepping = False

    @property
    def paused(self) -> bool:
        """Whether the replay is to stand still."""
        return self._paused

    @property
    def stopped(self) -> bool:
        """Whether the replay is to end."""
        return self._stop

    def pause(self) -> None:
        """Stand still until `resume` or a step."""
        with self._changed:
            self._paused, self._step, self._stepping = True, None, False
            self._changed.notify_all()

    def resume(self) -> None:
        """Go on."""
        with self._changed:
            self._paused, self._step, self._stepping = False, None, False
            self._changed.notify_all()

    def step(self, seconds: float) -> None:
        """Go on for so many seconds of the recording, then pause.

        Raises
        ------
        ValueError
            Where that is not forward.
        """
        if not seconds > 0:
            raise ValueError(f"a step goes forward, got {seconds} s; use seek to go back")
        self._order_step(seconds)

    def step_to(self, pattern: str = "*") -> None:
        """Go on to the next marker of this pattern (``*`` and ``?``), then pause."""
        self._order_step(pattern)

    def seek(self, position: float) -> None:
        """Go to this moment, seconds after the recording's start; stamps go on from where they are.

        Spikes and markers that are skipped are not pushed, and those gone back to come again.
        """
        with self._changed:
            self._seek = position
            self._changed.notify_all()

    def stop(self) -> None:
        """End the replay."""
        with self._changed:
            self._stop = True
            self._changed.notify_all()

    def take(self) -> Orders:
        """Return what to do, and forget the seek and the step. For the replay itself."""
        with self._changed:
            if self._step is not None:
                self._paused, self._stepping = False, True
            orders = Orders(self._stop, self._paused, self._seek, self._step, self._stepping)
            self._seek = self._step = None
            return orders

    def arrived(self) -> None:
        """Note the end of a step. For the replay itself."""
        with self._changed:
            self._paused, self._stepping = True, False

    def wait(self, seconds: float) -> None:
        """Wait for an order. For the replay itself."""
        with self._changed:
            if not self._stop and self._paused and self._seek is None and self._step is None:
                self._changed.wait(seconds)

    def _order_step(self, step: float | str) -> None:
        with self._changed:
            self._step = step
            self._changed.notify_all()
