"""Commands around the loop: demo, run, gui, listen, streams, doctor."""

from __future__ import annotations

import logging
import os
import subprocess
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from bci_lfads.cli.app import app
from bci_lfads.cli.card import Device, Xclbin, card_settings
from bci_lfads.cli.files import check_output
from bci_lfads.cli.interrupt import in_thread, until_interrupted
from bci_lfads.cli.show import as_json, facts, progress, table
from bci_lfads.errors import BciLfadsError
from bci_lfads.processes import start
from bci_lfads.recordings.recorder_process import RecorderProcess
from bci_lfads.recordings.stream_recorder import check_target

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bci_lfads.demo import DemoResult

_log = logging.getLogger(__name__)
HUNG = 3
"""Exit status of `run` where it was asked to stop and the engine did not come back."""
_LAST_WORD = 0.5
"""Seconds for LSL's own threads to send the last message on Status before the process ends."""
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_RigFile = Annotated[Path, typer.Argument(help="Rig file (.toml).", metavar="RIG")]


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the picture.")] = Path(
        "bci-lfads-demo"
    ),
    engine: Annotated[str, typer.Option(help="native, torch or fpga.")] = "native",
    xclbin: Xclbin = None,
    device: Device = None,
    json: _Json = False,
) -> None:
    """Replay a bundled recording on LSL, run the loop on it, and show what came out."""
    from bci_lfads.demo import run_demo
    from bci_lfads.demo_picture import draw

    output.mkdir(parents=True, exist_ok=True)
    with progress("trials", None) as advance:
        result = run_demo(
            output, engine=engine, fpga=card_settings(xclbin, device), on_trial=advance
        )
    picture = output / "demo.png"
    draw(result, picture)
    summary = _demo_summary(result) | {"picture": str(picture)}
    if json:
        as_json(summary)
    else:
        facts("bci-lfads demo", {k.replace("_", " "): v for k, v in summary.items()})
    n_trials = len(result.batch.counts)
    if not result.identical == len(result.streamed) == n_trials:
        typer.echo(
            f"error: {n_trials} trials, {len(result.streamed)} received, {result.identical} equal "
            "to offline inference",
            err=True,
        )
        raise typer.Exit(1)


def _demo_summary(result: DemoResult) -> dict[str, Any]:
    counters: Any = result.run.status["counters"]
    return {
        "recording": f"{result.recording.name}, {result.recording.duration:.1f} s, "
        f"{result.recording.n_units} units, {result.recording.n_spikes} spikes",
        "engine": f"{result.rig.engine}, model {result.model.hash[:12]}",
        "trials": len(result.batch.counts),
        "trials_received_over_LSL": len(result.streamed),
        "equal_to_offline_to_the_bit": result.identical,
        "spikes_received": counters["spikes"]["received"],
        "spikes_late": counters["spikes"]["late"],
        "deadline_misses": counters["deadline_misses"],
        "R2_of_known_latents": [round(float(v), 4) for v in result.r2],
        "engine_ms": _median_p99(1e-3 * np.array(_engine_ms(result))),
        "window_end_to_received_ms": _median_p99(result.window_to_received),
        "last_spike_to_received_ms": _median_p99(result.spike_to_received),
        "hold_off_ms": 1e3 * result.rig.binning.hold_off,
    }


def _engine_ms(result: DemoResult) -> list[float]:
    return [1e3 * float(row[3] - row[2]) for row in result.heard.latency]


def _median_p99(seconds: NDArray[np.float64]) -> dict[str, float]:
    median, p99 = np.percentile(1e3 * seconds, (50, 99))
    return {"median": round(float(median), 3), "p99": round(float(p99), 3)}


