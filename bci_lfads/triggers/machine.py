"""Conditions and guard together: rows in, decisions out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bci_lfads.triggers.conditions import Condition
from bci_lfads.triggers.guard import Guard, Verdict
from bci_lfads.triggers.rules import Rule

_EPSILON = 1e-6  # seconds by which stamps of a regular stream may jitter


class Decision(NamedTuple):
    """A rule's condition has held for long enough, and what became of that.

    Attributes
    ----------
    rule
        Its position.
    stamp
        Of the row, seconds.
    value
        That was compared.
    verdict
        ``fire``, or why it was suppressed.
    """

    rule: int
    stamp: float
    value: float
    verdict: Verdict


class Machine:
    """Looks at rows and decides; once for each time that a condition begins.

    Parameters
    ----------
    rules
        The rules.
    labels
        Of the channels of a row.
    guard
        Says who may fire.

    Raises
    ------
    TriggerError
        Naming channels that a row does not have.
    """

    def __init__(self, rules: Sequence[Rule], labels: Sequence[str], guard: Guard) -> None:
        self._conditions = [Condition(rule, labels) for rule in rules]
        self._holds = [rule.hold for rule in rules]
        self._since = [math.inf] * len(rules)  # when a condition began that has not been decided
        self._guard = guard

    def observe(self, row: NDArray[np.floating], stamp: float, now: float) -> Iterator[Decision]:
        """Look at a row.

        Parameters
        ----------
        row
            Finite, shape ``(n_channels,)``.
        stamp
            Its time; conditions are held by it.
        now
            The time of this moment; limits are kept by it.
        """
        for k, condition in enumerate(self._conditions):
            value, began = condition.look(row)
            if began:
                self._since[k] = stamp
            elif condition.state != "inside":
                self._since[k] = math.inf
            if stamp - self._since[k] >= self._holds[k] - _EPSILON:
                self._since[k] = math.inf
                yield Decision(k, stamp, value, self._guard.ask(k, now))

    def reset(self) -> None:
        """Forget where the conditions were: what comes next is not joined to what came before."""
        for k, condition in enumerate(self._conditions):
            condition.reset()
            self._since[k] = math.inf
