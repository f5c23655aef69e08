"""What all tests share: LSL kept on loopback, the shared data, unique names."""

import os
import uuid
from pathlib import Path

import pytest
from reliability import (  # noqa: F401  (hooks)
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_runtest_makereport,
    pytest_sessionfinish,
    pytest_terminal_summary,
)

ROOT = Path(__file__).resolve().parent.parent
# Before anything imports pylsl: liblsl reads its configuration once, on first use.
os.environ["LSLAPICFG"] = str(ROOT / "lsl_api.cfg")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ["QT_QPA_PLATFORM"] = "offscreen"
os.environ["QT_API"] = "pyside6"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real recordings beside the project, or skip."""
    folder = Path(os.environ.get("BCI_LFADS_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no shared recordings at {folder}")
    return folder


@pytest.fixture
def unique() -> str:
    """Return a name that no other test uses for its streams."""
    return f"t{uuid.uuid4().hex[:10]}"


@pytest.fixture
def one_thread():
    """Have torch use one thread, so that what is trained comes out the same."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
