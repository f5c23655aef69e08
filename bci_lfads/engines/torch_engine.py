"""The float engine: the model in torch, float64 (extra ``torch``)."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bci_lfads.engines.base import EngineInfo, Latents, check_counts, check_out
from bci_lfads.errors import EngineError
from bci_lfads.models.model import Model
from bci_lfads.models.network import network_from_weights

_BATCH = 256


class TorchEngine:
    """Inference in float64, with the quantisers that the model was trained with, if any.

    The reference for what fixed point costs; for closed loops take ``native`` or ``fpga``.

    Parameters
    ----------
    model
        The model.
    """

    def __init__(self, model: Model) -> None:
        spec = model.spec
        self._net = network_from_weights(spec, model.weights, torch.float64).eval()
        self._info = EngineInfo(
            name="torch",
            device="cpu",
            numeric_format="float64",
            model_hash=model.hash,
            n_bins=spec.n_bins,
            n_bins_out=spec.n_bins_out,
            n_units=spec.n_units,
            n_factors=spec.n_factors,
        )
        self._open = True

    @property
    def info(self) -> EngineInfo:
        """Sizes, device and model hash."""
        return self._info

    def infer(self, counts: NDArray[np.uint8], out: Latents | None = None) -> Latents:
        """Infer one window; see `Engine.infer`.

        Raises
        ------
        EngineError
            If the counts are not the model's, a buffer does not fit, or the engine is closed.
        """
        check_counts(self._info, counts)
        factors, log_rates = (v[0] for v in self._run(counts[None]))
        if out is None:
            return Latents(factors, log_rates)
        check_out(self._info, out)
        np.copyto(out.factors, factors)
        if out.log_rates is not None:
            np.copyto(out.log_rates, log_rates)
        return out

    def infer_batch(self, counts: NDArray[np.uint8], *, log_rates: bool = True) -> Latents:
        """Infer many windows; see `Engine.infer_batch`.

        Raises
        ------
        EngineError
            If the counts are not the model's, or the engine is closed.
        """
        info = self._info
        check_counts(info, counts, batch=True)
        lead = (len(counts), info.n_bins_out)
        factors = np.empty((*lead, info.n_factors), np.float32)
        rates = np.empty((*lead, info.n_units), np.float32) if log_rates else None
        for start in range(0, max(len(counts), 1), _BATCH):
            part = slice(start, start + _BATCH)
            factors[part], part_rates = self._run(counts[part])
            if rates is not None:
                rates[part] = part_rates
        return Latents(factors, rates)

    def infer_inputs(self, counts: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Infer the generator's inputs in many windows, with a model that has a controller.

        Parameters
        ----------
        counts
            uint8, shape ``(n_windows, n_bins, n_units)``.

        Returns
        -------
        ndarray
            Posterior means, shape ``(n_windows, n_bins_out, n_inputs)``.

        Raises
        ------
        EngineError
            If the counts are not the model's, it has no controller, or the engine is closed.
        """
        check_counts(self._info, counts, batch=True)
        controller = self._net.spec.controller
        if controller is None:
            raise EngineError("the model has no controller, so it infers no inputs")
        inputs = np.empty((len(counts), self._info.n_bins_out, controller.n_inputs), np.float32)
        for start in range(0, len(counts), _BATCH):
            part = slice(start, start + _BATCH)
            inputs[part] = self._outputs(counts[part]).inputs.numpy()
        return inputs

    def close(self) -> None:
        """Give the memory back. Further calls raise `EngineError`."""
        self._open = False

    def __enter__(self) -> TorchEngine:
        """Return the engine."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the engine."""
        self.close()

    def _run(self, counts: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        found = self._outputs(counts)
        return (
            found.factors.numpy().astype(np.float32),
            found.log_rates.numpy().astype(np.float32),
        )

    def _outputs(self, counts: NDArray[np.uint8]) -> Any:
        if not self._open:
            raise EngineError("the torch engine is closed; open another one")
        with torch.inference_mode():
            return self._net.outputs(torch.from_numpy(counts.astype(np.float64)))
