"""The outbox: facts not yet acknowledged, on disk before anything else happens to them.

Owns durability on the touchpoint's side (semantics FA6): one SQLite file per process, two lanes, limits by rows and
bytes, a dead table for what the hub will never take, adoption of files that a dead process left behind. Nothing is
lost silently: kept + delivered + reported lost = offered. Used by one thread, except `offer`.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

MUST: Final = 0
ANALYTICS: Final = 1
KEPT_AFTER: Final = 24 * 3600.0
"""Seconds that acknowledged facts are kept, to be offered again to a hub whose history was cut."""
KEPT_BYTES: Final = 64 * 1024 * 1024
MEMORY_ROWS: Final = 10_000
"""Rows held in memory while the disk cannot be written."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (
  number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, lane INTEGER NOT NULL, size INTEGER NOT NULL,
  at REAL NOT NULL, delivered REAL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS waiting ON facts (lane, number) WHERE delivered IS NULL;
CREATE TABLE IF NOT EXISTS dead (id BLOB PRIMARY KEY, code TEXT NOT NULL, reason TEXT NOT NULL, body BLOB NOT NULL);
"""


@dataclass(slots=True)
class Offered:
    """A fact on its way into the journal."""

    id: bytes
    body: bytes
    lane: int
    journalled: threading.Event | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A journalled fact that waits."""

    number: int
    id: bytes
    body: bytes


