"""A loop under load for as long as one likes: what was lost, what it cost, how it jittered.

- `load`: what to put on the loop, and the rig and model for it;
- `source`: the spikes, in a process of their own (``python -m bci_lfads.soak.source``);
- `run`: source and loop as on a rig, and a consumer that measures;
- `verdict`: what was measured, and whether it is well.
"""

from bci_lfads.soak.load import Load
from bci_lfads.soak.run import soak
from bci_lfads.soak.verdict import Check, Measured, checks

__all__ = ["Check", "Load", "Measured", "checks", "soak"]
