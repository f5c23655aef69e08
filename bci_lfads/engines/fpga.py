"""The engine on an FPGA card: what is missing before it can run.

The kernel in fpga/ is written for the card, but the host's side (loading an xclbin, buffers,
submission through pyxrt) is not part of this version. Opening the engine looks for what it
needs, in order, and says which part is not there; it never pretends to compute.
"""

from __future__ import annotations

import importlib
import logging
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci_lfads.engines.base import EngineInfo, Latents
from bci_lfads.errors import EngineError
from bci_lfads.models.fixed import required
from bci_lfads.models.model import Model

_log = logging.getLogger(__name__)

NOT_YET = (
    "the host path of the FPGA kernel is not part of this version of bci-lfads; use the native "
    "engine, which computes the same integers"
)


class FpgaEngine:
    """LFADS on an Alveo card. This version says what is missing and opens nothing.

    Parameters
    ----------
    model
        The model.
    device
        Index of the card, as ``xbutil examine`` counts.

    Raises
    ------
    EngineError
        Always, in this version: naming pyxrt, the card or the missing host path, whichever
        comes first.
    """

    def __init__(self, model: Model, *, device: int = 0) -> None:
        required(model.fixed)
        open_device(device)
        raise EngineError(f"model {model.hash[:12]} cannot run on the card: {NOT_YET}")

    @property
    def info(self) -> EngineInfo:
        """Sizes, device and model hash."""
        raise EngineError(NOT_YET)

    def infer(self, counts: NDArray[np.uint8], out: Latents | None = None) -> Latents:
        """Infer one window; see `Engine.infer`."""
        raise EngineError(NOT_YET)

    def infer_batch(self, counts: NDArray[np.uint8], *, log_rates: bool = True) -> Latents:
        """Infer many windows; see `Engine.infer_batch`."""
        raise EngineError(NOT_YET)

    def close(self) -> None:
        """Give the device back."""

    def __enter__(self) -> FpgaEngine:
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


def open_device(index: int = 0) -> Any:
    """Open a card through the Xilinx Runtime and return pyxrt's device.

    Raises
    ------
    EngineError
        If pyxrt cannot be imported or there is no such card.
    """
    try:
        pyxrt = importlib.import_module("pyxrt")
    except ImportError as error:
        raise EngineError(
            f"pyxrt cannot be imported ({error}): it comes with AMD's Xilinx Runtime (XRT) "
            "installer, not from the package index. Install XRT for your card, then run "
            "'source /opt/xilinx/xrt/setup.sh' in this shell; take the Python that XRT was built "
            "for"
        ) from error
    try:
        device = pyxrt.device(index)
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise EngineError(
            f"the Xilinx Runtime opens no card {index} ({error}); see what 'xbutil examine' lists, "
            "whether the card's shell is loaded, and whether setup.sh was sourced"
        ) from error
    _log.debug("opened card %d", index)
    return device


def missing() -> str:
    """Return what the engine lacks on this machine, in words."""
    try:
        open_device()
    except EngineError as error:
        return str(error)
    return NOT_YET
