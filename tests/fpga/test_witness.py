"""The cycle model against the timing witness, and the area model against Yosys."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from bci_lfads.fpga_model import Build, Form, step_cycles
from bci_lfads.fpga_model.area import unit_dsps


def form_of(name: str) -> Form:
    words = name.split()
    return Form(
        reset_before=words[0] == "reset_before", smooth=words[1] == "smooth",
        shortens=words[2] == "int8", lifts=words[-1] == "lifted",
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("size", "reuse"), [(64, 8), (16, 4), (16, 16)])
def test_witness_computes_the_reference_in_as_many_cycles_as_the_model_says(
    make, size: int, reuse: int
) -> None:
    build = replace(Build.of_kernel({"LFADS_REUSE": reuse}), max_hidden=size)
    out = make(
        "witness", f"SIZE={size}", f"REUSE={reuse}", needs=("g++", "verilator"), timeout=850
    ).stdout
    cases = re.findall(r"^(reset_.*): ([\d ]+) cycles, (\d+) wrong$", out, re.MULTILINE)
    assert len(cases) == 12
    assert {form_of(name) for name, _, _ in cases} >= {
        Form(before, smooth) for before in (False, True) for smooth in (False, True)
    }
    for name, cycles, wrong in cases:
        assert wrong == "0", name
        assert set(map(int, cycles.split())) == {step_cycles(build, form_of(name))}, name


@pytest.mark.parametrize("reuse", [4, 8, 16])
def test_steps_of_the_published_size(reuse: int) -> None:
    build = Build.of_kernel({"LFADS_REUSE": reuse})
    # RTL simulation, `make -C fpga witness`.
    assert step_cycles(build, Form()) == {4: 16, 8: 19, 16: 27}[reuse]


@pytest.mark.slow
def test_yosys_finds_the_multipliers_and_memories_of_the_model(make, tmp_path: Path) -> None:
    make("parts", "SIZE=64", "REUSE=8", needs=("g++", "yosys"), timeout=280)
    build = Build.of_kernel()

    def cells(part: str, kind: str) -> int:
        text = (tmp_path / "witness" / f"{part}.txt").read_text().split("design hierarchy")[1]
        found = re.search(rf"^\s+{kind}\s+(\d+)$", text, re.MULTILINE)
        return int(found[1]) if found else 0

    assert cells("row", "DSP48E2") == build.lanes
    assert cells("unit", "DSP48E2") == unit_dsps()
    # A bank of one slot, 16 bits for each of `reuse` columns: two RAM32M16 of 14 bits.
    assert cells("row", "RAM32M16") == 2 * build.lanes
