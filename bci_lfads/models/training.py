"""Training of a network on windows of counts (extra ``train``).

The objective is the Poisson likelihood of counts that the encoder does not see: coordinated
dropout, M. R. Keshtkaran and C. Pandarinath, "Enabling hyperparameter optimization in sequential
autoencoders for spiking neural data", NeurIPS 2019. A plain torch loop: one network, one
optimiser, one device.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bci_lfads.errors import ModelError
from bci_lfads.models.network import LfadsNetwork, network_from_weights, weights_from_network
from bci_lfads.models.spec import LfadsSpec

_LARGEST_LOG_MEAN = 20.0
"""Of a count, natural logarithm: beyond 5e8 spikes a bin the exponential gives no useful slope."""
_EVALUATED_AT_ONCE = 512
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
    """Largest, after the warm-up; it falls to zero along half a cosine."""
    warm_up: int = 200
    """Steps in which the learning rate rises; at most a tenth of all."""
    weight_decay: float = 1e-2
    """Of matrices, decoupled from the gradient (AdamW); biases and first states have none."""
    keep: float = 0.7
    """Share of counts that the encoder sees, scaled by its inverse; the loss is taken on the
    others. 1: it sees all of them, and the loss is taken on all."""
    max_gradient: float = 5.0
    """Norm to which the gradient of all parameters together is cut."""
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
                ("max_gradient", self.max_gradient > 0),
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
        The same of all validation counts, of which the encoder sees all.
    bits_per_spike
        Of the validation counts, over each unit's mean rate there.
    learning_rate
        After its last step.
    seconds
        Since training began.
    best
        Whether its weights are the best so far.
    """

    epoch: int
    training: float
    validation: float
    bits_per_spike: float
    learning_rate: float
    seconds: float
    best: bool


class History(NamedTuple):
    """How a training went: every epoch, the number of the best, and why it ended."""

    epochs: tuple[Epoch, ...]
    best: int
    ended: str

    @property
    def best_epoch(self) -> Epoch:
        """The epoch whose weights were kept."""
        return next(epoch for epoch in self.epochs if epoch.epoch == self.best)


class Trained(NamedTuple):
    """Float32 weights by the names of `LfadsSpec.weight_shapes`, and how they came about."""

    weights: dict[str, NDArray[np.float32]]
    history: History


