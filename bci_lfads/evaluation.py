"""Scores of a model on a recording: what its factors and rates are worth, engine by engine."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci_lfads.engines import open_engine
from bci_lfads.errors import EngineError, RecordingError
from bci_lfads.models.model import Model
from bci_lfads.models.scores import R2, bits_per_spike, decode_r2, psth_r2
from bci_lfads.models.training_data import independent
from bci_lfads.offline import cut, infer_all
from bci_lfads.recordings import Recording
from bci_lfads.rig import SlidingSettings, TrialSettings
from bci_lfads.windows import WindowBatch

log = logging.getLogger(__name__)

CONDITIONS = "condition/*"
"""Pattern of markers that name a trial's condition, unless another is given."""
_FEWEST_TRIALS = 4


@dataclass(frozen=True)
class Asked:
    """What is scored beside the likelihood, where a recording has it.

    Raises
    ------
    RecordingError
        If the lag is no time.
    """

    latents: str = "latents"
    """Series of known latents."""
    behaviour: str = "behaviour"
    """Series of behaviour."""
    lag: float = 0.0
    """Seconds by which behaviour follows factors; rounded to whole bins."""
    conditions: str | None = None
    """Pattern of markers that name a trial's condition; default: `CONDITIONS` where there are
    such, else the markers that start and align trials."""

    def __post_init__(self) -> None:
        if not np.isfinite(self.lag):
            raise RecordingError(f"the lag is {self.lag} s; expected seconds")


@dataclass(frozen=True)
class Scores:
    """Scores of one engine; None where the recording has nothing to compare with.

    ``bits_per_spike``, ``psth_r2``, ``latent_r2``, ``behaviour_r2``: see `bci_lfads.models.scores`;
    R² are means over units or channels, ``…_each`` those of each channel.
    """

    bits_per_spike: float
    psth_r2: float | None = None
    latent_r2: float | None = None
    latent_r2_each: Mapping[str, float] | None = None
    behaviour_r2: float | None = None
    behaviour_r2_each: Mapping[str, float] | None = None
    behaviour_lag: float | None = None
    """Seconds."""

    def as_dict(self) -> dict[str, Any]:
        """Return what was scored, as JSON types."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Evaluation:
    """Scores by engine, and on what.

    ``engines`` holds ``torch`` (float64; ``reference``, the same in NumPy, where torch is not
    installed) and ``native`` (fixed point).
    """

    model_hash: str
    recording: str
    n_windows: int
    n_truncated: int
    """Windows left out because something of them may be missing."""
    n_conditions: int
    engines: dict[str, Scores]

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return asdict(self) | {"engines": {k: v.as_dict() for k, v in self.engines.items()}}


def evaluate_model(
    model: Model,
    recording: Recording,
    window: TrialSettings | SlidingSettings | None = None,
    unit_map: Mapping[str, str] | None = None,
    asked: Asked | None = None,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Score a model in floating point and in fixed point on the same windows.

    Parameters
    ----------
    model, recording, window, unit_map
        As for `bci_lfads.offline.cut`.
    asked
        What is scored beside the likelihood.
    on_progress
        Called with the number of windows inferred, and of all to infer.

    Raises
    ------
    RecordingError
        If no whole window can be cut, or none has a spike.
    """
    asked = asked or Asked()
    whole = cut(recording, model, window, unit_map)
    batch = subset(whole, np.flatnonzero(~whole.truncated))
    conditions = conditions_of(recording, batch, asked.conditions)
    scores: dict[str, Scores] = {}
    for k, name in enumerate(("torch", "native")):

        def advance(done: int, before: int = k * len(batch.counts)) -> None:
            if on_progress is not None:
                on_progress(before + done, 2 * len(batch.counts))

        used, factors, log_rates = _infer(name, model, batch, advance)
        scores[used] = score(factors, log_rates, batch, recording, conditions, asked)
    return Evaluation(
        model.hash, recording.name, len(batch.counts), int(whole.truncated.sum()),
        len(set(conditions)), scores,
    )  # fmt: skip


def _infer(
    name: str, model: Model, batch: WindowBatch, advance: Callable[[int], None]
) -> tuple[str, NDArray[np.float32], NDArray[np.float32]]:
    """Return the engine that was there, and its factors and log-rates."""
    try:
        engine = open_engine(name, model)
    except EngineError as error:
        if name != "torch":
            raise
        log.info("%s: the float model is evaluated in NumPy", error)
        from bci_lfads.models.reference import evaluate

        parts = []
        for first in range(0, len(batch.counts), 64):
            trace = evaluate(model.spec, model.weights, batch.counts[first : first + 64])
            parts.append((trace.factors, trace.log_rates))
            advance(min(first + 64, len(batch.counts)))
        factors, log_rates = zip(*parts, strict=True)
        return (
            "reference",
            np.concatenate(factors).astype(np.float32),
            np.concatenate(log_rates).astype(np.float32),
        )
    with engine:
        latents = infer_all(engine, batch.counts, on_progress=advance)
    return name, latents.factors, np.asarray(latents.log_rates)


