"""An emulated card for tests; emulation.py makes it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from xrt.emulation import Emulation, Unavailable, clear, make_home


@pytest.fixture(scope="session")
def xrt_home() -> Path:
    """Return where the runtime is. Skips without it; but CI installs all, so there it fails."""
    try:
        return make_home()
    except Unavailable as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture
def emulation(xrt_home: Path, tmp_path: Path) -> Iterator[Emulation]:
    """Return what runs processes on an emulated card."""
    emulation = Emulation(xrt_home, tmp_path)
    yield emulation
    clear(emulation)
