"""The root command: options for all, readable errors, and the list of commands."""

from __future__ import annotations

import logging
import sys
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.text import Text

from bci_lfads import __version__
from bci_lfads.errors import BciLfadsError

app = typer.Typer(
    name="bci-lfads",
    help="Latent factors in the loop: spikes on LSL to LFADS factors on LSL.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log details too.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Log warnings only.")] = False,
) -> None:
    """Set up logging; called before every command."""
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    handler = RichHandler(console=Console(stderr=True), show_path=False, markup=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    logging.getLogger("bci_lfads").setLevel(level)
    if version:
        typer.echo(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


def main() -> None:
    """Run the command line; an error that the user can act on is one message and exit code 1."""
    # They register their commands.
    from bci_lfads.cli import (  # noqa: F401
        closed_loop,
        data,
        decoding,
        estimating,
        evaluating,
        fpga,
        loop,
        lsl,
        models,
        realigning,
        sessions,
        soaking,
        sweeping,
        training,
        triggers,
    )

    try:
        app()
    except BciLfadsError as error:
        _fail(str(error))
    except OSError as error:  # a full disk, a file that may not be written
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))


def _fail(what: str) -> NoReturn:
    line = " ".join(what.splitlines())
    Console(stderr=True).print(Text.assemble(("error:", "bold red"), f" {line}"), soft_wrap=True)
    sys.exit(1)
