"""C simulation, native engine and emulated card give the integer reference's results to the bit."""

import pytest
from kernel_library import kernel_library

pytestmark = pytest.mark.xrt
WAYS = ("C simulation", "native", "native, portable", "XRT, per-trial", "XRT, persistent")


@pytest.mark.parametrize(
    ("first", "n"),
    [
        (0, 16),
        pytest.param(20, 16, marks=pytest.mark.slow, id="with the published and largest sizes"),
    ],
)
def test_all_ways_agree_to_the_bit(emulation, first, n):
    """`make -C fpga agree` does so for a hundred models."""
    found = emulation.run(
        "agreement", xclbin=emulation.xclbin(), library=kernel_library(), first=first, n=n,
        seed=9000, timeout=240,
    )  # fmt: skip
    assert found == dict.fromkeys(WAYS, n)
