"""The virtual rig: task, subject and cursor; movements in, spikes out."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bci_lfads.closed_loop.subject import Perturbation, Subject, SubjectSettings
from bci_lfads.closed_loop.task import Reach, Task, TaskSettings
from bci_lfads.recordings.simulate.population import STEP

LOOP_STEP = 0.01
"""Seconds; the cursor moves, and the subject intends, once a step."""
_FINE = round(LOOP_STEP / STEP)
_EDGE = 15.0  # centimetres; the cursor goes no further from the centre in x and y
_PATHS = 400  # reaches whose paths are kept


@dataclass(frozen=True)
class RigSettings:
    """Task and subject."""

    task: TaskSettings = field(default_factory=TaskSettings)
    subject: SubjectSettings = field(default_factory=SubjectSettings)


@dataclass
class Step:
    """What one step of the rig gave.

    Attributes
    ----------
    number
        Counted from 0; the step begins at ``number * LOOP_STEP`` seconds.
    times, units
        Spikes in the step: seconds, float64 ``(n,)``, and units, int32 ``(n,)``.
    markers
        Labels of what happened at its begin.
    """

    number: int
    times: NDArray[np.float64]
    units: NDArray[np.int32]
    markers: tuple[str, ...]


class VirtualRig:
    """A subject at a task, whose cursor someone else moves.

    Parameters
    ----------
    settings
        Task and subject.
    perturbation
        Rotation, lost units and drift; its delay belongs to who moves the cursor.
    seed
        Of targets, spikes and the common drive.
    """

    def __init__(
        self,
        settings: RigSettings | None = None,
        perturbation: Perturbation | None = None,
        seed: int = 0,
    ) -> None:
        self.settings = settings or RigSettings()
        self.perturbation = perturbation or Perturbation()
        self.task = Task(self.settings.task, LOOP_STEP, seed)
        self.subject = Subject(self.settings.subject, LOOP_STEP, seed, self.perturbation)
        self.cursor = np.zeros(2)
        """Centimetres."""
        self.paths: list[NDArray[np.float64]] = []
        """Positions of the cursor in the newest reaches, one ``(n_steps, 2)`` a reach."""
        angle = math.radians(self.perturbation.rotation)
        c, s = math.cos(angle), math.sin(angle)
        self._turn = np.array([[c, -s], [s, c]])
        self._number = 0
        self._path: list[tuple[float, float]] = []

    @property
    def unit_labels(self) -> tuple[str, ...]:
        """Of the units, in the order of the spikes' indices."""
        return self.subject.population.unit_labels

    @property
    def reaches(self) -> list[Reach]:
        """What became of the reaches that are over."""
        return self.task.reaches

    def step(self, movement: NDArray[np.float64]) -> Step:
        """Move the cursor, let the task and the subject look at it, and let the units fire.

        Parameters
        ----------
        movement
            By how much the decoder moves the cursor, centimetres, shape ``(2,)``; NaN is none. At
            rest the cursor is not moved.
        """
        if self.task.target is not None and np.isfinite(movement).all():
            self.cursor += self._turn @ movement
            np.clip(self.cursor, -_EDGE, _EDGE, out=self.cursor)
            self._path.append((float(self.cursor[0]), float(self.cursor[1])))
        markers = self.task.look(self.cursor, self._number)
        if self.task.target is None:
            self.cursor[:] = 0.0
            if self._path:
                self.paths.append(np.array(self._path))
                del self.paths[:-_PATHS]
                self._path.clear()
        self.subject.look(self.cursor, self.task.target)
        number, self._number = self._number, self._number + 1
        latents = np.repeat(self.subject.latents()[None], _FINE, axis=0)
        return Step(number, *self.subject.spikes(latents, number * _FINE), markers)
