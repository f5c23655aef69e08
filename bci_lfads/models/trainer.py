"""One training: network, optimiser, schedule, random state and history, epoch by epoch.

What it is can be taken out (`Trainer.state_dict`) and put into another one of the same settings
and data, which then goes on as if it had never stopped.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bci_lfads.errors import ModelError
from bci_lfads.models.history import Epoch, History, TrainingSettings
from bci_lfads.models.objective import Hidden, loss_of, nll, recurrent_l2
from bci_lfads.models.spec import LfadsSpec

_EVALUATED_AT_ONCE = 512


class Trainer:
    """A network in training.

    Parameters
    ----------
    net
        Gives ``(factors, log_rates)`` of counts; trained in place, where its parameters are.
    counts, validation
        uint8, shape ``(n_windows, spec.n_bins_out, n_units)``. The network is given the first
        ``spec.n_bins`` bins; those ahead are only predicted.
    bin_width
        Seconds.
    settings
        How.
    from_here
        Whether the parameters that the network comes with are epoch 0, and stay if none is better.

    Raises
    ------
    ModelError
        If the counts' shape is not the model's, or there is no spike.
    """

    def __init__(
        self,
        net: nn.Module,
        counts: NDArray[np.uint8],
        validation: NDArray[np.uint8],
        bin_width: float,
        settings: TrainingSettings,
        *,
        from_here: bool = False,
    ) -> None:
        check_counts(net.spec, counts, "training")
        check_counts(net.spec, validation, "validation")
        self.net = net
        self.settings = settings
        self._dtype, self._device = _kind_of(net)
        # Copies, since the caller's may be read-only or reversed, which torch does not take; in
        # bytes, since there may be many windows that overlap.
        self._x, self._held = (
            torch.from_numpy(np.array(v, order="C")).to(self._device) for v in (counts, validation)
        )
        self._log_width = math.log(bin_width)
        self._hidden: Hidden | None = None
        if settings.sample_validation:
            seen = self._x[:, : net.spec.n_bins]
            self._hidden = Hidden.drawn(seen, settings.sample_validation)
        self._null, self._per_spike = _null(self._held)
        self._batch = min(settings.batch, len(self._x))
        # What is left over of a permutation is left out of its epoch.
        self._n_steps = len(self._x) // self._batch
        self._optimiser = _optimiser(net, settings)
        self._step = 0
        self._epochs: list[Epoch] = []
        self._kept = copy.deepcopy(net.state_dict())
        self._seconds = 0.0
        self._random = _random_state(self._device)
        if from_here:
            self._note(0, math.nan)

    @property
    def epochs(self) -> tuple[Epoch, ...]:
        """Epochs so far; 0 is among them where training goes on from a network."""
        return tuple(self._epochs)

    @property
    def ended(self) -> str | None:
        """Why nothing more is to be done; None while something is."""
        if not self._epochs:
            return None
        number, patience = self._epochs[-1].epoch, self.settings.patience
        if patience is not None and number - self._best() >= patience:
            return f"no better likelihood in {patience} epochs"
        return "all epochs done" if number >= self.settings.epochs else None

    def run(self, on_epoch: Callable[[Epoch], None] | None = None) -> History:
        """Train to the end, and leave the best epoch's parameters in the network.

        Ctrl-C after the first epoch ends training as if it had come to its end.

        Parameters
        ----------
        on_epoch
            Called after every epoch.

        Raises
        ------
        ModelError
            If training diverges.
        """
        ended = None
        try:
            if on_epoch is not None and [e.epoch for e in self._epochs] == [0]:
                on_epoch(self._epochs[0])
            while (ended := self.ended) is None:
                epoch = self.epoch()
                if on_epoch is not None:
                    on_epoch(epoch)
        except KeyboardInterrupt:
            if not self._epochs:
                raise
            ended = f"interrupted after {self._epochs[-1].epoch} epochs"
        return self.finish(ended)

    def epoch(self) -> Epoch:
        """Train for one more epoch.

        Raises
        ------
        ModelError
            If training diverges.
        """
        begun = time.monotonic()
        number = self._epochs[-1].epoch + 1 if self._epochs else 1
        total = 0.0
        self.net.train()
        with self._own_random():
            for chosen in torch.randperm(len(self._x)).split(self._batch)[: self._n_steps]:
                total += self._step_on(chosen.to(self._device))
        mean = total / self._n_steps if math.isfinite(total) else math.inf
        return self._note(number, mean, begun)

    def finish(self, ended: str | None = None) -> History:
        """Put the best epoch's parameters into the network, and return how training went."""
        self.net.load_state_dict(self._kept)
        self.net.eval()
        return History(self.epochs, self._best(), ended or self.ended or "stopped")

    def change(self, settings: TrainingSettings) -> None:
        """Go on with another learning rate, weight decay, share of counts seen and the like."""
        self.settings = settings
        self._batch = min(settings.batch, len(self._x))
        self._n_steps = len(self._x) // self._batch
        self._optimiser.param_groups[0]["weight_decay"] = settings.weight_decay

    def state_dict(self) -> dict[str, Any]:
        """Return what the rest of the training follows from, in types that torch loads safely."""
        return {
            "net": self.net.state_dict(),
            "kept": self._kept,
            "optimiser": self._optimiser.state_dict(),
            "step": self._step,
            "epochs": [list(epoch) for epoch in self._epochs],
            "random": self._random,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave.

        Raises
        ------
        ModelError
            If it is of another network.
        """
        try:
            self.net.load_state_dict(state["net"])
            self._optimiser.load_state_dict(state["optimiser"])
            self._kept = {k: v.to(self._device) for k, v in state["kept"].items()}
            self._step = int(state["step"])
            self._epochs = [Epoch(*row) for row in state["epochs"]]
            self._random = dict(state["random"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ModelError(f"the training's state is of another network: {error}") from error
        # A member of a population goes on with settings of its own.
        self._optimiser.param_groups[0]["weight_decay"] = self.settings.weight_decay
        self._seconds = self._epochs[-1].seconds if self._epochs else 0.0

    def _step_on(self, chosen: Tensor) -> float:
        settings = self.settings
        y, hidden = self._x[chosen].to(self._dtype), self._hidden
        if hidden is not None:
            hidden = hidden._replace(mask=hidden.mask[chosen])
        rate = settings.learning_rate * self._share(self._step)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        loss, kl = loss_of(
            self.net, y, self.net.spec.n_bins, settings.keep, self._log_width, hidden
        )
        objective, weight = loss, self._regularised(self._step)
        if kl is not None:
            # Of a window, as is a count's share of it the loss.
            objective = objective + weight * settings.kl * kl / y[0].numel()
        if settings.l2:
            objective = objective + weight * settings.l2 * recurrent_l2(self.net)
        self._optimiser.zero_grad()
        objective.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), settings.max_gradient)
        self._optimiser.step()
        self._step += 1
        return float(loss.item()) if math.isfinite(objective.item()) else math.inf

    def _regularised(self, step: int) -> float:
        """Return the share of the weights of divergence and L2 that a step has."""
        warm = min(self.settings.kl_warm_up, self.settings.epochs * self._n_steps // 2)
        return min(1.0, (step + 1) / max(1, warm))

    def _share(self, step: int) -> float:
        """Return the learning rate of a step as a share of the largest."""
        settings = self.settings
        n_steps = settings.epochs * self._n_steps
        warm = max(1, min(settings.warm_up, n_steps // 10))
        rising = min(1.0, (step + 1) / warm)
        if settings.schedule == "constant":
            return rising
        return float(rising * (0.5 + 0.5 * np.cos(np.pi * min(1.0, step / n_steps))))

    def _note(self, number: int, mean: float, begun: float | None = None) -> Epoch:
        value = _validate(self.net.eval(), self._held, self._log_width)
        samples = None
        if self._hidden is not None:
            samples = _validate(self.net, self._x, self._log_width, self._hidden)
        judged = value if samples is None else samples
        if not math.isfinite(value + judged) or mean == math.inf:
            raise ModelError(
                f"training diverged in epoch {number}: the likelihood is not finite; take a "
                f"smaller learning rate than {self.settings.learning_rate:g}"
            )
        better = all(judged < epoch.judged for epoch in self._epochs)
        if better:
            self._kept = copy.deepcopy(self.net.state_dict())
        if begun is not None:
            self._seconds += time.monotonic() - begun
        self._epochs.append(
            Epoch(
                number, mean, value, (self._null - value) * self._per_spike,
                self.settings.learning_rate * self._share(self._step), self._seconds, better,
                samples,
            )
        )  # fmt: skip
        return self._epochs[-1]

    def _best(self) -> int:
        return max(epoch.epoch for epoch in self._epochs if epoch.best)

    @contextmanager
    def _own_random(self) -> Iterator[None]:
        """Draw from this training's own random numbers, and leave those of others alone."""
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.set_rng_state(self._random["cpu"])
            if devices:
                torch.cuda.set_rng_state(self._random["cuda"], self._device)
            yield
            self._random = _random_state(self._device)


def check_counts(spec: LfadsSpec, counts: NDArray[np.uint8], what: str) -> None:
    """Refuse counts that are not what the model is trained on.

    Raises
    ------
    ModelError
        Naming what was found and what was expected.
    """
    expected = (spec.n_bins_out, spec.n_units)
    if counts.dtype != np.uint8 or counts.ndim != 3 or counts.shape[1:] != expected:
        ahead = f", {spec.n_ahead} of them ahead" if spec.n_ahead else ""
        raise ModelError(
            f"{what} counts should be uint8 of shape (n_windows, {expected[0]} bins{ahead}, "
            f"{expected[1]} units); got {counts.dtype} of shape {counts.shape}"
        )
    if not counts.any():
        raise ModelError(f"the {len(counts)} {what} windows hold no spike at all")


def find_device(name: str) -> torch.device:
    """Return the device ``cpu``, ``cuda`` or, for ``auto``, the latter where there is one.

    Raises
    ------
    ModelError
        If there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (AssertionError, RuntimeError) as error:
        raise ModelError(
            f"no device '{name}' ({str(error).splitlines()[0]}); take cpu, auto, or cuda where "
            "torch has it"
        ) from error
    return device


def _validate(
    net: nn.Module, held: Tensor, log_width: float, hidden: Hidden | None = None
) -> float:
    """Return the mean negative log-likelihood of all counts, or of those that are hidden."""
    total = 0.0
    dtype, n_bins = _kind_of(net)[0], net.spec.n_bins
    with torch.no_grad():
        for rows in torch.arange(len(held), device=held.device).split(_EVALUATED_AT_ONCE):
            part = held[rows].to(dtype)
            shown = part[:, :n_bins]
            if hidden is None:
                each = nll(net(shown)[1], part, log_width)
            else:
                some = hidden._replace(mask=hidden.mask[rows])
                log_rates = net(some.shown(shown))[1][:, :n_bins]
                each = nll(log_rates, shown, log_width)[some.mask]
            total += float(each.sum(dtype=torch.float64))
    n = held.numel() if hidden is None else int(hidden.mask.sum())
    return float(total / n)


def _kind_of(net: nn.Module) -> tuple[torch.dtype, torch.device]:
    first = next(net.parameters())
    return first.dtype, first.device


def _random_state(device: torch.device) -> dict[str, Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def _optimiser(net: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    matrices = [p for p in net.parameters() if p.ndim == 2]
    others = [p for p in net.parameters() if p.ndim != 2]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": settings.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
    )


def _null(held: Tensor) -> tuple[float, float]:
    """Return the mean negative log-likelihood of each unit's own mean, and bits a spike per nat."""
    means = held.sum(dim=(0, 1), dtype=torch.float64) / (held.shape[0] * held.shape[1])
    null = float((means - torch.xlogy(means, means)).mean())
    return null, float(1.0 / (means.mean() * math.log(2.0)))
