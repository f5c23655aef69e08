"""The fixed-point form of a model: the integers that the kernel computes with.

The arithmetic is in docs/arithmetic.md; an integer q with point s stands for q · 2^-s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class FixedPoint:
    """Integer weights and their points.

    Attributes
    ----------
    tensors
        Same names and shapes as the float weights (`LfadsSpec.weight_shapes`): weights int16,
        biases int32, initial states int16.
    points
        Binary point of each tensor by the same names.
    encoder_point, ic_point, generator_point, factor_point, log_rate_point
        Points of the encoder's states, the initial condition, the generator's state, the
        factors and the log-rates. Direct initial conditions have the generator's point.
    """

    tensors: Mapping[str, NDArray[np.integer]]
    points: Mapping[str, int]
    encoder_point: int
    ic_point: int
    generator_point: int
    factor_point: int
    log_rate_point: int
    weight_bits: int = 16
