"""A trial: when each process is done with each bin, from the first count in to the last result.

Processes joined by queues run at the same time (`fpga/src/lfads_card.cpp`); a process begins a bin
when it is done with the one before and the bin has come. Steps are counted by `step.py`, whose
cycles the RTL witness has; what else is here is estimated.
"""

from __future__ import annotations

from dataclasses import dataclass

from bci_lfads.fpga_model.build import Build, count_blocks, value_blocks
from bci_lfads.fpga_model.step import Form, map_cycles, multiplications, step_cycles
from bci_lfads.models.fixed import FixedPoint
from bci_lfads.models.spec import LfadsSpec

CONTROL = 3
"""What a schedule of Vitis HLS adds to a step: the loop's entry with the input part's read, the
multipliers' start values before their loop, and the return to the loop."""
_FETCH = 2  # cycles a block, one for each direction from one port
_SUM_DEPTH = 6  # find a unit, its place, read of two registers, multiply, add
_ALIGN_DEPTH = 4  # shift left, half, shift right, half
_FACTOR_DEPTH = 7  # MREG, PREG, six levels of adders in three cycles, rounding, saturation
_RATE_DEPTH = 7  # MREG, PREG, five levels of adders in three, rounding, saturation
_QUEUE = 1  # from one process to the next
_STORE = 2  # a block out of its queue and onto the port


@dataclass(frozen=True)
class Phase:
    """A part of a trial as the chain sees it.

    Attributes
    ----------
    name
        What it is.
    cycles
        How long, all of its passes.
    passes
        How often.
    basis
        ``RTL simulation + estimated control`` or ``estimated``.
    """

    name: str
    cycles: int
    passes: int
    basis: str


@dataclass(frozen=True)
class Trial:
    """Cycles of a trial.

    Attributes
    ----------
    phases
        Of the chain, one after the other; their sum is `factors`.
    factors, log_rates
        Cycles from the first count in to the last factor and log-rate out.
    most_active
        Units that may fire in every bin before projections hold up the recurrence.
    """

    phases: tuple[Phase, ...]
    factors: int
    log_rates: int
    most_active: int

    def microseconds(self, megahertz: float) -> float:
        """Return the time to the last factor at a clock."""
        return self.factors / megahertz


def usual_active(n_units: int) -> int:
    """Return units that fire in a bin at the published recordings' density, ten of seventy."""
    return -(-n_units // 7)


def project_cycles(build: Build, n_units: int, active: int) -> int:
    """Return the cycles of a bin's projection, all active units dealt to one port if they can be.

    Parameters
    ----------
    build
        The kernel's.
    n_units
        Of the model.
    active
        Units that fired.
    """
    one_port = min(active, -(-n_units // build.spikes))
    return 1 + count_blocks(n_units) + one_port + _SUM_DEPTH + _QUEUE


def trial(
    build: Build,
    spec: LfadsSpec,
    fixed: FixedPoint,
    *,
    active: int | None = None,
    control: int = CONTROL,
    extra_registers: int = 0,
) -> Trial:
    """Return the cycles of a trial.

    Parameters
    ----------
    build, spec, fixed
        The kernel's build and the model.
    active
        Units that fire in each bin; default: `usual_active`.
    control
        Cycles that a schedule of Vitis HLS adds to a step.
    extra_registers
        More registers for each multiplication of the chain than the witness has, for a device on
        which timing does not close otherwise.

    Raises
    ------
    ModelError
        If the model is larger than the build.
    """
    build.check(spec)
    active = usual_active(spec.n_units) if active is None else min(active, spec.n_units)

    def step(gru: str) -> int:
        form = Form.of(spec, fixed, gru)
        return step_cycles(build, form) + control + extra_registers * multiplications(form)

    encoder = max(step("encoder.forward"), step("encoder.backward"))
    generator = step("generator")
    maps = 2 if spec.ic_map == "linear" else 1
    a_map = map_cycles(build) + control + extra_registers
    fetch = _FETCH * count_blocks(spec.n_units)
    project = project_cycles(build, spec.n_units, active)
    align = 3 + _ALIGN_DEPTH + _QUEUE
    factor = 1 + spec.n_factors + _FACTOR_DEPTH + value_blocks(spec.n_factors) + _QUEUE
    rate = 1 + value_blocks(spec.n_units) + _RATE_DEPTH + _QUEUE

    # When each process is done with the bin that the loop is at.
    fetched = projected = aligned = stepped = 0
    first = 0
    for _ in range(spec.n_bins):
        fetched += fetch
        projected = max(projected, fetched) + project
        aligned = max(aligned, projected) + align
        stepped = max(stepped, aligned) + encoder
        first = first or aligned
    encoded = stepped
    stepped += maps * a_map
    mapped = stepped
    factors_done = rates_done = stepped
    for _ in range(spec.n_bins_out):
        stepped += generator
        factors_done = max(factors_done, stepped) + factor
        rates_done = max(rates_done, factors_done) + rate
    from_witness = "RTL simulation + estimated control"
    phases = (
        Phase("first bin: fetch, projection, alignment", first, 1, "estimated"),
        Phase("encoder steps", encoded - first, spec.n_bins, from_witness),
        Phase("maps to the generator's first state", mapped - encoded, maps, "estimated"),
        Phase("generator steps", stepped - mapped, spec.n_bins_out, from_witness),
        Phase("last factors", factors_done + _STORE - stepped, 1, "estimated"),
    )
    held_up = [
        n for n in range(spec.n_units + 1) if project_cycles(build, spec.n_units, n) > encoder
    ]
    most = held_up[0] - 1 if held_up else spec.n_units
    return Trial(phases, factors_done + _STORE, rates_done + _STORE, most)
