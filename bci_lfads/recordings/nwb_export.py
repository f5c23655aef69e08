"""A recorded session as an NWB file: spikes, trials, markers, factors and where they come from."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import bci_lfads
from bci_lfads.errors import RecordingError
from bci_lfads.recordings.xdf_writer import read_clocks
from bci_lfads.streams.markers import label as text_of
from bci_lfads.verification.inputs import RunInput
from bci_lfads.verification.session import RawStream, RecordedRun

_MODULE = "ecephys"  # NWB's word for what is derived from spikes
_JITTER = 1e-6  # seconds within which stamps count as evenly spaced
_MARGIN = 5.0  # seconds before and after a run's windows in which a trigger belongs to it


@dataclass(frozen=True)
class Subject:
    """Whom the spikes are of; what archives ask for."""

    subject_id: str
    species: str = "Macaca mulatta"
    sex: str = "U"
    age: str = "P4Y/P20Y"
    """ISO 8601 duration, or a range of two."""


def export_nwb(
    session: Path,
    run: RecordedRun,
    output: Path,
    *,
    subject: Subject | None = None,
    description: str = "",
    experimenter: str = "",
    institution: str = "",
    start: datetime | None = None,
    resolution: float | None = None,
) -> dict[str, int]:
    """Write one run of a recorded session as NWB.

    Times are seconds since the session's start. Spikes are all that were recorded of the model's
    units, on the loop's clock; factors, rates, latencies, decoded behaviour and triggers are as
    they were published.

    Parameters
    ----------
    session, run
        The file, and the run in it.
    output
        File to write, ``.nwb``.
    subject, description, experimenter, institution
        What the recording cannot know.
    start
        When the session began; default: as the recorder noted it.
    resolution
        Smallest difference of two spike times, seconds, as the source of spikes has it; default:
        that of LSL's stamps, which are float64.

    Returns
    -------
    How many units, spikes, trials, markers and samples of factors were written.

    Raises
    ------
    RecordingError
        If pynwb is missing, the file's name is no ``.nwb``, or nothing says when it began.
    """
    try:
        import pynwb
    except ImportError as error:
        raise RecordingError(
            f"{output} needs pynwb to be written: pip install 'bci-lfads[nwb]'"
        ) from error
    if output.suffix.lower() != ".nwb":
        raise RecordingError(f"{output}: NWB files are called .nwb; give such a name")
    clocks = read_clocks(session)
    source = RunInput(run)
    spikes = source.all_spikes()
    markers = source.all_markers()
    first = _first_stamp(run, spikes.times, markers[0])
    if start is None and clocks is not None:
        since = 0.0 if _has_clock_of_its_own(run) else first - clocks[1]
        start = clocks[0] + timedelta(seconds=since)
    if start is None:
        raise RecordingError(
            f"{session} does not say when it was recorded; give the session's start (--start)"
        )
    about = run.about
    file = pynwb.NWBFile(
        session_description=description or f"Run of the rig '{about.rig.name}' with bci-lfads.",
        identifier=str(uuid.uuid4()),
        session_start_time=start,
        experimenter=experimenter or None,
        institution=institution or None,
        experiment_description="Latent factors inferred in the loop by LFADS.",
        keywords=["LFADS", "latent factors", "brain-computer interface", "closed loop"],
        source_script=f"bci-lfads {bci_lfads.__version__}",
        source_script_file_name="bci_lfads",
        notes=json.dumps(_provenance(run), sort_keys=True),
    )
    if subject is not None:
        file.subject = pynwb.file.Subject(
            subject_id=subject.subject_id, species=subject.species, sex=subject.sex,
            age=subject.age, description="As given at export.",
        )  # fmt: skip
    written = {"units": _add_units(file, source, spikes, first)}
    if file.units is not None:
        latest = float(np.abs(spikes.times).max(initial=1.0))
        file.units.resolution = resolution or float(np.spacing(latest))
    written["spikes"] = int(spikes.counts.sum())
    written["trials"] = _add_trials(file, run, first)
    written["markers"] = _add_events(
        pynwb, file, "markers", markers[0] - first, markers[1],
        "Markers as they came, on the loop's clock.",
    )  # fmt: skip
    written["factors"] = _add_series(pynwb, file, run, first)
    written["decoded"] = _add_decoded(pynwb, file, run, first)
    written["triggers"] = _add_triggers(pynwb, file, run, first)
    part = output.with_name(f".{output.stem}.part.nwb")
    try:
        with pynwb.NWBHDF5IO(str(part), "w") as io:
            io.write(file)
        part.replace(output)
    except OSError as error:
        raise RecordingError(f"{output} cannot be written: {error}") from error
    finally:
        part.unlink(missing_ok=True)
    return written


def _first_stamp(
    run: RecordedRun, spikes: NDArray[np.float64], markers: NDArray[np.float64]
) -> float:
    """Return the earliest moment of all, on the loop's clock."""
    outputs = [s.stamps for s in (run.factors, run.latency) if s is not None]
    stamps = [t[np.isfinite(t)] for t in (spikes, markers, *outputs)]
    return float(min((t.min() for t in stamps if len(t)), default=0.0))


