"""A network between an outlet and whoever listens: it delays, loses, stalls, and can be cut.

It speaks as much of LSL as it takes to stand in the way: to queries it answers with the outlet's
own short description, with its own ports in place of the outlet's, and passes on what then comes.
"""

import asyncio
import random
import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

HOST = "127.0.0.1"


def free_ports(n: int) -> int:
    """Return the first of `n` ports in a row that nothing uses now, away from LSL's usual ones."""
    for first in random.Random().sample(range(20_000, 30_000, n), 200):
        with suppress(OSError):
            for port in range(first, first + n):
                for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                    with socket.socket(socket.AF_INET, kind) as probe:
                        probe.bind((HOST, port))
            return first
    raise AssertionError("no free ports")


class Network:
    """One stream's way. Attributes may be changed while it works, from any thread.

    Parameters
    ----------
    service, data
        The outlet's ports, UDP and TCP.
    port
        Where queries are answered: a port at which the listener looks.

    Attributes
    ----------
    delay, jitter
        Seconds that all takes one way, and up to how many more.
    loss
        Share of datagrams that are lost. Of a connection TCP repairs it, which is delay.
    stalled
        Nothing comes through.
    n_answers
        Datagrams that the outlet answered and that came through.
    """

    def __init__(self, service: int, data: int, port: int) -> None:
        self.delay = self.jitter = self.loss = 0.0
        self.stalled = self._is_cut = False
        self.n_answers = 0
        self._service, self._data, self._port = service, data, port
        self._own_data = 0
        self._rng = random.Random(0)
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task] = set()
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="network")
        self._thread.start()
        assert self._ready.wait(10.0)

    def cut(self) -> None:
        """Cut what is connected, and let nothing through until it is mended."""
        self._is_cut = True
        self._loop.call_soon_threadsafe(self._drop_all)

    def mend(self) -> None:
        self._is_cut = False

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        self._over = asyncio.Event()
        server = await asyncio.start_server(self._connect, HOST, 0)
        self._own_data = server.sockets[0].getsockname()[1]
        queries, _ = await self._loop.create_datagram_endpoint(
            lambda: _Queries(self), local_addr=(HOST, self._port)
        )
        self._ready.set()
        await self._over.wait()
        queries.close()
        server.close()
        self._drop_all()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _drop_all(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    def _keep(self, task: asyncio.Task) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def passes(self) -> bool:
        """Return whether a datagram comes through."""
        return not (self._is_cut or self.stalled or self._rng.random() < self.loss)

    def later(self, action: Callable[[], None]) -> None:
        """Do something when what comes now is through."""
        self._loop.call_later(self.delay + self._rng.random() * self.jitter, action)

    def translated(self, answer: bytes) -> bytes:
        """Put our ports in place of the outlet's."""
        for what, port in ((b"data", self._own_data), (b"service", self._port)):
            answer = re.sub(rb"(<v4%s_port>)\d+" % what, rb"\g<1>%d" % port, answer)
        return answer

    @property
    def service(self) -> tuple[str, int]:
        """The outlet's address for datagrams."""
        return HOST, self._service

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection(HOST, self._data)
        self._writers |= {writer, back}
        for source, sink in ((reader, back), (there, writer)):
            self._keep(self._loop.create_task(self._carry(source, sink)))

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(4096)

        async def take() -> None:
            while data := await source.read(1 << 16):
                due = self._loop.time() + self.delay + self._rng.random() * self.jitter
                await waiting.put((due, data))
            await waiting.put((0.0, b""))

        taking = self._loop.create_task(take())
        try:
            with suppress(ConnectionError):
                while True:
                    due, data = await waiting.get()
                    await asyncio.sleep(max(0.0, due - self._loop.time()))
                    while self.stalled:
                        await asyncio.sleep(0.01)
                    if not data:
                        break
                    sink.write(data)
                    await sink.drain()
        finally:
            taking.cancel()
            await asyncio.gather(taking, return_exceptions=True)
            self._writers.discard(sink)
            sink.close()


class _Queries(asyncio.DatagramProtocol):
    """Passes datagrams on, each through a socket of its own, so that the answer finds back."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address: tuple) -> None:
        if not self._network.passes():
            return
        answer_to = address
        if data.startswith(b"LSL:shortinfo\r\n"):
            method, query, rest = data.split(b"\r\n")[:3]
            port, number = rest.split()[:2]
            answer_to = (address[0], int(port))
            data = b"\r\n".join((method, query, b"%d " + number, b""))

        def answered(answer: bytes) -> None:
            if self._network.passes():
                self._network.n_answers += 1
                self._network.later(
                    lambda: self._transport.sendto(self._network.translated(answer), answer_to)
                )

        def ask() -> None:
            loop = asyncio.get_running_loop()
            self._network._keep(loop.create_task(_ask(data, self._network.service, answered)))

        self._network.later(ask)


async def _ask(data: bytes, service: tuple, answered: Callable[[bytes], None]) -> None:
    """Send a datagram to the outlet, and wait a while for its answer."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.setblocking(False)
        own.bind((HOST, 0))
        own.connect(service)
        own.send(data.replace(b"%d", b"%d" % own.getsockname()[1]))
        with suppress(asyncio.TimeoutError, OSError):
            answered(await asyncio.wait_for(loop.sock_recv(own, 1 << 16), 2.0))
