"""Whether this machine, and this rig, are ready for an experiment."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np

from bci_lfads.engines import available_engines, open_engine
from bci_lfads.errors import BciLfadsError
from bci_lfads.host import limits
from bci_lfads.models.model import Model
from bci_lfads.realtime import try_schedule
from bci_lfads.rig import Rig, SlidingSettings, load_rig
from bci_lfads.streams.connection import Connection

Verdict = Literal["ok", "note", "fail"]
_BAD_PYSIDE = ("6.12.0",)  # which the extra `gui` leaves out, too


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes
    ----------
    what
        The thing.
    verdict
        ``ok``; ``note`` for what a run can do without; ``fail`` for what would stop it.
    found
        What was found and, unless it is well, what to do.
    """

    what: str
    verdict: Verdict
    found: str


def examine(rig_file: Path | None, *, timeout: float = 5.0) -> Iterator[Finding]:
    """Look at LSL, the engines, XRT, Qt and, if given, a rig and its streams.

    Parameters
    ----------
    rig_file
        The rig, or None for the machine alone.
    timeout
        Seconds to look for the rig's streams.
    """
    yield _lsl()
    yield _timer()
    wanted: str | None = None
    if rig_file is not None:
        try:
            rig = load_rig(rig_file)
            wanted = "native" if rig.fpga.fallback == "native" else rig.engine
        except BciLfadsError:
            wanted = None  # reported below with its reason
    for engine, missing in available_engines().items():
        if missing is None:
            yield Finding(f"engine {engine}", "ok", _available(engine))
        else:
            needed = engine == wanted or (wanted is None and engine == "native")
            yield Finding(f"engine {engine}", "fail" if needed else "note", missing)
    yield _xrt()
    yield _qt()
    for what, well, text in limits():
        yield Finding(what, "ok" if well else "note", text)
    if rig_file is not None:
        yield from _rig(rig_file, timeout)


def _lsl() -> Finding:
    import pylsl

    config = os.environ.get("LSLAPICFG")
    where = f"configuration {config}" if config else "no LSLAPICFG set: liblsl's defaults"
    if config and not Path(config).is_file():
        return Finding("LSL", "fail", f"LSLAPICFG names {config}, which is not there")
    info = pylsl.StreamInfo("bci-lfads doctor", "Test", 1, 0, "float32", f"doctor-{os.getpid()}")
    outlet = pylsl.StreamOutlet(info)
    found = pylsl.resolve_byprop("source_id", f"doctor-{os.getpid()}", 1, 3.0)
    del outlet
    version = pylsl.library_version()
    library = f"liblsl {version // 100}.{version % 100}"
    if not found:
        return Finding(
            "LSL",
            "fail",
            f"{library} does not find a stream of this machine itself ({where}); check the "
            "firewall for UDP 16571-16604 and TCP 16572-16604, and the ResolveScope setting",
        )
    return Finding("LSL", "ok", f"{library} finds streams; {where}")


def _timer() -> Finding:
    """Sleeping is what the loop's latency rests on when it waits."""
    late = []
    for _ in range(200):
        began = time.perf_counter()
        time.sleep(0.0005)
        late.append(time.perf_counter() - began - 0.0005)
    median, worst = 1e3 * float(np.median(late)), 1e3 * float(np.max(late))
    verdict: Verdict = "ok" if worst < 5 else "note"
    advice = "" if verdict == "ok" else "; the machine is busy or saves power: expect late windows"
    text = f"a sleep of 0.5 ms ends {median:.2f} ms late (median), {worst:.2f} ms at most{advice}"
    return Finding("timer", verdict, text)


def _available(engine: str) -> str:
    if engine != "native":
        return "available"
    from bci_lfads.engines import _native

    fastest, *others = _native.PATHS
    return f"available; takes the {fastest} path" + (f", has {', '.join(others)}" if others else "")


def _xrt() -> Finding:
    root = os.environ.get("XILINX_XRT")
    if root is None:
        return Finding("XRT", "note", "XILINX_XRT is not set; needed only with engine = 'fpga'")
    if not Path(root).is_dir():
        return Finding("XRT", "note", f"XILINX_XRT names {root}, which is not there")
    return Finding("XRT", "ok", f"XILINX_XRT = {root}")


