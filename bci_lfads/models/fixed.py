"""The fixed-point form of a model: the integers that the kernel computes with.

The arithmetic is in docs/arithmetic.md; an integer q with point s stands for q · 2^-s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bci_lfads.errors import ModelError


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
    weight_bits
        Width of the weights.
    encoder_drop, generator_drop
        Bits by which a state is rounded before it enters a recurrent product of 8 bits; 0 for
        products that take the state as it is.
    """

    tensors: Mapping[str, NDArray[np.integer]]
    points: Mapping[str, int]
    encoder_point: int
    ic_point: int
    generator_point: int
    factor_point: int
    log_rate_point: int
    weight_bits: int = 16
    encoder_drop: int = 0
    generator_drop: int = 0

    def drop_of(self, gru: str) -> int:
        """Return the bits that the recurrent products of ``generator`` or an encoder drop."""
        return self.generator_drop if gru == "generator" else self.encoder_drop

    def product_input(self, gru: str) -> tuple[int, int]:
        """Return the point of what enters a GRU's recurrent products, and its largest magnitude."""
        point = self.generator_point if gru == "generator" else self.encoder_point
        drop = self.drop_of(gru)
        return point - drop, 1 << (7 if drop else 15)


def required(fixed: FixedPoint | None) -> FixedPoint:
    """Return the fixed-point form of a model, or refuse a model that has none.

    Raises
    ------
    ModelError
        Saying why there is none, and what to do.
    """
    if fixed is None:
        raise ModelError(
            "the model has a controller with inferred inputs, which the kernel does not compute: "
            "it has no fixed-point form. Open it with the torch engine, or train a model without "
            "a controller"
        )
    return fixed
