"""A unit of writing on SQLite: one transaction of the writing connection.

Owns the translation of `ports.Unit` into prepared statements. New rows are collected and written together at the end.
Rows are read and written many by one statement: each step of
a statement lets go of the interpreter, and may wait long to get it back from a busy event loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final

import apsw
from segue.domain.identifier import Identifier

from ..ports import Checkpoint, Key, Known, Row, StoredPlan

MANY: Final = (64, 8, 1)
"""Rows of one statement: few different ones, so that all stay prepared."""


@lru_cache(maxsize=64)
def _listing(sql: str, count: int) -> str:
    """The statement for `count` values in its `IN (?)`."""
    return sql.replace("IN (?)", f"IN ({', '.join('?' * count)})")


@lru_cache(maxsize=64)
def _inserting(sql: str, count: int) -> str:
    """The statement for `count` rows in its `VALUES`."""
    head, _, row = sql.partition("VALUES ")
    return f"{head}VALUES {', '.join([row] * count)}"


def _in_parts(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """The rows in parts as long as `MANY` allows."""
    start = 0
    for size in MANY:
        while len(rows) - start >= size:
            yield rows[start : start + size]
            start += size


class SqliteUnit:
    """See `ports.Unit`."""

    def __init__(self, connection: apsw.Connection, sql: dict[str, str]) -> None:
        self._run = connection.execute
        self._run_many = connection.executemany
        self._sql = sql
        self._facts: list[tuple[int, bytes, int, int, int, int, int, bytes]] = []
        self._identifiers: list[tuple[int, str, str, int, int]] = []
        self._checkpoints: list[tuple[int, int, str, bytes]] = []

    def flush(self) -> None:
        """Writes what was collected."""
        self._insert("add_identifier", self._identifiers)
        self._insert("append", self._facts)
        if self._checkpoints:
            self._checkpoints.sort()
            self._run_many(self._sql["checkpoint"], self._checkpoints)

    def _insert(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        sql = self._sql[statement]
        for part in _in_parts(rows):
            self._run(_inserting(sql, len(part)), tuple(chain.from_iterable(part)))

    def find(self, ids: Sequence[bytes]) -> dict[bytes, Row]:
        """See `ports.Unit.find`."""
        run, sql = self._run, self._sql["find"]
        return {
            id_: Row(position, body)
            for part in _in_parts(ids)
            for id_, position, body in run(_listing(sql, len(part)), part)
        }

    def resolve(self, identifiers: Iterable[Identifier]) -> dict[Identifier, Known]:
        """See `ports.Unit.resolve`."""
        run, sql, wanted = self._run, self._sql["resolve_some"], set(identifiers)
        values = list({identifier.value for identifier in wanted})
        rows = (row for part in _in_parts(values) for row in run(_listing(sql, len(part)), part))
        found = {Identifier(kind, value): Known(*known) for kind, value, *known in rows}
        return {identifier: known for identifier, known in found.items() if identifier in wanted}

    def members(self, customer: int) -> list[tuple[Identifier, Known]]:
        """See `ports.Unit.members`."""
        rows = self._run(self._sql["members"], (customer,))
        return [(Identifier(row[0], row[1]), Known(*row[2:])) for row in rows]

    def add_identifier(self, identifier: Identifier, number: int, customer: int, bucket: int) -> None:
        """See `ports.Unit.add_identifier`."""
        self._identifiers.append((number, identifier.kind, identifier.value, customer, bucket))

    def assign(self, numbers: Sequence[int], customer: int) -> None:
        """See `ports.Unit.assign`."""
        self.flush()
        self._identifiers, self._facts, self._checkpoints = [], [], []
        for number in numbers:
            for (before,) in self._run(self._sql["customer_of"], (number,)):
                self._run(self._sql["void"], (before,))
            self._run(self._sql["assign"], (customer, number))
        self._run(self._sql["void"], (customer,))

    def append(
        self, position: int, id_: bytes, leaf: int, bucket: int, order: tuple[int, int], received_at: int, body: bytes
    ) -> None:
        """See `ports.Unit.append`."""
        self._facts.append((position, id_, leaf, bucket, order[0], order[1], received_at, body))

    def append_change(self, position: int, kind: str, detail: str) -> None:
        """See `ports.Unit.append_change`."""
        self._run(self._sql["append_change"], (position, kind, detail))

    def checkpoint(self, customer: int, checkpoint: Checkpoint) -> None:
        """See `ports.Unit.checkpoint`."""
        self._checkpoints.append((customer, checkpoint.position, checkpoint.plan, checkpoint.data))

    def add_plan(self, plan: StoredPlan) -> None:
        """See `ports.Unit.add_plan`."""
        self._run(
            self._sql["add_plan"],
            (
                plan.number,
                plan.digest,
                plan.position,
                plan.pushed_at,
                plan.author,
                plan.note,
                plan.document,
                plan.files,
            ),
        )

    def add_key(self, key: Key, keep: int) -> None:
        """See `ports.Unit.add_key`."""
        self._run(self._sql["add_key"], (key.touchpoint, key.hash, key.created_at))
        self._run(self._sql["keep_newest_keys"], (key.touchpoint, keep))

    def revoke(self, touchpoint: str) -> int:
        """See `ports.Unit.revoke`."""
        gone = len([1 for (name,) in self._run("SELECT touchpoint FROM keys") if name == touchpoint])
        self._run(self._sql["revoke"], (touchpoint,))
        return gone
