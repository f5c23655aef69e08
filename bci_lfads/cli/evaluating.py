"""Commands that score models and give them fewer bits: evaluate, model quantise."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bci_lfads.cli.app import app
from bci_lfads.cli.epochs import show_epochs
from bci_lfads.cli.files import check_output
from bci_lfads.cli.models import model_app
from bci_lfads.cli.show import as_json, facts, progress, table
from bci_lfads.cli.windowing import (
    Align,
    Behaviour,
    Conditions,
    Cut,
    Hop,
    Json,
    Lag,
    Latents,
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
from bci_lfads.errors import ModelError, RigError

if TYPE_CHECKING:
    from bci_lfads.models.model import Model
    from bci_lfads.scoring import Scores


@app.command()
def evaluate(
    model_file: ModelFile,
    recording_file: Recording,
    rig: Annotated[
        Path | None,
        typer.Option(help="Rig file whose [window] and [input.units] cut the recording."),
    ] = None,
    start: Start = None,
    align: Align = None,
    offset: Offset = 0.0,
    sliding: Annotated[bool, typer.Option(help="Score a sliding window.")] = False,
    hop: Hop = None,
    fit: Annotated[
        Path | None,
        typer.Option(
            help="Recording to fit the readout of held-out units on; default: this one.",
            metavar="RECORDING",
        ),
    ] = None,
    fit_start: Annotated[
        str | None,
        typer.Option(
            help="Marker that starts the trials to fit it on; default: the model's, if others "
            "are scored.",
            metavar="PATTERN",
        ),
    ] = None,
    latents: Latents = "latents",
    behaviour: Behaviour = "behaviour",
    lag: Lag = 0.0,
    conditions: Conditions = None,
    json: Json = False,
) -> None:
    """Score a model on a recording, in floating point and in fixed point side by side."""
    from bci_lfads.evaluation import Fit, evaluate_model
    from bci_lfads.models.model import Model
    from bci_lfads.parts import check_fit
    from bci_lfads.recordings import read
    from bci_lfads.rig import load_rig
    from bci_lfads.scoring import Asked

    asked = Asked(latents, behaviour, lag, conditions)
    model = Model.load(model_file)
    if rig is not None:
        check_fit(load_rig(rig), model)
    window = window_for(Cut(rig, start, align, offset, sliding, hop))
    to_fit = None if fit_start is None else window_for(Cut(None, fit_start, align, offset)).settings
    recording = read(recording_file)
    fit_on = Fit(None if fit is None else read(fit), to_fit)
    if not _scores_others(model, window.settings, recording):
        _warn_if_seen(model, recording)
    with progress("inferring", None) as advance:
        found = evaluate_model(
            model, recording, window.settings, window.unit_map, asked, fit=fit_on,
            on_progress=advance,
        )  # fmt: skip
    if json:
        as_json(found.as_dict())
        return
    names = list(found.engines)
    rows = [
        [name, *(_cell(found.engines[engine], name) for engine in names)]
        for name in found.engines[names[0]].as_dict()
    ]
    about = {"torch": "float64", "reference": "float64", "native": "fixed point"}
    table(
        f"{model_file.name} on {found.n_windows} windows of {recording_file.name}"
        + (f" ({found.n_truncated} more may lack spikes)" if found.n_truncated else ""),
        ["", *(f"{name}, {about[name]}" for name in names)],
        rows,
    )
    if found.fitted_on:
        typer.echo(
            f"co-smoothing: {len(found.held_out)} held-out units, by a Poisson regression from the "
            f"factors, fitted on {found.fitted_on}"
        )


@model_app.command()
def quantise(
    model_file: ModelFile,
    output: Output,
    bits: Annotated[int, typer.Option(min=4, max=16, help="Width of the weights.")] = 16,
    product_bits: Annotated[
        int, typer.Option(help="Of recurrent products: 16, or 8 with weights of 8 or less.")
    ] = 16,
    recording_file: Annotated[
        Path | None,
        typer.Option(
            "--recording", help="Where ranges come from, and what is trained on.", metavar="FILE"
        ),
    ] = None,
    rig: Rig = None,
    epochs: Annotated[
        int, typer.Option(min=0, help="Train further with rounding; 0: round only.")
    ] = 0,
    learning_rate: Annotated[float | None, typer.Option(help="Largest.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of split, order and dropout.")] = 0,
    threads: Threads = 1,
    json: Json = False,
) -> None:
    """Give a model's weights another width: by rounding, or by training further with rounding."""
    from bci_lfads.models.model import Model
    from bci_lfads.offline import cut
    from bci_lfads.recordings import read
    from bci_lfads.rounding import quantise_model

    check_output(output)
    if epochs and recording_file is None:
        raise ModelError("training with rounding needs windows to train on: give --recording")
    model = Model.load(model_file)
    batch = None
    if recording_file is not None:
        window = window_for(Cut(rig))
        batch = cut(
            read(recording_file), model, window.settings, window.unit_map,
            n_ahead=model.spec.n_ahead,
        )  # fmt: skip
    elif rig is not None:
        raise RigError("--rig says how a recording is cut; give --recording too")
    settings = None
    if epochs:
        need_torch(threads)
        from bci_lfads.models.qat import GENTLE

        settings = replace(
            GENTLE, epochs=epochs, seed=seed, learning_rate=learning_rate or GENTLE.learning_rate
        )
    with show_epochs(epochs) as on_epoch:
        quantised, history = quantise_model(
            model, bits, batch, settings, product_bits=product_bits, on_epoch=on_epoch
        )
    quantised.save(output)
    result: dict[str, Any] = {
        "output": str(output),
        "hash": quantised.hash,
        "bits": bits,
        "quantised": quantised.provenance["quantised"],
    }
    if history is not None:
        result["validation_bits_per_spike"] = {
            "before": history.epochs[0].bits_per_spike,
            "after": history.best_epoch.bits_per_spike,
        }
    if json:
        as_json(result)
    else:
        facts(f"{model_file.name}, {bits} bits", result)


def _scores_others(model: Model, window: Any, recording: Any) -> bool:
    """Return whether no trial that is scored starts with a marker of the model's own trials."""
    own = model.alignment
    start = getattr(window, "start", None)
    if own is None or start is None:
        return False
    return not any(
        fnmatchcase(label, own.start) and fnmatchcase(label, start)
        for label in set(recording.markers.labels)
    )


def _warn_if_seen(model: Model, recording: Any) -> None:
    from bci_lfads.preparing import digest

    if model.provenance.get("data_sha256") == digest(recording):
        typer.echo(
            "warning: the model was trained on this recording; its scores here say little of "
            "others, those of its validation windows are in 'model info'",
            err=True,
        )


def _cell(scores: Scores, name: str) -> str:
    value = scores.as_dict().get(name)
    if isinstance(value, dict):
        return ", ".join(f"{k} {v:.4f}" for k, v in value.items())
    return "none" if value is None else f"{value:.4f}"