class Outbox:
    """One process's outbox.

    Args:
        folder: where its file goes.
        touchpoint: whose facts they are.
        rows, size: limits; beyond, the oldest of the analytics lane go, then of the other, and are counted.
    """

    def __init__(self, folder: Path, touchpoint: str, rows: int, size: int) -> None:
        self._folder = folder
        self._prefix = f"{touchpoint}."
        self._limit_rows = rows
        self._limit_bytes = size
        self._fresh: deque[Offered] = deque()
        self._memory: deque[Offered] = deque()
        self._connection: sqlite3.Connection | None = None
        self._lock: IO[str] | None = None
        self.path: Path | None = None
        self.offered = 0
        self.delivered = 0
        self.waiting = 0
        self.bytes = 0
        self.losses: dict[str, int] = {}
        self.trouble = ""
        self._closed = False
        self._taken: set[int] = set()

    def offer(self, fact: Offered) -> None:
        """Takes a fact; from any thread, without I/O. Journalled by the next `journal`."""
        self._fresh.append(fact)

    def open(self) -> None:
        """Makes the file and adopts orphans. Where the disk cannot be written, facts wait in memory."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            name = f"{self._prefix}{os.getpid()}.{uuid.uuid4().hex[:8]}.outbox"
            self.path = self._folder / name
            self._lock = _locked(self._lock_path(self.path))
            connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(_SCHEMA)
            self._connection = connection
            self.trouble = ""
            self._adopt()
        except (OSError, sqlite3.Error) as error:
            self.trouble = f"{type(error).__name__}: {error}"

    def reopen(self) -> None:
        """Tries again where the disk could not be written at first."""
        if self._connection is None and not self._closed:
            self.open()

    @staticmethod
    def _lock_path(path: Path) -> Path:
        return path.with_suffix(".lock")

    def _adopt(self) -> None:
        """Takes over what dead processes left: copied durably, then their files removed."""
        assert self._connection is not None
        for path in sorted(self._folder.glob(f"{self._prefix}*.outbox")):
            if path == self.path:
                continue
            try:
                lock = _locked(self._lock_path(path))
            except OSError:
                continue  # its process lives
            try:
                with sqlite3.connect(path) as other:
                    rows = other.execute("SELECT id, body, lane FROM facts WHERE delivered IS NULL ORDER BY number")
                    orphans = [Offered(id_, body, lane) for id_, body, lane in rows]
                other.close()
                self._insert(orphans)
                self.offered += len(orphans)
                for suffix in ("", "-wal", "-shm"):
                    path.with_name(path.name + suffix).unlink(missing_ok=True)
                self._lock_path(path).unlink(missing_ok=True)
            except sqlite3.Error as error:
                self.trouble = f"{path.name}: {error}"
            finally:
                lock.close()

    def journal(self) -> int:
        """Writes what was offered to disk, in one commit; returns how many."""
        batch = list(self._memory)
        self._memory.clear()
        taken = 0
        while self._fresh:
            batch.append(self._fresh.popleft())
            taken += 1
        if not batch:
            return 0
        self.offered += taken
        if self._connection is None:
            self._hold(batch)
            return 0
        try:
            self._insert(batch)
        except sqlite3.Error as error:
            self.trouble = f"{type(error).__name__}: {error}"
            self._hold(batch)
            return 0
        self.trouble = ""
        for fact in batch:
            if fact.journalled is not None:
                fact.journalled.set()
        self._bound()
        return len(batch)

    def _hold(self, batch: Iterable[Offered]) -> None:
        self._memory.extend(batch)
        while len(self._memory) > MEMORY_ROWS:
            self._memory.popleft()
            self._lose("disk", 1)

    def _insert(self, batch: Sequence[Offered]) -> None:
        assert self._connection is not None
        now = time.time()
        run = self._connection
        run.execute("BEGIN IMMEDIATE")
        try:
            before = run.total_changes
            run.executemany(
                "INSERT OR IGNORE INTO facts (id, lane, size, at, body) VALUES (?, ?, ?, ?, ?)",
                [(fact.id, fact.lane, len(fact.body), now, fact.body) for fact in batch],
            )
            run.execute("COMMIT")
        except sqlite3.Error:
            if run.in_transaction:
                run.execute("ROLLBACK")
            raise
        self.waiting += run.total_changes - before
        self.bytes += sum(len(fact.body) for fact in batch)

    def lost(self, reason: str) -> None:
        """A fact was offered and could not even be written down: counted."""
        self.offered += 1
        self._lose(reason, 1)

    def _lose(self, reason: str, count: int) -> None:
        self.losses[reason] = self.losses.get(reason, 0) + count

    def _bound(self) -> None:
        """Beyond the limits the oldest go: analytics first."""
        if self.waiting <= self._limit_rows and self.bytes <= self._limit_bytes:
            return
        assert self._connection is not None
        over = max(self.waiting - self._limit_rows, 0)
        if self.bytes > self._limit_bytes:
            over = max(over, self.waiting // 10)
        taken = ",".join(str(number) for number in self._taken)
        gone = self._connection.execute(
            "DELETE FROM facts WHERE number IN (SELECT number FROM facts WHERE delivered IS NULL"  # noqa: S608  # numbers
            f" AND number NOT IN ({taken})"
            " ORDER BY lane DESC, number LIMIT ?)",
            (over,),
        ).rowcount
        self.waiting -= gone
        (self.bytes,) = self._connection.execute("SELECT coalesce(sum(size), 0) FROM facts").fetchone()
        self._lose("outbox_full", gone)

    def take(self, rows: int, size: int) -> list[Row]:
        """The next that wait, at most so many and so large together: the `must` lane first."""
        if self._connection is None:
            # Without a disk nothing waits for it: what is held in memory goes out as it is.
            return [Row(0, fact.id, fact.body) for fact in list(self._memory)[:rows]]
        found: list[Row] = []
        total = 0
        statement = "SELECT number, id, body FROM facts WHERE delivered IS NULL ORDER BY lane, number LIMIT ?"
        for number, id_, body in self._connection.execute(statement, (rows,)):
            total += len(body)
            if found and total > size:
                break
            found.append(Row(number, id_, body))
        self._taken = {row.number for row in found}
        return found

    def settle(self, delivered: Sequence[Row], refused: Sequence[tuple[Row, str, str]]) -> None:
        """The hub answered: delivered ones are kept a while, refused ones go to the dead table."""
        self._taken = set()
        gone = {row.id for row in delivered} | {row.id for row, _, _ in refused}
        held = {fact.id for fact in self._memory if fact.id in gone}
        if held:
            self._memory = deque(fact for fact in self._memory if fact.id not in gone)
        if self._connection is None:
            # What memory had no room for meanwhile was counted as lost already.
            self.delivered += sum(row.id in held for row in delivered)
            for row, code, _ in refused:
                if row.id in held:
                    self._lose(f"rejected:{code}", 1)
            return
        run, now = self._connection, time.time()
        run.execute("BEGIN IMMEDIATE")
        settled = 0
        try:
            for row in delivered:
                settled += run.execute(
                    "UPDATE facts SET delivered = ? WHERE id = ? AND delivered IS NULL", (now, row.id)
                ).rowcount
            for row, code, reason in refused:
                run.execute("INSERT OR REPLACE INTO dead VALUES (?, ?, ?, ?)", (row.id, code, reason, row.body))
                settled += run.execute("DELETE FROM facts WHERE id = ?", (row.id,)).rowcount
            run.execute("COMMIT")
        except sqlite3.Error:
            if run.in_transaction:
                run.execute("ROLLBACK")
            raise  # nothing was counted: all of it is offered again, and is a duplicate there
        for _, code, _ in refused:
            self._lose(f"rejected:{code}", 1)
        self.delivered += len(delivered)
        self.waiting -= settled

    def forget(self) -> None:
        """Lets go of what was acknowledged long ago, or is too much."""
        if self._connection is None:
            return
        run = self._connection
        run.execute("DELETE FROM facts WHERE delivered < ?", (time.time() - KEPT_AFTER,))
        (kept,) = run.execute("SELECT coalesce(sum(size), 0) FROM facts WHERE delivered IS NOT NULL").fetchone()
        if kept > KEPT_BYTES:
            run.execute(
                "DELETE FROM facts WHERE number IN (SELECT number FROM facts WHERE delivered IS NOT NULL"
                " ORDER BY number LIMIT (SELECT count(*) / 2 FROM facts WHERE delivered IS NOT NULL))"
            )
        (self.bytes,) = run.execute("SELECT coalesce(sum(size), 0) FROM facts").fetchone()

    def offer_again(self) -> int:
        """The hub's history was cut: what was acknowledged and is still kept waits again; returns how many."""
        if self._connection is None:
            return 0
        count = self._connection.execute("UPDATE facts SET delivered = NULL WHERE delivered IS NOT NULL").rowcount
        self.waiting += count
        self.delivered -= count
        return count

    def dead(self) -> Iterator[tuple[bytes, str, str]]:
        """What the hub will never take: (id, code, reason)."""
        if self._connection is not None:
            yield from self._connection.execute("SELECT id, code, reason FROM dead ORDER BY id")

    @property
    def unjournalled(self) -> int:
        """Facts offered that are not on disk yet."""
        return len(self._fresh) + len(self._memory)

    def close(self) -> None:
        """Writes what was offered; an outbox with nothing left in it is removed."""
        self.journal()
        self._closed = True
        if self._memory:
            self._lose("disk", len(self._memory))
            self._memory.clear()
        if self._connection is None:
            return
        empty = self.waiting == 0 and not list(self.dead())
        self._connection.close()
        self._connection = None
        if empty and self.path is not None:
            for suffix in ("", "-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            self._lock_path(self.path).unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()


def _locked(path: Path) -> IO[str]:
    """An exclusive lock that dies with its process.

    Raises:
        OSError: another process holds it.
    """
    lock = path.open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise
    return lock
