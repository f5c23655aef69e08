"""Spikes to windows of counts: trials aligned to markers, or a sliding window.

Both take spikes in any chunking and any order, and give a window once the watermark (the moment
before which nothing more is expected) has passed its end. The rules and all counters are in
``docs/binning.md``.
"""

from bci_lfads.windows.base import Window, Windows, WindowTally
from bci_lfads.windows.offline import WindowBatch, stack, windows_of
from bci_lfads.windows.sliding import SlidingWindows
from bci_lfads.windows.trials import TrialWindows

__all__ = [
    "SlidingWindows",
    "TrialWindows",
    "Window",
    "WindowBatch",
    "WindowTally",
    "Windows",
    "stack",
    "windows_of",
]
