"""The SQLite store: one file, opened by one process.

Owns the two connections: one writes and checkpoints, used by the writer thread only; one reads, used by the event loop.
A failed write or fsync makes the store refuse everything after: the hub stops rather than acknowledge what may be lost.
"""

from __future__ import annotations

import fcntl
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import apsw
from segue.domain.identifier import Identifier

from ..ports import Checkpoint, Key, Known, Row, StoreBroken, StoredPlan, StoreFull
from .schema import migrate, queries
from .unit import SqliteUnit

_CHECKPOINT_PAGES = 16_000


class StoreInUse(Exception):
    """Another process has the store open."""


class SqliteStore:
    """A store in one file.

    Args:
        path: of the file; made where it is absent.

    Raises:
        StoreInUse: another process serves it.
        StoreBroken: the file is no store, or of a newer hub.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = (path.parent / f"{path.name}.lock").open("a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise StoreInUse(f"{path} is in use by another process: stop it first, or ask it") from None
        self._sql = queries()
        self._broken: str = ""
        try:
            self._writer = self._connect()
            self._writer.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            migrate(self._writer)
            self.incarnation = self._first_incarnation()
            self._reader = self._connect()
            self._reader.execute("PRAGMA query_only = 1")
        except (apsw.Error, ValueError) as error:
            self._lock.close()
            raise StoreBroken(f"{path} cannot be opened as a store: {error}") from None
        (synchronous,) = next(self._writer.execute("PRAGMA synchronous"))
        if synchronous != 2:
            raise StoreBroken("synchronous is not FULL")

    def _connect(self) -> apsw.Connection:
        connection = apsw.Connection(str(self.path))
        connection.set_busy_timeout(5000)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -65536")
        return connection

    def _first_incarnation(self) -> str:
        for (value,) in self._writer.execute("SELECT value FROM meta WHERE name = 'incarnation'"):
            return str(value)
        value = uuid.uuid4().hex
        self._writer.execute("INSERT INTO meta (name, value) VALUES ('incarnation', ?)", (value,))
        return value

    @contextmanager
    def unit(self) -> Iterator[SqliteUnit]:
        """See `ports.Store.unit`."""
        if self._broken:
            raise StoreBroken(self._broken)
        run = self._writer.execute
        try:
            run("BEGIN IMMEDIATE")
            unit = SqliteUnit(self._writer, self._sql)
            try:
                yield unit
                unit.flush()
                run("COMMIT")
            except BaseException:  # whatever it was: nothing of the unit may stay
                if self._writer.in_transaction:
                    run("ROLLBACK")
                raise
        except apsw.FullError as error:
            raise StoreFull(f"no space left for {self.path}: {error}") from None
        except (apsw.IOError, apsw.CorruptError, apsw.NotADBError) as error:
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

    def find(self, ids: Sequence[bytes]) -> dict[bytes, int]:
        """See `ports.Store.find`."""
        run, sql = self._reader.execute, self._sql["position_of"]
        return {id_: row[0] for id_ in ids for row in run(sql, (id_,))}

    def resolve(self, identifier: Identifier) -> Known | None:
        """See `ports.Store.resolve`."""
        for row in self._reader.execute(self._sql["resolve"], (identifier.value, identifier.kind)):
            return Known(*row)
        return None

    def members(self, customer: int) -> list[tuple[Identifier, Known]]:
        """See `ports.Store.members`."""
        rows = self._reader.execute(self._sql["members"], (customer,))
        return [(Identifier(row[0], row[1]), Known(*row[2:])) for row in rows]

    def facts(self, leaves: Sequence[tuple[int, int]], after: int = 0) -> list[Row]:
        """See `ports.Store.facts`."""
        run, sql = self._reader.execute, self._sql["facts"]
        return [Row(*row) for number, bucket in leaves for row in run(sql, (bucket, number, after))]

    def read_checkpoint(self, customer: int) -> Checkpoint | None:
        """See `ports.Store.read_checkpoint`."""
        for row in self._reader.execute(self._sql["read_checkpoint"], (customer,)):
            return Checkpoint(*row)
        return None

    def customers(self, after: int, limit: int) -> list[int]:
        """See `ports.Store.customers`."""
        return [row[0] for row in self._reader.execute(self._sql["customers"], (after, limit))]

    def log(self, after: int, limit: int) -> list[tuple[int, bytes | None]]:
        """See `ports.Store.log`."""
        return [(row[0], row[1]) for row in self._reader.execute(self._sql["log"], (after, after + limit))]

    def plans(self) -> list[StoredPlan]:
        """See `ports.Store.plans`."""
        return [StoredPlan(*row) for row in self._reader.execute(self._sql["plans"])]

    def keys(self) -> list[Key]:
        """See `ports.Store.keys`."""
        return [Key(*row) for row in self._reader.execute(self._sql["keys"])]

    def counts(self) -> dict[str, int]:
        """See `ports.Store.counts`."""
        facts, identifiers, customers, checkpoints = next(self._reader.execute(self._sql["counts"]))
        size = sum(path.stat().st_size for path in self.path.parent.glob(f"{self.path.name}*"))
        return {
            "facts": facts, "identifiers": identifiers, "customers": customers, "checkpoints": checkpoints,
            "bytes": size,
        }  # fmt: skip

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
        for name, text in (("strays", "facts without a leaf"), ("lost_customers", "identifiers without a customer")):
            (found,) = next(run(sql[name]))
            if found:
                yield f"{found} {text}"

    def close(self) -> None:
        """See `ports.Store.close`."""
        self._reader.close()
        self._writer.close()
        self._lock.close()
