"""A model fitted to today's units by a linear read-in, all else frozen (extra ``torch``).

The idea is NoMAD's: A. Karpowicz et al., "Stabilizing brain-computer interfaces through alignment
of latent dynamics", Nature Communications 16 (2025). Neurons come and go, the dynamics stay: so
only the way into the model is learned, without labels, such that the generator's states are
distributed as they were and explain today's spikes. Here the way in is linear, and so it folds
into the encoder's input weights: W R and b + W c for a read-in R y + c. What comes out is another
model of the same sizes but for the units, for the same kernel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bci_lfads.errors import ModelError
from bci_lfads.models.fixed import required
from bci_lfads.models.model import Model
from bci_lfads.models.network import network_from_weights

_VARIANCE = 0.99  # of the reference states that the compared directions hold
_NOISE = 0.05  # variance added in each direction, where the reference's is 1
_LARGEST_LOG_MEAN = 10.0  # of a count


@dataclass(frozen=True)
class RealignSettings:
    """How to realign."""

    steps: int = 600
    """Of the optimiser."""
    batch: int = 64
    """Windows a step."""
    learning_rate: float = 1e-2
    """Largest; it falls to zero along half a cosine."""
    divergence: float = 1.0
    """Weight of the states' divergence, nats a direction, beside the likelihood, nats a spike."""
    keep: float = 0.7
    """Share of counts that the encoder sees; the likelihood is that of the others."""
    decay: float = 1e-3
    """Of the read-in's distance from where it began."""
    seed: int = 0


class Step(NamedTuple):
    """How far it is: the step, mean negative log-likelihood (nats a spike) and divergence."""

    step: int
    loss: float
    divergence: float


class Realigned(NamedTuple):
    """What came of it.

    Attributes
    ----------
    model
        For today's units.
    before, after
        Divergence of the generator's states from the reference's, nats a direction, all counts
        seen: of the model as it was, and of the new one.
    """

    model: Model
    before: float
    after: float


def realign(
    model: Model,
    counts: NDArray[np.uint8],
    unit_labels: tuple[str, ...],
    reference: NDArray[np.uint8],
    settings: RealignSettings | None = None,
    *,
    on_step: Callable[[Step], None] | None = None,
) -> Realigned:
    """Refit the read-in and the read-out of a model to today's units.

    Parameters
    ----------
    model
        As trained.
    counts
        Windows of today, uint8, shape ``(n_windows, n_bins, n_units_today)``.
    unit_labels
        Of today's units. One that the model has too begins as that unit.
    reference
        Windows like those that the model was trained on, ``(n_windows, n_bins, n_units)``.
    settings
        How.
    on_step
        Called after each step.

    Raises
    ------
    ModelError
        If the model has no form for the kernel, or there are too few windows.
    """
    s = settings or RealignSettings()
    spec = model.spec
    required(model.fixed)
    if spec.controller is not None or spec.quantisers is not None:
        what = "inferred inputs" if spec.controller is not None else "quantisers of its training"
        raise ModelError(f"a model with {what} cannot be realigned; train it anew on today's units")
    if min(len(counts), len(reference)) < 2:
        raise ModelError(
            f"{len(counts)} windows of today and {len(reference)} of reference; a distribution "
            "takes some tens of each"
        )
    generator = torch.Generator().manual_seed(s.seed)
    net = _States(model)
    target = _Gaussian.of(net.states(_tensor(reference)).flatten(0, 1))
    read_in = _ReadIn(model, counts, unit_labels, reference)
    y = _tensor(counts)
    before = float(target.divergence(net.states(read_in(y)).flatten(0, 1)).detach())
    parameters = [*read_in.parameters, *read_in.read_out]
    optimiser = torch.optim.Adam(parameters, s.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda k: 0.5 * (1 + math.cos(math.pi * min(1.0, k / s.steps)))
    )
    first = read_in.matrix.detach().clone()
    for step in range(s.steps):
        rows = torch.randperm(len(y), generator=generator)[: s.batch]
        batch = y[rows]
        seen = torch.rand(batch.shape, generator=generator) < s.keep
        states = net.states(read_in(batch * seen / s.keep))
        loss = read_in.negative_log_likelihood(states[:, : spec.n_bins], batch, ~seen)
        divergence = target.divergence(states.flatten(0, 1))
        away = ((read_in.matrix - first) ** 2).sum()
        optimiser.zero_grad()
        (loss + s.divergence * divergence + s.decay * away).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        if on_step is not None:
            on_step(Step(step + 1, float(loss.detach()), float(divergence.detach())))
    with torch.no_grad():
        after = float(target.divergence(net.states(read_in(y)).flatten(0, 1)))
    new = read_in.fold(model, counts, before, after)
    return Realigned(new, before, after)


class _States:
    """The frozen model from (read-in) counts to the generator's states."""

    def __init__(self, model: Model) -> None:
        spec, size = model.spec, model.spec.generator_size
        # The states come out where the factors do.
        wide = spec.model_copy(update={"n_factors": size})
        weights = dict(model.weights) | {
            "factors.weight": np.eye(size, dtype=np.float32),
            "rates.weight": np.zeros((spec.n_units, size), np.float32),
        }
        self._net = network_from_weights(wide, weights)
        self._net.eval()
        for weight in self._net.parameters():
            weight.requires_grad_(False)

    def states(self, x: Tensor) -> Tensor:
        """Return ``(n_windows, n_bins_out, generator_size)``."""
        states: Tensor = self._net(x)[0]
        return states


