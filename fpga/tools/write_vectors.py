"""Write test vectors for the kernel's test bench: random models, counts and exact answers.

    python fpga/tools/write_vectors.py FOLDER [--models 24] [--seed 0] [--tiny]

A file is little-endian 32-bit words: magic ``LFTV``, image words, trials, bins, bins out, units,
factors; then the image, the counts (bytes, padded to a word), the factors and the log-rates.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from models.random_models import numbered_model, random_counts  # noqa: E402

from bci_lfads.models.image import pack_image  # noqa: E402
from bci_lfads.models.integer import infer_integer  # noqa: E402

MAGIC = 0x5654464C
TINY = {
    "n_units": 5, "n_bins": 3, "n_ahead": 1, "encoder_size": 4, "ic_size": 3, "generator_size": 3,
    "n_factors": 3,
}  # fmt: skip
"""For a simulation of every register: fpga/rtl/lfads_rtl.cpp."""


def write_case(path: Path, seed: int, index: int, *, tiny: bool = False) -> None:
    """Write one model of the series with two trials."""
    spec, fixed = numbered_model(seed, index, **(TINY if tiny else {}))
    counts = random_counts(seed + index, spec, n_trials=2)
    latents = infer_integer(spec, fixed, counts)
    image = pack_image(spec, fixed)
    head = np.array(
        [MAGIC, image.size, 2, spec.n_bins, spec.n_bins_out, spec.n_units, spec.n_factors], "<u4"
    )
    padding = bytes(-counts.size % 4)
    with path.open("wb") as file:
        file.write(head.tobytes() + image.astype("<u4").tobytes() + counts.tobytes() + padding)
        file.write(latents.factors.astype("<i4").tobytes())
        file.write(latents.log_rates.astype("<i4").tobytes())


def main() -> None:
    """Write the vectors that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tiny", action="store_true", help="a few bins, units and states")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for old in arguments.folder.glob("*.bin"):
        old.unlink()
    for index in range(arguments.models):
        path = arguments.folder / f"model_{index:03d}.bin"
        write_case(path, arguments.seed, index, tiny=arguments.tiny)


if __name__ == "__main__":
    main()