def _qt() -> Finding:
    missing = [m for m in ("qtpy", "pyqtgraph", "PySide6") if importlib.util.find_spec(m) is None]
    if missing:
        return Finding(
            "Qt",
            "note",
            f"{', '.join(missing)} not installed; needed only for a window: "
            "pip install 'bci-lfads[gui]'",
        )
    versions = {name: version(name) for name in ("PySide6-Essentials", "pyqtgraph", "qtpy")}
    found = ", ".join(f"{name} {number}" for name, number in versions.items())
    if versions["PySide6-Essentials"] in _BAD_PYSIDE:
        return Finding(
            "Qt",
            "note",
            f"{found}: this PySide6 loses a reference to None with each call, by which Python 3.10 "
            "and 3.11 end after minutes, and a window with them; install another: "
            f"pip install 'PySide6-Essentials!={versions['PySide6-Essentials']}'",
        )
    return Finding("Qt", "ok", found)


def _rig(rig_file: Path, timeout: float) -> Iterator[Finding]:
    from bci_lfads.parts import check_fit

    def attempt(what: str, action: Callable[[], str]) -> Finding:
        try:
            return Finding(what, "ok", action())
        except BciLfadsError as error:
            return Finding(what, "fail", str(error))

    try:
        rig = load_rig(rig_file)
    except BciLfadsError as error:
        yield Finding("rig file", "fail", str(error))
        return
    yield Finding("rig file", "ok", f"{rig_file}: rig '{rig.name}', {rig.window.mode}")
    try:
        model = Model.load(rig.model)
    except BciLfadsError as error:
        yield Finding("model", "fail", str(error))
        return
    spec = model.spec
    yield Finding(
        "model",
        "ok",
        f"{spec.n_units} units, {spec.n_bins} bins of {1e3 * model.bin_width:g} ms, "
        f"{spec.n_factors} factors; {model.hash[:12]}",
    )

    def fit() -> str:
        check_fit(rig, model)
        return "the rig's units and window fit the model"

    yield attempt("rig and model", fit)
    yield from _realtime(rig)
    yield attempt("engine speed", lambda: _speed(rig, model))
    yield attempt("spikes", lambda: _spikes(rig, model, timeout))
    if rig.input.markers is not None:
        yield attempt("markers", lambda: _markers(rig, timeout))


def _realtime(rig: Rig) -> Iterator[Finding]:
    """Whether the system grants what the rig asks of it."""
    asked = try_schedule(rig.realtime)
    if not asked:
        yield Finding("real time", "note", "[realtime] asks for no processors and no priority")
    for one in asked:
        yield Finding("real time", "note" if one.problem else "ok",
                      f"{one.what}: {one.problem or 'granted'}")  # fmt: skip


def _speed(rig: Rig, model: Model) -> str:
    counts = np.zeros((model.spec.n_bins, model.spec.n_units), np.uint8)
    took = []
    with open_engine(rig.engine, model, **rig.engine_options()) as engine:
        for _ in range(20):
            began = time.perf_counter()
            engine.infer(counts)
            took.append(time.perf_counter() - began)
        info = engine.info
    median = 1e3 * float(np.median(took))
    text = f"{info.name} ({info.device}): {median:.3f} ms a window (median of 20)"
    if info.name != rig.engine:
        text += f" in the place of {rig.engine}"
    if isinstance(rig.window, SlidingSettings):
        hop = rig.window.hop * model.bin_width
        text += f", a window each {1e3 * hop:g} ms"
    return text


def _spikes(rig: Rig, model: Model, timeout: float) -> str:
    from bci_lfads.parts import spike_inlet

    inlet = spike_inlet(rig, model)
    try:
        inlet.open(timeout)
        return _heard(inlet.connection, lambda: (inlet.pull(), inlet.n_pulled)[1])
    finally:
        inlet.close()


def _markers(rig: Rig, timeout: float) -> str:
    from bci_lfads.parts import marker_inlet

    inlet = marker_inlet(rig)
    if inlet is None:
        return "not used by a sliding window"
    try:
        inlet.open(timeout)
        return _heard(inlet.connection, lambda: len(inlet.pull().times))
    finally:
        inlet.close()


def _heard(connection: Connection, pull: Callable[[], int]) -> str:
    """Listen for a second and say what came."""
    began, n = time.monotonic(), 0
    while time.monotonic() - began < 1.0:
        n += pull()
        time.sleep(0.01)
    name = connection.header.name if connection.header else ""
    return (
        f"'{name}' fits; {n} samples in a second, clock correction "
        f"{1e3 * connection.correction:.3f} ms"
    )
