"""SyncService: one stream per SDK process.

Owns the order in which a stream is told things: welcome, plan, then contexts as they become dirty, bookmarks in
between, goodbye at the end. One write is in flight at a time; what changes meanwhile conflates.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

import grpc
import structlog
from segue.domain.grant import SERVICE
from segue.domain.plan import canonical
from segue.domain.workspace import QUIET
from segue.errors import FactError
from segue.v1 import sync_pb2 as pb
from segue.v1 import sync_pb2_grpc as rpc
from segue.wire import identifier_from_wire

from ..limits import Limits
from ..services.contexts import Contexts
from ..services.earlier_plans import EarlierPlans
from ..services.failure import Refusal
from ..services.fan_out import FanOut, Stream, Subscription
from ..services.plans import Plans
from ..services.pressure import Pressure
from ..services.timers import Timers
from ..storage.ports import Store
from .alarm import Alarm
from .audience_watches import AudienceWatches, Watching
from .bookmarks import Bookmarks
from .context_service import Projections
from .frames import framed
from .gate import Gate
from .message_count import MessageCount
from .slow_readers import SlowReaders, Writes
from .status import refuse
from .updates import Updates

log = structlog.get_logger("segue.hub")

BOOKMARK: Final = 10.0
CONFLATE: Final = 0.004
"""Seconds at most that changes of a stream conflate for after contexts were sent: as long as sending them took."""
SEVERAL: Final = 16
"""Contexts in one message at most: while they are made nobody else has a turn. A message for each took gRPC a quarter
of a busy hub's time (ADR 0019)."""
SEVERAL_BYTES: Final = 64 * 1024
"""What a message has at most before another context is put into it."""
SESSION: Final = 30 * 60.0
HELD: Final = 256
"""Bytes of what a client says of a context that it holds; longer texts are none of ours."""
ANSWERS: Final = 1000
"""Answers that wait for a stream at most; until it reads them, no further request of it is read."""


