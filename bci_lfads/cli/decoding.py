"""Commands that turn factors into behaviour: decode fit, carry, run, score."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from bci_lfads.cli.app import app
from bci_lfads.cli.files import check_output
from bci_lfads.cli.interrupt import until_interrupted
from bci_lfads.cli.show import as_json, facts, progress
from bci_lfads.errors import DecoderError

if TYPE_CHECKING:
    from bci_lfads.decoding.file import Decoder, Method

decode_app = typer.Typer(no_args_is_help=True, help="Decode behaviour from factors.")
app.add_typer(decode_app, name="decode")

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Rig = Annotated[Path, typer.Argument(help="Rig file (.toml).", metavar="RIG")]
_Recording = Annotated[Path, typer.Argument(help="A recording.", metavar="RECORDING")]
_DecoderFile = Annotated[
    Path, typer.Argument(help="Decoder file (.safetensors).", metavar="DECODER")
]


@decode_app.command("fit")
def fit_decoder(
    rig_file: _Rig,
    recording_file: _Recording,
    output: Annotated[Path, typer.Option("--output", "-o", help="Decoder file to write.")],
    method: Annotated[str, typer.Option(help="ridge, kalman or direction.")] = "ridge",
    behaviour: Annotated[
        str,
        typer.Option(
            help="Series of the recording; for direction the pattern of markers that name a class.",
            metavar="NAME",
        ),
    ] = "behaviour",
    channels: Annotated[
        str | None, typer.Option(help="Of the series, with commas; default: all.")
    ] = None,
    unit: Annotated[str, typer.Option(help="Of the channels, like cm/s.")] = "",
    history: Annotated[
        float,
        typer.Option(help="Of bins before the newest that are used too.", metavar="SECONDS"),
    ] = 0.0,
    smoothing: Annotated[
        float, typer.Option(help="Time constant of an average of bins.", metavar="SECONDS")
    ] = 0.0,
    lag: Annotated[
        float, typer.Option(help="Seconds by which behaviour follows.", metavar="SECONDS")
    ] = 0.0,
    interval: Annotated[
        str,
        typer.Option(help="direction: after a marker, when its class holds.", metavar="FROM,UNTIL"),
    ] = "0,0.5",
    source: Annotated[
        str, typer.Option("--from", help="factors; or counts, to compare with them offline.")
    ] = "factors",
    seed: Annotated[int, typer.Option(min=0, help="Of the shuffle of folds.")] = 0,
    json: _Json = False,
) -> None:
    """Fit a decoder to the factors that a run of RIG would publish of a recording."""
    from bci_lfads.decoding.file import Input
    from bci_lfads.decoding.fitting import Asked, fit
    from bci_lfads.decoding.steps import METHODS
    from bci_lfads.models.model import Model
    from bci_lfads.recordings import read
    from bci_lfads.rig import load_rig

    check_output(output)
    if method not in METHODS:
        raise DecoderError(f"no method '{method}'; there are {', '.join(METHODS)}")
    if source not in ("factors", "counts"):
        raise DecoderError(f"decoders are fitted to factors or counts, not to '{source}'")
    asked = Asked(
        cast("Method", method), cast(Input, source), behaviour,
        None if channels is None else tuple(c.strip() for c in channels.split(",")),
        unit, history, smoothing, lag, _interval(interval),
    )  # fmt: skip
    rig = load_rig(rig_file)
    recording = read(recording_file)
    with progress("inferring, seconds", recording.duration) as advance:
        report = fit(recording, rig, Model.load(rig.model), asked, seed=seed, on_progress=advance)
    report.decoder.save(output)
    result: dict[str, Any] = {
        "output": str(output),
        **_about(report.decoder),
        "rows": report.n_rows,
        "cross_validated_over": f"{report.n_parts} trials or blocks that share no spikes",
        "cross_validated": {k: round(v, 4) for k, v in report.scores.items()},
    }
    if json:
        as_json(result)
    else:
        facts(f"decoder fitted to {recording.name}", result)


def _interval(text: str) -> tuple[float, float]:
    try:
        begin, end = (float(part) for part in text.split(","))
    except ValueError as error:
        raise DecoderError(f"an interval is two numbers, like 0,0.5; found '{text}'") from error
    return begin, end


def _about(decoder: Decoder) -> dict[str, Any]:
    f = decoder.facts
    return {
        "hash": decoder.hash,
        "method": f.method,
        "channels": list(f.channels),
        "model": f.model_hash,
        "window": f.mode if f.hop is None else f"{f.mode}, hop {f.hop}",
        "from": f.input,
        "lags_ms": f.lags_ms,
        "behaviour_follows_by_ms": round(1e3 * f.lag, 6),
        "smoothing_ms": round(1e3 * f.smoothing, 6),
    }


@decode_app.command("run")
def run_decoder(
    decoder_file: _DecoderFile,
    rig: Annotated[str, typer.Argument(help="Name of the rig that runs, or its file (.toml).")],
    seconds: Annotated[float | None, typer.Option(help="Stop after so long.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the factors.")] = 30.0,
    json: _Json = False,
) -> None:
    """Decode the factors of a rig that runs, and publish DecodedBehaviour, until Ctrl-C."""
    from bci_lfads.decoding.consumer import DecoderRun
    from bci_lfads.decoding.file import Decoder
    from bci_lfads.rig import load_rig

    decoder = Decoder.load(decoder_file)
    name = load_rig(Path(rig)).name if rig.endswith(".toml") else rig
    running = DecoderRun(name, decoder)
    try:
        with until_interrupted(seconds) as stop:
            report = running.run(stop, connect_timeout=timeout)
    finally:
        running.close()
    result: dict[str, Any] = {
        **_about(decoder),
        "counters": report.status["counters"],
        "factors_received_to_behaviour_pushed_ms": report.received_to_pushed.milliseconds(),
        "last_spike_to_behaviour_pushed_ms": report.spike_to_pushed.milliseconds(),
    }
    if json:
        as_json(result)
    else:
        facts(f"decoded rig '{name}'", result)


@decode_app.command("carry")
def carry_decoder(
    decoder_file: _DecoderFile,
    rig_file: _Rig,
    output: Annotated[Path, typer.Option("--output", "-o", help="Decoder file to write.")],
    json: _Json = False,
) -> None:
    """Give a decoder to RIG's model, if that was made of the decoder's own by a mask or realign."""
    from bci_lfads.decoding.file import Decoder
    from bci_lfads.models.model import Model
    from bci_lfads.parts import as_masked
    from bci_lfads.rig import load_rig

    check_output(output)
    rig = load_rig(rig_file)
    carried = Decoder.load(decoder_file).carried_to(as_masked(rig, Model.load(rig.model)))
    carried.save(output)
    result = {"output": str(output), **_about(carried)}
    if json:
        as_json(result)
    else:
        facts("decoder carried to another model", result)


@decode_app.command("score")
def score_decoder(
    decoder_file: _DecoderFile,
    rig_file: _Rig,
    recording_file: _Recording,
    interval: Annotated[
        str,
        typer.Option(help="direction: after a marker, when its class holds.", metavar="FROM,UNTIL"),
    ] = "0,0.5",
    json: _Json = False,
) -> None:
    """Score a decoder on a recording, through the offline path."""
    from bci_lfads.decoding.file import Decoder
    from bci_lfads.decoding.scoring import score
    from bci_lfads.models.model import Model
    from bci_lfads.preparing import digest
    from bci_lfads.recordings import read
    from bci_lfads.rig import load_rig

    decoder = Decoder.load(decoder_file)
    rig = load_rig(rig_file)
    recording = read(recording_file)
    with progress("inferring, seconds", recording.duration) as advance:
        scores = score(
            decoder, recording, rig, Model.load(rig.model), _interval(interval), on_progress=advance
        )
    if decoder.provenance.get("data_sha256") == digest(recording):
        typer.echo("warning: the decoder was fitted to this very recording", err=True)
    if json:
        as_json(scores)
    else:
        facts(f"{decoder_file.name} on {recording.name}", scores)
