"""Spikes of units that are driven by a Lorenz system."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci_lfads.errors import RecordingError
from bci_lfads.recordings.recording import Recording
from bci_lfads.recordings.simulate.population import (
    STEP,
    Population,
    block,
    check_interval,
    check_positive,
    gather,
    steps,
)

SIGMA, RHO, BETA = 10.0, 28.0, 8.0 / 3.0
# Of the attractor, over 400 orbits of 40 time units each (x and y are symmetric about 0).
MEAN = np.array([0.0, 0.0, 23.55])
DEVIATION = np.array([7.924, 9.010, 8.620])
LABELS = ("lorenz_x", "lorenz_y", "lorenz_z")
_SETTLE_STEP, _SETTLE_STEPS = 0.005, 2000
State = tuple[float, float, float]


@dataclass(frozen=True)
class Lorenz:
    """A Lorenz-driven population in trials, each on an orbit of its own."""

    n_units: int = 50
    trial_length: float = 0.73
    """Seconds from ``trial/start`` to ``trial/end``."""
    gap: tuple[float, float] = (0.2, 0.5)
    """Shortest and longest time before a trial, seconds; the trial's orbit is under way in it."""
    rate: float = 12.0
    """Mean rate of the units, Hz."""
    speed: float = 2.0
    """Lorenz time units a second; a loop of the attractor takes about 0.75 units."""
    depth: float = 1.0
    """Standard deviation of a unit's log-rate, on average over units."""
    spread: float = 0.3
    """Standard deviation over units of the logarithm of their mean rates."""
    n_conditions: int | None = None
    """Initial conditions that come back, in turn, each announced as ``condition/<k>``; or none:
    every trial has a new one."""
    continuous: bool = False
    """Whether one orbit runs on through all trials."""
    seed: int = 0
    """Orbits, gaps and spikes."""
    population_seed: int = 0
    """Loading, biases and recurring initial conditions."""

    def __post_init__(self) -> None:
        check_positive(
            n_units=self.n_units, trial_length=self.trial_length, rate=self.rate, speed=self.speed
        )
        check_interval("gap", self.gap)
        if self.n_conditions is not None:
            check_positive(n_conditions=self.n_conditions)
            if self.continuous:
                raise RecordingError("a continuous orbit has no conditions to come back to")

    def population(self) -> Population:
        """Return the units, which depend on the population's seed and not on the other."""
        rng = np.random.default_rng([self.population_seed, 0])
        loading = rng.standard_normal((self.n_units, 3)) * (self.depth / np.sqrt(3))
        return Population.draw(loading, _reference(), self.rate, self.spread, rng)

    def blocks(self) -> Iterator[Recording]:
        """Yield recordings that follow each other without end: a gap and its trial each."""
        population = self.population()
        longest, length = steps(self.gap[1]), steps(self.trial_length)
        state: State | None = None
        first = 0
        trial = 0
        while True:
            rng = np.random.default_rng([self.seed, trial])
            gap = steps(rng.uniform(*self.gap))
            markers = [(gap, "trial/start"), (gap + length, "trial/end")]
            if self.n_conditions is not None:
                condition = trial % self.n_conditions
                markers.insert(0, (gap, f"condition/{condition}"))
                state = settled(np.random.default_rng([self.population_seed, 1, condition]))
            elif state is None or not self.continuous:
                state = settled(rng)
            # With the same lead-in whatever the gap, a condition starts its trial the same.
            lead = gap if self.continuous else longest
            path = orbit(state, lead + length, self.speed * STEP)
            state = (path[-1, 0], path[-1, 1], path[-1, 2])
            latents = (path[lead - gap :] - MEAN) / DEVIATION
            yield block(
                population, latents, first, rng,
                latent_labels=LABELS, markers=markers, name="simulated Lorenz",
            )  # fmt: skip
            first += len(latents)
            trial += 1


def stream_lorenz(**settings: Any) -> Iterator[Recording]:
    """Yield trials of a `Lorenz` with these settings without end, for hours of live streaming.

    The same settings give the same spikes as `simulate_lorenz`.
    """
    return Lorenz(**settings).blocks()


def simulate_lorenz(
    n_trials: int | None = None, *, duration: float | None = None, **settings: Any
) -> Recording:
    """Simulate units driven by a Lorenz system.

    Parameters
    ----------
    n_trials, duration
        How many trials, or seconds; one of them.
    **settings
        Fields of `Lorenz`: ``n_units``, ``trial_length``, ``rate``, ``seed``...

    Returns
    -------
    Recording
        Spike events; series ``latents`` (three, standardised) and ``rates`` (Hz) every 10 ms;
        markers ``trial/start``, ``trial/end`` and, on request,
        ``condition/<k>``.
    """
    return gather(stream_lorenz(**settings), n_trials, duration)


def settled(rng: np.random.Generator) -> State:
    """Return a random state on the attractor."""
    x, y, z = MEAN + DEVIATION * rng.standard_normal(3)
    path = orbit((float(x), float(y), float(z)), _SETTLE_STEPS, _SETTLE_STEP)
    return path[-1, 0], path[-1, 1], path[-1, 2]


def orbit(state: State, n: int, dt: float) -> NDArray[np.float64]:
    """Integrate by the classical fourth-order Runge-Kutta method.

    Returns
    -------
    ndarray
        The states after 1 to ``n`` steps of ``dt`` time units, shape ``(n, 3)``.
    """
    x, y, z = (float(v) for v in state)
    half = 0.5 * dt
    sixth = dt / 6.0
    path = np.empty((n, 3))
    # Plain floats: for three numbers they are ten times as fast as arrays.
    for k in range(n):
        a, b, c = SIGMA * (y - x), x * (RHO - z) - y, x * y - BETA * z
        u, v, w = x + half * a, y + half * b, z + half * c
        d, e, f = SIGMA * (v - u), u * (RHO - w) - v, u * v - BETA * w
        u, v, w = x + half * d, y + half * e, z + half * f
        g, h, i = SIGMA * (v - u), u * (RHO - w) - v, u * v - BETA * w
        u, v, w = x + dt * g, y + dt * h, z + dt * i
        x += sixth * (a + 2.0 * (d + g) + SIGMA * (v - u))
        y += sixth * (b + 2.0 * (e + h) + u * (RHO - w) - v)
        z += sixth * (c + 2.0 * (f + i) + u * v - BETA * w)
        path[k] = x, y, z
    return path


@lru_cache(maxsize=1)
def _reference() -> NDArray[np.float64]:
    path = orbit((1.0, 1.0, 20.0), 31_000, 0.01)[1000::5]
    reference: NDArray[np.float64] = (path - MEAN) / DEVIATION
    return reference