class _Gaussian(NamedTuple):
    """A distribution in the directions that hold most of its variance, each scaled to 1."""

    mean: Tensor
    directions: Tensor

    @classmethod
    def of(cls, states: Tensor) -> _Gaussian:
        """Fit one to states ``(n, size)``."""
        mean = states.mean(0)
        values, vectors = torch.linalg.eigh(torch.cov(states.T))
        values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
        share = values.cumsum(0) / values.sum()
        n = int((share < _VARIANCE).sum()) + 1
        return cls(mean, vectors[:, :n] / values[:n].clamp(min=1e-12).sqrt())

    def divergence(self, states: Tensor) -> Tensor:
        """Return the KL divergence of these states' Gaussian from this one, nats a direction."""
        z = (states - self.mean) @ self.directions
        n = z.shape[1]
        noise = _NOISE * torch.eye(n)
        mean, covariance = z.mean(0), torch.cov(z.T).reshape(n, n) + noise
        own = 1.0 + _NOISE  # the reference has covariance 1 in these directions
        trace = torch.diagonal(covariance).sum() / own
        log = n * math.log(own) - torch.logdet(covariance)
        divergence: Tensor = 0.5 * (trace + (mean**2).sum() / own - n + log) / n
        return divergence


class _ReadIn:
    """Today's counts to what the model's units would have counted, and factors to rates."""

    def __init__(
        self,
        model: Model,
        counts: NDArray[np.uint8],
        unit_labels: tuple[str, ...],
        reference: NDArray[np.uint8],
    ) -> None:
        self._labels = unit_labels
        place = {label: i for i, label in enumerate(model.unit_labels)}
        matrix = torch.zeros(len(model.unit_labels), len(unit_labels))
        read_out = torch.zeros(len(unit_labels), model.spec.n_factors)
        rates = torch.tensor(np.array(model.weights["rates.weight"]))
        for k, label in enumerate(unit_labels):
            if label in place:
                matrix[place[label], k] = 1.0
                read_out[k] = rates[place[label]]
        # Where the means have moved, the constant brings them back.
        then = _tensor(reference).mean((0, 1))
        now = _tensor(counts).mean((0, 1))
        self.matrix = matrix.requires_grad_()
        self._constant = (then - matrix.detach() @ now).requires_grad_()
        self._factors = torch.tensor(np.array(model.weights["factors.weight"]))
        self._weight = read_out.requires_grad_()
        self._bias = torch.log(now + 1e-3).requires_grad_()
        self.parameters = [self.matrix, self._constant]
        self.read_out = [self._weight, self._bias]

    def __call__(self, y: Tensor) -> Tensor:
        """Return R y + c."""
        return y @ self.matrix.T + self._constant

    def negative_log_likelihood(self, states: Tensor, y: Tensor, where: Tensor) -> Tensor:
        """Return the Poisson loss of the counts there, nats a spike, but for its constant."""
        log_mean = (states @ self._factors.T) @ self._weight.T + self._bias
        each = log_mean.clamp(max=_LARGEST_LOG_MEAN).exp() - y * log_mean
        n_spikes = (y * where).sum().clamp(min=1.0)
        return (each * where).sum() / n_spikes

    def fold(self, model: Model, counts: NDArray[np.uint8], before: float, after: float) -> Model:
        """Return the model for today's units."""
        matrix, constant, weight, bias = (
            p.detach().double().numpy() for p in (*self.parameters, *self.read_out)
        )
        weights: dict[str, NDArray[np.float32]] = dict(model.weights)
        for side in ("forward", "backward"):
            W = np.asarray(weights[f"encoder.{side}.input_weight"], np.float64)
            b = np.asarray(weights[f"encoder.{side}.input_bias"], np.float64)
            weights[f"encoder.{side}.input_weight"] = (W @ matrix).astype(np.float32)
            weights[f"encoder.{side}.input_bias"] = (b + W @ constant).astype(np.float32)
        weights["rates.weight"] = weight.astype(np.float32)
        weights["rates.bias"] = (bias - math.log(model.bin_width)).astype(np.float32)
        spec = model.spec.model_copy(update={"n_units": len(self._labels)})
        old = required(model.fixed)
        return Model.from_weights(
            spec, weights, unit_labels=self._labels, bin_width=model.bin_width,
            calibration=counts[:512], weight_bits=old.weight_bits,
            product_bits=16 - old.encoder_drop,
            alignment=model.alignment, provenance=_provenance(model, counts, before, after),
        )  # fmt: skip


def _provenance(
    model: Model, counts: NDArray[np.uint8], before: float, after: float
) -> Mapping[str, str]:
    rates = counts.mean((0, 1)) / model.bin_width
    return dict(model.provenance) | {
        "realigned_from": model.hash,
        "realigned_windows": str(len(counts)),
        "realigned_divergence": f"{before:.4g} -> {after:.4g} nats a direction",
        "unit_rates_hz": ",".join(f"{rate:.4g}" for rate in rates),
    }


def _tensor(counts: NDArray[np.uint8]) -> Tensor:
    return torch.tensor(counts.astype(np.float32))
