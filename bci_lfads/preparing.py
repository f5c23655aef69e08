"""From a recording to windows to train on: cut as the loop will cut the stream, and looked at."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bci_lfads.errors import RecordingError, StreamError
from bci_lfads.models.training_data import Split, check_bins, faults, independent, split
from bci_lfads.parts import windows_for
from bci_lfads.recordings import Recording
from bci_lfads.recordings.recording import BinnedCounts
from bci_lfads.rig import SlidingSettings, TrialSettings
from bci_lfads.samples import Samples, separate
from bci_lfads.streams.unit_map import model_labels
from bci_lfads.windows import WindowBatch, stack, windows_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Data:
    """Windows of a recording, and what they are for.

    Attributes
    ----------
    recording
        With the units that are used, in the model's order; those held out are not among them.
    window
        How they were cut.
    samples
        Whole windows, with the bins ahead and the held-out units; truncated ones are left out.
    held_out
        Labels of the held-out units.
    parts
        Which are for training and for validation.
    faults
        What may spoil a training on them, in words.
    sha256
        `digest` of the whole recording, units that are not used included.
    """

    recording: Recording
    window: TrialSettings | SlidingSettings
    samples: Samples
    held_out: tuple[str, ...]
    parts: Split
    faults: tuple[str, ...]
    sha256: str

    @property
    def batch(self) -> WindowBatch:
        """What the model sees of the windows."""
        return self.samples.batch

    @property
    def training(self) -> NDArray[np.uint8]:
        """Counts of the windows to train on, those ahead included."""
        return self.samples.targets[self.parts.training]

    @property
    def validation(self) -> NDArray[np.uint8]:
        """Counts of the windows to validate on, those ahead included."""
        return self.samples.targets[self.parts.validation]


def prepare(
    recording: Recording,
    window: TrialSettings | SlidingSettings,
    n_bins: int,
    bin_width: float,
    *,
    units: tuple[str, ...] | None = None,
    unit_map: Mapping[str, str] | None = None,
    min_rate: float = 0.0,
    n_ahead: int = 0,
    hold_out: float | tuple[str, ...] = (),
    validation: float = 0.2,
    seed: int = 0,
) -> Data:
    """Cut a recording as the loop will cut the stream, split the windows, and look at them.

    Parameters
    ----------
    recording
        The recording.
    window
        A rig's ``[window]``.
    n_bins, bin_width
        Of a window, number and seconds.
    units
        Which units, in which order; default: all.
    unit_map
        A rig's ``[input.units]``: units get the labels that the model will have for them.
    min_rate
        Units below this mean rate, Hz, are left out.
    n_ahead
        Bins after each window that are to be predicted.
    hold_out
        Units that the model is not to see: labels, or a share drawn at random.
    validation
        Share of windows to validate on.
    seed
        Of the split, and of the draw of units.

    Raises
    ------
    RecordingError
        If nothing can be trained on, saying why.
    """
    source = recording.spikes
    width = source.bin_width if isinstance(source, BinnedCounts) else None
    if n_ahead < 0:
        raise RecordingError(f"{n_ahead} bins ahead; expected 0 or more")
    check_bins(bin_width, n_bins, recording.duration, width)
    whole_digest = digest(recording)
    if unit_map:
        try:
            labels = model_labels(recording.unit_labels, unit_map)
        except StreamError as error:
            raise RecordingError(str(error)) from error
        recording = replace(recording, unit_labels=labels)
    if units is None:
        recording = _lively(recording, min_rate)
        held_out = _held_out(recording.unit_labels, hold_out, seed)
        units = tuple(u for u in recording.unit_labels if u not in held_out)
    else:
        held_out = () if isinstance(hold_out, float) else hold_out
    whole = recording.select((*units, *held_out))
    n_all = n_bins + n_ahead
    windows = windows_for(window, whole.n_units, n_all, bin_width, whole.n_spikes + 1)
    cut = stack(windows_of(whole, windows), markers=whole.markers.labels)
    rows = np.flatnonzero(~cut.truncated)
    samples = separate(cut, n_bins, len(units)).rows(rows)
    length = n_all * bin_width
    starts = samples.batch.starts
    found = faults(samples.batch.counts, units, bin_width, len(independent(starts, length)))
    if len(rows) < len(cut.counts):
        n_cut = len(cut.counts) - len(rows)
        found.append(f"{n_cut} of {len(cut.counts)} windows may lack spikes and are left out")
    return Data(
        whole.select(units), window, samples, held_out, split(starts, length, validation, seed),
        tuple(found), whole_digest,
    )  # fmt: skip


def _lively(recording: Recording, min_rate: float) -> Recording:
    if not (np.isfinite(min_rate) and min_rate >= 0):
        raise RecordingError(f"a lowest rate of {min_rate} Hz; expected 0 or more")
    if min_rate == 0:
        return recording
    rates = recording.mean_rates()
    kept = tuple(
        label for label, r in zip(recording.unit_labels, rates, strict=True) if r >= min_rate
    )
    if not kept:
        raise RecordingError(f"no unit fires at {min_rate:g} Hz; the liveliest at {max(rates):g}")
    log.info("%d of %d units fire at %g Hz or more", len(kept), recording.n_units, min_rate)
    return recording.select(kept)


def _held_out(units: tuple[str, ...], asked: float | tuple[str, ...], seed: int) -> tuple[str, ...]:
    """Return the labels of units to hold out, in the recording's order."""
    if isinstance(asked, float):
        if not 0 <= asked < 1:
            raise RecordingError(f"a share of {asked:g} to hold out; expected 0 up to below 1")
        n = max(1, round(asked * len(units))) if asked else 0
        drawn = set(np.random.default_rng([seed, 1]).permutation(len(units))[:n].tolist())
        chosen = {u for i, u in enumerate(units) if i in drawn}
    else:
        chosen = set(asked)
        if missing := sorted(chosen - set(units)):
            raise RecordingError(f"units to hold out that are not there: {', '.join(missing[:5])}")
    if len(chosen) == len(units):
        raise RecordingError(f"all {len(units)} units would be held out; leave the model some")
    return tuple(u for u in units if u in chosen)


def digest(recording: Recording) -> str:
    """Return what tells a recording's spikes from others', 16 hexadecimal digits."""
    spikes = recording.spikes
    sha = hashlib.sha256()
    if isinstance(spikes, BinnedCounts):
        sha.update(np.ascontiguousarray(spikes.counts).tobytes())
    else:
        sha.update(np.ascontiguousarray(spikes.times, "<f8").tobytes())
        sha.update(np.ascontiguousarray(spikes.units, "<i4").tobytes())
    return sha.hexdigest()[:16]
