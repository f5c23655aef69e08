"""pyxrt as it is from 2.16 on, in front of the 2.13 binding: contexts, no `load_xclbin`."""

import pyxrt
from pyxrt import bo, ert_cmd_state, run, xclbin, xclBOSyncDirection, xrt_info_device

__all__ = [
    "bo", "device", "ert_cmd_state", "hw_context", "kernel", "run", "xclBOSyncDirection",
    "xclbin", "xrt_info_device",
]  # fmt: skip

used: list[str] = []


class device(pyxrt.device):  # noqa: N801
    """A device that registers an xclbin instead of loading it."""

    def register_xclbin(self, container):
        used.append("register_xclbin")
        return super().load_xclbin(container)

    def load_xclbin(self, container):
        raise DeprecationWarning("pyxrt.device.load_xclbin() is deprecated; use hw_context")


class hw_context:  # noqa: N801
    """What holds an xclbin on a device."""

    def __init__(self, opened, uuid):
        used.append("hw_context")
        self.opened, self.uuid = opened, uuid


def kernel(context, name):
    """Return a kernel of a context."""
    return pyxrt.kernel(context.opened, context.uuid, name)
