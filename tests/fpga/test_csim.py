"""The kernel's top function in C simulation, as `make -C fpga csim` runs it."""

import re
import subprocess
from pathlib import Path

import pytest


@pytest.mark.parametrize("defines", ["", "-DLFADS_REUSE=16"])
def test_csim_agrees_with_the_integer_reference(make, defines: str) -> None:
    result = make("csim", "MODELS=16", "SEED=100", "CXXFLAGS=-O1 -Werror", f"DEFINES={defines}")
    assert "16 models, 545 checks, 0 failed" in result.stdout


def test_test_bench_fails_without_vectors(make, tmp_path: Path) -> None:
    make(f"{tmp_path}/lfads_tb", "CXXFLAGS=-O0")
    wrong = tmp_path / "wrong.bin"
    wrong.write_bytes(b"not vectors")
    bench = str(tmp_path / "lfads_tb")
    assert subprocess.run([bench], capture_output=True).returncode == 1
    assert subprocess.run([bench, str(wrong)], capture_output=True).returncode == 1


@pytest.mark.parametrize("sanitize", ["", "thread"])
def test_the_mailbox_in_a_thread_of_its_own(make, sanitize: str) -> None:
    """Trials, hops, races, wrap-around, stop, restart, host crash; and no data race."""
    result = make(
        "mailbox", "MODELS=6", "SEED=300", "CXXFLAGS=-O1 -Werror", f"SANITIZE={sanitize}",
        timeout=280,
    )  # fmt: skip
    assert re.search(r"6 models, \d{3} checks, 0 failed", result.stdout)
    assert "WARNING: ThreadSanitizer" not in result.stderr
