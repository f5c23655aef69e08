"""The fpga engine where no emulation reaches: cards that are busy, reset, unplugged or odd."""

import re
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from engines.fake_pyxrt import State, fake_pyxrt
from models.float_models import poisson, random_float_model

from bci_lfads.engines import open_engine
from bci_lfads.engines.base import allocate
from bci_lfads.engines.fallback import FallbackEngine
from bci_lfads.engines.fpga import FpgaEngine, protocol
from bci_lfads.errors import (
    CardBusyError,
    CardLostError,
    CardMissingError,
    CardTimeoutError,
    EngineError,
    ModelError,
    XclbinError,
)

HEADER = Path(__file__).parents[2] / "fpga" / "include" / "lfads_kernel.h"


@pytest.fixture(scope="module")
def model():
    return random_float_model()


@pytest.fixture
def pyxrt(put_pyxrt):
    """Put a fake in the place of the Xilinx Runtime; return its faults."""

    def put(**options):
        faults: dict[str, list[object]] = {}
        put_pyxrt(fake_pyxrt(faults, **options))
        return faults

    return put


def test_the_protocol_is_the_kernels():
    text = HEADER.read_text()
    for prefix, names in (
        ("COMMAND", protocol.Command), ("STATUS", protocol.Status), ("ANSWER", protocol.Answer),
    ):  # fmt: skip
        found = dict(re.findall(rf"^\s+{prefix}_(\w+) =\s*(?://.*)?\s*(\d+)", text, re.MULTILINE))
        assert {n: int(v) for n, v in found.items()} == {n.name: n.value for n in names}
    constants = dict(re.findall(r"constexpr \w+ (\w+) = (\w+);", text))
    assert int(constants["ANSWER_WORDS"]) == protocol.ANSWER_WORDS
    assert int(constants["PROTOCOL_VERSION"]) == protocol.PROTOCOL_VERSION
    assert int(constants["KERNEL_MAGIC"], 16) == protocol.KERNEL_MAGIC
    assert int(constants["BLOCK_BYTES"]) == protocol.BLOCK
    declared = text[text.index('extern "C" void lfads_kernel(') :]
    names = re.findall(r"(\w+)[,)]", declared[declared.index("(") : declared.index(";")])
    assert names == [a.name.lower() for a in protocol.Argument]


@pytest.mark.parametrize(
    ("call", "error", "kind"),
    [
        ("device", RuntimeError("Could not open device with index '0'"), CardMissingError),
        ("device", RuntimeError("failed: Device or resource busy"), CardBusyError),
        ("load_xclbin", RuntimeError("xclbin is in use by another process"), CardBusyError),
        ("load_xclbin", RuntimeError("failed: No such device"), CardMissingError),
        (
            "kernel",
            RuntimeError("failed to open compute unit: Device or resource busy"),
            CardBusyError,
        ),
        ("group_id", IndexError("no connectivity of argument 2"), CardLostError),
        ("bo", RuntimeError("failed to allocate: Input/output error"), CardLostError),
        ("bo", RuntimeError("words that nobody has seen before"), CardLostError),
        ("map", RuntimeError("mmap failed: Bad address"), CardLostError),
        ("run", RuntimeError("failed: Connection timed out"), CardTimeoutError),
        ("set_arg", TypeError("incompatible function arguments"), CardLostError),
        ("start", RuntimeError("failed to launch: No such device"), CardMissingError),
    ],
)
@pytest.mark.parametrize("fallback", ["none", "native"])
def test_a_card_that_cannot_be_had(model, xclbin, pyxrt, call, error, kind, fallback):
    pyxrt()[call] = [error]
    counts = poisson(model.spec)
    if fallback == "none":
        with pytest.raises(kind, match=re.escape(str(error))) as raised:
            open_engine("fpga", model, xclbin=xclbin)
        assert "fallback = 'native'" in str(raised.value)
        return
    with open_engine("fpga", model, xclbin=xclbin, fallback="native") as engine:
        assert engine.info.name == "native"
        assert str(error) in engine.notice
        assert engine.infer_batch(counts).factors.shape[0] == len(counts)


@pytest.mark.parametrize(
    ("device", "opened"), [(2, 2), ("3", 3), ("0000:c1:00.1", "0000:c1:00.1"), ("C1:00.1",) * 2]
)
def test_a_card_is_opened_by_index_or_bdf(model, xclbin, pyxrt, device, opened):
    """The emulation of XRT 2.13 knows indices alone."""
    pyxrt()
    with FpgaEngine(model, xclbin=xclbin, device=device):
        assert sys.modules["pyxrt"].opened == opened


