"""Commands for models and offline inference."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray

from bci_lfads.cli.app import app
from bci_lfads.cli.card import Device, Xclbin, card_settings
from bci_lfads.cli.files import check_output
from bci_lfads.cli.show import as_json, facts, progress
from bci_lfads.errors import RigError

if TYPE_CHECKING:
    from bci_lfads.models.model import Model
    from bci_lfads.models.spec import Controller
    from bci_lfads.rig import Rig
    from bci_lfads.windows import WindowBatch

model_app = typer.Typer(help="Model files: import, look inside, check.", no_args_is_help=True)
app.add_typer(model_app, name="model")

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_ModelFile = Annotated[Path, typer.Argument(help="Model file (.safetensors).", metavar="MODEL")]


@model_app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A model of another program.", metavar="FILE")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model file to write.")],
    bin_width: Annotated[
        float | None, typer.Option(help="Bin width of the model in seconds.", metavar="SECONDS")
    ] = None,
    session: Annotated[
        str | None,
        typer.Option(
            help="Of a checkpoint of several: number from 0, or name of its data file.",
            metavar="NAME",
        ),
    ] = None,
    poisson: Annotated[
        bool, typer.Option("--poisson", help="Its likelihood is Poisson, whatever it looks like.")
    ] = False,
    json: _Json = False,
) -> None:
    """Import a model of lfads-torch (.ckpt), or of the published Keras file's form (.h5)."""
    from bci_lfads.models.importers import import_model

    check_output(output)
    model = import_model(file, bin_width=bin_width, session=session, poisson=poisson)
    model.save(output)
    spec = model.spec
    if json:
        as_json({"output": str(output), "hash": model.hash, **spec.model_dump(mode="json")})
        return
    typer.echo(
        f"{output}: {spec.n_bins} bins of {1e3 * model.bin_width:g} ms, {spec.n_units} units, "
        f"{spec.n_factors} factors; model {model.hash[:12]}"
    )


@model_app.command()
def export(
    model_file: _ModelFile,
    output: Annotated[Path, typer.Option("--output", "-o", help="File of torch to write (.pt).")],
    json: _Json = False,
) -> None:
    """Export a model for lfads-torch: a torch file with its state_dict and hyper-parameters."""
    from bci_lfads.models.lfads_torch_export import export_lfads_torch
    from bci_lfads.models.model import Model

    check_output(output)
    model = Model.load(model_file)
    notes = export_lfads_torch(model, output)
    if json:
        as_json({"output": str(output), "hash": model.hash, "notes": notes})
        return
    typer.echo("\n".join([f"{output}: model {model.hash[:12]} for lfads-torch", *notes]))


@model_app.command()
def info(model_file: _ModelFile, json: _Json = False) -> None:
    """Show what a model file holds."""
    from bci_lfads.models.bounds import accumulator_bounds
    from bci_lfads.models.model import Model

    model = Model.load(model_file)
    content = {
        "file": str(model_file),
        "hash": model.hash,
        **model.content(),
        "accumulator_bits": accumulator_bounds(model.spec, model.fixed) if model.fixed else None,
        "provenance": dict(model.provenance),
    }
    if json:
        as_json(content)
        return
    spec = model.spec
    facts(
        str(model_file),
        {
            "hash": model.hash,
            "window": f"{spec.n_bins} bins of {1e3 * model.bin_width:g} ms"
            + (f", {spec.n_ahead} predicted after it" if spec.n_ahead else ""),
            "units": f"{spec.n_units} ({', '.join(model.unit_labels[:4])}, …)",
            "sizes": f"encoder 2 × {spec.encoder_size}, initial condition {spec.ic_size}, "
            f"generator {spec.generator_size}, factors {spec.n_factors}",
            "form": f"{spec.gru.replace('_', '-')} GRU, {spec.activation} activations, "
            f"{spec.ic_map} initial condition"
            + (f", state clipped at ±{spec.cell_clip:g}" if spec.cell_clip else "")
            + (", variational" if spec.variational else ""),
            "controller": _controller(spec.controller),
            "trained with quantisers": "yes" if spec.quantisers else "no",
            "alignment": _alignment(model),
            "weights": "floating point only, for the torch engine"
            if model.fixed is None
            else f"{model.fixed.weight_bits} bit; accumulators need at most "
            f"{max(accumulator_bounds(spec, model.fixed).values())} bit",
            **{f"provenance: {k}": v for k, v in model.provenance.items()},
        },
    )


