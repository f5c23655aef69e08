"""The engine on an Alveo card, through the Xilinx Runtime's pyxrt.

``protocol`` says what the kernel takes and answers, ``failures`` which error an exception of the
runtime becomes, ``card`` opens device, xclbin and kernel, ``lane`` holds one run and its buffers,
``loaded`` a model on the card, ``served`` one whose kernel was started once and answers by a
mailbox, ``engine`` is the engine. ``selftest`` and ``bench`` are what a lab
runs on its card first. pyxrt comes with the card's software and is imported when a card is opened.

Not run on hardware: tests drive it through the real runtime with an emulated device.
"""

from bci_lfads.engines.fpga.card import XCLBIN_VARIABLE, Card, missing
from bci_lfads.engines.fpga.engine import FpgaEngine

__all__ = ["XCLBIN_VARIABLE", "Card", "FpgaEngine", "missing"]
