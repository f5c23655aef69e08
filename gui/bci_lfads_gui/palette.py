"""Colours: two themes, both of the palette by Okabe and Ito, which colour-blind people can read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bci_lfads_gui.model.health import Level

_ORANGE, _SKY, _GREEN, _YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
_BLUE, _VERMILION, _PURPLE, _GREY = "#0072B2", "#D55E00", "#CC79A7", "#999999"

GLYPHS: Mapping[Level, str] = {Level.OFF: "○", Level.OK: "●", Level.WARN: "▲", Level.BAD: "✖"}
"""So that no light is told by its colour alone."""


@dataclass(frozen=True)
class Theme:
    """What a window looks like; colours are ``#rrggbb``.

    Attributes
    ----------
    conditions
        In turn, for trials of different labels.
    lights
        By level.
    raster
        Background, stretch within a trial, spike.
    """

    name: str
    window: str
    base: str
    text: str
    muted: str
    line: str
    conditions: tuple[str, ...]
    lights: Mapping[Level, str]
    on_light: str
    raster: tuple[str, str, str]
    marker: str
    align: str

    def condition(self, index: int) -> str:
        """Return the colour of a condition."""
        return self.conditions[index % len(self.conditions)]

    def stroke(self, index: int) -> int:
        """Return a condition's stroke, 0 for a plain line: there are more than colours."""
        return index // len(self.conditions) % 3

    def raster_table(self) -> NDArray[np.uint8]:
        """Return colours by value: 0 nothing, 1 within a trial, then spikes, more and more."""
        empty, trial, spike = (np.array(rgb(c), float) for c in self.raster)
        table = np.empty((256, 3))
        table[0], table[1] = empty, trial
        share = np.linspace(0.35, 1.0, 254)[:, None]
        table[2:] = empty + share * (spike - empty)
        colours: NDArray[np.uint8] = table.round().astype(np.uint8)
        return colours


def rgb(colour: str) -> tuple[int, int, int]:
    """Return ``#rrggbb`` as three numbers."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


DARK = Theme(
    name="dark", window="#1e2126", base="#14161a", text="#e8eaed", muted="#9aa0a8", line="#3a3f47",
    conditions=(_SKY, _ORANGE, _GREEN, _PURPLE, _YELLOW, _VERMILION, "#3f9bd6", _GREY),
    lights={Level.OFF: "#7d838c", Level.OK: "#00b887", Level.WARN: _ORANGE, Level.BAD: "#f06a1d"},
    on_light="#101215", raster=("#14161a", "#232a33", "#f2f4f7"), marker=_YELLOW, align=_ORANGE,
)  # fmt: skip
LIGHT = Theme(
    name="light", window="#f3f4f6", base="#ffffff", text="#1b1d21", muted="#5c636d", line="#c4c9d1",
    conditions=(_BLUE, _VERMILION, _GREEN, _PURPLE, _ORANGE, _SKY, "#7a6f00", "#555555"),
    lights={Level.OFF: "#6b7280", Level.OK: "#007a58", Level.WARN: "#b37400", Level.BAD: "#c04a00"},
    on_light="#ffffff", raster=("#ffffff", "#e6edf5", "#14161a"), marker="#7a6f00",
    align=_VERMILION,
)  # fmt: skip
THEMES: Mapping[str, Theme] = {"dark": DARK, "light": LIGHT}
