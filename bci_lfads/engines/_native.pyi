"""The LFADS kernel of fpga/ compiled for this CPU."""

import numpy as np
from numpy.typing import NDArray

MAXIMA: dict[str, int]
"""Largest sizes that this build takes, by the names of `LfadsSpec`."""
IMAGE_VERSION: int
PATHS: tuple[str, ...]
"""Ways to compute the same integers that this processor can take, the fastest first."""

def instruction_rates(path: str, weight_bytes: int, seconds: float = 0.02) -> tuple[float, float]:
    """Return how many vector instructions a second this CPU does at most on a path.

    Parameters
    ----------
    path
        Any but ``portable``.
    weight_bytes
        What the weights of the products take: from which cache they come.
    seconds
        How long to look for the best of each.

    Returns
    -------
    dots, fmas
        Products of weights with an input (two columns for each 32-bit lane), and float64
        multiply-adds.
    """

class Kernel:
    """One loaded model. Calls release the GIL; `infer` serves one thread at a time.

    Parameters
    ----------
    image
        As `bci_lfads.models.image.pack_image` makes it.
    path
        One of `PATHS`, or ``auto`` for the fastest.
    hop
        Bins by which windows move on: what a window shares with the last one is not computed
        again. 0 where they have nothing in common.
    n_threads
        2 or more for a second thread that helps with a window.
    patience
        Seconds for which that thread looks out for the next window before it sleeps.

    Arrays must be C-contiguous, of exactly these types and of the model's shapes; nothing is
    converted or copied.

    Raises
    ------
    ValueError
        If the image is not one that this build can run, or an array's shape is not the model's.
    TypeError
        If an array has another type, layout or number of dimensions.
    """

    def __init__(
        self,
        image: NDArray[np.uint32],
        path: str = "auto",
        hop: int = 0,
        n_threads: int = 1,
        patience: float = 200e-6,
    ) -> None: ...
    def infer(
        self,
        counts: NDArray[np.uint8],
        factors: NDArray[np.float32],
        log_rates: NDArray[np.float32] | None,
    ) -> None: ...
    def infer_batch(
        self,
        counts: NDArray[np.uint8],
        factors: NDArray[np.float32],
        log_rates: NDArray[np.float32] | None,
        n_threads: int = 1,
    ) -> None: ...
    def infer_integers(
        self,
        counts: NDArray[np.uint8],
        factors: NDArray[np.int32],
        log_rates: NDArray[np.int32] | None,
    ) -> None: ...
    @property
    def image_words(self) -> int: ...
    @property
    def path(self) -> str:
        """What computes: ``portable`` too where the model's sums do not fit the vectors."""
