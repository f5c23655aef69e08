"""Recordings from MATLAB files that hold trials of spike trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci_lfads.errors import RecordingError
from bci_lfads.recordings.mat_guard import check_mat
from bci_lfads.recordings.recording import Markers, Recording, SpikeEvents

# Reach angles, degrees, of the columns of the delayed centre-out sets in this layout
# (Shenoy laboratory, eight directions); the files themselves do not say them.
_ANGLES = ("30", "70", "110", "150", "190", "230", "310", "350")


@dataclass(frozen=True)
class _Trial:
    number: float
    split: str
    column: int
    spikes: NDArray[Any]


def read_mat(
    path: Path,
    *,
    split: str | None = None,
    interval: float = 0.001,
    gap: float = 0.3,
    conditions: Sequence[str] | None = None,
) -> Recording:
    """Lay the trials of a MATLAB file on one time line.

    The file holds struct arrays ``<split>_trial`` (e.g. ``train_trial``) of shape
    ``(repetitions, conditions)`` with the fields ``trialId`` and ``spikes``, the latter 0 and 1
    (or small counts) of shape ``(units, samples)``. Trials follow in the order of their ids,
    with a silent gap after each. A spike's time is the centre of its sample, so that it is on
    no edge of a bin. Each trial's start has a marker ``trial/<split>/<condition>``.

    Parameters
    ----------
    path
        The file, MATLAB 5 (``-v7`` and older).
    split
        Read only this one, e.g. ``train``.
    interval
        Seconds a sample.
    gap
        Seconds of silence after each trial.
    conditions
        One label a column; default: reach angles 30 to 350 for eight columns, else numbers
        from 0.

    Raises
    ------
    RecordingError
        If scipy is missing, the file is damaged or holds no such trials.
    """
    if not (np.isfinite(interval) and interval > 0 and np.isfinite(gap) and gap >= 0):
        raise RecordingError(f"interval={interval} s and gap={gap} s; they must be positive")
    source = str(path)
    sets = _sets(path)
    if split is not None:
        if split not in sets:
            raise RecordingError(f"{source} has no split {split!r}; it has {', '.join(sets)}")
        sets = {split: sets[split]}
    columns = {s.shape[1] for s in sets.values()}
    n_columns = max(columns)
    if conditions is None:
        conditions = _ANGLES if columns == {8} else [str(i) for i in range(n_columns)]
    if len(conditions) < n_columns:
        raise RecordingError(
            f"{source}: {len(conditions)} conditions given for {n_columns} columns of trials"
        )
    trials = sorted(_trials(sets, source), key=lambda t: t.number)
    n_units = {len(t.spikes) for t in trials}
    if len(n_units) != 1:
        raise RecordingError(f"{source}: trials have {sorted(n_units)} units; they must agree")
    return _lay_out(trials, n_units.pop(), interval, gap, conditions, path.name)


def _lay_out(
    trials: list[_Trial],
    n_units: int,
    interval: float,
    gap: float,
    conditions: Sequence[str],
    name: str,
) -> Recording:
    lengths = np.array([t.spikes.shape[1] * interval + gap for t in trials])
    starts = np.concatenate([[0.0], np.cumsum(lengths)])
    times, units = [], []
    for trial, start in zip(trials, starts, strict=False):
        sample, unit = np.nonzero(trial.spikes.T)
        repeats = trial.spikes[unit, sample].astype(np.int64)
        times.append(np.repeat(start + (sample + 0.5) * interval, repeats))
        units.append(np.repeat(unit, repeats).astype(np.int32))
    digits = max(2, len(str(n_units)))
    return Recording(
        spikes=SpikeEvents(np.concatenate(times), np.concatenate(units)),
        unit_labels=tuple(f"unit_{i + 1:0{digits}d}" for i in range(n_units)),
        start=0.0,
        stop=float(starts[-1]),
        markers=Markers(
            starts[:-1], tuple(f"trial/{t.split}/{conditions[t.column]}" for t in trials)
        ),
        name=name,
    )


def _sets(path: Path) -> dict[str, NDArray[Any]]:
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise RecordingError(
            f"{path} needs scipy to be read: pip install 'bci-lfads[mat]'"
        ) from error
    try:
        check_mat(path.read_bytes())
        content = loadmat(path)
    # scipy's reader raises whatever the damaged bytes lead it to.
    except Exception as error:
        raise RecordingError(f"{path} is a damaged MATLAB file: {error}") from error
    sets = {}
    for name, value in content.items():
        names = getattr(getattr(value, "dtype", None), "names", None) or ()
        if "spikes" in names and value.ndim == 2 and value.size:
            sets[name.removesuffix("_trial")] = value
    if not sets:
        found = [f"{k} {getattr(v, 'shape', '')}" for k, v in content.items() if k[:2] != "__"]
        raise RecordingError(
            f"{path} holds {', '.join(found[:8]) or 'nothing'}; expected struct arrays with a "
            f"field 'spikes' of shape (units, samples)"
        )
    return sets


def _trials(sets: dict[str, NDArray[Any]], source: str) -> list[_Trial]:
    trials: list[_Trial] = []
    for split, structs in sets.items():
        numbered = "trialId" in (structs.dtype.names or ())
        for (_, column), struct in np.ndenumerate(structs):
            where = f"{source}: trial {len(trials) + 1} ({split})"
            spikes = np.asarray(struct["spikes"])
            good = spikes.ndim == 2 and spikes.dtype.kind in "iuf"
            if spikes.size == 0 and good:
                continue  # conditions with fewer repetitions are padded with empty structs
            if not good or not (np.floor(spikes) == np.clip(spikes, 0, 255)).all():
                raise RecordingError(
                    f"{where} has spikes of {spikes.dtype}, shape {spikes.shape}; expected 0 and "
                    f"1 (or small counts) of shape (units, samples)"
                )
            number = np.asarray(struct["trialId"]).ravel() if numbered else np.array([len(trials)])
            if number.size != 1 or number.dtype.kind not in "iuf":
                raise RecordingError(f"{where} has no single number as trialId")
            trials.append(_Trial(float(number[0]), split, int(column), spikes))
    if not trials:
        raise RecordingError(f"{source}: all its trials are empty")
    return trials
