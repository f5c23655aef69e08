"""The rules of a sweep: what is drawn, who beats whom, what changes, and when to stop.

Population-based training as AutoLFADS does it: M. R. Keshtkaran, A. R. Sedler, … C. Pandarinath,
"A large-scale neural network training framework for generalized estimation of single-trial
population dynamics", Nature Methods 19, 1572-1577, 2022, methods; M. Jaderberg et al., "Population
based training of neural networks", arXiv 1711.09846, 2017 (binary tournament, section 4.1.1).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from bci_lfads.errors import ModelError

Member = TypeVar("Member", bound=Hashable)
LEAST_GAIN = 5e-4
"""Relative gain of the best over `STILL` generations below which a population has come to rest."""
STILL = 4
FACTORS = (0.8, 1.2)
"""Least and most by which a loser's new hyper-parameters differ from its winner's."""


class Range(NamedTuple):
    """Bounds of a hyper-parameter.

    Attributes
    ----------
    low, high
        It stays within, drawn and perturbed.
    log
        Whether it is drawn uniformly in its logarithm.
    """

    low: float
    high: float
    log: bool = False


Space = Mapping[str, Range]
SPACE: Space = {
    "learning_rate": Range(3e-4, 1e-2, log=True),
    "weight_decay": Range(1e-4, 1.0, log=True),
    "keep": Range(0.3, 0.9),
}
"""What a sweep varies, by the names of `TrainingSettings`."""
MORE: Space = {"kl": Range(1e-3, 1.0, log=True), "l2": Range(1e-4, 1.0, log=True)}
"""What it varies too where that is asked for; ``kl`` in all sweeps of variational models."""


def space_of(bounds: Mapping[str, tuple[float, float]], *, variational: bool = False) -> Space:
    """Return what a sweep varies: `SPACE`, of `MORE` what belongs to it, with other bounds of some.

    Raises
    ------
    ModelError
        If a name is unknown, bounds are none, or ``kl`` is to vary in a model without posteriors.
    """
    known = {**SPACE, **MORE}
    space = dict(SPACE) | ({"kl": MORE["kl"]} if variational else {})
    for name, (low, high) in bounds.items():
        if name not in known:
            raise ModelError(f"a sweep does not vary '{name}'; it varies {', '.join(known)}")
        if not (0 < low <= high < math.inf) or (name == "keep" and high > 1):
            raise ModelError(f"{name} from {low:g} to {high:g} is no range to draw from")
        if name == "kl" and not variational:
            raise ModelError("kl weighs posteriors, which only a --variational model has")
        space[name] = known[name]._replace(low=low, high=high)
    return space


def draw(space: Space, rng: np.random.Generator) -> dict[str, float]:
    """Return a hyper-parameter each, from within its bounds."""
    return {
        name: math.exp(rng.uniform(math.log(r.low), math.log(r.high)))
        if r.log
        else float(rng.uniform(r.low, r.high))
        for name, r in space.items()
    }


def perturb(
    values: Mapping[str, float], space: Space, rng: np.random.Generator
) -> dict[str, float]:
    """Return hyper-parameters each times a factor drawn from `FACTORS`, within bounds."""
    return {
        name: min(max(value * float(rng.uniform(*FACTORS)), space[name].low), space[name].high)
        for name, value in values.items()
    }


def tournament(scores: Mapping[Member, float], rng: np.random.Generator) -> dict[Member, Member]:
    """Return each loser's winner in a binary tournament.

    Members meet in pairs drawn at random, each once, so that no winner is a loser too; of an odd
    number one meets nobody. Of equal scores both stay.

    Parameters
    ----------
    scores
        Higher is better; NaN is worse than all.
    rng
        Draws the pairs.
    """
    members = list(scores)
    value = {m: -math.inf if math.isnan(scores[m]) else scores[m] for m in members}
    order = [members[i] for i in rng.permutation(len(members))]
    found = {}
    for one, other in zip(order[::2], order[1::2], strict=False):
        if value[one] != value[other]:
            loser, winner = (one, other) if value[one] < value[other] else (other, one)
            found[loser] = winner
    return found


def at_rest(best: Sequence[float], still: int = STILL, least: float = LEAST_GAIN) -> bool:
    """Return whether a population has stopped to get better.

    Parameters
    ----------
    best
        The best score of the population so far after each generation.
    still
        Generations in which there must be a gain.
    least
        Relative gain that counts.
    """
    if len(best) <= still:
        return False
    before, now = best[-1 - still], best[-1]
    if not math.isfinite(before):
        return False
    return now - before < least * max(abs(before), 1e-12)
