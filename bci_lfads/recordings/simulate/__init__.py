"""Simulated recordings whose truth is known: Lorenz-driven units and centre-out reaches.

Equations and parameters are in docs/simulator.md.
"""

from bci_lfads.recordings.simulate.lorenz import Lorenz, simulate_lorenz, stream_lorenz
from bci_lfads.recordings.simulate.population import Population, gather
from bci_lfads.recordings.simulate.reach import Reach, simulate_reach, stream_reach

__all__ = [
    "Lorenz",
    "Population",
    "Reach",
    "gather",
    "simulate_lorenz",
    "simulate_reach",
    "stream_lorenz",
    "stream_reach",
]
