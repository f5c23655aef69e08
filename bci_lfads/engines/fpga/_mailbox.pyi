"""The host's side of the kernel's mailbox (fpga/host/mailbox.h). One thread at a time."""

import numpy as np
from numpy.typing import NDArray

class Mailbox:
    """Post windows to a kernel that was started once, wait for it, take its results.

    Parameters
    ----------
    memory
        uint8, at least `size` bytes that start on 64: memory of this host that the card uses too.
    n_units, n_bins, n_bins_out, n_factors
        Sizes of the model.
    model
        Checksum of its image.
    hop
        Bins by which windows move on; a window of which only these are new is sent as them
        alone. 0 sends all bins always.
    """

    def __init__(
        self,
        memory: NDArray[np.uint8],
        n_units: int,
        n_bins: int,
        n_bins_out: int,
        n_factors: int,
        model: int,
        hop: int = 0,
    ) -> None: ...
    @staticmethod
    def size(n_units: int, n_bins: int, n_bins_out: int, n_factors: int) -> int:
        """Return how many bytes a mailbox takes."""

    def begin(self, epoch: int, beat: int, idle: int) -> None:
        """Write the orders for a run that is not started yet; what waits is its first work.

        Parameters
        ----------
        epoch
            A number other than 0 and the last runs'.
        beat, idle
            Looks without a request from one beat to the next, and to the end.
        """

    def count_from(self, number: int) -> None:
        """Forget all requests and count on from a number; before `begin`."""

    def stop(self) -> None:
        """Order the run to end."""

    def post(self, counts: NDArray[np.uint8], rates: bool, whole: bool = False) -> int:
        """Post a window, ``(n_bins, n_units)``, and return its number.

        Raises
        ------
        ValueError
            If the shape is wrong, or two windows wait to be taken.
        """

    def wait(self, timeout: float, spin: float) -> int:
        """Wait for the oldest request that was not taken; return a `served.Outcome`.

        Looks without a break for `spin` seconds, then leaves the processor to others between
        looks. Python's lock is free meanwhile.
        """

    def take(self, factors: NDArray[np.int32] | None, log_rates: NDArray[np.int32] | None) -> None:
        """Take the results that `wait` has found, or drop them, and free their slot."""

    @property
    def room(self) -> bool:
        """Whether another window can be posted."""

    @property
    def status(self) -> int:
        """`protocol.Status` of the reply that `wait` has found."""

    @property
    def cycles(self) -> int:
        """The kernel's cycles for it; 0 where it has no clock."""

    @property
    def beat(self) -> int:
        """Number of the card's newest beat."""

    @property
    def serving(self) -> bool:
        """Whether this run of the kernel has said that it serves."""

    @property
    def ended(self) -> bool:
        """Whether it has said that it serves no more."""

    @property
    def reason(self) -> int:
        """`protocol.Status` with which it ended."""
