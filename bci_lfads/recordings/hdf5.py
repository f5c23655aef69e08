"""Recordings in HDF5, in this package's own layout (compressed)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from bci_lfads.errors import RecordingError
from bci_lfads.recordings.layout import from_items, to_items
from bci_lfads.recordings.recording import Recording


def read_hdf5(path: Path) -> Recording:
    """Read what `write` wrote.

    Raises
    ------
    RecordingError
        If the file is damaged or holds something else.
    """
    try:
        with h5py.File(path, "r") as file:
            items = {name: np.asarray(value) for name, value in file.attrs.items()}
            items |= {name: _load(data) for name, data in file.items()}
    except (
        OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError, UnicodeError,
    ) as error:  # fmt: skip
        raise RecordingError(f"{path} is damaged or not a recording: {error}") from error
    return from_items(items, str(path))


def write(recording: Recording, path: Path) -> None:
    """Write a recording: arrays as datasets, single values as attributes.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    with h5py.File(path, "w") as file:
        for name, value in to_items(recording).items():
            array = np.asarray(value)
            if array.ndim == 0:
                file.attrs[name] = array.item()
            elif array.dtype.kind == "U":
                file.create_dataset(name, data=array.astype(object), dtype=h5py.string_dtype())
            elif array.size:
                file.create_dataset(name, data=array, compression="gzip", shuffle=True)
            else:
                file.create_dataset(name, data=array)


def _load(data: h5py.Dataset) -> NDArray[Any]:
    if not isinstance(data, h5py.Dataset):
        raise ValueError(f"{data.name} is not an array")
    if h5py.check_string_dtype(data.dtype) is not None:
        return np.array(data.asstr()[()].tolist(), np.str_)
    return np.asarray(data[()])
