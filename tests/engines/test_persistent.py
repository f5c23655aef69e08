"""A kernel that is started once: in a process of its own, with a mailbox in shared memory."""

import mmap
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc

import numpy as np
import pytest
from engines.fake_pyxrt import fake_pyxrt
from engines.kernel_process import KernelProcess
from kernel_library import kernel_library
from models.float_models import poisson, random_float_model
from models.random_models import random_counts, random_model

from bci_lfads.engines import open_engine
from bci_lfads.engines.base import allocate
from bci_lfads.engines.fpga import Card, FpgaEngine, protocol
from bci_lfads.engines.fpga._mailbox import Mailbox
from bci_lfads.engines.fpga.selftest import selftest
from bci_lfads.engines.fpga.served import Outcome, ServedModel
from bci_lfads.engines.native import NativeEngine
from bci_lfads.errors import CardLostError, CardTimeoutError, EngineError
from bci_lfads.models.image import pack_image

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ on this machine")


class Fixed:
    def __init__(self, spec, fixed):
        self.spec, self.fixed, self.hash = spec, fixed, "0" * 64


@pytest.fixture(scope="module")
def library():
    return kernel_library()


@pytest.fixture
def pyxrt(put_pyxrt, library):
    """Put a fake whose kernel serves in the place of the Xilinx Runtime; return its processes."""
    kernels = []

    def kernel(image, mailbox):
        kernels.append(KernelProcess(library, image, mailbox))
        return kernels[-1]

    def put(features=protocol.FEATURE_SERVE, memory="HOST[0]", serve=kernel):
        put_pyxrt(fake_pyxrt(features=features, memory=memory, serve=serve))
        return kernels

    yield put
    for each in kernels:
        each.kill()


def same(ours, theirs):
    np.testing.assert_array_equal(ours.factors, theirs.factors)
    np.testing.assert_array_equal(ours.log_rates, theirs.log_rates)