def train(
    spec: LfadsSpec,
    counts: NDArray[np.uint8],
    validation: NDArray[np.uint8],
    bin_width: float,
    settings: TrainingSettings | None = None,
    *,
    start: Mapping[str, NDArray[np.float32]] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Trained:
    """Train a network and return the weights of the epoch with the best validation likelihood.

    With the same settings, data, number of torch threads and version of torch, the result is the
    same; torch's own random state is left as it was.

    Parameters
    ----------
    spec
        Sizes and form.
    counts, validation
        uint8, shape ``(n_windows, n_bins, n_units)``; of different trials.
    bin_width
        Seconds.
    settings
        How; default `TrainingSettings()`.
    start
        Weights to go on from; default: random ones, and the units' mean rates.
    on_epoch
        Called after every epoch.

    Raises
    ------
    ModelError
        If the counts' shape is not the model's, there are none, or training diverges.
    """
    settings = settings or TrainingSettings()
    _check(spec, counts, "training")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        if start is None:
            net = LfadsNetwork(spec)
            with torch.no_grad():
                net.weight("rates.bias").copy_(_mean_log_rates(counts, bin_width))
        else:
            net = network_from_weights(spec, start)
        history = _fit(
            net, counts, validation, bin_width, settings, on_epoch, from_here=start is not None
        )
    return Trained(weights_from_network(net), history)


def fit(
    net: nn.Module,
    counts: NDArray[np.uint8],
    validation: NDArray[np.uint8],
    bin_width: float,
    settings: TrainingSettings,
    on_epoch: Callable[[Epoch], None] | None = None,
    *,
    from_here: bool = False,
) -> History:
    """Train any network that gives ``(factors, log_rates)`` of counts, in place.

    It is left in evaluation mode with the parameters of the best epoch; where `from_here` is set,
    the parameters that it comes with are epoch 0, and stay if none is better. Ctrl-C after the
    first epoch ends training as if it had come to its end. Other arguments are those of `train`.

    Raises
    ------
    ModelError
        As `train`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return _fit(net, counts, validation, bin_width, settings, on_epoch, from_here=from_here)


def _fit(
    net: nn.Module,
    counts: NDArray[np.uint8],
    validation: NDArray[np.uint8],
    bin_width: float,
    settings: TrainingSettings,
    on_epoch: Callable[[Epoch], None] | None,
    *,
    from_here: bool,
) -> History:
    _check(net.spec, counts, "training")
    _check(net.spec, validation, "validation")
    dtype = next(net.parameters()).dtype
    # Copies, since the caller's may be read-only or reversed, which torch does not take; in bytes,
    # since there may be many windows that overlap.
    x, held = (torch.from_numpy(np.array(v, order="C")) for v in (counts, validation))
    log_width = math.log(bin_width)
    null, per_spike = _null(held)
    batch = min(settings.batch, len(x))
    n_steps = len(x) // batch  # what is left over of a permutation is left out of this epoch
    optimiser, schedule = _optimiser(net, settings, settings.epochs * n_steps)
    epochs: list[Epoch] = []
    kept, ended, begun = net.state_dict(), "all epochs done", time.monotonic()

    def note(number: int, mean: float) -> int:
        """Validate, and return since how many epochs nothing was better."""
        nonlocal kept
        value = _validate(net.eval(), held, log_width)
        if not math.isfinite(value) or mean == math.inf:
            raise ModelError(
                f"training diverged in epoch {number}: the likelihood is not finite; take a "
                f"smaller learning rate than {settings.learning_rate:g}"
            )
        better = all(value < epoch.validation for epoch in epochs)
        if better:
            kept = copy.deepcopy(net.state_dict())
        bits = (null - value) * per_spike
        rate, seconds = schedule.get_last_lr()[0], time.monotonic() - begun
        epochs.append(Epoch(number, mean, value, bits, rate, seconds, better))
        if on_epoch is not None:
            on_epoch(epochs[-1])
        return number - _best(epochs)

    if from_here:
        note(0, math.nan)
    try:
        for number in range(1, settings.epochs + 1):
            net.train()
            total = 0.0
            for chosen in torch.randperm(len(x)).split(batch)[:n_steps]:
                loss = _loss(net, x[chosen].to(dtype), settings.keep, log_width)
                optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(net.parameters(), settings.max_gradient)
                optimiser.step()
                schedule.step()
                total += loss.item()
            since = note(number, total / n_steps if math.isfinite(total) else math.inf)
            if settings.patience is not None and since >= settings.patience:
                ended = f"no better likelihood in {settings.patience} epochs"
                break
    except KeyboardInterrupt:
        if not epochs:
            raise
        ended = f"interrupted after {epochs[-1].epoch} epochs"
    net.load_state_dict(kept)
    net.eval()
    return History(tuple(epochs), _best(epochs), ended)


def _best(epochs: list[Epoch]) -> int:
    return max(epoch.epoch for epoch in epochs if epoch.best)


def nll(log_rates: Tensor, counts: Tensor, log_width: float) -> Tensor:
    """Return the Poisson negative log-likelihood of each count, without its constant.

    Parameters
    ----------
    log_rates
        Natural logarithm of Hz.
    counts
        Of the same shape.
    log_width
        Natural logarithm of the bin width in seconds.
    """
    log_means = (log_rates + log_width).clamp(max=_LARGEST_LOG_MEAN)
    return log_means.exp() - counts * log_means


def _loss(net: nn.Module, y: Tensor, keep: float, log_width: float) -> Tensor:
    """Return the mean negative log-likelihood of the counts that the encoder does not see."""
    n_bins = y.shape[1]
    if keep == 1:
        return nll(net(y)[1][:, :n_bins], y, log_width).mean()
    seen = (torch.rand_like(y) < keep).to(y.dtype)
    log_rates = net(y * seen / keep)[1][:, :n_bins]
    # At least one: of a few counts the encoder may happen to see all.
    return (nll(log_rates, y, log_width) * (1 - seen)).sum() / (1 - seen).sum().clamp(min=1)


def _validate(net: nn.Module, held: Tensor, log_width: float) -> float:
    total = 0.0
    with torch.no_grad():
        for some in held.split(_EVALUATED_AT_ONCE):
            part = some.to(next(net.parameters()).dtype)
            log_rates = net(part)[1][:, : part.shape[1]]
            total += float(nll(log_rates, part, log_width).sum(dtype=torch.float64))
    return float(total / held.numel())


def _optimiser(
    net: nn.Module, settings: TrainingSettings, n_steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    matrices = [p for p in net.parameters() if p.ndim == 2]
    others = [p for p in net.parameters() if p.ndim != 2]
    optimiser = torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": settings.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
    )
    warm = max(1, min(settings.warm_up, n_steps // 10))

    def share(step: int) -> float:
        rising = min(1.0, (step + 1) / warm)
        return float(rising * (0.5 + 0.5 * np.cos(np.pi * min(1.0, step / n_steps))))

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, share)


def _check(spec: LfadsSpec, counts: NDArray[np.uint8], what: str) -> None:
    expected = (spec.n_bins, spec.n_units)
    if counts.dtype != np.uint8 or counts.ndim != 3 or counts.shape[1:] != expected:
        raise ModelError(
            f"{what} counts should be uint8 of shape (n_windows, {expected[0]} bins, "
            f"{expected[1]} units); got {counts.dtype} of shape {counts.shape}"
        )
    if not counts.any():
        raise ModelError(f"the {len(counts)} {what} windows hold no spike at all")


def _mean_log_rates(counts: NDArray[np.uint8], bin_width: float) -> Tensor:
    """Return the units' mean log-rates; a silent unit has that of half a spike in all windows."""
    totals = np.maximum(counts.sum(axis=(0, 1), dtype=np.int64), 0.5)
    means = torch.from_numpy(totals).float() / (counts.shape[0] * counts.shape[1])
    return (means / bin_width).log()


def _null(held: Tensor) -> tuple[float, float]:
    """Return the mean negative log-likelihood of each unit's own mean, and bits a spike per nat."""
    means = held.sum(dim=(0, 1), dtype=torch.float64) / (held.shape[0] * held.shape[1])
    null = float((means - torch.xlogy(means, means)).mean())
    return null, float(1.0 / (means.mean() * math.log(2.0)))
