"""From a recording to a model: cut as the loop will, train, quantise, score (extra ``train``)."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

import bci_lfads
from bci_lfads.engines import open_engine
from bci_lfads.errors import EngineError, ModelError, RecordingError
from bci_lfads.evaluation import Asked, Scores, conditions_of, score, subset
from bci_lfads.models.alignment import Alignment
from bci_lfads.models.model import Model
from bci_lfads.models.spec import LfadsSpec
from bci_lfads.models.training_data import Split, check_bins, faults, independent, split
from bci_lfads.offline import infer_all
from bci_lfads.pipeline import windows_for
from bci_lfads.recordings import Recording
from bci_lfads.recordings.recording import BinnedCounts
from bci_lfads.rig import SlidingSettings, TrialSettings
from bci_lfads.windows import WindowBatch, stack, windows_of

if TYPE_CHECKING:
    from bci_lfads.models.training import Epoch, History, TrainingSettings

log = logging.getLogger(__name__)

_CALIBRATION = 512
"""Training windows that ranges of states are taken from."""


@dataclass(frozen=True)
class Sizes:
    """Sizes and form of a network to be trained."""

    factors: int = 8
    hidden: int = 64
    """Units of each encoder direction and of the generator."""
    gru: str = "reset_after"
    activation: str = "smooth"


@dataclass(frozen=True)
class Data:
    """Windows of a recording, and what they are for.

    Attributes
    ----------
    recording
        With the units that are used, in the model's order.
    window
        How they were cut.
    batch
        Whole windows; truncated ones are left out.
    parts
        Which are for training and for validation.
    faults
        What may spoil a training on them, in words.
    sha256
        `digest` of the whole recording, units that are not used included.
    """

    recording: Recording
    window: TrialSettings | SlidingSettings
    batch: WindowBatch
    parts: Split
    faults: tuple[str, ...]
    sha256: str

    @property
    def training(self) -> NDArray[np.uint8]:
        """Counts of the windows to train on."""
        return self.batch.counts[self.parts.training]

    @property
    def validation(self) -> NDArray[np.uint8]:
        """Counts of the windows to validate on."""
        return self.batch.counts[self.parts.validation]


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


def prepare(
    recording: Recording,
    window: TrialSettings | SlidingSettings,
    n_bins: int,
    bin_width: float,
    *,
    units: tuple[str, ...] | None = None,
    min_rate: float = 0.0,
    validation: float = 0.2,
    seed: int = 0,
) -> Data:
    """Cut a recording as the loop will cut the stream, split the windows, and look at them.

    Parameters
    ----------
    recording
        The recording.
    window
        A rig's ``[window]``.
    n_bins, bin_width
        Of a window, number and seconds.
    units
        Which units, in which order; default: all.
    min_rate
        Units below this mean rate, Hz, are left out.
    validation
        Share of windows to validate on.
    seed
        Of the split.

    Raises
    ------
    RecordingError
        If nothing can be trained on, saying why.
    """
    source = recording.spikes
    width = source.bin_width if isinstance(source, BinnedCounts) else None
    check_bins(bin_width, n_bins, recording.duration, width)
    whole_digest = digest(recording)
    recording = _lively(recording if units is None else recording.select(units), min_rate)
    windows = windows_for(window, recording.n_units, n_bins, bin_width, recording.n_spikes + 1)
    cut = stack(windows_of(recording, windows))
    whole = np.flatnonzero(~cut.truncated)
    batch = subset(cut, whole)
    length = n_bins * bin_width
    found = faults(
        batch.counts, recording.unit_labels, bin_width, len(independent(batch.starts, length))
    )
    if len(whole) < len(cut.counts):
        n_cut = len(cut.counts) - len(whole)
        found.append(f"{n_cut} of {len(cut.counts)} windows may lack spikes and are left out")
    parts = split(batch.starts, length, validation, seed)
    return Data(recording, window, batch, parts, tuple(found), whole_digest)


def _lively(recording: Recording, min_rate: float) -> Recording:
    if not (np.isfinite(min_rate) and min_rate >= 0):
        raise RecordingError(f"a lowest rate of {min_rate} Hz; expected 0 or more")
    if min_rate == 0:
        return recording
    spikes = recording.spikes
    if isinstance(spikes, BinnedCounts):
        total = spikes.counts.sum(axis=0, dtype=np.int64)
    else:
        total = np.bincount(spikes.units, minlength=recording.n_units)
    rates = total / recording.duration
    kept = tuple(
        label for label, r in zip(recording.unit_labels, rates, strict=True) if r >= min_rate
    )
    if not kept:
        raise RecordingError(f"no unit fires at {min_rate:g} Hz; the liveliest at {max(rates):g}")
    log.info("%d of %d units fire at %g Hz or more", len(kept), recording.n_units, min_rate)
    return recording.select(kept)


def fit_model(
    data: Data,
    sizes: Sizes | None = None,
    settings: TrainingSettings | None = None,
    *,
    resume: Model | None = None,
    asked: Asked | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
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
    resume
        A model to go on from, whose sizes and form are kept; it must have the same units, bins
        and bin width.
    asked
        What is scored beside the likelihood.
    on_epoch
        Called after every epoch.

    Raises
    ------
    ModelError
        If training diverges, or the model to go on from does not fit the data.
    """
    from bci_lfads.models.training import TrainingSettings, train

    settings = settings or TrainingSettings()
    batch, labels = data.batch, data.recording.unit_labels
    spec = _spec(batch, sizes or Sizes())
    if resume is not None:
        _check_resumed(resume, data)
        spec = resume.spec
    trained = train(
        spec, data.training, data.validation, batch.bin_width, settings,
        start=None if resume is None else resume.weights, on_epoch=on_epoch,
    )  # fmt: skip
    model = Model.from_weights(
        spec, trained.weights, unit_labels=labels, bin_width=batch.bin_width,
        calibration=data.training[:_CALIBRATION], alignment=_alignment(data.window),
    )  # fmt: skip
    asked = asked or Asked()
    held = subset(batch, data.parts.validation)
    factors, log_rates = _infer(model, held)
    conditions = conditions_of(data.recording, held, asked.conditions)
    scores = score(factors, log_rates, held, data.recording, conditions, asked)
    provenance = _provenance(data, settings, trained.history, resume) | {
        f"validation {name}": f"{value:.4f}"
        for name, value in scores.as_dict().items()
        if isinstance(value, float)
    }
    model = replace(model, provenance=provenance)
    return Fitted(model, trained.history, data, scores, log_rates, factors, conditions)


