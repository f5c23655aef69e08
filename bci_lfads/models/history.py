"""How a training is set, and how it went. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

from bci_lfads.errors import ModelError

_STEPS = 4000
"""Of the optimiser: what the demo's model took."""


@dataclass(frozen=True)
class TrainingSettings:
    """How to train.

    Raises
    ------
    ModelError
        Where a number is out of its range.
    """

    epochs: int = 100
    """Passes over the training windows, at most."""
    batch: int = 64
    """Windows a step; all of them where there are fewer."""
    learning_rate: float = 3e-3
    """Largest, after the warm-up."""
    warm_up: int = 200
    """Steps in which the learning rate rises; at most a tenth of all."""
    weight_decay: float = 1e-2
    """Of matrices, decoupled from the gradient (AdamW); biases and first states have none."""
    keep: float = 0.5
    """Share of counts that the encoder sees, scaled by its inverse; the loss is taken on the
    others. 1: it sees all of them, and the loss is taken on all."""
    sample_validation: float = 0.0
    """Share of the training windows' counts that training neither sees nor scores, drawn once. If
    there is one, the likelihood of these decides which epoch is the best; else that of the
    validation windows."""
    max_gradient: float = 5.0
    """Norm to which the gradient of all parameters together is cut."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Of the learning rate after the warm-up: half a cosine to zero, or none."""
    kl: float = 1.0
    """Weight of the divergence of posteriors from priors, in a variational model; 1: the objective
    is the evidence's lower bound."""
    kl_warm_up: int = 1000
    """Steps in which the weights of divergence and of `l2` rise from zero; at most half of all."""
    l2: float = 0.0
    """Weight of half the mean square of the recurrent weights."""
    first_states: Literal["learned", "fixed"] = "learned"
    """Of the encoders: whether training changes them; those of a new network are zero."""
    patience: int | None = 25
    """Epochs without a better validation likelihood after which training ends; None: never."""
    seed: int = 0
    """Of first weights, order and dropout."""

    def __post_init__(self) -> None:
        wrong = [
            f"{name} is {getattr(self, name)}"
            for name, good in (
                ("epochs", self.epochs >= 1),
                ("batch", self.batch >= 1),
                ("learning_rate", 0 < self.learning_rate < math.inf),
                ("warm_up", self.warm_up >= 0),
                ("weight_decay", 0 <= self.weight_decay < math.inf),
                ("keep", 0 < self.keep <= 1),
                ("sample_validation", 0 <= self.sample_validation < 1),
                ("max_gradient", self.max_gradient > 0),
                ("kl", 0 <= self.kl < math.inf),
                ("kl_warm_up", self.kl_warm_up >= 0),
                ("l2", 0 <= self.l2 < math.inf),
                ("first_states", self.first_states in ("learned", "fixed")),
                ("schedule", self.schedule in ("cosine", "constant")),
                ("patience", self.patience is None or self.patience >= 1),
            )
            if not good
        ]
        if wrong:
            raise ModelError(f"training cannot run with these settings: {', '.join(wrong)}")


def epochs_for(n_windows: int, batch: int = TrainingSettings.batch) -> int:
    """Return how many epochs are about 4000 steps: 50 at least, 1000 at most."""
    n_steps = max(1, n_windows // batch)
    return max(50, min(1000, round(_STEPS / n_steps)))


class Epoch(NamedTuple):
    """What one epoch came to.

    Attributes
    ----------
    epoch
        From 1; 0 is what a network was before, where training goes on from one.
    training
        Poisson negative log-likelihood of the counts that the encoder did not see, nats a count,
        without its constant; mean over the epoch's steps. NaN for epoch 0.
    validation
        The same of all validation counts, of which the encoder sees all but those ahead.
    bits_per_spike
        Of the validation counts, over each unit's mean rate there.
    learning_rate
        After its last step.
    seconds
        Since training began.
    best
        Whether its weights are the best so far.
    samples
        Poisson negative log-likelihood of the training windows' counts that are kept for sample
        validation, nats a count, without its constant; None where there are none.
    """

    epoch: int
    training: float
    validation: float
    bits_per_spike: float
    learning_rate: float
    seconds: float
    best: bool
    samples: float | None = None

    @property
    def judged(self) -> float:
        """What an epoch is judged by: the likelihood of samples where there are such."""
        return self.validation if self.samples is None else self.samples


class History(NamedTuple):
    """How a training went: every epoch, the number of the best, and why it ended."""

    epochs: tuple[Epoch, ...]
    best: int
    ended: str

    @property
    def best_epoch(self) -> Epoch:
        """The epoch whose weights were kept."""
        return next(epoch for epoch in self.epochs if epoch.epoch == self.best)
