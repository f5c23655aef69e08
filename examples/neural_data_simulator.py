"""Neural Data Simulator beside bci-lfads: its spikes come in, our factors take its decoder's place.

    python -m venv nds && nds/bin/pip install neural-data-simulator pylsl==1.16.2
    LSLAPICFG=$PWD/lsl_api.cfg python examples/neural_data_simulator.py --nds nds/bin

Neural Data Simulator (its own environment: it wants an older pylsl, which takes the LSL library
of this one) streams velocities, encodes them as rates, and makes spikes of those. This script
records its NDS-SpikeEvents, trains a small model on them, runs the loop on the very stream, fits a
linear decoder of velocity from the factors received, and publishes what that decodes as
NDS-Decoder, where Neural Data Simulator's own would. It takes some minutes and prints what it
found; docs/neighbours.md shows it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pylsl
import pylsl.lib

N_CHANNELS, RATE = 24, 50.0
LSL_SETTINGS = Path(__file__).resolve().parent.parent / "lsl_api.cfg"  # loopback only
RIG = """
name = "NDS"
model = "model.safetensors"
[input.spikes]
name = "NDS-SpikeEvents"
[window]
mode = "sliding"
[binning]
hold_off = 0.03     # its spikes come in chunks
[loop]
deadline = 0.2
"""
PLUGIN = """
import numpy as np
from neural_data_simulator.core.models import EncoderModel
from neural_data_simulator.core.samples import Samples

rng = np.random.default_rng(0)
TUNING = rng.normal(0, 0.6, (2, {n}))
BIAS = np.log(rng.uniform(5, 25, {n}))


class Tuned(EncoderModel):
    def encode(self, X):
        rates = np.exp(np.clip(X.data @ TUNING + BIAS, -5, 5))
        return Samples(timestamps=X.timestamps, data=rates)


def create_model():
    return Tuned()
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--nds", type=Path, required=True, help="folder of its commands")
    parser.add_argument("--seconds", type=float, default=60.0, help="to record")
    options = parser.parse_args()
    if Path(os.environ.get("LSLAPICFG", "")).resolve() != LSL_SETTINGS:
        raise SystemExit(f"run it with LSLAPICFG={LSL_SETTINGS}, so that both sides stay here")
    nds = options.nds.resolve()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        running = start_simulator(nds, folder)
        try:
            return use(folder, options.seconds)
        finally:
            for process in running:
                process.terminate()
                process.wait()


def start_simulator(nds: Path, folder: Path) -> list[subprocess.Popen[bytes]]:
    """Start its streamer of velocities, its encoder and its generator of spikes."""
    t = np.arange(int(600 * RATE)) / RATE
    rng = np.random.default_rng(1)
    waves = [
        sum(np.sin(2 * np.pi * (f * t + p)) for f, p in rng.uniform((0.1, 0), (0.7, 1), (6, 2)))
        for _ in range(2)
    ]
    velocity = np.stack(waves, axis=1)
    velocity /= velocity.std(axis=0)
    np.savez(folder / "velocity.npz", timestamps_train=t, vel_train=velocity.astype(np.float32))
    (folder / "plugin.py").write_text(PLUGIN.format(n=N_CHANNELS))
    # It reads LSL's settings from its own home alone, whatever LSLAPICFG says; without this file
    # it would look for streams on the whole network.
    settings = folder / ".nds" / "lsl.config"
    settings.parent.mkdir()
    settings.write_text(LSL_SETTINGS.read_text())
    environment = os.environ | {"PYLSL_LIB": str(pylsl.lib.libpath), "HOME": str(folder)}
    package = Path(
        subprocess.run(
            [nds / "python", "-c", "import neural_data_simulator as n; print(n.__path__[0])"],
            check=True, capture_output=True, text=True, env=environment,
        ).stdout.strip()
    )  # fmt: skip
    defaults = package / "config" / "settings.yaml"
    commands = [
        ["streamer", "--settings-path", package / "streamer/config/settings_streamer.yaml", "-o",
         f"streamer.npz.input.file={folder / 'velocity.npz'}"],
        ["encoder", "--settings-path", defaults, "-o", f"encoder.model={folder / 'plugin.py'}",
         "encoder.postprocessor=null", f"encoder.output.n_channels={N_CHANNELS}"],
        ["ephys_generator", "--settings-path", defaults, "-o",
         "ephys_generator.noise.samples=16384", "ephys_generator.raw_data_frequency=10000"],
    ]  # fmt: skip
    said = (folder / "nds.log").open("wb")
    return [
        subprocess.Popen(
            [nds / c[0], *map(str, c[1:])], stdout=said, stderr=said, cwd=folder, env=environment
        )
        for c in commands
    ]


