"""The model in NumPy, in float64: the readable definition that every engine is held to.

A model that was trained with quantisers (`LfadsSpec.quantisers`) is evaluated with them: its
weights, states, gates and candidates are rounded as in training, everything else is exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bci_lfads.errors import ModelError
from bci_lfads.models.spec import LfadsSpec

Floats = NDArray[np.float64]


class FloatLatents(NamedTuple):
    """What the float model infers.

    Attributes
    ----------
    factors
        float64, shape ``(..., n_bins_out, n_factors)``; after their quantiser where the model
        has one, as the log-rates see them.
    log_rates
        Natural logarithm of Hz, float64, shape ``(..., n_bins_out, n_units)``.
    """

    factors: Floats
    log_rates: Floats


class Trace(NamedTuple):
    """Every state of an evaluation, float64, with the trials on the first axis.

    Attributes
    ----------
    encoder
        Both directions after each of their steps, shape ``(n_trials, n_bins, 2 encoder_size)``.
    ic
        Initial condition, shape ``(n_trials, ic_size)``.
    initial
        Generator's state before the first step, shape ``(n_trials, generator_size)``.
    generator
        Its state after each step, shape ``(n_trials, n_bins_out, generator_size)``.
    factors, log_rates
        As in `FloatLatents`.
    """

    encoder: Floats
    ic: Floats
    initial: Floats
    generator: Floats
    factors: Floats
    log_rates: Floats


def infer_float(
    spec: LfadsSpec, weights: Mapping[str, NDArray[np.float32]], counts: NDArray[np.uint8]
) -> FloatLatents:
    """Infer factors and log-rates in float64.

    Parameters
    ----------
    spec, weights
        The model; names and shapes of the weights are those of `LfadsSpec.weight_shapes`.
    counts
        Spike counts, shape ``(n_bins, n_units)`` or ``(n_trials, n_bins, n_units)``.

    Raises
    ------
    ModelError
        If the counts' shape is not the model's.
    """
    counts = np.asarray(counts)
    lead = counts.shape[:-2]
    trace = evaluate(spec, weights, counts if lead else counts[None])
    return FloatLatents(
        trace.factors.reshape(*lead, *trace.factors.shape[1:]),
        trace.log_rates.reshape(*lead, *trace.log_rates.shape[1:]),
    )


def evaluate(
    spec: LfadsSpec, weights: Mapping[str, NDArray[np.float32]], counts: NDArray[np.uint8]
) -> Trace:
    """Infer a batch ``(n_trials, n_bins, n_units)`` and return every state on the way.

    Raises
    ------
    ModelError
        If the counts' shape is not the model's.
    """
    if counts.ndim != 3 or counts.shape[1:] != (spec.n_bins, spec.n_units):
        raise ModelError(
            f"the model expects counts of shape (n_trials, {spec.n_bins} bins, {spec.n_units} "
            f"units); got shape {counts.shape}"
        )
    if spec.controller is not None:
        raise ModelError(
            "the model has a controller, which is computed in torch only; install that with "
            "pip install 'bci-lfads[torch]'"
        )
    w = quantised_weights(spec, weights)
    x = counts.astype(np.float64)
    forward = _encode(spec, w, "forward", x)
    backward = _encode(spec, w, "backward", x[:, ::-1])

    ends = np.concatenate([forward[:, -1], backward[:, -1]], axis=1)
    ic = _state(spec, ends @ w["ic.weight"].T + w["ic.bias"])
    initial = ic
    if spec.ic_map == "linear":
        linear = ic @ w["generator.initial.weight"].T + w["generator.initial.bias"]
        initial = _state(spec, linear)

    g = initial
    states = []
    for _ in range(spec.n_bins_out):
        g = _gru_step(spec, w, "generator", w["generator.input_bias"], g)
        states.append(g)
    generator = np.stack(states, axis=1)
    factors = _state(spec, generator @ w["factors.weight"].T)
    log_rates = factors @ w["rates.weight"].T + w["rates.bias"]
    encoder = np.concatenate([forward, backward], axis=2)
    return Trace(encoder, ic, initial, generator, factors, log_rates)


def quantised_weights(
    spec: LfadsSpec, weights: Mapping[str, NDArray[np.float32]]
) -> dict[str, Floats]:
    """Return the weights in float64, rounded where the model was trained with rounded ones."""
    exact = {name: np.asarray(value, np.float64) for name, value in weights.items()}
    if spec.quantisers is None:
        return exact
    weight_point, state_point = spec.quantisers.weight_point, spec.quantisers.state_point
    return {
        name: _int16(v, state_point if name.endswith("initial_state") else weight_point)
        for name, v in exact.items()
    }


def _encode(spec: LfadsSpec, w: Mapping[str, Floats], side: str, x: Floats) -> Floats:
    name = f"encoder.{side}"
    a = x @ w[f"{name}.input_weight"].T + w[f"{name}.input_bias"]
    h = np.broadcast_to(w[f"{name}.initial_state"], (len(x), spec.encoder_size))
    states = []
    for t in range(x.shape[1]):
        h = _gru_step(spec, w, name, a[:, t], h)
        states.append(h)
    return np.stack(states, axis=1)


def _gru_step(spec: LfadsSpec, w: Mapping[str, Floats], name: str, a: Floats, h: Floats) -> Floats:
    """Return the state after `h`, given the input part `a`; rows are ordered z, r, n."""
    size = h.shape[-1]
    U, b = w[f"{name}.recurrent_weight"], w[f"{name}.recurrent_bias"]
    c = h @ U[: 2 * size].T + b[: 2 * size]
    z = _sigmoid(spec, a[..., :size] + c[:, :size])
    r = _sigmoid(spec, a[..., size : 2 * size] + c[:, size:])
    U_n, b_n = U[2 * size :], b[2 * size :]
    if spec.gru == "reset_after":
        recurrent = r * (h @ U_n.T + b_n)
    else:
        recurrent = _state(spec, r * h) @ U_n.T + b_n
    n = _tanh(spec, a[..., 2 * size :] + recurrent)
    state = z * h + (1 - z) * n
    if spec.cell_clip is not None:
        state = np.clip(state, -spec.cell_clip, spec.cell_clip)
    return _state(spec, state)


def _sigmoid(spec: LfadsSpec, v: Floats) -> Floats:
    # 0.5 + 0.5 tanh(v/2) is the logistic function and cannot overflow.
    y = np.clip(0.5 * v + 0.5, 0, 1) if spec.activation == "hard" else 0.5 + 0.5 * np.tanh(v / 2)
    if spec.quantisers is None:
        return y
    return _rounded(y, spec.quantisers.sigmoid_point, 0, 1)


def _tanh(spec: LfadsSpec, v: Floats) -> Floats:
    y = np.clip(v, -1, 1) if spec.activation == "hard" else np.tanh(v)
    if spec.quantisers is None:
        return y
    return _rounded(y, spec.quantisers.tanh_point, -1, 1)


def _state(spec: LfadsSpec, v: Floats) -> Floats:
    return v if spec.quantisers is None else _int16(v, spec.quantisers.state_point)


def _int16(v: Floats, point: int) -> Floats:
    limit = 2.0 ** (15 - point)
    return _rounded(v, point, -limit, limit)


def _rounded(v: Floats, point: int, low: float, high: float) -> Floats:
    """Return `v` on the grid 2^-point, ties to even, from `low` to one step below `high`."""
    step = 2.0**-point
    grid: Floats = np.clip(np.rint(v / step) * step, low, high - step)
    return grid
