"""Spikes through the production engine, the real Xilinx Runtime and an emulated card, and back."""

import uuid

import pytest
from xrt.emulation import ARGUMENTS
from xrt.xclbin import container

pytestmark = pytest.mark.xrt


def test_random_models_equal_native_to_the_bit(emulation):
    found = emulation.run("random_models", xclbin=emulation.xclbin(), n=40, seed=1000)
    assert found["equal"] == 40
    assert found["forms"] == 8
    assert "u55c" in found["device"]


def test_waiting_for_the_interrupt_gives_the_same(emulation):
    xclbin = emulation.xclbin()
    assert emulation.run("random_models", xclbin=xclbin, n=4, seed=7, wait="block")["equal"] == 4


def test_it_closes_cleanly_and_opens_again(emulation):
    closed = "the fpga engine is closed; open a new one"
    found = emulation.run("opened_twice", xclbin=emulation.xclbin())
    assert found == [True, closed, True, closed]


def test_contexts_of_newer_runtimes(emulation):
    found = emulation.run("newer_pyxrt", xclbin=emulation.xclbin())
    assert found[0] is found[2] is True
    assert found[-1] == ["register_xclbin", "hw_context"] * 2


def test_outputs_in_several_memory_groups(emulation):
    spread = [a._replace(bank=None if a.bank is None else n % 4) for n, a in enumerate(ARGUMENTS)]
    xclbin = emulation.xclbin(arguments=spread)
    assert emulation.run("random_models", xclbin=xclbin, n=8, seed=50)["equal"] == 8


@pytest.mark.fault("xclbin")
def test_a_model_that_is_too_large_leaves_the_old_one(emulation):
    kind, words, still_right = emulation.run("too_large", xclbin=emulation.xclbin())
    assert kind == "ModelError"
    for size in ("n_units 257 (at most 256)", "generator_size 130 (at most ", "ic_size 130"):
        assert size in words
    assert still_right


def test_a_damaged_image_is_refused_and_the_model_before_it_stays(emulation):
    kind, words, still_right = emulation.run("damaged_image", xclbin=emulation.xclbin())
    assert kind == "EngineError"
    assert "damaged on its way" in words
    assert still_right


def test_numbers_of_another_programs_model_are_never_taken_for_ones_own(emulation):
    refused, right, after = emulation.run("two_models", xclbin=emulation.xclbin())
    assert right
    assert refused[0] == "CardBusyError"
    assert "another program or engine loaded its own" in refused[1]
    assert after[0] == "CardLostError"


def test_a_kernel_that_hangs_is_a_timeout_and_then_lost(emulation):
    # 0: info, 1: load, 2: the first window
    right, timeout, after = emulation.run(
        "hangs", xclbin=emulation.xclbin(), fallback=False, fault="hang:3"
    )
    assert right
    assert timeout[0] == "CardTimeoutError"
    assert "did not end within 0.3 s" in timeout[1]
    assert "fallback = 'native'" in timeout[1]
    assert after[0] == "CardLostError"
    assert "failed before" in after[1]


@pytest.mark.fault("card-fails")
def test_a_kernel_that_hangs_falls_back_to_the_same_numbers(emulation):
    right, name, notice = emulation.run(
        "hangs", xclbin=emulation.xclbin(), fallback=True, fault="hang:3"
    )
    assert right == [True] * 3
    assert name == "native"
    assert "did not end within 0.3 s" in notice


# What can go wrong before the first window


@pytest.mark.parametrize(
    ("launch", "run", "kind", "says"),
    [
        ("per-trial", 0, "CardTimeoutError", "did not end within 1 s"),
        ("per-trial", 1, "CardTimeoutError", "did not end within 1 s"),
        ("persistent", 2, "CardLostError", "did not begin to serve within 1 s"),
    ],
    ids=["asked what it is", "loading", "started once"],
)
def test_a_kernel_that_hangs_at_once(emulation, launch, run, kind, says):
    found, words = emulation.run(
        "open_fails", xclbin=emulation.xclbin(), launch=launch, fault=f"hang:{run}"
    )
    assert found == kind, words
    assert says in words
    assert "fallback = 'native'" in words


@pytest.mark.parametrize("mode", ["noop", "sw_emu", None])
def test_a_card_that_is_not_there(emulation, mode):
    bdf = "0000:c1:00.1"
    kind, words = emulation.run("open_fails", mode, xclbin=emulation.xclbin(), device=bdf)
    assert kind == "CardMissingError", words
    assert f"opening card {bdf} failed" in words
    assert "xbutil examine" in words


def test_no_card_and_no_emulation(emulation):
    kind, words = emulation.run("open_fails", None, xclbin=emulation.xclbin(), device=3)
    assert kind == "CardMissingError", words
    assert "Could not open device with index '3'" in words


def test_a_runtime_that_was_not_set_up(emulation):
    kind, words = emulation.run("open_fails", None, xclbin=emulation.xclbin(), xilinx_xrt="")
    assert kind == "CardMissingError", words
    assert "XILINX_XRT not set" in words
    assert "setup.sh" in words


@pytest.mark.parametrize("device", ["c1", "0000:c1:00.9", -1])
def test_what_names_no_card(emulation, device):
    kind, words = emulation.run("open_fails", "noop", xclbin=emulation.xclbin(), device=device)
    assert kind == "EngineError"
    assert "index" in words


def test_a_missing_card_falls_back_at_once(emulation):
    right, name, notice = emulation.run(
        "falls_back_at_once", "noop", xclbin=emulation.xclbin(), device="0000:c1:00.1"
    )
    assert right
    assert name == "native"
    assert "opening card 0000:c1:00.1" in notice


def test_a_kernel_that_does_nothing_is_noticed(emulation):
    kind, words = emulation.run("open_fails", "noop", xclbin=emulation.xclbin())
    assert kind == "CardLostError"
    assert "ended without an answer" in words


@pytest.mark.fault("xclbin")
@pytest.mark.parametrize("mode", ["noop", "sw_emu"])
def test_xclbins_that_do_not_fit(emulation, mode):
    other = emulation.xclbin("vector_add")
    fewer = emulation.xclbin(arguments=ARGUMENTS[:-1])
    cut = emulation.folder / "cut.xclbin"
    cut.write_bytes(other.read_bytes()[:-100])  # the runtime itself crashes on it
    odd = emulation.folder / "odd.xclbin"
    odd.write_bytes(b"not an xclbin" * 100)
    hollow = emulation.folder / "hollow.xclbin"
    hollow.write_bytes(container({}, uuid.uuid4()))
    for path, says in (
        (other, "holds no kernel lfads_kernel; it holds vector_add"),
        (fewer, "takes 9 arguments, this version of bci-lfads gives 10"),
        (cut, "it was cut short"),
        (odd, "is not an xclbin: it begins with b'not an x'"),
        (hollow, "holds no kernel lfads_kernel; it holds none"),
        (emulation.folder / "none.xclbin", "there is no xclbin at"),
    ):
        kind, words = emulation.run("open_fails", mode, xclbin=path)
        assert kind == "XclbinError", words
        assert says in words
