"""Engines: the same inference on an FPGA, on this CPU, and in floating point.

Each is imported only when asked for: torch and pyxrt are on few machines.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from bci_lfads.errors import EngineError

if TYPE_CHECKING:
    from bci_lfads.engines.base import Engine
    from bci_lfads.models.model import Model

__all__ = ["ENGINES", "available_engines", "open_engine"]

ENGINES = ("native", "torch", "fpga")


def open_engine(
    name: str, model: Model, *, hop: int | None = None, n_threads: int = 1, **options: Any
) -> Engine:
    """Open an engine on a model.

    Parameters
    ----------
    name
        One of `ENGINES`.
    model
        The model.
    hop
        Bins by which the windows move on, where they are a sliding window's: an engine that can
        does not compute again what two windows share. The factors are the same.
    n_threads
        Threads that compute a window, in an engine that can use more than one.
    options
        Of the engine's constructor. For ``fpga`` also ``fallback``: ``"native"`` has that engine
        take over when the card fails, ``"none"`` (the default) raises.

    Raises
    ------
    EngineError
        If there is no such engine, or something that it needs is missing here.
    ModelError
        If the model does not fit the engine.
    """
    if name == "native":
        from bci_lfads.engines.native import NativeEngine

        return NativeEngine(model, hop=hop, n_threads=n_threads, **options)
    if name == "torch":
        if reason := _missing_torch():
            raise EngineError(reason)
        from bci_lfads.engines.torch_engine import TorchEngine

        return TorchEngine(model, **options)
    if name == "fpga":
        return _open_fpga(model, hop=hop, n_threads=n_threads, **options)
    raise EngineError(f"there is no engine {name!r}; there are {', '.join(ENGINES)}")


def _open_fpga(
    model: Model, *, hop: int | None, n_threads: int, fallback: str = "none", **options: Any
) -> Engine:
    from bci_lfads.engines.fpga import FpgaEngine

    if fallback == "none":
        return FpgaEngine(model, hop=hop, **options)
    if fallback != "native":
        raise EngineError(f"fallback is 'native' or 'none', got {fallback!r}")
    from bci_lfads.engines.fallback import FallbackEngine
    from bci_lfads.engines.native import NativeEngine

    stand_in = NativeEngine(model, hop=hop, n_threads=n_threads)
    return FallbackEngine(lambda: FpgaEngine(model, hop=hop, **options), stand_in)


def available_engines() -> dict[str, str | None]:
    """Return each engine with None if it can be opened here, else with what is missing."""
    from bci_lfads.engines import fpga

    return {"native": _missing_native(), "torch": _missing_torch(), "fpga": fpga.missing()}


def _missing_native() -> str | None:
    try:
        importlib.import_module("bci_lfads.engines._native")
    except ImportError as error:
        return (
            f"its compiled extension cannot be loaded ({error}); install the package with "
            "'pip install .' and a C++17 compiler"
        )
    return None


def _missing_torch() -> str | None:
    try:
        importlib.import_module("torch")
    except (ImportError, OSError) as error:
        return f"torch cannot be imported ({error}); install it with pip install 'bci-lfads[torch]'"
    return None
