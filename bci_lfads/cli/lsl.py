"""The command for LSL's own settings: lsl-config."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bci_lfads.cli.app import app
from bci_lfads.cli.files import check_output


@app.command("lsl-config")
def lsl_config(
    rig_file: Annotated[Path, typer.Argument(help="Rig file (.toml).", metavar="RIG")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write here (.cfg); default: show it.")
    ] = None,
) -> None:
    """Write LSL's settings with what a rig's [lsl] asks for, for every program of the rig.

    Name the file in the variable LSLAPICFG of each: a decoder, a recorder, the source of spikes.
    `run`, `doctor` and `gui` with the rig file take these settings by themselves.
    """
    from bci_lfads.lsl_config import config_of
    from bci_lfads.rig import load_rig

    text = config_of(load_rig(rig_file).lsl)
    if output is None:
        typer.echo(text.rstrip())
        return
    check_output(output)
    output.write_text(text, "utf-8")
    typer.echo(f"export LSLAPICFG={output.resolve()}")
