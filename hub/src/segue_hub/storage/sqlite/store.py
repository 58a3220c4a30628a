"""The SQLite store: one file, opened by one process.

Owns the two connections: one writes and checkpoints, used by the writer thread only; one reads, used by the event loop.
A failed write or fsync makes the store refuse everything after: the hub stops rather than acknowledge what may be lost.
"""

from __future__ import annotations

import fcntl
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO

import apsw
from segue.domain.identifier import Identifier
from segue.folder import inode, make_folder

from ..ports import (
    CUT,
    Checkpoint,
    IdTaken,
    Key,
    Known,
    PlanEntry,
    Row,
    StoreBroken,
    StoredBook,
    StoredPlan,
    StoreFull,
    StoreMissing,
)
from .leaf_index import LeafIndex
from .ledger import LedgerReader
from .link_reader import LinkReader
from .schema import migrate, queries
from .unit import SqliteUnit

_CHECKPOINT_PAGES = 4_000
"""Of the write-ahead log, before it is written back. A unit waits for that: 50 ms with 16,000, 20 ms with 4,000."""

_WRITER_CACHE, _READER_CACHE = 32 * 1024, 16 * 1024
"""Kilobytes of pages that a connection holds. What is beyond is read from the system's cache, in microseconds."""


class StoreInUse(Exception):
    """Another process has the store open."""


def lock_store(path: Path) -> IO[str]:
    """The lock of a store's file; ends when it is closed, or with its process.

    Raises:
        StoreInUse: another process holds it.
    """
    make_folder(path.parent)
    lock = (path.parent / f"{path.name}.lock").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise StoreInUse(f"{path} is in use by another process: stop it first, or ask it") from None
    return lock


