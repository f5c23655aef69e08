"""The fixed-point kernel on this CPU: the integers that a card computes."""

from __future__ import annotations

import os
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bci_lfads.engines.base import EngineInfo, Latents, allocate, check_counts
from bci_lfads.errors import EngineError
from bci_lfads.models.fixed import FixedPoint, required
from bci_lfads.models.image import pack_image

if TYPE_CHECKING:
    from bci_lfads.engines._native import Kernel
    from bci_lfads.models.spec import LfadsSpec


class FixedPointModel(Protocol):
    """What this engine needs of a model: `bci_lfads.models.model.Model` has it."""

    @property
    def spec(self) -> LfadsSpec:
        """Sizes and form."""

    @property
    def fixed(self) -> FixedPoint | None:
        """Integers and their points; a model without them is refused."""

    @property
    def hash(self) -> str:
        """SHA-256 of the model's content, hexadecimal."""


class NativeEngine:
    """LFADS on this CPU, exactly as on a card.

    Parameters
    ----------
    model
        The model; its fixed-point part is what runs.
    path
        How to compute: a name in ``_native.PATHS``, or ``auto`` for the fastest. All give the
        same integers.
    hop
        Bins by which the windows given to `infer` move on, if they do: what one shares with the
        last is not computed again. Windows that share nothing are as right, and cost as before.
    n_threads
        2 for a second thread that helps `infer`. It looks out for work for `patience` seconds
        after each window, then sleeps; only windows that come sooner are faster by it.
    patience
        Seconds.
    batch_threads
        Threads of `infer_batch`; default: as many as this process has processors.

    Raises
    ------
    ModelError
        If the model does not fit this build of the kernel.
    EngineError
        If the kernel was not built or refuses the model.
    """

    def __init__(
        self,
        model: FixedPointModel,
        *,
        path: str = "auto",
        hop: int | None = None,
        n_threads: int = 1,
        patience: float = 200e-6,
        batch_threads: int | None = None,
    ) -> None:
        for what, threads in (("n_threads", n_threads), ("batch_threads", batch_threads)):
            if threads is not None and threads < 1:
                raise EngineError(f"{what} must be 1 or more, got {threads}")
        try:
            from bci_lfads.engines import _native
        except ImportError as error:
            raise EngineError(
                f"the native engine's extension cannot be loaded ({error}); install the package "
                "with 'pip install .' and a C++17 compiler"
            ) from error
        spec = model.spec
        image = pack_image(spec, required(model.fixed), _native.MAXIMA)
        try:
            self._kernel: Kernel | None = _native.Kernel(image, path, hop or 0, n_threads, patience)
        except ValueError as error:
            raise EngineError(f"the kernel refuses model {model.hash[:12]}: {error}") from error
        self._batch_threads = batch_threads or _processors()
        self._info = EngineInfo(
            name="native",
            device=f"cpu ({self._kernel.path})",
            numeric_format="int16",
            model_hash=model.hash,
            n_bins=spec.n_bins,
            n_bins_out=spec.n_bins_out,
            n_units=spec.n_units,
            n_factors=spec.n_factors,
        )

    @property
    def info(self) -> EngineInfo:
        """Sizes, device and model hash."""
        return self._info

    def infer(self, counts: NDArray[np.uint8], out: Latents | None = None) -> Latents:
        """Infer one window.

        Parameters
        ----------
        counts
            Spike counts, uint8, shape ``(n_bins, n_units)``, C-contiguous.
        out
            Buffers to write to and return, as `bci_lfads.engines.base.allocate` makes them;
            with them the call allocates nothing.

        Raises
        ------
        EngineError
            If the engine is closed, or an array has another shape, type or layout.
        """
        kernel = self._open()
        check_counts(self._info, counts)
        if out is None:
            out = allocate(self._info)
        try:
            kernel.infer(counts, out.factors, out.log_rates)
        except (TypeError, ValueError) as error:
            raise EngineError(self._describe(counts, out)) from error
        return out

    def infer_batch(self, counts: NDArray[np.uint8], *, log_rates: bool = True) -> Latents:
        """Infer many windows.

        Parameters
        ----------
        counts
            Spike counts, uint8, shape ``(n_trials, n_bins, n_units)``.
        log_rates
            Whether to compute log-rates beside the factors.

        Returns
        -------
        Latents
            With a first axis of ``n_trials``.

        Raises
        ------
        EngineError
            If the engine is closed or the counts have another shape or type.
        """
        kernel = self._open()
        info = self._info
        check_counts(info, counts, batch=True)
        lead = (len(counts), info.n_bins_out)
        out = Latents(
            np.empty((*lead, info.n_factors), np.float32),
            np.empty((*lead, info.n_units), np.float32) if log_rates else None,
        )
        kernel.infer_batch(
            np.ascontiguousarray(counts), out.factors, out.log_rates, self._batch_threads
        )
        return out

    def close(self) -> None:
        """Free the model. Further calls raise `EngineError`."""
        self._kernel = None

    def __enter__(self) -> NativeEngine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self) -> Kernel:
        if self._kernel is None:
            raise EngineError("the native engine is closed; open a new one")
        return self._kernel

    def _describe(self, counts: NDArray[np.uint8], out: Latents) -> str:
        info = self._info
        arrays: list[tuple[str, NDArray[Any]]] = [("counts", counts), ("factors", out.factors)]
        if out.log_rates is not None:
            arrays.append(("log_rates", out.log_rates))
        found = ", ".join(
            f"{name} {a.dtype} {a.shape}{'' if a.flags.c_contiguous else ' not contiguous'}"
            f"{'' if a.flags.writeable else ' read-only'}"
            for name, a in arrays
        )
        return (
            f"the native engine needs C-contiguous, writeable float32 buffers of shape "
            f"{(info.n_bins_out, info.n_factors)} and {(info.n_bins_out, info.n_units)}, "
            f"and contiguous counts; got {found}"
        )


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
