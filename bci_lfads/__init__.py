"""Latent factors in the loop.

Data flows through one folder per stage, in this order:

- ``recordings``: recordings from files, the simulator, replay on LSL
- ``streams``: LSL inlets and outlets, and their metadata
- ``binning``: spike events to counts on a bin grid
- ``windows``: counts to trials or to a sliding window
- ``engines``: LFADS inference (``native``, ``torch``, ``fpga``)
- ``models``: what a model is, its file, its fixed-point form, importers
- ``pipeline``: the wiring of the stages; ``rig``: its configuration; ``cli``: the commands
"""

__version__ = "0.1.0"
