"""Exact spike binning, compiled. See ``binning.py`` for what the arguments mean."""

import numpy as np
from numpy.typing import NDArray

TALLY_SIZE: int

def bin_indices(
    times: NDArray[np.float64], origin: float, width: float, out: NDArray[np.int64]
) -> None: ...
def accumulate(
    times: NDArray[np.float64],
    units: NDArray[np.int32],
    counts: NDArray[np.int32],
    origin: float,
    width: float,
    out: NDArray[np.uint8],
    tally: NDArray[np.int64],
) -> float: ...
def remember(
    times: NDArray[np.float64],
    units: NDArray[np.int32],
    counts: NDArray[np.int32],
    n_units: int,
    watermark: float,
    plausible: float,
    needed_from: float,
    ring_times: NDArray[np.float64],
    ring_units: NDArray[np.int32],
    ring_counts: NDArray[np.int32],
    written: int,
    stamps: NDArray[np.float64],
    tally: NDArray[np.int64],
) -> int: ...
def slide(
    times: NDArray[np.float64],
    units: NDArray[np.int32],
    counts: NDArray[np.int32],
    origin: float,
    width: float,
    first: int,
    open_bin: int,
    limit: int,
    rows: NDArray[np.uint8],
    newest: NDArray[np.float64],
    waiting_times: NDArray[np.float64],
    waiting_units: NDArray[np.int32],
    waiting_counts: NDArray[np.int32],
    waiting: int,
    stamps: NDArray[np.float64],
    tally: NDArray[np.int64],
) -> int: ...
