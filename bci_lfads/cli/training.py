"""Commands that make models from recordings and score them: train, evaluate, model quantise."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from bci_lfads.cli.app import app
from bci_lfads.cli.files import check_output
from bci_lfads.cli.models import model_app
from bci_lfads.cli.show import as_json, facts, progress, table
from bci_lfads.errors import BciLfadsError, ModelError, RecordingError, RigError

if TYPE_CHECKING:
    from bci_lfads.evaluation import Scores
    from bci_lfads.models.model import Model
    from bci_lfads.models.training import Epoch
    from bci_lfads.rig import SlidingSettings, TrialSettings

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_ModelFile = Annotated[Path, typer.Argument(help="Model file (.safetensors).", metavar="MODEL")]
_Recording = Annotated[Path, typer.Argument(help="A recording.", metavar="RECORDING")]
_Output = Annotated[Path, typer.Option("--output", "-o", help="Model file to write.")]
_Rig = Annotated[Path | None, typer.Option(help="Rig file whose [window] cuts the recording.")]
_Latents = Annotated[str, typer.Option(help="Series of known latents.", metavar="NAME")]
_Behaviour = Annotated[str, typer.Option(help="Series of behaviour.", metavar="NAME")]
_Lag = Annotated[
    float, typer.Option(help="Seconds by which behaviour follows activity.", metavar="SECONDS")
]
_Conditions = Annotated[
    str | None,
    typer.Option(
        help="Pattern of markers that name conditions; default condition/*, else the trials' own.",
        metavar="PATTERN",
    ),
]
_Threads = Annotated[int, typer.Option(min=1, help="Of torch; sums depend on their number.")]
BIN_WIDTH = 0.01


@app.command()
def train(
    recording_file: _Recording,
    output: _Output,
    rig: _Rig = None,
    start: Annotated[
        str | None, typer.Option(help="Marker that starts a trial.", metavar="PATTERN")
    ] = None,
    align: Annotated[
        str | None, typer.Option(help="Marker at time zero; default: start.", metavar="PATTERN")
    ] = None,
    offset: Annotated[
        float, typer.Option(help="From time zero to the window's begin.", metavar="SECONDS")
    ] = 0.0,
    sliding: Annotated[bool, typer.Option(help="Train on a sliding window.")] = False,
    hop: Annotated[
        int | None, typer.Option(min=1, help="Bins between two windows; default: a fifth of one.")
    ] = None,
    bins: Annotated[int | None, typer.Option(min=1, help="Bins in a window.")] = None,
    bin_width: Annotated[
        float | None, typer.Option(help=f"Default {BIN_WIDTH}.", metavar="SECONDS")
    ] = None,
    min_rate: Annotated[
        float, typer.Option(min=0, help="Leave out units below this rate.", metavar="HZ")
    ] = 0.0,
    factors: Annotated[int, typer.Option(min=1, help="Number of factors.")] = 8,
    hidden: Annotated[
        int, typer.Option(min=1, help="Units of each encoder direction and of the generator.")
    ] = 64,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="At most; default: about 4000 steps.")
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            min=0, help="Epochs without gain after which to end; default: a third; 0: never."
        ),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Windows a step.")] = 64,
    learning_rate: Annotated[float, typer.Option(help="Largest.")] = 3e-3,
    weight_decay: Annotated[float, typer.Option(min=0, help="Of matrices.")] = 1e-2,
    keep: Annotated[
        float, typer.Option(help="Share of counts that the encoder sees in training.")
    ] = 0.7,
    validation: Annotated[float, typer.Option(help="Share of windows to validate on.")] = 0.2,
    seed: Annotated[int, typer.Option(min=0, help="Of split, weights, order and dropout.")] = 0,
    threads: _Threads = 1,
    resume: Annotated[
        Path | None, typer.Option(help="Model to go on from: its sizes, bins and alignment.")
    ] = None,
    log: Annotated[
        Path | None, typer.Option(help="Table of all epochs (.csv).", metavar="FILE")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Report to draw (.png, .pdf, .svg, .html).", metavar="FILE")
    ] = None,
    latents: _Latents = "latents",
    behaviour: _Behaviour = "behaviour",
    lag: _Lag = 0.0,
    conditions: _Conditions = None,
    json: _Json = False,
) -> None:
    """Train a model on a recording, cut into windows as a run would cut the stream.

    Ctrl-C ends training early; the best model so far is written.
    """
    _torch(threads)
    from bci_lfads.evaluation import Asked
    from bci_lfads.fit_picture import check_format
    from bci_lfads.fit_picture import report as draw
    from bci_lfads.fitting import Sizes, fit_model, prepare
    from bci_lfads.models.model import Model
    from bci_lfads.models.training import TrainingSettings, epochs_for
    from bci_lfads.recordings import read

    for path in (output, log, report):
        check_output(path)
    check_format(report)
    asked = Asked(latents, behaviour, lag, conditions)
    settings = TrainingSettings(
        batch=batch, learning_rate=learning_rate, weight_decay=weight_decay, keep=keep, seed=seed
    )
    old = None if resume is None else Model.load(resume)
    recording = read(recording_file)
    cut = _cut(_Cut(rig, start, align, offset, sliding, hop, bins, bin_width), old)
    if cut.window is None:
        kinds = ", ".join(dict.fromkeys(recording.markers.labels)) or "none"
        raise RecordingError(
            "say how windows are cut: --start PATTERN, --sliding or --rig; markers in "
            f"{recording_file.name}: {kinds}"
        )
    data = prepare(
        recording, cut.window, cut.bins, cut.bin_width, units=old.unit_labels if old else None,
        min_rate=min_rate, validation=validation, seed=seed,
    )  # fmt: skip
    for fault in data.faults:
        typer.echo(f"warning: {fault}", err=True)
    epochs = epochs or epochs_for(len(data.parts.training), batch)
    patience = max(10, epochs // 3) if patience is None else patience
    settings = replace(settings, epochs=epochs, patience=patience or None)
    with _epochs(epochs, log) as on_epoch:
        fitted = fit_model(
            data, Sizes(factors, hidden), settings, resume=old, asked=asked, on_epoch=on_epoch
        )
    fitted.model.save(output)
    if report is not None:
        draw(fitted, report, asked)
    best = fitted.history.best_epoch
    result: dict[str, Any] = {
        "output": str(output),
        "hash": fitted.model.hash,
        "windows": {
            "training": len(data.parts.training), "validation": len(data.parts.validation),
        },
        "epochs": fitted.history.epochs[-1].epoch,
        "best_epoch": best.epoch,
        "ended": fitted.history.ended,
        "seconds": round(fitted.history.epochs[-1].seconds, 1),
        "validation": fitted.scores.as_dict(),
        "warnings": list(data.faults),
    }  # fmt: skip
    if json:
        as_json(result)
    else:
        facts(f"trained on {recording_file.name}", result)


@app.command()
def evaluate(
    model_file: _ModelFile,
    recording_file: _Recording,
    rig: Annotated[
        Path | None,
        typer.Option(help="Rig file whose [window] and [input.units] cut the recording."),
    ] = None,
    latents: _Latents = "latents",
    behaviour: _Behaviour = "behaviour",
    lag: _Lag = 0.0,
    conditions: _Conditions = None,
    json: _Json = False,
) -> None:
    """Score a model on a recording, in floating point and in fixed point side by side."""
    from bci_lfads.evaluation import Asked, evaluate_model
    from bci_lfads.models.model import Model
    from bci_lfads.pipeline import check_fit
    from bci_lfads.recordings import read
    from bci_lfads.rig import load_rig

    asked = Asked(latents, behaviour, lag, conditions)
    model = Model.load(model_file)
    loaded = None if rig is None else load_rig(rig)
    if loaded is not None:
        check_fit(loaded, model)
    recording = read(recording_file)
    _warn_if_seen(model, recording)
    with progress("inferring", None) as advance:
        found = evaluate_model(
            model, recording, loaded.window if loaded else None,
            loaded.input.units if loaded else None, asked, on_progress=advance,
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


@model_app.command()
def quantise(
    model_file: _ModelFile,
    output: _Output,
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
    rig: _Rig = None,
    epochs: Annotated[
        int, typer.Option(min=0, help="Train further with rounding; 0: round only.")
    ] = 0,
    learning_rate: Annotated[float | None, typer.Option(help="Largest.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of split, order and dropout.")] = 0,
    threads: _Threads = 1,
    json: _Json = False,
) -> None:
    """Give a model's weights another width: by rounding, or by training further with rounding."""
    from bci_lfads.fitting import quantise_model
    from bci_lfads.models.model import Model
    from bci_lfads.offline import cut
    from bci_lfads.recordings import read
    from bci_lfads.rig import load_rig

    check_output(output)
    if epochs and recording_file is None:
        raise ModelError("training with rounding needs windows to train on: give --recording")
    model = Model.load(model_file)
    batch = None
    if recording_file is not None:
        loaded = None if rig is None else load_rig(rig)
        batch = cut(
            read(recording_file), model, loaded.window if loaded else None,
            loaded.input.units if loaded else None,
        )  # fmt: skip
    elif rig is not None:
        raise RigError("--rig says how a recording is cut; give --recording too")
    settings = None
    if epochs:
        _torch(threads)
        from bci_lfads.models.qat import GENTLE

        settings = replace(
            GENTLE, epochs=epochs, seed=seed, learning_rate=learning_rate or GENTLE.learning_rate
        )
    with _epochs(epochs, None) as on_epoch:
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


