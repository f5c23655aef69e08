"""Commands for recorded sessions: verify, export-nwb."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bci_lfads.cli.app import app
from bci_lfads.cli.files import check_output
from bci_lfads.cli.show import as_json, facts, in_words, progress, table
from bci_lfads.errors import BciLfadsError

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def verify(
    session: Annotated[Path, typer.Argument(help="Recorded session (.xdf).", metavar="SESSION")],
    model_file: Annotated[
        Path | None, typer.Option("--model", help="Model file that ran.", metavar="MODEL")
    ] = None,
    rig_file: Annotated[
        Path | None, typer.Option("--rig", help="Rig file, for its model.", metavar="RIG")
    ] = None,
    json: _Json = False,
) -> None:
    """Prove that a recorded session's factors are those of its spikes, to the bit."""
    from bci_lfads.models.model import Model
    from bci_lfads.rig import load_rig
    from bci_lfads.verification import load_runs
    from bci_lfads.verification import verify as verify_run
    from bci_lfads.verification.report import in_order

    runs = load_runs(session)
    if model_file is None and rig_file is not None:
        model_file = load_rig(rig_file).model
    if model_file is None:
        beside = session.parent / runs[0].about.rig.model.name
        if not beside.is_file():
            raise BciLfadsError(
                f"{session} was made with the model '{beside.name}'; give it with --model, or the "
                f"rig file with --rig"
            )
        model_file = beside
    model = Model.load(model_file)
    results = []
    for run in runs:
        with progress("windows", None) as advance:
            results.append(verify_run(run, model, on_window=advance))
    if json:
        as_json({"proven": all(r.proven for r in results), "runs": [r.as_dict() for r in results]})
    else:
        for result in results:
            rows = [(name, in_words(value)) for name, value in in_order(result)]
            table(f"rig '{result.rig}' in {session.name}", ("", ""), rows)
    raise typer.Exit(int(not all(r.proven for r in results)))


@app.command("export-nwb")
def export_nwb(
    session: Annotated[Path, typer.Argument(help="Recorded session (.xdf).", metavar="SESSION")],
    output: Annotated[Path, typer.Argument(help="File to write (.nwb).", metavar="OUT")],
    run_number: Annotated[
        int, typer.Option("--run", min=1, help="Which of the runs in the file, from 1.")
    ] = 1,
    subject: Annotated[str, typer.Option(help="Id of the subject, as archives ask for.")] = "",
    species: Annotated[str, typer.Option(help="Latin name.")] = "Macaca mulatta",
    sex: Annotated[str, typer.Option(help="M, F, U or O.")] = "U",
    age: Annotated[str, typer.Option(help="ISO 8601, like P8Y, or a range.")] = "P4Y/P20Y",
    description: Annotated[str, typer.Option(help="Of the session.")] = "",
    experimenter: Annotated[str, typer.Option(help="Last name, first name.")] = "",
    institution: Annotated[str, typer.Option(help="Where.")] = "",
    resolution: Annotated[
        float | None,
        typer.Option(help="Of spike times, seconds; default: that of LSL's stamps."),
    ] = None,
    start: Annotated[
        str, typer.Option(help="When it began (ISO 8601); default: as recorded.")
    ] = "",
    json: _Json = False,
) -> None:
    """Write a recorded session as NWB: spikes, trials, markers, factors, provenance."""
    from bci_lfads.recordings.nwb_export import Subject, utc
    from bci_lfads.recordings.nwb_export import export_nwb as export
    from bci_lfads.verification import load_runs

    check_output(output)
    runs = load_runs(session)
    if run_number > len(runs):
        raise BciLfadsError(f"{session} holds {len(runs)} runs; there is no number {run_number}")
    written = export(
        session, runs[run_number - 1], output,
        subject=Subject(subject, species, sex, age) if subject else None,
        description=description, experimenter=experimenter, institution=institution,
        start=utc(start) if start else None, resolution=resolution,
    )  # fmt: skip
    if json:
        as_json({"output": str(output), **written})
    else:
        facts(str(output), written)
