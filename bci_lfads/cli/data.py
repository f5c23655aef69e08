"""Commands for recordings: replay, simulate, record, info, convert."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from bci_lfads.cli.app import app
from bci_lfads.cli.files import check_output
from bci_lfads.cli.interrupt import until_interrupted
from bci_lfads.cli.show import as_json, as_line, facts, progress
from bci_lfads.errors import RecordingError

if TYPE_CHECKING:
    from bci_lfads.recordings import Recording
    from bci_lfads.recordings.replay import ReplayProgress
    from bci_lfads.recordings.simulate import Lorenz, Reach

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_File = Annotated[Path, typer.Argument(help="A recording.", metavar="RECORDING")]
_Form = Annotated[
    str | None, typer.Option("--format", help="events, ids or counts; default: as recorded.")
]
_BinWidth = Annotated[float | None, typer.Option(help="Of counts, seconds.", metavar="SECONDS")]
_Spikes = Annotated[str, typer.Option(help="Name of the spike stream.")]
_Markers = Annotated[str, typer.Option(help="Name of the marker stream; '' for none.")]
_Wait = Annotated[float, typer.Option(help="Seconds to wait for consumers before the start.")]
_SHOWN = ("position", "duration", "loop", "paused")  # of a replay's progress, in lines of JSON


@app.command()
def replay(
    recording_file: _File,
    speed: Annotated[str, typer.Option(help="1, another number, or max.")] = "1",
    follow: Annotated[
        str | None, typer.Option(help="For max: the rig whose progress sets the pace.")
    ] = None,
    form: _Form = None,
    bin_width: _BinWidth = None,
    loop: Annotated[bool, typer.Option(help="Begin again at the end.")] = False,
    paused: Annotated[bool, typer.Option(help="Begin paused.")] = False,
    ordered: Annotated[
        bool,
        typer.Option(
            "--control",
            help="Take orders on standard input (pause, resume, step SECONDS, step-to PATTERN, "
            "seek SECONDS, stop; its end stops) and print progress as lines of JSON.",
        ),
    ] = False,
    spikes: _Spikes = "ReplaySpikes",
    markers: _Markers = "ReplayMarkers",
    wait: _Wait = 0.0,
    pushed: Annotated[
        Path | None, typer.Option(help="Keep when each item was pushed, by its stamp, in an .npz.")
    ] = None,
    json: _Json = False,
) -> None:
    """Replay a recording on LSL with its original timing."""
    from contextlib import nullcontext

    from bci_lfads.cli.keys import HELP, keys
    from bci_lfads.cli.orders import orders
    from bci_lfads.recordings import read
    from bci_lfads.recordings import replay as replaying

    recording = read(recording_file)
    control = replaying.ReplayControl(paused=paused)
    pushes = replaying.PushLog()
    at = 0.0
    with (
        progress(f"replaying {recording.name}", recording.duration) as advance,
        nullcontext(False) if ordered else keys(control, lambda: at) as controlled,
        orders(control) if ordered else nullcontext(),
        until_interrupted(on_stop=control.stop),
    ):
        if controlled:
            typer.echo(HELP, err=True)

        def on_progress(done: ReplayProgress) -> None:
            nonlocal at
            at = done.position
            advance(at)
            if ordered:
                as_line({k: v for k, v in asdict(done).items() if k in _SHOWN})

        report = replaying.replay(
            recording,
            spikes=spikes,
            markers=markers or None,
            form=_form(form),
            bin_width=bin_width,
            speed=_speed(speed),
            follow=follow,
            loop=loop,
            wait=wait,
            control=control,
            on_progress=on_progress,
            on_push=None if pushed is None else pushes,
        )
    if pushed is not None:
        pushes.save(pushed)
    late = report.lateness
    result: dict[str, Any] = {
        "spikes": report.n_spikes,
        "markers": report.n_markers,
        "loops": report.loops,
        "seconds": round(report.elapsed, 3),
        "first_stamp": report.first_stamp,
        "last_stamp": report.last_stamp,
        "stopped": report.stopped,
        "late_ms": None
        if late is None
        else {
            "median": round(1e3 * late.median, 4),
            "p99": round(1e3 * late.p99, 4),
            "max": round(1e3 * late.max, 4),
            "within_1ms": round(late.within_1ms, 6),
        },
    }
    if ordered:
        as_line(result)
    elif json:
        as_json(result)
    else:
        facts(f"replayed {recording.name}", result)


@app.command()
def simulate(
    task: Annotated[str, typer.Argument(help="lorenz or reach.", metavar="lorenz|reach")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Recording to write (.npz or .h5).")
    ] = None,
    live: Annotated[bool, typer.Option(help="Stream on LSL as it is made, until Ctrl-C.")] = False,
    units: Annotated[int | None, typer.Option(help="Number of units.")] = None,
    rate: Annotated[float | None, typer.Option(help="Mean rate of a unit, Hz.")] = None,
    trials: Annotated[int | None, typer.Option(help="Number of trials.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Length instead of trials.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of spikes and latents.")] = 0,
    population_seed: Annotated[int, typer.Option(min=0, help="Of the units' tuning.")] = 0,
    form: Annotated[str, typer.Option("--format", help="Live: events or ids.")] = "events",
    spikes: _Spikes = "SimulatedSpikes",
    markers: _Markers = "SimulatedMarkers",
    wait: _Wait = 0.0,
    json: _Json = False,
) -> None:
    """Simulate spikes whose latents are known, to a file or live on LSL."""
    from bci_lfads.recordings import summary, write
    from bci_lfads.recordings.simulate import gather

    if live == (output is not None):
        raise RecordingError("say where the simulation goes: either -o FILE or --live")
    check_output(output)
    simulated = _task(task, units, rate, seed, population_seed)
    if output is not None:
        if trials is None and seconds is None:
            trials = 100
        recording = gather(_shown(simulated.blocks(), trials, seconds), trials, seconds)
        write(recording, output)
        result = {"file": str(output), **summary(recording)}
    else:
        result = _live(simulated, form, spikes, markers, wait, trials, seconds)
    if json:
        as_json(result)
    else:
        facts(f"simulated {task}", _short(result) if output is not None else result)


def _task(
    task: str, units: int | None, rate: float | None, seed: int, population_seed: int
) -> Lorenz | Reach:
    from bci_lfads.recordings.simulate import Lorenz, Reach

    kinds: dict[str, type[Lorenz] | type[Reach]] = {"lorenz": Lorenz, "reach": Reach}
    if task not in kinds:
        raise RecordingError(f"no simulation called '{task}'; there are {', '.join(kinds)}")
    settings: dict[str, Any] = {"seed": seed, "population_seed": population_seed}
    settings |= {k: v for k, v in (("n_units", units), ("rate", rate)) if v is not None}
    return kinds[task](**settings)


def _shown(
    blocks: Iterator[Recording], trials: int | None, seconds: float | None
) -> Iterator[Recording]:
    """Pass blocks on, with a progress bar."""
    with progress("simulating", trials or seconds) as advance:
        for n, block in enumerate(blocks):
            advance(n if trials else block.start)
            yield block


def _live(
    simulated: Lorenz | Reach,
    form: str,
    spikes: str,
    markers: str,
    wait: float,
    trials: int | None,
    seconds: float | None,
) -> dict[str, Any]:
    from bci_lfads.recordings.replay import ReplayControl, replay_blocks

    if form not in ("events", "ids"):
        raise RecordingError(
            f"live simulations come as events or ids, not '{form}'; for counts save to a file "
            f"and replay that"
        )

    def limited() -> Iterator[Recording]:
        for n, block in enumerate(simulated.blocks()):
            if n == trials or (seconds is not None and block.start >= seconds):
                return
            yield block

    control = ReplayControl()
    with (
        progress("streaming, seconds", seconds) as advance,
        until_interrupted(on_stop=control.stop),
    ):
        played, n_spikes = replay_blocks(
            limited(),
            spikes=spikes,
            markers=markers or None,
            form=cast(Literal["events", "ids"], form),
            wait=wait,
            control=control,
            on_progress=lambda done, _: advance(done),
        )
    return {"seconds": round(played, 3), "spikes": n_spikes}


@app.command()
def record(
    output: Annotated[Path, typer.Argument(help="File to write (.xdf).", metavar="OUT")],
    stream: Annotated[
        list[str] | None, typer.Option(help="Name of a stream; several times; default: all.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="How long; default: until Ctrl-C.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the streams.")] = 10.0,
    rig_file: Annotated[
        Path | None,
        typer.Option(
            "--rig",
            help="Rig file: record all that this rig takes in and gives out.",
            metavar="RIG",
        ),
    ] = None,
    ordered: Annotated[
        bool,
        typer.Option(
            "--control",
            help="With --rig: end with standard input, and print a line once all is recorded.",
        ),
    ] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace the file if it exists.")] = False,
    json: _Json = False,
) -> None:
    """Record LSL streams to an XDF file."""
    from bci_lfads.recordings.record import record as record_streams

    check_output(output)
    if rig_file is not None:
        if stream:
            raise RecordingError("give either --rig or --stream: a rig's streams are known")
        lasted = _record_rig(output, rig_file, seconds, ordered=ordered, overwrite=overwrite)
        if json:
            as_json({"output": str(output), "seconds": round(lasted, 3)})
        return
    with progress("recording, seconds", seconds) as advance, until_interrupted() as stop:
        lasted = record_streams(
            output, streams=stream or None, seconds=seconds, stop=stop.is_set, timeout=timeout,
            overwrite=overwrite, on_progress=advance,
        )  # fmt: skip
    if json:
        as_json({"output": str(output), "seconds": round(lasted, 3)})
    else:
        typer.echo(f"{output}: {lasted:.1f} s")


def _record_rig(
    output: Path, rig_file: Path, seconds: float | None, *, ordered: bool, overwrite: bool
) -> float:
    import threading

    from bci_lfads.cli.interrupt import until_end_of_input
    from bci_lfads.recordings.session import SessionRecorder
    from bci_lfads.rig import load_rig

    recorder = SessionRecorder(load_rig(rig_file), output, overwrite=overwrite, drains=ordered)
    lasted = 0.0

    def complete() -> None:
        if ordered:
            as_line({"recording": recorder.names})

    with progress("recording, seconds", seconds) as advance, until_interrupted(seconds) as stop:
        if ordered:
            threading.Thread(target=until_end_of_input, args=(stop,), daemon=True).start()

        def on_progress(done: float) -> None:
            nonlocal lasted
            lasted = done
            advance(done)

        recorder.run(stop.wait, complete, on_progress)
    return lasted


@app.command()
def info(recording_file: _File, json: _Json = False) -> None:
    """Show what a recording holds."""
    from bci_lfads.recordings import read, summary

    content = summary(read(recording_file))
    if json:
        as_json(content)
        return
    facts(str(recording_file), _short(content))


def _short(content: dict[str, Any]) -> dict[str, Any]:
    """Return a recording's summary with the first of its units and markers, in words."""
    labels, markers = content["unit_labels"], list(content["markers"].items())
    short = {k: v for k, v in content.items() if k != "unit_labels"}
    short["units"] = ", ".join(labels[:6]) + (", …" if len(labels) > 6 else "")
    short["markers"] = ", ".join(f"{k} ({n})" for k, n in markers[:12])
    short["markers"] += ", …" if len(markers) > 12 else ""
    short["series"] = ", ".join(
        f"{k} ({v['n_samples']} × {len(v['labels'])})" for k, v in content["series"].items()
    )
    return short


