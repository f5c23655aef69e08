"""Windows to train on and to score: what a model sees of them, and what it is to foretell."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bci_lfads.errors import RecordingError
from bci_lfads.windows import WindowBatch

Counts = NDArray[np.uint8]


@dataclass(frozen=True)
class Samples:
    """Windows, with what of the same moments a model does not see.

    Attributes
    ----------
    batch
        What it sees: counts of its units in the window's bins.
    ahead
        Counts of its units in the bins after the window, uint8, shape
        ``(n_windows, n_ahead, n_units)``.
    held_out
        Counts of other units in the window's bins, uint8, shape
        ``(n_windows, n_bins, n_held_out)``.
    """

    batch: WindowBatch
    ahead: Counts
    held_out: Counts

    @property
    def targets(self) -> Counts:
        """Counts of the window and ahead, shape ``(n_windows, n_bins + n_ahead, n_units)``."""
        if not self.ahead.shape[1]:
            return self.batch.counts
        return np.concatenate([self.batch.counts, self.ahead], axis=1)

    def rows(self, rows: NDArray[np.int64]) -> Samples:
        """Return some of the windows.

        Raises
        ------
        RecordingError
            If there are none.
        """
        return Samples(subset(self.batch, rows), self.ahead[rows], self.held_out[rows])


def separate(cut: WindowBatch, n_bins: int, n_units: int) -> Samples:
    """Take apart windows that were cut with the bins ahead and with all units.

    Parameters
    ----------
    cut
        With `n_bins` bins and those ahead; the model's `n_units` units come first.
    """
    counts = cut.counts
    seen = replace(cut, counts=np.ascontiguousarray(counts[:, :n_bins, :n_units]))
    return Samples(seen, counts[:, n_bins:, :n_units].copy(), counts[:, :n_bins, n_units:].copy())


def subset(batch: WindowBatch, rows: NDArray[np.int64]) -> WindowBatch:
    """Return some of the windows.

    Raises
    ------
    RecordingError
        If there are none.
    """
    if not len(rows):
        raise RecordingError(
            "no whole window could be cut: of each one something may be missing, such as what "
            "came before the recording began"
        )
    return WindowBatch(
        batch.counts[rows], batch.starts[rows], batch.zeros[rows], batch.trials[rows],
        tuple(batch.labels[i] for i in rows), tuple(batch.start_labels[i] for i in rows),
        batch.truncated[rows], batch.bin_width,
    )  # fmt: skip
