"""Models that do not listen to some of their units: dead channels, lost neurons.

What the encoder is to see of a unit that is not there is a choice. Zero counts say that it fell
silent, which the model takes for news; its mean count says nothing. A mean is no whole number, but
it is constant, so it folds into the encoder's biases: b + W u, and the unit's weights become zero.
The kernel computes it as any other model, in the same time. Measured on the demo's simulation
(docs/drift.md), the mean costs about half of what zeros cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci_lfads.models.model import Model


def mask_units(model: Model, masked: Sequence[str], rates: Sequence[float] | None) -> Model:
    """Return a model for which some units always fire at their mean rate.

    Parameters
    ----------
    model
        The model; it is left as it is.
    masked
        Labels of the units.
    rates
        Each unit's mean rate, Hz, one a unit of the model; None: zero, where it is not known.

    Returns
    -------
    Model
        Of another hash where a unit is masked; with the same units.
    """
    if not masked:
        return model
    place = [model.unit_labels.index(label) for label in masked]
    mean = np.zeros(model.spec.n_units)
    if rates is not None:
        mean[place] = np.asarray(rates)[place] * model.bin_width
    weights = dict(model.weights)
    old = model.fixed
    tensors: dict[str, NDArray[Any]] = {} if old is None else dict(old.tensors)
    for name in weights:
        # Whatever sees counts: the encoders' two directions.
        if not name.endswith("input_weight") or "encoder." not in name:
            continue
        bias = name.replace("weight", "bias")
        W = np.asarray(weights[name], np.float64)
        weights[bias] = (weights[bias] + W @ mean).astype(np.float32)
        weights[name] = _without(weights[name], place)
        if old is None or name not in tensors:
            continue
        points = old.points
        shift = np.asarray(tensors[name], np.float64) @ mean * 2.0 ** (points[bias] - points[name])
        limit = 2**15 if model.spec.quantisers is not None else 2**31
        tensors[bias] = np.clip(np.rint(tensors[bias] + shift), -limit, limit - 1).astype(np.int32)
        tensors[name] = _without(tensors[name], place)
    fixed = None if old is None else replace(old, tensors=tensors)
    return Model(
        model.spec, weights, fixed, model.unit_labels, model.bin_width, model.alignment,
        dict(model.provenance) | {"masked_units": ",".join(masked), "masked_from": model.hash},
    )  # fmt: skip


def _without(weights: NDArray[Any], place: list[int]) -> NDArray[Any]:
    weights = weights.copy()
    weights[:, place] = 0
    return weights
