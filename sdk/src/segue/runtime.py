"""The runtime: what an SDK process runs beside its host. Two threads, no more.

Owns the worker (journals, publishes, keeps leases and plan on disk) and the stream thread (keeps the replica). The
host's threads only append to queues and read snapshots; nothing here raises into them, waits for the network on
their time, or survives a fork.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from .backoff import Reconnection
from .clock import SYSTEM, FactIds, System
from .config import Config
from .domain.fact import Fact
from .domain.identifier import Identifier
from .domain.plan import WAITING, Plan
from .errors import ConfigError
from .listening import Listeners, Listening
from .loading import CONNECTION, WIRE, load
from .outbox import MUST, Outbox
from .own_thread import OwnThreads, with_signals
from .persistence import Persistence
from .publisher import Publisher
from .replica import Held
from .shadow import Shadows
from .sync import GAPPED, Machine, Outgoing, Watch, prepare
from .transport import StreamBroken, SyncCall, Transport
from .version import VERSION
from .wake import Latch, Wake

if TYPE_CHECKING:
    from .v1 import sync_pb2

log = logging.getLogger("segue")

DEAD_AFTER: Final = 35.0
"""Seconds without a word from the hub after which a stream is given up: three missed bookmarks."""
STATUS_EVERY: Final = 10.0
LAST_WORK: Final = 5.0
"""Seconds that closing waits for each of our threads; one whose disk hangs ends when that does."""


class Runtime:
    """One touchpoint's machinery in one process; `connect` opens the way to the hub, on first use.

    `next_seq` rises with every fact of this process, and from one process to the next (FA3).
    """

    def __init__(
        self, config: Config, system: System = SYSTEM, connect: Callable[[Config], Transport] = Transport
    ) -> None:  # fmt: skip
        self.config, self._system, self._connect, self.pid = config, system, connect, os.getpid()
        instance = f"{config.touchpoint}-{self.pid}-{system.chance(3).hex()}"
        self.machine = Machine(instance, VERSION, keeps=config.persist_contexts)
        self.clock = system.now
        self.ids = FactIds(system)
        self.outbox = Outbox(config.state, config.touchpoint, *config.outbox_limits, system=system)
        self.persistence = Persistence(config.state, config.touchpoint, contexts=config.persist_contexts)
        self.listeners, self.shadows = Listeners(), Shadows()
        self.decisions, self.last_error = 0, ""
        self.ready, self.loaded = Latch(), Latch()  # not `Event`, of which a signal handler waits for itself
        self._lock, self._wake = threading.RLock(), Wake()  # reentrant: a signal handler, a destructor
        self.next_seq, self._connecting = count(system.now() + 1).__next__, threading.RLock()
        self._closing, self._needed = Latch(), Latch()
        self._errands: deque[Callable[[], None]] = deque()
        self._transport: Transport | None = None
        self.publisher = Publisher(self.outbox, self._connected, self._wake.hurry, system)
        self._call: SyncCall | None = None
        self._sent, self._heard, self._asked_ms = 0, 0.0, 0
        self._next_status, self.pause = system.ticks() + 1.0, Reconnection().pause
        self.claimants: weakref.WeakSet[Any] = weakref.WeakSet()
        self._threads = OwnThreads(system.ticks)
        if config.hub:
            self.machine.plan = WAITING
        if (plan := self.persistence.plan()) is not None:
            self.machine.plan, self.machine.plan_known = plan, True

    def start(self) -> None:
        """Begins to work; connects only once something needs the hub."""
        targets = [("segue-worker", self._work)] + ([("segue-stream", self._stream)] if self.config.hub else [])
        self._threads.begin(*targets)

    @property
    def plan(self) -> Plan:
        """The plan in force here."""
        return self.machine.plan

    def now(self) -> int:
        """The hub's time as far as known, in microseconds."""
        return self.clock() + self.machine.offset

    # -- what hosts call: no I/O ---------------------------------------------------------------------------------------

    def offer(self, fact: Fact, lane: int, held: Held | None, journalled: threading.Event | None = None) -> None:
        """Takes a fact: journalled soon, published after, shown at once where the customer is held."""
        outbox = self.outbox
        if held is not None and not outbox.closed:
            # Shown before it can be published: a frame that includes it finds it in the overlay, and drops it by id.
            try:
                self.machine.own(held, fact)
            except Exception:  # the host must never notice: it is told all the same, and seen once the hub has it
                log.exception("segue: an own fact cannot be shown")
        if outbox.tell(fact, lane, journalled):
            (self._wake.set if journalled is None else self._wake.hurry)()
        elif held is not None:
            self._reject([fact.id])  # lost, and counted: it is shown no more

    def record(self, make: Callable[[], Fact], lane: int = MUST) -> None:
        """Takes a fact that is made on our own thread, off the host's time."""
        if self.outbox.tell(make, lane):
            self._wake.set()

    def hold(self, identifier: Identifier, purpose: str) -> Held:
        """Begins to hold a customer, or finds what is held."""
        self._threads.try_again()
        with self._lock:
            held, messages = self.machine.subscribe(identifier, purpose)
            held.users += 1
            self._send(messages)
            if held.users == 1 and not held.answered.is_set():
                restored = self.persistence.context(identifier, purpose, self.machine.plan.digest)
                if restored is not None:
                    held.restore(restored[0], self.machine.plan, restored[1])
        self._needed.set()
        return held

    def release(self, held: Held, keep_until: int) -> None:
        """A session ends; its customer stays until the lease runs out."""
        with self._lock:
            held.users -= 1
            held.keep_until = max(held.keep_until, keep_until)

    def watch(self, audience: str, purpose: str, tell: Any, cursor: str = "") -> None:
        """Begins to watch an audience; by a cursor, on the listeners' thread."""
        with self._lock:
            if not cursor:
                _, messages = self.machine.watch(audience, purpose, tell)
            else:
                if self.machine.watches(audience, cursor):
                    raise ConfigError(f"{audience!r} is watched by the cursor {cursor!r} already: give another name")
                listening = Listening(tell, f"{audience} ({cursor})")
                watch, messages = self.machine.watch(
                    audience, purpose, lambda tellings, mark: self.listeners.put(listening, tellings, mark), cursor
                )
                listening.heard = lambda mark: self._heard_by_host(watch, mark)
                self.listeners.add(listening)
            self._send(messages)
        self._needed.set()

    def _heard_by_host(self, watch: Watch, mark: tuple[int, int]) -> None:
        with self._lock:
            self._send(self.machine.heard(watch, mark))

    def need(self) -> None:
        """Connects, although nobody is held yet."""
        self._needed.set()

    # -- the worker ----------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        self.outbox.open()
        while True:
            self._wake.wait(0.25 if self.outbox.waiting or self.outbox.unjournalled else 1.0)
            closing = self._closing.is_set()  # asked before the work: all that was offered until then is journalled
            self.work()
            self._threads.worked()
            if closing:
                return self.outbox.close()

    def work(self) -> None:
        """One round of the worker: never waits for the network, never raises."""
        try:
            self._journal()
            self._reject(self.publisher.settle())
            for session in list(self.claimants):
                session.renew(self.clock())
            waits = self.outbox.waiting or self.outbox.unjournalled or self.outbox.untold
            if waits and self.config.hub and not self._closing.is_set():  # the end waits for no connection
                self.publisher.publish()
            if self._system.ticks() >= self._next_status:
                self._next_status = self._system.ticks() + STATUS_EVERY
                self._housekeep()
        except Exception:  # the host must never notice: count, say so, go on
            log.exception("segue: the worker failed and goes on")
            self.last_error = "worker failed, see the log"

    def _journal(self) -> None:
        load(WIRE)
        while self._errands:
            self._errands.popleft()()
        self._say_shown()  # on its way to the hub while the disk is waited for
        self.outbox.journal()
        self._say_shown()  # what came meanwhile: whatever is published next was shown before it was journalled

    def _say_shown(self) -> None:
        with self._lock:
            self._send(self.machine.shown())

    def _reject(self, ids: list[bytes]) -> None:
        if ids:
            with self._lock:
                self.machine.rejected(ids)

    def _housekeep(self) -> None:
        self.outbox.reopen()
        self.outbox.forget()
        self.outbox.rest()
        with self._lock:
            for held in list(self.machine.replica.expired(self.clock())):
                self._send(self.machine.unsubscribe(held))
            status = {
                "decisions": self.decisions, "offered": self.outbox.offered, "delivered": self.outbox.delivered,
                "waiting": self.outbox.waiting, "losses": dict(self.outbox.losses), "outbox": self.outbox.name,
            }  # fmt: skip
            self._send([Outgoing("status", status)])
        self.persistence.keep([held for held in self.machine.replica.all() if held.heard_at])
        if (call := self._call) is not None and self._system.ticks() - self._heard > DEAD_AFTER:
            log.info("segue: the hub has been silent for %d s, connecting anew", DEAD_AFTER)
            call.end()

    def transport(self) -> Transport:
        """The way to the hub, for a host that waits for an answer because it acts."""
        return self._connected()

    def _connected(self) -> Transport:
        try:
            load(CONNECTION)
        finally:
            self.loaded.set()  # whoever waits for a first answer begins to count now
        with self._connecting:  # never under the lock that hosts want: gRPC takes its time
            if self._transport is None:
                self._transport = self._connect(self.config)
            return self._transport

    # -- the stream ----------------------------------------------------------------------------------------------------

    def _send(self, messages: list[Outgoing]) -> None:
        """Queues messages on the open stream; called under the lock."""
        if self._call is not None:
            from .wire_sync import outgoing_to_wire

            for message in messages:
                self._sent += 1
                self._call.send(outgoing_to_wire(message, self._sent))

    def _stream(self) -> None:
        while not self._closing.is_set():
            if not self._needed.wait(1.0):
                continue
            began, answered = self._system.ticks(), False
            try:
                answered = self._converse()
            except Exception as error:  # the host must never notice: say so, connect anew
                log.warning("segue: %s; connecting anew", error, exc_info=not isinstance(error, StreamBroken))
            if self._closing.is_set():
                return
            lasted, goodbye = self._system.ticks() - began, self.machine.goodbye_ms / 1000
            self._closing.wait(self.pause(lasted, answered, goodbye, self._asked_ms))

    def _converse(self) -> bool:
        """Keeps one stream until it ends; returns whether the hub had answered."""
        call = self._connected().open_sync()
        answered = False
        self.begin(call)
        try:
            if self._closing.is_set():
                return False  # `close` came while this was being opened: it did not see the call
            for response in call:
                answered = True
                if not self.hear(response):
                    break
        except StreamBroken as error:
            self.last_error, self._asked_ms = str(error), error.retry_ms
        finally:
            self.hang_up(call)
        return answered

    def begin(self, call: SyncCall) -> None:
        """A stream was opened: says who we are and what is held."""
        with self._lock:
            self._call, self._sent, self._heard, self._asked_ms = call, 0, self._system.ticks(), 0
            self._send(self.machine.connected())

    def hear(self, response: sync_pb2.SyncResponse) -> bool:
        """Takes one message in; returns whether the stream goes on."""
        from .wire_sync import incoming_from_wire

        self._heard = self._system.ticks()
        message = prepare(incoming_from_wire(response))
        with self._lock:
            before = self.machine.plan
            self._send(self.machine.received(message, self.clock()))
            plan, again, told = self.machine.plan, self.machine.reincarnated, self.machine.told
            self.machine.reincarnated, self.machine.told = False, []
            gapped = self.machine.state == GAPPED
        self.last_error = self.machine.errors[-1] if gapped else ""
        for tell in told:
            self._tell(tell)
        if plan is not before:
            self.persistence.keep_plan(plan)
        if again:
            self.record_reoffer()
        if message.kind == "welcome":
            self.publisher.welcomed()
        if message.kind in ("plan", "context", "contexts", "bookmark", "welcome"):
            self.ready.set()
        return message.kind != "goodbye" and not gapped

    def hang_up(self, call: SyncCall) -> None:
        """The stream ended, from whichever side."""
        with self._lock:
            self._call = None
            self.machine.disconnected()
        call.end()

    @staticmethod
    def _tell(tell: Callable[[], None]) -> None:
        try:
            with with_signals():
                tell()
        except Exception:  # the host's own code: said, and the stream goes on
            log.exception("segue: an audience's listener failed")

    def record_reoffer(self) -> None:
        """The hub's history was cut: the worker offers again what is still kept."""

        def errand() -> None:
            again = self.outbox.offer_again()
            log.warning("segue: the hub's history was cut, %d kept facts are offered again", again)

        self._errands.append(errand)
        self._wake.set()

    # -- the end -------------------------------------------------------------------------------------------------------

    def flush(self, timeout: float) -> bool:
        """Waits until everything offered was acknowledged, and what was lost is told; returns whether it was."""
        deadline = self._system.ticks() + timeout
        while self._system.ticks() < deadline:
            told = self._errands or self.outbox.unjournalled or self.outbox.waiting or not self.outbox.opened
            if not (told or self.publisher.under_way or (self.config.hub and self.outbox.untold)):
                return True
            self._wake.hurry()
            self._closing.wait(0.002)
        return False

    def close(self) -> None:
        """Journals what was offered and stops; nothing is drained to the network."""
        if self._closing.is_set():
            return
        heard = self.listeners.close(LAST_WORK)
        self.shadows.close()
        self.outbox.shut()
        self._closing.set()
        self._needed.set()
        self._wake.hurry()
        if (call := self._call) is not None:
            call.end(drained=heard)
        self._threads.join(LAST_WORK)
        if self._transport is not None:
            self._transport.close()
        if not self._threads.begun and not self.outbox.opened:
            self.outbox.open()  # no thread could ever begin: what was told is kept, as far as the disk takes it
        if not self._threads.works:  # else its disk hangs, and ends when that does
            self.outbox.close()
        elif left := self.outbox.unjournalled:
            log.error("segue: this process ends, and %d facts may never have come to its disk: that hangs", left)
        self.persistence.keep([held for held in self.machine.replica.all() if held.heard_at])
        self.persistence.close()

    def status(self) -> dict[str, Any]:
        """How this process is, as plain data."""
        machine = self.machine
        return {
            "touchpoint": self.config.touchpoint,
            "instance": machine.instance,
            "hub": self.config.hub,
            "connection": machine.state,
            "last_error": self.last_error or self.publisher.last_error,
            "plan": machine.plan.digest if machine.plan_known else "",
            "plan_refused": dict(zip(("digest", "reason"), machine.refused, strict=True)) if machine.refused[0] else {},
            "held": len(machine.replica),
            "decisions": self.decisions,
            "shadows": {name: dict(counts) for name, counts in self.shadows.counts.items()},
            "offered": self.outbox.offered,
            "delivered": self.outbox.delivered,
            "waiting": self.outbox.waiting + self.outbox.unjournalled,
            "losses": dict(self.outbox.losses),
            "outbox": str(self.outbox.path or ""),
            "trouble": self.outbox.trouble or self._threads.trouble(self.outbox.unjournalled),
            "errors": list(machine.errors),
        }
