"""Write what the timing witness needs: the kernel's table of tanh, and cases with exact answers.

    python fpga/tools/write_witness.py FOLDER [--size 64] [--steps 6] [--seed 0]

`FOLDER/tanh_table.svh` is the table. `FOLDER/cases.txt` has, for each case, a line of its name,
one of its settings (hexadecimal, `settings_t` in fpga/witness/witness.svh), one of the initial
state, 3 size rows of weights with their bias, and for each step a line of the aligned input part,
one of its exactness and one of the state after it, from `bci_lfads.models.integer`.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from models.random_models import random_model  # noqa: E402

from bci_lfads.models.integer import _Integers, state_limit  # noqa: E402
from bci_lfads.models.tanh_table import tanh_table  # noqa: E402

FORMS = [(gru, act) for gru in ("reset_after", "reset_before") for act in ("hard", "smooth")]


def rom() -> str:
    """Return the table as SystemVerilog functions of the piece."""
    lines = []
    for name, values in tanh_table()._asdict().items():
        function = f"tanh_{name}"
        lines += [
            f"function automatic logic signed [21:0] {function}(input logic [5:0] piece);",
            "  case (piece)",
        ]
        for piece, value in enumerate(values.tolist()):
            sign = "-" if value < 0 else ""
            lines.append(f"    6'd{piece}: {function} = {sign}22'sd{abs(value)};")
        lines += [f"    default: {function} = 22'sd0;", "  endcase", "endfunction"]
    return "\n".join([*lines, ""])


def alignment(input_point: int, product_point: int, target: int) -> dict[str, int]:
    """Return the shifts of fpga/include/lfads_align.h, from the points themselves."""
    at = max(product_point, target)
    return {
        "left": max(0, at - input_point), "cut": max(0, input_point - at),
        "lift": at - product_point, "drop": at - target,
    }  # fmt: skip


def aligned(m: dict[str, int], a: int) -> tuple[int, bool]:
    """Return the input part as it is added, and whether a tie of the sum is one."""
    half_at_cut = m["drop"] == 0 and m["cut"] > 0
    moved = (a << m["left"]) + (1 << (m["cut"] - 1) if half_at_cut else 0)
    exact = (m["drop"] > 0 or m["cut"] > 0) and moved % (1 << m["cut"]) == 0
    return (moved >> m["cut"]) + (1 << (m["drop"] - 1) if m["drop"] else 0), exact


def packed(fields: list[tuple[int, int]]) -> int:
    """Return values and widths, the first highest, as one number."""
    word = 0
    for value, bits in fields:
        word = word << bits | (value & ((1 << bits) - 1))
    return word


def case(seed: int, size: int, steps: int, gru: str, activation: str, numbers: str) -> list[str]:
    """Return the lines of one case: the forward encoder of a random model."""
    spec, fixed = random_model(
        seed, gru=gru, activation=activation, encoder_size=size, n_units=8,
        bytes_=numbers == "int8", full_range=numbers == "full range",
    )  # fmt: skip
    net, name = _Integers(spec, fixed), "encoder.forward"
    rng = np.random.default_rng(seed)
    s_h, a_point = fixed.encoder_point, fixed.points[f"{name}.input_weight"]
    drop = fixed.drop_of(name)
    c_point = fixed.points[f"{name}.recurrent_weight"] + fixed.product_input(name)[0]
    gate = alignment(a_point, c_point, 15)
    candidate = alignment(
        a_point, c_point + (16 if gru == "reset_after" else 0), 16 if activation == "smooth" else 15
    )
    lifts = gate["lift"] > 0 or candidate["lift"] > 0
    low, high = state_limit(spec, s_h)
    settings = packed([
        (gru == "reset_before", 1), (activation == "smooth", 1), (drop > 0, 1),
        (lifts, 1), (drop, 4), (gate["lift"], 5),
        (candidate["lift"], 5), (gate["drop"], 6), (candidate["drop"], 6), (15 - s_h, 4),
        (31 - s_h, 6), (low, 16), (high, 16),
    ])  # fmt: skip
    bias = net.w[f"{name}.recurrent_bias"] << (c_point - fixed.points[f"{name}.recurrent_bias"])
    h = net.w[f"{name}.initial_state"]
    title = f"{gru} {activation} {numbers}{' lifted' if lifts else ''}"
    lines = [title, f"{settings:x}", " ".join(map(str, h.tolist()))]
    for row, b in zip(net.w[f"{name}.recurrent_weight"], bias, strict=True):
        lines.append(" ".join(map(str, [*row.tolist(), b])))
    for _ in range(steps):
        counts = rng.poisson(0.6, spec.n_units)
        a, _ = net.affine(name, counts, 0, "input_")
        pairs = [
            aligned(candidate if row >= 2 * size else gate, value)
            for row, value in enumerate(a.tolist())
        ]
        h = net.gru_step(name, a, a_point, h, s_h)
        lines.append(" ".join(str(value) for value, _ in pairs))
        lines.append(" ".join(str(int(exact)) for _, exact in pairs))
        lines.append(" ".join(map(str, h.tolist())))
    return lines


def main() -> None:
    """Write the files that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    (arguments.folder / "tanh_table.svh").write_text(rom())
    cases = [
        case(arguments.seed + i, arguments.size, arguments.steps, gru, activation, numbers)
        for i, (numbers, (gru, activation)) in enumerate(
            (n, form) for n in ("int16", "int8", "full range") for form in FORMS
        )
    ]
    head = f"{arguments.size} {arguments.steps} {len(cases)}"
    text = "\n".join([head, *(line for lines in cases for line in lines), ""])
    (arguments.folder / "cases.txt").write_text(text)


if __name__ == "__main__":
    main()
