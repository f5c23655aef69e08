"""The NEON path on an emulated processor, where a cross compiler and the emulator are at hand."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"


@pytest.mark.slow
def test_neon_gives_the_integers_of_the_reference(tmp_path: Path) -> None:
    for tool in (COMPILER, EMULATOR):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool}: apt install g++-aarch64-linux-gnu qemu-user")
    simd, program = ROOT / "bci_lfads/engines/simd", tmp_path / "paths"
    sources = [simd / f"{name}.cpp" for name in ("plan", "paths", "runner", "neon")]
    subprocess.run(
        [
            COMPILER, "-std=c++17", "-O2", "-Wall", "-Wextra", "-Wshadow", "-Wconversion",
            "-Wno-unknown-pragmas", "-Werror", "-ffp-contract=off", "-static", "-pthread",
            "-DLFADS_SIMD_NEON", f"-I{simd}", f"-I{ROOT}/fpga/include", f"-I{ROOT}/fpga/testbench",
            *sources, ROOT / "fpga/src/lfads_load.cpp", ROOT / "tests/engines/paths_main.cpp",
            "-o", program,
        ],
        check=True,
    )  # fmt: skip
    vectors = tmp_path / "vectors"
    write = [sys.executable, ROOT / "fpga/tools/write_vectors.py", vectors, "--models", "48"]
    subprocess.run(write, check=True)
    done = subprocess.run(
        [EMULATOR, program, *sorted(vectors.glob("*.bin"))], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    taken = int(done.stdout.split("neon: ")[1].split()[0])
    assert taken >= 60, done.stdout
