"""Commands of this package in processes of their own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from typing import Any


def start(*arguments: object, module: str = "bci_lfads", **options: Any) -> subprocess.Popen[Any]:
    """Start a command; relative paths mean nothing to it.

    Parameters
    ----------
    arguments
        Of the command, such as ``"run"`` and a rig file.
    module
        Instead of the program, a module of the package that is run as one.
    options
        As of `subprocess.Popen`, but for its folder.

    Raises
    ------
    OSError
        If the system starts no process.
    """
    return subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        # Not from the working folder: `-m` would take a checkout there for the installed package.
        cwd=tempfile.gettempdir(),
        **options,
    )
