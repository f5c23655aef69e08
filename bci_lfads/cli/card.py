"""Options of the card that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from bci_lfads.rig import FpgaSettings

Xclbin = Annotated[
    Path | None,
    typer.Option(help="The kernel's xclbin, for a card; default: what BCI_LFADS_XCLBIN names."),
]
Device = Annotated[
    str | None,
    typer.Option(help="Index of the card, or its BDF like 0000:c1:00.1.", show_default="0"),
]
Launch = Annotated[str, typer.Option(help="per-trial, or persistent: the kernel is started once.")]
Wait = Annotated[str, typer.Option(help="How to wait for the card: spin or block.")]


def card_settings(
    xclbin: Path | None, device: str | None, base: FpgaSettings | None = None
) -> FpgaSettings:
    """Return a rig's settings of the card, or the default ones, with what was given instead."""
    from bci_lfads.rig import FpgaSettings

    given: dict[str, Any] = {"xclbin": xclbin, "device": device}
    return (base or FpgaSettings()).model_copy(
        update={name: value for name, value in given.items() if value is not None}
    )


def checked(asked: str, option: str, *accepted: str) -> Any:
    """Return what was asked for, if it is one of those accepted."""
    if asked not in accepted:
        raise typer.BadParameter(
            f"{' or '.join(map(repr, accepted))}, got {asked!r}", param_hint=option
        )
    return asked
