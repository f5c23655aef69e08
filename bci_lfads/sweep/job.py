"""What all members of a sweep have in common."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bci_lfads.models.history import TrainingSettings
from bci_lfads.models.spec import LfadsSpec
from bci_lfads.sweep.population import Space


@dataclass(frozen=True)
class Job:
    """What all members of a sweep have in common.

    Attributes
    ----------
    spec
        The network.
    counts, validation
        As for `bci_lfads.models.training.train`.
    bin_width
        Seconds.
    settings
        How to train, but for what the sweep varies. ``epochs`` are those of each member.
    kind
        ``random``: members with hyper-parameters of their own, trained to the end, each with the
        schedule of ``settings``. ``pbt``: a population whose losers go on from a winner's state
        after every generation, at a learning rate that nothing but this changes.
    members
        Number of trainings.
    generation
        Epochs from one report to the next, and of a generation.
    space
        What is varied.
    device
        ``cpu``, ``cuda`` or ``auto``.
    """

    spec: LfadsSpec
    counts: NDArray[np.uint8]
    validation: NDArray[np.uint8]
    bin_width: float
    settings: TrainingSettings
    kind: Literal["random", "pbt"]
    members: int
    generation: int
    space: Space
    device: str = "cpu"

    @property
    def n_reports(self) -> int:
        """How often each member reports at most."""
        return math.ceil(self.settings.epochs / self.generation)

    def settings_of(self, values: Mapping[str, Any]) -> TrainingSettings:
        """Return the settings of a member with these hyper-parameters."""
        if self.kind == "pbt":
            # Losers take the weights of winners; what ends a training is the population.
            return replace(self.settings, schedule="constant", patience=None, **values)
        return replace(self.settings, **values)

    def about(self) -> dict[str, Any]:
        """Return what must be the same where a sweep is resumed, as JSON types."""
        return {
            "spec": self.spec.model_dump(mode="json"),
            "settings": asdict(self.settings),
            "kind": self.kind,
            "members": self.members,
            "generation": self.generation,
            "space": {name: list(r) for name, r in self.space.items()},
            "windows": [*self.counts.shape, int(self.counts.sum()), int(self.validation.sum())],
        }
