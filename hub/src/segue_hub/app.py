"""The composition root: settings in, a running hub out.

Owns how the parts are put together and in which order they start and stop. No rule lives here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
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
    decision_service_pb2,
    decision_service_pb2_grpc,
    event_service_pb2,
    event_service_pb2_grpc,
    identity_service_pb2,
    identity_service_pb2_grpc,
    ledger_service_pb2,
    ledger_service_pb2_grpc,
    plan_service_pb2,
    plan_service_pb2_grpc,
    replay_service_pb2,
    replay_service_pb2_grpc,
    reservation_service_pb2,
    reservation_service_pb2_grpc,
    store_service_pb2,
    store_service_pb2_grpc,
    sync_pb2,
)
from segue.wire import fact_from_bytes, fact_to_bytes, facts_from_bytes, stamped

from .clock import SystemClock
from .http.side_port import SidePort
from .server.admin_service import AdminService
from .server.audience_watches import Watching
from .server.context_service import ContextService, Projections
from .server.decision_service import DecisionService
from .server.event_service import EventService
from .server.gate import Gate
from .server.identity_service import IdentityService
from .server.ledger_service import LedgerService
from .server.plan_service import PlanService
from .server.replay_service import ReplayService
from .server.reservation_service import ReservationService
from .server.store_service import StoreService
from .server.sync_service import SyncService
from .server.turnstile import Turnstile
from .services.affected import Affected
from .services.audiences import Audiences
from .services.catching_up import CatchingUp
from .services.comparison import Comparison
from .services.contexts import Contexts
from .services.decisions import Decisions
from .services.earlier_plans import EarlierPlans
from .services.entry import Entry
from .services.explanations import Explanations
from .services.fan_out import FanOut
from .services.identities import Identities
from .services.ingest import Ingest
from .services.ledger import Ledger
from .services.moments import Moments
from .services.overview import Overview
from .services.past import Past
from .services.plans import Plans
from .services.pressure import Pressure
from .services.previews import Previews
from .services.question_book import load_book
from .services.replays import Replays
from .services.reports import Reports
from .services.reservations import Reservations
from .services.resolved import Resolved
from .services.simulation import Simulations
from .services.statements import Statements
from .services.sweep import Sweep
from .services.timers import Timers
from .services.touchpoints import Touchpoints
from .services.workspace import WorkspaceLog
from .settings import Settings
from .storage.memory import MemoryStore
from .storage.ports import Checkpoint, Store
from .storage.sqlite import SqliteStore, copy_store

log = structlog.get_logger("segue.hub")

_OPTIONS = [
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 8_000),
    ("grpc.http2.ping_timeout_ms", 8_000),  # of all other pings; a minute where it is not said
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 0),
    # Calls that wait for the loop: from 1,000 on gRPC would cancel some by chance, without a word. The gate answers.
    ("grpc.server.max_pending_requests", 10_000),
    ("grpc.server.max_pending_requests_hard_limit", 20_000),
]
_NAMES = [
    event_service_pb2.DESCRIPTOR.services_by_name["EventService"].full_name,
    context_pb2.DESCRIPTOR.services_by_name["ContextService"].full_name,
    sync_pb2.DESCRIPTOR.services_by_name["SyncService"].full_name,
    plan_service_pb2.DESCRIPTOR.services_by_name["PlanService"].full_name,
    admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name,
    reservation_service_pb2.DESCRIPTOR.services_by_name["ReservationService"].full_name,
    store_service_pb2.DESCRIPTOR.services_by_name["StoreService"].full_name,
    replay_service_pb2.DESCRIPTOR.services_by_name["ReplayService"].full_name,
    decision_service_pb2.DESCRIPTOR.services_by_name["DecisionService"].full_name,
    identity_service_pb2.DESCRIPTOR.services_by_name["IdentityService"].full_name,
    ledger_service_pb2.DESCRIPTOR.services_by_name["LedgerService"].full_name,
]


@dataclass(slots=True)
class _Listeners:
    """Ingest tells; contexts fold first, then audiences and streams hear of it."""

    contexts: Contexts
    earlier: EarlierPlans
    audiences: Audiences
    fan_out: FanOut
    ledger: Ledger

    def resolved(self, resolved: Resolved) -> None:
        self.contexts.resolved(resolved)
        self.earlier.resolved(resolved)
        self.audiences.resolved(resolved)
        self.fan_out.resolved(resolved)
        self.ledger.resolved(resolved)

    def accepted(self, entries: Sequence[Entry]) -> None:
        self.ledger.overtaken(entries)
        self.contexts.accepted(entries)
        self.earlier.accepted(entries)
        self.audiences.accepted(entries)
        self.fan_out.accepted(entries)
        self.ledger.accepted(entries)

    def settled(self, position: int) -> None:
        self.contexts.horizon.settled(position)
        self.fan_out.settled()
        self.ledger.settled(position)

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
        self._telling: asyncio.Task[None] | None = None
        book = load_book(settings.decisions)
        if store is None:
            store = SqliteStore(settings.store) if settings.store is not None else MemoryStore()
        self.store: Store = store
        self.plans = Plans(self.store, self.clock)
        self.workspace = WorkspaceLog(self.store, self.plans, self.clock, fact_to_bytes, fact_from_bytes)
        self.contexts = Contexts(self.store, self.plans, facts_from_bytes, settings.heads)
        self.pressure = Pressure()
        self.ingest = Ingest(
            self.store, self.plans, self.clock, fact_to_bytes, fact_from_bytes, self._on_broken, stamped,
            settings.limits, self.pressure,
        )  # fmt: skip
        self.plans.write, self.workspace.write = self.ingest.asked, self.ingest.exclusively
        self.touchpoints = Touchpoints(self.store, self.clock)
        self.touchpoints.write = self.ingest.asked
        self.timers = Timers(self.clock)
        self.earlier = EarlierPlans(self.contexts, self.plans)
        self.audiences = Audiences(self.contexts, self.plans, self.timers, self.clock)
        self.fan_out = FanOut(self.contexts, self.plans)
        self.ledger = Ledger(
            self.store, self.contexts, self.plans, self.timers, self.clock, fact_from_bytes, settings.heads
        )
        self.ledger.write, self.ledger.on_broken = self.ingest.exclusively, self._on_broken
        self.ingest.beside, self.contexts.queue.crowded = self.ledger.stage, self.ingest.tidy
        self.plans.listeners.append(self.fan_out.everything)
        self.workspace.listeners += [
            self.contexts.informed, self.earlier.informed, self.audiences.informed, self.fan_out.informed,
            self.ledger.informed,
        ]  # fmt: skip
        self.touchpoints.listeners.append(self.fan_out.rouse)
        self.reports = Reports(self.contexts, self.plans, self.clock)
        self.moments = Moments(self.store, self.plans, self.clock, fact_from_bytes)
        self.identities = Identities(self.store)
        self.past = Past(self.store, self.identities, fact_from_bytes)
        self.replays = Replays(self.store, self.plans, self.contexts, fact_from_bytes, self.clock)
        self.catching_up = CatchingUp(self.contexts, self.ingest)
        self.sweep = Sweep(self.store, self.plans, self.contexts, self.ingest, fact_from_bytes)
        self.overview = Overview(
            self.store, self.plans, self.ingest, self.contexts, self.fan_out, self.timers, self.touchpoints,
            self.sweep, self.clock,
        )  # fmt: skip
        self.overview.limits = lambda: {"queue_bytes": self.ingest.queue.bytes, **self.pressure.plain()}
        self.overview.ledger = self.ledger.plain
        self.decisions = Decisions(
            book, self.contexts, self.plans, self.ingest, self.clock, self.store.incarnation
        )  # fmt: skip
        self.overview.decisions = self.decisions.plain
        self.reservations = Reservations(self.contexts, self.plans, self.ingest, self.clock)
        self._health = health.aio.HealthServicer()
        self._server: grpc.aio.Server | None = None
        self._side_port: SidePort | None = None

    async def start(self) -> None:
        """Serves."""
        gate = Gate(self.touchpoints)
        limits = self.settings.limits
        server = grpc.aio.server(
            interceptors=[gate, Turnstile(gate, limits, self.pressure)],
            options=[
                *_OPTIONS,
                ("grpc.max_receive_message_length", limits.message_bytes),
                # What a client offers beyond waits on its side, at its cost.
                ("grpc.max_concurrent_streams", limits.streams_per_connection + limits.calls_per_touchpoint),
            ],
        )
        self.begin(server, gate)
        address = f"{self.settings.host}:{self.settings.port}"
        if self.settings.certificate is not None and self.settings.private_key is not None:
            pair = (self.settings.private_key.read_bytes(), self.settings.certificate.read_bytes())
            self.port = server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
        else:
            self.port = server.add_insecure_port(address)
        await server.start()
        self._server = server
        if self.settings.http_port is not None:
            self._side_port = SidePort(
                self.ingest, self.plans, self.touchpoints, self.overview, self.decisions, self.reservations,
                limits,
            )  # fmt: skip
            self.http_port = await self._side_port.start(self.settings.host, self.settings.http_port)
        self.ingest.room.listener = self._tell_health
        await self._set_health()
        log.info("serving", grpc=f"{self.settings.host}:{self.port}", http=self.http_port or None,
                 store=str(self.settings.store or "memory"), plan=self.plans.current.digest)  # fmt: skip

    def begin(self, server: Any, gate: Gate) -> None:
        """Starts the work behind the services and adds them to a server, whatever that listens to.

        Args:
            server: takes handlers as `grpc.aio.Server` does.
            gate: tells the services who calls.
        """
        self.ledger.start()
        self.ingest.start(_Listeners(self.contexts, self.earlier, self.audiences, self.fan_out, self.ledger))
        self.timers.start()
        self.sweep.start()
        self.catching_up.start()
        self._add_services(server, gate)

    def _add_services(self, server: Any, gate: Gate) -> None:
        projections = Projections(self.contexts, self.plans, self.clock, self.store.incarnation)
        watching = Watching(
            self.audiences, self.ledger, self.contexts, projections, self.plans, self.fan_out, self.store
        )
        event_service_pb2_grpc.add_EventServiceServicer_to_server(
            EventService(self.ingest, self.workspace, self.plans, gate, self.settings.limits.batch), server
        )
        path = self.settings.store
        copy = partial(copy_store, path) if path is not None else None
        stores = StoreService(copy, path.parent if path is not None else None, gate)
        store_service_pb2_grpc.add_StoreServiceServicer_to_server(stores, server)
        reservation_service_pb2_grpc.add_ReservationServiceServicer_to_server(
            ReservationService(self.reservations, self.plans, gate, self.clock), server
        )
        context_pb2_grpc.add_ContextServiceServicer_to_server(
            ContextService(
                self.contexts, projections, self.plans, self.past, self.moments, gate, self.clock, self.settings.limits
            ),
            server,
        )
        previews = Previews(self.store, self.plans, self.clock, fact_from_bytes)
        identity_service_pb2_grpc.add_IdentityServiceServicer_to_server(
            IdentityService(
                Explanations(self.store, self.identities, self.moments, fact_from_bytes, self.ingest.admission.blocked),
                Statements(self.ingest, previews, self.plans, self.clock),
                Affected(self.store, self.plans, self.identities, self.moments, fact_from_bytes),
            ),
            server,
        )
        sync = SyncService(
            self.fan_out, self.contexts, projections, self.plans, self.earlier, watching, self.timers, self.store, gate,
            self.clock, self.settings.limits, self.pressure,
        )  # fmt: skip
        sync.added_to(server)
        simulations = Simulations(
            self.contexts, self.plans, self.ingest, self.clock, lambda: self.store.counts()["customers"]
        )
        plan_service_pb2_grpc.add_PlanServiceServicer_to_server(PlanService(self.plans, simulations), server)
        admin_service_pb2_grpc.add_AdminServiceServicer_to_server(
            AdminService(
                self.store,
                self.contexts,
                self.plans,
                self.audiences,
                self.reports,
                self.overview,
                self.touchpoints,
                self.past,
                self.moments,
                fact_from_bytes,
            ),
            server,
        )
        decision_service_pb2_grpc.add_DecisionServiceServicer_to_server(
            DecisionService(
                self.decisions,
                self.plans,
                gate,
                lambda decision, since: Comparison(self.store, self.contexts, decision, since),
            ),
            server,
        )
        replay_service_pb2_grpc.add_ReplayServiceServicer_to_server(
            ReplayService(self.replays, projections, gate), server
        )
        ledger_service_pb2_grpc.add_LedgerServiceServicer_to_server(LedgerService(self.ledger), server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection([*_NAMES, health.SERVICE_NAME, reflection.SERVICE_NAME], server)

    def _on_broken(self, reason: str) -> None:
        self._broken = reason
        self._tell_health()
        log.error("store broken: stopping, nothing more is acknowledged", reason=reason)
        self._stopping.set()

    def _tell_health(self) -> None:
        self._telling = asyncio.create_task(self._set_health(), name="health")

    async def _set_health(self) -> None:
        """Whether the store takes facts. Where it does not, reads and streams go on, and the hub says so here."""
        serving = self.ingest.accepting and not self._broken
        state = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *_NAMES):
            await self._health.set(name, state)

    def ask_to_stop(self) -> None:
        """Makes `wait` return."""
        self._stopping.set()

    async def wait(self) -> str:
        """Serves until asked to stop; returns why the store broke, or the empty text."""
        await self._stopping.wait()
        return self._broken

    async def stop(self, grace: float = 5.0) -> None:
        """Says goodbye to every stream, writes what is queued, stops."""
        await self._health.enter_graceful_shutdown()  # NOT_SERVING, and stays so
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
        await self.decisions.pool.close()
        await self.sweep.close()
        await self.catching_up.close()
        await self.ledger.close()
        await self.ingest.close()
        await self.timers.close()
        self.store.close()
        log.info("stopped", facts=self.ingest.counts["ACCEPTED"])
