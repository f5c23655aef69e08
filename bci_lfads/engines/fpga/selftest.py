"""Whether a card computes the right integers: stored vectors, to the bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from bci_lfads.engines.fpga.card import Card
from bci_lfads.engines.fpga.engine import Launch
from bci_lfads.engines.fpga.loaded import LoadedModel
from bci_lfads.engines.fpga.served import ServedModel
from bci_lfads.errors import EngineError

VECTORS = "vectors.npz"


@dataclass(frozen=True)
class Case:
    """A model with windows, and what the integer reference makes of them."""

    name: str
    image: NDArray[np.uint32]
    counts: NDArray[np.uint8]
    factors: NDArray[np.int32]
    log_rates: NDArray[np.int32]


@dataclass(frozen=True)
class Verdict:
    """What a card made of a case.

    Attributes
    ----------
    name
        The case.
    windows
        Windows in it; each is computed by itself and in batches.
    card_right, native_right
        How many of the windows' results, two a window, equal the stored ones to the bit.
    """

    name: str
    windows: int
    card_right: int
    native_right: int

    @property
    def passed(self) -> bool:
        """Whether the card and this CPU gave all the stored integers."""
        return self.card_right == self.native_right == 2 * self.windows


def stored_cases() -> list[Case]:
    """Return the stored vectors (made by fpga/tools/write_selftest.py)."""
    with (
        resources.files(__package__).joinpath(VECTORS).open("rb") as file,
        np.load(file) as content,
    ):
        names = dict.fromkeys(key.rpartition("/")[0] for key in content.files)
        parts = ("image", "counts", "factors", "log_rates")
        return [Case(name, *(content[f"{name}/{part}"] for part in parts)) for name in names]


def selftest(card: Card, *, batch: int = 2, launch: Launch = "per-trial") -> Iterator[Verdict]:
    """Run every stored case on a card, and on this CPU.

    Parameters
    ----------
    card
        An opened card; its model is replaced.
    batch
        Windows in a run, small, so that batches follow each other.
    launch
        As in `FpgaEngine`.

    Raises
    ------
    EngineError
        If the card does not offer this way of launching.
    """
    from bci_lfads.engines import _native

    if launch == "persistent" and card.serves_not:
        raise EngineError(f"the kernel cannot be started once: {card.serves_not}")
    for case in stored_cases():
        native = _native.Kernel(case.image)
        native_right = 0
        factors, rates = np.empty_like(case.factors[0]), np.empty_like(case.log_rates[0])
        for window, f, r in zip(case.counts, case.factors, case.log_rates, strict=True):
            native.infer_integers(window, factors, rates)
            native_right += 2 * (np.array_equal(factors, f) and np.array_equal(rates, r))
        yield Verdict(
            case.name, len(case.counts), _on_card(card, case, batch, launch), native_right
        )


def _on_card(card: Card, case: Case, batch: int, launch: Launch) -> int:
    loaded: LoadedModel | ServedModel
    if launch == "persistent":
        loaded = ServedModel(card, case.image)
    else:
        loaded = LoadedModel(card, case.image, batch=batch)
    right = 0

    def same(row: int, factors: NDArray[np.int32], rates: NDArray[np.int32] | None) -> bool:
        return (
            rates is not None
            and np.array_equal(factors, case.factors[row])
            and np.array_equal(rates, case.log_rates[row])
        )

    def take(
        first: int, last: int, factors: NDArray[np.int32], rates: NDArray[np.int32] | None
    ) -> None:
        nonlocal right
        for row in range(first, last):
            of_row = None if rates is None else rates[row - first]
            right += same(row, factors[row - first], of_row)

    try:
        for row, window in enumerate(case.counts):
            loaded.one(window, True)
            right += same(row, loaded.factors, loaded.log_rates)
        loaded.many(case.counts, True, take)
    finally:
        loaded.close()
    return right