@app.command()
def run(
    context: typer.Context,
    rig_file: _RigFile,
    seconds: Annotated[float | None, typer.Option(help="Stop after so long.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the input streams.")] = 30.0,
    engine: Annotated[
        str | None, typer.Option(help="native, torch or fpga; default: the rig file's.")
    ] = None,
    gui: Annotated[
        bool, typer.Option("--gui", help="Open the live window too, in a process of its own.")
    ] = False,
    record: Annotated[
        Path | None,
        typer.Option(help="Record all that comes in and goes out (.xdf), for `verify`."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option(help="Replace the file to record to if it exists.")
    ] = False,
    json: _Json = False,
) -> None:
    """Run a rig: spikes on LSL in, factors on LSL out, until Ctrl-C."""
    from bci_lfads.lsl_config import using
    from bci_lfads.pipeline import open_pipeline
    from bci_lfads.realtime import schedule, settle
    from bci_lfads.rig import load_rig, with_engine

    rig = load_rig(rig_file)
    context.with_resource(using(rig.lsl))
    for asked in schedule(rig.realtime):
        if asked.problem:
            _log.warning("%s: not granted: %s", asked.what, asked.problem)
    if record is not None:
        check_output(record)
        check_target(record, overwrite)
    pipeline = open_pipeline(rig if engine is None else with_engine(rig, engine))
    recorder = None if record is None else RecorderProcess(rig_file, record, overwrite=overwrite)
    unrecorded = ""
    try:
        if gui:
            _open_window(rig_file)
        with until_interrupted(seconds) as stop:
            if recorder is not None:
                # Before the loop takes its first spike: only what is recorded can be verified.
                pipeline.account.recorder = recorder
                recorder.wait_until_complete(timeout, stop.is_set)
            report = in_thread(
                lambda: pipeline.run(
                    stop, connect_timeout=timeout, on_ready=settle, on_hang=_give_up
                )
            )
    finally:
        if recorder is not None:
            unrecorded = recorder.end()
        pipeline.close()
    latencies = {
        "stamp_to_arrival_ms": report.arrival.milliseconds(),
        "engine_ms": report.engine.milliseconds(),
        "closed_to_pushed_ms": report.closed_to_pushed.milliseconds(),
        "end_to_pushed_ms": report.end_to_pushed.milliseconds(),
    }
    if json:
        recording = None if record is None else {"file": str(record), "problem": unrecorded}
        as_json({"status": report.status, "recording": recording, **latencies})
        return
    counters: Any = report.status["counters"]
    facts(
        f"rig '{pipeline.rig.name}'",
        {
            "ended": report.status["reason"],
            "windows published": counters["windows"],
            "deadline misses": counters["deadline_misses"],
            "windows": _counted(counters["trials"]),
            "spikes": _counted(counters["spikes"]),
            "source lost": counters["inlet"]["losses"],
            **({} if record is None else {"recorded": unrecorded or str(record)}),
            **{name.replace("_", " "): v for name, v in latencies.items()},
        },
    )


def _give_up() -> None:
    """End the process of a loop whose engine hangs, which nothing else can."""
    _log.critical("the engine does not come back; this process ends")
    time.sleep(_LAST_WORD)
    for handler in logging.getLogger().handlers:
        handler.flush()
    os._exit(HUNG)


def _open_window(rig_file: Path) -> None:
    """Start the window as a process that Ctrl-C in this terminal does not reach."""
    _require_window()
    start("gui", rig_file.resolve(), stdin=subprocess.DEVNULL, start_new_session=True)


def _use_lsl_of(context: typer.Context, rig_file: Path) -> None:
    """Take a rig's LSL settings, until the command ends; a file that is wrong is told later."""
    from bci_lfads.lsl_config import using
    from bci_lfads.rig import load_rig

    with suppress(BciLfadsError):
        context.with_resource(using(load_rig(rig_file).lsl))


def _require_window() -> None:
    missing = [m for m in ("qtpy", "pyqtgraph", "PySide6") if find_spec(m) is None]
    if missing:
        raise BciLfadsError(f"the window needs {', '.join(missing)}: pip install 'bci-lfads[gui]'")


@app.command()
def gui(
    context: typer.Context,
    rig: Annotated[
        str | None,
        typer.Argument(help="Rig file (.toml), or name of a rig that runs.", metavar="[RIG]"),
    ] = None,
    theme: Annotated[str | None, typer.Option(help="dark or light; default: as last.")] = None,
    size: Annotated[
        str | None, typer.Option(help="Of the window, pixels, like 1280x720; default: as last.")
    ] = None,
    screenshot: Annotated[
        Path | None, typer.Option(help="Save a picture of the window (.png) and end.")
    ] = None,
    after: Annotated[float, typer.Option(help="Seconds before the picture is taken.")] = 10.0,
    opengl: Annotated[
        str,
        typer.Option(help="Draw 3-D by OpenGL: auto (where a graphics card does it), on, off."),
    ] = "auto",
    scale: Annotated[
        str, typer.Option(help="How large all is drawn, 0.5 to 4; auto: 2 on a 4K screen.")
    ] = "auto",
) -> None:
    """Open the live window: watch a rig, and start and stop its loop, replay and recorder."""
    _require_window()
    check_output(screenshot)
    if rig is not None and rig.endswith(".toml"):
        _use_lsl_of(context, Path(rig))
    from bci_lfads_gui.app import show_window

    code = show_window(
        rig, theme=theme, size=size, screenshot=screenshot, after=after, opengl=opengl,
        scale=scale,
    )  # fmt: skip
    raise typer.Exit(code)


def _counted(counters: dict[str, int]) -> str:
    return ", ".join(f"{n} {what.replace('_', ' ')}" for what, n in counters.items() if n) or "none"


@app.command()
def listen(
    rig: Annotated[str, typer.Argument(help="Name of the rig whose streams to receive.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Keep what came in an .npz.")
    ] = None,
    sliding: Annotated[bool, typer.Option(help="Factors of a sliding window.")] = False,
    seconds: Annotated[float | None, typer.Option(help="Stop after so long.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the streams.")] = 10.0,
    json: _Json = False,
) -> None:
    """Receive a rig's factors as a decoder would, until the rig stops, and measure latency."""
    from bci_lfads.listen import listen as receive

    check_output(output)
    with progress("samples", None) as advance, until_interrupted(seconds) as stop:
        heard = receive(rig, stop, sliding=sliding, timeout=timeout, on_samples=advance)
    if output is not None:
        heard.save(output)
    result: dict[str, Any] = {
        "samples": len(heard.stamps),
        "windows": len(heard.latency),
        "last_status": heard.status[-1] if heard.status else None,
    }
    if json:
        as_json(result)
    else:
        facts(f"heard of rig '{rig}'", result)


@app.command()
def streams(
    wait: Annotated[float, typer.Option(help="Seconds to look for streams.")] = 1.0,
    seconds: Annotated[float, typer.Option(help="Seconds to listen to each for its health.")] = 2.0,
    json: _Json = False,
) -> None:
    """List what is on the network, what it could be used for, and how it does."""
    from bci_lfads.streams.discover import list_streams

    found = list_streams(wait, seconds)
    if json:
        as_json([stream.as_dict() for stream in found])
        return
    if not found:
        typer.echo("no stream on the network; is the source running, and in the same LSL session?")
        return
    table(
        f"{len(found)} streams",
        ("name", "type", "from", "channels", "Hz", "heard Hz", "usable as", "problems"),
        [
            (
                s.name, s.type, s.hostname, f"{s.n_channels} {s.format}", f"{s.rate:g}",
                "" if s.health is None else f"{s.health.rate:.1f}", s.usable,
                "; ".join(s.problems),
            )
            for s in found
        ],
    )  # fmt: skip


@app.command()
def doctor(
    context: typer.Context,
    rig_file: Annotated[
        Path | None, typer.Argument(help="Rig file (.toml) to look at too.", metavar="[RIG]")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to look for the rig's streams.")] = 5.0,
    json: _Json = False,
) -> None:
    """Check LSL, engines, XRT and Qt, and whether a rig, its model and its streams fit."""
    from bci_lfads.doctor import examine

    if rig_file is not None:
        _use_lsl_of(context, rig_file)
    findings = []
    with progress("looked at", None) as advance:
        for finding in examine(rig_file, timeout=timeout):
            findings.append(finding)
            advance(len(findings))
    failed = any(f.verdict == "fail" for f in findings)
    if json:
        as_json({"ready": not failed, "findings": [vars(f) for f in findings]})
    else:
        table(
            "doctor", ("what", "verdict", "found"), [(f.what, f.verdict, f.found) for f in findings]
        )
    raise typer.Exit(int(failed))
