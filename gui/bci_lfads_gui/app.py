"""The application around the window."""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
from pathlib import Path

import pyqtgraph as pg
from qtpy.QtCore import QSettings, QTimer
from qtpy.QtWidgets import QApplication

from bci_lfads.errors import BciLfadsError
from bci_lfads_gui.opengl import OpenGL
from bci_lfads_gui.palette import THEMES
from bci_lfads_gui.scale import apply, begin_anew_if_small, wanted
from bci_lfads_gui.window import Window

log = logging.getLogger(__name__)

_SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
_AUTOGROUP = Path("/proc/self/autogroup")
_NICE = 5


def show_window(
    rig: str | None = None,
    *,
    theme: str | None = None,
    size: str | None = None,
    screenshot: Path | None = None,
    after: float = 10.0,
    opengl: str = "auto",
    scale: str = "auto",
) -> int:
    """Show the window until it is closed; return the exit code.

    Parameters
    ----------
    rig
        A rig file, or the name of a rig that runs.
    theme
        ``dark`` or ``light``; default: as last.
    size
        In pixels, like ``1280x720``; default: as last.
    screenshot
        Save a picture of the window there, `after` seconds later, and end. Nothing is remembered.
    opengl
        Whether OpenGL draws three dimensions: ``auto`` where there is a graphics card, ``on``,
        ``off``.
    scale
        How large all is drawn, 0.5 to 4; ``auto``: 2 on a 4K screen, or in a picture of that
        size, where the desktop does not scale by itself.

    Raises
    ------
    BciLfadsError
        Where theme, size or scale are none, or there is no screen.
    """
    if theme is not None and theme not in THEMES:
        raise BciLfadsError(f"no theme '{theme}'; there are {', '.join(THEMES)}")
    match = re.fullmatch(r"(\d{3,5})x(\d{3,5})", size or "800x600")
    if match is None:
        raise BciLfadsError(f"the size is '{size}'; give it like 1280x720")
    if not any(os.environ.get(name) for name in _SCREENS) and sys.platform == "linux":
        # Qt would end the process, with a page of its own words.
        raise BciLfadsError(
            "there is no screen: neither DISPLAY nor WAYLAND_DISPLAY is set; for a picture set "
            "QT_QPA_PLATFORM=offscreen"
        )
    give_way()
    factor = wanted(scale, int(match[2]) if screenshot and size else None)
    apply(factor)
    app = QApplication.instance() or QApplication(sys.argv[:1])
    if factor is None and screenshot is None:
        begin_anew_if_small()
    app.setApplicationName("bci-lfads")
    app.setStyle("Fusion")
    prepare_plots()
    settings = _no_settings() if screenshot else QSettings("bci-lfads", "window")
    window = Window(settings, opengl=OpenGL(opengl))
    if theme is not None:
        window.set_theme(THEMES[theme])
    if size is not None:
        ratio = window.devicePixelRatioF()
        window.resize(round(int(match[1]) / ratio), round(int(match[2]) / ratio))
        window.arrangement.reset()
    window.show()
    if rig is not None:
        window.open(rig)
    # Qt only comes back to Python, and so to signals, when something happens: the timer sees to it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: window.close())
    failed = []
    if screenshot is not None:

        def save() -> None:
            if not window.grab().save(str(screenshot)):
                failed.append(f"{screenshot} could not be written")
            window.close()

        QTimer.singleShot(round(1e3 * after), save)
    code = int(app.exec())
    if failed:
        raise BciLfadsError(failed[0])
    return code


def give_way() -> bool:
    """Let other sessions' processes come first, if this one has a session of its own.

    Linux shares a processor out among sessions before it looks at processes (`sched(7)`, "The
    autogroup feature"): a window that draws all the time then holds up a loop that is seldom awake.
    A terminal's session is left alone, for the window shares it with others.

    Returns
    -------
    bool
        Whether it does from now on.
    """
    if not _AUTOGROUP.exists() or os.getsid(0) != os.getpid():
        return False
    try:
        _AUTOGROUP.write_text(str(_NICE))
    except OSError as error:
        log.warning("the window could not be made to give way: %s", error)
        return False
    return True


def prepare_plots() -> None:
    """Set what all plots share."""
    pg.setConfigOptions(imageAxisOrder="row-major", antialias=False, exitCleanup=False)


def _no_settings() -> QSettings:
    settings = QSettings("bci-lfads", "picture")
    settings.clear()
    return settings
