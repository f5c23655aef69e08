"""The kernel's top function in C simulation, as `make -C fpga csim` runs it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FPGA = Path(__file__).resolve().parents[2] / "fpga"


@pytest.mark.parametrize("defines", ["", "-DLFADS_REUSE=16"])
def test_csim_agrees_with_the_integer_reference(tmp_path: Path, defines: str) -> None:
    for tool in ("make", "g++"):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool} on this machine")
    result = subprocess.run(
        [
            "make", "-C", str(FPGA), "csim", f"BUILD={tmp_path}", f"PYTHON={sys.executable}",
            "MODELS=16", "SEED=100", "CXXFLAGS=-O1 -Werror", f"DEFINES={defines}",
        ],
        capture_output=True,
        text=True,
        timeout=240,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert "16 models, 545 checks, 0 failed" in result.stdout


def test_test_bench_fails_without_vectors(tmp_path: Path) -> None:
    if shutil.which("make") is None or shutil.which("g++") is None:
        pytest.skip("no make or g++ on this machine")
    command = ["make", "-C", str(FPGA), f"BUILD={tmp_path}", "CXXFLAGS=-O0"]
    subprocess.run([*command, f"{tmp_path}/lfads_tb"], check=True, capture_output=True)
    wrong = tmp_path / "wrong.bin"
    wrong.write_bytes(b"not vectors")
    bench = str(tmp_path / "lfads_tb")
    assert subprocess.run([bench], capture_output=True).returncode == 1
    assert subprocess.run([bench, str(wrong)], capture_output=True).returncode == 1


@pytest.mark.parametrize("sanitize", ["", "thread"])
def test_the_mailbox_in_a_thread_of_its_own(tmp_path: Path, sanitize: str) -> None:
    """Trials, hops, races, wrap-around, stop, restart, host crash; and no data race."""
    if shutil.which("make") is None or shutil.which("g++") is None:
        pytest.skip("no make or g++ on this machine")
    result = subprocess.run(
        [
            "make", "-C", str(FPGA), "mailbox", f"BUILD={tmp_path}", f"PYTHON={sys.executable}",
            "MODELS=6", "SEED=300", "CXXFLAGS=-O1 -Werror", f"SANITIZE={sanitize}",
        ],
        capture_output=True,
        text=True,
        timeout=280,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"6 models, \d{3} checks, 0 failed", result.stdout)
    assert "WARNING: ThreadSanitizer" not in result.stderr
