"""A fake in the place of the Xilinx Runtime."""

import sys

import pytest
from xrt.xclbin import write_xclbin


@pytest.fixture
def xclbin(tmp_path):
    path = tmp_path / "kernel.xclbin"
    path.write_bytes(write_xclbin("lfads_kernel", []))
    return path


@pytest.fixture
def put_pyxrt(monkeypatch):
    """Put modules of `fake_pyxrt` in its place; what they hold goes with the test."""
    for where in ("lane", "card", "served"):  # a fake's buffers may go
        monkeypatch.setattr(f"bci_lfads.engines.fpga.{where}.keep_for_good", lambda *kept: None)
    modules = []

    def put(module):
        modules.append(module)
        monkeypatch.setitem(sys.modules, "pyxrt", module)

    yield put
    for module in modules:
        module.forget()