@pytest.mark.parametrize("seed", range(4))
def test_windows_and_hops_equal_native_to_the_bit(xclbin, pyxrt, seed):
    kernels = pyxrt()
    spec, fixed = random_model(
        seed, gru=("reset_after", "reset_before")[seed % 2],
        activation=("hard", "smooth")[seed // 2], n_bins=6 + seed,
    )  # fmt: skip
    model, hop = Fixed(spec, fixed), 1 + seed
    counts = random_counts(seed, spec, n_trials=6)
    stream = counts.reshape(-1, spec.n_units)
    with (
        FpgaEngine(model, xclbin=xclbin, launch="persistent", hop=hop, timeout=20) as engine,
        NativeEngine(model) as native,
    ):
        assert engine.launch == "persistent"
        assert engine.info.device.endswith("persistent)")
        for window in counts[:3]:
            same(engine.infer(window), native.infer(window))
        for first in range(0, len(stream) - spec.n_bins, hop):
            window = stream[first : first + spec.n_bins]
            same(engine.infer(window), native.infer(window))
        same(engine.infer_batch(counts), native.infer_batch(counts))
        assert engine.infer_batch(counts, log_rates=False).log_rates is None
        loaded = engine.loaded
        assert isinstance(loaded, ServedModel)
        assert loaded.starts == len(kernels) == 1
    assert kernels[0].process.wait(20) == 0


@pytest.mark.parametrize(
    ("without", "why"),
    [
        ({"features": 0}, "the xclbin's kernel was built without it"),
        ({"memory": "HBM[0]"}, "connects its mailbox to HBM[0], not to this host's memory"),
    ],
)
def test_a_card_that_does_not_offer_it_launches_for_each_window(
    xclbin, pyxrt, caplog, without, why
):
    kernels = pyxrt(**without)
    model = random_float_model()
    counts = poisson(model.spec)
    with (
        FpgaEngine(model, xclbin=xclbin, launch="persistent") as engine,
        NativeEngine(model) as native,
    ):
        assert engine.launch == "per-trial"
        assert engine.info.device.endswith("per-trial)")
        assert why in caplog.text
        same(engine.infer(counts[0]), native.infer(counts[0]))
    with Card(xclbin) as card, pytest.raises(EngineError, match="cannot be started once"):
        next(selftest(card, launch="persistent"))
    assert not kernels
    with pytest.raises(EngineError, match="launch is 'per-trial' or 'persistent'"):
        FpgaEngine(model, xclbin=xclbin, launch="once")


def test_a_kernel_that_ended_of_idleness_is_started_again(xclbin, pyxrt):
    """And the window that it kept for hops is sent anew."""
    kernels = pyxrt()
    model = random_float_model()
    spec = model.spec
    stream = poisson(spec, 2).reshape(-1, spec.n_units)
    windows = [np.ascontiguousarray(stream[i : i + spec.n_bins]) for i in range(4)]
    image = pack_image(spec, model.fixed)
    native = NativeEngine(model)
    with Card(xclbin, timeout=20) as card:
        loaded = ServedModel(card, image, hop=1, idle=1000)
        for number, window in enumerate(windows):
            loaded.one(window, True)
            expected = native.infer(window)
            scale = np.float32(2.0**-model.fixed.factor_point)
            np.testing.assert_array_equal(loaded.factors * scale, expected.factors)
            if number % 2 == 0:
                kernels[-1].process.wait(20)
        assert loaded.starts == len(kernels) >= 3
        loaded.close()


@pytest.mark.parametrize("how", ["freeze", "kill"])
def test_a_heart_that_stops_is_an_error_in_time_and_falls_back(xclbin, pyxrt, how):
    kernels = pyxrt()
    model = random_float_model()
    counts = poisson(model.spec, 3)
    options = {"xclbin": xclbin, "launch": "persistent", "timeout": 20}
    native = NativeEngine(model)
    with FpgaEngine(model, **options) as engine:
        same(engine.infer(counts[0]), native.infer(counts[0]))
        getattr(kernels[-1], how)()
        engine.card.timeout = 0.5
        with pytest.raises(CardLostError, match="heartbeat stopped") as raised:
            engine.infer(counts[1])
        assert "fallback = 'native'" in str(raised.value)
        with pytest.raises(CardLostError, match="failed before"):
            engine.infer(counts[1])
    with open_engine("fpga", model, fallback="native", **options) as engine:
        assert engine.info.name == "fpga"
        same(engine.infer(counts[0]), native.infer(counts[0]))
        getattr(kernels[-1], how)()
        engine._first.card.timeout = 0.5
        same(engine.infer(counts[1]), native.infer(counts[1]))
        assert engine.info.name == "native"
        assert "heartbeat stopped" in engine.notice


class OddKernel:
    """A kernel in Python that beats, and does `what` instead of its work."""

    def __init__(self, what, mailbox):
        self.what, self.stopped = what, threading.Event()
        size = os.fstat(mailbox).st_size
        self.words = np.frombuffer(mmap.mmap(mailbox, size), np.uint32).reshape(-1, 16)
        self.thread = threading.Thread(target=self.run)
        if what != "never begins":
            self.thread.start()

    def run(self):
        order, beat = self.words[0], self.words[1]
        number = 0
        while not self.stopped.is_set() and order[4] == 0:
            number += 1
            beat[:8] = order[0], order[1], order[2], number, 1, 0, 0, order[8]
            asked = int(order[15]) != int(order[5])
            if self.what == "ends" and asked:
                beat[4:6] = 2, protocol.Status.MAILBOX
            if self.what == "damages" and asked:
                self.reply(int(order[15]), int(order[2]), protocol.Status.OK)
            if self.what == "refuses" and asked:
                self.reply(int(order[15]), int(order[2]), protocol.Status.TORN)
            beat[15] = number
            time.sleep(0.001)

    def reply(self, number, epoch, status):
        """A reply that is whole; its rows are not those of its checksum."""
        head = np.zeros(16, np.uint32)
        head[[0, 1, 2, 5, 6, 15]] = number, status, epoch, 1, 12345, number
        lanes = [(int(w), i) for i, w in enumerate(head)]

        def rotated(v, n):
            return (v << n | v >> (32 - n)) & 0xFFFFFFFF if n else v

        check = 0x424D464C + sum(rotated(w, i) ^ rotated(w, 31 - i) for w, i in lanes)
        head[7] = check & 0xFFFFFFFF
        self.words[4 + number % 2] = head

    def ended(self):
        return bytes(64) if self.what == "ends" or self.stopped.is_set() else None


@pytest.fixture
def odd_kernel(pyxrt):
    """Put a kernel that does something else in the place of ours."""
    odd = []

    def put(what):
        def serve(image, mailbox):
            odd.append(OddKernel(what, mailbox))
            return odd[-1]

        pyxrt(serve=serve)
        return odd

    yield put
    for kernel in odd:
        kernel.stopped.set()
        if kernel.thread.is_alive():
            kernel.thread.join()


@pytest.mark.parametrize(
    ("what", "kind", "words", "timeout"),
    [
        ("beats", CardTimeoutError, "beats but did not answer within 1 s", 1),
        ("damages", CardLostError, "results arrived damaged, and stayed so for 2 s", 2),
        ("ends", CardLostError, "stopped serving .*not for the model that it holds", 20),
    ],
)
def test_what_a_card_does_instead_of_answering(
    xclbin, odd_kernel, what, kind, words, timeout
):  # fmt: skip
    odd_kernel(what)
    model = random_float_model()
    with FpgaEngine(model, xclbin=xclbin, launch="persistent", timeout=20) as engine:
        engine.card.timeout = timeout
        with pytest.raises(kind, match=words) as raised:
            engine.infer(poisson(model.spec)[0])
    assert "fallback = 'native'" in str(raised.value)


def test_a_kernel_that_does_not_begin_to_serve(xclbin, odd_kernel):
    odd_kernel("never begins")
    with pytest.raises(CardLostError, match=r"did not begin to serve within 0\.3 s") as raised:
        FpgaEngine(random_float_model(), xclbin=xclbin, launch="persistent", timeout=0.3)
    assert "xbutil configure --host-mem" in str(raised.value)


def test_a_refusal_is_said_in_words(xclbin, odd_kernel):
    odd_kernel("refuses")
    model = random_float_model()
    with FpgaEngine(model, xclbin=xclbin, launch="persistent", timeout=20) as engine:
        for _ in range(3):  # and the card stays in use
            with pytest.raises(EngineError, match="refuses: a request arrived damaged"):
                engine.infer(poisson(model.spec)[0])


def test_a_kernel_that_does_not_stop_does_not_hold_up_the_end(xclbin, odd_kernel, caplog):
    odd = odd_kernel("beats")
    model = random_float_model()
    engine = FpgaEngine(model, xclbin=xclbin, launch="persistent", timeout=20)
    engine.card.timeout = 0.3
    odd[0].ended = lambda: None
    engine.close()
    assert "the kernel did not stop" in caplog.text


HOST = """
import mmap, os, sys
import numpy as np
from bci_lfads.engines.fpga._mailbox import Mailbox
sizes = [int(a) for a in sys.argv[2:6]]
memory = np.frombuffer(mmap.mmap(int(sys.argv[1]), os.fstat(int(sys.argv[1])).st_size), np.uint8)
mailbox = Mailbox(memory, *sizes, int(sys.argv[6]))
mailbox.begin(1, 1000, 3000)
print("begun", flush=True)
window = np.zeros((sizes[1], sizes[0]), np.uint8)
while True:
    mailbox.post(window, True)
    mailbox.wait(20.0, 0.0)
    mailbox.take(None, None)
"""


def test_a_kernel_outlives_its_host_for_a_while_only(library):
    """A host killed at work; the kernel ends by itself, and another serves the next host."""
    model = random_float_model()
    spec = model.spec
    sizes = (spec.n_units, spec.n_bins, spec.n_bins_out, spec.n_factors)
    image = pack_image(spec, model.fixed)
    window = poisson(spec)[0]
    with tempfile.TemporaryFile() as file:
        file.truncate(Mailbox.size(*sizes))
        fd = file.fileno()
        host = subprocess.Popen(
            [sys.executable, "-c", HOST, *map(str, (fd, *sizes, int(image[3])))], pass_fds=(fd,),
            cwd="/", stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert host.stdout is not None
        assert host.stdout.readline() == "begun\n"
        kernel = KernelProcess(library, image.tobytes(), fd)
        memory = np.frombuffer(mmap.mmap(fd, os.fstat(fd).st_size), np.uint8)
        until = time.monotonic() + 20
        while memory.view(np.uint32)[3] < 5 and time.monotonic() < until:
            time.sleep(0.01)
        host.kill()
        host.wait()
        host.stdout.close()
        assert kernel.process.wait(20) == 0
        answer = np.frombuffer(kernel.ended(), np.uint32)
        assert answer[protocol.Answer.STATUS] == protocol.Status.IDLE
        assert answer[protocol.Answer.TRIALS] >= 5
        mailbox = Mailbox(memory, *sizes, int(image[3]))
        mailbox.begin(2, 1000, 1 << 26)
        kernel = KernelProcess(library, image.tobytes(), fd)
        mailbox.post(window, False)
        assert mailbox.wait(20.0, 0.0) == Outcome.ANSWERED
        factors = np.zeros(sizes[2:], np.int32)
        mailbox.take(factors, None)
        mailbox.stop()
        assert kernel.process.wait(20) == 0
        kernel.kill()
    with NativeEngine(model) as native:
        expected = native.infer(window).factors
    np.testing.assert_array_equal(factors * np.float32(2.0**-model.fixed.factor_point), expected)


def test_a_mailbox_refuses_what_does_not_fit():
    sizes = (3, 4, 5, 2)
    size = Mailbox.size(*sizes)
    memory = np.frombuffer(mmap.mmap(-1, size + 64), np.uint8)
    with pytest.raises(ValueError, match=f"takes {size} bytes that start on 64"):
        Mailbox(memory[: size - 1], *sizes, 0)
    with pytest.raises(ValueError, match="start on 64"):
        Mailbox(memory[4:], *sizes, 0)
    mailbox = Mailbox(memory, *sizes, 0)
    window = np.zeros((4, 3), np.uint8)
    with pytest.raises(ValueError, match="nothing was posted"):
        mailbox.wait(0.1, 0.0)
    with pytest.raises(ValueError, match=r"expected shape \(4, 3\)"):
        mailbox.post(window.T.copy(), True)
    assert [mailbox.post(window, True) for _ in range(2)] == [1, 2]
    with pytest.raises(ValueError, match="is full"):
        mailbox.post(window, True)
    assert mailbox.wait(0.01, 0.0) == Outcome.SILENT


def test_inference_allocates_nothing(xclbin, pyxrt):
    """Beyond small Python objects: no array, however long it runs."""
    pyxrt()
    model = random_float_model()
    counts = poisson(model.spec, 60)
    with FpgaEngine(model, xclbin=xclbin, launch="persistent", timeout=20) as engine:
        out = allocate(engine.info)
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
    assert peak - before < 4000