@app.command()
def convert(
    recording_file: _File,
    output: Annotated[Path, typer.Argument(help="File to write (.npz or .h5).", metavar="OUT")],
    bin_width: _BinWidth = None,
    units: Annotated[
        str | None, typer.Option(help="Labels of the units to keep, with commas.")
    ] = None,
    json: _Json = False,
) -> None:
    """Convert a recording to .npz or .h5; with a bin width its spikes become counts."""
    from bci_lfads.recordings import read, summary, to_counts, write

    check_output(output)
    recording = read(recording_file)
    if units is not None:
        recording = recording.select(tuple(u.strip() for u in units.split(",")))
    if bin_width is not None:
        recording = to_counts(recording, bin_width)
    write(recording, output)
    if json:
        as_json({"output": str(output), **summary(recording)})
    else:
        typer.echo(f"{output}: {recording.n_units} units, {recording.n_spikes} spikes")


def _form(text: str | None) -> Literal["events", "ids", "counts"] | None:
    if text is not None and text not in ("events", "ids", "counts"):
        raise RecordingError(f"no spike format '{text}'; there are events, ids and counts")
    return cast(Literal["events", "ids", "counts"] | None, text)


def _speed(text: str) -> float | Literal["max"]:
    if text == "max":
        return "max"
    try:
        return float(text.lower().removeprefix("x").removesuffix("x"))
    except ValueError:
        raise RecordingError(f"replay speed is '{text}'; give a number, or max") from None
