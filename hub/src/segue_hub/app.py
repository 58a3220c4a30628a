"""The composition root: settings in, a running hub out.

Owns how the parts are put together and in which order they start and stop. No rule lives here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from segue.v1 import (
    admin_service_pb2,
    admin_service_pb2_grpc,
    context_pb2,
    context_pb2_grpc,
    event_service_pb2,
    event_service_pb2_grpc,
    plan_service_pb2,
    plan_service_pb2_grpc,
    sync_pb2,
    sync_pb2_grpc,
)
from segue.wire import fact_from_bytes, fact_to_bytes

from .clock import SystemClock
from .http.side_port import SidePort
from .server.admin_service import AdminService
from .server.context_service import ContextService, Projections
from .server.event_service import EventService
from .server.gate import Gate
from .server.plan_service import PlanService
from .server.sync_service import SyncService
from .services.audiences import Audiences
from .services.contexts import Contexts
from .services.fan_out import FanOut
from .services.ingest import Entry, Ingest
from .services.overview import Overview
from .services.plans import Plans
from .services.reports import Reports
from .services.resolution import Resolved
from .services.timers import Timers
from .services.touchpoints import Touchpoints
from .settings import Settings
from .storage.memory import MemoryStore
from .storage.ports import Checkpoint, Store
from .storage.sqlite import SqliteStore

log = structlog.get_logger("segue.hub")

_OPTIONS = [
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 0),
]
_NAMES = [
    event_service_pb2.DESCRIPTOR.services_by_name["EventService"].full_name,
    context_pb2.DESCRIPTOR.services_by_name["ContextService"].full_name,
    sync_pb2.DESCRIPTOR.services_by_name["SyncService"].full_name,
    plan_service_pb2.DESCRIPTOR.services_by_name["PlanService"].full_name,
    admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name,
]


@dataclass(slots=True)
class _Listeners:
    """Ingest tells; contexts fold first, then audiences and streams hear of it."""

    contexts: Contexts
    audiences: Audiences
    fan_out: FanOut

    def resolved(self, resolved: Resolved) -> None:
        self.contexts.resolved(resolved)
        self.audiences.resolved(resolved)
        self.fan_out.resolved(resolved)

    def accepted(self, entries: Sequence[Entry]) -> None:
        self.contexts.accepted(entries)
        self.audiences.accepted(entries)
        self.fan_out.accepted(entries)

    def settled(self, position: int) -> None:
        self.contexts.settled(position)

    def checkpoints(self) -> list[tuple[int, Checkpoint]]:
        return self.contexts.checkpoints()


class Hub:
    """A hub. `start`, then `wait`, then `stop`.

    Args:
        settings: validated.
        clock: time in microseconds; the machine's where not given.
        store: instead of the one that the settings name.

    Attributes:
        port, http_port: where it listens, once started.
    """

    def __init__(self, settings: Settings, clock: Callable[[], int] | None = None, store: Store | None = None) -> None:
        self.settings = settings.validate()
        self.clock = clock or SystemClock()
        self.port = 0
        self.http_port = 0
        self._stopping = asyncio.Event()
        self._broken = ""
        if store is None:
            store = SqliteStore(settings.store) if settings.store is not None else MemoryStore()
        self.store: Store = store
        self.plans = Plans(self.store, self.clock)
        self.contexts = Contexts(self.store, self.plans, fact_from_bytes, settings.heads)
        self.ingest = Ingest(self.store, self.plans, self.clock, fact_to_bytes, fact_from_bytes, self._on_broken)
        self.plans.write = self.ingest.exclusively
        self.touchpoints = Touchpoints(self.store, self.clock)
        self.touchpoints.write = self.ingest.exclusively
        self.timers = Timers(self.clock)
        self.audiences = Audiences(self.contexts, self.plans, self.timers, self.clock)
        self.fan_out = FanOut(self.contexts)
        self.plans.listeners.append(self.fan_out.everything)
        self.touchpoints.listeners.append(self.fan_out.rouse)
        self.reports = Reports(self.contexts, self.plans, self.clock)
        self.overview = Overview(
            self.store, self.plans, self.ingest, self.contexts, self.fan_out, self.timers, self.touchpoints, self.clock
        )
        self._health = health.aio.HealthServicer()
        self._server: grpc.aio.Server | None = None
        self._side_port: SidePort | None = None

    async def start(self) -> None:
        """Serves."""
        self.ingest.start(_Listeners(self.contexts, self.audiences, self.fan_out))
        self.timers.start()
        gate = Gate(self.touchpoints)
        server = grpc.aio.server(interceptors=[gate], options=_OPTIONS)
        self._add_services(server, gate)
        address = f"{self.settings.host}:{self.settings.port}"
        if self.settings.certificate is not None and self.settings.private_key is not None:
            pair = (self.settings.private_key.read_bytes(), self.settings.certificate.read_bytes())
            self.port = server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
        else:
            self.port = server.add_insecure_port(address)
        await server.start()
        self._server = server
        if self.settings.http_port is not None:
            self._side_port = SidePort(self.ingest, self.plans, self.touchpoints, self.overview)
            self.http_port = await self._side_port.start(self.settings.host, self.settings.http_port)
        for name in ("", *_NAMES):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        log.info("serving", grpc=f"{self.settings.host}:{self.port}", http=self.http_port or None,
                 store=str(self.settings.store or "memory"), plan=self.plans.current.digest)  # fmt: skip

    def _add_services(self, server: Any, gate: Gate) -> None:
        projections = Projections(self.contexts, self.plans, self.clock, self.store.incarnation)
        event_service_pb2_grpc.add_EventServiceServicer_to_server(EventService(self.ingest, self.plans, gate), server)
        context_pb2_grpc.add_ContextServiceServicer_to_server(
            ContextService(self.contexts, projections, self.plans, gate, self.clock), server
        )
        sync_pb2_grpc.add_SyncServiceServicer_to_server(
            SyncService(
                self.fan_out,
                self.contexts,
                projections,
                self.plans,
                self.audiences,
                self.timers,
                self.store,
                gate,
                self.clock,
            ),
            server,
        )
        plan_service_pb2_grpc.add_PlanServiceServicer_to_server(PlanService(self.plans), server)
        admin_service_pb2_grpc.add_AdminServiceServicer_to_server(
            AdminService(
                self.store,
                self.contexts,
                self.plans,
                self.audiences,
                self.reports,
                self.overview,
                self.touchpoints,
                fact_from_bytes,
            ),
            server,
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection([*_NAMES, health.SERVICE_NAME, reflection.SERVICE_NAME], server)

    def _on_broken(self, reason: str) -> None:
        self._broken = reason
        log.error("store broken: stopping, nothing more is acknowledged", reason=reason)
        self._stopping.set()

    def ask_to_stop(self) -> None:
        """Makes `wait` return."""
        self._stopping.set()

    async def wait(self) -> str:
        """Serves until asked to stop; returns why the store broke, or the empty text."""
        await self._stopping.wait()
        return self._broken

    async def stop(self, grace: float = 5.0) -> None:
        """Says goodbye to every stream, writes what is queued, stops."""
        for name in ("", *_NAMES):
            with contextlib.suppress(ValueError):
                await self._health.set(name, health_pb2.HealthCheckResponse.NOT_SERVING)
        for stream in self.fan_out.streams:
            stream.closing = "the hub is stopping"
            stream.wake.set()
        deadline = asyncio.get_running_loop().time() + grace / 2
        while self.fan_out.streams and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110  # many end
            await asyncio.sleep(0.01)
        if self._side_port is not None:
            await self._side_port.stop()
        if self._server is not None:
            await self._server.stop(grace / 2)
        await self.ingest.close()
        await self.timers.close()
        self.store.close()
        log.info("stopped", facts=self.ingest.counts["ACCEPTED"])