def _controller(controller: Controller | None) -> str:
    if controller is None:
        return "none"
    return (
        f"{controller.n_inputs} inferred inputs, {controller.size} hidden units, encoder "
        f"2 × {controller.encoder_size}, lag {controller.lag}"
    )


def _alignment(model: Model) -> str:
    alignment = model.alignment
    if alignment is None:
        return "none stored"
    return f"'{alignment.align or alignment.start}' {1e3 * alignment.offset:+g} ms"


@model_app.command()
def check(
    model_file: _ModelFile,
    counts: Annotated[
        Path | None,
        typer.Option(help="Recording or .npy of counts to compare on; default: simulated."),
    ] = None,
    json: _Json = False,
) -> None:
    """Compare a model's fixed-point form with its float form."""
    from bci_lfads.models.check import check_model
    from bci_lfads.models.model import Model

    model = Model.load(model_file)
    report = check_model(model, None if counts is None else _counts(counts, model, None).counts)
    if json:
        as_json(report.as_dict())
    else:
        facts(f"{model_file}: fixed point against float", report.as_dict())


@app.command()
def infer(
    model_file: _ModelFile,
    input_file: Annotated[
        Path,
        typer.Argument(
            help="A recording, or a .npy of uint8 (n_trials, n_bins, n_units).", metavar="INPUT"
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Where to write factors and log_rates (.npz).")
    ],
    engine: Annotated[str, typer.Option(help="native, torch or fpga.")] = "native",
    rig: Annotated[
        Path | None,
        typer.Option(
            help="Rig file, whose [window] and [input] are those of the recording, and whose "
            "[fpga] is the card's."
        ),
    ] = None,
    xclbin: Xclbin = None,
    device: Device = None,
    json: _Json = False,
) -> None:
    """Infer factors and log-rates (natural logarithm of Hz) offline; inputs, with a controller."""
    from bci_lfads.engines import open_engine
    from bci_lfads.models.model import Model
    from bci_lfads.offline import infer_all, save_latents
    from bci_lfads.parts import as_masked
    from bci_lfads.rig import load_rig

    check_output(output)
    model = Model.load(model_file)
    settings = None if rig is None else load_rig(rig)
    windows = _counts(input_file, model, settings)
    if settings is not None:
        model = as_masked(settings, model)  # as a run of it would
    card = card_settings(xclbin, device, None if settings is None else settings.fpga)
    with (
        open_engine(engine, model, **card.options_of(engine)) as opened,
        progress("inferring", len(windows.counts)) as advance,
    ):
        began = time.perf_counter()
        latents = infer_all(opened, windows.counts, on_progress=advance)
        seconds = time.perf_counter() - began
        device = opened.info.device
        inputs = None
        if model.spec.controller is not None:
            from bci_lfads.engines.torch_engine import TorchEngine

            # No other engine opens such a model.
            inputs = (
                opened.infer_inputs(windows.counts) if isinstance(opened, TorchEngine) else None
            )
    save_latents(output, latents, windows.batch, model, inputs)
    result = {
        "output": str(output),
        "windows": len(windows.counts),
        "truncated": 0 if windows.batch is None else int(windows.batch.truncated.sum()),
        "factors": list(latents.factors.shape),
        "engine": f"{engine}, {device}",
        "model_hash": model.hash,
        "microseconds_per_window": 1e6 * seconds / len(windows.counts)
        if len(latents.factors)
        else None,
    }
    if json:
        as_json(result)
    else:
        facts("inference", result)


class _Windows(NamedTuple):
    counts: NDArray[np.uint8]
    batch: WindowBatch | None


def _counts(path: Path, model: Model, rig: Rig | None) -> _Windows:
    """Read windows of counts from an array or a recording."""
    from bci_lfads.offline import cut, read_counts
    from bci_lfads.parts import check_fit
    from bci_lfads.recordings import read

    if path.suffix.lower() == ".npy":
        if rig is not None:
            raise RigError(f"{path} holds windows that are cut already; leave out --rig")
        return _Windows(read_counts(path, model), None)
    if rig is not None:
        check_fit(rig, model)
    batch = cut(read(path), model, rig.window if rig else None, rig.input.units if rig else None)
    return _Windows(batch.counts, batch)
