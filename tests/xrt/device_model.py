"""The device of XRT's software emulation: memory, and one kernel that is a shared library.

XRT's shim for ``XCL_EMULATION_MODE=sw_emu`` starts this program, listens on a socket, and sends
what the host does: buffers written and read, registers written, the control register polled. The
kernel (the BITSTREAM of the xclbin) runs when its start bit is written. Message numbers and fields
are those of XRT's ``rpc_messages.proto``; a message is a header with the body's size and, from
the host, the call's number, then the body.

``BCI_LFADS_MODEL_FAULT`` makes a bad device: ``hang:N`` never finishes the run after N others;
``flip`` gives back results with a bit changed.
"""

import ctypes
import mmap
import os
import socket
import struct
import sys
import threading
import time
from bisect import bisect_right
from pathlib import Path
from xml.etree import ElementTree

CLOSE, LOAD, ALLOC, FREE, WRITE, READ = 1, 3, 4, 5, 6, 7
START, POLL, SETUP, REGISTER_WRITE, REGISTER_READ = 9, 11, 28, 51, 52
DONE_AND_IDLE = b"\x06\x00\x00\x00"
PAGE = 4096
HOST_MEMORY = 4 * 256 * 1024 * 1024  # behind the banks of xclbin.py
SHORT = 0.05  # seconds within which a run that serves nothing ends
BUSY = b"\x01\x00\x00\x00"


def fields(body):
    """Read a protobuf message: field number to its last value."""
    found, at = {}, 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = body[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(body):
        key = varint()
        kind = key & 7
        if kind == 0:
            value = varint()
        else:
            size = {1: 8, 5: 4}.get(kind) or varint()
            value = bytes(body[at : at + size])
            at += size
        found[key >> 3] = value
    return found


def message(**content):
    """Write a protobuf message: ``f1=7, f2=b"..."``."""
    out = bytearray()

    def varint(value):
        while value >= 0x80:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        out.append(value)

    for name, value in content.items():
        number = int(name[1:])
        if isinstance(value, bytes):
            varint(number << 3 | 2)
            varint(len(value))
            out.extend(value)
        else:
            varint(number << 3)
            varint(int(value))
    return bytes(out)


class Memory:
    """Memory that the kernel sees, by address: the card's own, and behind it the host's.

    A buffer of the host's is a file that the runtime maps, too: both sides see the same bytes.
    """

    def __init__(self):
        self.starts, self.blocks = [], {}

    def allocate(self, address, size):
        """Return the name of the buffer's file; empty for one of the card's own."""
        if address not in self.blocks:
            self.starts = sorted([*self.starts, address])
        if address < HOST_MEMORY:
            self.blocks[address] = ctypes.create_string_buffer(size)
            return ""
        path = os.path.join(os.environ["SDACCEL_EM_RUN_DIR"], f"host-{os.getpid()}-{address:x}")
        with open(path, "w+b") as file:
            file.truncate(size)
            shared = mmap.mmap(file.fileno(), size)
        self.blocks[address] = (ctypes.c_char * size).from_buffer(shared)
        return path

    def free(self, address):
        if self.blocks.pop(address, None) is not None:
            self.starts.remove(address)

    def pointer(self, address):
        """Return where an address of the card lies in this process; None outside of every block."""
        place = bisect_right(self.starts, address) - 1
        if place < 0:
            return None
        start = self.starts[place]
        offset = address - start
        block = self.blocks[start]
        return None if offset >= len(block) else ctypes.addressof(block) + offset


class Kernel:
    """A kernel by its XML description and its shared library."""

    def __init__(self, xml, library):
        kernel = ElementTree.parse(xml).getroot().find(".//kernel")
        self.arguments = [
            (int(a.get("offset"), 16), a.get("addressQualifier") == "1")
            for a in sorted(kernel.findall("arg"), key=lambda a: int(a.get("id")))
        ]
        self.function = getattr(ctypes.CDLL(library), kernel.get("name"))
        self.function.restype = None

    def run(self, registers, memory):
        values = []
        for offset, is_pointer in self.arguments:
            if is_pointer:
                (address,) = struct.unpack_from("<Q", registers, offset)
                values.append(ctypes.c_void_p(memory.pointer(address)))
            else:
                values.append(ctypes.c_uint32(struct.unpack_from("<I", registers, offset)[0]))
        self.function(*values)


class Device:
    """Answers the shim's calls."""

    def __init__(self, fault):
        self.memory, self.kernel = Memory(), None
        what, _, after = fault.partition(":")
        self.runs_left = int(after) if what == "hang" else None
        self.hung, self.flips, self.running = False, what == "flip", None

    def answer(self, call, body):
        f = fields(body)
        if call in (CLOSE, SETUP):
            return message(f1=1)
        if call == LOAD:
            self.kernel = Kernel(f[1].decode(), str(Path(f[2].decode()).resolve()))
            return message(f1=1)
        if call == ALLOC:
            path = self.memory.allocate(f[1], f[2])
            return message(f1=1, f2=path.encode()) if path else message(f1=1)
        if call == FREE:
            self.memory.free(f[1])
            return message(f1=1)
        if call == WRITE:
            ctypes.memmove(self.memory.pointer(f[3]), f[4], f[5])
            return message(f1=f[5])
        if call == READ:
            data = ctypes.string_at(self.memory.pointer(f[4]), f[5])
            if self.flips and len(data) > PAGE:  # behind the answer
                data = data[:PAGE] + bytes([data[PAGE] ^ 1]) + data[PAGE + 1 :]
            return message(f1=f[5], f2=data)
        if call == START:
            if f[4][0] & 1:
                self.start(f[4])
            return message(f1=1)
        if call == POLL:
            busy = self.hung or (self.running is not None and self.running.is_alive())
            return message(f1=1, f2=BUSY if busy else DONE_AND_IDLE)
        if call == REGISTER_WRITE:
            return message(f1=1)
        if call == REGISTER_READ:
            return message(f1=1, f2=bytes(f[3]))
        raise ValueError(f"call {call} is not known to this device")

    def start(self, registers):
        if self.runs_left == 0:
            self.hung = True
        else:
            # In a thread: a run that serves a mailbox goes on while the host does other things.
            run, registers = self.kernel.run, bytes(registers)
            self.running = threading.Thread(target=run, args=(registers, self.memory), daemon=True)
            self.running.start()
            self.running.join(SHORT)
        if self.runs_left:
            self.runs_left -= 1


def connect(path, patience=10.0):
    """Connect to the shim, which opens its socket only after it started this program."""
    until = time.monotonic() + patience
    while True:
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            end.connect(path)
        except OSError:
            end.close()
            if time.monotonic() > until:
                raise
            time.sleep(0.005)
        else:
            return end


def main():
    user = os.environ.get("USER", "")
    path = f"/tmp/{user}/{os.environ['EMULATION_SOCKETID']}"
    device = Device(os.environ.get("BCI_LFADS_MODEL_FAULT", ""))
    stream = connect(path).makefile("rwb")
    while header := stream.read(14):
        size, call = struct.unpack("<xQxI", header)
        body = stream.read(size)
        answer = device.answer(call, body)
        stream.write(b"\x09" + struct.pack("<Q", len(answer)) + answer)
        stream.flush()
        if call == CLOSE and fields(body).get(3):  # else it is only a reset before an xclbin
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
