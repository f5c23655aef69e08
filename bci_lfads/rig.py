"""The rig: one typed model of one TOML file.

A rig file says which streams carry the spikes and markers, which model and engine to run, how
windows are cut and what is published. Bin width and window length are the model's.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from bci_lfads.errors import RigError
from bci_lfads.settings import Settings, beside, read_toml, wrong_settings


class StreamQuery(Settings):
    """Which LSL stream is meant: every property given must match exactly."""

    name: str | None = None
    type: str | None = None
    source_id: str | None = None
    hostname: str | None = None
    hosts: tuple[str, ...] = ()
    """Hosts that it may come from; a stream of another one is refused. Empty: any."""

    @model_validator(mode="after")
    def _says_something(self) -> StreamQuery:
        if not any((self.name, self.type, self.source_id)):
            raise ValueError("give at least one of name, type and source_id")
        return self

    def properties(self) -> dict[str, str]:
        """Return the LSL properties asked for."""
        asked = {k: getattr(self, k) for k in ("name", "type", "source_id", "hostname")}
        return {k: v for k, v in asked.items() if v}


class SpikeStream(StreamQuery):
    """The stream of spikes."""

    format: Literal["auto", "events", "ids", "counts"] = "auto"
    """``events`` (channel and unit columns), ``ids`` (one id a spike), ``counts`` (a channel a
    unit, regular rate), or by what the stream looks like."""
    declared_unit: Literal["count"] | None = None
    """Set to ``count`` to accept a stream labelled in Hz that really carries counts."""
    timestamp_reference: Literal["start", "centre", "end"] | None = None
    """Which moment of a source bin a stamp of a counts stream means; default: what the stream
    says, else ``end``."""
    clock: Literal["auto", "lsl", "stream"] = "auto"
    """What closes bins: the LSL clock (live), or the newest stamp (a replay that is not at ×1)."""
    max_rate: float = Field(default=50_000.0, gt=0)
    """Spikes per second to size buffers for."""


class InputSettings(Settings):
    """What comes in."""

    spikes: SpikeStream
    markers: StreamQuery | None = None
    units: dict[str, str] = Field(default_factory=dict)
    """Model unit label = label or key in the stream, where they differ."""
    mask: tuple[str, ...] = ()
    """Labels of model units, or patterns (``*`` and ``?``), that are dead: the model takes them for
    firing at their mean rate, and the stream need not have them."""


class TrialSettings(Settings):
    """Windows of one fixed length, aligned to markers."""

    mode: Literal["trials"]
    start: str
    """Pattern (``*`` and ``?``) of the marker that opens a trial."""
    align: str | None = None
    """Pattern of the marker that is time zero; default: the start marker."""
    offset: float = 0.0
    """Seconds from time zero to the window's first edge; negative is before."""
    abort: str | None = None
    """Pattern of the marker that cancels the newest open trial."""
    truncated: Literal["drop", "publish"] = "drop"
    """What becomes of a trial of which some part was not received; both are counted."""


class SlidingSettings(Settings):
    """A window that ends now, moved on by ``hop`` bins at a time."""

    mode: Literal["sliding"]
    hop: int = Field(default=1, ge=1)


WindowSettings = Annotated[TrialSettings | SlidingSettings, Field(discriminator="mode")]


class BinningSettings(Settings):
    """How long to wait for spikes."""

    hold_off: float = Field(default=0.005, ge=0, le=10)
    """Seconds after a bin's end before it is closed; spikes that come later are counted as late."""


class OutputSettings(Settings):
    """What goes out, beside factors, status and latency."""

    rates: bool = False
    """Publish firing rates in Hz too."""


class LoopSettings(Settings):
    """Bounds of the real-time loop."""

    poll: float = Field(default=0.0005, gt=0, le=0.1)
    """Longest sleep of the acquisition between two looks at the inlets, seconds."""
    queue: int = Field(default=64, ge=1, le=1024)
    """Windows that may wait for the engine; when full, the oldest is dropped and counted."""
    deadline: float = Field(default=0.05, gt=0)
    """Seconds from the end of a window to its factors pushed; later is counted as a miss."""
    engine_threads: Literal[1, 2] = 1
    """Threads of the native engine. A second one pays where windows come faster than once in some
    200 µs and a processor is free for it."""
    status_interval: float = Field(default=0.5, gt=0)
    """Seconds between two messages on Status, at most."""


class SupervisionSettings(Settings):
    """What the watchdog calls wrong; each is published on Status with its reason."""

    hang: float = Field(default=2.0, gt=0)
    """Seconds that the engine may take for a window, or the acquisition between two looks."""
    silence: float = Field(default=5.0, gt=0)
    """Seconds without a sample of the spike stream; ``inf`` where silence is well."""
    memory: float = Field(default=10.0, gt=0)
    """Seconds for which a loss keeps the loop degraded."""
    lost_share: float = Field(default=0.01, ge=0, le=1)
    """Of the spikes of the last `memory` seconds that may be late, too far ahead or invalid."""


class ShadowSettings(Settings):
    """A second engine on the same windows, whose factors are compared and not published."""

    engine: Literal["native", "torch", "fpga"]
    queue: int = Field(default=16, ge=1, le=1024)
    """Windows that may wait for it; those that find no place are not compared, and counted."""


