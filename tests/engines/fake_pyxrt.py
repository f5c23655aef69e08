"""A pyxrt in Python, for what no emulation can raise: a card that is busy, reset or unplugged.

Memory is shared by host and card; the kernel is the native one behind the card's protocol. What a
fault list holds is raised, or returned as a state, by the named call, once.
"""

import enum
import mmap
import os
import types

import numpy as np

from bci_lfads.engines._native import Kernel
from bci_lfads.engines.fpga.protocol import (
    ANSWER_WORDS,
    KERNEL,
    KERNEL_MAGIC,
    Answer,
    Argument,
    Command,
    padded,
)  # fmt: skip
from bci_lfads.models.image import IMAGE_VERSION


class State(enum.Enum):
    ERT_CMD_STATE_COMPLETED = 4
    ERT_CMD_STATE_ERROR = 5
    ERT_CMD_STATE_ABORT = 6
    ERT_CMD_STATE_TIMEOUT = 8
    ERT_CMD_STATE_NORESPONSE = 9
    ERT_CMD_STATE_RUNNING = 3


def fake_pyxrt(faults=None, features=0, protocol=2, memory="HBM[0]", serve=None, **answers):
    """Return a module; `faults` maps a call's name to errors or states, taken from the front.

    `answers` has the kernel answer other words than it would: ``status=15``.

    `memory` is what the kernel's mailbox is connected to. `serve` is called for a run that serves
    it, with the image and the mailbox' file, and returns what is asked whether it has `ended`:
    see kernel_process.py.
    """
    faults = faults if faults is not None else {}

    def fault(call):
        waiting = faults.get(call)
        if not waiting:
            return None
        what = waiting.pop(0)
        if isinstance(what, BaseException):
            raise what
        return what

    class Bo:
        normal, host_only = 0, 1

        def __init__(self, parent, size, third, group=None):
            fault("bo")
            self.file = None
            if third == Bo.host_only and group is not None:  # what another process sees, too
                self.file = os.memfd_create("mailbox")
                os.ftruncate(self.file, size)
                self.memory = np.frombuffer(mmap.mmap(self.file, size), np.uint8)
                return
            self.memory = np.zeros(size, np.uint8)
            if isinstance(parent, Bo):
                self.memory = parent.memory[third : third + size]

        def __del__(self):
            if self.file is not None:
                os.close(self.file)

        def map(self):
            fault("map")
            return memoryview(self.memory)

        def sync(self, direction, size, offset):
            fault("sync")

    class Run:
        def __init__(self, kernel):
            fault("run")
            self.arguments = {}

        def set_arg(self, index, value):
            fault("set_arg")
            self.arguments[index] = value

        def start(self):
            fault("start")
            self.serving = None
            if self.arguments[Argument.COMMAND] == Command.SERVE:
                mailbox = self.arguments[Argument.MAILBOX].file
                self.serving = serve(loaded["image"].tobytes(), mailbox)
                return
            device_kernel(self.arguments)

        def wait(self, milliseconds):
            return fault("wait") or State.ERT_CMD_STATE_COMPLETED

        def state(self):
            if self.serving is not None:
                answer = self.serving.ended()
                if answer is None:
                    return fault("state") or State.ERT_CMD_STATE_RUNNING
                self.serving = None
                words = np.frombuffer(answer or bytes(4 * ANSWER_WORDS), np.uint32).copy()
                words[Answer.SEQUENCE] = self.arguments[Argument.SEQUENCE]
                self.arguments[Argument.ANSWER].memory[: words.nbytes] = words.view(np.uint8)
            return fault("state") or State.ERT_CMD_STATE_COMPLETED

    loaded = {"kernel": None, "image": np.zeros(64, np.uint32)}

    def device_kernel(arguments):
        def view(argument, dtype):
            return np.frombuffer(arguments[argument].memory, dtype)

        answer = view(Argument.ANSWER, np.uint32)[:ANSWER_WORDS]
        command = arguments[Argument.COMMAND]
        if command == Command.LOAD:
            image = view(Argument.IMAGE, np.uint32)[: arguments[Argument.IMAGE_WORDS]].copy()
            loaded.update(kernel=Kernel(image), image=image)
        elif command in (Command.RUN, Command.RUN_FACTORS):
            units, bins, out, n_factors = (int(loaded["image"][i]) for i in (4, 5, 6, 10))
            n = arguments[Argument.N_TRIALS]

            def rows(argument, dtype, size, length):
                row = padded(size, np.dtype(dtype).itemsize)
                return view(argument, dtype)[: n * length * row].reshape(n, length, row)[..., :size]

            factors = np.zeros((out, n_factors), np.int32)
            rates = np.zeros((out, units), np.int32) if command == Command.RUN else None
            for trial in range(n):
                window = np.ascontiguousarray(rows(Argument.COUNTS, np.uint8, units, bins)[trial])
                loaded["kernel"].infer_integers(window, factors, rates)
                rows(Argument.FACTORS, np.int32, n_factors, out)[trial] = factors
                if rates is not None:
                    rows(Argument.LOG_RATES, np.int32, units, out)[trial] = rates
        answer[:] = 0
        answer[Answer.SEQUENCE] = arguments[Argument.SEQUENCE]
        answer[Answer.MODEL] = loaded["image"][3]
        answer[Answer.MAGIC :] = (
            KERNEL_MAGIC, protocol, IMAGE_VERSION, 256, 128, 64, 16, features, 8,
        )  # fmt: skip
        for word, value in answers.items():
            answer[Answer[word.upper()]] = value

    class Device:
        def __init__(self, which):
            module.opened = which
            fault("device")

        def load_xclbin(self, container):
            fault("load_xclbin")
            return "uuid"

        def get_info(self, key):
            raise RuntimeError("No such query request")

    class Container:
        def __init__(self, path):
            fault("xclbin")
            named = types.SimpleNamespace(
                get_name=lambda: KERNEL, get_num_args=lambda: len(Argument)
            )
            self.get_kernels = lambda: [named]
            bank = types.SimpleNamespace(get_index=lambda: 0, get_tag=lambda: memory)
            self.get_mems = lambda: fault("get_mems") or [bank]
            self.get_uuid = lambda: types.SimpleNamespace(to_string=lambda: "0123abcd-0")

    module = types.ModuleType("pyxrt")
    module.forget = loaded.clear  # the extension's objects must not outlive the interpreter's end
    module.answers = answers
    module.bo, module.run, module.device, module.xclbin = Bo, Run, Device, Container
    kernel = types.SimpleNamespace(group_id=lambda argument: fault("group_id") or 0)
    module.kernel = lambda device, uuid, name: fault("kernel") or kernel
    module.ert_cmd_state = State
    module.xclBOSyncDirection = types.SimpleNamespace(
        XCL_BO_SYNC_BO_TO_DEVICE=0, XCL_BO_SYNC_BO_FROM_DEVICE=1
    )
    module.xrt_info_device = types.SimpleNamespace(name=0, bdf=1)
    return module
