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
            items = {name: _load(v) for name, v in [*file.attrs.items(), *file.items()]}
    except (
        OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError, UnicodeError,
    ) as error:  # fmt: skip
        raise RecordingError(f"{path} is damaged or not a recording: {error}") from error
    return from_items(items, str(path))


def write(recording: Recording, path: Path) -> None:
    """Write a recording: arrays as datasets, single values as attributes.

    All of it carries checksums, so that a damaged file is refused: without them the HDF5 library
    can crash on one. That takes the file format of HDF5 1.10, chunks, and text of fixed length.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        for name, value in to_items(recording).items():
            array = np.asarray(value)
            if array.dtype.kind == "U":
                array = np.char.encode(array, "utf-8")
                array = array.astype(h5py.string_dtype(length=max(1, array.itemsize)))
            if array.ndim == 0:
                file.attrs.create(name, array, dtype=array.dtype)
            elif array.size:
                file.create_dataset(
                    name, data=array, compression="gzip", shuffle=True, fletcher32=True
                )
            else:
                file.create_dataset(name, data=array)


def _load(value: Any) -> NDArray[Any]:
    if isinstance(value, h5py.Group):
        raise ValueError(f"{value.name} is not an array")
    array = np.asarray(value[()] if isinstance(value, h5py.Dataset) else value)
    return np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array
