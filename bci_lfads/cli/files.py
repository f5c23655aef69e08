"""Files that commands write."""

from __future__ import annotations

from pathlib import Path

from bci_lfads.errors import BciLfadsError


def check_output(path: Path | None) -> None:
    """Refuse a file that could not be written, before the work for it is done.

    Raises
    ------
    BciLfadsError
        If its folder is not there, or it is a folder itself.
    """
    if path is None:
        return
    if path.is_dir():
        raise BciLfadsError(f"{path} cannot be written: it is a folder; give a file's name")
    if not path.parent.is_dir():
        raise BciLfadsError(f"{path} cannot be written: there is no folder {path.parent}")