def score(
    factors: NDArray[np.float32],
    log_rates: NDArray[np.float32],
    batch: WindowBatch,
    recording: Recording,
    conditions: tuple[str, ...],
    asked: Asked,
) -> Scores:
    """Score inferred factors and log-rates of windows of a recording.

    Windows that overlap each other are thinned until none do before anything is decoded: a fit
    must not see what it is scored on.

    Raises
    ------
    RecordingError
        If there is no spike in the windows.
    """
    n_bins = batch.counts.shape[1]
    log_rates = log_rates[:, :n_bins]
    found: dict[str, Any] = {
        "bits_per_spike": bits_per_spike(log_rates, batch.counts, batch.bin_width)
    }
    if len(set(conditions)) > 1:
        found["psth_r2"] = psth_r2(log_rates, batch.counts, conditions, batch.bin_width).mean
    lag = round(asked.lag / batch.bin_width)
    for what, name, shift in (
        ("latent", asked.latents, 0), ("behaviour", asked.behaviour, lag),
    ):  # fmt: skip
        series = recording.series.get(name)
        if series is None or not len(series.times):
            continue
        targets = series_at(recording, name, batch)
        apart = independent(batch.starts, n_bins * batch.bin_width)
        apart = apart[np.isfinite(targets[apart]).all(axis=(1, 2))]
        if len(apart) < _FEWEST_TRIALS:
            log.warning("%s: %d separate windows are too few to decode from", name, len(apart))
            continue
        r2: R2 = decode_r2(factors[apart], targets[apart], lag=shift)
        each = {k: float(v) for k, v in zip(series.labels, r2.each, strict=True)}
        found |= {f"{what}_r2": r2.mean, f"{what}_r2_each": each}
        if what == "behaviour":
            found["behaviour_lag"] = lag * batch.bin_width
    return Scores(**found)


def series_at(recording: Recording, name: str, batch: WindowBatch) -> NDArray[np.float64]:
    """Return a series at the middle of all bins: its nearest samples, not values between two.

    Returns
    -------
    ndarray
        Shape ``(n_windows, n_bins, n_channels)``.
    """
    series = recording.series[name]
    n_bins = batch.counts.shape[1]
    middle = batch.starts[:, None] + batch.bin_width * (np.arange(n_bins) + 0.5)
    nearest = np.searchsorted(0.5 * (series.times[1:] + series.times[:-1]), middle)
    return series.values[nearest].astype(np.float64)


def conditions_of(
    recording: Recording, batch: WindowBatch, pattern: str | None = None
) -> tuple[str, ...]:
    """Return each trial's condition; one and the same for all where nothing tells them apart.

    Parameters
    ----------
    recording, batch
        The recording and its windows.
    pattern
        Of the markers that name conditions. Each goes with the trial whose time zero is nearest,
        and a trial takes the nearest of its own. Default: see `Asked.conditions`.

    Raises
    ------
    RecordingError
        If a pattern is given that no marker fits.
    """
    if not len(batch.trials) or batch.trials[0] < 0:
        return ("",) * len(batch.counts)
    markers = recording.markers
    fits = [fnmatchcase(label, pattern or CONDITIONS) for label in markers.labels]
    if not any(fits):
        if pattern is not None:
            kinds = ", ".join(list(dict.fromkeys(markers.labels))[:5]) or "none"
            raise RecordingError(f"no marker fits '{pattern}'; the recording has {kinds}")
        return tuple(
            a if a == b else f"{a}, {b}"
            for a, b in zip(batch.start_labels, batch.labels, strict=True)
        )
    times = markers.times[fits]
    labels = [label for label, fit in zip(markers.labels, fits, strict=True) if fit]
    zeros = batch.zeros
    owner = np.searchsorted(0.5 * (zeros[1:] + zeros[:-1]), times)
    found = ["none"] * len(zeros)
    # The farthest first, so that the nearest stays.
    for i in np.argsort(-np.abs(times - zeros[owner]), kind="stable").tolist():
        found[owner[i]] = labels[i]
    return tuple(found)


def subset(batch: WindowBatch, rows: NDArray[np.int64]) -> WindowBatch:
    """Return some of the windows.

    Raises
    ------
    RecordingError
        If there are none.
    """
    if not len(rows):
        raise RecordingError(
            "no whole window could be cut: of each one something may be missing, such as what "
            "came before the recording began"
        )
    return WindowBatch(
        batch.counts[rows], batch.starts[rows], batch.zeros[rows], batch.trials[rows],
        tuple(batch.labels[i] for i in rows), tuple(batch.start_labels[i] for i in rows),
        batch.truncated[rows], batch.bin_width,
    )  # fmt: skip