def digest(recording: Recording) -> str:
    """Return what tells a recording's spikes from others', 16 hexadecimal digits."""
    spikes = recording.spikes
    sha = hashlib.sha256()
    if isinstance(spikes, BinnedCounts):
        sha.update(np.ascontiguousarray(spikes.counts).tobytes())
    else:
        sha.update(np.ascontiguousarray(spikes.times, "<f8").tobytes())
        sha.update(np.ascontiguousarray(spikes.units, "<i4").tobytes())
    return sha.hexdigest()[:16]


def _spec(batch: WindowBatch, sizes: Sizes) -> LfadsSpec:
    _, n_bins, n_units = batch.counts.shape
    return LfadsSpec(
        n_units=n_units, n_bins=n_bins, encoder_size=sizes.hidden, ic_size=sizes.hidden,
        generator_size=sizes.hidden, n_factors=sizes.factors,
        gru=sizes.gru, activation=sizes.activation,  # type: ignore[arg-type]  # pydantic checks
    )  # fmt: skip


def _check_resumed(model: Model, data: Data) -> None:
    _, n_bins, _ = data.batch.counts.shape
    wrong = []
    if model.unit_labels != data.recording.unit_labels:
        wrong.append(f"its units are {len(model.unit_labels)} others")
    if model.spec.n_bins != n_bins or abs(model.bin_width - data.batch.bin_width) > 1e-9:
        wrong.append(
            f"it has {model.spec.n_bins} bins of {model.bin_width:g} s, the data {n_bins} of "
            f"{data.batch.bin_width:g} s"
        )
    if wrong:
        raise ModelError(f"the model cannot be trained further on this: {'; '.join(wrong)}")


