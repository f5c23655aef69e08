"""A model on a card: its integers for one window or for many."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bci_lfads.engines.fpga.card import Card
from bci_lfads.engines.fpga.lane import Lane
from bci_lfads.engines.fpga.protocol import Command

Integers = NDArray[np.int32]
Take = Callable[[int, int, Integers, "Integers | None"], None]


class LoadedModel:
    """A kernel image loaded on a card, with buffers for its windows.

    Parameters
    ----------
    card
        An opened card. It holds one model: the newest that was loaded.
    image
        As `bci_lfads.models.image.pack_image` makes it.
    batch
        Windows that one run of `many` computes.

    Attributes
    ----------
    n_bins, n_units, n_bins_out, n_factors
        Sizes, from the image.
    lane
        What computes single windows; its buffers hold the newest results.
    """

    def __init__(self, card: Card, image: NDArray[np.uint32], *, batch: int = 64) -> None:
        self._card, self._batch = card, batch
        self.n_units, self.n_bins, self.n_bins_out = (int(word) for word in image[4:7])
        self.n_factors = int(image[10])
        self._pair: tuple[Lane, Lane] | None = None
        self.lane = self._make_lane(1, len(image))
        self._window = self.lane.counts.reshape(self.n_bins, self.n_units)
        try:
            self.lane.load(image)
        except BaseException:
            self.close()
            raise

    @property
    def counts_size(self) -> int:
        """Counts in a window."""
        return self.n_bins * self.n_units

    @property
    def factors_size(self) -> int:
        """Factors that a window gives."""
        return self.n_bins_out * self.n_factors

    @property
    def rates_size(self) -> int:
        """Log-rates that a window gives."""
        return self.n_bins_out * self.n_units

    def one(self, counts: NDArray[np.uint8], log_rates: bool) -> Lane:
        """Infer one window and return the lane whose buffers hold the integers.

        Parameters
        ----------
        counts
            Shape ``(n_bins, n_units)``.
        log_rates
            Whether to have log-rates too.
        """
        lane = self.lane
        np.copyto(self._window, counts)
        lane.start(Command.RUN if log_rates else Command.RUN_FACTORS, 1, self.counts_size)
        lane.finish(self.factors_size, self.rates_size if log_rates else 0)
        return lane

    def many(self, counts: NDArray[np.uint8], log_rates: bool, take: Take) -> None:
        """Infer many windows, a batch a run, sending one batch while another is computed.

        Parameters
        ----------
        counts
            Shape ``(n_trials, n_bins, n_units)``.
        log_rates
            Whether to have log-rates too.
        take
            Called for each batch, in order, with the rows of its first and behind its last window,
            their factors, flat, and log-rates or None. The arrays are the lane's own: copy them.
        """
        command = Command.RUN if log_rates else Command.RUN_FACTORS
        waiting: list[tuple[Lane, int, int]] = []
        for number, first in enumerate(range(0, len(counts), self._batch)):
            last = min(first + self._batch, len(counts))
            lane = self._lanes()[number & 1]
            size = (last - first) * self.counts_size
            np.copyto(lane.counts[:size], counts[first:last].reshape(-1))
            lane.start(command, last - first, size)
            waiting.append((lane, first, last))
            if len(waiting) == 2:
                self._collect(waiting.pop(0), log_rates, take)
        for rest in waiting:
            self._collect(rest, log_rates, take)

    def _collect(self, started: tuple[Lane, int, int], log_rates: bool, take: Take) -> None:
        lane, first, last = started
        n = last - first
        n_factors, n_rates = n * self.factors_size, n * self.rates_size if log_rates else 0
        lane.finish(n_factors, n_rates)
        take(first, last, lane.factors[:n_factors], lane.log_rates[:n_rates] if log_rates else None)

    def _lanes(self) -> tuple[Lane, Lane]:
        if self._pair is None:
            self._pair = self._make_lane(self._batch, 1), self._make_lane(self._batch, 1)
        return self._pair

    def _make_lane(self, windows: int, image_words: int) -> Lane:
        return Lane(
            self._card, image_words=image_words, counts_size=windows * self.counts_size,
            factors_size=windows * self.factors_size, rates_size=windows * self.rates_size,
        )  # fmt: skip

    def close(self) -> None:
        """Give the buffers back; the card stays open."""
        vars(self).pop("_window", None)  # a view of the lane's buffer
        for lane in (self.lane, *(self._pair or ())):
            lane.close()
        self._pair = None
