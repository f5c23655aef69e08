"""What a rule asks of a row: one number, and two levels of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bci_lfads.errors import TriggerError
from bci_lfads.triggers.rules import Ball, Box, HalfSpace, Probability, Rule, Threshold

State = Literal["unknown", "outside", "inside"]


class Condition:
    """A condition with hysteresis: it begins at ``enter`` and ends below ``leave``.

    It must have been seen outside before it can begin: the first row fires nothing.

    Parameters
    ----------
    rule
        The rule.
    labels
        Of the channels of a row.

    Raises
    ------
    TriggerError
        Naming channels that a row does not have.
    """

    def __init__(self, rule: Rule, labels: Sequence[str]) -> None:
        self._rule = rule
        names, self._a, self._b, self.enter, self.leave = _numbers(rule)
        if missing := [name for name in names if name not in labels]:
            raise TriggerError(
                f"rule '{rule.name}' asks for {', '.join(missing)}; there are {', '.join(labels)}"
            )
        self._columns = np.array([list(labels).index(name) for name in names])
        self._part = np.zeros(len(names))
        self.state: State = "unknown"

    def value(self, row: NDArray[np.floating]) -> float:
        """Return the number that is compared: larger is further inside."""
        rule, x = self._rule, self._part
        x[:] = row[self._columns]
        if isinstance(rule, Ball):
            x -= self._a
            return -math.sqrt(float(np.dot(x, x)))
        if isinstance(rule, Box):
            return min(float((x - self._a).min()), float((self._b - x).min()))
        return float(np.dot(self._a, x))

    def look(self, row: NDArray[np.floating]) -> tuple[float, bool]:
        """Return the value, and whether the condition has begun with this row."""
        value = self.value(row)
        if self.state == "inside":
            if value < self.leave:
                self.state = "outside"
            return value, False
        if value >= self.enter:
            if self.state == "unknown":
                return value, False
            self.state = "inside"
            return value, True
        self.state = "outside"
        return value, False

    def reset(self) -> None:
        """Forget where it was."""
        self.state = "unknown"


_Numbers = tuple[list[str], NDArray[np.float64], NDArray[np.float64], float, float]


def _numbers(rule: Rule) -> _Numbers:
    """Return channels, two vectors, and the levels at which the condition begins and ends."""
    none = np.zeros(0)
    if isinstance(rule, Threshold):
        sign = 1.0 if rule.when == "above" else -1.0
        release = rule.threshold if rule.release is None else rule.release
        return [rule.channel], np.array([sign]), none, sign * rule.threshold, sign * release
    if isinstance(rule, Probability):
        release = rule.probability if rule.release is None else rule.release
        return [rule.channel], np.ones(1), none, rule.probability, release
    if isinstance(rule, Ball):
        release = rule.radius if rule.release is None else rule.release
        return list(rule.centre), np.array(list(rule.centre.values())), none, -rule.radius, -release
    if isinstance(rule, Box):
        names = list(rule.low)
        low, high = (np.array([corner[c] for c in names]) for corner in (rule.low, rule.high))
        return names, low, high, 0.0, -rule.margin
    if isinstance(rule, HalfSpace):
        release = rule.offset if rule.release is None else rule.release
        return list(rule.normal), np.array(list(rule.normal.values())), none, rule.offset, release
    raise TypeError(f"no condition for {type(rule).__name__}")
