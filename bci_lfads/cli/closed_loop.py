"""Commands of the virtual rig: closed-loop calibrate, run, curve."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bci_lfads.cli.app import app
from bci_lfads.cli.files import check_output
from bci_lfads.cli.interrupt import until_interrupted
from bci_lfads.cli.show import as_json, facts, progress, table
from bci_lfads.errors import RecordingError

if TYPE_CHECKING:
    from bci_lfads.closed_loop.feedback import Feedback
    from bci_lfads.closed_loop.scores import Score
    from bci_lfads.rig import Rig

closed_loop_app = typer.Typer(
    no_args_is_help=True,
    help="A virtual rig: a simulated subject reaches with a cursor that is decoded from it.",
)
app.add_typer(closed_loop_app, name="closed-loop")

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Seed = Annotated[int, typer.Option(min=0, help="Of targets and spikes.")]
_RigFile = Annotated[
    Path | None, typer.Option("--rig", help="Rig file (.toml); default: the bundled one.")
]
_DecoderFile = Annotated[
    Path | None, typer.Option("--decoder", help="Fitted to factors; default: the bundled one.")
]
_Counts = Annotated[
    Path | None, typer.Option("--counts", help="Fitted to spike counts; default: the bundled one.")
]
_Rotate = Annotated[float, typer.Option(help="Degrees by which the cursor is turned.")]
_Lose = Annotated[float, typer.Option(help="Share of units that fall silent.")]
_Drift = Annotated[float, typer.Option(help="Degrees (SD) by which preferred directions turn.")]
_PATH_DELAY = 0.0075
"""Seconds that the path over LSL is taken to need on the virtual clock: the hold-off of 5 ms and
what docs/latency.md measures behind it; in steps of 10 ms it is one."""


@closed_loop_app.command()
def calibrate(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Recording to write (.npz or .h5).")
    ],
    seconds: Annotated[float, typer.Option(help="Length.")] = 600.0,
    seed: _Seed = 1,
    json: _Json = False,
) -> None:
    """Record reaches that the subject observes, to train a model and fit decoders on."""
    from bci_lfads.closed_loop.offline import calibrate as record
    from bci_lfads.recordings import summary, write

    check_output(output)
    with progress("recording, seconds", seconds) as advance:
        recording = record(seconds, seed=seed, on_progress=advance)
    write(recording, output)
    content = {"file": str(output), **summary(recording)}
    if json:
        as_json(content)
    else:
        typer.echo(f"{output}: {recording.n_units} units, {recording.n_spikes} spikes")


@closed_loop_app.command()
def run(
    seconds: Annotated[float, typer.Option(help="Of the task.")] = 60.0,
    virtual: Annotated[
        bool, typer.Option("--virtual", help="On a virtual clock, without LSL, as fast as it goes.")
    ] = False,
    rotate: _Rotate = 0.0,
    lose: _Lose = 0.0,
    drift: _Drift = 0.0,
    delay: Annotated[float, typer.Option(help="Added to the loop.", metavar="SECONDS")] = 0.0,
    seed: _Seed = 7,
    rig_file: _RigFile = None,
    decoder_file: _DecoderFile = None,
    counts_file: _Counts = None,
    picture: Annotated[
        Path | None, typer.Option(help="Draw the cursor's paths (.png, .pdf, .svg).")
    ] = None,
    record: Annotated[
        Path | None, typer.Option(help="Record the session over LSL (.xdf), for `verify`.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option(help="Replace the file to record to if it exists.")
    ] = False,
    json: _Json = False,
) -> None:
    """Reach for targets through spikes, LSL, a run, its factors and a decoder, in real time.

    Beside it, on a virtual clock: a decoder straight from smoothed spike counts, and the intention
    itself (perfect feedback), at the same task.
    """
    from bci_lfads.closed_loop.offline import close_loop
    from bci_lfads.closed_loop.online import run_online
    from bci_lfads.closed_loop.picture import draw_run
    from bci_lfads.closed_loop.rig import VirtualRig
    from bci_lfads.closed_loop.scores import score
    from bci_lfads.closed_loop.subject import Perturbation
    from bci_lfads.demo import bundled
    from bci_lfads.recordings.stream_recorder import check_target
    from bci_lfads.rig import load_rig

    check_output(picture)
    if record is not None:
        if virtual:
            raise RecordingError("--record takes what goes over LSL; --virtual does without LSL")
        check_output(record)
        check_target(record, overwrite)
    _check_seconds(seconds)
    perturbed = Perturbation(rotate, lose, drift, delay)
    rig_file = rig_file or bundled("closed_loop.toml")
    rig = load_rig(rig_file)
    feedbacks = _feedbacks(rig, decoder_file, counts_file)
    rigs: dict[str, VirtualRig] = {}
    result: dict[str, Any] = {"perturbation": vars(perturbed)}
    if not virtual:
        decoder = decoder_file or bundled("closed_loop_decoder.safetensors")
        with (
            progress("reaching over LSL, seconds", seconds) as advance,
            until_interrupted() as stop,
        ):
            report = run_online(
                VirtualRig(perturbation=perturbed, seed=seed), rig, rig_file, decoder, seconds,
                stop, record=record, on_progress=advance,
            )  # fmt: skip
        rigs["factors, over LSL"] = report.rig
        result |= {
            "loop_delay_ms": report.loop_delay.milliseconds(),
            "steps_late_ms": report.late.milliseconds(),
            "steps_skipped": report.skipped,
            "seconds_without_behaviour": round(report.outages, 3),
            "rows_of_behaviour": report.rows,
            "run": report.run,
            "decoder": report.decoder,
        }
        if record is not None:
            result["recorded"] = report.run["recording"]["problem"] or str(record)
    for name, feedback in feedbacks.items():
        # Perfect feedback has no path, but the subject's own cursor is moved a step later too.
        wait = 0.0 if name == "perfect feedback" else _PATH_DELAY
        with progress(f"{name}, virtual clock", seconds) as advance:
            rigs[name] = close_loop(
                VirtualRig(perturbation=perturbed, seed=seed), feedback, seconds,
                path_delay=wait, on_progress=advance,
            )  # fmt: skip
    if picture is not None:
        draw_run(rigs, picture)
        result["picture"] = str(picture)
    result["scores"] = {name: score(done.reaches).as_dict() for name, done in rigs.items()}
    if json:
        as_json(result)
        return
    rows = [_row(name, score(done.reaches)) for name, done in rigs.items()]
    table("targets reached", ("cursor moved by", *_COLUMNS), rows)
    shown = {k: v for k, v in result.items() if k not in ("scores", "run", "decoder")}
    facts("closed loop", shown)


_COLUMNS = ("reaches", "success", "95 %", "time to target", "efficiency")


def _row(name: str, s: Score) -> tuple[str, ...]:
    return (
        name, str(s.reaches), f"{100 * s.success:.1f} %",
        f"{100 * s.success_low:.1f} to {100 * s.success_high:.1f} %", f"{s.time:.2f} s",
        f"{s.efficiency:.3f}",
    )  # fmt: skip


@closed_loop_app.command()
def curve(
    delays: Annotated[
        str, typer.Option(help="Of the loop, milliseconds, with commas.")
    ] = "10,50,100,150,200,250,300,350,400",
    seconds: Annotated[float, typer.Option(help="Of the task, for each.")] = 300.0,
    rotate: _Rotate = 0.0,
    lose: _Lose = 0.0,
    drift: _Drift = 0.0,
    seed: _Seed = 7,
    rig_file: _RigFile = None,
    decoder_file: _DecoderFile = None,
    counts_file: _Counts = None,
    picture: Annotated[Path | None, typer.Option(help="Draw it (.png, .pdf, .svg).")] = None,
    json: _Json = False,
) -> None:
    """Say what delay costs: success and time to target against the loop's delay, virtual clock."""
    from bci_lfads.closed_loop.offline import close_loop
    from bci_lfads.closed_loop.picture import draw_curve
    from bci_lfads.closed_loop.rig import VirtualRig
    from bci_lfads.closed_loop.scores import score
    from bci_lfads.closed_loop.subject import Perturbation
    from bci_lfads.demo import bundled
    from bci_lfads.rig import load_rig

    check_output(picture)
    _check_seconds(seconds)
    try:
        loop_delays = [1e-3 * float(part) for part in delays.split(",")]
    except ValueError as error:
        raise RecordingError(
            f"delays are numbers of milliseconds with commas, not '{delays}'"
        ) from error
    rig = load_rig(rig_file or bundled("closed_loop.toml"))
    curves: dict[str, list[Score]] = {}
    n_done = 0
    names = tuple(_feedbacks(rig, decoder_file, counts_file))
    with progress("runs", len(names) * len(loop_delays)) as advance:
        for name in names:
            curves[name] = []
            for loop_delay in loop_delays:
                perturbed = Perturbation(rotate, lose, drift, loop_delay)
                feedback = _feedbacks(rig, decoder_file, counts_file)[name]
                done = close_loop(VirtualRig(perturbation=perturbed, seed=seed), feedback, seconds)
                curves[name].append(score(done.reaches))
                n_done += 1
                advance(n_done)
    if picture is not None:
        draw_curve(loop_delays, curves, picture, {"LSL and native engine": _PATH_DELAY})
    if json:
        as_json(
            {
                "delays_ms": [1e3 * d for d in loop_delays],
                "curves": {name: [s.as_dict() for s in c] for name, c in curves.items()},
            }
        )
        return
    columns = ("loop delay", *names)
    rows = [
        (f"{1e3 * d:g} ms", *(_short(curves[name][k]) for name in names))
        for k, d in enumerate(loop_delays)
    ]
    table(f"targets reached, time to target; {seconds:g} s each", columns, rows)


def _short(s: Score) -> str:
    return f"{100 * s.success:.1f} %" + (f", {s.time:.2f} s" if s.success else "")


def _check_seconds(seconds: float) -> None:
    if not 1 <= seconds <= 1e6:
        raise RecordingError(f"a task of {seconds} s; expected 1 s or more")


def _feedbacks(
    rig: Rig, decoder_file: Path | None, counts_file: Path | None
) -> dict[str, Feedback]:
    from bci_lfads.closed_loop.feedback import DecodedFeedback, PerfectFeedback
    from bci_lfads.decoding.file import Decoder
    from bci_lfads.demo import bundled
    from bci_lfads.models.model import Model

    model = Model.load(rig.model)
    factors = Decoder.load(decoder_file or bundled("closed_loop_decoder.safetensors"))
    counts = Decoder.load(counts_file or bundled("closed_loop_counts.safetensors"))
    return {
        "factors": DecodedFeedback(factors, model),
        "smoothed counts": DecodedFeedback(counts, model),
        "perfect feedback": PerfectFeedback(),
    }
