"""The command that fits a model to today's units: realign."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bci_lfads.cli.app import app
from bci_lfads.cli.files import check_output
from bci_lfads.cli.show import as_json, facts, progress
from bci_lfads.cli.windowing import (
    Align,
    Cut,
    Hop,
    Json,
    ModelFile,
    Offset,
    Output,
    Recording,
    Rig,
    Start,
    Threads,
    need_torch,
    window_for,
)


@app.command()
def realign(
    model_file: ModelFile,
    recording_file: Recording,
    output: Output,
    reference: Annotated[
        Path, typer.Option(help="What the model was trained on.", metavar="RECORDING")
    ],
    rig: Rig = None,
    start: Start = None,
    align: Align = None,
    offset: Offset = 0.0,
    sliding: Annotated[bool, typer.Option(help="Cut a sliding window.")] = False,
    hop: Hop = None,
    units: Annotated[
        str | None, typer.Option(help="Today's units to use, with commas; default: all.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Of the optimiser.")] = 600,
    seed: Annotated[int, typer.Option(min=0, help="Of order and dropout.")] = 0,
    threads: Threads = 1,
    json: Json = False,
) -> None:
    """Fit a model to today's units by a linear read-in, without labels, all else frozen.

    RECORDING is a short one of today, of the same task. The new model has today's units and runs
    on the same kernel; decoders of its factors stay as they are.
    """
    need_torch(threads)
    from bci_lfads.models.model import Model
    from bci_lfads.models.realign import RealignSettings
    from bci_lfads.realigning import prepare_realign, realign_model
    from bci_lfads.recordings import read

    check_output(output)
    model = Model.load(model_file)
    window = window_for(Cut(rig, start, align, offset, sliding, hop))
    data = prepare_realign(
        model, read(recording_file), read(reference), window.settings, window.unit_map,
        None if units is None else tuple(u.strip() for u in units.split(",")),
    )  # fmt: skip
    settings = RealignSettings(steps=steps, seed=seed)
    with progress("realigning", steps) as advance:
        found = realign_model(model, data, settings, on_step=lambda step: advance(step.step))
    found.model.save(output)
    known = set(model.unit_labels)
    result = {
        "output": str(output),
        "hash": found.model.hash,
        "windows": len(data.today),
        "reference_windows": len(data.reference),
        "units": len(data.unit_labels),
        "units_of_the_same_label": sum(u in known for u in data.unit_labels),
        "divergence_before": found.before,
        "divergence_after": found.after,
    }
    if json:
        as_json(result)
    else:
        facts(f"realigned {model_file.name}", result)
