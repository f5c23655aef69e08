"""The kernel's Makefile, run by tests."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FPGA = Path(__file__).resolve().parents[2] / "fpga"


@pytest.fixture
def make(tmp_path):
    """Run a target that must succeed, building in a folder of the test; skip without tools."""

    def run(target, *settings, needs=("g++",), timeout=240, **environment):
        for tool in ("make", *needs):
            if shutil.which(tool) is None:
                pytest.skip(f"no {tool} on this machine")
        result = subprocess.run(
            ["make", "-C", str(FPGA), target, f"BUILD={tmp_path}", f"PYTHON={sys.executable}",
             *settings],
            env={**os.environ, **environment}, capture_output=True, text=True, timeout=timeout,
        )  # fmt: skip
        assert result.returncode == 0, result.stdout + result.stderr
        return result

    return run
