"""A card with our kernel: the device, the xclbin, and what the kernel says of itself."""

from __future__ import annotations

import importlib
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, TypeVar

from bci_lfads.engines.fpga.failures import RUNTIME_ERRORS, card_error
from bci_lfads.engines.fpga.lane import Lane, Wait, keep_for_good
from bci_lfads.engines.fpga.protocol import (
    BUFFERS,
    KERNEL,
    Argument,
    Command,
    KernelFacts,
)
from bci_lfads.errors import CardError, CardLostError, CardMissingError, EngineError, XclbinError

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

XCLBIN_VARIABLE = "BCI_LFADS_XCLBIN"
"""Environment variable that names the xclbin where neither rig nor command does."""
_XCLBIN_MAGIC = b"xclbin2\0"
_XCLBIN_LENGTH_AT = 304
"""Of the axlf header's length in bytes, in the structure of XRT's xclbin.h."""
_BDF = re.compile(r"([0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", re.IGNORECASE)


class Card:
    """An opened card whose xclbin holds our kernel. Close it to let others have it.

    Parameters
    ----------
    xclbin
        The kernel's xclbin; None for what the variable `XCLBIN_VARIABLE` names.
    device
        Index of the card as ``xbutil examine`` counts, or its BDF, e.g. ``"0000:c1:00.1"``.
    timeout
        Seconds within which a call of the kernel must end.
    wait
        How to wait for it; see `Lane`.

    Attributes
    ----------
    name, bdf, uuid
        Of the card and the xclbin, as far as the runtime tells.
    facts
        What the kernel says of itself.

    Raises
    ------
    CardMissingError, CardBusyError, CardLostError, CardTimeoutError
        If the card cannot be had.
    XclbinError
        If the xclbin is not there or does not hold this version's kernel.
    """

    def __init__(
        self,
        xclbin: Path | str | None = None,
        device: int | str = 0,
        *,
        timeout: float = 1.0,
        wait: Wait = "spin",
    ) -> None:
        self.pyxrt = _import_pyxrt()
        self.path, self.timeout, self.wait = _xclbin_path(xclbin), timeout, wait
        self._open, self._failure = True, ""
        self.bdf = str(device)
        container = _read_xclbin(self.pyxrt, self.path)
        self.device = open_device(device, self.pyxrt)
        self._context, self.kernel = _load(self.pyxrt, self.device, container, self.path)
        self.uuid = self.attempt(
            "reading the xclbin's id", lambda: container.get_uuid().to_string()
        )
        self.name = self._info("name") or "card"
        self.bdf = self._info("bdf") or self.bdf
        self.groups = self.attempt(
            "reading the kernel's memory groups",
            lambda: {argument: self.kernel.group_id(int(argument)) for argument in BUFFERS},
        )
        self._no_host_memory = _no_host_memory(container, self.groups[Argument.MAILBOX])
        self.facts = self._ask()
        _log.info("card %s (%s) has kernel %s", self.name, self.bdf, self.uuid[:8])

    def attempt(self, doing: str, action: Callable[[], _T]) -> _T:
        """Return what the runtime does; raise its exception as one of our errors."""
        try:
            return action()
        except RUNTIME_ERRORS as error:
            raise card_error(f"{doing} on card {self.bdf}", error) from error

    def check_alive(self) -> None:
        """Refuse work on a card that is closed or has failed before.

        Raises
        ------
        EngineError, CardLostError
            Saying which of the two.
        """
        if not self._open:
            raise EngineError("the fpga engine is closed; open a new one")
        if self._failure:
            raise CardLostError(f"card {self.bdf} failed before ({self._failure}); open it again")

    def fail(self, error: CardError) -> NoReturn:
        """Take no more work: what a run that has not ended still does to its buffers is unknown."""
        self._failure = str(error)
        raise error

    @property
    def serves_not(self) -> str:
        """Why the kernel cannot be started once, to serve a mailbox; empty if it can."""
        if not self.facts.serves:
            return "the xclbin's kernel was built without it"
        return self._no_host_memory

    @property
    def failed(self) -> bool:
        """Whether a call has failed so that the card's state is unknown."""
        return bool(self._failure)

    def close(self) -> None:
        """Let the kernel and the card go, in that order. Whoever has lanes drops them first.

        Those of a card that has failed are kept until the process ends: see `Lane.close`.
        """
        self._open = False
        if self.failed:
            keep_for_good(self.kernel, self._context, self.device)
        self.kernel = self._context = self.device = None

    def __enter__(self) -> Card:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _info(self, key: str) -> str:
        """Return what the runtime knows of the device; empty where it does not (emulation)."""
        try:
            return str(self.device.get_info(getattr(self.pyxrt.xrt_info_device, key)))
        except RUNTIME_ERRORS:
            return ""

    def _ask(self) -> KernelFacts:
        with Lane(self, image_words=1, counts_size=1, factors_size=1, rates_size=1) as lane:
            try:
                return KernelFacts.read(lane.ask(Command.INFO))
            except CardError:
                raise
            except EngineError as error:
                raise XclbinError(
                    f"{self.path}: {error}, asked what it was compiled for; build it from this "
                    "version's sources: make -C fpga xclbin"
                ) from error


