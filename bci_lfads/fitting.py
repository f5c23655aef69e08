"""From windows to a model: train, make its fixed-point form, score (extra ``train``)."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

import bci_lfads
from bci_lfads.about import RATES
from bci_lfads.errors import EngineError, ModelError
from bci_lfads.evaluation import HELD_OUT, infer
from bci_lfads.models.alignment import Alignment
from bci_lfads.models.history import Epoch, History, TrainingSettings
from bci_lfads.models.model import Model
from bci_lfads.models.spec import Controller, LfadsSpec, Variational
from bci_lfads.models.training_data import independent
from bci_lfads.preparing import Data
from bci_lfads.recordings import Recording
from bci_lfads.rig import SlidingSettings, TrialSettings
from bci_lfads.scoring import Asked, Known, Scores, conditions_of, score

if TYPE_CHECKING:
    from bci_lfads.models.training import Trained

log = logging.getLogger(__name__)

CALIBRATION = 512
"""Training windows that ranges of states are taken from."""


@dataclass(frozen=True)
class Sizes:
    """Sizes and form of a network to be trained."""

    factors: int = 16
    hidden: int = 64
    """Units of each encoder direction and of the generator."""
    gru: str = "reset_after"
    activation: str = "smooth"
    ic_size: int | None = None
    """Of an initial condition that is mapped to the generator's first state; None: it is that."""
    variational: Variational | None = None
    controller: Controller | None = None


@dataclass(frozen=True)
class Fitted:
    """A trained model, how training went, and its scores on the validation windows.

    ``scores`` are those of the native engine, or of the float model where that is not built.
    """

    model: Model
    history: History
    data: Data
    scores: Scores
    log_rates: NDArray[np.float32]
    """Of the validation windows, natural logarithm of Hz."""
    factors: NDArray[np.float32]
    """Of the validation windows."""
    conditions: tuple[str, ...]
    """Of the validation windows."""


def fit_model(
    data: Data,
    sizes: Sizes | None = None,
    settings: TrainingSettings | None = None,
    *,
    start: Model | None = None,
    asked: Asked | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    device: str = "cpu",
    state: Path | None = None,
    resume: bool = False,
) -> Fitted:
    """Train a model on prepared windows.

    Parameters
    ----------
    data
        Of `prepare`.
    sizes
        Of a new network.
    settings
        How to train.
    start
        A model to go on from, whose sizes and form are kept; it must have the same units, bins
        and bin width.
    asked
        What is scored beside the likelihood.
    on_epoch
        Called after every epoch.
    device, state, resume
        As for `bci_lfads.models.training.train`.

    Raises
    ------
    ModelError
        If training diverges, the model to go on from does not fit the data, or there is no
        training to resume.
    """
    from bci_lfads.models.training import train

    settings = settings or TrainingSettings()
    check_samples(data, settings)
    spec = spec_of(data, sizes or Sizes())
    if start is not None:
        _check_start(start, data)
        spec = start.spec
    trained = train(
        spec, data.training, data.validation, data.batch.bin_width, settings,
        start=None if start is None else start.weights, on_epoch=on_epoch, device=device,
        state=state, resume=resume,
    )  # fmt: skip
    more = {"resumed": "yes"} if resume else {}
    more |= {} if start is None else {"trained_from": start.hash}
    return finish(data, spec, trained, settings, asked, more)


def finish(
    data: Data,
    spec: LfadsSpec,
    trained: Trained,
    settings: TrainingSettings,
    asked: Asked | None = None,
    provenance: Mapping[str, str] | None = None,
) -> Fitted:
    """Make a model of trained weights, and score it on the validation windows.

    Parameters
    ----------
    data, spec, trained, settings
        What it was trained on and how.
    asked
        What is scored beside the likelihood.
    provenance
        What the model is to say of itself beside all that.
    """
    batch = data.batch
    model = Model.from_weights(
        spec, trained.weights, unit_labels=data.recording.unit_labels, bin_width=batch.bin_width,
        calibration=batch.counts[data.parts.training[:CALIBRATION]],
        alignment=_alignment(data.window),
    )  # fmt: skip
    asked = asked or Asked()
    held = data.samples.rows(data.parts.validation)
    factors, log_rates = _infer(model, held.batch.counts)
    known = None
    if data.held_out:
        taught = data.samples.rows(data.parts.training)
        known = Known(_infer(model, taught.batch.counts)[0], taught.held_out)
    conditions = conditions_of(data.recording, held.batch, asked.conditions)
    hop = data.window.hop if isinstance(data.window, SlidingSettings) else None
    scores = score(
        factors, log_rates, held, data.recording, conditions, asked, hop=hop, known=known
    )
    said = _provenance(data, spec, settings, trained.history) | {
        f"validation {name}": f"{value:.4f}"
        for name, value in scores.as_dict().items()
        if isinstance(value, float)
    }
    model = replace(model, provenance=said | dict(provenance or {}))
    return Fitted(model, trained.history, data, scores, log_rates, factors, conditions)


