"""The newest trials, whole or growing, in fixed memory."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Trial:
    """One trial.

    Attributes
    ----------
    number
        Of its start marker.
    label
        Its condition; empty until the loop's Status said it.
    start
        Left edge of the first bin, seconds on the stamps' clock.
    values
        float32, shape ``(n_bins, n_channels)``; NaN where a bin did not come.
    """

    number: int
    label: str
    start: float
    values: NDArray[np.float32]


class TrialStore:
    """The newest trials of a stream with a sample a bin and the channels ``trial`` and ``bin``.

    Parameters
    ----------
    n_bins, n_channels
        Shape of a trial, without the last two channels.
    bin_width
        Seconds.
    kept
        Trials kept; older ones are overwritten.
    """

    def __init__(self, n_bins: int, n_channels: int, bin_width: float, kept: int = 64) -> None:
        self.n_bins, self.n_channels, self.bin_width = n_bins, n_channels, bin_width
        self._values = np.full((kept, n_bins, n_channels), np.nan, np.float32)
        self._numbers = [-1] * kept
        self._starts = [np.nan] * kept
        self._labels: dict[int, str] = {}
        self.total = 0
        """Trials that ever came."""
        self.version = 0
        """Changes with whatever is shown."""

    @property
    def kept(self) -> int:
        """Trials that are kept."""
        return len(self._numbers)

    def add(self, stamps: NDArray[np.float64], samples: NDArray[np.float32]) -> None:
        """Take samples, shape ``(n, n_channels + 2)``, stamped with the centres of their bins."""
        if not len(stamps):
            return
        where = samples[:, -2:]
        fits = np.isfinite(where).all(axis=1) & (where[:, 1] >= 0) & (where[:, 1] < self.n_bins)
        stamps, samples = stamps[fits], samples[fits]
        numbers, bins = samples[:, -2].astype(np.int64), samples[:, -1].astype(np.int64)
        starts = stamps - (bins + 0.5) * self.bin_width
        # A new number, or the same one at another time (a loop started again), is a new trial.
        for first, last in _runs(numbers, starts, self.bin_width):
            self._place(int(numbers[first]), float(starts[first]))
            at = (self.total - 1) % self.kept
            self._values[at, bins[first:last]] = samples[first:last, :-2]
        self.version += 1

    def name(self, number: int, label: str) -> None:
        """Note the condition of a trial, which may come before or after it."""
        if self._labels.get(number) == label:
            return
        self._labels.pop(number, None)
        self._labels[number] = label
        while len(self._labels) > 4 * self.kept:
            self._labels.pop(next(iter(self._labels)))
        self.version += 1

    def newest(self, most: int) -> list[Trial]:
        """Return copies of the newest trials, oldest first."""
        n = min(most, self.total, self.kept)
        return [
            Trial(
                self._numbers[at], self._labels.get(self._numbers[at], ""), self._starts[at],
                self._values[at].copy(),
            )
            for at in (i % self.kept for i in range(self.total - n, self.total))
        ]  # fmt: skip

    def windows(self, since: float) -> list[tuple[float, float, str]]:
        """Return start, end (seconds) and label of the kept trials that end after `since`."""
        length = self.n_bins * self.bin_width
        return [
            (self._starts[at], self._starts[at] + length, self._labels.get(self._numbers[at], ""))
            for at in range(min(self.total, self.kept))
            if self._starts[at] + length > since
        ]

    def _place(self, number: int, start: float) -> None:
        at = (self.total - 1) % self.kept
        if self.total and self._numbers[at] == number:
            if abs(self._starts[at] - start) < 0.5 * self.bin_width:
                return
            self._labels.pop(number, None)
        at = self.total % self.kept
        self._numbers[at], self._starts[at] = number, start
        self._values[at] = np.nan
        self.total += 1


def _runs(
    numbers: NDArray[np.int64], starts: NDArray[np.float64], width: float
) -> list[tuple[int, int]]:
    """Return first and last (exclusive) sample of each trial."""
    if not len(numbers):
        return []
    cut = np.flatnonzero((np.diff(numbers) != 0) | (np.abs(np.diff(starts)) > 0.5 * width)) + 1
    edges = [0, *cut.tolist(), len(numbers)]
    return list(itertools.pairwise(edges))
