"""What the card's kernel takes and answers: `fpga/include/lfads_kernel.h` in Python.

A test holds the two against each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from bci_lfads.errors import ModelError, XclbinError
from bci_lfads.models.spec import LfadsSpec

KERNEL = "lfads_kernel"
"""Name of the kernel's top function."""
PROTOCOL_VERSION = 2
KERNEL_MAGIC = 0x4B44464C
"""``LFDK`` in little-endian order."""
BLOCK = 64
"""Bytes that the card moves in a cycle: rows of counts, factors and log-rates start on one."""
ANSWER_WORDS = 16
MAX_TRIALS = 1 << 16
"""Windows in a call."""


class Argument(IntEnum):
    """Arguments of the top function, by position."""

    COMMAND = 0
    SEQUENCE = 1
    IMAGE = 2
    IMAGE_WORDS = 3
    COUNTS = 4
    FACTORS = 5
    LOG_RATES = 6
    N_TRIALS = 7
    ANSWER = 8
    MAILBOX = 9


BUFFERS = (
    Argument.IMAGE, Argument.COUNTS, Argument.FACTORS, Argument.LOG_RATES, Argument.ANSWER,
    Argument.MAILBOX,
)  # fmt: skip
"""Arguments that are buffers; the others are scalars of 32 bits."""


class Answer(IntEnum):
    """Words of the answer that the kernel writes on every command."""

    STATUS = 0
    SEQUENCE = 1
    COMMAND = 2
    TRIALS = 3
    CYCLES = 4
    MODEL = 5
    LOADS = 6
    MAGIC = 7
    PROTOCOL = 8
    IMAGE = 9
    MAX_UNITS = 10
    MAX_BINS = 11
    MAX_HIDDEN = 12
    MAX_FACTORS = 13
    FEATURES = 14
    REUSE = 15


FEATURE_CYCLES = 1
"""The kernel has a clock: `Answer.CYCLES` counts."""
FEATURE_SERVE = 2
"""The kernel has `Command.SERVE`."""


class Command(IntEnum):
    """What a call of the kernel is to do."""

    LOAD = 0
    RUN = 1
    RUN_FACTORS = 2
    INFO = 3
    SERVE = 4


class Status(IntEnum):
    """What a call of the kernel answers."""

    OK = 0
    NOT_LOADED = 1
    MAGIC = 2
    VERSION = 3
    LENGTH = 4
    CHECKSUM = 5
    SIZE = 6
    FORM = 7
    RANGE = 8
    COMMAND = 9
    TRIALS = 10
    MAILBOX = 11
    TORN = 12
    REQUEST = 13
    WINDOW = 14
    IDLE = 15


_WORDS = {
    Status.NOT_LOADED: "it holds no model",
    Status.MAGIC: "what was loaded is not a kernel image",
    Status.VERSION: "it does not know this version of the kernel image",
    Status.LENGTH: "the image was truncated",
    Status.CHECKSUM: "the image was damaged on its way to the card",
    Status.SIZE: "the model is larger than the kernel was compiled for",
    Status.FORM: "it does not know this form of model",
    Status.RANGE: "a shift, a state's limit or a weight is out of range",
    Status.COMMAND: "it does not know the command",
    Status.TRIALS: "there are more windows than it takes in a call",
    Status.MAILBOX: "the mailbox is not of its version, or not for the model that it holds",
    Status.TORN: "a request arrived damaged",
    Status.REQUEST: "it does not know the kind of request, or that with so many bins",
    Status.WINDOW: "it does not keep the window that the bins follow",
    Status.IDLE: "nothing was asked of it for too long",
}


def padded(n: int, itemsize: int) -> int:
    """Return how many values a row of `n` takes in the card's memory."""
    return -(-n * itemsize // BLOCK) * BLOCK // itemsize


def in_words(status: int) -> str:
    """Return what a status of the kernel means."""
    try:
        return f"the kernel refuses: {_WORDS[Status(status)]} (status {status})"
    except (KeyError, ValueError):
        return f"the kernel answered status {status}, which this version does not know"


@dataclass(frozen=True)
class KernelFacts:
    """What the kernel says of itself: what it was compiled for.

    Attributes
    ----------
    protocol
        Version of commands and arguments.
    image_version
        Version of the kernel image that it takes.
    max_units, max_bins, max_hidden, max_factors
        Largest sizes of a model; `max_bins` counts those out.
    has_clock
        Whether it counts its own cycles.
    serves
        Whether it can be started once, to serve a mailbox.
    reuse
        Products that a recurrent multiplier does in a step.
    """

    protocol: int
    image_version: int
    max_units: int
    max_bins: int
    max_hidden: int
    max_factors: int
    has_clock: bool
    serves: bool
    reuse: int

    @classmethod
    def read(cls, answer: NDArray[np.uint32]) -> KernelFacts:
        """Read an answer of the kernel.

        Raises
        ------
        XclbinError
            If it is not one, or of a protocol that this version does not drive.
        """
        if answer[Answer.MAGIC] != KERNEL_MAGIC:
            raise XclbinError(
                f"the kernel's answer has {answer[Answer.MAGIC]:#x} instead of {KERNEL_MAGIC:#x}; "
                "take the xclbin that 'make -C fpga xclbin' built"
            )
        protocol, image, units, bins, hidden, factors, features, reuse = (
            int(word) for word in answer[Answer.PROTOCOL :]
        )
        if protocol != PROTOCOL_VERSION:
            raise XclbinError(
                f"the xclbin's kernel has protocol {protocol}, this version of bci-lfads "
                f"drives {PROTOCOL_VERSION}; build it from this version's sources: "
                "make -C fpga xclbin"
            )
        return cls(
            protocol, image, units, bins, hidden, factors, bool(features & FEATURE_CYCLES),
            bool(features & FEATURE_SERVE), reuse,
        )  # fmt: skip

    def maxima(self) -> dict[str, int]:
        """Return the largest sizes by the names of `LfadsSpec`."""
        hidden = dict.fromkeys(("encoder_size", "ic_size", "generator_size"), self.max_hidden)
        return {
            "n_units": self.max_units, "n_bins_out": self.max_bins, **hidden,
            "n_factors": self.max_factors,
        }  # fmt: skip

    def check(self, spec: LfadsSpec, image_version: int) -> None:
        """Refuse a model that does not fit.

        Raises
        ------
        ModelError
            Naming everything that is too large.
        XclbinError
            If the kernel takes another version of the image.
        """
        if self.image_version != image_version:
            raise XclbinError(
                f"the xclbin's kernel takes kernel images of version {self.image_version}, this "
                f"version of bci-lfads makes {image_version}; build it from this version's "
                "sources: make -C fpga xclbin"
            )
        large = [
            f"{name} {getattr(spec, name)} (at most {largest})"
            for name, largest in self.maxima().items()
            if getattr(spec, name) > largest
        ]
        if large:
            raise ModelError(
                f"the model does not fit the xclbin's kernel: {', '.join(large)}; train a smaller "
                "model, or build the xclbin with larger maxima (fpga/include/lfads_config.h)"
            )