def spec_of(data: Data, sizes: Sizes) -> LfadsSpec:
    """Return the network that these windows and sizes make."""
    _, n_bins, n_units = data.batch.counts.shape
    return LfadsSpec(
        n_units=n_units, n_bins=n_bins, n_ahead=data.samples.ahead.shape[1],
        encoder_size=sizes.hidden, ic_size=sizes.ic_size or sizes.hidden,
        generator_size=sizes.hidden, n_factors=sizes.factors,
        ic_map="linear" if sizes.ic_size else "direct",
        variational=sizes.variational, controller=sizes.controller,
        gru=sizes.gru, activation=sizes.activation,  # type: ignore[arg-type]  # pydantic checks
    )  # fmt: skip


def check_samples(data: Data, settings: TrainingSettings) -> None:
    """Refuse sample validation on windows that overlap: one's hidden count is another's to see.

    Raises
    ------
    ModelError
        Saying what to do.
    """
    if not settings.sample_validation:
        return
    n_bins = data.samples.targets.shape[1]
    starts = data.batch.starts
    if len(independent(starts, n_bins * data.batch.bin_width)) < len(starts):
        raise ModelError(
            "sample validation hides counts of a window, which windows that overlap it would show: "
            f"take windows that do not (--hop {n_bins}), or leave out --sample-validation"
        )


def _check_start(model: Model, data: Data) -> None:
    _, n_bins, _ = data.batch.counts.shape
    wrong = []
    if model.unit_labels != data.recording.unit_labels:
        wrong.append(f"its units are {len(model.unit_labels)} others")
    if model.spec.n_bins != n_bins or abs(model.bin_width - data.batch.bin_width) > 1e-9:
        wrong.append(
            f"it has {model.spec.n_bins} bins of {model.bin_width:g} s, the data {n_bins} of "
            f"{data.batch.bin_width:g} s"
        )
    if model.spec.n_ahead != data.samples.ahead.shape[1]:
        wrong.append(f"it predicts {model.spec.n_ahead} bins ahead")
    if wrong:
        raise ModelError(f"the model cannot be trained further on this: {'; '.join(wrong)}")


def _alignment(window: TrialSettings | SlidingSettings) -> Alignment | None:
    if isinstance(window, SlidingSettings):
        return None
    return Alignment(start=window.start, align=window.align, offset=window.offset)


def _infer(
    model: Model, counts: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    if model.fixed is None:
        return infer("torch", model, counts)[1:]
    try:
        return infer("native", model, counts)[1:]
    except EngineError as error:
        log.info("%s: scored in floating point", error)
        return infer("torch", model, counts)[1:]


def _provenance(
    data: Data, spec: LfadsSpec, settings: TrainingSettings, history: History
) -> dict[str, str]:
    import torch

    recording = data.recording
    window = data.window.model_dump(mode="json", exclude_none=True)
    return {
        "data": f"{recording.name or 'recording'}, {recording.duration:.1f} s, "
        f"{len(data.parts.training)} windows for training, {len(data.parts.validation)} for "
        "validation",
        "data_sha256": data.sha256,
        "window": ", ".join(f"{k} {v}" for k, v in window.items()),
        "seed": str(settings.seed),
        "epochs": f"{history.best} of {history.epochs[-1].epoch} ({history.ended})",
        "settings": f"batch {settings.batch}, learning rate {settings.learning_rate:g}, weight "
        f"decay {settings.weight_decay:g}, keep {settings.keep:g}, first states "
        f"{settings.first_states}"
        + (f", l2 {settings.l2:g}" if settings.l2 else "")
        + (
            f", judged by {settings.sample_validation:g} of the counts"
            if settings.sample_validation
            else ""
        )
        + (f", KL {settings.kl:g}" if spec.variational else ""),
        "versions": f"bci-lfads {bci_lfads.__version__}, torch {torch.__version__}, numpy "
        f"{np.__version__}",
        RATES: rates_text(recording),
        HELD_OUT: json.dumps(data.held_out),
    }


def rates_text(recording: Recording) -> str:
    """Return the units' mean rates, Hz, as the provenance of a model carries them."""
    return ",".join(f"{rate:.4g}" for rate in recording.mean_rates())