def ours(*arguments: object) -> str:
    """Run a bci-lfads command and return what it printed."""
    command = [sys.executable, "-m", "bci_lfads", "--quiet", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tempfile.gettempdir())
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr}")
    return done.stdout


def use(folder: Path, seconds: float) -> int:
    found = pylsl.resolve_byprop("name", "NDS-SpikeEvents", timeout=90)
    if not found:
        raise SystemExit((folder / "nds.log").read_text())
    listed = {s["name"]: s["usable"] for s in json.loads(ours("streams", "--json"))}
    say("bci-lfads streams", listed)
    recording, model = folder / "nds.xdf", folder / "model.safetensors"
    ours("record", recording, "--stream", "NDS-SpikeEvents", "--seconds", seconds)
    info = json.loads(ours("info", recording, "--json"))
    say("recorded", {k: info[k] for k in ("n_units", "n_spikes", "rate")})
    trained = json.loads(
        ours(
            "train", recording, "-o", model, "--sliding", "--bins", 25, "--bin-width", 0.02,
            "--factors", 4, "--hidden", 32, "--epochs", 60, "--json",
        )
    )  # fmt: skip
    say("trained", {k: trained[k] for k in ("epochs", "hash")})
    (folder / "rig.toml").write_text(RIG)
    loop = subprocess.Popen(
        [sys.executable, "-m", "bci_lfads", "--quiet", "run", str(folder / "rig.toml"), "--json"],
        stdout=subprocess.PIPE, text=True, cwd=tempfile.gettempdir(),
    )  # fmt: skip
    try:
        r2 = decode(fit_for=25.0, score_for=25.0)
    finally:
        loop.terminate()
        report = json.loads(loop.communicate(timeout=30)[0])
    counters = report["status"]["counters"]
    say("run", {"windows": counters["windows"], **counters["spikes"]})
    say("R² of velocity decoded from the factors, live", {"x": r2[0], "y": r2[1]})
    return 0 if min(r2) > 0.3 else 1


def decode(fit_for: float, score_for: float) -> tuple[float, float]:
    """Fit a decoder on factors and velocities received, then publish what it decodes."""
    factors = inlet("NDS Factors")
    velocity = inlet("NDS-Behavior")
    outlet = pylsl.StreamOutlet(
        pylsl.StreamInfo("NDS-Decoder", "Decoder", 2, RATE, pylsl.cf_float32, "DecodedBehavior")
    )
    f, ft, v, vt = [], [], [], []
    weights = None
    decoded, stamps = [], []
    began = time.monotonic()
    while time.monotonic() - began < fit_for + score_for:
        sample, stamp = factors.pull_sample(timeout=0.1)
        if stamp is not None:
            x = np.append(sample, 1.0)
            if weights is None:
                f.append(x)
                ft.append(stamp)
            else:
                y = x @ weights
                outlet.push_sample(y.astype(np.float32).tolist(), stamp)
                decoded.append(y)
                stamps.append(stamp)
        some, when = velocity.pull_chunk(timeout=0.0)
        v += some
        vt += when
        if weights is None and time.monotonic() - began > fit_for:
            weights = np.linalg.lstsq(np.array(f), at(np.array(ft), vt, v), rcond=None)[0]
    true = at(np.array(stamps), vt, v)
    rest = ((true - np.array(decoded)) ** 2).sum(axis=0)
    r2 = 1 - rest / ((true - true.mean(axis=0)) ** 2).sum(axis=0)
    return round(float(r2[0]), 3), round(float(r2[1]), 3)


def at(stamps: np.ndarray, times: list[float], values: list[list[float]]) -> np.ndarray:
    """Return values at other stamps."""
    known = np.array(values)
    return np.stack([np.interp(stamps, times, known[:, k]) for k in range(2)], axis=1)


def inlet(name: str) -> pylsl.StreamInlet:
    found = pylsl.resolve_byprop("name", name, timeout=60)
    if not found:
        raise SystemExit(f"there is no stream '{name}'")
    opened = pylsl.StreamInlet(found[0])
    opened.open_stream(10.0)
    return opened


def say(what: str, values: dict[str, object]) -> None:
    """Print one line."""
    print(f"{what}: {', '.join(f'{k} {v}' for k, v in values.items())}", flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
