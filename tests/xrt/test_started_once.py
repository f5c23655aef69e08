"""A kernel that is started once, through the real Xilinx Runtime and shared memory."""

import json

import pytest
from xrt.emulation import ARGUMENTS

pytestmark = pytest.mark.xrt


@pytest.mark.parametrize("wait", ["spin", "block"])
def test_random_models_equal_native_to_the_bit(emulation, wait):
    found = emulation.run("persistent", xclbin=emulation.xclbin(), n=12, seed=400, wait=wait)
    assert found["equal"] == 12
    assert found["starts"] == [1] * 12
    assert found["device"].endswith("persistent)")


def test_the_commands_run_it_and_say_when_a_card_does_not_offer_it(emulation):
    xclbin = emulation.xclbin()
    options = ("--xclbin", xclbin, "--launch", "persistent")
    code, out, err = emulation.cli("fpga", "selftest", *options, "--json")
    assert code == 0, err
    found = json.loads(out[out.index("{") :])
    assert found["passed"]
    assert found["launch"] == "persistent"
    assert len(found["cases"]) == 13
    code, out, err = emulation.cli("fpga", "bench", *options, "--windows", 20)
    assert code == 0, err
    said = " ".join(out.split())
    assert "persistent, spin; microseconds (EMULATED, sw_emu: says nothing about a card)" in said
    for step in ("counts into the mailbox", "kernel's reply", "a new bin of a sliding window"):
        assert step in out
    code, out, err = emulation.cli("fpga", "info", "--xclbin", xclbin)
    assert code == 0, err
    assert "persistent" in out

    on_card = [a._replace(bank=0) if a.name == "mailbox" else a for a in ARGUMENTS]
    without = emulation.xclbin(arguments=on_card)
    options = ("--xclbin", without, "--launch", "persistent")
    code, out, err = emulation.cli("fpga", "selftest", *options)
    assert code == 1
    assert "the kernel cannot be started once" in err
    assert "HBM[0], not to this host's memory" in err
    code, out, err = emulation.cli("fpga", "bench", *options, "--windows", 20)
    assert code == 0, err
    assert "per-trial, spin" in out
    assert "the kernel is started for each window" in err
    code, out, err = emulation.cli("fpga", "bench", "--launch", "once")
    assert code == 2
    assert "'per-trial' or 'persistent', got 'once'" in err
