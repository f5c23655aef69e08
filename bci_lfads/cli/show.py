"""How commands show things: tables, progress bars, JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table


def as_json(value: object) -> None:
    """Print a value as one JSON document; what is not a finite number becomes null."""
    typer.echo(json.dumps(_finite(value), indent=2, default=str))


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
    drawn = Table(*columns, title=title, title_justify="left")
    for row in rows:
        drawn.add_row(*(str(cell) for cell in row))
    Console().print(drawn)


def facts(title: str, values: Mapping[str, object]) -> None:
    """Print names and values."""
    drawn = Table(title=title, title_justify="left", show_header=False)
    for name, value in values.items():
        drawn.add_row(name, str(value))
    Console().print(drawn)


@contextmanager
def progress(what: str, total: float | None) -> Iterator[Callable[..., None]]:
    """Show a progress bar on standard error; yields a function of what is done and the total."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)

        def advance(done: float, total: float | None = None) -> None:
            bar.update(task, completed=done, total=total)

        yield advance
