"""Decoded behaviour laid over the true one: stretches of rows, and where the cursor is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bci_lfads_gui.model.agreement import truth_at
from bci_lfads_gui.model.ring import Ring
from bci_lfads_gui.model.store import Series
from bci_lfads_gui.model.trials import TrialStore

PLACE, TARGET = ("x", "y"), ("target_x", "target_y")
"""Channels of behaviour that say where a cursor and its target are."""
_TAIL = 1.5  # seconds of the cursor's path
_JUMP = 1.5  # rows; a longer step in the stamps is a gap
_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Stretch:
    """A trial, or the last seconds of a sliding window.

    Attributes
    ----------
    x
        Seconds from time zero of the trial, or before the newest row, shape ``(n,)``.
    times
        Of the behaviour, seconds on the stamps' clock, shape ``(n,)``.
    decoded, true
        Shape ``(n, n_channels)``, both by the decoded channels; NaN where not known.
    label
        The trial's condition.
    number
        Of the trial; None of a sliding window.
    strength
        From 0, faint, to 1, the newest.
    """

    x: _Floats
    times: _Floats
    decoded: _Floats
    true: _Floats
    label: str = ""
    number: int | None = None
    strength: float = 1.0


@dataclass(frozen=True)
class Cursor:
    """Where a cursor was in the last moments, and its target; the target is NaN where none is."""

    path: _Floats
    at: _Floats
    target: _Floats


def stretches(
    decoded: Series, truth: Series | None, *, span: float, trials: int, offset: float
) -> list[Stretch]:
    """Return what is decoded with what was true, oldest first.

    Parameters
    ----------
    decoded, truth
        As the store keeps them.
    span
        Seconds of a sliding window.
    trials
        Trials at most.
    offset
        Seconds from a trial's time zero to its first edge.
    """
    known = _in_order(truth.rows) if truth is not None and truth.rows is not None else None

    def true_of(times: _Floats) -> _Floats:
        found = np.full((len(times), len(decoded.labels)), np.nan)
        if known is not None and truth is not None:
            for k, label in enumerate(decoded.labels):
                if label in truth.labels:
                    column = known[1][:, truth.labels.index(label)]
                    found[:, k] = truth_at(times, known[0], column)
        return found

    if decoded.trials is not None:
        return _of_trials(decoded.trials, decoded.lag, trials, offset, true_of)
    if decoded.rows is None or not len(decoded.rows):
        return []
    times, values = decoded.rows.newest()
    newest = float(times.max())
    kept = (times > newest - span) & (times <= newest)
    times, values = times[kept], values[kept].astype(np.float64)
    order = np.argsort(times, kind="stable")
    times, values = times[order] + decoded.lag, values[order]
    true = true_of(times)
    # A row of NaN wherever the stamps jump.
    steps = np.diff(times)
    usual = float(np.median(steps)) if len(steps) else 0.0
    gaps = np.flatnonzero(steps > _JUMP * usual + 1e-9) + 1
    times = np.insert(times, gaps, np.nan)
    values, true = (np.insert(v, gaps, np.nan, axis=0) for v in (values, true))
    return [Stretch(times - decoded.lag - newest, times, values, true)]


def cursor_of(truth: Series | None) -> Cursor | None:
    """Return the cursor; None where the true behaviour has no channels ``x`` and ``y``."""
    if truth is None or truth.rows is None or not set(PLACE) <= set(truth.labels):
        return None
    times, rows = _in_order(truth.rows)
    if not len(times):
        return None
    recent = times > times[-1] - _TAIL
    place = rows[recent][:, [truth.labels.index(c) for c in PLACE]].astype(np.float64)
    target = np.full(2, np.nan)
    path = place.copy()
    if set(TARGET) <= set(truth.labels):
        aims = rows[recent][:, [truth.labels.index(c) for c in TARGET]].astype(np.float64)
        target = aims[-1]
        # Without a target the cursor may be put elsewhere, which is no movement.
        path[np.isnan(aims).any(axis=1)] = np.nan
    return Cursor(path, place[-1], target)


def _of_trials(
    store: TrialStore, lag: float, most: int, offset: float,
    true_of: Callable[[_Floats], _Floats],
) -> list[Stretch]:  # fmt: skip
    found = store.newest(most)
    middles: _Floats = (np.arange(store.n_bins, dtype=np.float64) + 0.5) * store.bin_width
    shown = []
    for k, trial in enumerate(found, 1):
        times = middles + (trial.start + lag)
        strength = 1.0 if k == len(found) else 0.1 + 0.5 * k / len(found)
        decoded, true = trial.values.astype(np.float64), true_of(times)
        shown.append(
            Stretch(middles + offset, times, decoded, true, trial.label, trial.number, strength)
        )
    return shown


def _in_order(rows: Ring) -> tuple[_Floats, NDArray[np.float32]]:
    times, values = rows.newest()
    order = np.argsort(times, kind="stable")
    return times[order], values[order]
