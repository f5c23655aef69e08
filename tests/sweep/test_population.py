"""The rules of a sweep, without Ray."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bci_lfads.errors import ModelError
from bci_lfads.sweep.population import (
    FACTORS,
    SPACE,
    Range,
    at_rest,
    draw,
    perturb,
    space_of,
    tournament,
)

SCORES = st.lists(st.floats(allow_infinity=True, allow_nan=True), max_size=25)


@given(SCORES, st.integers(0, 9))
def test_each_member_meets_one_other_and_the_better_wins(scores, seed):
    found = tournament(dict(enumerate(scores)), np.random.default_rng(seed))
    assert not set(found) & set(found.values())
    assert len(set(found.values())) == len(found)
    for loser, winner in found.items():
        low, high = scores[loser], scores[winner]
        assert high > low or (math.isnan(low) and not math.isnan(high))
    distinct = len(set(scores)) == len(scores) and not any(map(math.isnan, scores))
    if distinct:
        assert len(found) == len(scores) // 2


def test_who_meets_whom_is_drawn_anew_and_follows_from_the_seed():
    scores = dict(enumerate(range(10)))
    rng = np.random.default_rng(0)
    rounds = [tournament(scores, rng) for _ in range(5)]
    assert len({tuple(sorted(r.items())) for r in rounds}) > 1
    assert tournament(scores, np.random.default_rng(0)) == rounds[0]
    best, worst = [9 in r for r in rounds], [0 in r.values() for r in rounds]
    assert not any(best)
    assert not any(worst)


@given(st.integers(0, 200))
def test_losers_change_what_they_inherit_by_a_fifth_at_most(seed):
    rng = np.random.default_rng(seed)
    values = draw(SPACE, rng)
    for name, value in values.items():
        assert SPACE[name].low <= value <= SPACE[name].high
    for name, value in perturb(values, SPACE, rng).items():
        low, high = FACTORS[0] * values[name], FACTORS[1] * values[name]
        bounds = SPACE[name]
        assert min(max(low, bounds.low), bounds.high) <= value <= min(high, bounds.high)


def test_what_is_drawn_in_logarithms_is_spread_over_decades():
    space = {"x": Range(1e-4, 1.0, log=True)}
    rng = np.random.default_rng(0)
    drawn = np.log10([draw(space, rng)["x"] for _ in range(400)])
    assert np.histogram(drawn, [-4, -3, -2, -1, 0])[0].min() > 60


def test_bounds_can_be_others_but_must_be_bounds():
    assert space_of({"keep": (0.5, 0.6)})["keep"] == Range(0.5, 0.6)
    assert set(space_of({})) == {"learning_rate", "weight_decay", "keep"}
    assert set(space_of({"l2": (0.1, 0.2)}, variational=True)) == {
        "learning_rate", "weight_decay", "keep", "kl", "l2",
    }  # fmt: skip
    with pytest.raises(ModelError, match="only a --variational model has"):
        space_of({"kl": (0.1, 0.2)})
    for bounds, message in (
        ({"dropout": (0.1, 0.2)}, "does not vary 'dropout'"),
        ({"keep": (0.6, 0.5)}, "keep from 0.6 to 0.5 is no range"),
        ({"keep": (0.6, 1.5)}, "no range"),
        ({"learning_rate": (0.0, 1.0)}, "no range"),
        ({"learning_rate": (0.1, math.nan)}, "no range"),
    ):
        with pytest.raises(ModelError, match=message):
            space_of(bounds)


def test_a_population_rests_when_the_best_gains_too_little_in_four_generations():
    assert not at_rest([-1.0] * 4)
    assert at_rest([-1.0] * 5)
    assert not at_rest([-1.0, -0.9999, -0.9998, -0.9997, -0.999])
    assert at_rest([-1.0, -0.9999, -0.9998, -0.9997, -0.9996])
    assert not at_rest([-math.inf, -math.inf, -1.0, -1.0, -1.0])
