"""How commands show things: tables, progress bars, JSON."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table


def as_json(value: object) -> None:
    """Print a value as one JSON document; what is not a finite number becomes null."""
    typer.echo(json.dumps(_finite(value), indent=2, default=str))


def as_line(value: object) -> None:
    """Print a value as one line of JSON, at once, for a program that reads it as it comes."""
    typer.echo(json.dumps(_finite(value), default=str, separators=(",", ":")))
    sys.stdout.flush()


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table."""
    _print(Table(title=title, title_justify="left"), columns, rows)


def facts(title: str, values: Mapping[str, object]) -> None:
    """Print names and values."""
    rows = [(name, in_words(value)) for name, value in values.items()]
    _print(Table(title=title, title_justify="left", show_header=False), ("", ""), rows)


def in_words(value: object) -> str:
    """Return a value for people: numbers in six digits, what is in lists and the like by commas."""
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {in_words(v)}" for k, v in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(in_words(v) for v in value) or "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None else str(value)


def _print(drawn: Table, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    for column in columns:
        drawn.add_column(column, overflow="fold")  # a path or hash is no use cut short
    for row in rows:
        drawn.add_row(*(str(cell) for cell in row))
    # Without markup: [input.units] is a setting's name, and :x: part of a marker.
    Console(markup=False, emoji=False).print(drawn)


@contextmanager
def progress(what: str, total: float | None) -> Iterator[Callable[..., None]]:
    """Show a progress bar on standard error, if that is a terminal.

    Yields a function of what is done and, optionally, the total.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    # Disabled where no one would see it: it would still write an empty line there.
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(what, total=total)

        def advance(done: float, total: float | None = None) -> None:
            bar.update(task, completed=done, total=total)

        yield advance