def _alignment(window: TrialSettings | SlidingSettings) -> Alignment | None:
    if isinstance(window, SlidingSettings):
        return None
    return Alignment(start=window.start, align=window.align, offset=window.offset)


def _infer(model: Model, held: WindowBatch) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    try:
        engine = open_engine("native", model)
    except EngineError as error:
        log.info("%s: scored in floating point", error)
        engine = open_engine("torch", model)
    with engine:
        latents = infer_all(engine, held.counts)
    return latents.factors, np.asarray(latents.log_rates)


def _provenance(
    data: Data, settings: TrainingSettings, history: History, resume: Model | None
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
        f"decay {settings.weight_decay:g}, keep {settings.keep:g}",
        "versions": f"bci-lfads {bci_lfads.__version__}, torch {torch.__version__}, numpy "
        f"{np.__version__}",
        **({"resumed_from": resume.hash} if resume is not None else {}),
    }


def quantise_model(
    model: Model,
    bits: int,
    batch: WindowBatch | None = None,
    settings: TrainingSettings | None = None,
    *,
    product_bits: int = 16,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> tuple[Model, History | None]:
    """Return a model with weights of other widths: rounded only, or trained further with rounding.

    Parameters
    ----------
    model
        Its float weights are what is rounded.
    bits
        Width of the weights, 4 to 16.
    batch
        Windows like those to come, from which ranges of states are taken; default: ranges that
        the weights prove, which are wider than needed.
    settings
        How to train further (quantisation-aware, extra ``train``); default: not at all.
    product_bits
        Of recurrent products, 16 or 8.
    on_epoch
        Called after every epoch.

    Raises
    ------
    ModelError
        If the kernel has no form for this width, or training is asked for without windows.
    RecordingError
        If there are too few windows.
    """
    from bci_lfads.models.quantise import quantise

    counts = None if batch is None else batch.counts[~batch.truncated]
    width = f"{bits} bits" + (", recurrent products of 8" if product_bits == 8 else "")
    provenance = dict(model.provenance) | {"quantised": f"{width}, after training"}
    if settings is None:
        calibration = None if counts is None else counts[:_CALIBRATION]
        fixed = quantise(model.spec, model.weights, calibration, bits, product_bits)
        return replace(model, fixed=fixed, provenance=provenance), None
    if batch is None or counts is None:
        raise ModelError("training with rounding needs windows to train on: give a recording")
    from bci_lfads.models.qat import fine_tune

    starts = batch.starts[~batch.truncated]
    parts = split(starts, batch.counts.shape[1] * batch.bin_width, seed=settings.seed)
    training, validation = counts[parts.training], counts[parts.validation]
    fixed = quantise(model.spec, model.weights, training[:_CALIBRATION], bits, product_bits)
    tuned = fine_tune(
        model.spec, model.weights, fixed, training, validation, model.bin_width, settings,
        on_epoch=on_epoch,
    )  # fmt: skip
    before, after = tuned.history.epochs[0], tuned.history.best_epoch
    provenance["quantised"] = (
        f"{width}, trained with rounding: epoch {after.epoch} of "
        f"{tuned.history.epochs[-1].epoch}, seed {settings.seed}, validation bits per spike "
        f"{before.bits_per_spike:.4f} before and {after.bits_per_spike:.4f} after"
    )
    provenance["quantised_from"] = model.hash
    return (
        replace(model, weights=tuned.weights, fixed=tuned.fixed, provenance=provenance),
        tuned.history,
    )
