"""Commands for the card: info, load, selftest, bench."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from bci_lfads.cli.app import app
from bci_lfads.cli.card import Device, Launch, Wait, Xclbin, checked
from bci_lfads.cli.show import as_json, facts, progress, table

if TYPE_CHECKING:
    from bci_lfads.engines.fpga import Card
    from bci_lfads.models.model import Model

fpga_app = typer.Typer(
    help="The FPGA card: what it is, load a model, test it, measure it.", no_args_is_help=True
)
app.add_typer(fpga_app, name="fpga")

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_ModelFile = Annotated[
    Path | None,
    typer.Argument(help="Model file (.safetensors); default: the demo's.", metavar="[MODEL]"),
]


@fpga_app.command()
def info(xclbin: Xclbin = None, device: Device = None, json: _Json = False) -> None:
    """Show the card, the xclbin, and what its kernel was compiled for."""
    from bci_lfads.engines.fpga import Card

    with Card(xclbin, device or 0) as card:
        content = _card_facts(card)
    if json:
        as_json(content)
    else:
        facts("card", content)


@fpga_app.command()
def load(
    model_file: _ModelFile = None, xclbin: Xclbin = None, device: Device = None,
    json: _Json = False,
) -> None:  # fmt: skip
    """Load the xclbin and a model, and say how long each took."""
    from bci_lfads.engines.fpga import FpgaEngine

    model = _model(model_file)
    began = time.perf_counter()
    with FpgaEngine(model, xclbin=xclbin, device=device or 0) as engine:
        opened = time.perf_counter()
        engine.load(model)
        loaded = time.perf_counter()
        content = _card_facts(engine.card) | {
            "model": model.hash,
            "seconds_to_open": round(opened - began, 4),
            "milliseconds_to_load_a_model": round(1e3 * (loaded - opened), 3),
        }
    if json:
        as_json(content)
    else:
        facts("loaded", content)


@fpga_app.command()
def selftest(
    xclbin: Xclbin = None, device: Device = None, wait: Wait = "spin",
    launch: Launch = "per-trial", json: _Json = False,
) -> None:  # fmt: skip
    """Run the stored vectors on the card and compare to the bit; exit code 1 if any differs."""
    from bci_lfads.engines.fpga import Card
    from bci_lfads.engines.fpga.selftest import selftest as run

    with (
        Card(xclbin, device or 0, wait=checked(wait, "--wait", "spin", "block")) as card,
        progress("cases", None) as advance,
    ):
        verdicts = []
        for verdict in run(card, launch=checked(launch, "--launch", "per-trial", "persistent")):
            verdicts.append(verdict)
            advance(len(verdicts))
        name = f"{card.name} {card.bdf}"
    passed = all(v.passed for v in verdicts)
    if json:
        cases = [vars(v) for v in verdicts]
        as_json({"card": name, "launch": launch, "passed": passed, "cases": cases})
    else:
        table(
            f"self-test of {name}, {launch}: {'passed' if passed else 'FAILED'}",
            ("case", "results", "right on the card", "right on this CPU"),
            [(v.name, 2 * v.windows, v.card_right, v.native_right) for v in verdicts],
        )
    raise typer.Exit(int(not passed))


@fpga_app.command()
def bench(
    model_file: _ModelFile = None, xclbin: Xclbin = None, device: Device = None,
    wait: Wait = "spin", launch: Launch = "per-trial",
    windows: Annotated[int, typer.Option(min=10, help="How many to time.")] = 2000,
    json: _Json = False,
) -> None:  # fmt: skip
    """Measure where the time of a window goes, beside the native engine."""
    from bci_lfads.engines.fpga import FpgaEngine
    from bci_lfads.engines.fpga.bench import measure

    model = _model(model_file)
    spec = model.spec
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.15, (windows, spec.n_bins, spec.n_units)).astype(np.uint8)
    with (
        FpgaEngine(
            model,
            xclbin=xclbin,
            device=device or 0,
            wait=checked(wait, "--wait", "spin", "block"),
            launch=checked(launch, "--launch", "per-trial", "persistent"),
            hop=1,
        ) as engine,
        progress("windows", windows) as advance,
    ):
        rows = measure(engine, model, counts, on_window=advance)
        cycles, launch = engine.loaded.cycles, engine.launch
        content = _card_facts(engine.card)
    emulated = os.environ.get("XCL_EMULATION_MODE")
    if json:
        as_json(
            content
            | {
                "model": model.hash, "wait": wait, "launch": launch, "windows": windows,
                "emulated": emulated, "kernel_cycles": cycles or None,
                "microseconds": [vars(row) for row in rows],
            }
        )  # fmt: skip
        return
    shape = f"{spec.n_bins} bins × {spec.n_units} units"
    title = f"{content['card']}: {shape}, {launch}, {wait}; microseconds"
    if emulated:
        title += f" (EMULATED, {emulated}: says nothing about a card)"
    table(
        title,
        ("step", "median", "p99"),
        [(r.what, f"{r.median:.1f}", f"{r.p99:.1f}") for r in rows],
    )
    clock = f"{cycles} cycles by its own clock" if cycles else "its build has no clock of its own"
    typer.echo(f"kernel: {clock}, for the last window")


def _card_facts(card: Card) -> dict[str, Any]:
    kernel = card.facts
    return {
        "card": card.name,
        "bdf": card.bdf,
        "xclbin": str(card.path),
        "uuid": card.uuid,
        "kernel_protocol": kernel.protocol,
        "image_version": kernel.image_version,
        "maxima": kernel.maxima(),
        "reuse": kernel.reuse,
        "counts_its_cycles": kernel.has_clock,
        "persistent": f"no: {card.serves_not}" if card.serves_not else "yes",
    }


def _model(path: Path | None) -> Model:
    from bci_lfads.demo import bundled
    from bci_lfads.models.model import Model

    return Model.load(path or bundled("demo_model.safetensors"))
