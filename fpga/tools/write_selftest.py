"""Write the vectors that `bci-lfads fpga selftest` runs on a card: models, counts, exact answers.

    python fpga/tools/write_selftest.py

The answers are those of the NumPy reference (`bci_lfads.models.integer`), not of any kernel. The
file is ``bci_lfads/engines/fpga/vectors.npz``: of each case ``image``, ``counts``, ``factors`` and
``log_rates`` with the case's name before them.
"""

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from models import random_models  # noqa: E402
from models.random_models import random_counts, random_model  # noqa: E402

from bci_lfads.models.image import pack_image  # noqa: E402
from bci_lfads.models.integer import infer_integer  # noqa: E402

OUTPUT = ROOT / "bci_lfads" / "engines" / "fpga" / "vectors.npz"
PUBLISHED = {"gru": "reset_after", "activation": "hard"} | random_models.PUBLISHED


def cases():
    """Yield the name and options of each case."""
    for gru in ("reset_after", "reset_before"):
        for activation in ("hard", "smooth"):
            for numbers in ("int16", "int8", "full range"):
                name = f"{gru.replace('_', '-')} {activation}, {numbers}"
                yield name, {
                    "gru": gru, "activation": activation, "bytes_": numbers == "int8",
                    "full_range": numbers == "full range",
                }  # fmt: skip
    yield "of the published model's size", PUBLISHED


def main() -> None:
    """Write the file."""
    content = {}
    for seed, (name, options) in enumerate(cases()):
        spec, fixed = random_model(8000 + seed, **options)
        counts = random_counts(8000 + seed, spec, n_trials=5)
        latents = infer_integer(spec, fixed, counts)
        content[f"{name}/image"] = pack_image(spec, fixed)
        content[f"{name}/counts"] = counts
        content[f"{name}/factors"] = latents.factors.astype(np.int32)
        content[f"{name}/log_rates"] = latents.log_rates.astype(np.int32)
    np.savez_compressed(OUTPUT, **content)


if __name__ == "__main__":
    main()
