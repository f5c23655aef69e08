"""The subject: what it intends from what it sees, and how its units encode that."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bci_lfads.errors import RecordingError
from bci_lfads.recordings.simulate.population import Population, check_positive

LATENTS = ("intention_x", "intention_y", "speed", "drive")


@dataclass(frozen=True)
class SubjectSettings:
    """How the subject controls the cursor, and its units.

    The intended velocity follows ``gain`` · (target − cursor), no faster than ``top_speed``, both
    seen ``visual_delay`` seconds late, through a low-pass filter of time constant ``inertia``. The
    subject predicts nothing: it does not know how late the cursor follows.
    """

    gain: float = 2.0
    """Of position to velocity, 1/s."""
    top_speed: float = 12.0
    """Centimetres a second."""
    visual_delay: float = 0.08
    """Seconds."""
    inertia: float = 0.05
    """Seconds."""
    n_units: int = 48
    rate: float = 10.0
    """Mean rate of the units, Hz."""
    spread: float = 0.5
    """Standard deviation over units of the logarithm of their mean rates."""
    depth: float = 0.8
    """Median over units of the log-rate's modulation by an intention of ``top_speed``."""
    population_seed: int = 11
    """Tuning and baselines."""

    def __post_init__(self) -> None:
        check_positive(
            gain=self.gain, top_speed=self.top_speed, inertia=self.inertia,
            n_units=float(self.n_units), rate=self.rate,
        )  # fmt: skip
        if not 0 <= self.visual_delay <= 2:
            raise RecordingError(f"visual_delay is {self.visual_delay} s; expected 0 to 2")


@dataclass(frozen=True)
class Perturbation:
    """What is done to a loop that worked.

    Raises
    ------
    RecordingError
        For a number out of its range.
    """

    rotation: float = 0.0
    """Degrees by which the cursor moves in another direction than was decoded."""
    lost: float = 0.0
    """Share of units that have gone silent."""
    drift: float = 0.0
    """Standard deviation over units of how far their preferred directions have turned, degrees."""
    delay: float = 0.0
    """Seconds from behaviour decoded to the cursor moved, beside what the path itself takes."""

    def __post_init__(self) -> None:
        if not math.isfinite(self.rotation):
            raise RecordingError(f"rotation is {self.rotation}; expected degrees")
        for name, most in (("lost", 1.0), ("drift", 180.0), ("delay", 5.0)):
            value = getattr(self, name)
            if not 0 <= value <= most:
                raise RecordingError(f"{name} is {value}; expected 0 to {most:g}")


class Subject:
    """Intentions from what is seen, a step at a time, and spikes from intentions.

    Parameters
    ----------
    settings
        The subject.
    step
        Seconds a step; intentions and rates are constant within it.
    seed
        Of spikes and of the drive common to all units.
    perturbation
        What happened to the units.
    """

    def __init__(
        self,
        settings: SubjectSettings,
        step: float,
        seed: int,
        perturbation: Perturbation | None = None,
    ) -> None:
        self.settings, self._step = settings, step
        self._rng = np.random.default_rng([seed, 4])
        self.population = population(settings, perturbation or Perturbation())
        n_seen = round(settings.visual_delay / step)
        self._errors = np.zeros((n_seen + 1, 2))  # a ring: target - cursor, as of each step
        self._at = 0
        self._keep = math.exp(-step / settings.inertia)
        self.intention = np.zeros(2)
        """Intended velocity, centimetres a second."""
        self._drive = 0.0

    def look(self, cursor: NDArray[np.float64], target: NDArray[np.float64] | None) -> None:
        """See the cursor and the target, if there is one, and intend."""
        s = self.settings
        error = self._errors[self._at]
        error[:] = 0.0
        if target is not None:
            error += target - cursor
        self._at = (self._at + 1) % len(self._errors)
        wanted = s.gain * self._errors[self._at]  # the oldest
        speed = math.hypot(*wanted)
        if speed > s.top_speed:
            wanted *= s.top_speed / speed
        self.intention += (1.0 - self._keep) * (wanted - self.intention)
        # An Ornstein-Uhlenbeck process of deviation 1 and time constant 1 s.
        keep = math.exp(-self._step)
        self._drive = keep * self._drive + math.sqrt(1 - keep**2) * self._rng.standard_normal()

    def latents(self) -> NDArray[np.float64]:
        """Return what the units encode now, in the order of `LATENTS`."""
        x, y = self.intention / self.settings.top_speed
        return np.array([x, y, math.hypot(x, y), self._drive])

    def spikes(
        self, latents: NDArray[np.float64], first_step: int
    ) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """Return times and units of the spikes of latents given by the millisecond."""
        events = self.population.spikes(latents, first_step, self._rng)
        return events.times, events.units


def population(settings: SubjectSettings, perturbation: Perturbation) -> Population:
    """Return the units: cosine tuning to the intention, and what has become of it.

    The perturbation's own draws depend on the population's seed too: a larger share of lost units
    contains a smaller one.
    """
    rng = np.random.default_rng([settings.population_seed, 7])
    n = settings.n_units
    preferred = rng.uniform(0, 2 * np.pi, n)
    depth = settings.depth * np.exp(0.3 * rng.standard_normal(n))
    speed, drive = rng.normal(0.2, 0.4, n), rng.normal(0.1, 0.15, n)
    # Typical latents, for the mean rate: at rest half of the time, else any direction and speed.
    angle = rng.uniform(0, 2 * np.pi, 2000)
    size = rng.uniform(0, 0.8, 2000) * (rng.random(2000) < 0.5)
    reference = np.stack(
        [size * np.cos(angle), size * np.sin(angle), size, rng.standard_normal(2000)], axis=1
    )

    def loading(direction: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(
            [depth * np.cos(direction), depth * np.sin(direction), speed, drive], axis=1
        )

    units = Population.draw(loading(preferred), reference, settings.rate, settings.spread, rng)
    turn = rng.standard_normal(n) * math.radians(perturbation.drift)
    silent = rng.permutation(n)[: round(perturbation.lost * n)]
    bias = units.bias.copy()
    bias[silent] = -np.inf
    return replace(units, loading=loading(preferred + turn), bias=bias)