class _Cut(NamedTuple):
    rig: Path | None
    start: str | None
    align: str | None
    offset: float
    sliding: bool
    hop: int | None
    bins: int | None
    bin_width: float | None


class _Window(NamedTuple):
    window: TrialSettings | SlidingSettings | None
    bins: int
    bin_width: float


def _cut(asked: _Cut, old: Model | None) -> _Window:
    """Return how to cut windows, from options, the rig or the model to go on from."""
    from bci_lfads.rig import SlidingSettings, TrialSettings, load_rig

    ways = [
        name
        for name, given in (
            ("--rig", asked.rig), ("--start", asked.start), ("--sliding", asked.sliding),
        )
        if given
    ]  # fmt: skip
    if len(ways) > 1:
        raise RigError(f"{' and '.join(ways)} each say how windows are cut; give one of them")
    bins, width = asked.bins, asked.bin_width
    if old is not None:
        if bins is not None or width is not None:
            raise RigError("--bins and --bin-width are those of the model to go on from")
        bins, width = old.spec.n_bins, old.bin_width
    if bins is None:
        raise RigError("say how long windows are: --bins N, and --bin-width SECONDS")
    window: TrialSettings | SlidingSettings | None = None
    if asked.rig is not None:
        window = load_rig(asked.rig).window
    elif asked.sliding:
        window = SlidingSettings(mode="sliding")
    elif asked.start is not None:
        window = TrialSettings(
            mode="trials", start=asked.start, align=asked.align, offset=asked.offset
        )
    elif old is not None and old.alignment is not None:
        window = TrialSettings(mode="trials", **old.alignment.model_dump())
    if isinstance(window, SlidingSettings):
        # A run's own hop is no measure: windows that share nearly all bins teach little more.
        window = SlidingSettings(mode="sliding", hop=asked.hop or max(1, bins // 5))
    return _Window(window, bins, BIN_WIDTH if width is None else width)


@contextmanager
def _epochs(n: int, log: Path | None) -> Iterator[Callable[[Epoch], None]]:
    """Show and write down epochs as they are done."""
    file = None if log is None else log.open("w", newline="")
    try:
        with progress("training", n) as advance:
            writer = None if file is None else csv.writer(file)

            def tell(epoch: Epoch) -> None:
                advance(epoch.epoch)
                if writer is not None and file is not None:
                    if file.tell() == 0:
                        writer.writerow(epoch._fields)
                    writer.writerow(epoch)
                    file.flush()

            yield tell
    finally:
        if file is not None:
            file.close()


def _torch(threads: int) -> None:
    try:
        import torch
    except (ImportError, OSError) as error:
        raise BciLfadsError(
            f"training needs torch, which cannot be imported ({error}); install it with "
            "pip install 'bci-lfads[train]'"
        ) from error
    torch.set_num_threads(threads)


def _warn_if_seen(model: Model, recording: Any) -> None:
    from bci_lfads.fitting import digest

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
