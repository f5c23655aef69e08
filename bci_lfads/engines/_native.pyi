"""The LFADS kernel of fpga/ compiled for this CPU."""

import numpy as np
from numpy.typing import NDArray

MAXIMA: dict[str, int]
"""Largest sizes that this build takes, by the names of `LfadsSpec`."""
IMAGE_VERSION: int
INSTRUCTION_SET: str
"""What the kernel was compiled for and runs with here: ``avx512``, ``avx2`` or ``portable``."""

class Kernel:
    """One loaded model. Calls release the GIL and may run in several threads at once.

    Arrays must be C-contiguous, of exactly these types and of the model's shapes; nothing is
    converted or copied.

    Raises
    ------
    ValueError
        If the image is not one that this build can run, or an array's shape is not the model's.
    TypeError
        If an array has another type, layout or number of dimensions.
    """

    def __init__(self, image: NDArray[np.uint32]) -> None: ...
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
