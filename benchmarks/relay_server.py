"""Peer of P5 and P6 as a server: what gRPC takes by itself. A bare bidirectional relay, from A's stream to B's, nothing
kept, nothing done; and a bare answer: as many bytes as were asked for.

Run as `python -m benchmarks.relay_server`; prints its port.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import grpc


class Relay(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Whatever one stream says goes to all others."""

    def __init__(self) -> None:
        self._streams: dict[Any, asyncio.Queue[bytes]] = {}
        self._bytes = b""

    def service(self, handler_call_details: Any) -> Any:
        """The two methods."""
        if handler_call_details.method.endswith("/Answer"):
            return grpc.unary_unary_rpc_method_handler(self._answer)
        return grpc.stream_stream_rpc_method_handler(self._relay)

    async def _relay(self, requests: AsyncIterator[bytes], context: Any) -> None:
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._streams[context] = queue
        reader = asyncio.create_task(self._read(requests, context))
        try:
            while True:
                await context.write(await queue.get())
        finally:
            reader.cancel()
            del self._streams[context]

    async def _answer(self, request: bytes, context: Any) -> bytes:
        if len(self._bytes) != int(request):
            self._bytes = os.urandom(int(request))
        return self._bytes

    async def _read(self, requests: AsyncIterator[bytes], context: Any) -> None:
        async for message in requests:
            for other, queue in self._streams.items():
                if other is not context:
                    queue.put_nowait(message)


async def main() -> None:
    """Serves until it is ended."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Relay(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
