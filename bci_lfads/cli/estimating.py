"""`fpga estimate`: cycles and area of a build of the kernel for a model, without a card."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bci_lfads.cli.fpga import fpga_app
from bci_lfads.cli.show import as_json, table
from bci_lfads.errors import ModelError

if TYPE_CHECKING:
    from bci_lfads.fpga_model import Build, Part, Stage, Trial

_NOTE = "estimated; steps by RTL simulation; not run on hardware"


@fpga_app.command()
def estimate(
    model_file: Annotated[Path, typer.Argument(help="Model file (.safetensors).", metavar="MODEL")],
    define: Annotated[
        list[str] | None,
        typer.Option(help="Of the kernel's build, like LFADS_REUSE=16; may be repeated."),
    ] = None,
    clock: Annotated[
        float, typer.Option(min=1, help="Assumed clock of the kernel, MHz.")
    ] = 300.0,
    active: Annotated[
        int | None,
        typer.Option(min=0, help="Units that fire in every bin; default: a seventh of them."),
    ] = None,
    extra_registers: Annotated[
        int, typer.Option(min=0, help="More registers for each multiplication of a step.")
    ] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:  # fmt: skip
    """Estimate cycles and area of the kernel for a model, stage by stage, with the reasons."""
    from bci_lfads.fpga_model import Build, Form, area, step_stages, trial
    from bci_lfads.models.model import Model

    model = Model.load(model_file)
    if model.fixed is None:
        raise ModelError(f"{model_file} has a controller, which the kernel does not compute")
    build = Build.of_kernel(dict(_define(text) for text in define or []))
    form = Form.of(model.spec, model.fixed, "generator")
    cycles = trial(build, model.spec, model.fixed, active=active, extra_registers=extra_registers)
    stages, parts = step_stages(build, form), area(build)
    if json:
        as_json(
            {
                "basis": _NOTE, "build": asdict(build), "megahertz_assumed": clock,
                "microseconds_to_last_factor": cycles.microseconds(clock),
                "trial": asdict(cycles), "generator_step": [asdict(s) for s in stages],
                "area": _with_total(parts),
            }
        )  # fmt: skip
        return
    _show_step(build, stages)
    _show_trial(cycles, clock)
    _show_area(parts)


def _define(text: str) -> tuple[str, int]:
    name, _, value = text.partition("=")
    if not value.isascii() or not value.isdigit():
        raise typer.BadParameter(f"NAME=NUMBER, got {text!r}", param_hint="--define")
    return name, int(value)


def _show_step(build: Build, stages: list[Stage]) -> None:
    title = f"a generator's step at reuse {build.reuse} ({build.lanes} multipliers a row)"
    rows = [(s.name, s.cycles, s.why) for s in stages]
    rows.append(("", sum(s.cycles for s in stages), "RTL simulation (fpga/witness)"))
    table(title, ("stage", "cycles", "because"), rows)


def _show_trial(cycles: Trial, clock: float) -> None:
    rows: list[tuple[Any, ...]] = [
        (p.name, p.passes, p.cycles, f"{p.cycles / clock:.2f}", p.basis) for p in cycles.phases
    ]
    rows.append(("to the last factor", "", cycles.factors, f"{cycles.factors / clock:.2f}", ""))
    last = cycles.log_rates
    rows.append(("to the last log-rate", "", last, f"{last / clock:.2f}", ""))
    table(
        f"a trial, from the first count in, at {clock:g} MHz (assumed): {_NOTE}",
        ("phase", "passes", "cycles", "µs", "basis"),
        rows,
    )
    typer.echo(
        f"Up to {cycles.most_active} units may fire in every bin before the recurrence waits. "
        "Memory's own latency, the start of the kernel and the host are not in it."
    )


def _with_total(parts: list[Part]) -> dict[str, Any]:
    from bci_lfads.fpga_model.area import total
    from bci_lfads.fpga_model.card import U55C

    return {
        "parts": [asdict(p) for p in parts], "total": asdict(total(parts)), "u55c": asdict(U55C)
    }  # fmt: skip


def _show_area(parts: list[Part]) -> None:
    from bci_lfads.fpga_model.area import total
    from bci_lfads.fpga_model.card import U55C

    keys = ("dsp", "bram", "uram", "lut")
    rows: list[tuple[Any, ...]] = [
        (p.name, *(f"{getattr(p.uses, k):,}" for k in keys), p.why) for p in parts
    ]
    everything = total(parts)
    rows.append(("all, both weight banks", *(f"{getattr(everything, k):,}" for k in keys), ""))
    shares = (f"{100 * getattr(everything, k) / getattr(U55C, k):.0f} %" for k in keys)
    rows.append(("of a U55C", *shares, "fits" if everything.fits(U55C) else "DOES NOT FIT"))
    table("area (estimated)", ("part", "DSP", "BRAM", "URAM", "LUT", "because"), rows)