def open_device(device: int | str = 0, pyxrt: Any | None = None) -> Any:
    """Open a card through the Xilinx Runtime and return pyxrt's device.

    Parameters
    ----------
    device
        Index or BDF.
    pyxrt
        The module, where it is imported already.

    Raises
    ------
    CardMissingError, CardBusyError, CardLostError
        If pyxrt cannot be imported or there is no such card.
    EngineError
        If `device` is neither an index nor a BDF.
    """
    pyxrt = pyxrt or _import_pyxrt()
    if isinstance(device, str) and device.isdecimal():
        device = int(device)
    if isinstance(device, str) and not _BDF.fullmatch(device):
        raise EngineError(
            f"a card is named by its index or its BDF like 0000:c1:00.1, got {device!r}; "
            "'xbutil examine' lists both"
        )
    if isinstance(device, int) and device < 0:
        raise EngineError(f"a card's index is 0 or more, got {device}")
    try:
        opened = pyxrt.device(device)
    except RUNTIME_ERRORS as error:
        raise card_error(f"opening card {device}", error) from error
    _log.debug("opened card %s", device)
    return opened


def missing() -> str | None:
    """Return what the engine lacks on this machine, in words; None if a card opens."""
    try:
        open_device()
    except EngineError as error:
        return str(error)
    return None


def _import_pyxrt() -> Any:
    try:
        return importlib.import_module("pyxrt")
    except ImportError as error:
        raise CardMissingError(
            f"pyxrt cannot be imported ({error}): it comes with AMD's Xilinx Runtime (XRT) "
            "installer, not from the package index. Install XRT for your card, then run "
            "'source /opt/xilinx/xrt/setup.sh' in this shell; take the Python that XRT was built "
            "for"
        ) from error


def _xclbin_path(given: Path | str | None) -> Path:
    named = given or os.environ.get(XCLBIN_VARIABLE)
    if not named:
        raise XclbinError(
            "the fpga engine needs the kernel's xclbin: set fpga.xclbin in the rig file, the "
            f"option --xclbin, or the variable {XCLBIN_VARIABLE}; 'make -C fpga xclbin' builds "
            "one with Vitis"
        )
    path = Path(named).expanduser()
    if not path.is_file():
        raise XclbinError(f"there is no xclbin at {path}; 'make -C fpga xclbin' builds one")
    # The runtime takes a file for what it says it is, and crashes on one that was cut short.
    with path.open("rb") as file:
        head = file.read(_XCLBIN_LENGTH_AT + 8)
    size = path.stat().st_size
    if not head.startswith(_XCLBIN_MAGIC):
        raise XclbinError(f"{path} is not an xclbin: it begins with {head[:8]!r}")
    length = int.from_bytes(head[_XCLBIN_LENGTH_AT:], "little")
    if len(head) < _XCLBIN_LENGTH_AT + 8 or length != size:
        raise XclbinError(
            f"{path} is {size} bytes and says that it has {length}: it was cut short; copy or "
            "build it again"
        )
    return path


def _read_xclbin(pyxrt: Any, path: Path) -> Any:
    """Read the container and check that it holds our kernel with our arguments."""
    try:
        container = pyxrt.xclbin(str(path))
        kernels = {k.get_name(): k.get_num_args() for k in container.get_kernels()}
    except RUNTIME_ERRORS as error:
        raise XclbinError(
            f"{path} is not an xclbin that this runtime reads ({error}); copy or build it again"
        ) from error
    # Some versions name the kernel with its instances: "lfads_kernel:{lfads_kernel_1}".
    kernels = {name.partition(":")[0]: n for name, n in kernels.items()}
    if KERNEL not in kernels:
        raise XclbinError(
            f"{path} holds no kernel {KERNEL}; it holds {', '.join(kernels) or 'none'}: take the "
            "xclbin that 'make -C fpga xclbin' built"
        )
    if kernels[KERNEL] != len(Argument):
        raise XclbinError(
            f"{path}: its {KERNEL} takes {kernels[KERNEL]} arguments, this version of bci-lfads "
            f"gives {len(Argument)}; build it from this version's sources: make -C fpga xclbin"
        )
    return container


def _load(pyxrt: Any, device: Any, container: Any, path: Path) -> tuple[Any, Any]:
    """Load the xclbin and return what must be kept (a context or None) and the kernel."""
    try:
        if hasattr(pyxrt, "hw_context"):  # from 2.16 on; load_xclbin is deprecated there
            context = pyxrt.hw_context(device, device.register_xclbin(container))
            return context, pyxrt.kernel(context, KERNEL)
        return None, pyxrt.kernel(device, device.load_xclbin(container), KERNEL)
    except RUNTIME_ERRORS as error:
        raise card_error(f"loading {path} to the card", error) from error


def _no_host_memory(container: Any, group: int) -> str:
    """Return why the mailbox would not lie in this host's memory; empty if it would."""
    try:
        tags = {int(m.get_index()): str(m.get_tag()) for m in container.get_mems()}
    except RUNTIME_ERRORS as error:
        return f"the runtime does not say which memory the xclbin connects it to ({error})"
    tag = tags.get(group & 0xFFFF, "no memory")  # newer runtimes have more in the bits above
    if tag.startswith("HOST"):
        return ""
    return f"the xclbin connects its mailbox to {tag}, not to this host's memory"
