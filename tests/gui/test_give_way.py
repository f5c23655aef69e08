"""Whether a window lets other sessions' processes come first."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

AUTOGROUP = Path("/proc/self/autogroup")
ASK = """
from pathlib import Path
from bci_lfads_gui.app import give_way
print(give_way(), Path("/proc/self/autogroup").read_text().split()[-1])
"""


@pytest.mark.skipif(
    not os.access(AUTOGROUP, os.W_OK), reason="the system does not weigh sessions, or not for us"
)
@pytest.mark.parametrize(("own", "said"), [(True, "True 5"), (False, "False 0")])
def test_a_window_gives_way_where_it_has_a_session_of_its_own(own, said, tmp_path):
    # Within a session that this test may do with as it likes.
    again = [sys.executable, "-c", ASK]
    if not own:
        again = [
            sys.executable, "-c",
            f"import subprocess, sys; subprocess.run([sys.executable, '-c', {ASK!r}], check=True)",
        ]  # fmt: skip
    ended = subprocess.run(
        again, start_new_session=True, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == said
