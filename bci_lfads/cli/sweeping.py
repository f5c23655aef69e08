"""The command that tries many hyper-parameters: sweep."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from bci_lfads.cli import network
from bci_lfads.cli.app import app
from bci_lfads.cli.files import check_output
from bci_lfads.cli.show import as_json, facts, progress, table
from bci_lfads.cli.training import chosen_units, summary
from bci_lfads.cli.windowing import (
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
    Validation,
    need_torch,
    training_window,
)
from bci_lfads.errors import ModelError, RecordingError


class Kind(str, Enum):
    """How a sweep searches."""

    random = "random"
    pbt = "pbt"


@app.command()
def sweep(
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
    bin_width: Annotated[float | None, typer.Option(metavar="SECONDS")] = None,
    min_rate: MinRate = 0.0,
    hold_out: Annotated[
        str, typer.Option(help="Units that the model is not to see: a share, or labels.")
    ] = "",
    ahead: Annotated[int, typer.Option(min=0, help="Bins to predict after each window.")] = 0,
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
    kind: Annotated[
        Kind,
        typer.Option(
            help="random: each training has hyper-parameters of its own; pbt: a population whose "
            "losers go on from winners."
        ),
    ] = Kind.random,
    members: Annotated[int, typer.Option(min=2, help="Trainings.")] = 20,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Of each at most; default: about 4000 steps.")
    ] = None,
    generation: Annotated[int, typer.Option(min=1, help="Epochs between two comparisons.")] = 25,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            help="Bounds of a hyper-parameter: learning_rate, weight_decay, keep, kl or l2; "
            "repeatable.",
            metavar="NAME=LOW:HIGH",
        ),
    ] = None,
    batch: Batch = 64,
    validation: Validation = 0.2,
    sample_validation: SampleValidation = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Of split, draws, weights and order.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "cpu",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Trainings at a time; default: all processors.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Of a Ray cluster; default: this machine alone.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Where the sweep is kept; default: OUTPUT.sweep.")
    ] = None,
    resume: Resume = False,
    latents: Latents = "latents",
    behaviour: Behaviour = "behaviour",
    lag: Lag = 0.0,
    conditions: Conditions = None,
    json: Json = False,
) -> None:
    """Train many times with other hyper-parameters on Ray Tune; the best becomes a model file."""
    need_torch(1)
    from bci_lfads.fitting import check_samples, finish, spec_of
    from bci_lfads.models.history import TrainingSettings, epochs_for
    from bci_lfads.preparing import prepare
    from bci_lfads.recordings import read
    from bci_lfads.scoring import Asked
    from bci_lfads.sweep.job import Job
    from bci_lfads.sweep.population import space_of
    from bci_lfads.sweep.tuning import sweep as run

    check_output(output)
    network.check_given(context)
    space = space_of(dict(_bounds(text) for text in vary or ()), variational=variational)
    sizes = network.sizes(
        factors, hidden, gru, activation, ic_size, variance_floor if variational else None,
        (inputs, controller_size, input_lag, input_prior),
    )  # fmt: skip
    asked = Asked(latents, behaviour, lag, conditions)
    cut = Cut(rig, start, align, offset, sliding, hop)
    window, n_bins, width = training_window(cut, bins, bin_width, None)
    if window.settings is None:
        raise RecordingError("say how windows are cut: --start PATTERN, --sliding or --rig")
    data = prepare(
        read(recording_file), window.settings, n_bins, width, unit_map=window.unit_map,
        min_rate=min_rate, n_ahead=ahead, hold_out=chosen_units(hold_out), validation=validation,
        seed=seed,
    )  # fmt: skip
    for fault in data.faults:
        typer.echo(f"warning: {fault}", err=True)
    epochs = epochs or epochs_for(len(data.parts.training), batch)
    settings = TrainingSettings(
        epochs=epochs, batch=batch, patience=max(10, epochs // 3), seed=seed, kl=kl,
        kl_warm_up=kl_warm_up, l2=l2, first_states=first_states,
        sample_validation=sample_validation,
    )  # fmt: skip
    check_samples(data, settings)
    spec = spec_of(data, sizes)
    job = Job(
        spec, data.training, data.validation, width, settings, kind.value, members,
        min(generation, epochs), space, device,
    )  # fmt: skip
    with progress("generations of all", members * job.n_reports) as advance:
        won = run(
            job, folder or output.with_name(f"{output.name}.sweep"), address=address,
            workers=workers, resume=resume, on_progress=advance,
        )  # fmt: skip
    provenance = {"sweep": f"{kind.value}, {members} members, {epochs} epochs each at most"}
    fitted = finish(data, spec, won.trained, won.settings, asked, provenance)
    fitted.model.save(output)
    result = summary(fitted, output) | {"members": list(won.members)}
    if json:
        as_json(result)
        return
    names = list(won.members[0])
    table(
        "members, best first; judged: nats a count, by which they are",
        names,
        [[f"{member[name]:.5g}" for name in names] for member in won.members],
    )
    facts(f"won the sweep on {recording_file.name}", {k: result[k] for k in list(result)[:-1]})


def _bounds(text: str) -> tuple[str, tuple[float, float]]:
    name, _, bounds = text.partition("=")
    low, _, high = bounds.partition(":")
    try:
        return name.strip(), (float(low), float(high))
    except ValueError:
        raise ModelError(f"'{text}' says no bounds; expected NAME=LOW:HIGH") from None
