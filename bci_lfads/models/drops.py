"""Which 8 bits of a state enter a recurrent product: chosen by what each choice costs.

A state of 16 bits that drops d of them is rounded to steps of 2^d of its own, and saturates at 128
such steps: a large d is coarse, a small one cuts the largest states off. Which is worse depends on
the model, so it is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from bci_lfads.errors import EngineError, ModelError
from bci_lfads.models.fixed import FixedPoint
from bci_lfads.models.integer import infer_integer, to_float
from bci_lfads.models.reference import evaluate
from bci_lfads.models.spec import LfadsSpec

WIDEST = 8
"""Bits that a product of 8 bits can drop of 16 without leaving any of its own unused."""
_CANDIDATES = range(3, WIDEST + 1)
_WINDOWS = 256
_WINDOWS_IN_NUMPY = 16
"""Of calibration that are inferred where the native engine is not built; seconds instead of one."""


def choose_drops(
    spec: LfadsSpec,
    weights: Mapping[str, NDArray[np.float32]],
    make: Callable[[int, int], FixedPoint],
    calibration: NDArray[np.uint8],
) -> FixedPoint:
    """Return the fixed-point form whose drops cost least on windows for calibration.

    The cost is how far its rates are from the float model's: the mean Kullback-Leibler divergence
    between Poisson distributions, λ log(λ/λ') − λ + λ', which is the likelihood that is lost where
    the float model is right. The generator's drop is chosen first, then the encoder's.

    Parameters
    ----------
    spec, weights
        The float model.
    make
        Gives the fixed-point form with these drops, of the encoder and of the generator.
    calibration
        Counts like those to come, uint8, shape ``(n_windows, n_bins, n_units)``.

    Raises
    ------
    ModelError
        If the kernel has no form for any of them.
    """
    counts = calibration[np.linspace(0, len(calibration) - 1, _WINDOWS).astype(int)]
    if len(calibration) <= _WINDOWS:
        counts = calibration
    aims = evaluate(spec, weights, counts).log_rates

    def cost(drops: tuple[int, int]) -> float:
        try:
            return _divergence(aims, _log_rates(spec, weights, make(*drops), counts))
        except ModelError:
            return np.inf

    best = WIDEST, WIDEST
    for place in (1, 0):
        tried = [(best[0], d) if place else (d, best[1]) for d in _CANDIDATES]
        # Of equal ones the wider, which saturates later on days unlike these.
        best = min(reversed(tried), key=cost)
    return make(*best)


def _log_rates(
    spec: LfadsSpec,
    weights: Mapping[str, NDArray[np.float32]],
    fixed: FixedPoint,
    counts: NDArray[np.uint8],
) -> NDArray[np.float32]:
    from bci_lfads.engines.native import NativeEngine
    from bci_lfads.models.model import Model

    labels = tuple(str(i) for i in range(spec.n_units))
    try:
        with NativeEngine(Model(spec, weights, fixed, labels, 0.01)) as engine:
            return np.asarray(engine.infer_batch(counts).log_rates)
    except EngineError:
        integers = infer_integer(spec, fixed, counts[:_WINDOWS_IN_NUMPY])
        return np.asarray(to_float(fixed, integers).log_rates)


def _divergence(aims: NDArray[np.float64], found: NDArray[np.float32]) -> float:
    aims = aims[: len(found)]
    off = found.astype(np.float64) - aims
    return float((np.exp(aims) * (np.expm1(off) - off)).mean())