@pytest.mark.fault("card-fails")
@pytest.mark.parametrize(
    ("call", "what", "kind"),
    [
        ("sync", OSError(5, "Input/output error"), CardLostError),
        ("sync", RuntimeError("sync failed: No such device"), CardMissingError),
        ("start", RuntimeError("Device or resource busy"), CardBusyError),
        ("state", State.ERT_CMD_STATE_ABORT, CardLostError),
        ("state", State.ERT_CMD_STATE_ERROR, CardLostError),
        ("state", State.ERT_CMD_STATE_NORESPONSE, CardLostError),
        ("state", State.ERT_CMD_STATE_TIMEOUT, CardTimeoutError),
        ("wait", State.ERT_CMD_STATE_RUNNING, CardTimeoutError),
        ("wait", RuntimeError("card was reset"), CardLostError),
    ],
)
@pytest.mark.parametrize("batch", [False, True])
def test_a_card_that_fails_at_work(model, xclbin, pyxrt, call, what, kind, batch):
    faults = pyxrt()
    wait = "block" if call == "wait" else "spin"
    counts = poisson(model.spec, 5)

    def infer(engine):
        return engine.infer_batch(counts) if batch else engine.infer(counts[0])

    with FpgaEngine(model, xclbin=xclbin, wait=wait, batch=2) as engine:
        infer(engine)
        faults[call] = [what]
        with pytest.raises(kind):
            infer(engine)
        with pytest.raises(CardLostError, match="failed before"):
            infer(engine)
    with (
        open_engine("fpga", model, xclbin=xclbin, wait=wait, batch=2, fallback="native") as engine,
        open_engine("native", model) as native,
    ):
        assert isinstance(engine, FallbackEngine)
        assert engine.info.name == "fpga"
        faults[call] = [what]
        np.testing.assert_array_equal(infer(engine).factors, infer(native).factors)
        assert engine.info.name == "native"
        assert engine.notice


@pytest.mark.fault("xclbin")
@pytest.mark.parametrize(
    ("kernel", "words"),
    [
        ({"protocol": 7}, "has protocol 7, this version of bci-lfads drives 2"),
        ({"magic": 1}, "the kernel's answer has 0x1 instead of 0x4b44464c"),
        ({"image": 99}, "takes kernel images of version 99, this version of bci-lfads makes 2"),
        ({"status": 9}, "it does not know the command .*asked what it was compiled for"),
        ({"status": 77}, "the kernel answered status 77, which this version does not know"),
    ],
)
def test_a_kernel_of_another_version_is_no_reason_to_fall_back(model, xclbin, pyxrt, kernel, words):
    pyxrt(**kernel)
    with pytest.raises(XclbinError, match=words):
        open_engine("fpga", model, xclbin=xclbin, fallback="native")


def test_an_xclbin_that_the_runtime_does_not_read(model, xclbin, pyxrt):
    pyxrt()["xclbin"] = [RuntimeError("invalid xclbin")]
    with pytest.raises(XclbinError, match="is not an xclbin that this runtime reads"):
        open_engine("fpga", model, xclbin=xclbin, fallback="native")


@pytest.mark.parametrize("status", protocol.Status)
def test_what_the_kernel_refuses_is_said_in_words(model, xclbin, pyxrt, status):
    """And it is a mistake, not a failure of the card: no engine takes over."""
    pyxrt()
    with open_engine("fpga", model, xclbin=xclbin, fallback="native") as engine:
        assert engine.info.name == "fpga"
        if status == protocol.Status.OK:
            return
        answers = sys.modules["pyxrt"].answers
        answers["status"] = int(status)
        with pytest.raises(EngineError, match=rf"refuses: .{{10,}} \(status {int(status)}\)"):
            engine.infer(poisson(model.spec)[0])
        answers.clear()
        engine.infer(poisson(model.spec)[0])
        assert engine.info.name == "fpga"


def test_a_runtime_that_does_not_say_where_the_mailbox_lies(model, xclbin, pyxrt, caplog):
    pyxrt(features=protocol.FEATURE_SERVE)["get_mems"] = [AttributeError("no such attribute")]
    with FpgaEngine(model, xclbin=xclbin, launch="persistent") as engine:
        assert engine.launch == "per-trial"
    assert "the runtime does not say which memory" in caplog.text


@pytest.mark.fault("xclbin")
def test_a_model_that_does_not_fit_is_no_reason_to_fall_back(xclbin, pyxrt):
    from models.float_models import small_spec

    pyxrt()
    large = random_float_model(small_spec(n_units=257))
    with pytest.raises(ModelError, match=r"n_units 257 \(at most 256\)"):
        open_engine("fpga", large, xclbin=xclbin, fallback="native")


def test_buffers_and_settings_that_do_not_fit(model, xclbin, pyxrt):
    pyxrt()
    with pytest.raises(EngineError, match="timeout must be above 0"):
        FpgaEngine(model, xclbin=xclbin, timeout=0)
    with pytest.raises(EngineError, match="fallback is 'native' or 'none'"):
        open_engine("fpga", model, xclbin=xclbin, fallback="torch")
    with FpgaEngine(model, xclbin=xclbin) as engine:
        out = allocate(engine.info)
        out.factors.flags.writeable = False
        with pytest.raises(EngineError, match="fpga engine needs writeable float32 factors"):
            engine.infer(poisson(model.spec)[0], out)


@pytest.mark.parametrize("wait", ["spin", "block"])
def test_inference_allocates_nothing(model, xclbin, pyxrt, wait):
    """Beyond small Python objects: no array, however long it runs."""
    pyxrt()
    counts = poisson(model.spec, 200)
    with FpgaEngine(model, xclbin=xclbin, wait=wait) as engine:
        out = allocate(engine.info)
        # The fake's card does allocate: leave it out.
        engine.card.pyxrt.run.start = lambda run: (
            run.arguments[protocol.Argument.ANSWER]
            .memory[4:8]
            .__setitem__(
                slice(None),
                np.frombuffer(np.uint32(run.arguments[protocol.Argument.SEQUENCE]), np.uint8),
            )
        )
        for window in counts[:20]:
            engine.infer(window, out)
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            for window in counts:
                engine.infer(window, out)
            after, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert after - before < 2000
    assert peak - before < 4000  # a window's log-rates alone are 252 bytes times its padding
