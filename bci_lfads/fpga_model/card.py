"""What a card has."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Resources:
    """Of a whole device, its shell's share included.

    Attributes
    ----------
    dsp
        DSP48E2.
    bram
        Block RAMs of 36 Kbit.
    uram
        UltraRAMs of 288 Kbit.
    lut
        Look-up tables of six inputs.
    """

    dsp: int
    bram: int
    uram: int
    lut: int

    def fits(self, device: Resources) -> bool:
        """Return whether a device has as much of everything."""
        return (
            self.dsp <= device.dsp
            and self.bram <= device.bram
            and self.uram <= device.uram
            and self.lut <= device.lut
        )


U55C = Resources(dsp=9024, bram=2016, uram=960, lut=1_303_680)
"""AMD Alveo U55C (data sheet DS978)."""
SUPER_LOGIC_REGIONS = 3
"""Dies of that device; a cell should fit one."""
PUBLISHED = {"DSP": 2058, "LUT": 179_437, "BRAM": 251}
"""Synthesis report for a U50 of the published design (arXiv 2402.04274)."""
PUBLISHED_MICROSECONDS = 41.97
"""Its latency for a trial of 73 bins of 70 units (the same)."""