def _has_clock_of_its_own(run: RecordedRun) -> bool:
    """Return whether stamps are no moments of the LSL clock (a replay that is not at ×1)."""
    bases = {s.header.text("time_base") for s in run.spikes}
    return run.about.rig.input.spikes.clock == "stream" or "stream" in bases


def _provenance(run: RecordedRun) -> dict[str, Any]:
    about = run.about
    status = run.status[-1] if run.status else {}
    return {
        "bci_lfads": bci_lfads.__version__,
        "model_hash": about.model_hash,
        "model_file": about.rig.model.name,
        "engine": about.rig.engine,
        "bin_width_s": about.bin_width,
        "n_bins": about.n_bins,
        "hop": about.hop,
        "rig": about.rig.model_dump(mode="json", exclude_none=True) | {"model": ""},
        "counters": status.get("counters"),
    }


def _add_units(file: Any, source: RunInput, spikes: Any, first: float) -> int:
    labels = source.about.unit_labels
    file.add_unit_column("label", "what the model calls the unit")
    pieces = source.spikes.pieces(0, len(source.spikes.stamps))
    spans = [(np.nanmin(stamps) - first, np.nanmax(stamps) - first) for _, _, stamps in pieces]
    for k, label in enumerate(labels):
        own = spikes.units == k
        times = np.repeat(spikes.times[own], np.maximum(spikes.counts[own], 0)) - first
        file.add_unit(spike_times=times, label=label, obs_intervals=np.array(spans))
    return len(labels)


def _add_trials(file: Any, run: RecordedRun, first: float) -> int:
    trials = [m["trial"] for m in run.status if "trial" in m]
    if not trials:
        return 0
    length = run.about.n_bins * run.about.bin_width
    file.add_trial_column("number", "number of the start marker, from 0; see factors_trial")
    file.add_trial_column("label", "label of the marker that aligned the trial")
    file.add_trial_column("truncated", "whether a part of its window was not received")
    for trial in sorted(trials, key=lambda t: float(t["start"])):
        begin = float(trial["start"]) - first
        file.add_trial(
            start_time=begin, stop_time=begin + length, number=int(trial["trial"]),
            label=str(trial["label"]) or "unlabelled", truncated=bool(trial["truncated"]),
        )  # fmt: skip
    return len(trials)


def _add_events(
    pynwb: Any, file: Any, name: str, times: NDArray[np.float64], labels: list[str], what: str
) -> int:
    if not len(times):
        return 0
    if hasattr(file, "create_events_table"):
        table = file.create_events_table(name=name, description=what)
        for time, text in zip(times, labels, strict=True):
            table.add_event(timestamp=float(time), annotation=text)
    else:  # pynwb before 4
        file.add_acquisition(
            pynwb.misc.AnnotationSeries(name=name, data=labels, timestamps=times, description=what)
        )
    return len(times)


def _add_triggers(pynwb: Any, file: Any, run: RecordedRun, first: float) -> int:
    inside = [_within(s, run.latency.stamps) for s in run.triggers]
    times = np.concatenate([np.empty(0), *(s.stamps for s in inside)]) - first
    labels = [text_of(row[0]) for s in inside for row in s.values]
    what = "Triggers as they were sent: rules on the factors or on what was decoded of them."
    return _add_events(pynwb, file, "triggers", times, labels, what)


