"""What all settings files share: strict models, TOML that is read with care, errors in words."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from bci_lfads.errors import BciLfadsError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_MAX_BYTES = 1 << 20


class Settings(BaseModel):
    """Settings that do not change, and of which none is unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def read_toml(path: Path, what: str, error: type[BciLfadsError]) -> dict[str, Any]:
    """Read a file of settings.

    Parameters
    ----------
    path
        The file.
    what
        What kind of file it is, in words.
    error
        Raised if it is not there, is too large, or no TOML; naming the file and what was found.
    """
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise error(f"{path} is {size} bytes; a {what} file has at most 1 MiB")
        content: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as missing:
        raise error(f"no {what} file at {path}; give the path of a .toml file") from missing
    # Of tables within tables within tables, TOML's reader ends in a recursion.
    except (
        OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError,
    ) as unreadable:  # fmt: skip
        raise error(f"{path} is not readable as TOML: {unreadable}") from unreadable
    return content


def beside(file: Path, path: Path, error: type[BciLfadsError]) -> Path:
    """Return where a path in a file of settings leads: relative ones start at the file's folder.

    Parameters
    ----------
    file
        The file of settings.
    path
        What it says.
    error
        Raised where it begins with the home folder of a user who has none.
    """
    try:
        return file.parent / path.expanduser()
    except RuntimeError as unknown:
        raise error(f"{file}: '{path}' is in a home folder that is not known") from unknown


def wrong_settings(error: ValidationError) -> str:
    """Return in words every setting that is wrong, and what was found."""
    return "; ".join(
        f"{'.'.join(str(p) for p in e['loc']) or 'file'}: {e['msg']}"
        + ("" if e["type"] == "missing" else f" (found {_short(e['input'])})")
        for e in error.errors()
    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
