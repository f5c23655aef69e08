"""Make the virtual rig's model and decoders by the commands that a rig user would give.

From the repository's root, where the package is installed with its extra ``train``::

    python replay_data/make_closed_loop.py

It records a calibration with the virtual rig, trains a model on it, fits one decoder to factors and
one to smoothed spike counts, and scores both on another calibration that nothing was fitted to. It
takes about four minutes.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
CALIBRATION, TEST = "calibration.npz", "test.npz"
RIG, MODEL = "closed_loop.toml", "closed_loop_model.safetensors"
DECODER, COUNTS = "closed_loop_decoder.safetensors", "closed_loop_counts.safetensors"
VELOCITY = ("--channels", "vx,vy", "--unit", "cm/s")
COMMANDS = (
    ("closed-loop", "calibrate", "-o", CALIBRATION, "--seconds", "600", "--seed", "1"),
    ("closed-loop", "calibrate", "-o", TEST, "--seconds", "180", "--seed", "2"),
    (
        "train", CALIBRATION, "-o", MODEL, "--sliding", "--bins", "40", "--hop", "8",
        "--hidden", "32", "--factors", "6", "--behaviour", "intention",
    ),
    ("decode", "fit", RIG, CALIBRATION, "-o", DECODER, *VELOCITY, "--history", "0.05"),
    (
        "decode", "fit", RIG, CALIBRATION, "-o", COUNTS, *VELOCITY,
        "--from", "counts", "--smoothing", "0.1",
    ),
    ("decode", "score", DECODER, RIG, TEST),
    ("decode", "score", COUNTS, RIG, TEST),
)  # fmt: skip


def main() -> None:
    """Run the commands in a folder of their own, and copy what they made beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--folder", type=Path, default=HERE)
    target = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(HERE / RIG, folder)
        for command in COMMANDS:
            sys.stderr.write(f"bci-lfads {' '.join(command)}\n")
            subprocess.run([sys.executable, "-m", "bci_lfads", *command], cwd=folder, check=True)
        for name in (MODEL, DECODER, COUNTS):
            shutil.copy(Path(folder) / name, target)


if __name__ == "__main__":
    main()
