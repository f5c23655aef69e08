"""The command that makes a model of a recording: train."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bci_lfads.cli import network
from bci_lfads.cli.app import app
from bci_lfads.cli.epochs import check_log, show_epochs
from bci_lfads.cli.files import check_output
from bci_lfads.cli.show import as_json, facts
from bci_lfads.cli.windowing import (
    BIN_WIDTH,
    Align,
    Batch,
    Behaviour,
    Bins,
    Conditions,
    Cut,
    Hop,
    Json,
    Lag,
    Latents,
    MinRate,
    Offset,
    Output,
    Recording,
    Resume,
    Rig,
    SampleValidation,
    Sliding,
    Start,
    Threads,
    Validation,
    need_torch,
    training_window,
)
from bci_lfads.errors import RecordingError

if TYPE_CHECKING:
    from bci_lfads.fitting import Fitted


@app.command()
def train(
    context: typer.Context,
    recording_file: Recording,
    output: Output,
    rig: Rig = None,
    start: Start = None,
    align: Align = None,
    offset: Offset = 0.0,
    sliding: Sliding = False,
    hop: Hop = None,
    bins: Bins = None,
    bin_width: Annotated[
        float | None, typer.Option(help=f"Default {BIN_WIDTH}.", metavar="SECONDS")
    ] = None,
    min_rate: MinRate = 0.0,
    hold_out: Annotated[
        str,
        typer.Option(
            help="Units that the model is not to see: a share, or labels with commas.",
            metavar="UNITS",
        ),
    ] = "",
    ahead: Annotated[
        int | None, typer.Option(min=0, help="Bins to predict after each window; default none.")
    ] = None,
    factors: network.Factors = 16,
    hidden: network.Hidden = 64,
    gru: network.Gru = "reset_after",
    activation: network.Activation = "smooth",
    first_states: network.FirstStates = "learned",
    ic_size: network.IcSize = None,
    variational: network.IsVariational = False,
    variance_floor: network.VarianceFloor = 1e-4,
    kl: network.Kl = 1.0,
    kl_warm_up: network.KlWarmUp = 1000,
    l2: network.L2 = 0.0,
    inputs: network.Inputs = 0,
    controller_size: network.ControllerSize = 32,
    input_lag: network.InputLag = 1,
    input_prior: network.InputPrior = "autoregressive",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="At most; default: about 4000 steps.")
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            min=0, help="Epochs without gain after which to end; default: a third; 0: never."
        ),
    ] = None,
    batch: Batch = 64,
    learning_rate: Annotated[float, typer.Option(help="Largest.")] = 3e-3,
    weight_decay: Annotated[float, typer.Option(min=0, help="Of matrices.")] = 1e-2,
    keep: Annotated[
        float, typer.Option(help="Share of counts that the encoder sees in training.")
    ] = 0.5,
    validation: Validation = 0.2,
    sample_validation: SampleValidation = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Of split, weights, order and dropout.")] = 0,
    threads: Threads = 1,
    device: Annotated[
        str, typer.Option(help="cpu, cuda, or auto: cuda where there is one.")
    ] = "cpu",
    begin_with: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Model to go on from: its weights, sizes, bins and alignment.",
            metavar="MODEL",
        ),
    ] = None,
    resume: Resume = False,
    log: Annotated[
        Path | None,
        typer.Option(help="Of all epochs: a table (.csv), or a folder for TensorBoard."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Report to draw (.png, .pdf, .svg, .html).", metavar="FILE")
    ] = None,
    latents: Latents = "latents",
    behaviour: Behaviour = "behaviour",
    lag: Lag = 0.0,
    conditions: Conditions = None,
    json: Json = False,
) -> None:
    """Train a model on a recording, cut into windows as a run would cut the stream.

    Ctrl-C ends training early; the best model so far is written. The training's state is kept
    beside the output until it has come to its end: the same command with --resume goes on.
    """
    need_torch(threads)
    from bci_lfads.fit_picture import check_format
    from bci_lfads.fit_picture import report as draw
    from bci_lfads.fitting import fit_model
    from bci_lfads.models.history import TrainingSettings, epochs_for
    from bci_lfads.models.model import Model
    from bci_lfads.models.trainer import find_device
    from bci_lfads.preparing import prepare
    from bci_lfads.recordings import read
    from bci_lfads.scoring import Asked

    for path in (output, report):
        check_output(path)
    check_log(log)
    check_format(report)
    find_device(device)
    asked = Asked(latents, behaviour, lag, conditions)
    settings = TrainingSettings(
        batch=batch, learning_rate=learning_rate, weight_decay=weight_decay, keep=keep, seed=seed,
        kl=kl, kl_warm_up=kl_warm_up, l2=l2, first_states=first_states,
        sample_validation=sample_validation,
    )  # fmt: skip
    sizes = network.sizes(
        factors, hidden, gru, activation, ic_size, variance_floor if variational else None,
        (inputs, controller_size, input_lag, input_prior),
    )  # fmt: skip
    old = None if begin_with is None else Model.load(begin_with)
    network.check_given(context, None if old is None else old.spec)
    recording = read(recording_file)
    cut = Cut(rig, start, align, offset, sliding, hop)
    window, n_bins, width = training_window(cut, bins, bin_width, old)
    if window.settings is None:
        kinds = ", ".join(dict.fromkeys(recording.markers.labels)) or "none"
        raise RecordingError(
            "say how windows are cut: --start PATTERN, --sliding or --rig; markers in "
            f"{recording_file.name}: {kinds}"
        )
    n_ahead = ahead if ahead is not None else old.spec.n_ahead if old else 0
    data = prepare(
        recording, window.settings, n_bins, width, units=old.unit_labels if old else None,
        unit_map=window.unit_map, min_rate=min_rate, n_ahead=n_ahead,
        hold_out=chosen_units(hold_out), validation=validation, seed=seed,
    )  # fmt: skip
    for fault in data.faults:
        typer.echo(f"warning: {fault}", err=True)
    epochs = epochs or epochs_for(len(data.parts.training), batch)
    patience = max(10, epochs // 3) if patience is None else patience
    settings = replace(settings, epochs=epochs, patience=patience or None)
    with show_epochs(epochs, log, append=resume) as on_epoch:
        fitted = fit_model(
            data, sizes, settings, start=old, asked=asked, on_epoch=on_epoch,
            device=device, state=output.with_name(f"{output.name}.training"), resume=resume,
        )  # fmt: skip
    fitted.model.save(output)
    if report is not None:
        draw(fitted, report, asked)
    result = summary(fitted, output)
    if json:
        as_json(result)
    else:
        facts(f"trained on {recording_file.name}", result)


def summary(fitted: Fitted, output: Path) -> dict[str, Any]:
    """Return what came of a training, as JSON types."""
    data, history = fitted.data, fitted.history
    held_out = {"held_out": list(data.held_out)} if data.held_out else {}
    return {
        "output": str(output),
        "hash": fitted.model.hash,
        "windows": {
            "training": len(data.parts.training), "validation": len(data.parts.validation),
        },
        **held_out,
        "epochs": history.epochs[-1].epoch,
        "best_epoch": history.best_epoch.epoch,
        "ended": history.ended,
        "seconds": round(history.epochs[-1].seconds, 1),
        "validation": fitted.scores.as_dict(),
        "warnings": list(data.faults),
    }  # fmt: skip


def chosen_units(text: str) -> float | tuple[str, ...]:
    """Return a share, or labels."""
    try:
        return float(text)
    except ValueError:
        return tuple(label.strip() for label in text.split(",") if label.strip())
