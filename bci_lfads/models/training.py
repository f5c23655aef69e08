"""Training of a network on windows of counts (extra ``train``).

The objective is the Poisson likelihood of counts that the encoder does not see: coordinated
dropout, M. R. Keshtkaran and C. Pandarinath, "Enabling hyperparameter optimization in sequential
autoencoders for spiking neural data", NeurIPS 2019, and bins ahead of the window where the model
predicts some. Lightning runs it (`trainer.Trainer`): one network, one optimiser, one device.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bci_lfads.errors import ModelError
from bci_lfads.models.history import Epoch, History, TrainingSettings
from bci_lfads.models.module import TrainingModule, check_counts
from bci_lfads.models.network import LfadsNetwork, network_from_weights, weights_from_network
from bci_lfads.models.spec import LfadsSpec
from bci_lfads.models.trainer import Trainer, find_device

_WRITTEN_EVERY = 10.0
"""Seconds between two writings of a training's state, at least."""


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
    device: str = "cpu",
    state: Path | None = None,
    resume: bool = False,
) -> Trained:
    """Train a network and return the weights of the epoch with the best validation likelihood.

    With the same settings, data, number of torch threads and version of torch, the result on a
    CPU is the same, whether or not it was interrupted and resumed; torch's own random state is
    left as it was.

    Parameters
    ----------
    spec
        Sizes and form.
    counts, validation
        uint8, shape ``(n_windows, spec.n_bins_out, n_units)``; of different trials. The encoder is
        given the first ``spec.n_bins`` bins.
    bin_width
        Seconds.
    settings
        How; default `TrainingSettings()`.
    start
        Weights to go on from; default: random ones, and the units' mean rates.
    on_epoch
        Called after every epoch.
    device
        ``cpu``, ``cuda`` or ``auto``.
    state
        File to which the training's state is written now and then; it is removed when training
        has come to its end, and stays where that was interrupted.
    resume
        Go on from that file as if training had not been interrupted.

    Raises
    ------
    ModelError
        If the counts' shape is not the model's, there are none, training diverges, there is no
        such device, or the state is that of another training.
    OSError
        If the state cannot be written.
    """
    settings = settings or TrainingSettings()
    check_counts(spec, counts, "training")
    trainer = new_trainer(spec, counts, validation, bin_width, settings, start, device)
    about = json.dumps(_about(spec, counts, validation, bin_width, settings, start))
    if resume:
        if state is None:
            raise ModelError("to go on with a training, say where its state is")
        _check_same(state, about)
        trainer.read(state)
    written = time.monotonic()

    def tell(epoch: Epoch) -> None:
        nonlocal written
        if state is not None and time.monotonic() - written >= _WRITTEN_EVERY:
            trainer.write(state, about)
            written = time.monotonic()
        if on_epoch is not None:
            on_epoch(epoch)

    history = _to_the_end(trainer, tell)
    if state is not None and trainer.ended is not None:
        state.unlink(missing_ok=True)
    return Trained(weights_from_network(trainer.net), history)


def new_trainer(
    spec: LfadsSpec,
    counts: NDArray[np.uint8],
    validation: NDArray[np.uint8],
    bin_width: float,
    settings: TrainingSettings,
    start: Mapping[str, NDArray[np.float32]] | None = None,
    device: str = "cpu",
) -> Trainer:
    """Return a training that has not begun; see `train` for the arguments."""
    where = find_device(device)
    with torch.random.fork_rng(devices=[where] if where.type == "cuda" else []):
        torch.manual_seed(settings.seed)
        if start is None:
            net = LfadsNetwork(spec)
            with torch.no_grad():
                net.weight("rates.bias").copy_(_mean_log_rates(counts, bin_width))
        else:
            net = network_from_weights(spec, start)
        if settings.first_states == "fixed":
            for name in spec.float_shapes():
                if "encoder" in name and name.endswith("initial_state"):
                    net.weight(name).requires_grad_(False)
        module = TrainingModule(net.to(where), counts, validation, bin_width, settings)
    return Trainer(module, from_here=start is not None)


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
        module = TrainingModule(net, counts, validation, bin_width, settings)
    return _to_the_end(Trainer(module, from_here=from_here), on_epoch)


def _to_the_end(trainer: Trainer, on_epoch: Callable[[Epoch], None] | None) -> History:
    ended = None
    try:
        trainer.run(on_epoch)
    except KeyboardInterrupt:
        if not trainer.epochs:
            raise
        ended = f"interrupted after {trainer.epochs[-1].epoch} epochs"
    return trainer.finish(ended)


def _about(
    spec: LfadsSpec,
    counts: NDArray[np.uint8],
    validation: NDArray[np.uint8],
    bin_width: float,
    settings: TrainingSettings,
    start: Mapping[str, NDArray[np.float32]] | None,
) -> dict[str, Any]:
    """Return what makes a training what it is, as JSON types."""
    begun = b"" if start is None else b"".join(start[k].tobytes() for k in sorted(start))
    digests = {
        "training windows": counts.tobytes(),
        "validation windows": validation.tobytes(),
        "first weights": begun,
    }
    return {
        **spec.model_dump(mode="json"),
        **asdict(settings),
        "bin_width": bin_width,
        **{k: hashlib.sha256(v).hexdigest()[:16] for k, v in digests.items()},
    }


def _check_same(path: Path, about: str) -> None:
    if not path.is_file():
        raise ModelError(
            f"there is no training to go on with at {path}: its state is kept there only while it "
            "runs or where it was interrupted; begin anew, or go on from a model"
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        there, here = json.loads(content["about"]), json.loads(about)
        keys = [k for k in here | there if here.get(k) != there.get(k)]
    # torch raises whatever the damaged bytes lead it to.
    except Exception as error:
        raise ModelError(f"{path} is damaged or no state of a training: {error}") from error
    if keys:
        words = ", ".join(f"{k} {there.get(k)} there and {here.get(k)} here" for k in keys)
        raise ModelError(f"{path} is the state of another training: {words}; give the same options")


def _mean_log_rates(counts: NDArray[np.uint8], bin_width: float) -> Tensor:
    """Return the units' mean log-rates; a silent unit has that of half a spike in all windows."""
    totals = np.maximum(counts.sum(axis=(0, 1), dtype=np.int64), 0.5)
    means = torch.from_numpy(totals).float() / (counts.shape[0] * counts.shape[1])
    return (means / bin_width).log()
