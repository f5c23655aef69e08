"""Spikes from the samples of a stream in one of the three formats."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci_lfads.errors import RecordingError
from bci_lfads.recordings.recording import BinnedCounts, SpikeEvents
from bci_lfads.recordings.xdf_guard import StreamHeader
from bci_lfads.recordings.xdf_roles import SpikeFormat, channel_labels, event_columns

_log = logging.getLogger(__name__)
_EDGE = {"start": 0.0, "centre": 0.5, "end": 1.0}
_MOST_CELLS = 1 << 32
_MOST_DRIFT = 0.01  # of a source's clock; real ones are below 0.0001


def spikes_from(
    header: StreamHeader,
    form: SpikeFormat,
    times: NDArray[np.float64],
    values: Any,
    source: str,
) -> tuple[SpikeEvents | BinnedCounts, tuple[str, ...]]:
    """Return the spikes of a stream, and their unit labels.

    Parameters
    ----------
    header
        The stream's own.
    form
        Its format.
    times
        Stamps in ascending order, seconds.
    values
        Samples: shape ``(n_samples, n_channels)``, or lists of str.
    source
        The file, for messages.

    Raises
    ------
    RecordingError
        If channels, units or counts are not whole numbers, or stamps are on no grid of bins.
    """
    where = f"{source}: stream {header.name!r}"
    if form == "counts":
        return _counts(header, times, np.asarray(values), where)
    if form == "ids":
        ids = [v[0] for v in values] if header.format == "string" else np.asarray(values)[:, 0]
        keys: Sequence[Hashable] = [str(i) for i in ids]
        known = _known(header, ("id",))
        found, labels = _index(keys, known, _as_number)
    else:
        columns = event_columns(header)
        if columns is None:  # the roles have seen to that
            raise RecordingError(f"{where} has no columns for channel and unit")
        pairs = np.asarray(values)[:, columns]
        if not (np.isfinite(pairs).all() and (np.abs(pairs) < 2**31).all()):
            raise RecordingError(f"{where}: channels and units must be numbers below 2^31")
        whole = pairs.astype(np.int64)
        if not (whole == pairs).all():
            raise RecordingError(f"{where}: channels and units must be whole numbers")
        known = _known(header, ("channel", "unit"))
        keys = [f"{c}/{u}" for c, u in whole.tolist()]
        found, labels = _index(keys, known, _as_numbers)
    return SpikeEvents(times, found), labels


def _known(header: StreamHeader, fields: tuple[str, ...]) -> dict[str, str]:
    """Return label by key from ``desc/units/unit``, where a stream's header lists its units."""
    known = {}
    for unit in header.info.iterfind("desc/units/unit"):
        parts = [(unit.findtext(f) or "").strip() for f in fields]
        label = (unit.findtext("label") or "").strip()
        if all(parts) and label:
            known["/".join(parts)] = label
    return known if len(set(known.values())) == len(known) else {}


def _index(
    keys: Sequence[Hashable], known: dict[str, str], order: Any
) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Return the unit's index of every key, and the labels.

    Units that the header lists come first and in its order, though they may have no spike;
    others follow, ordered by key, which is their label.
    """
    others = sorted(set(map(str, keys)) - set(known), key=order)
    taken = set(known.values())
    labels = [*known.values(), *(k if k not in taken else f"{k} (unlisted)" for k in others)]
    place = {key: i for i, key in enumerate([*known, *others])}
    return np.array([place[str(k)] for k in keys], np.int32), tuple(labels)


def _as_number(key: str) -> tuple[int, int, str]:
    return (0, int(key), "") if key.lstrip("-").isdecimal() else (1, 0, key)


def _as_numbers(key: str) -> tuple[int, ...]:
    return tuple(int(part) for part in key.split("/"))


def _counts(
    header: StreamHeader, times: NDArray[np.float64], values: NDArray[Any], where: str
) -> tuple[BinnedCounts, tuple[str, ...]]:
    labels = channel_labels(header) or tuple(f"unit_{i}" for i in range(header.n_channels))
    if len(set(labels)) < len(labels):
        raise RecordingError(f"{where}: its channels, which stand for units, share labels")
    width = 1.0 / header.rate
    if not len(times):
        return BinnedCounts(np.zeros((0, header.n_channels), np.uint8), width), labels
    if not np.isfinite(values).all() or (values < 0).any() or (values != np.floor(values)).any():
        raise RecordingError(f"{where}: counts must be whole numbers from 0; rates are no counts")
    # By its stamp each row goes into a bin of the nominal width, like live counts: models compare
    # widths, and a source whose clock drifts keeps the pace of the markers beside it.
    row = np.rint((times - times[0]) / width)
    n_bins = int(row[-1]) + 1
    if n_bins * header.n_channels > _MOST_CELLS:
        raise RecordingError(f"{where}: its stamps span {n_bins} bins, too many to hold")
    first = np.flatnonzero(np.diff(row, prepend=-1))
    shared = len(row) - len(first)
    if shared > 1 + _MOST_DRIFT * len(row):
        raise RecordingError(
            f"{where}: its stamps are off a grid of {1e3 * width:g} ms: {shared} of {len(row)} "
            f"samples share a bin with another; counts need the explicit stamps of their bins"
        )
    summed = np.add.reduceat(values.astype(np.float64), first, axis=0)
    saturated = int(np.maximum(summed - 255, 0).sum())
    missing = n_bins - len(first)
    if missing or shared or saturated:
        _log.warning(
            "%s: %d of %d bins are missing and taken as empty, %d samples share a bin with another "
            "and are added to it, %d spikes above 255 in a bin are left out",
            where, missing, n_bins, shared, saturated,
        )  # fmt: skip
    counts = np.zeros((n_bins, header.n_channels), np.uint8)
    counts[row[first].astype(np.int64)] = np.minimum(summed, 255)
    reference = (header.info.findtext("desc/timestamp_reference") or "end").strip()
    return BinnedCounts(counts, width, float(times[0]) - _EDGE.get(reference, 1.0) * width), labels
