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
from bci_lfads.models.image import check_ranges
from bci_lfads.models.integer import OUTPUT_LIMIT, round_shift, state_limit
from bci_lfads.models.spec import LfadsSpec
from bci_lfads.models.tanh_table import LIMIT, POINT, tanh_magnitude
from bci_lfads.models.training import Epoch, History, TrainingSettings, fit

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
        Points and width of the weights. Points stay as they are; what the weights may become is
        what fits them.
    weights
        Float weights to begin with; default: those that the integers stand for.
    product_drop
        0, or by how many bits the states of recurrent products are shortened: these take
        ``clamp(round(h / 2^product_drop), -128, 127)``, with weights of ±127 at most; the new
        state blends the whole one.

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
        product_drop: int = 0,
    ) -> None:
        super().__init__()
        if not 0 <= product_drop <= 8:
            raise ModelError(
                f"states of products are to be shortened by {product_drop} bits; 0 to 8 are left "
                "out of 16"
            )
        if product_drop and fixed.weight_bits > 8:
            raise ModelError(
                f"products of 8 bits need weights of 8 bits, not {fixed.weight_bits}; quantise "
                "with weight_bits=8"
            )
        self.spec = spec
        self.product_drop = product_drop
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
        if self.product_drop and name.endswith("recurrent_weight"):
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
            h = self._gru_step(a_t, U, b, h, self._fixed.encoder_point)
        return torch.cat([h[0], h[1]], dim=-1)

    def _generate(self, w: Mapping[str, Tensor], g: Tensor) -> Tensor:
        U, b = w["generator.recurrent_weight"].T[None], w["generator.recurrent_bias"][None, None]
        a, g = w["generator.input_bias"], g[None]
        states = []
        for _ in range(self.spec.n_bins_out):
            g = self._gru_step(a, U, b, g, self._fixed.generator_point)
            states.append(g[0])
        return torch.stack(states, dim=1)

    def _gru_step(self, a: Tensor, U: Tensor, b: Tensor, h: Tensor, s_h: int) -> Tensor:
        """Return the states after `h`, shape ``(n_grus, n_trials, size)``; rows are z, r, n.

        `U` holds a matrix a GRU, transposed; `b` a row.
        """
        size = h.shape[-1]
        a_gates, a_n = a[..., : 2 * size], a[..., 2 * size :]
        taken = self._factor_of_product(h, s_h)
        if self.spec.gru == "reset_after":
            c = torch.baddbmm(b, taken, U)
            z, r = _sigmoid(a_gates + c[..., : 2 * size], self._smooth).chunk(2, dim=-1)
            v = a_n + r * c[..., 2 * size :]
        else:
            c = torch.baddbmm(b[..., : 2 * size], taken, U[..., : 2 * size])
            z, r = _sigmoid(a_gates + c, self._smooth).chunk(2, dim=-1)
            q = self._factor_of_product(_grid(r * h, s_h, *_INT16), s_h)
            v = a_n + torch.baddbmm(b[..., 2 * size :], q, U[..., 2 * size :])
        n = _tanh(v, self._smooth)
        return _grid(z * h + (1 - z) * n, s_h, *state_limit(self.spec, s_h))

    def _factor_of_product(self, h: Tensor, s_h: int) -> Tensor:
        return _grid(h, s_h - self.product_drop, -128, 127) if self.product_drop else h


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
    *,
    product_drop: int = 0,
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
    product_drop
        As for `QuantisedNetwork`.

    Raises
    ------
    ModelError
        As `training.train`, or if the result does not fit the kernel.
    """
    net = QuantisedNetwork(spec, fixed, weights, product_drop)
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


def for_short_products(fixed: FixedPoint, product_drop: int) -> FixedPoint:
    """Return a quantisation whose points suit recurrent products of shortened states.

    Encoder states stay within ±1, so their point is lowered to ``product_drop + 7``, at which 8
    bits hold that and no more; generator states keep theirs, of which the drop leaves 8 bits.
    Biases get no finer than their products. Weights are to be rounded again to these points
    (`QuantisedNetwork` with float weights): the integers here are still those of the old ones.
    """
    encoder = min(fixed.encoder_point, product_drop + 7)
    lower = fixed.encoder_point - encoder
    points = {}
    for name, point in fixed.points.items():
        of_encoder_state = name == "ic.bias" or (
            name.startswith("encoder") and name.endswith(("recurrent_bias", "initial_state"))
        )
        drop = product_drop if name.endswith("recurrent_bias") else 0
        points[name] = point - drop - (lower if of_encoder_state else 0)
    return replace(fixed, points=points, encoder_point=encoder)


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
    for name, state, s_h in (
        ("encoder.forward", bounds.encoder, fixed.encoder_point),
        ("encoder.backward", bounds.encoder, fixed.encoder_point),
        ("generator", bounds.generator, fixed.generator_point),
    ):
        rows = row_bounds(fixed, name, state, s_h, "recurrent_")
        product = 16 + max(rows[2 * len(rows) // 3 :]).bit_length()
        input_part = "input_bias" if name == "generator" else "input_weight"
        point = max(
            16 + fixed.points[f"{name}.recurrent_weight"] + s_h,
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
