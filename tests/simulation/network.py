"""The virtual network: real stubs and real handlers with nothing between them but delay, and what goes wrong.

Owns `Server` (takes a hub's handlers as gRPC's does), `Wire` (one machine's way to the hub: cut, dark, slow, lossy),
`Channel` (what stubs need of one) and `StreamCall` (what the SDK's runtime needs of a Sync stream). Messages cross as
bytes. Knows nothing of what they say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import grpc
from segue.transport import StreamBroken, Transport
from segue.v1 import sync_pb2

from tests.simulation.loop import Process, VirtualLoop

KEEPALIVE = 40.0
"""Seconds after which a side notices that the other one is gone without a word."""


class Aborted(Exception):
    """A handler refused a call."""

    def __init__(self, code: grpc.StatusCode, details: str, trailer: Any) -> None:
        super().__init__(details)
        self.code, self.details, self.trailer = code, details, trailer


class CallFailed(grpc.RpcError, grpc.Call):
    """What a client gets instead of an answer."""

    def __init__(self, code: grpc.StatusCode, details: str, trailer: Any = ()) -> None:
        super().__init__(details)
        self._code, self._details, self._trailer = code, details, trailer

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def trailing_metadata(self) -> Any:
        return self._trailer

    def initial_metadata(self) -> Any:
        return ()

    def is_active(self) -> bool:
        return False

    def time_remaining(self) -> float | None:
        return None

    def cancel(self) -> bool:
        return False

    def add_callback(self, callback: Any) -> bool:
        return False


class Server:
    """What a hub adds its services to."""

    def __init__(self) -> None:
        self.methods: dict[str, Any] = {}

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """They come as registered ones too."""

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        """Takes a service's handlers."""
        self.methods |= {f"/{service}/{name}": handler for name, handler in handlers.items()}


class ServerContext:
    """What a handler knows of its call."""

    def __init__(self, metadata: Any, write: Callable[[Any], None] | None = None) -> None:
        self._metadata = metadata
        self._write = write

    def invocation_metadata(self) -> Any:
        return self._metadata

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()) -> None:
        raise Aborted(code, details, trailing_metadata)

    async def write(self, message: bytes) -> None:
        assert self._write is not None
        self._write(message)
        await asyncio.sleep(0.0001)


class Future:
    """What a stub's `future` gives."""

    def __init__(self) -> None:
        self.done = False
        self._answer: Any = None
        self._error: CallFailed | None = None
        self._callbacks: list[Callable[[Any], None]] = []

    def finish(self, answer: Any, error: CallFailed | None) -> None:
        if not self.done:
            self.done, self._answer, self._error = True, answer, error
            for callback in self._callbacks:
                callback(self)

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._answer

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._callbacks.append(callback)


