"""Small random float models, for tests of everything that is computed from float weights."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci_lfads.models.model import Model
from bci_lfads.models.spec import LfadsSpec

SMALL: dict[str, Any] = {
    "n_units": 7, "n_bins": 9, "encoder_size": 6, "ic_size": 5, "generator_size": 5, "n_factors": 3,
}  # fmt: skip
FORMS: list[dict[str, Any]] = [
    {},
    {"activation": "hard"},
    {"gru": "reset_before", "ic_map": "linear", "ic_size": 4, "cell_clip": 0.6, "n_ahead": 3},
    {"gru": "reset_before", "activation": "hard"},
    {"cell_clip": 0.4, "n_ahead": 2},
    {"ic_map": "linear", "ic_size": 3},
    {"activation": "hard", "quantisers": {}},
    {"activation": "hard", "gru": "reset_before", "cell_clip": 0.7, "quantisers": {}},
]


def small_spec(**changes: Any) -> LfadsSpec:
    return LfadsSpec(**SMALL | changes)


def random_weights(
    spec: LfadsSpec, seed: int = 0, scale: float = 1.0
) -> dict[str, NDArray[np.float32]]:
    """Return normal weights, scaled by the square root of the inputs, and small biases."""
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in spec.weight_shapes().items():
        size = shape[-1] ** -0.5 if name.endswith("weight") else 0.3
        weights[name] = (scale * size * rng.standard_normal(shape)).astype(np.float32)
    return weights


def random_float_model(spec: LfadsSpec | None = None, seed: int = 0, **changes: Any) -> Model:
    spec = spec or small_spec()
    fields: dict[str, Any] = {
        "unit_labels": tuple(f"n{i}" for i in range(spec.n_units)), "bin_width": 0.01,
    }  # fmt: skip
    return Model.from_weights(spec, random_weights(spec, seed), **fields | changes)


def poisson(spec: LfadsSpec, n_trials: int = 4, mean: float = 0.3) -> NDArray[np.uint8]:
    rng = np.random.default_rng(1)
    return rng.poisson(mean, (n_trials, spec.n_bins, spec.n_units)).astype(np.uint8)
