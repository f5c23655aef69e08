"""Scores of inferred factors and rates on windows of a recording. Arrays in, numbers out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bci_lfads.errors import RecordingError
from bci_lfads.models.cosmoothing import co_smoothing, co_smoothing_in_folds
from bci_lfads.models.scores import R2, bits_per_spike, decode_r2, psth_r2
from bci_lfads.models.training_data import independent
from bci_lfads.recordings import Recording
from bci_lfads.samples import Samples
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
    """Scores of one engine; None where there is nothing to compare with.

    ``bits_per_spike``, ``psth_r2``, ``latent_r2``, ``behaviour_r2``: see `bci_lfads.models.scores`;
    R² are means over units or channels, ``…_each`` those of each channel. ``newest_…`` are the
    same of a sliding window's newest bins, one hop of them, which have no future to go by.
    """

    bits_per_spike: float
    co_smoothing: float | None = None
    """Bits per spike of held-out units, see `bci_lfads.models.cosmoothing`."""
    forward_prediction: float | None = None
    """Bits per spike of the bins ahead of the window."""
    psth_r2: float | None = None
    latent_r2: float | None = None
    latent_r2_each: Mapping[str, float] | None = None
    behaviour_r2: float | None = None
    behaviour_r2_each: Mapping[str, float] | None = None
    behaviour_lag: float | None = None
    """Seconds."""
    newest_bits_per_spike: float | None = None
    newest_latent_r2: float | None = None
    newest_behaviour_r2: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return what was scored, as JSON types."""
        return {name: value for name, value in asdict(self).items() if value is not None}


class Known(NamedTuple):
    """Windows on which a readout of held-out units may be fitted.

    Attributes
    ----------
    factors
        Shape ``(n_windows, n_bins, n_factors)``, by the engine that is scored.
    held_out
        Counts, shape ``(n_windows, n_bins, n_held_out)``.
    """

    factors: NDArray[np.float32]
    held_out: NDArray[np.uint8]


def score(
    factors: NDArray[np.float32],
    log_rates: NDArray[np.float32],
    samples: Samples,
    recording: Recording,
    conditions: tuple[str, ...],
    asked: Asked,
    *,
    hop: int | None = None,
    known: Known | None = None,
) -> Scores:
    """Score inferred factors and log-rates of windows of a recording.

    Windows that overlap each other are thinned until none do before anything is decoded: a fit
    must not see what it is scored on.

    Parameters
    ----------
    factors, log_rates
        Shape ``(n_windows, n_bins + n_ahead, …)``.
    samples, recording, conditions, asked
        The windows, where they are from, each one's condition, and what is scored.
    hop
        Of a sliding window, bins; None for trials.
    known
        Windows to fit the readout of held-out units on; default: four fifths of those scored, in
        turn.

    Raises
    ------
    RecordingError
        If there is no spike in the windows.
    """
    batch = samples.batch
    n_bins, width = batch.counts.shape[1], batch.bin_width
    ahead_rates = log_rates[:, n_bins:]
    factors, log_rates = factors[:, :n_bins], log_rates[:, :n_bins]
    apart = independent(batch.starts, n_bins * width)
    found: dict[str, Any] = {"bits_per_spike": bits_per_spike(log_rates, batch.counts, width)}
    if samples.held_out.any():
        found["co_smoothing"] = _co_smoothing(factors, samples, apart, known)
    if samples.ahead.any():
        found["forward_prediction"] = bits_per_spike(ahead_rates, samples.ahead, width)
    if len(set(conditions)) > 1:
        found["psth_r2"] = psth_r2(log_rates, batch.counts, conditions, width).mean
    newest = slice(n_bins - min(hop, n_bins), n_bins) if hop else slice(0, 0)
    if hop and batch.counts[:, newest].any():
        newest_rates, counts = log_rates[:, newest], batch.counts[:, newest]
        found["newest_bits_per_spike"] = bits_per_spike(newest_rates, counts, width)
    lag = round(asked.lag / width)
    for what, name, shift in (
        ("latent", asked.latents, 0), ("behaviour", asked.behaviour, lag),
    ):  # fmt: skip
        series = recording.series.get(name)
        if series is None or not len(series.times):
            continue
        targets = series_at(recording, name, batch)
        rows = apart[np.isfinite(targets[apart]).all(axis=(1, 2))]
        if len(rows) < _FEWEST_TRIALS:
            log.warning("%s: %d separate windows are too few to decode from", name, len(rows))
            continue
        r2: R2 = decode_r2(factors[rows], targets[rows], lag=shift)
        each = {k: float(v) for k, v in zip(series.labels, r2.each, strict=True)}
        found |= {f"{what}_r2": r2.mean, f"{what}_r2_each": each}
        if what == "behaviour":
            found["behaviour_lag"] = lag * width
        if hop:
            moved = series_at(recording, name, batch, shift * width)
            value = _newest_r2(factors[:, newest], moved[:, newest], batch)
            found |= {} if value is None else {f"newest_{what}_r2": value}
    return Scores(**found)


def _co_smoothing(
    factors: NDArray[np.float32], samples: Samples, apart: NDArray[np.int64], known: Known | None
) -> float | None:
    width = samples.batch.bin_width
    if known is not None:
        n_bins = factors.shape[1]
        return co_smoothing(
            known.factors[:, :n_bins], known.held_out, factors, samples.held_out, width
        )
    if len(apart) < _FEWEST_TRIALS or not samples.held_out[apart].any():
        log.warning("co-smoothing: %d separate windows are too few to fit a readout", len(apart))
        return None
    return co_smoothing_in_folds(factors[apart], samples.held_out[apart], width)


def _newest_r2(
    factors: NDArray[np.float32], targets: NDArray[np.float64], batch: WindowBatch
) -> float | None:
    """Return R² of the newest bins, decoded in folds over stretches that share no spike.

    The windows that start in one window's length are a stretch; every other one is left out, so
    that windows of different stretches do not overlap.
    """
    length = batch.counts.shape[1] * batch.bin_width
    good = np.isfinite(targets).all(axis=(1, 2))
    stretch = np.floor((batch.starts - batch.starts[0]) / length + 1e-9).astype(np.int64)
    rows = [np.flatnonzero(good & (stretch == k)) for k in range(0, int(stretch[-1]) + 1, 2)]
    most = max(len(r) for r in rows)
    rows = [r for r in rows if len(r) == most]
    if len(rows) < _FEWEST_TRIALS or most == 0:
        return None
    x = np.stack([factors[r].reshape(-1, factors.shape[2]) for r in rows])
    y = np.stack([targets[r].reshape(-1, targets.shape[2]) for r in rows])
    return decode_r2(x, y).mean


def series_at(
    recording: Recording, name: str, batch: WindowBatch, later: float = 0.0
) -> NDArray[np.float64]:
    """Return a series at the middle of all bins: its nearest samples, not values between two.

    Where `later` is given it is what follows that many seconds after; beyond the series' ends by
    more than a bin it is NaN.

    Returns
    -------
    ndarray
        Shape ``(n_windows, n_bins, n_channels)``.
    """
    series = recording.series[name]
    n_bins = batch.counts.shape[1]
    middle = batch.starts[:, None] + batch.bin_width * (np.arange(n_bins) + 0.5) + later
    nearest = np.searchsorted(0.5 * (series.times[1:] + series.times[:-1]), middle)
    values = series.values[nearest].astype(np.float64)
    if later:
        bound = batch.bin_width
        beyond = (middle < series.times[0] - bound) | (middle > series.times[-1] + bound)
        values[beyond] = np.nan
    return values


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
