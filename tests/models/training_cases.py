"""Tiny populations with something to learn, for tests of training and what is made of it."""

import numpy as np
from numpy.typing import NDArray

from bci_lfads.models.spec import LfadsSpec
from bci_lfads.recordings.simulate import simulate_lorenz

BIN_WIDTH = 0.02


def tiny_spec(**changes) -> LfadsSpec:
    sizes = {
        "n_units": 6, "n_bins": 10, "encoder_size": 8, "ic_size": 8, "generator_size": 8,
        "n_factors": 2,
    }  # fmt: skip
    return LfadsSpec(**sizes | changes)


def waves(n: int, spec: LfadsSpec | None = None, seed: int = 0) -> NDArray[np.uint8]:
    """Return counts of units that follow a sine whose phase differs from trial to trial."""
    spec = spec or tiny_spec()
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 2 * np.pi, (n, 1, 1))
    time = np.linspace(0, 2 * np.pi, spec.n_bins)[None, :, None]
    preferred = np.linspace(0, 2 * np.pi, spec.n_units, endpoint=False)
    return rng.poisson(np.exp(1.2 * np.cos(time + phase + preferred) - 0.5)).astype(np.uint8)


def small_recording(n_trials: int = 30, **changes):
    """Return a Lorenz population with two conditions, in trials of 0.2 s."""
    settings = {
        "n_units": 8, "trial_length": 0.2, "gap": (0.1, 0.2), "rate": 25.0, "n_conditions": 2,
    }  # fmt: skip
    return simulate_lorenz(n_trials, **settings | changes)
