"""Runs a training on Lightning: its epochs, early stopping, clipping and state."""

from __future__ import annotations

import logging
import os
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from bci_lfads.errors import ModelError
from bci_lfads.models.history import Epoch, History
from bci_lfads.models.module import JUDGED, TrainingModule

# After `module`, which says where Lightning comes from where it is missing.
import lightning.pytorch as lightning  # isort: skip
from lightning.pytorch.callbacks import EarlyStopping  # isort: skip
from lightning.pytorch.plugins.environments import LightningEnvironment  # isort: skip
from lightning.pytorch.utilities.exceptions import SIGTERMException  # isort: skip

# It tells of every fit, on a console of its own; what goes wrong it raises or warns of.
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what it warns of without need: the device is the caller's choice."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "GPU available but not used")
        # Its issue 21326: it calls what torch 2.10 and later call old.
        warnings.filterwarnings("ignore", r".*LeafSpec\)` is deprecated", FutureWarning)
        yield


class Trainer:
    """A network in training.

    What it is can be written to a file (`write`) and read by another one of the same settings and
    data (`read`), which then goes on as if it had never stopped.

    Parameters
    ----------
    module
        Network, data and settings.
    from_here
        Whether the parameters that the network comes with are epoch 0, and stay if none is better.
    """

    def __init__(self, module: TrainingModule, *, from_here: bool = False) -> None:
        self._module = module
        self._from_here = from_here
        self._begin()

    @property
    def net(self) -> nn.Module:
        """The network."""
        return self._module.net

    @property
    def epochs(self) -> tuple[Epoch, ...]:
        """Epochs so far; 0 is among them where training goes on from a network."""
        return tuple(self._module.epochs)

    @property
    def ended(self) -> str | None:
        """Why nothing more is to be done; None while something is."""
        early, epochs, most = self._early, self._module.epochs, self._module.settings.epochs
        if early.wait_count >= early.patience:
            return f"no better likelihood in {early.patience} epochs"
        return "all epochs done" if epochs and epochs[-1].epoch >= most else None

    @_quiet()
    def run(
        self, on_epoch: Callable[[Epoch], None] | None = None, n_epochs: int | None = None
    ) -> None:
        """Train to the end, or for some epochs more.

        Parameters
        ----------
        on_epoch
            Called after every epoch; a KeyboardInterrupt that it raises ends training.
        n_epochs
            Default: as many as are left.

        Raises
        ------
        ModelError
            If training diverges.
        KeyboardInterrupt
            On Ctrl-C, or where `on_epoch` raises it.
        SystemExit
            After the step in which a TERM signal came.
        """
        module, loop = self._module, self._loop
        module.on_epoch = on_epoch
        handler = signal.getsignal(signal.SIGINT)
        try:
            if self._from_here and not module.epochs:
                loop.validate(module, verbose=False)
                self._early.best_score = torch.tensor(module.epochs[0].judged, dtype=torch.float64)
                if on_epoch is not None:
                    on_epoch(module.epochs[0])
            if self.ended is None:
                n_done = module.epochs[-1].epoch if module.epochs else 0
                n = module.settings.epochs
                loop.fit_loop.max_epochs = n if n_epochs is None else min(n, n_done + n_epochs)
                module.train()
                loop.fit(module)
        except SIGTERMException as error:
            error.code = 128 + signal.SIGTERM  # and not as if all were well
            raise
        except (SystemExit, ValueError) as error:
            # Lightning's answer to Ctrl-C is to ignore all others, which only the main thread can,
            # and to end the process.
            if not isinstance(error.__context__, KeyboardInterrupt):
                raise
            if isinstance(error, SystemExit):
                signal.signal(signal.SIGINT, handler)
            raise KeyboardInterrupt from None

    def finish(self, ended: str | None = None) -> History:
        """Put the best epoch's parameters into the network, and return how training went."""
        self.net.load_state_dict(self._module.kept)
        self.net.eval()
        best = max(epoch.epoch for epoch in self.epochs if epoch.best)
        return History(self.epochs, best, ended or self.ended or "stopped")

    def write(self, path: Path, about: str = "") -> None:
        """Write what the rest of the training follows from, and what it is the training of.

        Raises
        ------
        OSError
            If that fails; a state that is there already stays whole then.
        """
        self._module.about = about
        partial = path.with_name(path.name + ".part")
        self._loop.save_checkpoint(partial)
        os.replace(partial, path)

    @_quiet()
    def read(self, path: Path) -> None:
        """Take up what `write` wrote; nothing in it is run.

        Raises
        ------
        ModelError
            If it is damaged, or of another network.
        """
        self._begin()
        loop = self._loop
        loop.limit_train_batches = 0  # only restored
        try:
            loop.fit(self._module, ckpt_path=path, weights_only=True)
            self._module.keep_own_settings()
        # Whatever the damaged state leads Lightning and torch to.
        except Exception as error:
            raise ModelError(f"{path} is damaged or of another network: {error}") from error
        loop.limit_train_batches = 1.0

    @_quiet()
    def _begin(self) -> None:
        settings, place = self._module.settings, self._module.place
        self._early = EarlyStopping(
            JUDGED, patience=settings.patience or settings.epochs + 1,
            check_on_train_epoch_end=False,  # but after validation: before the state is written
        )  # fmt: skip
        self._loop = lightning.Trainer(
            accelerator=place.type, devices=1 if place.index is None else [place.index],
            max_epochs=settings.epochs, gradient_clip_val=settings.max_gradient,
            callbacks=[self._early], inference_mode=False, num_sanity_val_steps=0, logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            # Alone, whatever the scheduler of jobs would have it be part of.
            plugins=[LightningEnvironment()],
        )  # fmt: skip


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
