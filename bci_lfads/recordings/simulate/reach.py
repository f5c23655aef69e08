"""Spikes of a motor-cortical population during delayed centre-out reaches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bci_lfads.recordings.recording import Recording
from bci_lfads.recordings.simulate.population import (
    SERIES_EVERY,
    STEP,
    Population,
    block,
    check_interval,
    check_positive,
    gather,
    steps,
)

LATENTS = ("plan_x", "plan_y", "velocity_x", "velocity_y", "trigger")
BEHAVIOUR = ("x", "y", "vx", "vy")
LEAD = 0.1
"""Seconds by which the intended velocity is ahead of the cursor's."""
_HOLD, _REST, _BACK = 0.3, 0.15, 0.5  # at the centre; on the target; of the way back
_MOVE = 0.5  # a typical reach; its peak velocity is 1 in the latents
_PEAK = 1.875  # of a minimum-jerk movement of unit length and duration


class _Trial(NamedTuple):
    latents: NDArray[np.float64]
    behaviour: NDArray[np.float64]
    markers: list[tuple[int, str]]


@dataclass(frozen=True)
class Reach:
    """A population tuned to planned and intended reaches to targets on a circle."""

    n_units: int = 60
    n_directions: int = 8
    rate: float = 10.0
    """Mean rate of the units, Hz."""
    spread: float = 0.6
    """Standard deviation over units of the logarithm of their mean rates."""
    depth: float = 0.7
    """Median over units of the log-rate's modulation by the intended velocity."""
    distance: float = 8.0
    """Centimetres from centre to target."""
    delay: tuple[float, float] = (0.4, 0.8)
    """Shortest and longest time from target to go cue, seconds."""
    gap: tuple[float, float] = (0.2, 0.4)
    """Shortest and longest rest after the way back, seconds."""
    seed: int = 0
    """Order of targets, timing, movements and spikes."""
    population_seed: int = 0
    """Tuning and baselines."""

    def __post_init__(self) -> None:
        check_positive(
            n_units=self.n_units, n_directions=self.n_directions, rate=self.rate,
            distance=self.distance,
        )  # fmt: skip
        check_interval("delay", self.delay)
        check_interval("gap", self.gap)

    def population(self) -> Population:
        """Return the units, which depend on the population's seed and not on the other."""
        rng = np.random.default_rng([self.population_seed, 0])
        n = self.n_units
        preferred = rng.uniform(0, 2 * np.pi, n)
        # A unit's preferred direction before and in movement are related, but loosely.
        planned = preferred + rng.normal(0, np.pi / 3, n)
        moving = self.depth * np.exp(0.4 * rng.standard_normal(n))
        planning = 0.6 * self.depth * np.exp(0.4 * rng.standard_normal(n))
        trigger = rng.normal(0.4, 0.5, n)
        loading = np.stack(
            [
                planning * np.cos(planned),
                planning * np.sin(planned),
                moving * np.cos(preferred),
                moving * np.sin(preferred),
                trigger,
            ],
            axis=1,
        )
        typical = [
            self._trial(k, np.random.default_rng([self.population_seed, 1, k])).latents
            for k in range(self.n_directions)
        ]
        reference = np.concatenate(typical)[::SERIES_EVERY]
        return Population.draw(loading, reference, self.rate, self.spread, rng)

    def blocks(self) -> Iterator[Recording]:
        """Yield recordings that follow each other without end: one trial each."""
        population = self.population()
        first = 0
        trial = 0
        while True:
            # Every direction comes once in a round, in random order.
            turn, place = divmod(trial, self.n_directions)
            order = np.random.default_rng([self.seed, 1, turn]).permutation(self.n_directions)
            rng = np.random.default_rng([self.seed, 0, trial])
            latents, behaviour, markers = self._trial(int(order[place]), rng)
            yield block(
                population, latents, first, rng, latent_labels=LATENTS, markers=markers,
                name="simulated centre-out reaches", behaviour=(behaviour, BEHAVIOUR),
            )  # fmt: skip
            first += len(latents)
            trial += 1

    def _trial(self, direction: int, rng: np.random.Generator) -> _Trial:
        angle = 360.0 * direction / self.n_directions
        heading = np.deg2rad(angle + rng.normal(0, 3.0))
        target = _HOLD
        go = target + rng.uniform(*self.delay)
        onset = go + float(np.clip(rng.normal(0.28, 0.03), 0.2, 0.4))
        move = float(np.clip(rng.normal(_MOVE, 0.04), 0.35, 0.65))
        end = onset + move + 0.2
        back = end + _REST
        n = steps(back + _BACK + rng.uniform(*self.gap))
        t = np.asarray((np.arange(n) + 0.5) * STEP, np.float64)

        def velocity(at: NDArray[np.float64]) -> NDArray[np.float64]:
            """Speed along the heading, in distances a second."""
            out: NDArray[np.float64] = bell((at - onset) / move) / move
            out -= bell((at - back) / _BACK) / _BACK
            return out

        away = ramp((t - onset) / move) - ramp((t - back) / _BACK)
        plan = ramp((t - target - 0.06) / 0.2) - ramp((t - onset + LEAD) / 0.25)
        plan *= np.clip(rng.normal(1, 0.1), 0.6, 1.4)
        intended = velocity(t + LEAD) * _MOVE / _PEAK
        trigger = bell((t - go - 0.08) / 0.35) + 0.5 * bell((t - back + 0.15) / 0.35)
        toward = np.array([np.cos(heading), np.sin(heading)])
        latents = np.concatenate(
            [plan[:, None] * toward, intended[:, None] * toward, trigger[:, None] / _PEAK], axis=1
        )
        behaviour = self.distance * np.concatenate(
            [away[:, None] * toward, velocity(t)[:, None] * toward], axis=1
        )
        name = f"{angle:g}"
        markers = [
            (0, "trial/start"),
            (steps(target), f"target/{name}"),
            (steps(go), f"go/{name}"),
            (steps(onset), f"move/{name}"),
            (steps(end), "trial/end"),
        ]
        return _Trial(latents, behaviour, markers)


def ramp(u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the position of a minimum-jerk movement from 0 to 1 while ``u`` goes from 0 to 1."""
    u = np.clip(u, 0.0, 1.0)
    return u**3 * (10.0 + u * (6.0 * u - 15.0))


def bell(u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the derivative of `ramp`, the bell-shaped velocity, which peaks at 1.875."""
    u = np.clip(u, 0.0, 1.0)
    return 30.0 * (u * (1.0 - u)) ** 2


def stream_reach(**settings: Any) -> Iterator[Recording]:
    """Yield trials of a `Reach` with these settings without end, for hours of live streaming.

    The same settings give the same spikes as `simulate_reach`.
    """
    return Reach(**settings).blocks()


def simulate_reach(
    n_trials: int | None = None, *, duration: float | None = None, **settings: Any
) -> Recording:
    """Simulate delayed centre-out reaches.

    Parameters
    ----------
    n_trials, duration
        How many trials, or seconds; one of them.
    **settings
        Fields of `Reach`: ``n_units``, ``n_directions``, ``rate``, ``seed``...

    Returns
    -------
    Recording
        Spike events; every 10 ms the series ``behaviour`` (cursor in cm and cm/s), ``latents``
        (plan, intended velocity, trigger) and ``rates`` (Hz); markers ``trial/start``,
        ``target/<degrees>``, ``go/<degrees>``, ``move/<degrees>``, ``trial/end``.
    """
    return gather(stream_reach(**settings), n_trials, duration)