class Wire:
    """One machine's way to the hub.

    Args:
        world: has the loop, chance, the hub, and says how calm it is.
        name: of the machine, for the trace.

    Attributes:
        process: whose calls cross now.
        cut_until, dark_until: until when (seconds) it is refused, or swallows everything.
    """

    def __init__(self, world: Any, name: str) -> None:
        self.world = world
        self.loop: VirtualLoop = world.loop
        self.name = name
        self.process: Process | None = None
        self.cut_until = self.dark_until = 0.0
        self.streams: list[StreamCall] = []
        self.waiting: list[Callable[[], None]] = []

    def delay(self) -> float:
        chance = self.world.chance
        if not self.world.calm and chance.random() < 0.01:
            return chance.uniform(0.5, 3.0)
        return chance.uniform(0.0002, 0.02)

    def fate(self, kinds: str) -> str:
        """What becomes of one message: empty for nothing special."""
        chance = self.world.chance
        if self.world.calm or chance.random() >= self.world.lossy:
            return ""
        return chance.choice(kinds.split())

    @property
    def cut(self) -> bool:
        return self.loop.time() < self.cut_until

    @property
    def dark(self) -> bool:
        return self.loop.time() < self.dark_until

    def cuts(self, seconds: float) -> None:
        """Everything under way breaks, and nothing gets through for a while."""
        self.cut_until = self.loop.time() + seconds
        self.breaks("the wire was cut")

    def breaks(self, why: str) -> None:
        """Everything under way breaks."""
        for stream in list(self.streams):
            stream.breaks(why)
        waiting, self.waiting = self.waiting, []
        for fail in waiting:
            fail()

    def as_client(self, process: Process, function: Callable[..., object], *arguments: Any) -> None:
        """Calls something on the client's side, if that still lives."""
        if process.alive:
            process.run(function, *arguments)

    def ask(self, path: str, body: bytes, metadata: Any, timeout: float, finish: Callable[..., None]) -> None:
        """One unary call; `finish(body, error)` is called once, in the client's process."""
        process = self.process
        assert process is not None
        over = [False]

        def answer(body: bytes | None, error: CallFailed | None) -> None:
            if not over[0]:
                over[0] = True
                self.as_client(process, finish, body, error)

        def fail(code: grpc.StatusCode, why: str, trailer: Any = ()) -> None:
            self.loop.outside(self.delay(), answer, None, CallFailed(code, why, trailer))

        def lost() -> None:
            fail(grpc.StatusCode.UNAVAILABLE, "the connection broke")

        self.loop.outside(timeout, answer, None, CallFailed(grpc.StatusCode.DEADLINE_EXCEEDED, "too late"))
        if self.cut:
            return fail(grpc.StatusCode.UNAVAILABLE, "no connection")
        fate = self.fate("lost answer-lost twice")
        if self.dark or fate == "lost":
            return None
        self.waiting = [*self.waiting[-50:], lost]

        def arrived(heard: bool) -> None:
            hub = self.world.hub
            if hub.process is None or not hub.process.alive:
                return fail(grpc.StatusCode.UNAVAILABLE, "nobody listens") if heard else None

            async def serve() -> None:
                try:
                    handler = await hub.handler(path, metadata)
                    request = handler.request_deserializer(body)
                    response = handler.response_serializer(await handler.unary_unary(request, ServerContext(metadata)))
                except Aborted as refused:
                    if heard:
                        fail(refused.code, str(refused.details), refused.trailer)
                    return
                if heard and fate != "answer-lost" and not self.dark:
                    self.loop.outside(self.delay(), answer, response, None)

            hub.process.start(serve())
            return None

        self.loop.outside(self.delay(), arrived, True)
        if fate == "twice":
            self.world.note(self.name, f"{path.rsplit('/', 1)[1]} arrives twice")
            self.loop.outside(self.delay() * 3, arrived, False)
        return None


class Channel:
    """What a stub needs of a channel."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def unary_unary(self, path: str, request_serializer: Any, response_deserializer: Any, **_: Any) -> Any:
        def future(request: Any, timeout: float = 10.0, metadata: Any = ()) -> Future:
            made = Future()

            def finish(body: bytes | None, error: CallFailed | None) -> None:
                answer = response_deserializer(body) if body is not None else None
                if answer is not None:
                    self._wire.world.answered(self._wire, path, request, answer)
                made.finish(answer, error)

            self._wire.ask(path, request_serializer(request), tuple(metadata), timeout, finish)
            return made

        return SimpleNamespace(future=future)

    def unary_stream(self, *_: Any, **__: Any) -> None:
        """Not used here."""

    def stream_stream(self, *_: Any, **__: Any) -> None:
        """Opened by `StreamCall`."""

    def close(self) -> None:
        """Nothing to let go of."""


async def asked(stub: Any, request: Any, seconds: float, metadata: Any) -> Any:
    """One unary call, waited for; raises `CallFailed`."""
    call = stub.future(request, timeout=seconds, metadata=metadata)
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    call.add_done_callback(lambda _: over.done() or over.set_result(None))
    if not call.done:
        await over
    return call.result()


class VirtualTransport(Transport):
    """The SDK's transport, on a virtual channel."""

    def __init__(self, config: Any, wire: Wire) -> None:
        super().__init__(config, Channel(wire))  # type: ignore[arg-type]
        self._wire = wire

    def open_sync(self) -> StreamCall:  # type: ignore[override]
        return StreamCall(self._wire, self._metadata)


