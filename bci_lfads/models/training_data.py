"""Windows for training: which are for validation, and what about them is unfit."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bci_lfads.errors import RecordingError

FEWEST = 8
"""Windows that can be trained on at all."""
FEW = 100
"""Independent windows below which a network of this kind is likely to overfit."""
_RUN_LENGTHS = 8
"""Overlapping windows are split in runs of this many window lengths, if there are enough."""
_FEWEST_RUNS = 10
_LOUD = 8
_SLACK = 1e-6
"""Of a window's length: windows that overlap by less than this do not."""


class Split(NamedTuple):
    """Indices of windows, ascending, int64."""

    training: NDArray[np.int64]
    validation: NDArray[np.int64]


def split(starts: NDArray[np.float64], length: float, share: float = 0.2, seed: int = 0) -> Split:
    """Choose windows for validation that have no moment in common with those for training.

    Trials are drawn singly. Windows that overlap, such as a sliding window's, are drawn in runs,
    and those of the others that overlap a drawn one are used for neither.

    Parameters
    ----------
    starts
        Left edges, seconds, ascending, shape ``(n_windows,)``.
    length
        Of a window, seconds.
    share
        Of windows for validation, above 0 and below 1.
    seed
        Of the draw.

    Raises
    ------
    RecordingError
        If there are too few windows for both.
    """
    if not 0 < share < 1:
        raise RecordingError(f"a share of {share:g} for validation; it lies above 0 and below 1")
    n = len(starts)
    gaps = np.diff(starts)
    slack = _SLACK * length
    run = 1
    if n > 1 and float(np.median(gaps)) < length - slack:
        windows_a_length = length / max(float(np.median(gaps)), slack)
        run = max(1, min(round(_RUN_LENGTHS * windows_a_length), n // _FEWEST_RUNS))
    runs = np.array_split(np.arange(n), max(1, n // run))
    order = np.random.default_rng(seed).permutation(len(runs))
    n_drawn = max(1, round(share * len(runs)))
    validation = np.sort(np.concatenate([runs[k] for k in order[:n_drawn]]))
    training = np.flatnonzero(clear_of(starts, starts[validation], length))
    if len(training) < FEWEST / 2 or n < FEWEST:
        raise RecordingError(
            f"{n} windows of {length:g} s leave {len(training)} for training and {len(validation)} "
            f"for validation that do not overlap; at least {FEWEST} are needed, hundreds are "
            "better: record more trials, or take shorter windows"
        )
    return Split(training.astype(np.int64), validation.astype(np.int64))


def clear_of(
    starts: NDArray[np.float64], others: NDArray[np.float64], length: float
) -> NDArray[np.bool_]:
    """Return which windows have no moment in common with any of some others.

    Parameters
    ----------
    starts, others
        Left edges, seconds; those of the others ascending.
    length
        Of all windows, seconds.
    """
    least = (1 - _SLACK) * length
    # The nearest of the others at or before each start, and the next one after it.
    after = np.searchsorted(others, starts, "right")
    before = np.append(-np.inf, others)[after]
    following = np.append(others, np.inf)[after]
    return np.asarray((starts - before >= least) & (following - starts >= least))


def faults(
    counts: NDArray[np.uint8], labels: tuple[str, ...], bin_width: float, n_independent: int
) -> list[str]:
    """Return in words what may spoil a training on these windows; nothing, if all is well.

    Parameters
    ----------
    counts
        All windows, uint8, shape ``(n_windows, n_bins, n_units)``.
    labels
        Of the units.
    bin_width
        Seconds.
    n_independent
        How many of the windows do not overlap.

    Raises
    ------
    RecordingError
        If there is nothing to train on: no window, or none with a spike.
    """
    n_windows, n_bins, n_units = counts.shape
    if n_windows == 0 or not counts.any():
        raise RecordingError(
            f"{n_windows} windows hold no spike of any of {n_units} units; compare the times of "
            "spikes and markers, and the units' labels"
        )
    found = []
    total = counts.sum(axis=(0, 1), dtype=np.int64)
    if silent := [label for label, n in zip(labels, total, strict=True) if n == 0]:
        found.append(
            f"{len(silent)} of {n_units} units are silent in all windows ({_some(silent)}): "
            "nothing can be learnt of them; leave them out with a lowest rate"
        )
    if n_independent < FEW:
        found.append(
            f"only {n_independent} windows that do not overlap: fewer than {FEW} are easily "
            "learnt by heart; compare the validation likelihood with the training's"
        )
    empty = int((~counts.any(axis=(1, 2))).sum())
    if empty:
        found.append(f"{empty} of {n_windows} windows hold no spike: were units or markers lost?")
    n_values = n_windows * n_bins * n_units
    if saturated := int((counts == np.iinfo(np.uint8).max).sum()):
        found.append(
            f"{saturated} of {n_values} counts are at 255, where they saturate: take shorter bins"
        )
    mean = float(total.sum()) / n_values
    if mean < 1e-3:
        found.append(
            f"one spike in {1 / mean:.0f} bins of {1e3 * bin_width:g} ms: take wider bins, or "
            "leave out units that hardly fire"
        )
    peak = float(np.asarray(total, np.float64).max()) / (n_windows * n_bins)
    if peak > _LOUD:
        found.append(
            f"unit {labels[int(total.argmax())]} has {peak:.1f} spikes a bin on average: at "
            f"{1e3 * bin_width:g} ms a bin this is no single unit's rate"
        )
    return found


def check_bins(bin_width: float, n_bins: int, duration: float, source_width: float | None) -> None:
    """Refuse bins that a recording cannot give.

    Parameters
    ----------
    bin_width, n_bins
        Of the windows, seconds and number.
    duration
        Of the recording, seconds.
    source_width
        Width of the recording's own bins, seconds; None where it has spike times.

    Raises
    ------
    RecordingError
        Naming both.
    """
    if not (math.isfinite(bin_width) and 0 < bin_width <= 10):
        raise RecordingError(f"bins of {bin_width} s; expected above 0 and at most 10 s")
    if n_bins < 2:
        raise RecordingError(f"a window of {n_bins} bin has no course in time; take more bins")
    if n_bins * bin_width > duration:
        raise RecordingError(
            f"{n_bins} bins of {bin_width:g} s are {n_bins * bin_width:g} s; the recording lasts "
            f"{duration:g} s. Take fewer or shorter bins"
        )
    if source_width is not None:
        ratio = bin_width / source_width
        if round(ratio) < 1 or abs(ratio - round(ratio)) > 1e-6 * ratio:
            raise RecordingError(
                f"the recording holds counts in bins of {source_width:g} s; bins of {bin_width:g} "
                f"s are not a whole multiple of them: take {max(1, round(ratio)) * source_width:g}"
            )


def independent(starts: NDArray[np.float64], length: float) -> NDArray[np.int64]:
    """Return the windows that can be taken, from the first on, such that none overlap."""
    taken, end = [], -math.inf
    for i, start in enumerate(starts.tolist()):
        if start >= end - 1e-6 * length:
            taken.append(i)
            end = start + length
    return np.array(taken, np.int64)


def _some(labels: list[str], most: int = 5) -> str:
    more = f" and {len(labels) - most} more" if len(labels) > most else ""
    return ", ".join(labels[:most]) + more
