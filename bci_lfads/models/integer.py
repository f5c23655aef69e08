"""The kernel's arithmetic in NumPy: docs/arithmetic.md line by line, clear and slow.

It shares no code with the kernel. Tests hold the kernel to these integers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bci_lfads.engines.base import Latents
from bci_lfads.errors import ModelError
from bci_lfads.models.fixed import FixedPoint
from bci_lfads.models.spec import LfadsSpec
from bci_lfads.models.tanh_table import LIMIT, POINT, tanh_magnitude

Ints = NDArray[np.int64]
OUTPUT_LIMIT = (1 << 23) - 1
"""Largest factor or log-rate: 24 bits with sign, exact in float32."""


class IntegerLatents(NamedTuple):
    """What the kernel writes.

    Attributes
    ----------
    factors
        int32, shape ``(..., n_bins_out, n_factors)``, point `FixedPoint.factor_point`.
    log_rates
        int32, shape ``(..., n_bins_out, n_units)``, point `FixedPoint.log_rate_point`.
    """

    factors: NDArray[np.int32]
    log_rates: NDArray[np.int32]


def infer_integer(spec: LfadsSpec, fixed: FixedPoint, counts: NDArray[np.uint8]) -> IntegerLatents:
    """Infer with exact integers.

    Parameters
    ----------
    spec, fixed
        The model.
    counts
        Spike counts, uint8, shape ``(n_bins, n_units)`` or ``(n_trials, n_bins, n_units)``.

    Raises
    ------
    ModelError
        If the counts' type or shape is not the model's.
    """
    expected = (spec.n_bins, spec.n_units)
    if counts.dtype != np.uint8 or counts.ndim not in (2, 3) or counts.shape[-2:] != expected:
        raise ModelError(
            f"the model expects uint8 counts of shape (..., {expected[0]}, {expected[1]}); "
            f"got {counts.dtype} of shape {counts.shape}"
        )
    trials = counts.reshape(-1, *expected).astype(np.int64)
    net = _Integers(spec, fixed)
    results = [net.window(trial) for trial in trials]
    lead = counts.shape[:-2]
    factors = np.array([r[0] for r in results], np.int32)
    log_rates = np.array([r[1] for r in results], np.int32)
    return IntegerLatents(
        factors.reshape(*lead, spec.n_bins_out, spec.n_factors),
        log_rates.reshape(*lead, spec.n_bins_out, spec.n_units),
    )


def to_float(fixed: FixedPoint, latents: IntegerLatents) -> Latents:
    """Return the float32 that the integers stand for, exactly."""
    return Latents(
        np.ldexp(latents.factors.astype(np.float32), -fixed.factor_point),
        np.ldexp(latents.log_rates.astype(np.float32), -fixed.log_rate_point),
    )


def round_shift(v: Ints, n: int) -> Ints:
    """Return v / 2^n rounded to nearest, ties to even; exact for n <= 0."""
    if n <= 0:
        left: Ints = v << -n
        return left
    low = v >> n
    rest = v - (low << n)
    half = 1 << (n - 1)
    rounded: Ints = low + ((rest > half) | ((rest == half) & (low % 2 == 1)))
    return rounded


def sigmoid(v: Ints, point: int, *, smooth: bool) -> Ints:
    """Return σ with point 16, 0 to 65535, of v with the given point."""
    t = _tanh15(v, point - 15) if smooth else round_shift(v, point - 15)
    clipped: Ints = np.clip(t + 32768, 0, 65535)
    return clipped


def tanh(v: Ints, point: int, *, smooth: bool) -> Ints:
    """Return τ with point 15, -32768 to 32767, of v with the given point."""
    t = _tanh15(v, point - 16) if smooth else round_shift(v, point - 15)
    clipped: Ints = np.clip(t, -32768, 32767)
    return clipped


def state_limit(spec: LfadsSpec, point: int) -> tuple[int, int]:
    """Return the smallest and largest state after a step."""
    if spec.cell_clip is None:
        return -32768, 32767
    bound = min(round(spec.cell_clip * 2.0**point), 32767)
    return -bound, bound


def _tanh15(v: Ints, shift: int) -> Ints:
    t = np.clip(round_shift(v, shift), -LIMIT, LIMIT)
    return np.sign(t) * round_shift(tanh_magnitude(np.abs(t)), POINT - 15)


def _add(a: Ints, a_point: int, c: Ints, c_point: int) -> tuple[Ints, int]:
    """Return a + c and its point, the larger of the two."""
    point = max(a_point, c_point)
    return (a << (point - a_point)) + (c << (point - c_point)), point


class _Integers:
    """One model's tensors in int64, and its steps."""

    def __init__(self, spec: LfadsSpec, fixed: FixedPoint) -> None:
        self.spec = spec
        self.fixed = fixed
        self.w: dict[str, Any] = {k: np.asarray(v, np.int64) for k, v in fixed.tensors.items()}
        self.smooth = spec.activation == "smooth"

    def affine(self, name: str, x: Ints, x_point: int, infix: str = "") -> tuple[Ints, int]:
        """Return W x + b and its point; without b where the model has none."""
        weight, bias = f"{name}.{infix}weight", f"{name}.{infix}bias"
        point = self.fixed.points[weight] + x_point
        y = self.w[weight] @ x
        if bias in self.w:
            y = y + (self.w[bias] << (point - self.fixed.points[bias]))
        return y, point

    def recurrent(self, name: str, h: Ints) -> tuple[Ints, int]:
        """Return U h + b and its point, of a state that is rounded to 8 bits where it should be."""
        drop = self.fixed.drop_of(name)
        x = np.clip(round_shift(h, drop), -128, 127) if drop else h
        return self.affine(name, x, self.fixed.product_input(name)[0], "recurrent_")

    def gru_step(self, name: str, a: Ints, a_point: int, h: Ints, s_h: int) -> Ints:
        """Return the state after h, given the input part a (rows z, r, n)."""
        a_z, a_r, a_n = np.split(a, 3)
        c, point = self.recurrent(name, h)
        c_z, c_r, c_n = np.split(c, 3)
        z = sigmoid(*_add(a_z, a_point, c_z, point), smooth=self.smooth)
        r = sigmoid(*_add(a_r, a_point, c_r, point), smooth=self.smooth)
        if self.spec.gru == "reset_after":
            n = tanh(*_add(a_n, a_point, r * c_n, 16 + point), smooth=self.smooth)
        else:
            q = round_shift(r * h, 16)
            c_n = np.split(self.recurrent(name, q)[0], 3)[2]
            n = tanh(*_add(a_n, a_point, c_n, point), smooth=self.smooth)
        blend = z * (h << (15 - s_h)) + (65536 - z) * n
        state: Ints = np.clip(round_shift(blend, 31 - s_h), *state_limit(self.spec, s_h))
        return state

    def encode(self, side: str, counts: Ints) -> Ints:
        """Return the last state of one direction over counts in its order."""
        name = f"encoder.{side}"
        h = self.w[f"{name}.initial_state"]
        for x in counts:
            a, a_point = self.affine(name, x, 0, "input_")
            h = self.gru_step(name, a, a_point, h, self.fixed.encoder_point)
        return np.asarray(h)

    def window(self, counts: Ints) -> tuple[list[Ints], list[Ints]]:
        """Return factors and log-rates of one window, a list over bins each."""
        fixed = self.fixed
        e = np.concatenate([self.encode("forward", counts), self.encode("backward", counts[::-1])])
        v, point = self.affine("ic", e, fixed.encoder_point)
        g = np.clip(round_shift(v, point - fixed.ic_point), -32768, 32767)
        if self.spec.ic_map == "linear":
            v, point = self.affine("generator.initial", g, fixed.ic_point)
            g = np.clip(round_shift(v, point - fixed.generator_point), -32768, 32767)
        a, a_point = self.w["generator.input_bias"], fixed.points["generator.input_bias"]
        factors, log_rates = [], []
        for _ in range(self.spec.n_bins_out):
            g = self.gru_step("generator", a, a_point, g, fixed.generator_point)
            v, point = self.affine("factors", g, fixed.generator_point)
            f = np.clip(round_shift(v, point - fixed.factor_point), -OUTPUT_LIMIT, OUTPUT_LIMIT)
            v, point = self.affine("rates", f, fixed.factor_point)
            factors.append(f)
            log_rates.append(
                np.clip(round_shift(v, point - fixed.log_rate_point), -OUTPUT_LIMIT, OUTPUT_LIMIT)
            )
        return factors, log_rates
