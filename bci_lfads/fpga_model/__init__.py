"""What the kernel would take on a card: cycles and area, from its own parameters.

`build.py` reads those parameters, `step.py` counts the stages of a step (the RTL witness in
`fpga/witness` is held to them), `trial.py` adds up a trial, `area.py` multipliers, memories and
LUTs, `card.py` knows what a U55C has. Every figure is estimated or from an RTL simulation; none is
measured on hardware. The derivation in words is in docs/fpga.md.
"""

from bci_lfads.fpga_model.area import Part, area
from bci_lfads.fpga_model.build import Build
from bci_lfads.fpga_model.card import U55C, Resources
from bci_lfads.fpga_model.step import Form, Stage, map_cycles, step_cycles, step_stages
from bci_lfads.fpga_model.trial import Phase, Trial, trial

__all__ = [
    "U55C",
    "Build",
    "Form",
    "Part",
    "Phase",
    "Resources",
    "Stage",
    "Trial",
    "area",
    "map_cycles",
    "step_cycles",
    "step_stages",
    "trial",
]
