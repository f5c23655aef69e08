"""What a desk needs of the window that it stands in."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from bci_lfads_gui.model.store import Store
from bci_lfads_gui.panels.controls import Controls
from bci_lfads_gui.questions import Questions


class Settings(Protocol):
    """What is remembered from one window to the next."""

    def value(self, key: str, default: Any = None) -> Any:
        """Return what was remembered."""

    def setValue(self, key: str, value: Any) -> None:
        """Remember something."""


class Host(Protocol):
    """The window, as a desk sees it."""

    store: Store
    controls: Controls
    questions: Questions
    settings: Settings
    rig_file: Path | None

    def tell(self, text: str, *, bad: bool = False) -> None:
        """Say something in the line at the bottom."""

    def open_rig_file(self, path: Path) -> bool:
        """Watch the rig of a file; return whether that can be read."""


def short(name: str, most: int = 28) -> str:
    """Return a name that fits beside a button."""
    return name if len(name) <= most else f"{name[: most - 1]}…"
