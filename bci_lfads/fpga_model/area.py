"""Multipliers, memories and LUTs of a build, part by part.

DSPs and memories follow from the kernel's loops and pragmas; a test holds those of a cell to what
Yosys finds in the witness. LUTs are rougher: of a unit's gates they are Yosys' count of the
witness, of everything else adders and shifters by their widths. Whether a device of three dies can
be routed at a clock is not a sum, and not known.
"""

from __future__ import annotations

from dataclasses import dataclass

from bci_lfads.fpga_model.build import Build, count_blocks, value_blocks
from bci_lfads.fpga_model.card import Resources

BANKS = 2
"""Of weights: the model in use, and the one that is loaded."""
_SLOTS = (3, 2)
UNIT_LUTS = 2720
"""Of all that a unit of a cell has beside its products: Yosys 0.23 of fpga/witness/unit.sv, LUTs of
three inputs and more (smaller ones share one with others)."""
_ACCUMULATOR = 48
_BRAM_WIDTH, _BRAM_DEPTH = 72, 512
_URAM_DEPTH = 4096
_WORD = 64  # bits of a sum in a queue
_BLOCK = 512  # bits of a word of the ports to memory
_AXI = Resources(dsp=0, bram=15, uram=0, lut=2000)  # an m_axi of 512 bits, by experience
_PORTS = 5  # image, counts, factors with the answer, log-rates, the mailbox in the host's memory
_STAGING_BRAM = 48  # the image's sections but input weights


@dataclass(frozen=True)
class Part:
    """What a part of the kernel takes."""

    name: str
    uses: Resources
    why: str


def area(build: Build) -> list[Part]:
    """Return the parts of a build."""
    return [
        *(_cell(build, index, slots) for index, slots in enumerate(_SLOTS)),
        _projection(build),
        _read_out(build),
        _queues(build),
        _staging(build),
        _mailbox(build),
        Part(
            "ports to memory",
            Resources(0, _PORTS * _AXI.bram, 0, _PORTS * _AXI.lut),
            f"{_PORTS} AXI masters of 512 bits",
        ),
    ]


def total(parts: list[Part]) -> Resources:
    """Return the sum of parts."""
    return Resources(
        *(sum(getattr(p.uses, k) for p in parts) for k in ("dsp", "bram", "uram", "lut"))
    )


def lane_luts(build: Build, slots: int = max(_SLOTS)) -> int:
    """Return the LUTs of a multiplier's weights, 64 words of a bit each."""
    return 16 * -(-BANKS * slots * build.reuse // 64)


def unit_dsps() -> int:
    """Return multipliers of a unit beside its products."""
    # r times c_n in two halves, z times h, 1 - z times n; two in each of two tables.
    return 2 + 1 + 1 + 2 * 2


def _cell(build: Build, index: int, slots: int) -> Part:
    products = build.rows * build.lanes
    tree = _ACCUMULATOR * (build.lanes - 1) + _ACCUMULATOR
    biases = _ACCUMULATOR // 2
    luts = build.rows * (build.lanes * lane_luts(build, slots) + tree + biases)
    return Part(
        f"cell {index}: {'forward, generator' if index == 0 else 'backward'}",
        Resources(products + build.state * unit_dsps(), 0, 0, luts + build.state * UNIT_LUTS),
        f"{build.rows} rows of {build.lanes} multipliers, and {unit_dsps()} for each of "
        f"{build.state} units; weights of {BANKS * slots * build.reuse} words in LUTRAM",
    )


def _projection(build: Build) -> Part:
    units_each = count_blocks(build.max_units) * 64 // build.spikes
    width = -(-build.rows * 16 // _BRAM_WIDTH)
    depth = -(-BANKS * units_each // _BRAM_DEPTH)
    sums = build.rows * (_ACCUMULATOR + 25 * build.spikes)
    # Two shifts of 64 bits by 6 bits, in fours, and two sums, for each unit.
    align = build.state * (2 * 3 * _WORD + 2 * _WORD)
    return Part(
        "projections",
        Resources(
            2 * build.spikes * build.rows, 2 * build.spikes * width * depth, 0, 2 * (sums + align)
        ),
        f"both directions: {build.spikes} units a cycle to {build.rows} rows; weights in BRAM, "
        f"{_BRAM_WIDTH} bits wide",
    )


def _read_out(build: Build) -> Part:
    rates = 16 * build.factors
    luts = 40 * (build.state + rates)  # adders
    rows = value_blocks(build.max_units)
    memory = BANKS * (build.factors * build.state * 16 + rows * 16 * (build.factors * 16 + _WORD))
    return Part(
        "factors and log-rates",
        Resources(build.state + rates, 0, 0, luts + memory // 32),
        f"a factor a cycle ({build.state}), 16 log-rates a cycle ({rates}); weights in LUTRAM",
    )


def _queues(build: Build) -> Part:
    # A LUT holds up to 32 entries of a bit.
    inputs = 2 * 2 * build.rows * _WORD
    blocks = 512 * (2 * 1 + 1 + 2) + 16 * build.state + 32 * build.factors
    return Part(
        "queues", Resources(0, 0, 0, inputs + blocks), "a LUT for 32 entries of a bit (SRL32)"
    )


def _staging(build: Build) -> Part:
    words = build.max_units * build.rows
    return Part(
        "the image last loaded",
        Resources(0, _STAGING_BRAM, 2 * -(-words // _URAM_DEPTH), 0),
        "flat, a weight a word; off every path",
    )


def _mailbox(build: Build) -> Part:
    # A window's bins lie there twice, so that every place of the ring has a whole window behind it.
    blocks = 2 * build.max_bins * count_blocks(build.max_units)
    memory = -(-_BLOCK // _BRAM_WIDTH) * -(-blocks // _BRAM_DEPTH)
    checks = 2 * 2 * _BLOCK  # of rows in and of rows out: a sum and a sum of sums for each word
    return Part(
        "mailbox",
        Resources(0, memory, 0, checks),
        "the window that a kernel that is started once keeps, and checksums of rows",
    )
