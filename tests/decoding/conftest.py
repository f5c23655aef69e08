"""A recording whose behaviour its units know, a model with random weights, and rigs for both."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from models.float_models import random_weights

from bci_lfads.decoding.file import Decoder, Facts
from bci_lfads.models.model import Model
from bci_lfads.models.spec import LfadsSpec
from bci_lfads.recordings import Series, write
from bci_lfads.recordings.simulate import simulate_reach
from bci_lfads.rig import parse_rig

N_BINS, WIDTH = 20, 0.02


@pytest.fixture(scope="session")
def reaches():
    """Trials of 2 s or so; the series `velocity` is the intended one, known to the units."""
    recording = simulate_reach(40, n_units=24, rate=30.0, n_directions=4, seed=3)
    latents = recording.series["latents"]
    velocity = Series(latents.times, latents.values[:, 2:4], ("vx", "vy"))
    return replace(recording, series={**recording.series, "velocity": velocity})


@pytest.fixture(scope="session")
def model(reaches):
    spec = LfadsSpec(
        n_units=reaches.n_units, n_bins=N_BINS, encoder_size=24, ic_size=16, generator_size=16,
        n_factors=6,
    )  # fmt: skip
    return Model.from_weights(
        spec, random_weights(spec, 7), unit_labels=reaches.unit_labels, bin_width=WIDTH
    )


def rig_for(name, mode, *, mask=(), **more):
    window = (
        {"mode": "sliding", "hop": 2} if mode == "sliding" else {"mode": "trials", "start": "go/*"}
    )
    content = {
        "name": name, "model": "m.safetensors",
        "input": {"spikes": {"name": f"{name} S"}, "markers": {"name": f"{name} M"},
                  "mask": mask},
        "window": window, "binning": {"hold_off": 0.3}, **more,
    }  # fmt: skip
    return parse_rig(content, Path("rig.toml"))


def plain_decoder(model, mode="sliding", hop=1, channels=("vx", "vy"), **more):
    """Return a ridge decoder with weights 1, 2, ..., whose output is easily worked out."""
    n = model.spec.n_factors * (more.get("history", 0) + 1)
    facts = Facts(
        method="ridge", channels=channels, n_inputs=model.spec.n_factors, model_hash=model.hash,
        bin_width=model.bin_width, mode=mode, hop=hop if mode == "sliding" else None, **more,
    )  # fmt: skip
    weights = np.arange(1.0, n * len(channels) + 1).reshape(len(channels), n)
    return Decoder(facts, {"weights": weights, "offset": np.zeros(len(channels))})


@pytest.fixture
def files(tmp_path, reaches, model):
    """Return a folder with rig, model and recording."""
    model.save(tmp_path / "m.safetensors")
    write(reaches, tmp_path / "r.npz")
    head = (
        'name = "rig"\nmodel = "m.safetensors"\n[input.spikes]\nname = "S"\n'
        '[input.markers]\nname = "M"\n[window]\n'
    )
    (tmp_path / "sliding.toml").write_text(head + 'mode = "sliding"\nhop = 2\n')
    (tmp_path / "trials.toml").write_text(head + 'mode = "trials"\nstart = "go/*"\n')
    return tmp_path
