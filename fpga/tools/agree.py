"""Compare every way to compute a model: integer reference, C simulation, native engine, card.

    python fpga/tools/agree.py [--models 100] [--seed 0]

The card is emulated: the production engine, the real Xilinx Runtime of Debian 12 in software
emulation, and the compiled kernel behind it, launched for each trial and once for all. Models are
those of `make csim`: both GRU forms, both activations, 16 and 8 bits, full-range weights, four of
the published sizes and two of the largest in a hundred. Exit status 0 if all agree to the bit.
"""

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests")]

from kernel_library import kernel_library  # noqa: E402
from xrt.emulation import Emulation, Unavailable, clear, make_home  # noqa: E402

AT_A_TIME = 20


def main() -> int:
    """Print a table; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    try:
        home = make_home()
    except Unavailable as error:
        sys.stderr.write(f"{error}\n")
        return 2
    right: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        emulation = Emulation(home, Path(folder))
        try:
            for first in range(0, arguments.models, AT_A_TIME):
                n = min(AT_A_TIME, arguments.models - first)
                found = emulation.run(
                    "agreement", xclbin=emulation.xclbin(), library=kernel_library(), first=first,
                    n=n, seed=arguments.seed, timeout=600,
                )  # fmt: skip
                for way, count in found.items():
                    right[way] = right.get(way, 0) + count
                sys.stderr.write(f"{first + n} of {arguments.models} models\n")
        finally:
            clear(emulation)
    lines = [f"equal to the integer reference to the bit, of {arguments.models}; card emulated:"]
    lines += [f"  {way:<20} {count:>4}" for way, count in right.items()]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if all(count == arguments.models for count in right.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
