"""A kernel that is started once, through the real Xilinx Runtime and shared memory."""

import pytest

pytestmark = pytest.mark.xrt


@pytest.mark.parametrize("wait", ["spin", "block"])
def test_random_models_equal_native_to_the_bit(emulation, wait):
    found = emulation.run("persistent", xclbin=emulation.xclbin(), n=12, seed=400, wait=wait)
    assert found["equal"] == 12
    assert found["starts"] == [1] * 12
    assert found["device"].endswith("persistent)")
