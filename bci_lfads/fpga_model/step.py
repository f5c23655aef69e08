"""The stages of a step, each with its cycles and the reason for them.

A stage is what is between two registers of the chain from a state to the next one. `fpga/witness`
is that chain in SystemVerilog; a test runs it and holds its cycles to `step_cycles`.
"""

from __future__ import annotations

from dataclasses import dataclass

from bci_lfads.fpga_model.build import Build
from bci_lfads.models.fixed import FixedPoint
from bci_lfads.models.spec import LfadsSpec

LOOK_CYCLES = 6
LIFT_CYCLES = 3
MULTIPLICATIONS = 3
"""In the chain of the reset-after form: product, reset gate, blend."""


@dataclass(frozen=True)
class Form:
    """What of a model's form costs cycles.

    Attributes
    ----------
    reset_before
        Two dependent products in a step instead of one.
    smooth
        Activations by the table.
    shortens
        States are rounded to 8 bits before a product.
    lifts
        Products have fewer bits after the point than the activation.
    """

    reset_before: bool = False
    smooth: bool = False
    shortens: bool = False
    lifts: bool = False

    @classmethod
    def of(cls, spec: LfadsSpec, fixed: FixedPoint, gru: str) -> Form:
        """Return the form of one GRU: ``encoder.forward``, ``encoder.backward``, ``generator``."""
        point = fixed.points[f"{gru}.recurrent_weight"] + fixed.product_input(gru)[0]
        before, smooth = spec.gru == "reset_before", spec.activation == "smooth"
        # docs/arithmetic.md, "Activations": z and r are rounded to point 15, n to 15 or 16.
        lifts = point < 15 or (before and smooth and point < 16)
        return cls(before, smooth, fixed.drop_of(gru) > 0, lifts)


@dataclass(frozen=True)
class Stage:
    """Cycles of a part of a step, and why it takes them."""

    name: str
    cycles: int
    why: str


def tree_cycles(lanes: int) -> int:
    """Return the cycles of the sum over a row's lanes and the input part."""
    levels = (lanes - 1).bit_length() + 1
    return -(-levels // 2)


def product_stages(build: Build) -> list[Stage]:
    """Return the stages of one product on a cell."""
    levels = (build.lanes - 1).bit_length()
    return [
        Stage("columns", build.reuse, "each multiplier takes its columns one a cycle"),
        Stage("multiply", 1, "the multiplier's own register (MREG), for the last column"),
        Stage("accumulate", 1, "the accumulator's register (PREG)"),
        Stage(
            "sum of lanes", tree_cycles(build.lanes),
            f"{levels} levels of 48-bit adders and one for the input part, two a cycle",
        ),
    ]  # fmt: skip


def step_stages(build: Build, form: Form) -> list[Stage]:
    """Return the stages of one step, in order."""
    look = [
        Stage(
            "table", LOOK_CYCLES,
            "magnitude and read; two multiplications of two registers each; rounding and sign",
        )
    ] * form.smooth  # fmt: skip
    product = [
        *[Stage("to 8 bits", 1, "rounding and saturation of a state")] * form.shortens,
        *product_stages(build),
        *[
            Stage("lift", LIFT_CYCLES, "a left shift by the model's points, a gate a cycle")
        ] * form.lifts,
    ]  # fmt: skip
    reset = [
        Stage("reset gate: multiply", 1, "r times c_n (or h), two multipliers, their MREG"),
        Stage(
            "reset gate: round" if form.reset_before else "reset gate: sum", 1,
            "rounding to a state" if form.reset_before else "both halves and the input part of n",
        ),
    ]  # fmt: skip
    return [
        *product,
        Stage("z, r", 1, "one shift to the activation's point; tie and saturation beside it"),
        *look,
        *reset,
        *(product if form.reset_before else []),
        Stage("n", 1, "as z and r"),
        *look,
        Stage("blend: multiply", 1, "1 - z times n, MREG; z times h is made while n is"),
        Stage("blend: sum", 1, "PREG"),
        Stage("state", 1, "one shift to the state's point; tie and saturation beside it"),
    ]


def step_cycles(build: Build, form: Form) -> int:
    """Return the cycles from a state to the next one."""
    return sum(stage.cycles for stage in step_stages(build, form))


def multiplications(form: Form) -> int:
    """Return how many multiplications follow each other in a step."""
    return MULTIPLICATIONS + form.reset_before + 2 * 2 * form.smooth


def map_cycles(build: Build) -> int:
    """Return the cycles of a map from states to a state: a product, its rounding, saturation."""
    return sum(stage.cycles for stage in product_stages(build)) + 4