class SyncService(rpc.SyncServiceServicer):
    """Serves Sync."""

    def __init__(
        self, fan_out: FanOut, contexts: Contexts, projections: Projections, plans: Plans, earlier: EarlierPlans,
        watching: Watching, timers: Timers, store: Store, gate: Gate, clock: Callable[[], int],
        limits: Limits, pressure: Pressure,
    ) -> None:  # fmt: skip
        self.fan_out = fan_out
        self.contexts = contexts
        self.earlier = earlier
        self.projections = projections
        self.plans = plans
        self.watching = watching
        self.timers = timers
        self.store = store
        self.gate = gate
        self.clock = clock
        self.limits = limits
        self.pressure = pressure
        self.updates = Updates(fan_out, contexts, projections, plans, earlier, timers, store)
        self.slow = SlowReaders(limits.slow_reader_ms)
        self.bookmarks = Bookmarks(store, contexts, projections, plans, earlier, clock)

    def added_to(self, server: grpc.aio.Server) -> None:
        """Has a server serve it; streams write bytes, as what many are told is encoded once."""
        name = pb.DESCRIPTOR.services_by_name["SyncService"].full_name
        handlers: Any = {"Sync": grpc.stream_stream_rpc_method_handler(self.Sync, pb.SyncRequest.FromString, None)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
        server.add_registered_method_handlers(name, handlers)

    async def Sync(  # noqa: N802  # the protocol's own name
        self, request_iterator: AsyncIterator[pb.SyncRequest], context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        """See the proto."""
        try:
            caller = self.gate.caller(context)
        except Refusal as error:
            await refuse(context, error)
        await _Session(self, caller, context).run(request_iterator)


class _Session:
    """One stream's two halves: a reader task, and the writing loop."""

    def __init__(self, service: SyncService, touchpoint: str, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        self._service = service
        self._context = context
        self._stream: Stream = service.fan_out.open(touchpoint)
        self._stream.since = service.clock()
        self._seq = 0
        self._most = 1
        self._heard = MessageCount()
        self._broken: Refusal | None = None
        self._busy_until = 0.0
        self._out: deque[pb.SyncResponse] = deque()
        self._out_bytes = 0
        self._writes = Writes()
        self._alarm = Alarm(self._stream.wake.set)
        self._read_on = asyncio.Event()
        self._watches = AudienceWatches(service.watching, self._stream, self._error)

    async def run(self, requests: AsyncIterator[pb.SyncRequest]) -> None:
        reader = asyncio.create_task(self._read(requests), name="sync-reader")
        reader.add_done_callback(lambda _: self._stream.wake.set())
        writer = asyncio.create_task(self._write_all(reader), name="sync-writer")
        writer.add_done_callback(lambda task: task.cancelled() or task.exception())
        slow = False
        self._service.slow.watch(self._writes)
        try:
            await asyncio.wait({writer, self._writes.overdue}, return_when=asyncio.FIRST_COMPLETED)
            if writer.done():
                await writer  # raises what it did
            else:
                slow, self._broken = True, self._slow()
        finally:
            self._service.slow.forget(self._writes)
            self._alarm.cancel()
            reader.cancel()
            if not slow:
                writer.cancel()
                await asyncio.gather(writer, return_exceptions=True)
            await asyncio.gather(reader, return_exceptions=True)
            await self._watches.close()
            for number in list(self._stream.subscriptions):
                self._forget(number)
            self._service.fan_out.close(self._stream)
            self._out.clear()
        if self._broken is not None:
            try:
                await refuse(self._context, self._broken)  # of a slow reader: told when it reads, or with its line
            finally:
                writer.cancel()
                await asyncio.gather(writer, return_exceptions=True)

    def _slow(self) -> Refusal:
        stream, limit = self._stream, self._service.limits.slow_reader_ms
        self._service.pressure.slow_readers += 1
        named = {"touchpoint": stream.touchpoint, "instance": stream.instance}
        log.warning("slow reader ended", **named, behind=stream.behind)
        told = f"a message was not read within {limit} ms. Open a new stream and state what is held"
        return Refusal("SLOW_READER", told, retry_after_ms=1000)

    async def _write_all(self, reader: asyncio.Task[None]) -> None:
        loop = asyncio.get_running_loop()
        stream = self._stream
        # Of clients that came together bookmarks do not fall due together, nor do sessions end so: at 30 min +-10 %.
        bookmark_due = loop.time() + BOOKMARK * random.uniform(0.5, 1)  # noqa: S311  # spreads load, no secret
        ends_at = loop.time() + SESSION * random.uniform(0.9, 1.1)  # noqa: S311  # spreads load, no secret
        while not reader.done():
            now = loop.time()
            stream.fall_due(now)
            valid, stream.roused = not stream.roused or self._service.gate.still_valid(self._context), False
            if stream.closing or now >= ends_at or not valid:
                reason = stream.closing or ("session ends" if now >= ends_at else "the key was revoked")
                wait = random.randint(100, 1500)  # noqa: S311  # spreads load, no secret
                await self._send(pb.SyncResponse(goodbye=pb.Goodbye(reason=reason, reconnect_after_ms=wait)))
                return
            if stream.dirty and now < self._busy_until and not stream.asked:
                # Frames went out just now: what changes meanwhile becomes one frame. A lone change never waits.
                await asyncio.sleep(self._busy_until - now)
            stream.wake.clear()
            stream.asked = False
            began = loop.time()
            if await self._flush():
                ended = loop.time()
                self._busy_until = ended + min(CONFLATE, ended - began)
            if now >= bookmark_due:
                bookmark_due = now + BOOKMARK
                await self._send(pb.SyncResponse(bookmark=await self._service.bookmarks.of(stream)))
            if not (stream.dirty or self._out or stream.plan_due or self._watches.due or self._uninformed):
                self._alarm.set(min(bookmark_due, ends_at, stream.echo_due))
                await stream.wake.wait()

    async def _flush(self) -> bool:
        """Sends what is due; returns whether contexts were among it."""
        stream, sent = self._stream, False
        while self._out:
            response = self._out.popleft()
            self._out_bytes -= response.ByteSize()
            await self._send(response)
            self._read_on.set()
        for change in self._watches.messages():
            await self._send(pb.SyncResponse(audience=change))
        if self._uninformed:  # before the plan and the contexts that read it
            stream.workspace, document = self._service.plans.told()
            update = pb.WorkspaceUpdate(digest=stream.workspace, document=document)
            await self._send(pb.SyncResponse(workspace=update))
        if stream.plan_due:
            stream.plan_due = False
            plan = self._service.plans.current
            if plan.digest != stream.plan:
                document = canonical(plan.document)
                await self._send(pb.SyncResponse(plan=pb.PlanUpdate(digest=plan.digest, document=document)))
        while stream.dirty and not stream.plan_due and not self._out and not self._uninformed:
            updates = self._updates()
            if updates:
                sent = True
                await self._write(framed(self._seq + 1, updates))
        return sent

    def _updates(self) -> list[bytes]:
        """Of who is dirty, as many as one message takes."""
        stream, found, size = self._stream, list[bytes](), 0
        while stream.dirty and len(found) < self._most and size < SEVERAL_BYTES:
            subscription = next(iter(stream.dirty))
            del stream.dirty[subscription]
            try:
                update = self._service.updates.of(subscription)
            except Exception:  # one customer that cannot be shown may not end the stream of all others
                log.exception("a context cannot be sent", subscription=subscription.number)
                self._error(
                    subscription.number, "CONTEXT_BROKEN", "this context cannot be sent; the hub's log says why"
                )
                continue
            if update is not None:
                found.append(update)
                size += len(update)
        return found

    @property
    def _uninformed(self) -> bool:
        held = self._stream.workspace
        return held is not None and held != self._service.plans.told()[0]

    async def _send(self, response: pb.SyncResponse) -> None:
        response.seq = self._seq + 1
        await self._write(response.SerializeToString())

    async def _write(self, response: bytes) -> None:
        self._seq += 1
        self._writes.since = asyncio.get_running_loop().time()
        await self._context.write(response)
        self._writes.since = 0.0

    async def _read(self, requests: AsyncIterator[pb.SyncRequest]) -> None:
        async for request in requests:
            self._broken = self._heard.next(request.seq)
            if self._broken is not None:
                return
            kind = request.WhichOneof("body")
            if kind is not None:
                getattr(self, f"_on_{kind}")(getattr(request, kind))
            while len(self._out) >= ANSWERS or self._out_bytes >= self._service.limits.outgoing_bytes:
                self._read_on.clear()
                await self._read_on.wait()

    def _queue(self, response: pb.SyncResponse) -> None:
        self._out.append(response)
        self._out_bytes += response.ByteSize()
        self._stream.wake.set()

    def _on_hello(self, hello: pb.Hello) -> None:
        stream, service = self._stream, self._service
        stream.instance, stream.sdk, stream.plan = hello.instance, hello.sdk, hello.plan
        self._most = SEVERAL if hello.several else 1
        stream.workspace = hello.workspace or QUIET.digest
        self._watches.resumes = hello.incarnation == service.store.incarnation
        welcome = pb.Welcome(
            incarnation=service.store.incarnation, server_time=service.clock(), touchpoint=stream.touchpoint,
            several=True,
        )  # fmt: skip
        self._queue(pb.SyncResponse(welcome=welcome))
        stream.plan_due = True

    def _on_subscribe(self, asked: pb.Subscribe) -> None:
        stream = self._stream
        most = self._service.limits.subscriptions
        if len(stream.subscriptions) >= most and asked.subscription not in stream.subscriptions:
            self._service.pressure.refused["subscriptions"] += 1
            self._error(asked.subscription, "OVERLOADED", f"a stream holds at most {most} subscriptions")
            return
        try:
            identifier = self._service.plans.current.kinds.normal(identifier_from_wire(asked.identifier))
        except FactError as error:
            self._error(asked.subscription, error.code, str(error))
            return
        subscription = Subscription(
            asked.subscription, identifier, asked.purpose or SERVICE, stream, version=asked.version,
            view=asked.view[:HELD], holds=asked.customer[:HELD],
        )  # fmt: skip
        self._forget(asked.subscription)
        self._service.fan_out.subscribe(subscription)
        self._expect(subscription, asked.pending)

    def _on_unsubscribe(self, asked: pb.Unsubscribe) -> None:
        self._forget(asked.subscription)

    def _forget(self, number: int) -> None:
        held = self._stream.subscriptions.get(number)
        if held is not None:
            self._service.updates.forget(held)
            self._service.fan_out.unsubscribe(self._stream, number)

    def _on_pending(self, asked: pb.Pending) -> None:
        subscription = self._stream.subscriptions.get(asked.subscription)
        if subscription is None or not self._expect(subscription, asked.facts):
            return
        if self._service.store.find(asked.facts):  # what is still to come marks it when it is folded
            self._stream.mark(subscription)

    def _on_pending_of_several(self, asked: pb.PendingOfSeveral) -> None:
        for each in asked.pending:
            self._on_pending(each)

    def _expect(self, subscription: Subscription, ids: Sequence[bytes]) -> bool:
        """Takes in which own facts the client asks about, if there is room; returns whether it did."""
        taken = subscription.expect(ids, self._service.limits.pending)
        if not taken:
            self._service.pressure.refused["pending"] += 1
            told = f"a stream asks about at most {self._service.limits.pending} own facts at once, by their 16 bytes"
            self._error(subscription.number, "OVERLOADED", told)
        return taken

    def _on_plan_report(self, report: pb.PlanReport) -> None:
        stream = self._stream
        before = self._service.earlier.plan_of(stream).digest
        stream.refused = report.refused
        if not report.refused:
            stream.plan = report.plan
        if self._service.earlier.plan_of(stream).digest != before:
            # It goes on with its last good plan, and is told what that one makes of its customers (VE3).
            for subscription in stream.subscriptions.values():
                stream.mark(subscription)

    def _on_status(self, status: pb.ClientStatus) -> None:
        self._stream.status = {
            "decisions": status.decisions, "offered": status.offered, "delivered": status.delivered,
            "waiting": status.waiting, "losses": dict(status.losses), "outbox": status.outbox,
        }  # fmt: skip

    def _on_watch_audience(self, asked: pb.WatchAudience) -> None:
        self._watches.watch(asked)

    def _on_audience_heard(self, told: pb.AudienceHeard) -> None:
        self._watches.heard(told)

    def _error(self, subscription: int, code: str, message: str) -> None:
        self._queue(pb.SyncResponse(error=pb.SyncError(subscription=subscription, code=code, message=message)))
