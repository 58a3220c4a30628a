"""A TCP proxy that fails on purpose: it cuts, delays, swallows, resets, or hands on requests and no answers.

Owns `WireCutter`. Knows nothing of what goes through it, but which way.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_GREETING = 100
"""Bytes of HTTP/2's own at the beginning of a connection; answers come after them."""


def _reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection by RST."""
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class WireCutter:
    """Forwards one port to another, on a thread of its own.

    Attributes:
        port: where it listens.
        cuts: how many connections were cut.
        delay: seconds that every piece is late, both ways.
        cut_after: so many bytes of the hub's answers go through a connection, which is then reset; 0 for no end.
        cut_answers: requests go through; at the first byte of an answer the connection is reset, and the byte is gone.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._open: set[asyncio.StreamWriter] = set()
        self._flows = asyncio.Event()
        self.port = 0
        self.cuts = 0
        self.delay = 0.0
        self.cut_after = 0
        self.cut_answers = False
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        started.wait(5)

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)

        async def serve() -> None:
            self._flows.set()
            self._server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
            self.port = self._server.sockets[0].getsockname()[1]
            started.set()

        self._loop.run_until_complete(serve())
        self._loop.run_forever()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        self._open |= {writer, back}
        with suppress(asyncio.CancelledError):
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer, (writer, back)))
        for end in (writer, back):
            self._open.discard(end)
            end.close()

    async def _pump(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, ends: tuple[asyncio.StreamWriter, ...] = ()
    ) -> None:
        """Hands on what comes; `ends` are there where it is the hub's answers."""
        through = 0
        with suppress(OSError):
            while data := await source.read(65536):
                if self.delay:
                    await asyncio.sleep(self.delay)
                await self._flows.wait()
                cut = bool(ends) and through > _GREETING and self.cut_answers
                if ends and self.cut_after and through + len(data) > self.cut_after:
                    data, cut = data[: max(0, self.cut_after - through)], True
                    target.write(data)
                    await target.drain()
                if cut:
                    self.cuts += 1
                    for end in ends:
                        _reset(end)
                    return
                through += len(data)
                target.write(data)
                await target.drain()
        target.close()

    def cut(self) -> None:
        """Resets every connection, in the middle of whatever is under way."""

        async def now() -> None:
            for writer in list(self._open):
                self.cuts += 1
                _reset(writer)

        asyncio.run_coroutine_threadsafe(now(), self._loop).result(5)

    def hold(self, *, flows: bool) -> None:
        """Stops or goes on handing bytes through; connections stay up, as behind a dead line."""
        self._loop.call_soon_threadsafe(self._flows.set if flows else self._flows.clear)

    def close(self) -> None:
        """Cuts all and ends."""
        self.hold(flows=True)
        self.cut()

        async def end() -> None:
            self._server.close()
            for task in asyncio.all_tasks():
                if task is not asyncio.current_task():
                    task.cancel()
            await asyncio.sleep(0)
            await self._server.wait_closed()

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


@contextmanager
def wire_cutter(target: int) -> Iterator[WireCutter]:
    """A proxy before a port, while the block runs."""
    cutter = WireCutter(target)
    try:
        yield cutter
    finally:
        cutter.close()
