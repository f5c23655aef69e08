"""Fitting a classifier of rows, and counting what it tells right."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci_lfads.decoding.rows import Rows
from bci_lfads.errors import DecoderError
from bci_lfads.models.scores import folds
from bci_lfads.recordings import Recording

Floats = NDArray[np.float64]
_FEWEST = 5  # markers


@dataclass(frozen=True)
class Held:
    """Which class holds when.

    Attributes
    ----------
    classes
        Position in `labels` for each row, int64, -1 for none.
    markers
        Number of the marker for each row, int64, -1 for none.
    labels
        Of the classes, sorted.
    """

    classes: NDArray[np.int64]
    markers: NDArray[np.int64]
    labels: tuple[str, ...]

    @property
    def n_markers(self) -> int:
        """Markers that rows go with."""
        return len(np.unique(self.markers[self.markers >= 0]))


def classes_at(
    recording: Recording, pattern: str, interval: tuple[float, float], times: Floats
) -> Held:
    """Return which marker's time each moment is in.

    Parameters
    ----------
    recording
        The recording.
    pattern
        Of the markers that name a class, ``*`` and ``?``.
    interval
        Seconds after a marker from which and until which its class holds.
    times
        Seconds.

    Raises
    ------
    DecoderError
        If fewer than two kinds of markers fit, or the interval is none.
    """
    fit = [k for k, m in enumerate(recording.markers.labels) if fnmatchcase(m, pattern)]
    names = [recording.markers.labels[k] for k in fit]
    labels = tuple(sorted(set(names)))
    if len(labels) < 2:
        raise DecoderError(
            f"{len(labels)} kinds of markers fit '{pattern}'; a classifier needs two. There are "
            f"{', '.join(sorted(set(recording.markers.labels))) or 'none'}"
        )
    if not interval[0] < interval[1]:
        raise DecoderError(f"an interval from {interval[0]} s until {interval[1]} s holds nothing")
    classes, markers = np.full(len(times), -1, np.int64), np.full(len(times), -1, np.int64)
    for number, (k, label) in enumerate(zip(fit, names, strict=True)):
        at = recording.markers.times[k]
        inside = (times >= at + interval[0]) & (times < at + interval[1])
        classes[inside], markers[inside] = labels.index(label), number
    return Held(classes, markers, labels)


def told_right(probability: Floats, held: Held) -> dict[str, float]:
    """Return the shares of rows, and of markers by all their rows together, that are told right.

    Parameters
    ----------
    probability
        Of each class, shape ``(n_rows, n_classes)``.
    held
        What was the case.

    Raises
    ------
    DecoderError
        If no row goes with a marker.
    """
    inside = held.markers >= 0
    if not inside.any():
        raise DecoderError("none of the rows is in the interval after a marker")
    right = probability[inside].argmax(axis=1) == held.classes[inside]
    votes = []
    for marker in np.unique(held.markers[inside]):
        own = held.markers == marker
        total = np.log(np.maximum(probability[own], 1e-12)).sum(axis=0)
        votes.append(int(total.argmax()) == held.classes[own][0])
    return {
        "bins": float(right.mean()),
        "trials": float(np.mean(votes)),
        "chance": float(np.bincount(held.classes[inside]).max() / inside.sum()),
    }


def fit_classifier(
    rows: Rows, features: Floats, held: Held, seed: int
) -> tuple[dict[str, Floats], dict[str, float]]:
    """Fit to all rows that go with a marker, and score on markers that a fit did not see.

    Raises
    ------
    DecoderError
        If there are too few markers, or scikit-learn is not there.
    """
    known = np.unique(held.markers[held.markers >= 0])
    n = len(held.labels)
    if len(known) < max(_FEWEST, n):
        raise DecoderError(f"rows go with {len(known)} markers only; record more trials")
    # Windows of a trial are its own; those of a sliding window share spikes with their neighbours.
    reach = 0 if rows.begins.sum() >= len(known) else rows.n_bins
    probability = np.full((len(rows.stamps), n), np.nan)
    for training, test in folds(len(known), 5, seed):
        out = np.isin(held.markers, known[test])
        seen = np.isin(held.markers, known[training]) & ~_near(out, reach)
        fitted = _discriminant(features[seen], held.classes[seen], n)
        probability[out] = _softmax(features[out] @ fitted["weights"].T + fitted["offset"])
    inside = held.markers >= 0
    tensors = _discriminant(features[inside], held.classes[inside], n)
    return tensors, told_right(probability, held)


def _near(held: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """Return the rows that are fewer than `reach` from one that is held out."""
    if not reach:
        return held
    return np.asarray(np.convolve(held, np.ones(2 * reach - 1), "same") > 0.5, np.bool_)


def _discriminant(features: Floats, classes: NDArray[np.int64], n: int) -> dict[str, Floats]:
    """Fit a linear discriminant with a shrunk covariance, which is a softmax of a linear map."""
    try:
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    except ImportError as error:
        raise DecoderError(
            f"a classifier is fitted by scikit-learn, which cannot be imported ({error}); install "
            "it with pip install 'bci-lfads[decode]'"
        ) from error
    if len(np.unique(classes)) < n:
        raise DecoderError("a fold has no row of one of the classes; record more trials of each")
    analysis: Any = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    analysis.fit(features, classes)
    weights = np.asarray(analysis.coef_, np.float64)
    offset = np.asarray(analysis.intercept_, np.float64)
    if n == 2:  # one map stands for two
        weights = np.concatenate([np.zeros_like(weights), weights])
        offset = np.concatenate([np.zeros_like(offset), offset])
    return {"weights": np.ascontiguousarray(weights), "offset": offset}


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float64)