def _within(stream: RawStream, run: NDArray[np.float64]) -> RawStream:
    """Return what was stamped in the run's time: what others publish may outlive a run."""
    if not len(run):
        return replace(stream, values=stream.values[:0], stamps=stream.stamps[:0])
    inside = (stream.stamps >= run.min() - _MARGIN) & (stream.stamps <= run.max() + _MARGIN)
    return replace(stream, values=stream.values[inside], stamps=stream.stamps[inside])


def _add_series(pynwb: Any, file: Any, run: RecordedRun, first: float) -> int:
    about = run.about
    module = file.create_processing_module(
        _MODULE, "What bci-lfads published: latent factors of LFADS, inferred in the loop."
    )
    made = f"Model {about.model_hash[:16]}, engine {about.rig.engine}, bins of {about.bin_width} s."

    def add(name: str, stream: RawStream | None, unit: str, what: str) -> int:
        trials = about.hop is None and name != "latency"
        return _add_one(pynwb, module, name, stream, unit, f"{what} {made}", first, trials)

    n = add("factors", run.factors, "a.u.", "Latent factors at the centres of bins.")
    add("rates", run.rates, "Hz", "Firing rates inferred, at the centres of bins.")
    add(
        "latency", run.latency, "s",
        "Moments of each window's way on the LSL clock, stamped with the window's end.",
    )  # fmt: skip
    return n


def _add_decoded(pynwb: Any, file: Any, run: RecordedRun, first: float) -> int:
    found = [s for s in (_within(s, run.latency.stamps) for s in run.decoded) if len(s.stamps)]
    if not found:
        return 0
    module = file.create_processing_module(
        "behavior", "What a decoder made of the factors, in the loop."
    )
    n = 0
    for k, stream in enumerate(found):
        header = stream.header
        unit = header.info.findtext("desc/channels/channel/unit") or "a.u."
        method, made_by = header.text("decoder/method"), header.text("decoder/hash")[:16]
        what = f"Decoded by {method}, decoder {made_by}, at the centres of bins."
        name = f"decoded_behaviour{f'_{k + 1}' if k else ''}"
        trials = run.about.hop is None
        n += _add_one(pynwb, module, name, stream, unit, what, first, trials)
    return n


def _add_one(
    pynwb: Any,
    module: Any,
    name: str,
    stream: RawStream | None,
    unit: str,
    what: str,
    first: float,
    trials: bool,
) -> int:
    """Add a stream; of one of trials the last two columns say which trial and bin."""
    if stream is None or not len(stream.stamps):
        return 0
    # Trials may overlap; stamps in NWB ascend.
    order = np.argsort(stream.stamps, kind="stable")
    stamps, values = stream.stamps[order] - first, stream.values[order]
    series = pynwb.TimeSeries(
        name=name, data=values[:, :-2] if trials else values, unit=unit, description=what,
        comments=f"columns: {', '.join(stream.header.labels)}", **_when(stamps),
    )  # fmt: skip
    module.add(series)
    if trials:
        module.add(
            pynwb.TimeSeries(
                name=f"{name}_trial", data=values[:, -2:].astype(np.int32), unit="n.a.",
                description=f"Trial's number and bin of each sample of {name}.",
                timestamps=series,
            )
        )  # fmt: skip
    return len(stamps)


def _when(stamps: NDArray[np.float64]) -> dict[str, Any]:
    """Return stamps, or their rate where they are evenly spaced."""
    n = len(stamps) - 1
    if n > 0 and stamps[-1] > stamps[0]:
        step = (stamps[-1] - stamps[0]) / n
        if np.abs(stamps - (stamps[0] + step * np.arange(n + 1))).max() < _JITTER:
            return {"starting_time": float(stamps[0]), "rate": round(1.0 / float(step), 9)}
    return {"timestamps": stamps}


def utc(text: str) -> datetime:
    """Read an ISO 8601 time; one without a zone is taken for UTC.

    Raises
    ------
    RecordingError
        If it is none.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise RecordingError(
            f"'{text}' is no time; write it like 2025-03-01T10:30:00+01:00"
        ) from error
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)
