"""The card's kernel in a process of its own, serving a mailbox in shared memory.

``kernel_process.py LIBRARY IMAGE MAILBOX`` is that process; the last two are open files.
"""

import ctypes
import mmap
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

LOAD, SERVE = 0, 4
ANSWER_BYTES = 64


class KernelProcess:
    """Starts the kernel on an image and a mailbox, an open file; what a run on a card is."""

    def __init__(self, library: Path, image: bytes, mailbox: int) -> None:
        kept = os.memfd_create("image")
        os.write(kept, image)
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-E", __file__, str(library), str(kept), str(mailbox)],
            pass_fds=(kept, mailbox), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        )  # fmt: skip
        os.close(kept)

    def ended(self) -> bytes | None:
        """Return the kernel's answer if it has ended: empty if it was killed."""
        if self.process.poll() is None:
            return None
        assert self.process.stdout is not None
        with self.process.stdout as pipe:
            return pipe.read()

    def freeze(self) -> None:
        """Hang: no instruction more, and nothing is given back."""
        self.process.send_signal(signal.SIGSTOP)
        status = Path(f"/proc/{self.process.pid}/stat")
        while status.read_text().rpartition(")")[2].split()[0] != "T":
            time.sleep(0.001)

    def kill(self) -> None:
        """End it whatever it does."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def main() -> None:
    library, image, mailbox = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    kernel = ctypes.CDLL(library).lfads_kernel
    kernel.restype = None
    content = os.pread(image, os.fstat(image).st_size, 0)
    shared = mmap.mmap(mailbox, os.fstat(mailbox).st_size)
    memory = ctypes.addressof(ctypes.c_char.from_buffer(shared))
    room = ctypes.create_string_buffer(ANSWER_BYTES + 64)
    answer = (ctypes.addressof(room) + 63) // 64 * 64
    for command in (LOAD, SERVE):
        kernel(
            command, 1, content, len(content) // 4, None, None, None, 0,
            ctypes.c_void_p(answer), ctypes.c_void_p(memory),
        )  # fmt: skip
    os.write(sys.stdout.fileno(), ctypes.string_at(answer, ANSWER_BYTES))


if __name__ == "__main__":
    main()
