"""What to put on the loop, and the rig and model for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bci_lfads.models.model import Model
from bci_lfads.models.spec import LfadsSpec

_SIZES: dict[str, Any] = {"encoder_size": 32, "ic_size": 32, "generator_size": 32, "n_factors": 8}


@dataclass(frozen=True)
class Load:
    """Spikes, and windows to make of them.

    Attributes
    ----------
    seconds
        Of spikes.
    n_units
        Each of which spikes on its own, as a Poisson process.
    rate
        Spikes per second and unit.
    bin_width
        Seconds; the window moves on by one bin at a time.
    n_bins
        In a window.
    hold_off
        Seconds, of the rig.
    seed
        Of the spikes and of the model's weights.
    """

    seconds: float = 60.0
    n_units: int = 1024
    rate: float = 50.0
    bin_width: float = 0.01
    n_bins: int = 30
    hold_off: float = 0.02
    seed: int = 0


def write_rig(load: Load, name: str, folder: Path) -> Path:
    """Write a rig and its model, of random weights: what it infers means nothing, but costs."""
    spec = LfadsSpec(n_units=load.n_units, n_bins=load.n_bins, **_SIZES)
    rng = np.random.default_rng(load.seed)
    weights = {
        what: (0.5 * shape[-1] ** -0.5 * rng.standard_normal(shape)).astype(np.float32)
        for what, shape in spec.weight_shapes().items()
    }
    labels = tuple(f"u{k}" for k in range(load.n_units))
    model = Model.from_weights(spec, weights, unit_labels=labels, bin_width=load.bin_width)
    model.save(folder / "soak.safetensors")
    rig = folder / "soak.toml"
    rig.write_text(f"""
name = "{name}"
model = "soak.safetensors"
[input.spikes]
name = "{name} S"
max_rate = {2 * load.n_units * load.rate:.0f}
[window]
mode = "sliding"
[binning]
hold_off = {load.hold_off}
""")
    return rig
