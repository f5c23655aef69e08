"""A model on a card: its integers for one window or for many."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bci_lfads.engines.fpga.card import Card
from bci_lfads.engines.fpga.lane import Lane
from bci_lfads.engines.fpga.protocol import MAX_TRIALS, Answer, Command, padded
from bci_lfads.errors import CardBusyError
from bci_lfads.models.image import CHECKSUM_WORD

Integers = NDArray[np.int32]
Take = Callable[[int, int, Integers, "Integers | None"], None]


class Windows:
    """A lane and its buffers as windows, without the padding of their rows."""

    def __init__(self, card: Card, n: int, image_words: int, sizes: Sizes) -> None:
        units, factors = padded(sizes.n_units, 1), padded(sizes.n_factors, 4)
        rates = padded(sizes.n_units, 4)
        self.bytes_a_window = sizes.n_bins * units
        self.factors_a_window = sizes.n_bins_out * factors
        self.rates_a_window = sizes.n_bins_out * rates
        self.lane = Lane(
            card, image_words=image_words, counts_size=n * self.bytes_a_window,
            factors_size=n * self.factors_a_window, rates_size=n * self.rates_a_window,
        )  # fmt: skip
        shape = (n, sizes.n_bins, units)
        self.counts = self.lane.counts.reshape(shape)[..., : sizes.n_units]
        shape = (n, sizes.n_bins_out, factors)
        self.factors = self.lane.factors.reshape(shape)[..., : sizes.n_factors]
        shape = (n, sizes.n_bins_out, rates)
        self.log_rates = self.lane.log_rates.reshape(shape)[..., : sizes.n_units]

    def start(self, n: int, log_rates: bool) -> None:
        """Send the first `n` windows and start their run."""
        command = Command.RUN if log_rates else Command.RUN_FACTORS
        self.lane.start(command, n, n * self.bytes_a_window)

    def finish(self, n: int, log_rates: bool) -> None:
        """Wait for the run and bring its results back."""
        self.lane.finish(n * self.factors_a_window, n * self.rates_a_window if log_rates else 0)

    def close(self) -> None:
        """Let the buffers go, and all views of them."""
        for view in ("counts", "factors", "log_rates"):
            vars(self).pop(view, None)
        self.lane.close()


class Sizes(NamedTuple):
    """Sizes of a model, from its image."""

    n_units: int
    n_bins: int
    n_bins_out: int
    n_factors: int

    @classmethod
    def of(cls, image: NDArray[np.uint32]) -> Sizes:
        """Return those of a kernel image."""
        n_units, n_bins, n_bins_out = image[4:7].tolist()
        return cls(n_units, n_bins, n_bins_out, int(image[10]))


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
    sizes
        Of the model.
    single
        The buffers of single windows.
    factors, log_rates
        Integers of the newest window of `one`: int32, shapes ``(n_bins_out, n_factors)`` and
        ``(n_bins_out, n_units)``. Views of the card's buffers, no longer there after `close`.
    """

    def __init__(self, card: Card, image: NDArray[np.uint32], *, batch: int = 64) -> None:
        self._card, self._batch = card, min(batch, MAX_TRIALS)
        self.sizes = Sizes.of(image)
        self._checksum = int(image[CHECKSUM_WORD])
        self._pair: tuple[Windows, Windows] | None = None
        self.single = Windows(card, 1, len(image), self.sizes)
        try:
            self.single.lane.load(image)
        except BaseException:
            self.close()
            raise
        self._counts = self.single.counts[0]
        self.factors, self.log_rates = self.single.factors[0], self.single.log_rates[0]

    @property
    def cycles(self) -> int:
        """The kernel's own cycles for the newest window of `one`; 0 where it has no clock."""
        return int(self.single.lane.answer[Answer.CYCLES])

    def one(self, counts: NDArray[np.uint8], log_rates: bool) -> None:
        """Infer one window; `factors` and, if asked for, `log_rates` then hold its integers.

        Parameters
        ----------
        counts
            Shape ``(n_bins, n_units)``.
        log_rates
            Whether to have log-rates too.
        """
        single = self.single
        np.copyto(self._counts, counts)
        single.start(1, log_rates)
        single.finish(1, log_rates)
        self._check_model(single)

    def many(self, counts: NDArray[np.uint8], log_rates: bool, take: Take) -> None:
        """Infer many windows, a batch a run, sending one batch while another is computed.

        Parameters
        ----------
        counts
            Shape ``(n_trials, n_bins, n_units)``.
        log_rates
            Whether to have log-rates too.
        take
            Called for each batch, in order, with the row of its first window, the row behind its
            last, their factors ``(n, n_bins_out, n_factors)`` and log-rates or None. The arrays
            are the card's buffers: copy them.
        """
        waiting: list[tuple[Windows, int, int]] = []
        for number, first in enumerate(range(0, len(counts), self._batch)):
            last = min(first + self._batch, len(counts))
            windows = self._two()[number & 1]
            np.copyto(windows.counts[: last - first], counts[first:last])
            windows.start(last - first, log_rates)
            waiting.append((windows, first, last))
            if len(waiting) == 2:
                self._collect(*waiting.pop(0), log_rates, take)
        for rest in waiting:
            self._collect(*rest, log_rates, take)

    def _collect(
        self, windows: Windows, first: int, last: int, log_rates: bool, take: Take
    ) -> None:
        n = last - first
        windows.finish(n, log_rates)
        self._check_model(windows)
        take(first, last, windows.factors[:n], windows.log_rates[:n] if log_rates else None)

    def _check_model(self, windows: Windows) -> None:
        """Whoever else opened the card may have loaded a model of his own."""
        found = int(windows.lane.answer[Answer.MODEL])
        if found != self._checksum:
            self._card.fail(
                CardBusyError(
                    f"the card computed with a model of checksum {found:#010x}, not "
                    f"{self._checksum:#010x}: another program or engine loaded its own; give each "
                    "a card of its own"
                )
            )

    def _two(self) -> tuple[Windows, Windows]:
        if self._pair is None:
            first, second = (Windows(self._card, self._batch, 1, self.sizes) for _ in range(2))
            self._pair = first, second
        return self._pair

    def close(self) -> None:
        """Give the buffers back; the card stays open."""
        for view in ("_counts", "factors", "log_rates"):
            vars(self).pop(view, None)
        for windows in (self.single, *(self._pair or ())):
            windows.close()
        self._pair = None
