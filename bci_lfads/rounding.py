"""A model with weights of fewer bits: rounded, or trained further with rounding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from bci_lfads.errors import ModelError
from bci_lfads.fitting import CALIBRATION
from bci_lfads.models.history import Epoch, History, TrainingSettings
from bci_lfads.models.model import Model
from bci_lfads.models.training_data import split
from bci_lfads.windows import WindowBatch


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
        Windows like those to come, with the bins that the model predicts ahead, from which ranges
        of states are taken; default: ranges that the weights prove, which are wider than needed.
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
        calibration = None if counts is None else counts[:CALIBRATION, : model.spec.n_bins]
        fixed = quantise(model.spec, model.weights, calibration, bits, product_bits)
        return replace(model, fixed=fixed, provenance=provenance), None
    if batch is None or counts is None:
        raise ModelError("training with rounding needs windows to train on: give a recording")
    from bci_lfads.models.qat import fine_tune

    starts = batch.starts[~batch.truncated]
    parts = split(starts, batch.counts.shape[1] * batch.bin_width, seed=settings.seed)
    training, validation = counts[parts.training], counts[parts.validation]
    calibration = training[:CALIBRATION, : model.spec.n_bins]
    fixed = quantise(model.spec, model.weights, calibration, bits, product_bits)
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
        replace(
            model,
            # What training alone uses, such as a posterior's variance, stays as it was.
            weights={**model.weights, **tuned.weights},
            fixed=tuned.fixed,
            provenance=provenance,
        ),
        tuned.history,
    )
