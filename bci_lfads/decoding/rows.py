"""A recording's rows as a run would publish them, and the behaviour that goes with each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bci_lfads.decoding.file import Facts, Input
from bci_lfads.decoding.steps import Features
from bci_lfads.engines import open_engine
from bci_lfads.errors import DecoderError
from bci_lfads.models.model import Model
from bci_lfads.offline import windows
from bci_lfads.recordings import Recording
from bci_lfads.rig import Rig, SlidingSettings
from bci_lfads.windows import Window

_BATCH = 256
JUMP = 1.5
"""Bins between two stamps from which on a new stretch begins."""


@dataclass(frozen=True)
class Rows:
    """Rows in the order in which they are published.

    Attributes
    ----------
    values
        Factors, or counts, float32, shape ``(n, n_inputs)``.
    stamps
        Centres of their bins, seconds on the recording's clock, float64, shape ``(n,)``.
    begins
        Where a stretch begins: a trial, or what follows a gap; bool, shape ``(n,)``.
    n_bins
        Of the windows: rows of a sliding window that are fewer apart share spikes.
    """

    values: NDArray[np.float32]
    stamps: NDArray[np.float64]
    begins: NDArray[np.bool_]
    n_bins: int

    def stretches(self) -> list[slice]:
        """Return where each stretch lies."""
        edges = [*np.flatnonzero(self.begins).tolist(), len(self.stamps)]
        return [slice(a, b) for a, b in pairwise(edges)]


def rows_of(
    recording: Recording,
    rig: Rig,
    model: Model,
    what: Input = "factors",
    *,
    on_progress: Callable[[float], None] | None = None,
) -> Rows:
    """Take a recording through binning, windows and engine, as a run of the rig would.

    Parameters
    ----------
    recording
        With all units of the model.
    rig
        Its window, units and engine.
    model
        The model, without the units that the rig masks (`bci_lfads.parts.as_masked`).
    what
        ``factors``, or the spike ``counts`` of the same bins.
    on_progress
        Called with the seconds of recording done.

    Raises
    ------
    RecordingError
        If units are missing.
    DecoderError
        If no window can be cut.
    """
    sliding = isinstance(rig.window, SlidingSettings)
    n_bins = model.spec.n_bins
    # A sliding window gives its newest bins, a trial all of them, those predicted after it too.
    last = n_bins if sliding or what == "counts" else model.spec.n_bins_out
    first = n_bins - rig.window.hop if isinstance(rig.window, SlidingSettings) else 0
    centres = (np.arange(first, last) + 0.5) * model.bin_width
    values: list[NDArray[np.float32]] = []
    starts: list[float] = []
    engine = open_engine(rig.engine, model, **rig.engine_options()) if what == "factors" else None
    try:
        for batch in _batches(windows(recording, model, rig.window, rig.input.units)):
            counts = np.stack([w.counts for w in batch])
            rows = counts if engine is None else engine.infer_batch(counts, log_rates=False).factors
            values.append(rows[:, first:last].astype(np.float32).reshape(-1, rows.shape[-1]))
            starts += [w.start for w in batch]
            if on_progress is not None:
                on_progress(batch[-1].stop - recording.start)
    finally:
        if engine is not None:
            engine.close()
    if not values:
        raise DecoderError(
            f"no whole window of {recording.name or 'the recording'} could be cut as "
            f"rig '{rig.name}' cuts them"
        )
    stamps = (np.array(starts)[:, None] + centres).ravel()
    begins = np.zeros(len(stamps), np.bool_)
    begins[0] = True
    if sliding:
        begins[1:] = np.diff(stamps) > JUMP * model.bin_width
    else:
        begins[::last] = True
    return Rows(np.concatenate(values), stamps, begins, n_bins)


def _batches(cut: Iterator[Window]) -> Iterator[list[Window]]:
    batch: list[Window] = []
    for window in cut:
        if not window.truncated:
            batch.append(window.copy())
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def features_of(rows: Rows, facts: Facts) -> NDArray[np.float64]:
    """Return what a decoder sees of each row, by the very steps that it takes live."""
    features = Features(facts.n_inputs, facts.history, facts.smoothing / facts.bin_width)
    found = np.empty((len(rows.values), features.size))
    for k, (row, begins) in enumerate(zip(rows.values, rows.begins, strict=True)):
        if begins:
            features.reset()
        found[k] = features.push(row)
    return found


def behaviour_at(
    recording: Recording, name: str, channels: tuple[str, ...] | None, times: NDArray[np.float64]
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return a series' nearest samples, and the channels' labels.

    Parameters
    ----------
    recording
        The recording.
    name, channels
        Series and its channels; all of them if None.
    times
        Seconds.

    Returns
    -------
    values, labels
        float64, shape ``(n, n_channels)``; NaN where no sample is near.

    Raises
    ------
    DecoderError
        If there is no such series or channel, naming those there are.
    """
    series = recording.series.get(name)
    if series is None or len(series.times) < 2:
        raise DecoderError(
            f"{recording.name or 'the recording'} has no series '{name}'; it has "
            f"{', '.join(recording.series) or 'none'}"
        )
    labels = channels or series.labels
    if unknown := [c for c in labels if c not in series.labels]:
        raise DecoderError(
            f"series '{name}' has no channel {', '.join(unknown)}; it has "
            f"{', '.join(series.labels)}"
        )
    columns = [series.labels.index(c) for c in labels]
    nearest = np.searchsorted(0.5 * (series.times[1:] + series.times[:-1]), times)
    values = series.values[nearest][:, columns].astype(np.float64)
    far = 2.0 * float(np.median(np.diff(series.times)))
    values[np.abs(series.times[nearest] - times) > far] = np.nan
    return values, tuple(labels)
