"""What commands that cut recordings share: options, and how windows follow from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from bci_lfads.errors import BciLfadsError, RigError

if TYPE_CHECKING:
    from bci_lfads.models.model import Model
    from bci_lfads.rig import SlidingSettings, TrialSettings

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ModelFile = Annotated[Path, typer.Argument(help="Model file (.safetensors).", metavar="MODEL")]
Recording = Annotated[Path, typer.Argument(help="A recording.", metavar="RECORDING")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Model file to write.")]
Rig = Annotated[Path | None, typer.Option(help="Rig file whose [window] cuts the recording.")]
Latents = Annotated[str, typer.Option(help="Series of known latents.", metavar="NAME")]
Behaviour = Annotated[str, typer.Option(help="Series of behaviour.", metavar="NAME")]
Lag = Annotated[
    float, typer.Option(help="Seconds by which behaviour follows activity.", metavar="SECONDS")
]
Conditions = Annotated[
    str | None,
    typer.Option(
        help="Pattern of markers that name conditions; default condition/*, else the trials' own.",
        metavar="PATTERN",
    ),
]
Sliding = Annotated[bool, typer.Option(help="Train on a sliding window.")]
Bins = Annotated[int | None, typer.Option(min=1, help="Bins in a window.")]
MinRate = Annotated[
    float, typer.Option(min=0, help="Leave out units below this rate.", metavar="HZ")
]
Batch = Annotated[int, typer.Option(min=1, help="Windows a step.")]
Validation = Annotated[float, typer.Option(help="Share of windows to validate on.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with the same command where it was cut short.")
]
SampleValidation = Annotated[
    float,
    typer.Option(
        help="Share of training counts never shown nor trained on, by which epochs are judged.",
        metavar="SHARE",
    ),
]
Threads = Annotated[int, typer.Option(min=1, help="Of torch; sums depend on their number.")]
Start = Annotated[str | None, typer.Option(help="Marker that starts a trial.", metavar="PATTERN")]
Align = Annotated[
    str | None, typer.Option(help="Marker at time zero; default: start.", metavar="PATTERN")
]
Offset = Annotated[
    float, typer.Option(help="From time zero to the window's begin.", metavar="SECONDS")
]
Hop = Annotated[int | None, typer.Option(min=1, help="Bins from one sliding window to the next.")]
BIN_WIDTH = 0.01


class Cut(NamedTuple):
    """How windows are to be cut, as options say it."""

    rig: Path | None = None
    start: str | None = None
    align: str | None = None
    offset: float = 0.0
    sliding: bool = False
    hop: int | None = None


class Window(NamedTuple):
    """How windows are cut, and what the model's units are called; as in a rig file."""

    settings: TrialSettings | SlidingSettings | None = None
    unit_map: Mapping[str, str] = {}


def window_for(asked: Cut) -> Window:
    """Return how to cut windows, from a rig or from options; a sliding window's hop is the rig's.

    Raises
    ------
    RigError
        If more than one option says it.
    """
    from bci_lfads.rig import SlidingSettings, TrialSettings, load_rig

    ways = [
        name
        for name, given in (
            ("--rig", asked.rig), ("--start", asked.start), ("--sliding", asked.sliding),
        )
        if given
    ]  # fmt: skip
    if len(ways) > 1:
        raise RigError(f"{' and '.join(ways)} each say how windows are cut; give one of them")
    if asked.rig is not None:
        rig = load_rig(asked.rig)
        return Window(rig.window, rig.input.units)
    if asked.sliding:
        return Window(SlidingSettings(mode="sliding", hop=asked.hop or 1))
    if asked.start is not None:
        return Window(
            TrialSettings(mode="trials", start=asked.start, align=asked.align, offset=asked.offset)
        )
    return Window()


def training_window(
    asked: Cut, bins: int | None, bin_width: float | None, old: Model | None
) -> tuple[Window, int, float]:
    """Return how to cut windows for training, their bins, and their bins' width in seconds.

    What options do not say is that of the model to go on from. A sliding window is moved on by a
    fifth of its length unless told otherwise: windows that share nearly all bins teach little more.

    Raises
    ------
    RigError
        If the bins are not said, or said twice.
    """
    from bci_lfads.rig import SlidingSettings, TrialSettings

    window = window_for(asked)
    if old is not None:
        if bins is not None or bin_width is not None:
            raise RigError("--bins and --bin-width are those of the model to go on from")
        bins, bin_width = old.spec.n_bins, old.bin_width
    if bins is None:
        raise RigError("say how long windows are: --bins N, and --bin-width SECONDS")
    settings = window.settings
    if settings is None and old is not None and old.alignment is not None:
        settings = TrialSettings(mode="trials", **old.alignment.model_dump())
    if isinstance(settings, SlidingSettings):
        settings = SlidingSettings(mode="sliding", hop=asked.hop or max(1, bins // 5))
    return window._replace(settings=settings), bins, BIN_WIDTH if bin_width is None else bin_width


def need_torch(threads: int) -> None:
    """Set the number of torch's threads.

    Raises
    ------
    BciLfadsError
        If torch is missing, saying where it comes from.
    """
    try:
        import torch
    except (ImportError, OSError) as error:
        raise BciLfadsError(
            f"training needs torch, which cannot be imported ({error}); install it with "
            "pip install 'bci-lfads[train]'"
        ) from error
    torch.set_num_threads(threads)
