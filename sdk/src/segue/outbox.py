"""The outbox: facts not yet acknowledged, on disk before anything else happens to them.

Owns durability on the touchpoint's side (semantics FA6): one journal per process with two lanes, each a producer with
its own ordinals, limits by rows and bytes, memory where the disk cannot be written, adoption of what dead processes
left. Nothing is lost silently: kept + delivered + reported lost = offered. Used by one thread, except where it says
any.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .adoption import remove
from .clock import SYSTEM, System
from .file_lock import FileLock
from .fork import unforked
from .journal import LANES, Journal
from .losses import Losses
from .offered import Offered, Row, Source, written
from .ordinals import Lost, Ordinals, Reservation, Statement
from .outbox_file import OutboxFile

log = logging.getLogger("segue")

__all__ = ["ANALYTICS", "MUST", "Offered", "Outbox", "Row"]

MUST: Final = 0
ANALYTICS: Final = 1
MEMORY_ROWS: Final = 10_000
"""Rows held in memory while the disk cannot be written."""
FRESH_ROWS: Final = 200_000
"""Facts that may wait to be journalled, where a disk hangs; what is offered beyond is lost, and counted."""
EXPIRED_AT_ONCE: Final = 10_000
"""Facts let go of at once for their age."""
EPOCH: Final = 1_577_836_800.0
"""2020, in seconds: who claims to be older has a clock that was not set."""
STEPPED: Final = 3600.0
"""Seconds by which the wall clock and the running time may part ways before no age is believed any more."""


class Outbox:
    """One process's outbox.

    Args:
        folder: where its file goes.
        touchpoint: whose facts they are.
        rows, size: limits; beyond, the oldest of the analytics lane go, then of the other, and are counted.
        age: seconds; who waits longer goes, and is counted.
        system: time, and chance for the name.

    Attributes:
        name: of the file, and of the producers; no other process has it, before or after.
        offered, delivered: facts since the process began, adopted ones included.
        losses: facts that were lost, by reason.
        opened: whether that was tried, and what dead processes left was adopted.
        closed: whether it takes no more.
        trouble: why the disk cannot be written, if so.
    """

    def __init__(
        self, folder: Path, touchpoint: str, rows: int, size: int, age: float = math.inf, system: System = SYSTEM
    ) -> None:  # fmt: skip
        self._system = system
        self._prefix = f"{touchpoint}."
        self.name = f"{self._prefix}{os.getpid()}.{system.chance(8).hex()}"
        self._limit_rows = rows
        self._limit_bytes, self._limit_age = size, age
        self._began = system.now() / 1e6 - system.ticks()
        # Reentrant: a host's signal handler may tell a fact while the same thread is telling one.
        self._gate = threading.RLock()
        self._fresh: deque[tuple[Source | Offered, int, threading.Event | None, int]] = deque()
        self._in_hand = 0
        self._memory: deque[Offered] = deque()
        self._ordinals = tuple(Ordinals(f"{self.name}.{lane}") for lane in LANES)
        self._lost = Losses()
        self._file = OutboxFile(folder, self.name, system)
        self._journal: Journal | None = None
        self.opened = False
        self.offered = 0
        self.delivered = 0
        self.losses = self._lost.counts
        self.trouble = ""
        self.closed = self._ended = False
        self._left = 0
        self._taken: dict[int, int] = {}

    # -- any thread ----------------------------------------------------------------------------------------------------

    def tell(self, source: Source | Offered, lane: int, journalled: threading.Event | None = None) -> bool:
        """Takes a fact, or what makes one, for the next `journal`; False where it came too late, or too fast."""
        fresh = self._fresh
        with self._gate:
            if not self.closed and len(fresh) < FRESH_ROWS:
                self.offered += 1
                fresh.append((source, lane, journalled, self._ordinals[lane].take()))
                return True
        self.lost("closed" if self.closed else "overrun")
        return False

    def shut(self) -> None:
        """Takes no more: what is offered from here on is lost, and counted. What was offered will be journalled."""
        with self._gate:
            self.closed = True

    def lost(self, reason: str) -> None:
        """A fact was offered and could not even be taken: counted."""
        with self._gate:
            self.offered += 1
        self._lost.count(reason)

    @property
    def unjournalled(self) -> int:
        """Facts offered that are not on disk yet."""
        with self._gate:
            return len(self._fresh) + self._in_hand + len(self._memory)

    @property
    def waiting(self) -> int:
        """Facts on disk that the hub has not acknowledged."""
        journal = self._journal
        return sum(dict(journal.waiting).values()) if journal is not None else self._left

    @property
    def path(self) -> Path | None:
        """Of its file, where there is one."""
        return self._file.path

    @property
    def untold(self) -> bool:
        """Whether something is to be told to the hub of ordinals that are lost, or of producers that ended."""
        journal = self._journal
        return journal is not None and (bool(self._lost.runs) or journal.untold)

    # -- opening -------------------------------------------------------------------------------------------------------

    @unforked
    def open(self) -> None:
        """Makes the file and adopts orphans. Where the disk cannot be written, facts wait in memory."""
        try:
            self._journal = self._file.open()
            self.trouble = ""
            for path, lock in self._file.orphans(self._prefix):
                self._adopt(path, lock)
        except (OSError, sqlite3.Error) as error:
            self.trouble = f"{type(error).__name__}: {error}"
        self.opened = True

    def _adopt(self, path: Path, lock: FileLock) -> None:
        assert self._journal is not None
        try:
            adopted = self._journal.adopt(path)
            with self._gate:
                self.offered += adopted
            remove(path, lock)
        except (OSError, sqlite3.Error, ValueError) as error:  # the last: what SQLite says of torn text is no text
            self.trouble = f"{path.name}: {error}"
        finally:
            lock.close()

    def reopen(self) -> None:
        """Tries again where the disk could not be written at first."""
        if self._journal is None and not self.closed:
            self.open()

    # -- journalling ---------------------------------------------------------------------------------------------------

    @unforked
    def journal(self) -> int:
        """Writes what was offered to disk, in one commit; returns how many."""
        with self._gate:
            fresh = list(self._fresh)
            self._fresh.clear()
            self._in_hand = len(fresh)
            numbers = [ordinal or self._ordinals[lane].number() for _, lane, _, ordinal in fresh]
            for ordinals in self._ordinals:
                ordinals.numbered()
        for (source, lane, journalled, _), number in zip(fresh, numbers, strict=True):
            fact = source if isinstance(source, Offered) else Offered(b"", b"", lane, journalled, source)
            fact.producer, fact.ordinal = self._ordinals[lane].producer, number
            if self._written(fact):
                self._memory.append(fact)
        self._in_hand = 0
        if not (self._memory or self._lost.runs):
            return 0
        if self._journal is None or not self._stands():
            self._hold()
            return 0
        batch = list(self._memory)
        try:
            self._insert(batch)
        except sqlite3.Error as error:
            self.trouble = f"{type(error).__name__}: {error}"
            self._hold()
            return 0
        self.trouble = ""
        for fact in batch:
            if fact.journalled is not None:
                fact.journalled.set()
        self._bound()
        return len(batch)

    def _stands(self) -> bool:
        """Whether what is journalled will be found; what a file holds that was removed is written anew."""
        if self._journal is not None and self._file.gone:
            removed = self.path
            try:
                self._file.write_anew(self._journal)
            except (OSError, sqlite3.Error) as error:
                self.trouble = f"{removed} was removed while it is in use. {type(error).__name__}: {error}"
                return False
            log.warning("segue: %s was removed while it is in use; it was written anew as %s", removed, self.path)
        return True

    def _written(self, fact: Offered) -> bool:
        """Has a fact write itself down; one that cannot be is lost, and the next one is not kept waiting."""
        try:
            if fact.source is not None:
                fact.id, fact.body = written(fact.source)
                fact.source = None
        except Exception:
            log.exception("segue: a fact cannot be written down and is lost")
            self._lost.of(fact, "unwritable")
            return False
        return True

    def _hold(self) -> None:
        while len(self._memory) > MEMORY_ROWS:
            self._lost.of(self._memory.popleft(), "disk")

    def _insert(self, batch: Sequence[Offered]) -> None:
        """Writes a batch, what it needs of ordinals, and what was lost meanwhile."""
        assert self._journal is not None
        lost = list(self._lost.runs)
        counts = [sum(fact.lane == lane for fact in batch) for lane in range(len(LANES))]
        needed = [
            Reservation(ordinals.producer, ordinals.handed_out, ordinals.needs(count))
            for ordinals, count in zip(self._ordinals, counts, strict=True)
            if count or any(one.producer == ordinals.producer for one in lost)
        ]
        known = self._journal.write(batch, needed, lost)
        self._memory.clear()
        self._lost.told(len(lost))
        with self._gate:
            self.offered -= known  # the same fact twice is one fact
            for ordinals in self._ordinals:
                for reservation in needed:
                    if reservation.producer == ordinals.producer:
                        ordinals.grant(reservation.reserved)

    def _bound(self) -> None:
        """Beyond the limits the oldest go: analytics first. A batch under way is about to leave, and not counted."""
        journal = self._journal
        assert journal is not None
        while True:
            waiting = self.waiting - len(self._taken)
            over = max(waiting - self._limit_rows, 0)
            if journal.bytes - sum(self._taken.values()) > self._limit_bytes:
                over = max(over, waiting // 10, 1)
            try:
                dropped = journal.drop(over, self._taken, "outbox_full") if over else 0
            except sqlite3.Error as error:
                self.trouble, dropped = f"{type(error).__name__}: {error}", 0
            if not dropped:
                return
            self._lost.count("outbox_full", dropped)

    @unforked
    def rest(self) -> None:
        """Now and then: an idle lane gives back what it reserved, so that a kill leaves no doubt about it."""
        if self._journal is None:
            return
        self._stands()
        with self._gate:
            idle = [ordinals for ordinals in self._ordinals if ordinals.idle()]
            for ordinals in idle:
                ordinals.give_back()
        if idle:
            with contextlib.suppress(sqlite3.Error):  # then the disk says more than needed, which is as safe
                self._journal.reserve([Reservation(o.producer, o.handed_out, o.reserved) for o in idle])

    # -- publishing ----------------------------------------------------------------------------------------------------

    @unforked
    def take(self, rows: int, size: int) -> list[Row]:
        """The next that wait, at most so many and so large together: the `must` lane first."""
        found = self._journal.take(rows, size) if self._journal is not None else []
        self._taken = {row.number: len(row.body) for row in found}
        if not found and (self._journal is None or self.trouble):
            # Without a disk nothing waits for it: what is held in memory goes out as it is.
            held = list(self._memory)[:rows]
            return [Row(0, fact.id, fact.body, fact.producer, fact.ordinal) for fact in held]
        return found

    def unanswered(self) -> None:
        """Nothing is under way any more, and nobody knows what became of it: it all waits on."""
        self._taken = {}

    @unforked
    def settle(self, delivered: Sequence[Row], refused: Sequence[tuple[Row, str, str]], *, heard: bool = True) -> None:
        """The hub answered: delivered ones are kept a while, refused ones go to the dead table.

        Args:
            delivered: are in its log.
            refused: never will be, each with code and reason.
            heard: whether the hub itself refused them; else it is told that their ordinals are lost.
        """
        self._taken = {}
        unheard = [] if heard else [Lost(r.producer, r.ordinal, r.ordinal, code.lower()) for r, code, _ in refused]
        ours: set[bytes] = set()
        held = {fact.id for fact in self._memory}
        if self._journal is not None and (refused or any(row.id not in held for row in delivered)):
            # Where it raises nothing was counted: all of it is offered again, and is a duplicate there.
            ours = self._journal.settle(delivered, refused, unheard)
        else:
            self._lost.hold(unheard)
        gone = {row.id for row in delivered} | {row.id for row, _, _ in refused}
        ours |= held & gone
        self._memory = deque(fact for fact in self._memory if fact.id not in gone)
        # What memory had no room for meanwhile was counted as lost already.
        self.delivered += sum(row.id in ours for row in delivered)
        for row, code, _ in refused:
            if row.id in ours:
                self._lost.count(f"rejected:{code}", 1)

    @unforked
    def statement(self) -> Statement | None:
        """What is to be told of ordinals that are lost, and of producers that ended."""
        return self._journal.statement() if self._journal is not None else None

    @unforked
    def told(self, statement: Statement) -> None:
        """The hub has a statement."""
        if self._journal is not None:
            self._journal.told(statement)

    @unforked
    def forget(self) -> None:
        """Lets go of what was acknowledged long ago, is too much, or waits too long."""
        journal, now = self._journal, self._system.now() / 1e6
        if journal is None:
            return
        journal.forget()
        # A clock that was set while we ran says nothing of how long anything waits.
        if math.isfinite(self._limit_age) and abs(now - self._system.ticks() - self._began) < STEPPED:
            until = now - self._limit_age
            while dropped := journal.drop(EXPIRED_AT_ONCE, self._taken, "outbox_age", EPOCH, until):
                self._lost.count("outbox_age", dropped)

    @unforked
    def offer_again(self) -> int:
        """The hub's history was cut: what was acknowledged and is still kept waits again; returns how many."""
        count = self._journal.offer_again() if self._journal is not None else 0
        self.delivered -= count
        return count

    @unforked
    def dead(self) -> list[tuple[bytes, str, str]]:
        """What the hub will never take: (id, code, reason)."""
        return self._journal.dead() if self._journal is not None else []

    # -- the end -------------------------------------------------------------------------------------------------------

    @unforked
    def close(self) -> None:
        """Writes what was offered, once; an outbox with nothing left in it is removed."""
        if self._ended:
            return
        self._ended = True
        self.shut()
        self.journal()
        while self._memory:
            self._lost.of(self._memory.popleft(), "disk")
        self._left = self.waiting
        if not self._stands() and self._left:
            log.error("segue: %d facts that waited are lost (%s)", self._left, self.trouble)
            self._lost.count("disk", self._left)
            self._left = 0
        journal, self._journal = self._journal, None
        empty = True
        if journal is not None:
            try:
                used = [ordinals for ordinals in self._ordinals if ordinals.handed_out]
                # It ends in good order: nothing was handed out beyond what is known.
                journal.write([], [Reservation(o.producer, o.handed_out, o.handed_out) for o in used], self._lost.runs)
                empty = journal.empty
            except sqlite3.Error as error:
                self.trouble, empty = f"{type(error).__name__}: {error}", False
            journal.close()
        self._file.close(empty=empty)
