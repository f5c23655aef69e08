"""The centre-out task: which target is shown, whether it was reached, and how well."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from bci_lfads.recordings.simulate.population import check_positive


@dataclass(frozen=True)
class TaskSettings:
    """Centre-out reaches that start with the cursor at the centre."""

    n_targets: int = 8
    distance: float = 8.0
    """Centimetres from the centre to the targets' centres."""
    radius: float = 1.5
    """Of a target, centimetres."""
    hold: float = 0.4
    """Seconds for which the cursor must stay in the target without leaving it."""
    timeout: float = 2.5
    """Seconds from the target's appearance until the hold must be complete."""
    rest: float = 0.4
    """Seconds between two reaches; the cursor is back at the centre and does not move."""

    def __post_init__(self) -> None:
        check_positive(**{name: float(value) for name, value in asdict(self).items()})


@dataclass(frozen=True)
class Reach:
    """What became of one reach.

    Attributes
    ----------
    direction
        Of the target, degrees.
    shown
        When it appeared, seconds.
    success
        Whether the cursor stayed in it for the hold before the time was up.
    time
        Seconds from its appearance until the cursor entered it to stay; NaN without success.
    efficiency
        Straight way from the centre to that entry over the way that the cursor took; NaN without
        success.
    """

    direction: float
    shown: float
    success: bool
    time: float
    efficiency: float


class Task:
    """The rules, a step at a time.

    Parameters
    ----------
    settings
        The task.
    step
        Seconds a step.
    seed
        Order of the targets: each comes once in a round.
    """

    def __init__(self, settings: TaskSettings, step: float, seed: int) -> None:
        self.settings, self._step = settings, step
        self._rng = np.random.default_rng([seed, 3])
        self._order: list[int] = []
        self.direction = math.nan
        self.target: NDArray[np.float64] | None = None
        """Centre of the target that is shown, centimetres; None at rest."""
        self.reaches: list[Reach] = []
        self._began = self._entered = 0
        self._inside = False
        self._path = self._path_at_entry = 0.0
        self._before = np.zeros(2)
        self._at_entry = np.zeros(2)

    def look(self, cursor: NDArray[np.float64], now: int) -> tuple[str, ...]:
        """Look at the cursor at the begin of step number `now`; return markers."""
        elapsed = (now - self._began) * self._step
        if self.target is None:
            return self._show(now) if elapsed >= self.settings.rest - 1e-9 else ()
        self._path += math.dist(cursor, self._before)
        self._before[:] = cursor
        inside = math.dist(cursor, self.target) <= self.settings.radius
        if inside and not self._inside:
            self._entered, self._path_at_entry = now, self._path
            self._at_entry[:] = cursor
        self._inside = inside
        held = inside and (now - self._entered) * self._step >= self.settings.hold - 1e-9
        if held or elapsed >= self.settings.timeout - 1e-9:
            return self._end(now, held)
        return ()

    def _show(self, now: int) -> tuple[str, ...]:
        if not self._order:
            self._order = self._rng.permutation(self.settings.n_targets).tolist()
        self.direction = 360.0 * self._order.pop() / self.settings.n_targets
        angle = math.radians(self.direction)
        self.target = self.settings.distance * np.array([math.cos(angle), math.sin(angle)])
        self._began, self._inside = now, False
        self._path = 0.0
        self._before[:] = 0.0
        return "trial/start", f"target/{self.direction:g}"

    def _end(self, now: int, success: bool) -> tuple[str, ...]:
        taken = (self._entered - self._began) * self._step
        straight = math.hypot(*self._at_entry)
        self.reaches.append(
            Reach(
                self.direction,
                self._began * self._step,
                success,
                taken if success else math.nan,
                straight / max(self._path_at_entry, 1e-9) if success else math.nan,
            )
        )
        self.target, self._began = None, now
        return ("trial/success" if success else "trial/timeout", "trial/end")
