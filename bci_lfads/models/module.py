"""What a step and an epoch of training are: network, objective, optimiser, schedule and history.

A module of Lightning, which runs it (`trainer`). It draws random numbers of its own, so that
trainings side by side, and whoever else draws any, leave each other alone.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bci_lfads.errors import BciLfadsError, ModelError
from bci_lfads.models.history import Epoch, TrainingSettings
from bci_lfads.models.objective import Hidden, loss_of, nll, recurrent_l2
from bci_lfads.models.spec import LfadsSpec

try:
    from lightning.pytorch import LightningModule
except ImportError as error:
    raise BciLfadsError(
        f"training needs Lightning, which cannot be imported ({error}); install it with "
        "pip install 'bci-lfads[train]'"
    ) from error

JUDGED = "judged"
"""Name of the likelihood that epochs are judged by, among Lightning's metrics."""
_AT_ONCE = 512
"""Windows that are validated."""


class TrainingModule(LightningModule):  # type: ignore[misc]  # not type-checked, as torch
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
    ) -> None:
        super().__init__()
        check_counts(net.spec, counts, "training")
        check_counts(net.spec, validation, "validation")
        self.net = net
        self.settings = settings
        self.epochs: list[Epoch] = []
        self.on_epoch: Callable[[Epoch], None] | None = None
        """Told of every epoch, after all else."""
        self.about = ""
        """What the training is, stored with its state."""
        self.kept = copy.deepcopy(net.state_dict())
        """Parameters of the best epoch."""
        first = next(net.parameters())
        self.place = first.device
        """Where it is trained; between two fits, Lightning takes parameters to the CPU."""
        self._floats = first.dtype
        # Copies, since the caller's may be read-only or reversed, which torch does not take; in
        # bytes, since there may be many windows that overlap.
        self._x, self._held = (
            torch.from_numpy(np.array(v, order="C")).to(self.place) for v in (counts, validation)
        )
        self._log_width = math.log(bin_width)
        self._hidden: Hidden | None = None
        if settings.sample_validation:
            seen = self._x[:, : net.spec.n_bins]
            self._hidden = Hidden.drawn(seen, settings.sample_validation)
        self._null, self._per_spike = _null(self._held)
        self._batch = min(settings.batch, len(self._x))
        self._n_steps = len(self._x) // self._batch
        # Made once and not whenever Lightning begins to fit: so a training can go on.
        self._optimiser = _optimiser(net, settings)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimiser, self._share)
        self._seconds, self._begun = 0.0, math.nan
        self._losses: list[Tensor] = []
        self._sums = [0.0, 0.0]
        self._random = _random_state(self.place)

    def configure_optimizers(self) -> tuple[list[Any], list[Any]]:
        """Return optimiser and schedule, which goes on from step to step."""
        return [self._optimiser], [{"scheduler": self._schedule, "interval": "step"}]

    def train_dataloader(self) -> _Batches:
        """Return all training windows in an order that every epoch draws anew."""

        def order() -> Tensor:
            with self._own_random():
                return torch.randperm(len(self._x))

        # What is left over is left out of an epoch.
        return _Batches(order, self._batch, self._n_steps)

    def val_dataloader(self) -> list[_Batches]:
        """Return all validation windows, and the training windows where they hide some counts."""
        evaluated = [self._held] if self._hidden is None else [self._held, self._x]
        return [
            _Batches(partial(torch.arange, len(v)), _AT_ONCE, math.ceil(len(v) / _AT_ONCE))
            for v in evaluated
        ]

    def on_train_epoch_start(self) -> None:
        """Begin an epoch."""
        self._begun = time.monotonic()
        self._losses = []

    def training_step(self, chosen: Tensor) -> Tensor:
        """Return what a step makes small."""
        settings, hidden = self.settings, self._hidden
        y = self._x[chosen].to(self._floats)
        if hidden is not None:
            hidden = hidden._replace(mask=hidden.mask[chosen])
        with self._own_random():
            loss, kl = loss_of(
                self.net, y, self.net.spec.n_bins, settings.keep, self._log_width, hidden
            )
        objective, weight = loss, self._regularised(self._schedule.last_epoch)
        if kl is not None:
            # Of a window, as is a count's share of it the loss.
            objective = objective + weight * settings.kl * kl / y[0].numel()
        if settings.l2:
            objective = objective + weight * settings.l2 * recurrent_l2(self.net)
        self._losses.append(loss.detach().where(objective.detach().isfinite(), math.inf))
        return objective

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Cut the gradient's norm, summed in the network's order and not the optimiser's."""
        nn.utils.clip_grad_norm_(self.net.parameters(), gradient_clip_val)

    def on_validation_epoch_start(self) -> None:
        """Begin to validate."""
        self._sums = [0.0, 0.0]

    def validation_step(self, rows: Tensor, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Add up the negative log-likelihood of all counts, or of those that are hidden."""
        n_bins, hidden = self.net.spec.n_bins, self._hidden
        part = (self._x if dataloader_idx else self._held)[rows].to(self._floats)
        shown = part[:, :n_bins]
        if dataloader_idx and hidden is not None:
            some = hidden._replace(mask=hidden.mask[rows])
            log_rates = self.net(some.shown(shown))[1][:, :n_bins]
            each = nll(log_rates, shown, self._log_width)[some.mask]
        else:
            each = nll(self.net(shown)[1], part, self._log_width)
        self._sums[dataloader_idx] += float(each.sum(dtype=torch.float64))

    def on_validation_epoch_end(self) -> None:
        """Note the epoch, and keep its parameters if there are none better.

        Raises
        ------
        ModelError
            If the likelihood is not finite.
        """
        # 0 where no step was taken yet: what the network was to begin with.
        number = self.epochs[-1].epoch + 1 if self.epochs else int(bool(self._losses))
        mean = sum(torch.stack(self._losses).tolist()) / self._n_steps if number else math.nan
        value = self._sums[0] / self._held.numel()
        samples = None
        if self._hidden is not None:
            samples = self._sums[1] / int(self._hidden.mask.sum())
        judged = value if samples is None else samples
        if not math.isfinite(value + judged) or mean == math.inf:
            raise ModelError(
                f"training diverged in epoch {number}: the likelihood is not finite; take a "
                f"smaller learning rate than {self.settings.learning_rate:g}"
            )
        better = all(judged < epoch.judged for epoch in self.epochs)
        if better:
            self.kept = copy.deepcopy(self.net.state_dict())
        if number:
            self._seconds += time.monotonic() - self._begun
        self.epochs.append(
            Epoch(
                number, mean, value, (self._null - value) * self._per_spike,
                self._optimiser.param_groups[0]["lr"], self._seconds, better, samples,
            )
        )  # fmt: skip
        # In float64, as it was summed: two epochs may differ by less than float32 tells apart.
        self.log(JUDGED, torch.tensor(judged, dtype=torch.float64))

    def on_train_epoch_end(self) -> None:
        """Tell of the epoch."""
        if self.on_epoch is not None:
            self.on_epoch(self.epochs[-1])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what Lightning does not know of: the best parameters, epochs, random numbers."""
        checkpoint |= {
            "about": self.about,
            "kept": self.kept,
            "epochs": [list(epoch) for epoch in self.epochs],
            "random": self._random,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it up, and refuse what is not of this network."""
        self.kept = {k: v.to(self.place) for k, v in checkpoint["kept"].items()}
        self.net.load_state_dict(self.kept)  # Lightning loads the newest ones after this
        # Of one each; Lightning would not miss them.
        (_,), (_,) = checkpoint["optimizer_states"], checkpoint["lr_schedulers"]
        self.epochs = [Epoch(*row) for row in checkpoint["epochs"]]
        self._random = dict(checkpoint["random"])
        with self._own_random():
            pass  # refused here if it is no state of random numbers
        self._seconds = self.epochs[-1].seconds if self.epochs else 0.0

    def keep_own_settings(self) -> None:
        """Let what a state brought along be as the settings say: it may be another training's."""
        settings = self.settings
        self._optimiser.param_groups[0]["weight_decay"] = settings.weight_decay
        self._schedule.base_lrs = [settings.learning_rate] * len(self._optimiser.param_groups)
        for group in self._optimiser.param_groups:
            group["lr"] = settings.learning_rate * self._share(self._schedule.last_epoch)

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

    @contextmanager
    def _own_random(self) -> Iterator[None]:
        """Draw from this training's own random numbers, and leave those of others alone."""
        devices = [self.place] if self.place.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.set_rng_state(self._random["cpu"])
            if devices:
                torch.cuda.set_rng_state(self._random["cuda"], self.place)
            yield
            self._random = _random_state(self.place)


class _Batches:
    """Numbers of windows, batch by batch: Lightning takes any iterable of known length."""

    def __init__(self, order: Callable[[], Tensor], size: int, n: int) -> None:
        self._order = order
        self._size = size
        self._n = n

    def __len__(self) -> int:
        return self._n

    def __iter__(self) -> Iterator[Tensor]:
        yield from self._order().split(self._size)[: self._n]


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