class SqliteStore(LinkReader):
    """A store in one file.

    Args:
        path: of the file; made where it is absent.

    Raises:
        StoreInUse: another process serves it.
        StoreBroken: the file is no store, or of a newer hub.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = lock_store(path)
        self._sql = queries()
        self._broken: str = ""
        self._full = False
        try:
            self._writer = self._connect(_WRITER_CACHE)
            self._log_pages = 0
            self._writer.set_wal_hook(self._grew)
            migrate(self._writer)
            self.incarnation = self._first_incarnation()
            self._leaf_index = LeafIndex(self._writer.execute, self._sql)
            self._reader = self._connect(_READER_CACHE)
            self._reader.execute("PRAGMA query_only = 1")
            super().__init__(self._reader.execute, self._sql)
            self.ledger = LedgerReader(self._reader.execute, self._sql)
            files = (path, path.with_name(f"{path.name}-wal"))
            self._files = {file: found for file in files if (found := inode(file)) is not None}
        except (apsw.Error, ValueError) as error:
            self._lock.close()
            raise StoreBroken(f"{path} cannot be opened as a store: {error}") from None
        (synchronous,) = next(self._writer.execute("PRAGMA synchronous"))
        if synchronous != 2:
            raise StoreBroken("synchronous is not FULL")

    def _connect(self, cache: int) -> apsw.Connection:
        connection = apsw.Connection(str(self.path))
        connection.set_busy_timeout(5000)
        # Else a statement is prepared anew whenever another value is bound to it, lest a value of its own have a better
        # plan: there are no statistics here that could say so, and it costs thrice what most of them do.
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA cache_size = -{cache}")
        return connection

    def _grew(self, connection: apsw.Connection, name: str, pages: int) -> int:
        self._log_pages = pages
        return apsw.SQLITE_OK

    def _checkpoint(self) -> None:
        """Writes the log back where it became long: SQLite's own doing so would not tell that the disk failed."""
        if self._log_pages >= _CHECKPOINT_PAGES:
            with suppress(apsw.FullError, apsw.BusyError, apsw.LockedError):  # the log goes on; the next unit tries
                self._writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    def _first_incarnation(self) -> str:
        for (value,) in self._writer.execute("SELECT value FROM meta WHERE name = 'incarnation'"):
            return str(value)
        value = uuid.uuid4().hex
        self._writer.execute("INSERT INTO meta (name, value) VALUES ('incarnation', ?)", (value,))
        return value

    def _stand(self) -> None:
        """SQLite would go on in a file that has no name any more, and what it wrote would go with this process."""
        for file, found in self._files.items():
            if inode(file) != found:
                told = f"{file} was removed or moved while it is served: nothing is taken until it is back"
                raise StoreMissing(told)

    @contextmanager
    def unit(self) -> Iterator[SqliteUnit]:
        """See `ports.Store.unit`."""
        if self._broken:
            raise StoreBroken(self._broken)
        run = self._writer.execute
        try:
            if self._full:  # the log itself may be what takes the space: once it is written back, it begins anew
                self._full, self._log_pages = False, _CHECKPOINT_PAGES
            self._stand()
            self._checkpoint()  # not after a commit: what is durable is acknowledged, and folded, meanwhile
            run("BEGIN IMMEDIATE")
            unit = SqliteUnit(self._writer, self._sql, self._leaf_index)
            try:
                yield unit
                unit.flush()
                run("COMMIT")
            except BaseException:  # whatever it was: nothing of the unit may stay
                if self._writer.in_transaction:
                    run("ROLLBACK")
                raise
        except apsw.ConstraintError as error:
            if "facts.id" not in str(error):
                raise
            raise IdTaken(str(error)) from None
        except apsw.FullError as error:
            self._full = True
            raise StoreFull(f"no space left for {self.path}: {error}") from None
        except (apsw.IOError, apsw.CorruptError, apsw.NotADBError) as error:
            if getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_SHMSIZE:  # the index of the log cannot grow
                self._full = True
                raise StoreFull(f"no space left for {self.path}: {error}") from None
            self._broken = f"{self.path}: {error}"
            raise StoreBroken(self._broken) from error

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """See `ports.Store.snapshot`."""
        if self._reader.in_transaction:
            yield
            return
        self._reader.execute("BEGIN")
        try:
            yield
        finally:
            self._reader.execute("COMMIT")

    def head(self) -> tuple[int, int]:
        """See `ports.Store.head`."""
        position, number = next(self._reader.execute(self._sql["head"]))
        return position, number

    def known_at(self, instant: int) -> int:
        """See `ports.Store.known_at`."""
        with self.snapshot():
            run, sql, (last, _) = self._reader.execute, self._sql, self.head()
            before, upto = 0, last
            while before < upto:
                middle = (before + upto) // 2
                # The first fact beyond the middle: if it was there, so were all before it.
                position, received_at = next(run(sql["next_received"], (middle,)), (last + 1, instant + 1))
                before, upto = (position, upto) if received_at <= instant else (before, middle)
            # What is no fact of a customer came with the next one; a plan says itself when it was pushed.
            first_late = [row[0] for row in run(sql["next_received"], (before,))]
            first_late += [row[0] for row in run(sql["next_pushed"], (instant,)) if row[0] is not None]
            return int(min([last + 1, *first_late])) - 1

    def find(self, ids: Sequence[bytes]) -> dict[bytes, int]:
        """See `ports.Store.find`."""
        run, sql = self._reader.execute, self._sql["position_of"]
        return {id_: row[0] for id_ in ids for row in run(sql, (id_,))}

    def resolve(self, identifier: Identifier) -> Known | None:
        """See `ports.Store.resolve`."""
        for row in self._reader.execute(self._sql["resolve"], (identifier.value, identifier.kind)):
            return Known(*row)
        return None

    def read_checkpoint(self, customer: int) -> Checkpoint | None:
        """See `ports.Store.read_checkpoint`."""
        for row in self._reader.execute(self._sql["read_checkpoint"], (customer,)):
            return Checkpoint(*row)
        return None

    def whole_checkpoint(self, customer: int) -> tuple[Checkpoint, int] | None:
        """See `ports.Store.whole_checkpoint`."""
        run, sql = self._reader.execute, self._sql
        with self.snapshot():  # four small statements take a third of what one that joins them does
            kept = run(sql["read_checkpoint"], (customer,)).get
            if kept is None or run(sql["has_eras"], (customer,)).get:
                return None
            newest = -1
            for number, bucket, stated, moved in run(sql["held_by"], (customer,)):
                if stated == CUT or run(sql["came_after"], (bucket, number, kept[0])).get:
                    return None
                newest = max(newest, moved)
        return (Checkpoint(*kept), newest) if newest >= 0 else None

    def newest(self, customer: int) -> tuple[int, int] | None:
        """See `ports.Store.newest`."""
        for position, moved, plain in self._reader.execute(self._sql["newest"], (customer,)):
            return (position, moved) if plain else None
        return None

    def customers(self, after: int, limit: int) -> list[int]:
        """See `ports.Store.customers`."""
        run, sql = self._reader.execute, self._sql
        found = {row[0] for name in ("customers", "customers_of_eras") for row in run(sql[name], (after, limit))}
        return sorted(found)[:limit]

    def verdicts(self) -> dict[str, int]:
        """See `ports.Store.verdicts`."""
        return dict(self._reader.execute(self._sql["verdicts"]))

    def log(self, after: int, limit: int) -> list[tuple[int, bytes | None]]:
        """See `ports.Store.log`."""
        return [(row[0], row[1]) for row in self._reader.execute(self._sql["log"], (after, after + limit))]

    def holding(self, after: int, upto: int, since: int, until: int, text: bytes) -> list[int]:
        """See `ports.Store.holding`."""
        rows = self._reader.execute(self._sql["holding"], (after, upto, since, until, text))
        return [int(leaf) for (leaf,) in rows]

    def workspace_facts(self) -> list[Row]:
        """See `ports.Store.workspace_facts`."""
        return [Row(*row) for row in self._reader.execute(self._sql["workspace_facts"])]

    def plans(self) -> list[PlanEntry]:
        """See `ports.Store.plans`."""
        return [PlanEntry(*row) for row in self._reader.execute(self._sql["plans"])]

    def plan(self, number: int) -> StoredPlan:
        """See `ports.Store.plan`."""
        for row in self._reader.execute(self._sql["plan"], (number,)):
            return StoredPlan(*row)
        raise LookupError(f"there is no plan {number}")

    def keys(self) -> list[Key]:
        """See `ports.Store.keys`."""
        return [Key(*row) for row in self._reader.execute(self._sql["keys"])]

    def books(self) -> list[StoredBook]:
        """See `ports.Store.books`."""
        return [StoredBook(*row) for row in self._reader.execute(self._sql["books"])]

    def counts(self) -> dict[str, int]:
        """See `ports.Store.counts`."""
        with closing(apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            connection.set_busy_timeout(5000)
            facts, identifiers, customers, checkpoints, linked = next(connection.execute(self._sql["counts"]))
        size = sum(path.stat().st_size for path in self.path.parent.glob(f"{self.path.name}*"))
        return {
            "facts": facts, "identifiers": identifiers, "customers": customers, "checkpoints": checkpoints,
            "linked": linked, "bytes": size,
        }  # fmt: skip

    def linked(self, after: int, limit: int) -> list[int]:
        """See `ports.Store.linked`."""
        return [row[0] for row in self._reader.execute(self._sql["linked"], (after, limit))]

    def outdated(self, plan: str) -> int:
        """See `ports.Store.outdated`."""
        return int(next(self._reader.execute(self._sql["outdated"], (plan,)))[0])

    def checkpointed(self, after: int, limit: int) -> list[tuple[int, str]]:
        """See `ports.Store.checkpointed`."""
        return [(row[0], row[1]) for row in self._reader.execute(self._sql["checkpointed"], (after, limit))]

    def noted(self, name: str) -> str:
        """See `ports.Store.noted`."""
        return next((str(value) for (value,) in self._reader.execute(self._sql["noted"], (name,))), "")

    def check(self) -> Iterator[str]:
        """See `ports.Store.check`."""
        run, sql = self._reader.execute, self._sql
        for (message,) in run("PRAGMA integrity_check"):
            if message != "ok":
                yield f"SQLite: {message}"
        count, distinct, lowest, highest = next(run(sql["positions"]))
        if count != distinct:
            yield f"{count - distinct} positions of the change log stand twice"
        if count and (lowest != 1 or highest != distinct):
            yield f"the change log has {highest - distinct} holes between 1 and {highest}"
        for name, text in (
            ("strays", "facts without a leaf"), ("lost_customers", "identifiers without a customer"),
            ("twins", "identifiers that stand there twice"),
            ("lone_workspace_facts", "workspace facts without a change"),
            ("unindexed", "facts that their leaf does not find, or finds twice"),
        ):  # fmt: skip
            (found,) = next(run(sql[name]))
            if found:
                yield f"{found} {text}"
        yield from self.ledger.ledger_faults()

    def close(self) -> None:
        """See `ports.Store.close`."""
        if self._broken:
            # What the disk said no to stays in the log, for the next process to read from the disk itself.
            for connection in (self._reader, self._writer):
                connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self._reader.close()
        self._writer.close()
        self._lock.close()
