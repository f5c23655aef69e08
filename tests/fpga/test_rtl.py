"""The kernel through an HLS tool to Verilog, simulated: `make -C fpga rtl`."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

MODELS = 8


@pytest.fixture
def in_c(make, tmp_path: Path):
    """Compile the top function and its test bench by g++; return a call of them on vectors."""
    done = make("rtl-c")
    assert f"{MODELS} of {MODELS} models equal to the bit" in done.stdout

    def run(*vectors: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [tmp_path / "rtl" / "lfads_rtl_c"],
            env={**os.environ, "LFADS_RTL_VECTORS": " ".join(map(str, vectors))},
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    return run


def test_the_test_bench_finds_a_bit_that_differs(in_c, tmp_path: Path) -> None:
    right = tmp_path / "rtl" / "vectors" / "model_003.bin"
    words = bytearray(right.read_bytes())
    words[-1] ^= 1  # of a log-rate that the reference expects
    wrong = tmp_path / "wrong.bin"
    wrong.write_bytes(words)
    assert in_c(right, right).returncode == 0
    done = in_c(right, wrong)
    assert done.returncode == 1
    assert "wrong.bin: status 0, DIFFERENT" in done.stdout
    assert "1 of 2 models equal" in done.stdout
    assert in_c(tmp_path / "none.bin").returncode == 1
    assert in_c().returncode == 1


@pytest.mark.slow
@pytest.mark.timeout(5500)
def test_the_simulated_registers_equal_the_integer_reference(make) -> None:
    if shutil.which("bambu") is None:
        pytest.skip("no bambu on the PATH: PandA-Bambu makes the Verilog")
    out = make("rtl", needs=("g++", "verilator"), timeout=5400).stdout
    assert f"RTL: {MODELS} of {MODELS} models equal to the bit" in out
    assert "Total cycles" in out
    assert "equal: the whole kernel but the mailbox" in out
