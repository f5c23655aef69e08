"""The kernel's integers in torch, with gradients: quantisation-aware fine-tuning (extra ``train``).

`QuantisedNetwork` computes docs/arithmetic.md in float64. Every number there is a multiple of a
power of two, and those that decide have at most 53 bits, so float64 holds them exactly: in
evaluation its outputs are the kernel's to the bit. Backwards, rounding counts as the identity and
saturation as a clip: the straight-through estimator, Y. Bengio, N. Léonard and A. Courville,
"Estimating or propagating gradients through stochastic neurons for conditional computation",
arXiv 1308.3432; its use with integers to come: B. Jacob et al., "Quantization and training of
neural networks for efficient integer-arithmetic-only inference", CVPR 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bci_lfads.errors import ModelError
from bci_lfads.models.bounds import row_bounds, state_bounds
from bci_lfads.models.fixed import FixedPoint
from bci_lfads.models.history import Epoch, History, TrainingSettings
from bci_lfads.models.image import check_ranges
from bci_lfads.models.integer import OUTPUT_LIMIT, round_shift, state_limit
from bci_lfads.models.spec import LfadsSpec
from bci_lfads.models.tanh_table import LIMIT, POINT, tanh_magnitude
from bci_lfads.models.training import fit

GENTLE = TrainingSettings(epochs=5, learning_rate=2e-4, warm_up=50, weight_decay=0.0, patience=None)
"""Settings to fine-tune with: the model is good already."""
_SIDES = ("forward", "backward")
_INT16 = (-32768, 32767)
_EXACT_BITS = 53
_SMALL_WEIGHT = 127
"""Largest weight of a product of 8 bits; the smallest is its negative."""


class QuantisedNetwork(nn.Module):  # type: ignore[misc]  # torch is optional and not type-checked
    """Counts to factors and log-rates as the kernel computes them, differentiable.

    Parameters
    ----------
    spec
        Sizes and form.
    fixed
        Points, width of the weights, and what recurrent products drop. These stay as they are; the
        weights may become what fits them.
    weights
        Float weights to begin with; default: those that the integers stand for.

    Raises
    ------
    ModelError
        If a sum could need more than float64's 53 bits.
    """

    def __init__(
        self,
        spec: LfadsSpec,
        fixed: FixedPoint,
        weights: Mapping[str, NDArray[np.floating[Any]]] | None = None,
    ) -> None:
        super().__init__()
        self.spec = spec
        self._fixed = fixed
        if weights is None:
            weights = as_floats(fixed)
        self._weights = nn.ParameterDict(
            {
                name.replace(".", "__"): nn.Parameter(
                    torch.from_numpy(np.array(weights[name], np.float64))
                )
                for name in spec.weight_shapes()
            }
        )
        self._smooth = spec.activation == "smooth"
        check_exact(spec, self.export())

    def weight(self, name: str) -> Tensor:
        """Return the float parameter of that name (`LfadsSpec.weight_shapes`)."""
        return self._weights[name.replace(".", "__")]

    def export(self) -> FixedPoint:
        """Return the integers that the weights now round to.

        Raises
        ------
        ModelError
            If the kernel could overflow with them.
        """
        tensors = {}
        for name in self.spec.weight_shapes():
            low, high = self._limits(name)
            scaled = self.weight(name).detach().numpy() * 2.0 ** self._fixed.points[name]
            dtype = np.int32 if name.endswith("bias") else np.int16
            tensors[name] = np.clip(np.rint(scaled), low, high).astype(dtype)
        fixed = replace(self._fixed, tensors=tensors)
        check_ranges(self.spec, fixed)
        return fixed

    def forward(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Infer factors and log-rates.

        Parameters
        ----------
        counts
            float64, shape ``(n_trials, n_bins, n_units)``; whole numbers give the kernel's
            outputs, others (of dropout) what the kernel would give for them.

        Returns
        -------
        factors : Tensor
            Shape ``(n_trials, n_bins_out, n_factors)``.
        log_rates : Tensor
            Natural logarithm of Hz, shape ``(n_trials, n_bins_out, n_units)``.
        """
        fixed = self._fixed
        w = {
            name: _grid(self.weight(name), fixed.points[name], *self._limits(name))
            for name in self.spec.weight_shapes()
        }
        ends = self._encode(w, counts)
        g = _grid(ends @ w["ic.weight"].T + w["ic.bias"], fixed.ic_point, *_INT16)
        if self.spec.ic_map == "linear":
            linear = g @ w["generator.initial.weight"].T + w["generator.initial.bias"]
            g = _grid(linear, fixed.generator_point, *_INT16)
        states = self._generate(w, g)
        output = (-OUTPUT_LIMIT, OUTPUT_LIMIT)
        factors = _grid(states @ w["factors.weight"].T, fixed.factor_point, *output)
        log_rates = factors @ w["rates.weight"].T + w["rates.bias"]
        return factors, _grid(log_rates, fixed.log_rate_point, *output)

    def _limits(self, name: str) -> tuple[int, int]:
        """Return the smallest and largest integer of a tensor."""
        if name.endswith("bias"):
            return -(2**31), 2**31 - 1
        if name.endswith("initial_state"):
            return _INT16
        recurrent = name.endswith("recurrent_weight")
        if recurrent and self._fixed.drop_of(name.removesuffix(".recurrent_weight")):
            return -_SMALL_WEIGHT, _SMALL_WEIGHT
        limit = 2 ** (self._fixed.weight_bits - 1)
        return -limit, limit - 1

    def _encode(self, w: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Return both directions' last states, computed side by side."""
        names = [f"encoder.{side}" for side in _SIDES]
        inputs = (x, x.flip(1))
        a = torch.stack(
            [
                v @ w[f"{name}.input_weight"].T + w[f"{name}.input_bias"]
                for name, v in zip(names, inputs, strict=True)
            ]
        )
        U = torch.stack([w[f"{name}.recurrent_weight"].T for name in names])
        b = torch.stack([w[f"{name}.recurrent_bias"][None] for name in names])
        h = torch.stack([w[f"{name}.initial_state"].expand(len(x), -1) for name in names])
        for a_t in a.unbind(2):
            h = self._gru_step("encoder", a_t, U, b, h)
        return torch.cat([h[0], h[1]], dim=-1)

    def _generate(self, w: Mapping[str, Tensor], g: Tensor) -> Tensor:
        U, b = w["generator.recurrent_weight"].T[None], w["generator.recurrent_bias"][None, None]
        a, g = w["generator.input_bias"], g[None]
        states = []
        for _ in range(self.spec.n_bins_out):
            g = self._gru_step("generator", a, U, b, g)
            states.append(g[0])
        return torch.stack(states, dim=1)

    def _gru_step(self, name: str, a: Tensor, U: Tensor, b: Tensor, h: Tensor) -> Tensor:
        """Return the states after `h`, shape ``(n_grus, n_trials, size)``; rows are z, r, n.

        `U` holds a matrix a GRU, transposed; `b` a row.
        """
        fixed, size = self._fixed, h.shape[-1]
        s_h = fixed.generator_point if name == "generator" else fixed.encoder_point
        a_gates, a_n = a[..., : 2 * size], a[..., 2 * size :]
        taken = self._of_product(name, h)
        if self.spec.gru == "reset_after":
            c = torch.baddbmm(b, taken, U)
            z, r = _sigmoid(a_gates + c[..., : 2 * size], self._smooth).chunk(2, dim=-1)
            v = a_n + r * c[..., 2 * size :]
        else:
            c = torch.baddbmm(b[..., : 2 * size], taken, U[..., : 2 * size])
            z, r = _sigmoid(a_gates + c, self._smooth).chunk(2, dim=-1)
            q = self._of_product(name, _grid(r * h, s_h, *_INT16))
            v = a_n + torch.baddbmm(b[..., 2 * size :], q, U[..., 2 * size :])
        n = _tanh(v, self._smooth)
        return _grid(z * h + (1 - z) * n, s_h, *state_limit(self.spec, s_h))

    def _of_product(self, name: str, h: Tensor) -> Tensor:
        """Return what of a state enters a recurrent product: all of it, or its upper 8 bits."""
        if not self._fixed.drop_of(name):
            return h
        return _grid(h, self._fixed.product_input(name)[0], -128, 127)


class Tuned(NamedTuple):
    """A fine-tuned model.

    Attributes
    ----------
    weights
        Float32: what the integers stand for.
    fixed
        The integers, whose native output is the network's.
    history
        How the fine-tuning went.
    """

    weights: dict[str, NDArray[np.float32]]
    fixed: FixedPoint
    history: History


def fine_tune(
    spec: LfadsSpec,
    weights: Mapping[str, NDArray[np.float32]],
    fixed: FixedPoint,
    counts: NDArray[np.uint8],
    validation: NDArray[np.uint8],
    bin_width: float,
    settings: TrainingSettings = GENTLE,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Tuned:
    """Train a quantised model further, with the kernel's rounding in the loop.

    The epoch with the best validation likelihood is kept; the model as it was is one of them.

    Parameters
    ----------
    spec, weights
        The float model.
    fixed
        Its post-training quantisation (`quantise`), whose points are kept.
    counts, validation, bin_width, settings, on_epoch
        As for `training.train`.

    Raises
    ------
    ModelError
        As `training.train`, or if the result does not fit the kernel.
    """
    net = QuantisedNetwork(spec, fixed, weights)
    history = fit(net, counts, validation, bin_width, settings, on_epoch, from_here=True)
    tuned = net.export()
    check_exact(spec, tuned)
    floats = {name: v.astype(np.float32) for name, v in as_floats(tuned).items()}
    return Tuned(floats, tuned, history)


def as_floats(fixed: FixedPoint) -> dict[str, NDArray[np.float64]]:
    """Return the numbers that the integers of every tensor stand for, exactly."""
    return {
        name: np.ldexp(value.astype(np.float64), -fixed.points[name])
        for name, value in fixed.tensors.items()
    }


def check_exact(spec: LfadsSpec, fixed: FixedPoint) -> None:
    """Refuse a model of which float64 could not hold every number exactly.

    Affine maps and blends have 48 bits at most. What is left is the candidate's argument in the
    reset-after form: the product of a gate of 16 bits, and a sum that is aligned with it. Beyond
    ±8 any rounding saturates alike, so the sum need be exact only within.

    Raises
    ------
    ModelError
        Naming the GRU and the bits it needs.
    """
    if spec.gru != "reset_after":
        return
    bounds = state_bounds(spec, fixed)
    for name, state in (
        ("encoder.forward", bounds.encoder),
        ("encoder.backward", bounds.encoder),
        ("generator", bounds.generator),
    ):
        x_point, x_max = fixed.product_input(name)
        rows = row_bounds(fixed, name, min(state, x_max), x_point, "recurrent_")
        product = 16 + max(rows[2 * len(rows) // 3 :]).bit_length()
        input_part = "input_bias" if name == "generator" else "input_weight"
        point = max(
            16 + fixed.points[f"{name}.recurrent_weight"] + x_point,
            fixed.points[f"{name}.{input_part}"],
        )
        bits = max(product, point + 3)
        if bits > _EXACT_BITS:
            raise ModelError(
                f"{name}.recurrent: the product with the reset gate may need {bits} bits, float64 "
                f"holds {_EXACT_BITS}; quantise with a smaller point"
            )


class _Grid(torch.autograd.Function):  # type: ignore[misc]
    """Multiples of 2^-point, ties to even, saturated; backwards a clip."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, point: int, low: int, high: int) -> Tensor:
        scaled = (v * 2.0**point).round_()
        ctx.save_for_backward((scaled >= low) & (scaled <= high))
        return scaled.clamp_(low, high).mul_(2.0**-point)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (within,) = ctx.saved_tensors
        return gradient * within, None, None, None


class _Activation(torch.autograd.Function):  # type: ignore[misc]
    """Both activations of docs/arithmetic.md: ``(σ, point 16)`` or ``(τ, point 15)``."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, smooth: bool, sigmoid: bool) -> Tensor:
        if smooth:
            # The argument of tanh has point 16; a sigmoid's is halved.
            t = (v * 2.0 ** (15 if sigmoid else 16)).round_().clamp_(-LIMIT, LIMIT)
            y = _table().take(t.abs().long()).mul_(t.sign())
        else:
            y = (v * 2.0**15).round_()
        if sigmoid:
            y = y.add_(32768).clamp_(0, 65535).mul_(2.0**-16)
        else:
            y = y.clamp_(-32768, 32767).mul_(2.0**-15)
        ctx.smooth, ctx.sigmoid = smooth, sigmoid
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (y,) = ctx.saved_tensors
        if ctx.smooth:
            slope = y * (1 - y) if ctx.sigmoid else 1 - y * y
        elif ctx.sigmoid:
            slope = 0.5 * ((y > 0) & (y < 1 - 2.0**-16))
        else:
            slope = (y > -1) & (y < 1 - 2.0**-15)
        return gradient * slope, None, None


def _grid(v: Tensor, point: int, low: int, high: int) -> Tensor:
    return _Grid.apply(v, point, low, high)


def _sigmoid(v: Tensor, smooth: bool) -> Tensor:
    return _Activation.apply(v, smooth, True)


def _tanh(v: Tensor, smooth: bool) -> Tensor:
    return _Activation.apply(v, smooth, False)


@lru_cache(maxsize=1)
def _table() -> Tensor:
    """Return ``round(y, 5)`` of every argument 0 to `LIMIT`: 4 MiB instead of a dozen steps."""
    every = tanh_magnitude(np.arange(LIMIT + 1, dtype=np.int64))
    return torch.from_numpy(round_shift(every, POINT - 15).astype(np.float64))
