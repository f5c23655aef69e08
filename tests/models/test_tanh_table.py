"""The activation table: close to tanh, and the same numbers in the kernel's header."""

from pathlib import Path

import numpy as np
import pytest

from bci_lfads.models.integer import sigmoid, tanh
from bci_lfads.models.tanh_table import LIMIT, POINT, header, tanh_magnitude

HEADER = Path(__file__).resolve().parents[2] / "fpga" / "include" / "lfads_tanh_table.h"
EVERY = np.arange(-LIMIT - 1000, LIMIT + 1000)


def test_header_is_up_to_date() -> None:
    if not HEADER.exists():
        pytest.skip("installed without fpga/")
    assert HEADER.read_text() == header(), "run python fpga/tools/tanh_table.py"


def test_table_is_close_and_does_not_fall() -> None:
    arguments = np.arange(LIMIT + 1)
    y = tanh_magnitude(arguments)
    error = y / 2.0**POINT - np.tanh(arguments / 2.0**16)
    assert np.abs(error).max() < 2.1 * 2.0**-16
    assert np.diff(y).min() >= -1


def test_smooth_activations_are_within_their_documented_error() -> None:
    n = tanh(EVERY, 16, smooth=True) / 2.0**15
    # 1 is not a 16-bit number of point 15; the largest is a step below.
    assert np.abs(n - np.tanh(EVERY / 2.0**16)).max() < 1.53 * 2.0**-15
    z = sigmoid(EVERY, 15, smooth=True) / 2.0**16
    assert np.abs(z - 1 / (1 + np.exp(-EVERY / 2.0**15))).max() < 1.53 * 2.0**-16


def test_smooth_activations_saturate_at_16_bits() -> None:
    far = np.array([-(1 << 60), -(1 << 30), 0, 1 << 30, 1 << 60])
    assert tanh(far, 20, smooth=True).tolist() == [-32768, -32768, 0, 32767, 32767]
    assert sigmoid(far, 20, smooth=True).tolist() == [0, 0, 32768, 65535, 65535]


@pytest.mark.parametrize("point", [3, 15, 29])
def test_hard_activations_are_the_clipped_line(point: int) -> None:
    v = np.arange(-(3 << point), 3 << point, max(1, (6 << point) // 5001))
    x = v / 2.0**point
    n = tanh(v, point, smooth=False) / 2.0**15
    assert np.abs(n - np.clip(x, -1, 1 - 2.0**-15)).max() <= 2.0**-16
    z = sigmoid(v, point, smooth=False) / 2.0**16
    assert np.abs(z - np.clip(0.5 * x + 0.5, 0, 1 - 2.0**-16)).max() <= 2.0**-17