class StreamCall:
    """One Sync stream, both ends of it.

    Attributes:
        inbox: what the client heard: messages, then None or the error that ended it.
    """

    PATH = "/segue.v1.SyncService/Sync"

    def __init__(self, wire: Wire, metadata: Any) -> None:
        self._wire = wire
        self._loop = wire.loop
        assert wire.process is not None
        self._client = wire.process
        self._metadata = tuple(metadata)
        self.inbox: asyncio.Queue[sync_pb2.SyncResponse | StreamBroken | None] = asyncio.Queue()
        self._requests: asyncio.Queue[sync_pb2.SyncRequest | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._to_hub = self._to_client = 0.0
        self._held: list[tuple[Any, Any]] = []
        self.over = False
        wire.streams.append(self)
        if wire.cut:
            self._ends(StreamBroken("UNAVAILABLE: no connection"))
        elif wire.dark:
            self._loop.outside(KEEPALIVE, self.breaks, "no answer")
        else:
            self._loop.outside(wire.delay(), self._opened)

    def _opened(self) -> None:
        hub = self._wire.world.hub
        if hub.process is None or not hub.process.alive:
            return self._ends(StreamBroken("UNAVAILABLE: nobody listens"))
        if not self.over:
            self._server = hub.process
            self._task = hub.process.start(self._serve(hub))
        return None

    async def _serve(self, hub: Any) -> None:
        error: StreamBroken | None = None
        try:
            handler = await hub.handler(self.PATH, self._metadata)
            await handler.stream_stream(self._asked(), ServerContext(self._metadata, self._write))
        except Aborted as refused:
            error = StreamBroken(f"{refused.code.name}: {refused.details}")
        self._to_client = max(self._to_client, self._loop.time() + self._wire.delay())
        self._loop.outside(self._to_client - self._loop.time(), self._ends, error)

    async def _asked(self) -> Any:
        while (request := await self._requests.get()) is not None:
            yield request

    # -- client to hub -------------------------------------------------------------------------------------------------

    def send(self, request: sync_pb2.SyncRequest) -> None:
        """As `SyncCall.send`."""
        body = request.SerializeToString()

        def arrive() -> None:
            if not self.over:
                self._requests.put_nowait(sync_pb2.SyncRequest.FromString(body))

        self._to_hub = self._cross(self._to_hub, arrive)

    # -- hub to client -------------------------------------------------------------------------------------------------

    def _write(self, body: bytes) -> None:
        def arrive() -> None:
            if not self.over and self._client.alive:
                self.inbox.put_nowait(sync_pb2.SyncResponse.FromString(body))

        self._to_client = self._cross(self._to_client, arrive)

    def _cross(self, last: float, arrive: Callable[[], None]) -> float:
        """Schedules one message behind the one before; returns when it arrives."""
        wire, now = self._wire, self._loop.time()
        if wire.dark or self.over:
            return last
        fate = wire.fate("lost twice late")
        at = max(last + 1e-6, now + wire.delay())
        if fate:
            wire.world.note(wire.name, f"a message of the stream is {fate}")
        if fate == "lost":
            return last
        self._loop.outside((at - now) + (0.03 if fate == "late" else 0.0), arrive)
        if fate == "twice":
            self._loop.outside(at - now, arrive)
        return at

    # -- the end -------------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """As `SyncCall.end`: the client gives it up."""
        self._ends(None)

    def breaks(self, why: str) -> None:
        """It ends on both sides, at once for us and soon for them."""
        self._ends(StreamBroken(f"UNAVAILABLE: {why}"))

    def _ends(self, error: StreamBroken | None) -> None:
        if self.over:
            return
        self.over = True
        if self in self._wire.streams:
            self._wire.streams.remove(self)
        self.inbox.put_nowait(error)
        if self._task is not None and not self._task.done():
            delay = KEEPALIVE if self._wire.dark else self._wire.delay()
            self._loop.outside(delay, self._server.guarded(self._task.cancel))
