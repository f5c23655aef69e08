"""Remote control of LabRecorder, which records to XDF on its own machine. No Qt here.

Orders are lines of text over TCP, port 22345 (LabRecorder's README, "Remote Control"): ``update``,
``select all``, ``filename {root:…}{template:…}``, ``start``, ``stop``. LabRecorder takes one line
from what has arrived and answers ``OK``, so each answer is waited for before the next line is sent.
``OK`` says that the line was read; whether anything is recorded only LabRecorder's window says.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Sequence

PORT = 22345
HERE = f"127.0.0.1:{PORT}"
_CONNECT, _ANSWER = 3.0, 10.0  # seconds; updating the list of streams takes it two


class LabRecorder:
    """One LabRecorder; orders are given from a thread, so that no one waits for the network.

    Parameters
    ----------
    address
        ``host`` or ``host:port``.

    Raises
    ------
    ValueError
        Where that is no address.
    """

    def __init__(self, address: str = HERE) -> None:
        match = re.fullmatch(r"([^\s:]+)(?::(\d{1,5}))?", address.strip())
        if match is None or not 0 < int(match[2] or PORT) < 65536:
            raise ValueError(f"'{address}' is no address; give it like {HERE}")
        self._host, self._port = match[1], int(match[2] or PORT)
        self._thread: threading.Thread | None = None
        self._over = threading.Event()
        self.recording = False
        """Whether it was asked to record, and not yet to stop."""
        self.since = 0.0
        """System time at which it was asked to."""
        self.failure = ""
        """Why the last orders were not taken."""

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{self._host}:{self._port}"

    @property
    def busy(self) -> bool:
        """Whether orders are on their way."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, file: str = "") -> None:
        """Ask it to record all streams.

        Parameters
        ----------
        file
            On its machine; empty for what is set there.

        Raises
        ------
        ValueError
            Where the name cannot be sent.
        """
        orders = ["update", "select all"]
        if file:
            orders.append(filename_order(file))
        self._give([*orders, "start"], recording=True)

    def stop(self) -> None:
        """Ask it to end the recording."""
        self._give(["stop"], recording=False)

    def close(self) -> None:
        """Give no more orders; a recording goes on."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _give(self, orders: Sequence[str], *, recording: bool) -> None:
        if self.busy:
            self.failure = "the last orders are still on their way"
            return
        self.failure = ""
        self._thread = threading.Thread(
            target=self._body, args=(orders, recording), name="orders to LabRecorder"
        )
        self._thread.start()

    def _body(self, orders: Sequence[str], recording: bool) -> None:
        try:
            with socket.create_connection((self._host, self._port), _CONNECT) as connection:
                connection.settimeout(0.2)
                for order in orders:
                    connection.sendall(f"{order}\n".encode())
                    if not self._answered(connection, order):
                        return
        except OSError as error:
            self.failure = (
                f"no LabRecorder takes orders at {self.address} ({error.strerror or error}); "
                "is it open, with 'RCS' enabled?"
            )
            return
        self.recording, self.since = recording, time.time()

    def _answered(self, connection: socket.socket, order: str) -> bool:
        until = time.monotonic() + _ANSWER
        while time.monotonic() < until and not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                answer = connection.recv(1024).decode("utf-8", "replace").strip()
                if answer.startswith("OK"):
                    return True
                self.failure = f"LabRecorder answered '{order}' with '{answer}'" if answer else (
                    f"LabRecorder hung up at '{order}'"
                )  # fmt: skip
                return False
        self.failure = f"LabRecorder did not answer '{order}' within {_ANSWER:g} s"
        return False


def filename_order(file: str) -> str:
    """Return the order that names a file, in a folder of LabRecorder's machine or without one.

    Raises
    ------
    ValueError
        Where the name holds what the order's form cannot.
    """
    if re.search(r"[{}\r\n]", file):
        raise ValueError(f"LabRecorder takes no file name with braces, as in '{file}'")
    folder, slash, name = file.rpartition("\\" if "\\" in file else "/")
    root = f"{{root:{folder or slash}}}" if slash else ""
    return f"filename {root}{{template:{name}}}"
