"""What every engine takes and gives."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from bci_lfads.errors import EngineError


class Latents(NamedTuple):
    """What LFADS infers from one window, or from a batch of windows (leading axis).

    Attributes
    ----------
    factors
        Latent factors, float32, shape ``(n_bins_out, n_factors)``.
    log_rates
        Natural logarithm of firing rates in Hz, float32, shape ``(n_bins_out, n_units)``;
        None where an engine was asked for factors alone.
    """

    factors: NDArray[np.float32]
    log_rates: NDArray[np.float32] | None


@dataclass(frozen=True)
class EngineInfo:
    """What an engine says of itself; published in stream metadata and on Status."""

    name: str
    """``native``, ``torch`` or ``fpga``."""
    device: str
    """Where it computes, in words, e.g. ``cpu (portable)``."""
    numeric_format: str
    """E.g. ``int16`` or ``float64``."""
    model_hash: str
    """SHA-256 of the model's content, hexadecimal."""
    n_bins: int
    """Bins in a window of counts."""
    n_bins_out: int
    """Bins in the output: ``n_bins`` and those predicted after the window."""
    n_units: int
    n_factors: int


@runtime_checkable
class Engine(Protocol):
    """LFADS inference on some device. One engine serves one thread at a time."""

    @property
    def info(self) -> EngineInfo:
        """Sizes, device and model hash."""

    def infer(self, counts: NDArray[np.uint8], out: Latents | None = None) -> Latents:
        """Infer one window.

        Parameters
        ----------
        counts
            Spike counts, uint8, shape ``(n_bins, n_units)``, C-contiguous.
        out
            Buffers to write to and return; with them the call allocates nothing.
        """

    def infer_batch(self, counts: NDArray[np.uint8], *, log_rates: bool = True) -> Latents:
        """Infer many windows: ``(n_trials, n_bins, n_units)`` to arrays with that first axis."""

    def close(self) -> None:
        """Give the device back. Further calls raise `EngineError`."""

    def __enter__(self) -> Engine: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def allocate(info: EngineInfo, *, log_rates: bool = True) -> Latents:
    """Return zeroed output buffers for one window."""
    return Latents(
        np.zeros((info.n_bins_out, info.n_factors), np.float32),
        np.zeros((info.n_bins_out, info.n_units), np.float32) if log_rates else None,
    )


def check_counts(info: EngineInfo, counts: NDArray[np.uint8], *, batch: bool = False) -> None:
    """Refuse counts of another shape or type than the model's.

    Raises
    ------
    EngineError
        Naming the shape that the model expects and what was found.
    """
    expected = (info.n_bins, info.n_units)
    if counts.dtype != np.uint8 or counts.ndim != 2 + batch or counts.shape[-2:] != expected:
        lead = "n_trials, " if batch else ""
        raise EngineError(
            f"the model expects uint8 counts of shape ({lead}{expected[0]} bins, "
            f"{expected[1]} units); got {counts.dtype} of shape {counts.shape}"
        )


def check_out(info: EngineInfo, out: Latents) -> None:
    """Refuse buffers of another shape or type than the model's, and such as cannot be written.

    Raises
    ------
    EngineError
        Naming the buffer, what the engine needs and what was found.
    """
    for what, given, shape in (
        ("factors", out.factors, (info.n_bins_out, info.n_factors)),
        ("log_rates", out.log_rates, (info.n_bins_out, info.n_units)),
    ):
        if given is None:
            continue
        if given.dtype != np.float32 or given.shape != shape or not given.flags.writeable:
            raise EngineError(
                f"the {info.name} engine needs writeable float32 {what} of shape {shape}; got "
                f"{given.dtype} {given.shape}{'' if given.flags.writeable else ' read-only'}"
            )
