"""Offline inference for scripts: recordings or arrays of counts to arrays of factors."""

from __future__ import annotations

import logging
import math
import tokenize
import warnings
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from bci_lfads.engines.base import Engine, Latents
from bci_lfads.errors import RecordingError, StreamError
from bci_lfads.models.model import Model
from bci_lfads.parts import windows_for
from bci_lfads.recordings import Recording
from bci_lfads.rig import SlidingSettings, TrialSettings
from bci_lfads.streams.unit_map import expand_units, some
from bci_lfads.windows import SlidingWindows, Window, WindowBatch, stack, windows_of

log = logging.getLogger(__name__)

_BATCH = 256  # windows a call, so that progress shows and memory stays small


def read_counts(path: Path, model: Model) -> NDArray[np.uint8]:
    """Read a ``.npy`` of spike counts, uint8 ``(n_trials, n_bins, n_units)``.

    Raises
    ------
    RecordingError
        For another type or shape than the model's, or a file that is no array.
    """
    try:
        with path.open("rb") as file:
            if file.read(6) != b"\x93NUMPY":
                raise RecordingError(f"{path} is no NumPy array; save one with numpy.save")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # on the style of the header, not what it says
                file.seek(0)
                _check_npy(file, path.stat().st_size)
                file.seek(0)
                counts = np.load(file, allow_pickle=False)
    except OSError as error:
        raise RecordingError(f"{path} cannot be read: {error.strerror or error}") from error
    except (
        EOFError, MemoryError, OverflowError, RecursionError, SyntaxError, TypeError, ValueError,
        tokenize.TokenError,
    ) as error:  # fmt: skip
        raise RecordingError(f"{path} is damaged or holds no plain array: {error}") from error
    expected = (model.spec.n_bins, model.spec.n_units)
    if counts.dtype != np.uint8 or counts.ndim != 3 or counts.shape[1:] != expected:
        raise RecordingError(
            f"{path} holds {counts.dtype} of shape {counts.shape}; the model takes uint8 of shape "
            f"(n_trials, {expected[0]} bins, {expected[1]} units)"
        )
    return np.ascontiguousarray(counts)


def _check_npy(file: BinaryIO, size: int) -> None:
    """Refuse a file that says more of itself than it is; NumPy takes memory by what it says."""
    version = np.lib.format.read_magic(file)
    if version != (1, 0):  # later ones may have headers of gigabytes
        raise ValueError(f"version {version[0]}.{version[1]} of the format, where 1.0 would do")
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    if not dtype.hasobject and math.prod(shape) * dtype.itemsize > size - file.tell():
        raise ValueError(f"it says that it holds {dtype} of shape {shape} and is {size} bytes")


def cut(
    recording: Recording,
    model: Model,
    window: TrialSettings | SlidingSettings | None = None,
    unit_map: Mapping[str, str] | None = None,
    *,
    n_ahead: int = 0,
    others: tuple[str, ...] = (),
) -> WindowBatch:
    """Cut a recording as `windows` does, and keep all windows.

    Raises
    ------
    RecordingError
        As of `windows`, or if there is no window.
    """
    return stack(
        windows(recording, model, window, unit_map, n_ahead=n_ahead, others=others),
        markers=recording.markers.labels,
    )


