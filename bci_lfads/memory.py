"""Memory that is there before the loop begins."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


def held(shape: int | tuple[int, ...], dtype: DTypeLike = np.float64) -> NDArray[Any]:
    """Return zeros whose pages the system has given already.

    Those of `numpy.zeros` and `numpy.empty` are given one by one, when they are first written to.
    A loop that comes round to the last of them after minutes would grow until then, and wait for
    the system each time.
    """
    return np.full(shape, 0, dtype)