class RealtimeSettings(Settings):
    """What `bci-lfads run` asks of the operating system for its threads (Linux)."""

    cpus: tuple[Annotated[int, Field(ge=0, lt=1024)], ...] = ()
    """Processors to run on, best those that nothing else uses; default: all."""
    priority: int = Field(default=0, ge=0, le=99)
    """Real-time priority (SCHED_RR), 1 to 99; 0 for none."""


_Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]+$", max_length=100)]


class LslSettings(Settings):
    """LSL's own settings, for all streams of the process; what is left out stays as it is."""

    session_id: _Word | None = None
    """Streams of other sessions are not seen, and do not see ours."""
    known_peers: tuple[_Word, ...] = ()
    """Hosts to look for streams on, by name or address, where multicast does not reach."""
    scope: Literal["machine", "link", "site", "organization", "global"] | None = None
    """How far streams are looked for by multicast."""


class FpgaSettings(Settings):
    """The card, for ``engine = "fpga"``."""

    xclbin: Path | None = None
    """The kernel's xclbin; relative paths start at the rig file's folder. Default: what the
    variable ``BCI_LFADS_XCLBIN`` names."""
    device: int | str = 0
    """Index of the card as ``xbutil examine`` counts, or its BDF, like ``0000:c1:00.1``."""
    wait: Literal["spin", "block"] = "spin"
    """How to wait for the card: looking at it all the time, or sleeping until its interrupt."""
    launch: Literal["per-trial", "persistent"] = "per-trial"
    """``persistent``: the kernel is started once and looks into this host's memory for windows.
    Where the card does not offer that, each window has a launch of its own."""
    timeout: float = Field(default=1.0, gt=0, le=60)
    """Seconds within which the card must answer."""
    fallback: Literal["none", "native"] = "none"
    """``native``: that engine takes over when the card fails, and Status says so."""

    def options_of(self, engine: str) -> dict[str, Any]:
        """Return what `open_engine` takes of these settings for an engine: none but for a card."""
        return self.model_dump() if engine == "fpga" else {}


class Rig(Settings):
    """Everything that a run needs to know."""

    name: str = Field(min_length=1, max_length=100)
    """Prefix of every stream that is published."""
    model: Path
    """Model file; relative paths start at the rig file's folder."""
    engine: Literal["native", "torch", "fpga"] = "native"
    input: InputSettings
    window: WindowSettings
    binning: BinningSettings = BinningSettings()
    output: OutputSettings = OutputSettings()
    loop: LoopSettings = LoopSettings()
    fpga: FpgaSettings = FpgaSettings()
    lsl: LslSettings = LslSettings()
    supervision: SupervisionSettings = SupervisionSettings()
    realtime: RealtimeSettings = RealtimeSettings()
    shadow: ShadowSettings | None = None

    @model_validator(mode="after")
    def _trials_need_markers(self) -> Rig:
        if isinstance(self.window, TrialSettings) and self.input.markers is None:
            raise ValueError("window.mode = 'trials' needs [input.markers]")
        return self

    def engine_options(self) -> dict[str, Any]:
        """Return what `open_engine` takes of this rig's settings for its engine."""
        return self.fpga.options_of(self.engine)

    def shadow_options(self) -> dict[str, Any]:
        """Return what `open_engine` takes for the engine that is compared; it has no stand-in."""
        if self.shadow is None:
            return {}
        return self.fpga.model_copy(update={"fallback": "none"}).options_of(self.shadow.engine)


def load_rig(path: Path) -> Rig:
    """Read a rig file.

    Raises
    ------
    RigError
        Naming the file, the setting, what was found and what is accepted.
    """
    return parse_rig(read_toml(path, "rig", RigError), path)


def parse_rig(content: dict[str, Any], path: Path) -> Rig:
    """Check the content of a rig file; `path` anchors relative paths and names it in errors.

    Raises
    ------
    RigError
        Listing every setting that is wrong.
    """
    try:
        rig = Rig.model_validate(content)
    except ValidationError as error:
        raise RigError(f"{path}: {wrong_settings(error)}") from error
    fpga = rig.fpga
    if fpga.xclbin is not None:
        fpga = fpga.model_copy(update={"xclbin": beside(path, fpga.xclbin, RigError)})
    return rig.model_copy(update={"model": beside(path, rig.model, RigError), "fpga": fpga})


def with_engine(rig: Rig, engine: str) -> Rig:
    """Return the rig with another engine.

    Raises
    ------
    RigError
        If there is none of that name.
    """
    try:
        return Rig.model_validate({**rig.model_dump(), "engine": engine})
    except ValidationError as error:
        raise RigError(f"no engine '{engine}'; there are native, torch and fpga") from error


def masked_units(rig: Rig, unit_labels: Sequence[str]) -> tuple[str, ...]:
    """Return which of the model's units the rig masks.

    Raises
    ------
    RigError
        If a pattern fits no unit, or all are masked.
    """
    for pattern in rig.input.mask:
        if not any(fnmatchcase(label, pattern) for label in unit_labels):
            raise RigError(
                f"[input] mask has '{pattern}', which fits no unit of the model; its units are "
                f"{', '.join(unit_labels[:5])}{', …' if len(unit_labels) > 5 else ''}"
            )
    masked = tuple(u for u in unit_labels if any(fnmatchcase(u, p) for p in rig.input.mask))
    if len(masked) == len(unit_labels):
        raise RigError(f"[input] mask masks all {len(masked)} units; the model would see nothing")
    return masked
