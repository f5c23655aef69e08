"""What a decoder does with each row of factors: plain NumPy into buffers made once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Row = NDArray[np.floating] | NDArray[np.integer]


class Features:
    """Rows made smooth and put side by side with those before them.

    A stretch begins as if its first row had been there all along.

    Parameters
    ----------
    n_inputs
        Values in a row.
    history
        Rows before the newest that are seen too.
    smoothing
        Time constant of an exponential average, in rows; 0 for none.
    """

    def __init__(self, n_inputs: int, history: int = 0, smoothing: float = 0.0) -> None:
        n = history + 1
        self._keep = math.exp(-1.0 / smoothing) if smoothing > 0 else 0.0
        self._average, self._part = np.zeros(n_inputs), np.zeros(n_inputs)
        # Each row is written twice, so that the newest n lie in one piece wherever the ring is.
        self._ring = np.zeros((2 * n, n_inputs))
        self._windows = [self._ring[k + 1 : k + 1 + n].reshape(-1) for k in range(n)]
        self._n, self._at, self._begins = n, 0, True

    @property
    def size(self) -> int:
        """Values in what `push` returns."""
        return len(self._windows[0])

    def reset(self) -> None:
        """Begin a new stretch with the next row."""
        self._begins = True

    def push(self, row: Row) -> Floats:
        """Take a row in.

        Parameters
        ----------
        row
            Shape ``(n_inputs,)``.

        Returns
        -------
        ndarray
            float64, shape ``((history + 1) * n_inputs,)``, oldest row first; valid until the next
            call.
        """
        average = self._average
        if self._begins or self._keep == 0.0:
            average[:] = row
        else:
            np.subtract(row, average, out=self._part)
            self._part *= 1.0 - self._keep
            average += self._part
        if self._begins:
            self._ring[:] = average
            self._begins = False
        self._at = at = (self._at + 1) % self._n
        self._ring[at] = average
        self._ring[at + self._n] = average
        return self._windows[at]


class Step(Protocol):
    """Features in, outputs out."""

    def reset(self) -> None:
        """Begin a new stretch."""

    def __call__(self, features: Floats, out: Floats) -> None:
        """Write the outputs, float64, shape ``(n_outputs,)``."""


class Linear:
    """A map and an offset.

    Parameters
    ----------
    weights
        float64, shape ``(n_outputs, n_features)``.
    offset
        float64, shape ``(n_outputs,)``.
    """

    def __init__(self, weights: Floats, offset: Floats) -> None:
        self._weights, self._offset = np.ascontiguousarray(weights), offset

    def reset(self) -> None:
        """Nothing is remembered."""

    def __call__(self, features: Floats, out: Floats) -> None:
        """Write ``weights @ features + offset``."""
        np.dot(self._weights, features, out=out)
        out += self._offset


class Kalman:
    """A Kalman filter whose gains were computed when it was fitted.

    The gain depends on the number of steps since the beginning alone, not on the data, so that
    nothing is inverted here; from the last gain on it no longer changes (W. Q. Malik et al.,
    "Efficient decoding with steady-state Kalman filter in neural interface systems", IEEE
    Trans. Neural Syst. Rehabil. Eng. 2011).

    Parameters
    ----------
    transition, drift
        Of the state: ``x' = transition @ x + drift``; shapes ``(n, n)`` and ``(n,)``.
    observation, offset
        Features as seen from the state: ``observation @ x + offset``; ``(m, n)`` and ``(m,)``.
    gains
        Shape ``(n_steps, n, m)``.
    begin
        The state before the first row.
    """

    def __init__(
        self,
        transition: Floats,
        drift: Floats,
        observation: Floats,
        offset: Floats,
        gains: Floats,
        begin: Floats,
    ) -> None:
        self._transition, self._drift = np.ascontiguousarray(transition), drift
        self._observation, self._offset = np.ascontiguousarray(observation), offset
        self._gains = [np.ascontiguousarray(gain) for gain in gains]
        self._begin = begin
        self._state, self._step = begin.copy(), 0
        self._innovation, self._seen = np.zeros(len(offset)), np.zeros(len(offset))
        self._correction = np.zeros(len(begin))

    def reset(self) -> None:
        """Forget what was seen."""
        self._state[:] = self._begin
        self._step = 0

    def __call__(self, features: Floats, out: Floats) -> None:
        """Write the state after these features."""
        np.dot(self._transition, self._state, out=out)
        out += self._drift
        np.dot(self._observation, out, out=self._seen)
        np.subtract(features, self._seen, out=self._innovation)
        self._innovation -= self._offset
        np.dot(self._gains[self._step], self._innovation, out=self._correction)
        out += self._correction
        self._state[:] = out
        self._step = min(self._step + 1, len(self._gains) - 1)


class Classifier:
    """Probabilities of classes by a softmax of a linear map; arguments as of `Linear`."""

    def __init__(self, weights: Floats, offset: Floats) -> None:
        self._linear = Linear(weights, offset)

    def reset(self) -> None:
        """Nothing is remembered."""

    def __call__(self, features: Floats, out: Floats) -> None:
        """Write the probabilities."""
        self._linear(features, out)
        out -= out.max()
        np.exp(out, out=out)
        out /= out.sum()


METHODS: Mapping[str, type[Linear] | type[Kalman] | type[Classifier]] = {
    "ridge": Linear, "kalman": Kalman, "direction": Classifier,
}  # fmt: skip
"""What runs, by the name of the method that fitted it; the tensors of a decoder are arguments."""


class Running:
    """Features and step together: a row in, outputs out.

    Parameters
    ----------
    features, step
        The two.
    n_outputs
        Of the step.
    """

    def __init__(self, features: Features, step: Step, n_outputs: int) -> None:
        self._features, self._step = features, step
        self._out = np.zeros(n_outputs)

    def reset(self) -> None:
        """Begin a new stretch with the next row."""
        self._features.reset()
        self._step.reset()

    def __call__(self, row: Row) -> Floats:
        """Decode a row, shape ``(n_inputs,)``; what is returned is valid until the next call."""
        self._step(self._features.push(row), self._out)
        return self._out
