"""Fitting decoders to a recording's rows, and scoring them on rows that the fit did not see."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bci_lfads.decoding.classifier import classes_at, fit_classifier
from bci_lfads.decoding.file import Decoder, Facts, Input, Method
from bci_lfads.decoding.kalman import fit_kalman
from bci_lfads.decoding.rows import Rows, behaviour_at, features_of, rows_of
from bci_lfads.errors import DecoderError
from bci_lfads.models.model import Model
from bci_lfads.models.scores import R2, best_alpha, folds, r2, ridge
from bci_lfads.parts import as_masked
from bci_lfads.preparing import digest
from bci_lfads.recordings import Recording
from bci_lfads.rig import Rig, SlidingSettings

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]
Tensors = dict[str, Floats]
_BLOCK = 8  # window lengths in a block of a sliding window's rows
_MOST_BLOCKS = 50
_FEWEST = 5  # trials, blocks or markers


@dataclass(frozen=True)
class Asked:
    """What to fit."""

    method: Method = "ridge"
    input: Input = "factors"
    behaviour: str = "behaviour"
    """Series; of a classifier the pattern of markers that name a class."""
    channels: tuple[str, ...] | None = None
    """Of the series; default: all."""
    unit: str = ""
    history: float = 0.0
    """Seconds of rows before the newest that the decoder sees."""
    smoothing: float = 0.0
    """Time constant of an exponential average of rows, seconds."""
    lag: float = 0.0
    """Seconds by which behaviour follows."""
    interval: tuple[float, float] = (0.0, 0.5)
    """Of a classifier: seconds after a marker for which its class holds."""

    def __post_init__(self) -> None:
        for name in ("history", "smoothing"):
            if not 0 <= getattr(self, name) <= 10:
                raise DecoderError(f"{name} is {getattr(self, name)} s; expected 0 to 10")
        if not abs(self.lag) <= 10:
            raise DecoderError(f"the lag is {self.lag} s; expected -10 to 10")
        if self.method == "kalman" and self.history:
            raise DecoderError("a Kalman filter carries its own past: leave the history out")


@dataclass(frozen=True)
class FitReport:
    """A decoder and its cross-validated scores.

    ``scores`` are R² by channel and ``mean``, or a classifier's ``bins`` and ``trials``: shares of
    rows and of markers that it told right, and ``chance``.
    """

    decoder: Decoder
    scores: dict[str, float]
    n_rows: int
    n_parts: int
    """Trials, or blocks that share no spikes, over which was cross-validated."""


def fit(
    recording: Recording,
    rig: Rig,
    model: Model,
    asked: Asked,
    *,
    seed: int = 0,
    on_progress: Callable[[float], None] | None = None,
) -> FitReport:
    """Fit a decoder to what a run of the rig would publish of a recording.

    Parameters
    ----------
    recording, rig, model
        As of `rows_of`; what the rig masks of the model is masked here.
    asked
        What to fit.
    seed
        Of the shuffle of folds.
    on_progress
        Called with the seconds of recording done.

    Raises
    ------
    DecoderError, RecordingError
        If the recording does not have what is asked for, or too little of it.
    """
    model = as_masked(rig, model)
    rows = rows_of(recording, rig, model, asked.input, on_progress=on_progress)
    width = model.bin_width
    facts = Facts(
        method=asked.method, channels=("unknown",), unit=asked.unit, input=asked.input,
        n_inputs=rows.values.shape[1], model_hash=model.hash, bin_width=width,
        mode=rig.window.mode, history=round(asked.history / width), smoothing=asked.smoothing,
        hop=rig.window.hop if isinstance(rig.window, SlidingSettings) else None,
        lag=asked.lag, behaviour=asked.behaviour,
    )  # fmt: skip
    features = features_of(rows, facts)
    if asked.method == "direction":
        at = rows.stamps + asked.lag
        held = classes_at(recording, asked.behaviour, asked.interval, at)
        tensors, scores = fit_classifier(rows, features, held, seed)
        labels = held.labels
        n_rows, n_parts = int((held.markers >= 0).sum()), held.n_markers
    else:
        targets, labels = behaviour_at(
            recording, asked.behaviour, asked.channels, rows.stamps + asked.lag
        )
        x, y = _parts(rows, features, targets, facts)
        fitter = _fit_ridge if asked.method == "ridge" else fit_kalman
        facts = facts.model_copy(update={"channels": labels})
        scores = _cross_validate(x, y, facts, fitter, seed)
        whole = np.isfinite(targets).all(axis=1)
        if asked.method == "ridge":
            tensors = _fit_ridge(x, y, on=(features[whole], targets[whole]))
        else:
            tensors = fit_kalman(x, y)
        n_rows, n_parts = int(whole.sum()), len(x)
    provenance = {
        "recording": recording.name,
        "data_sha256": digest(recording),
        "window": ", ".join(
            f"{k} {v}" for k, v in rig.window.model_dump(exclude_none=True).items()
        ),
        "rows": str(n_rows),
        **{f"cross_validated_{name}": f"{value:.4f}" for name, value in scores.items()},
    }  # fmt: skip
    decoder = Decoder(facts.model_copy(update={"channels": labels}), tensors, provenance)
    return FitReport(decoder, scores, n_rows, n_parts)


def _parts(rows: Rows, features: Floats, targets: Floats, facts: Facts) -> tuple[Floats, Floats]:
    """Return pieces of equal length that share no spikes, ``(n_pieces, n_rows, …)``.

    Trials are pieces as they are. Of a sliding window they are blocks, each without its first
    rows, whose windows reach into the block before.
    """
    stretches = rows.stretches()
    if facts.mode == "sliding":
        margin = rows.n_bins + facts.history + round(5 * facts.smoothing / facts.bin_width)
        n_good = int(np.isfinite(targets).all(axis=1).sum())
        length = max(_BLOCK * rows.n_bins, 2 * margin, n_good // _MOST_BLOCKS)
        cut = []
        for s in stretches:
            good = np.isfinite(targets[s]).all(axis=1)
            first = s.start + (int(good.argmax()) if good.any() else s.stop - s.start)
            begins = range(first, s.stop - length + 1, length)
            cut += [slice(begin + margin, begin + length) for begin in begins]
        stretches = cut
    else:
        ends = [rows.stamps[s.stop - 1] for s in stretches]
        starts = [rows.stamps[s.start] for s in stretches]
        apart = [k == 0 or starts[k] > max(ends[:k]) for k in range(len(stretches))]
        stretches = [s for s, is_apart in zip(stretches, apart, strict=True) if is_apart]
    kept = [s for s in stretches if s.stop > s.start and np.isfinite(targets[s]).all()]
    if len(kept) < _FEWEST:
        raise DecoderError(
            f"{len(kept)} trials, or stretches of {_BLOCK} windows (longer if the decoder's memory "
            f"is), have behaviour and share no spikes; at least {_FEWEST} are needed to "
            "cross-validate: record more, or look at the times of the behaviour"
        )
    return np.stack([features[s] for s in kept]), np.stack([targets[s] for s in kept])


def _fit_ridge(x: Floats, y: Floats, on: tuple[Floats, Floats] | None = None) -> Tensors:
    """Fit with the penalty that predicts left-out pieces best; `on` all rows, if given."""
    alpha = best_alpha(x, y)
    ((weights, offset),) = ridge(*(on or (x, y)), (alpha,))
    return {"weights": np.ascontiguousarray(weights.T), "offset": offset}


def _cross_validate(
    x: Floats, y: Floats, facts: Facts, fitter: Callable[[Floats, Floats], Tensors], seed: int
) -> dict[str, float]:
    found = np.empty_like(y)
    out = np.empty(y.shape[2])
    for training, test in folds(len(x), 5, seed):
        step = Decoder(facts, fitter(x[training], y[training])).step()
        for k in test:
            step.reset()
            for row, features in enumerate(x[k]):
                step(features, out)
                found[k, row] = out
    n = y.shape[2]
    return _named(r2(y.reshape(-1, n), found.reshape(-1, n)), facts.channels)


def _named(scores: R2, channels: tuple[str, ...]) -> dict[str, float]:
    each = {f"r2_{c}": float(v) for c, v in zip(channels, scores.each, strict=True)}
    return {"r2_mean": scores.mean, **each}
