"""Recordings from HDF5 files that hold trials of binned spikes.

Sets of this kind come with LFADS-like models: one array ``(trials, bins, units)`` for each of
``train``, ``valid`` and ``test``, with rates, latents and behaviour of the same trials beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from bci_lfads.attributes import read_attribute
from bci_lfads.errors import RecordingError
from bci_lfads.recordings.recording import BinnedCounts, Markers, Recording, Series

_SPLITS = ("train", "valid", "val", "test", "eval")
_SPIKES = ("data", "encod_data", "spikes", "spikes_heldin")
_KEY = re.compile(rf"({'|'.join(_SPLITS)})_(.+)")
_NAMES = {
    "latent": "latents", "behavior": "behaviour", "behaviors": "behaviour",
    "behaviours": "behaviour",
}  # fmt: skip
_WIDTHS = ("bin_width", "bin_size", "dt")


def has_trials(keys: Iterable[str]) -> bool:
    """Return whether arrays of these names hold trials of binned spikes."""
    return any(_spike_split(key) for key in keys)


def read_trials(path: Path, *, bin_width: float | None = None) -> Recording:
    """Lay the trials of an HDF5 file one after the other, train, valid, test.

    Each trial's start has a marker ``trial/<split>``. Other arrays of the same trials and bins
    become series sampled at bin centres; ``latent``, ``behavior`` and the like are called
    ``latents`` and ``behaviour``. Trials follow each other without a gap: a window across their
    border is across different moments.

    Parameters
    ----------
    path
        The file.
    bin_width
        Seconds; needed where the file has neither evenly spaced times of bins (``time_data``)
        nor an attribute ``bin_width``, ``bin_size`` or ``dt``.

    Raises
    ------
    RecordingError
        If the file is damaged, splits do not fit each other, or the bin width is unknown.
    """
    try:
        with h5py.File(path, "r") as file:
            arrays = {
                key: np.asarray(value[()])
                for key, value in file.items()
                if isinstance(value, h5py.Dataset) and value.dtype.kind in "iufb"
            }
            attributes = {k: read_attribute(file, k) for k in _WIDTHS if k in file.attrs}
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError) as error:
        raise RecordingError(f"{path} is a damaged HDF5 file: {error}") from error
    source = str(path)
    found = {split: key for key in arrays if (split := _spike_split(key))}
    keys = {split: found[split] for split in _SPLITS if split in found}
    blocks = [_counts(source, key, arrays[key]) for key in keys.values()]
    if not blocks or len({b.shape[1:] for b in blocks}) > 1:
        shapes = ", ".join(f"{k} {arrays[k].shape}" for k in keys.values())
        raise RecordingError(
            f"{source}: splits must have the same bins and units; found {shapes or 'no numbers'}"
        )
    n_bins, n_units = blocks[0].shape[1:]
    width = bin_width if bin_width is not None else _bin_width(arrays, attributes, n_bins)
    if width is None or not (np.isfinite(width) and width > 0):
        raise RecordingError(
            f"{source} does not say how long its bins are (or {width} s, which is no length); "
            f"give the option bin_width=SECONDS"
        )
    counts = np.concatenate(blocks).reshape(-1, n_units)
    n_trials = [len(b) for b in blocks]
    labels = [f"trial/{split}" for split, n in zip(keys, n_trials, strict=True) for _ in range(n)]
    starts = np.arange(sum(n_trials)) * n_bins * width
    digits = max(2, len(str(n_units)))
    unit_labels = tuple(f"unit_{i + 1:0{digits}d}" for i in range(n_units))
    return Recording(
        spikes=BinnedCounts(np.ascontiguousarray(counts), width),
        unit_labels=unit_labels,
        start=0.0,
        stop=len(counts) * width,
        markers=Markers(starts, tuple(labels)),
        series=_series(arrays, keys, n_trials, n_bins, width, unit_labels),
        name=path.name,
    )


def _spike_split(key: str) -> str | None:
    match = _KEY.fullmatch(key)
    return match[1] if match and match[2] in _SPIKES else None


def _counts(source: str, key: str, array: NDArray[Any]) -> NDArray[np.uint8]:
    good = array.ndim == 3 and array.size and np.isfinite(array).all()
    if not good or array.min() < 0 or array.max() > 255 or (array != np.floor(array)).any():
        raise RecordingError(
            f"{source}: {key} is {array.dtype} of shape {array.shape}; expected spike counts, "
            f"whole numbers from 0 to 255, of shape (trials, bins, units)"
        )
    return array.astype(np.uint8)


def _bin_width(
    arrays: dict[str, NDArray[Any]], attributes: dict[str, Any], n_bins: int
) -> float | None:
    for value in attributes.values():
        if np.ndim(value) == 0 and np.issubdtype(np.asarray(value).dtype, np.number):
            return float(value)
    times = arrays.get("time_data")
    if times is None or times.shape != (n_bins,) or n_bins < 2:
        return None
    width = float(times[-1] - times[0]) / (n_bins - 1)
    even = np.allclose(np.diff(times), width, rtol=1e-6, atol=0)
    return round(width, 9) if even else None  # steps of 0.01 add up to 0.01 and a bit


def _series(
    arrays: dict[str, NDArray[Any]],
    keys: dict[str, str],
    n_trials: list[int],
    n_bins: int,
    width: float,
    unit_labels: tuple[str, ...],
) -> dict[str, Series]:
    first = next(iter(keys))
    series = {}
    for name in [m[2] for k in arrays if (m := _KEY.fullmatch(k)) and m[1] == first]:
        parts = [arrays.get(f"{split}_{name}") for split in keys]
        whole = [
            p
            for p, n in zip(parts, n_trials, strict=True)
            if p is not None and p.ndim == 3 and p.shape[:2] == (n, n_bins)
        ]
        if name in _SPIKES or len(whole) < len(parts) or len({p.shape[2] for p in whole}) > 1:
            continue
        values = np.concatenate(whole).reshape(-1, whole[0].shape[2]).astype(np.float32)
        times = (np.arange(len(values), dtype=np.float64) + 0.5) * width
        called = _NAMES.get(name, name)
        channels = tuple(f"{name}_{i}" for i in range(values.shape[1]))
        per_unit = called == "rates" and len(channels) == len(unit_labels)
        series[called] = Series(times, values, unit_labels if per_unit else channels)
    return series
