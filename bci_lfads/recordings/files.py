"""Reading and writing recordings, whatever the file format."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from bci_lfads.apart import read_apart
from bci_lfads.errors import RecordingError
from bci_lfads.recordings.layout import to_items
from bci_lfads.recordings.npz import read_npz
from bci_lfads.recordings.recording import Recording

ACCEPTED = (
    "recordings are read from .npz and .h5 as written by this package, from .xdf, .nwb and "
    "trial-structured .mat (MATLAB 5), and from .h5 with trials of binned spikes"
)
_HDF5 = b"\x89HDF\r\n\x1a\n"


def read(path: str | Path, **options: Any) -> Recording:
    """Read a recording; the file's content decides on the format, not its name.

    HDF5 files, NWB among them, are read in a process of their own (`bci_lfads.apart`).

    Parameters
    ----------
    path
        The file.
    options
        What the format's reader takes: ``spikes`` and ``markers`` (XDF: which streams),
        ``bin_width`` (HDF5 of trials), ``split``, ``interval`` and ``gap`` (MAT).

    Raises
    ------
    RecordingError
        If the file is missing, is none of the formats, is damaged, or an option is not one of
        its format's.
    """
    path = Path(path)
    if _head(path).startswith(_HDF5):
        return read_apart(convert, path, read_npz, RecordingError, **options)
    return read_here(path, **options)


def convert(path: Path, out: Path, **options: Any) -> None:
    """Read a recording in this process and write it as npz.

    Raises
    ------
    RecordingError
        As of `read_here`.
    """
    items = to_items(read_here(path, **options))
    with out.open("wb") as file:  # an open file, so that NumPy adds no suffix
        np.savez(file, **items)  # type: ignore[arg-type]


def read_here(path: Path, **options: Any) -> Recording:
    """Read a recording in this process, which a damaged HDF5 file may hang or end; see `read`."""
    reader = _reader(path)
    accepted = [p for p in inspect.signature(reader).parameters if p != "path"]
    unknown = sorted(set(options) - set(accepted))
    if unknown:
        raise RecordingError(
            f"{path} is read without the option {', '.join(unknown)}; options of its format: "
            f"{', '.join(accepted) or 'none'}"
        )
    return reader(path, **options)


def write(recording: Recording, path: str | Path) -> None:
    """Write a recording to ``.npz``, ``.h5`` or ``.hdf5``, in this package's own layout.

    The file appears whole or not at all.

    Raises
    ------
    RecordingError
        For any other suffix, or where the file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".xdf":
        raise RecordingError(
            f"{path}: XDF files are recorded from LSL; run `bci-lfads record {path.name}` while "
            f"`bci-lfads replay` plays the recording"
        )
    modules = {".npz": "npz", ".h5": "hdf5", ".hdf5": "hdf5"}
    if suffix not in modules:
        raise RecordingError(
            f"{path}: recordings are written to .npz, .h5 or .hdf5, not to {suffix or 'no suffix'}"
        )
    writer = import_module(f"bci_lfads.recordings.{modules[suffix]}").write
    part = path.with_name(f".{path.name}.part")
    try:
        writer(recording, part)
        part.replace(path)
    except OSError as error:
        raise RecordingError(f"{path} cannot be written: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(520)
    except OSError as error:
        raise RecordingError(f"{path} cannot be read: {error.strerror or error}") from error


def _reader(path: Path) -> Callable[..., Recording]:
    head = _head(path)
    # Readers are imported on demand: most need a library that the rest of the package does not.
    if head.startswith(b"XDF:"):
        from bci_lfads.recordings.xdf import read_xdf

        return read_xdf
    if head.startswith(b"PK\x03\x04"):
        return read_npz
    if head.startswith(_HDF5):
        return _hdf5_reader(path)
    if head.startswith(b"MATLAB 5.0"):
        from bci_lfads.recordings.mat import read_mat

        return read_mat
    if head.startswith(b"MATLAB 7.3"):
        found = "a MATLAB 7.3 file; save it with -v7 instead"
    elif head.startswith(b"\x93NUMPY"):
        found = "a bare NumPy array without unit labels or times"
    elif head.startswith(b"\x1f\x8b"):
        found = "compressed with gzip; unpack it first"
    else:
        found = f"empty or of unknown format (it begins with {head[:8]!r})"
    raise RecordingError(f"{path} is {found}; {ACCEPTED}")


def _hdf5_reader(path: Path) -> Callable[..., Recording]:
    import h5py

    from bci_lfads.recordings import hdf5

    try:
        with h5py.File(path, "r") as file:
            own, nwb, keys = "format" in file.attrs, "nwb_version" in file.attrs, list(file)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise RecordingError(f"{path} is a damaged HDF5 file: {error}") from error
    if own:
        return hdf5.read_hdf5
    if nwb:
        from bci_lfads.recordings.nwb import read_nwb

        return read_nwb
    from bci_lfads.recordings.trials_hdf5 import has_trials, read_trials

    if has_trials(keys):
        return read_trials
    hint = ""
    if "model_weights" in keys:
        hint = " (it looks like a Keras model; use: bci-lfads model import)"
    raise RecordingError(
        f"{path} is an HDF5 file with {', '.join(keys[:8]) or 'nothing in it'}{hint}; {ACCEPTED}"
    )
