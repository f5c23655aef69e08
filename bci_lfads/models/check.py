"""How well a model's fixed-point form follows its float form."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci_lfads.engines.base import Latents
from bci_lfads.errors import EngineError, ModelError
from bci_lfads.models.bounds import accumulator_bounds
from bci_lfads.models.fixed import required
from bci_lfads.models.integer import infer_integer, to_float
from bci_lfads.models.model import Model
from bci_lfads.models.reference import Trace, evaluate

_TRIALS = 64
_BATCH = 64


@dataclass(frozen=True)
class CheckReport:
    """Result of `check_model`."""

    model_hash: str
    arithmetic: str
    """``native engine``, or ``integer reference`` where that engine is not built."""
    simulated: bool
    """Whether the counts were drawn by this check."""
    n_trials: int
    mean_count: float
    """Spikes per unit and bin."""
    factors_max_error: float
    """Largest difference between fixed-point and float factors."""
    factors_mean_error: float
    factors_std: float
    """Standard deviation of the float factors, for scale."""
    log_rates_max_error: float
    """Largest difference of log-rates; 0.01 is a rate that is off by one per cent."""
    log_rates_mean_error: float
    saturated: dict[str, int]
    """Values of the float model beyond the fixed-point range, by kind; all zero is good."""
    n_values: dict[str, int]
    """Values looked at, by the same kinds."""
    accumulator_bits: dict[str, int]
    """Bits that the worst row of each affine map can need; a DSP48 has 48."""

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON types."""
        return asdict(self)


def check_model(model: Model, counts: NDArray[np.uint8] | None = None) -> CheckReport:
    """Compare the fixed-point form of a model with its float form.

    Parameters
    ----------
    model
        The model.
    counts
        Spike counts, uint8, shape ``(n_trials, n_bins, n_units)``; without them Poisson counts
        are drawn at the rates of the model's readout bias, the same ones every time.

    Raises
    ------
    ModelError
        If the counts' shape or type is not the model's, or there are none; if the model has no
        fixed-point form.
    """
    fixed = required(model.fixed)
    simulated = counts is None
    if counts is None:
        counts = simulate_counts(model)
    if counts.size == 0:
        raise ModelError(f"counts of shape {counts.shape} hold no window to check the model on")
    arithmetic, latents = _infer_fixed(model, counts)
    errors: dict[str, list[NDArray[np.float64]]] = {"factors": [], "log_rates": []}
    saturated: dict[str, int] = {}
    n_values: dict[str, int] = {}
    reference = []
    for start in range(0, len(counts), _BATCH):
        part = slice(start, start + _BATCH)
        trace = evaluate(model.spec, model.weights, counts[part])
        reference.append(trace.factors)
        errors["factors"].append(np.abs(latents.factors[part] - trace.factors))
        if latents.log_rates is not None:
            errors["log_rates"].append(np.abs(latents.log_rates[part] - trace.log_rates))
        for name, (beyond, total) in _saturated(model, trace).items():
            saturated[name] = saturated.get(name, 0) + beyond
            n_values[name] = n_values.get(name, 0) + total
    factors, log_rates = (np.concatenate(errors[k]) for k in ("factors", "log_rates"))
    return CheckReport(
        model_hash=model.hash,
        arithmetic=arithmetic,
        simulated=simulated,
        n_trials=len(counts),
        mean_count=float(counts.mean()),
        factors_max_error=float(factors.max()),
        factors_mean_error=float(factors.mean()),
        factors_std=float(np.concatenate(reference).std()),
        log_rates_max_error=float(log_rates.max()),
        log_rates_mean_error=float(log_rates.mean()),
        saturated=saturated,
        n_values=n_values,
        accumulator_bits=accumulator_bounds(model.spec, fixed),
    )


def simulate_counts(model: Model, n_trials: int = _TRIALS, seed: int = 0) -> NDArray[np.uint8]:
    """Return Poisson counts at the rates of the model's readout bias, seeded.

    Returns
    -------
    ndarray
        uint8, shape ``(n_trials, n_bins, n_units)``. Rates are kept to 0.02 to 5 spikes a bin.
    """
    log_counts = np.asarray(model.weights["rates.bias"], np.float64) + np.log(model.bin_width)
    means = np.exp(np.clip(log_counts, np.log(0.02), np.log(5.0)))
    shape = (n_trials, model.spec.n_bins, model.spec.n_units)
    counts = np.random.default_rng(seed).poisson(means, shape)
    return np.minimum(counts, 255).astype(np.uint8)


def _infer_fixed(model: Model, counts: NDArray[np.uint8]) -> tuple[str, Latents]:
    from bci_lfads.engines.native import NativeEngine

    try:
        with NativeEngine(model) as engine:
            return "native engine", engine.infer_batch(counts)
    except EngineError:
        fixed = required(model.fixed)
        return "integer reference", to_float(fixed, infer_integer(model.spec, fixed, counts))


def _saturated(model: Model, trace: Trace) -> dict[str, tuple[int, int]]:
    """Return, for each kind of state, how many float values the integers cannot hold, of how many.

    A model with quantisers saturates by itself: there the values at the ends are counted. Else
    one step beyond the end is still rounding.
    """
    fixed, quantised = required(model.fixed), model.spec.quantisers is not None
    kinds = {
        "encoder": (trace.encoder, fixed.encoder_point, 16),
        "ic": (trace.ic, fixed.ic_point, 16),
        "generator_initial": (trace.initial, fixed.generator_point, 16),
        "generator": (trace.generator, fixed.generator_point, 16),
        "factors": (trace.factors, fixed.factor_point, 16 if quantised else 24),
        "log_rates": (trace.log_rates, fixed.log_rate_point, 24),
    }
    found = {}
    for name, (values, point, bits) in kinds.items():
        limit = 2.0 ** (bits - 1)
        scaled = values * 2.0**point
        if quantised:
            beyond = (scaled >= limit - 1) | (scaled <= -limit)
        else:
            beyond = (scaled > limit) | (scaled < -limit - 1)
        found[name] = (int(beyond.sum()), values.size)
    return found
