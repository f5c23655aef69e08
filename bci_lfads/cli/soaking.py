"""The command that puts a load on the loop: soak."""

from __future__ import annotations

import json as jsonlib
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from bci_lfads.cli.app import app
from bci_lfads.cli.files import check_output
from bci_lfads.cli.interrupt import until_interrupted
from bci_lfads.cli.show import as_json, progress, table
from bci_lfads.errors import BciLfadsError


@app.command()
def soak(
    seconds: Annotated[float, typer.Option(help="Seconds of spikes.", min=1.0)] = 60.0,
    units: Annotated[int, typer.Option(help="Units.", min=1, max=1024)] = 1024,
    rate: Annotated[float, typer.Option(help="Spikes per second and unit.", min=0.1)] = 50.0,
    hold_off: Annotated[float, typer.Option(help="Of the rig, seconds.")] = 0.02,
    priority: Annotated[
        int, typer.Option(help="Real-time priority of all processes; 0: none.", min=0, max=99)
    ] = 0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Keep all figures here (.json).")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Put a load on the loop: is anything lost, does anything drift? All in own processes.

    A sliding window moves on by a bin of 10 ms at a time. Memory and latency are judged from 20
    minutes on; in a shorter run they are only told.
    """
    from bci_lfads.realtime import schedule
    from bci_lfads.rig import RealtimeSettings
    from bci_lfads.soak import Load, checks
    from bci_lfads.soak import soak as run
    from bci_lfads.soak.verdict import jitter, machine

    check_output(output)
    for asked in schedule(RealtimeSettings(priority=priority)):  # for those it starts, too
        if asked.problem:
            raise BciLfadsError(f"{asked.what}: not granted: {asked.problem}")
    load = Load(seconds=seconds, n_units=units, rate=rate, hold_off=hold_off)
    with progress("seconds", seconds) as advance, until_interrupted() as stop:
        measured = run(load, stop, advance)
    found, histograms = checks(load, measured), jitter(load, measured)
    result: dict[str, Any] = {
        "well": all(c.verdict != "fail" for c in found),
        "load": asdict(load),
        "machine": machine(measured),
        "checks": [vars(c) for c in found],
        "jitter": {what: dict(rows) for what, rows in histograms.items()},
        "status": measured.status,
    }
    if output is not None:
        memory = {"resident_bytes": measured.memory.tolist()}
        output.write_text(jsonlib.dumps(result | memory, indent=1) + "\n")
    if json:
        as_json(result)
    else:
        title = f"soak: {seconds:g} s, {units} units at {rate:g} Hz"
        table(title, ("what", "verdict", "found"), [(c.what, c.verdict, c.found) for c in found])
        for what, rows in histograms.items():
            table(f"windows {what}", ("", "windows"), rows)
    raise typer.Exit(0 if result["well"] else 1)
