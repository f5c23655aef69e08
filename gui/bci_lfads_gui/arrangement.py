"""Where the panels are."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDockWidget, QMainWindow, QTabWidget, QWidget

from bci_lfads_gui.panels.base import Panel

_ON_DEMAND = "behaviour"  # shown once a decoder runs
_SIDE = Qt.DockWidgetArea.LeftDockWidgetArea
_BESIDE, _BELOW = Qt.Orientation.Horizontal, Qt.Orientation.Vertical


class Arrangement:
    """The docks around the panels of a window.

    Parameters
    ----------
    window, panels
        Whose docks are made.
    """

    def __init__(self, window: QMainWindow, panels: Sequence[Panel]) -> None:
        self._window = window
        window.setDockNestingEnabled(True)
        window.setDockOptions(
            QMainWindow.DockOption.AnimatedDocks
            | QMainWindow.DockOption.AllowNestedDocks
            | QMainWindow.DockOption.AllowTabbedDocks
        )
        window.setTabPosition(Qt.DockWidgetArea.AllDockWidgetAreas, QTabWidget.TabPosition.North)
        middle = QWidget()
        middle.setFixedSize(0, 0)
        window.setCentralWidget(middle)
        self.docks: dict[str, QDockWidget] = {}
        for panel in panels:
            dock = QDockWidget(panel.title, window)
            dock.setObjectName(f"dock {panel.name}")
            dock.setWidget(panel)
            self.docks[panel.name] = dock

    def reset(self) -> None:
        """Show all panels in their places; decoded behaviour where it is, once it is shown."""
        window, docks = self._window, self.docks
        decoded = docks[_ON_DEMAND].isVisible()
        for name, dock in docks.items():
            dock.setFloating(False)
            if name != _ON_DEMAND or decoded:
                dock.show()
            else:
                window.removeDockWidget(dock)  # hidden, but in a tab, it would leave the tab behind
        window.addDockWidget(_SIDE, docks["raster"])
        window.splitDockWidget(docks["raster"], docks["streams"], _BELOW)
        window.splitDockWidget(docks["raster"], docks["factors"], _BESIDE)
        window.splitDockWidget(docks["streams"], docks["space"], _BESIDE)
        window.splitDockWidget(docks["space"], docks["latency"], _BESIDE)
        if decoded:
            window.tabifyDockWidget(docks["space"], docks[_ON_DEMAND])
            docks["space"].raise_()
        width, height = max(window.width(), 800), max(window.height(), 500)
        window.resizeDocks([docks["raster"], docks["factors"]], [58 * width, 42 * width], _BESIDE)
        window.resizeDocks(
            [docks["streams"], docks["space"], docks["latency"]],
            [45 * width, 31 * width, 24 * width], _BESIDE,
        )  # fmt: skip
        window.resizeDocks([docks["raster"], docks["streams"]], [55 * height, 45 * height], _BELOW)

    def toggle(self, name: str) -> None:
        """Show a panel, or hide it; one that lies behind another comes to the front."""
        dock = self.docks[name]
        if dock.isVisible() and dock.visibleRegion().isEmpty():
            dock.raise_()
            return
        if not dock.isVisible():
            self._give_place(dock)
        dock.setVisible(not dock.isVisible())
        dock.raise_()

    def show_decoded(self) -> None:
        """Show decoded behaviour, in front."""
        dock = self.docks[_ON_DEMAND]
        self._give_place(dock)
        dock.show()
        dock.raise_()

    def _give_place(self, dock: QDockWidget) -> None:
        nowhere = Qt.DockWidgetArea.NoDockWidgetArea
        if self._window.dockWidgetArea(dock) == nowhere and not dock.isFloating():
            self._window.tabifyDockWidget(self.docks["space"], dock)
