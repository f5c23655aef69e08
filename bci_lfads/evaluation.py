"""Scores of a model on a recording: what its factors and rates are worth, engine by engine."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bci_lfads.engines import open_engine
from bci_lfads.errors import EngineError, RecordingError
from bci_lfads.models.model import Model
from bci_lfads.models.training_data import clear_of
from bci_lfads.offline import cut, infer_all, unit_names
from bci_lfads.recordings import Recording
from bci_lfads.rig import SlidingSettings, TrialSettings
from bci_lfads.samples import Samples, separate
from bci_lfads.scoring import Asked, Known, Scores, conditions_of, score

log = logging.getLogger(__name__)

Window = TrialSettings | SlidingSettings
HELD_OUT = "held_out_units"
"""Of a model's provenance: a JSON list of the units that its training kept from it."""


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
    held_out: tuple[str, ...]
    """Units that the model does not see and that its factors are to foretell."""
    fitted_on: str
    """Windows on which the readout of those was fitted, in words; empty where there are none."""
    engines: dict[str, Scores]

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return asdict(self) | {"engines": {k: v.as_dict() for k, v in self.engines.items()}}


class Fit(NamedTuple):
    """Where the readout of held-out units is fitted; default: see `evaluate_model`.

    Attributes
    ----------
    recording
        Another one, such as that which the model was trained on.
    window
        How it, or the recording that is scored, is cut for the fit.
    """

    recording: Recording | None = None
    window: Window | None = None