def windows(
    recording: Recording,
    model: Model,
    window: TrialSettings | SlidingSettings | None = None,
    unit_map: Mapping[str, str] | None = None,
    *,
    n_ahead: int = 0,
    others: tuple[str, ...] = (),
) -> Iterator[Window]:
    """Cut a recording as the loop would cut it, a window at a time.

    Parameters
    ----------
    recording
        With all units of the model, in any order.
    model
        Its units, bins and bin width.
    window
        A rig's ``[window]``. Without it trials are aligned as the model was trained; a model
        without an alignment, or a recording without its markers, is cut side by side.
    unit_map
        Model unit label = label in the recording, where they differ; patterns as in a rig's
        ``[input.units]``.
    n_ahead
        Bins to add at the end of each window.
    others
        Units of the recording to add after the model's.

    Raises
    ------
    RecordingError
        If the recording lacks units of the model, or two of them are mapped to one.
    """
    chosen = recording.select((*unit_names(model, unit_map or {}), *others))
    n_bins, width = model.spec.n_bins + n_ahead, model.bin_width
    window = window or _as_trained(chosen, model)
    if window is None:
        side_by_side = SlidingWindows(
            chosen.n_units, n_bins, width, hop=model.spec.n_bins, origin=chosen.start
        )
        return windows_of(chosen, side_by_side)
    # Offline all spikes are at hand, so the history holds the whole recording.
    capacity = chosen.n_spikes + 1
    return windows_of(chosen, windows_for(window, chosen.n_units, n_bins, width, capacity))


def unit_names(model: Model, unit_map: Mapping[str, str]) -> tuple[str, ...]:
    """Return what the model's units are called in the recording."""
    try:
        named = expand_units(model.unit_labels, unit_map)
    except StreamError as error:
        raise RecordingError(str(error)) from error
    names = [named.get(unit, unit) for unit in model.unit_labels]
    if len(set(names)) < len(names):
        twice = [u for u, n in zip(model.unit_labels, names, strict=True) if names.count(n) > 1]
        raise RecordingError(
            f"[input.units] gives one and the same unit to {some(twice)}; map each to its own"
        )
    return tuple(names)


def _as_trained(recording: Recording, model: Model) -> TrialSettings | None:
    trained = model.alignment
    if trained is None:
        return None
    if not any(fnmatchcase(label, trained.start) for label in recording.markers.labels):
        log.warning(
            "%s has no marker '%s', with which the model's trials start: cut side by side",
            recording.name or "the recording", trained.start,
        )  # fmt: skip
        return None
    return TrialSettings(
        mode="trials", start=trained.start, align=trained.align, offset=trained.offset
    )


def infer_all(
    engine: Engine,
    counts: NDArray[np.uint8],
    *,
    on_progress: Callable[[int], None] | None = None,
) -> Latents:
    """Infer many windows.

    Parameters
    ----------
    engine
        Any engine.
    counts
        uint8, shape ``(n_windows, n_bins, n_units)``.
    on_progress
        Called with the number of windows done.

    Returns
    -------
    Latents
        With float32 log-rates, natural logarithm of Hz.
    """
    info = engine.info
    shape = (len(counts), info.n_bins_out)
    factors = np.empty((*shape, info.n_factors), np.float32)
    log_rates = np.empty((*shape, info.n_units), np.float32)
    for first in range(0, len(counts), _BATCH):
        some = slice(first, first + _BATCH)
        latents = engine.infer_batch(counts[some])
        factors[some] = latents.factors
        if latents.log_rates is not None:
            log_rates[some] = latents.log_rates
        if on_progress is not None:
            on_progress(min(first + _BATCH, len(counts)))
    return Latents(factors, log_rates)


def save_latents(
    path: Path,
    latents: Latents,
    batch: WindowBatch | None,
    model: Model,
    inputs: NDArray[np.float32] | None = None,
) -> None:
    """Write ``factors`` and ``log_rates``, and where and what the windows were, to an ``.npz``.

    What a controller inferred goes there as ``inferred_inputs``.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    arrays: dict[str, Any] = {"factors": latents.factors, "log_rates": latents.log_rates}
    if inputs is not None:
        arrays["inferred_inputs"] = inputs
    if batch is not None:
        arrays |= {
            "starts": batch.starts,
            "trials": batch.trials,
            "labels": np.array(batch.labels, np.str_),
            "truncated": batch.truncated,
        }
    arrays |= {
        "bin_width": np.float64(model.bin_width),
        "unit_labels": np.array(model.unit_labels, np.str_),
        "model_hash": np.str_(model.hash),
    }
    # Through a file object, so that the name is kept as given.
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)
