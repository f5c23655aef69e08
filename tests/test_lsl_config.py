"""LSL's own settings, as rig files ask for them."""

import os
import subprocess
import sys

import pytest

from bci_lfads.errors import RigError
from bci_lfads.lsl_config import config_of, differences, using
from bci_lfads.rig import LslSettings

ASKED = LslSettings(session_id="rig-3", known_peers=("10.0.0.2", "acquisition"), scope="link")
BASE = """; a comment
[multicast]
ResolveScope = machine
AddressesOverride = {127.0.0.1}
[lab]
SessionID = other
"""


@pytest.fixture
def base(tmp_path, monkeypatch):
    file = tmp_path / "base.cfg"
    file.write_text(BASE)
    monkeypatch.setenv("LSLAPICFG", str(file))
    return file


def test_what_a_rig_asks_for_is_put_in_and_all_else_stays(base):
    text = config_of(ASKED)
    for line in (
        "SessionID = rig-3", "KnownPeers = {10.0.0.2, acquisition}", "ResolveScope = link",
        "AddressesOverride = {127.0.0.1}",
    ):  # fmt: skip
        assert line in text.splitlines()
    assert "other" not in text


def test_what_is_not_in_force_is_told(base):
    assert differences(LslSettings()) == []
    assert differences(LslSettings(session_id="other", scope="machine")) == []
    assert differences(LslSettings(session_id="rig-3")) == [
        "SessionID is other, the rig asks for rig-3"
    ]


def test_processes_are_in_the_session_while_it_lasts(base):
    def session() -> str:
        outlet = "o = pylsl.StreamOutlet(i); print(o.get_info().session_id())"
        code = f"import pylsl; i = pylsl.StreamInfo('x', 'y', 1, 0, 'int32', 'z'); {outlet}"
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()

    with using(LslSettings(session_id="rig-3")):
        assert session() == "rig-3"
    assert session() == "other"
    assert os.environ["LSLAPICFG"] == str(base)


def test_a_file_that_is_none_is_told(base):
    base.write_text("no section = 1")
    with pytest.raises(RigError, match=r"base\.cfg"):
        config_of(ASKED)


@pytest.mark.parametrize("wrong", ["it's", "", "a b", "x}"])
def test_words_that_would_break_a_query_are_refused(wrong):
    with pytest.raises(ValueError, match="session_id"):
        LslSettings(session_id=wrong)
