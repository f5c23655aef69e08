"""Writes an xclbin that XRT's emulation loads: the container of ``xclbin.h``, minimally filled."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Sequence
from typing import NamedTuple
from xml.etree import ElementTree

BITSTREAM, METADATA, MEM_TOPOLOGY, CONNECTIVITY, IP_LAYOUT = 0, 2, 6, 7, 8
GROUP_TOPOLOGY, GROUP_CONNECTIVITY = 26, 27
MEM_DRAM, MEM_HBM, IP_KERNEL = 1, 6, 1
BASE = 0x1800000
BANK_KB = 256 * 1024
N_BANKS = 4
HOST = N_BANKS
"""The bank that is memory of the host, behind those of the card."""
PLATFORM = "xilinx_u55c_gen3x16_xdma_base_3"


class Argument(NamedTuple):
    """An argument of a kernel.

    Attributes
    ----------
    name
        In the kernel's source.
    bank
        Memory bank of a pointer, `HOST` for this host's memory; None for a scalar of 32 bits.
    """

    name: str
    bank: int | None = None


def write_xclbin(
    kernel: str,
    arguments: Sequence[Argument],
    library: bytes = b"",
    *,
    identity: uuid.UUID | None = None,
) -> bytes:
    """Return the bytes of an xclbin with one kernel.

    Parameters
    ----------
    kernel
        Its name.
    arguments
        Of its top function, in order.
    library
        The kernel as a shared library, for software emulation.
    identity
        Of the xclbin; default: a new one.
    """
    banks = b"".join(
        struct.pack("<BB6xQQ16s", kind, 1, BANK_KB, i * BANK_KB * 1024, tag.encode())
        for i, (kind, tag) in enumerate(
            [*((MEM_HBM, f"HBM[{i}]") for i in range(N_BANKS)), (MEM_DRAM, "HOST[0]")]
        )
    )
    topology = struct.pack("<i4x", N_BANKS + 1) + banks
    pointers = [(i, a.bank) for i, a in enumerate(arguments) if a.bank is not None]
    connectivity = struct.pack("<i", len(pointers)) + b"".join(
        struct.pack("<iii", i, 0, bank) for i, bank in pointers
    )
    layout = struct.pack("<i4xIIQ64s", 1, IP_KERNEL, 0, BASE, f"{kernel}:{kernel}_1".encode())
    sections = {
        METADATA: _metadata(kernel, arguments),
        MEM_TOPOLOGY: topology,
        CONNECTIVITY: connectivity,
        IP_LAYOUT: layout,
        GROUP_TOPOLOGY: topology,
        GROUP_CONNECTIVITY: connectivity,
    }
    if library:
        sections[BITSTREAM] = library
    return container(sections, identity or uuid.uuid4())


def _metadata(kernel: str, arguments: Sequence[Argument]) -> bytes:
    root = ElementTree.Element("project", name=kernel)
    platform = ElementTree.SubElement(
        root, "platform", vendor="xilinx", boardid="u55c", name="gen3x16_xdma", featureRomTime="0"
    )
    device = ElementTree.SubElement(platform, "device", name="fpga0")
    core = ElementTree.SubElement(
        device, "core", name="OCL_REGION_0", target="sw_emu", type="clc_region"
    )
    xml = ElementTree.SubElement(
        core, "kernel", name=kernel, language="c", attributes="", hwControlProtocol="ap_ctrl_hs",
        preferredWorkGroupSizeMultiple="0", workGroupSize="1", interrupt="true",
    )  # fmt: skip
    ElementTree.SubElement(
        xml, "port", name="S_AXI_CONTROL", mode="slave", range="0x1000", dataWidth="32",
        portType="addressable", base="0x0",
    )  # fmt: skip
    ElementTree.SubElement(
        xml, "port", name="M_AXI_GMEM", mode="master", range="0xFFFFFFFFFFFFFFFF", dataWidth="512",
        portType="addressable", base="0x0",
    )  # fmt: skip
    offset = 0x10
    for i, argument in enumerate(arguments):
        is_pointer = argument.bank is not None
        size = 8 if is_pointer else 4
        ElementTree.SubElement(
            xml, "arg", name=argument.name, addressQualifier=str(int(is_pointer)), id=str(i),
            port="M_AXI_GMEM" if is_pointer else "S_AXI_CONTROL", size=hex(size),
            offset=hex(offset), hostOffset="0x0", hostSize=hex(size),
            type="void*" if is_pointer else "uint",
        )  # fmt: skip
        offset += size + 4
    instance = ElementTree.SubElement(xml, "instance", name=f"{kernel}_1")
    ElementTree.SubElement(
        instance, "addrRemap", base=hex(BASE), range="0x10000", port="S_AXI_CONTROL"
    )
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)


def container(sections: dict[int, bytes], identity: uuid.UUID) -> bytes:
    offset = -(-(456 + 40 * len(sections)) // 8) * 8
    headers, data = [], []
    for kind, content in sections.items():
        padded = content + bytes(-len(content) % 8)
        headers.append(struct.pack("<I16s4xQQ", kind, b"", offset, len(content)))
        data.append(padded)
        offset += len(padded)
    header = struct.pack(
        "<QQQHBBHH16s64s16s16sI4x",
        offset, 0, 0, 0, 2, 13, 0, 0, bytes(16), PLATFORM.encode(), identity.bytes, b"",
        len(sections),
    )  # fmt: skip
    start = b"xclbin2\0" + struct.pack("<i", -1) + b"\xff" * 28 + b"\xff" * 256 + bytes(8)
    assert len(start + header) == 456, len(start + header)
    return start + header + b"".join(headers) + b"".join(data)
