"""Orders to a trigger: from a local socket, or from whoever calls; answered by the loop."""

from __future__ import annotations

import contextlib
import queue
import selectors
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from bci_lfads.errors import TriggerError

ORDERS = ("arm", "renew", "disarm", "status", "stop")
_LONGEST = 256  # bytes of an order
_MOST_CLIENTS = 8
_MOST_ORDERS = 64


class Order(NamedTuple):
    """A word, who gave it, and where the answer goes."""

    word: str
    source: str
    answer: Callable[[str], None]


class Orders:
    """A bounded queue of orders; any thread puts, the loop takes."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[Order] = queue.Queue(_MOST_ORDERS)

    def put(self, word: str, source: str, answer: Callable[[str], None] = lambda _: None) -> None:
        """Give an order.

        Raises
        ------
        ValueError
            If there is none of that name, or too many wait.
        """
        word = word.strip()
        if not word:
            return
        if word not in ORDERS:
            raise ValueError(f"there are {', '.join(ORDERS)}")
        try:
            self._waiting.put_nowait(Order(word, source, answer))
        except queue.Full as error:
            raise ValueError("too many orders wait") from error

    def take(self) -> Order | None:
        """Return the next order, if there is one."""
        try:
            return self._waiting.get_nowait()
        except queue.Empty:
            return None


class ControlSocket:
    """A Unix socket that only this user may open; a line is an order, and is answered by a line.

    Parameters
    ----------
    path
        Of the socket; it must not be there yet.
    orders
        Where orders go.

    Raises
    ------
    TriggerError
        If it cannot be made.
    """

    def __init__(self, path: Path, orders: Orders) -> None:
        self._path, self._orders = path, orders
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._server.bind(str(path))
            path.chmod(0o600)
            self._server.listen(_MOST_CLIENTS)
        except OSError as error:
            self._server.close()
            raise TriggerError(
                f"cannot make the socket {path}: {error.strerror or error}; if no trigger runs "
                "there, remove the file"
            ) from error
        self._server.setblocking(False)
        self._over = threading.Event()
        self._clients: dict[socket.socket, bytes] = {}
        self._thread = threading.Thread(target=self._serve, name="trigger-control")
        self._thread.start()

    def close(self) -> None:
        """End the thread and remove the socket."""
        self._over.set()
        self._thread.join()
        for client in self._clients:
            client.close()
        self._server.close()
        self._path.unlink(missing_ok=True)

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._server, selectors.EVENT_READ)
            while not self._over.is_set():
                for key, _ in selector.select(0.1):
                    if key.fileobj is self._server:
                        self._accept(selector)
                    elif isinstance(key.fileobj, socket.socket):
                        self._read(key.fileobj, selector)

    def _accept(self, selector: selectors.BaseSelector) -> None:
        try:
            client, _ = self._server.accept()
        except OSError:
            return
        if len(self._clients) >= _MOST_CLIENTS:
            client.close()
            return
        client.setblocking(False)
        self._clients[client] = b""
        selector.register(client, selectors.EVENT_READ)

    def _read(self, client: socket.socket, selector: selectors.BaseSelector) -> None:
        try:
            came = client.recv(_LONGEST)
        except OSError:
            came = b""
        if not came:
            selector.unregister(client)
            del self._clients[client]
            client.close()
            return
        *lines, rest = (self._clients[client] + came).split(b"\n")
        self._clients[client] = rest[-_LONGEST:]
        for line in lines:
            answer = _answering(client)
            try:
                self._orders.put(line.decode("utf-8", "replace"), "socket", answer)
            except ValueError as error:
                answer(f"error: {error}")


def _answering(client: socket.socket) -> Callable[[str], None]:
    def answer(text: str) -> None:
        # A client that went, or that does not read, is not waited for.
        with contextlib.suppress(OSError):
            client.send(text.encode() + b"\n")

    return answer


def give_order(path: Path, word: str, timeout: float = 5.0) -> str:
    """Give a running trigger an order through its socket, and return the answer.

    Raises
    ------
    TriggerError
        If no trigger answers there.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(timeout)
            client.connect(str(path))
            client.sendall(word.encode() + b"\n")
            answer = b""
            while not answer.endswith(b"\n"):
                came = client.recv(4096)
                if not came:
                    break
                answer += came
    except OSError as error:
        raise TriggerError(
            f"no trigger answers at {path} ({error.strerror or error}); start one with "
            "bci-lfads trigger RULES --socket PATH"
        ) from error
    if not answer:
        raise TriggerError(f"the trigger at {path} ended before it answered")
    return answer.decode("utf-8", "replace").strip()
