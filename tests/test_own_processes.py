"""Commands of this package in processes of their own."""

import subprocess
import sys

from bci_lfads import __version__
from bci_lfads.processes import start


def test_it_is_the_installed_package_that_runs(tmp_path, monkeypatch):
    """Also where the working folder has a folder of its name, as a checkout does."""
    (tmp_path / "bci_lfads").mkdir()
    (tmp_path / "bci_lfads" / "__main__.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    process = start("--version", stdout=subprocess.PIPE, text=True)
    assert process.args[0] == sys.executable
    assert __version__ in process.communicate(timeout=60)[0]
    assert process.returncode == 0
