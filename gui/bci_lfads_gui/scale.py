"""How large everything is drawn: Qt's scale factor, which must be set before Qt begins."""

from __future__ import annotations

import os
import sys

from qtpy.QtGui import QGuiApplication

from bci_lfads.errors import BciLfadsError

_VARIABLE = "QT_SCALE_FACTOR"
_DESIGNED_FOR = 1080  # rows of pixels
_LARGE = 1800  # rows of pixels from which text of the usual size is too small


def wanted(scale: str, height: int | None = None) -> float | None:
    """Return the factor asked for; None where the screen is to decide.

    Parameters
    ----------
    scale
        A number from 0.5 to 4, or ``auto``.
    height
        Of a picture, pixels, which decides instead of the screen.

    Raises
    ------
    BciLfadsError
        Where it is neither.
    """
    if scale == "auto":
        return None if height is None else for_height(height)
    try:
        factor = float(scale)
    except ValueError:
        factor = 0.0
    if not 0.5 <= factor <= 4.0:
        raise BciLfadsError(f"the scale is '{scale}'; give auto, or a number from 0.5 to 4")
    return factor


def for_height(pixels: int) -> float:
    """Return the factor for a screen or picture of so many rows: 2 for 4K, 1 up to 1800."""
    return 1.0 if pixels < _LARGE else round(4 * pixels / _DESIGNED_FOR) / 4


def apply(factor: float | None) -> None:
    """Set the factor for the application that is to be made; what the system set comes first."""
    if factor is not None and QGuiApplication.instance() is None:
        os.environ[_VARIABLE] = repr(factor)


def begin_anew_if_small() -> None:
    """Begin this program anew, larger, where the screen is large and nobody scales on it.

    A desktop that scales by itself tells Qt so; many a Linux desktop on a 4K screen does not.
    """
    screen = QGuiApplication.primaryScreen()
    if _VARIABLE in os.environ or screen is None or screen.devicePixelRatio() != 1.0:
        return
    factor = for_height(screen.size().height())
    if factor != 1.0:
        os.execve(sys.executable, sys.orig_argv, os.environ | {_VARIABLE: repr(factor)})  # noqa: S606