def evaluate_model(
    model: Model,
    recording: Recording,
    window: Window | None = None,
    unit_map: Mapping[str, str] | None = None,
    asked: Asked | None = None,
    *,
    fit: Fit | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Score a model in floating point and in fixed point on the same windows.

    The readout of held-out units is fitted on the windows that `fit` names. Without it: where the
    scored trials start with another marker than the model's own, on the model's own trials of the
    same recording; else in folds, each fifth of the windows by a readout of the others.

    Parameters
    ----------
    model, recording, window, unit_map
        As for `bci_lfads.offline.cut`.
    asked
        What is scored beside the likelihood.
    fit
        Where the readout of held-out units is fitted.
    on_progress
        Called with the number of windows inferred, and of all to infer.

    Raises
    ------
    RecordingError
        If no whole window can be cut, or none has a spike.
    """
    asked = asked or Asked()
    others = held_out_units(model, recording, unit_map)
    samples, n_truncated = _samples(recording, model, window, unit_map, others)
    to_fit, where = (None, "") if not others else _to_fit(
        model, recording, window, unit_map, others, samples, fit or Fit()
    )  # fmt: skip
    conditions = conditions_of(recording, samples.batch, asked.conditions)
    hop = window.hop if isinstance(window, SlidingSettings) else None
    steps = [s.batch.counts for s in (samples, to_fit) if s is not None]
    engines = ("torch",) if model.fixed is None else ("torch", "native")
    total = len(engines) * sum(len(counts) for counts in steps)
    done = 0
    scores: dict[str, Scores] = {}
    for name in engines:
        found = []
        for counts in steps:

            def advance(some: int, before: int = done) -> None:
                if on_progress is not None:
                    on_progress(before + some, total)

            used, factors, log_rates = infer(name, model, counts, advance)
            found.append((factors, log_rates))
            done += len(counts)
        known = None if to_fit is None else Known(found[1][0], to_fit.held_out)
        scores[used] = score(
            *found[0], samples, recording, conditions, asked, hop=hop, known=known
        )  # fmt: skip
    return Evaluation(
        model.hash, recording.name, len(samples.batch.counts), n_truncated, len(set(conditions)),
        others, where, scores,
    )  # fmt: skip


def held_out_units(
    model: Model, recording: Recording, unit_map: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """Return the units of a recording that the model's factors are to foretell.

    Those that its training held out, as its provenance says; of a model that does not say, all
    units of the recording that it does not know and that fire.
    """
    text = model.provenance.get(HELD_OUT)
    if text is not None:
        try:
            labels = json.loads(text)
        except (ValueError, RecursionError):
            labels = []
        asked = {str(label) for label in labels} if isinstance(labels, list) else set()
        found = tuple(u for u in recording.unit_labels if u in asked)
        if len(found) < len(asked):
            log.warning("%d of %d held-out units are not in this recording",
                        len(asked) - len(found), len(asked))  # fmt: skip
        return found
    used = set(unit_names(model, unit_map or {}))
    rates = recording.mean_rates()
    return tuple(
        unit for unit, rate in zip(recording.unit_labels, rates, strict=True)
        if rate > 0 and unit not in used
    )  # fmt: skip


def _samples(
    recording: Recording,
    model: Model,
    window: Window | None,
    unit_map: Mapping[str, str] | None,
    others: tuple[str, ...],
) -> tuple[Samples, int]:
    """Return whole windows, and how many were not."""
    spec = model.spec
    whole = cut(recording, model, window, unit_map, n_ahead=spec.n_ahead, others=others)
    good = np.flatnonzero(~whole.truncated)
    samples = separate(whole, spec.n_bins, spec.n_units).rows(good)
    return samples, len(whole.counts) - len(good)


def _to_fit(
    model: Model,
    recording: Recording,
    window: Window | None,
    unit_map: Mapping[str, str] | None,
    others: tuple[str, ...],
    scored: Samples,
    fit: Fit,
) -> tuple[Samples | None, str]:
    """Return the windows to fit a readout of held-out units on, and which they are, in words."""
    if fit.recording is not None:
        found, _ = _samples(fit.recording, model, fit.window or window, unit_map, others)
        return found, f"{len(found.batch.counts)} windows of {fit.recording.name or 'another'}"
    chosen = fit.window
    if chosen is None and isinstance(window, TrialSettings) and model.alignment is not None:
        own = model.alignment
        there = any(fnmatchcase(label, own.start) for label in recording.markers.labels)
        if there and own.start != window.start:
            chosen = TrialSettings(mode="trials", **own.model_dump())
    if chosen is None:
        return None, "four fifths of the scored windows, in turn"
    found, _ = _samples(recording, model, chosen, unit_map, others)
    length = (model.spec.n_bins_out) * model.bin_width
    rows = np.flatnonzero(clear_of(found.batch.starts, np.sort(scored.batch.starts), length))
    if not len(rows):
        raise RecordingError(
            "all windows to fit a readout of held-out units on overlap those that are scored; "
            "choose others"
        )
    what = chosen.start if isinstance(chosen, TrialSettings) else "sliding window"
    return found.rows(rows), f"{len(rows)} windows, {what}"


def infer(
    name: str, model: Model, counts: NDArray[np.uint8], advance: Callable[[int], None] | None = None
) -> tuple[str, NDArray[np.float32], NDArray[np.float32]]:
    """Infer by an engine, or by NumPy where torch is asked for and not there.

    Returns
    -------
    used : str
        The engine; ``reference`` for NumPy.
    factors, log_rates : ndarray
        Shape ``(n_windows, n_bins_out, …)``.
    """
    try:
        engine = open_engine(name, model)
    except EngineError as error:
        if name != "torch":
            raise
        log.info("%s: the float model is evaluated in NumPy", error)
        from bci_lfads.models.reference import evaluate

        parts = []
        for first in range(0, len(counts), 64):
            trace = evaluate(model.spec, model.weights, counts[first : first + 64])
            parts.append((trace.factors, trace.log_rates))
            if advance is not None:
                advance(min(first + 64, len(counts)))
        factors, log_rates = zip(*parts, strict=True)
        return (
            "reference",
            np.concatenate(factors).astype(np.float32),
            np.concatenate(log_rates).astype(np.float32),
        )
    with engine:
        latents = infer_all(engine, counts, on_progress=advance)
    return name, latents.factors, np.asarray(latents.log_rates)
