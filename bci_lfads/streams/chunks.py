"""What inlets give: plain arrays, and nothing of LSL."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class SpikeChunk(NamedTuple):
    """Spikes that arrived together.

    Attributes
    ----------
    times
        Seconds on this machine's LSL clock (or the stream's own, for a replay that is not at ×1),
        float64, shape ``(n,)``.
    units
        Index into the model's units, int32, shape ``(n,)``; -1 where the model has no such unit.
    counts
        Spikes that each entry stands for, int32, shape ``(n,)``.
    """

    times: NDArray[np.float64]
    units: NDArray[np.int32]
    counts: NDArray[np.int32]


class MarkerChunk(NamedTuple):
    """Markers that arrived together: seconds, float64, and a label each."""

    times: NDArray[np.float64]
    labels: tuple[str, ...]


NO_SPIKES = SpikeChunk(np.empty(0), np.empty(0, np.int32), np.empty(0, np.int32))
NO_MARKERS = MarkerChunk(np.empty(0), ())
