"""Whether three dimensions are drawn by OpenGL, and why not."""

from __future__ import annotations

import importlib.util

from qtpy.QtGui import QOffscreenSurface, QOpenGLContext

from bci_lfads.errors import BciLfadsError

MODES = ("auto", "on", "off")
_LEAST = (2, 1)
_RENDERER = 0x1F01  # GL_RENDERER
_BY_CPU = ("llvmpipe", "softpipe", "swrast", "software")


class OpenGL:
    """What draws three dimensions; looked at when it is first needed, and once.

    Parameters
    ----------
    mode
        ``auto``: OpenGL where a graphics card does it, since a CPU that draws for it lacks
        to the loop; ``on``: wherever there is OpenGL at all; ``off``: never.

    Raises
    ------
    BciLfadsError
        Where the mode is none.
    """

    def __init__(self, mode: str = "auto") -> None:
        if mode not in MODES:
            raise BciLfadsError(f"no OpenGL mode '{mode}'; there are {', '.join(MODES)}")
        self.mode = mode
        self.renderer = ""
        """What OpenGL calls itself, once it was looked at."""
        self._why_not: str | None = None

    def why_not(self) -> str:
        """Return why OpenGL is not used; nothing where it is."""
        if self._why_not is None:
            self._why_not = self._look()
        return self._why_not

    def _look(self) -> str:
        if self.mode == "off":
            return "OpenGL is switched off"
        if importlib.util.find_spec("OpenGL") is None:
            return "PyOpenGL is not installed"
        surface, context = QOffscreenSurface(), QOpenGLContext()
        surface.create()
        if not context.create() or not context.makeCurrent(surface):
            return "no OpenGL on this screen"
        try:
            version = context.format().version()
            self.renderer = str(context.functions().glGetString(_RENDERER))
        finally:
            context.doneCurrent()
        if tuple(version) < _LEAST:
            return f"OpenGL {version[0]}.{version[1]} is too old"
        if self.mode == "auto" and any(word in self.renderer.lower() for word in _BY_CPU):
            return f"no graphics card ({self.renderer.partition(' (')[0]})"
        return ""
