"""Recordings in NumPy's npz (compressed, never pickled)."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from bci_lfads.errors import RecordingError
from bci_lfads.recordings.layout import from_items, to_items
from bci_lfads.recordings.recording import Recording


def read_npz(path: Path) -> Recording:
    """Read what `write` wrote.

    Raises
    ------
    RecordingError
        If the file is damaged or holds something else.
    """
    try:
        # An open file, since of one that is no zip NumPy leaves its own open.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            items = {name: file[name] for name in file.files}
    except (
        OSError, ValueError, EOFError, KeyError, MemoryError, NotImplementedError, RuntimeError,
        SyntaxError, TypeError, zipfile.BadZipFile, zlib.error,
    ) as error:  # fmt: skip
        raise RecordingError(f"{path} is damaged or not a recording: {error}") from error
    return from_items(items, str(path))


def write(recording: Recording, path: Path) -> None:
    """Write a recording.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    with path.open("wb") as file:  # an open file, so that NumPy adds no suffix
        np.savez_compressed(file, **to_items(recording))  # type: ignore[arg-type]
