"""A unit of writing on SQLite: one transaction of the writing connection.

Owns the translation of `ports.Unit` into prepared statements. New rows are collected and written together at the end.
Rows are read and written many by one statement: each step of
a statement lets go of the interpreter, and may wait long to get it back from a busy event loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import apsw
from segue.domain.identifier import Identifier

from ..ports import CUT, STATED, Checkpoint, Key, Known, LinkRow, Row, StatementRow, StoredBook, StoredPlan
from .leaf_index import LeafIndex
from .ledger import LedgerWriter
from .link_reader import LinkReader, in_parts, listing


@lru_cache(maxsize=64)
def _inserting(sql: str, count: int) -> str:
    """The statement for `count` rows in its `VALUES`."""
    head, _, row = sql.partition("VALUES ")
    return f"{head}VALUES {', '.join([row] * count)}"


class SqliteUnit(LinkReader):
    """See `ports.Unit`."""

    def __init__(self, connection: apsw.Connection, sql: dict[str, str], leaf_index: LeafIndex) -> None:
        super().__init__(connection.execute, sql)
        self._leaf_index = leaf_index
        self.ledger = LedgerWriter(connection.execute, sql)
        self._run = connection.execute
        self._run_many = connection.executemany
        self._facts: list[tuple[int, bytes, int, int, int, int, int, bytes]] = []
        self._identifiers: list[tuple[int, str, str, int, int]] = []
        self._checkpoints: list[tuple[int, int, str, bytes]] = []

    def flush(self) -> None:
        """Writes what was collected."""
        self._write_collected()
        if self._checkpoints:
            self._checkpoints.sort()
            self._run_many(self._sql["checkpoint"], self._checkpoints)

    def _write_collected(self) -> None:
        self._insert("add_identifier", self._identifiers)
        self._insert("append", self._facts)
        if self._facts:
            self._leaf_index.add(self._facts[0][0], self._facts[-1][0], len(self._facts))
        self._identifiers, self._facts = [], []

    def _insert(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        sql = self._sql[statement]
        for part in in_parts(rows):
            self._run(_inserting(sql, len(part)), tuple(chain.from_iterable(part)))

    def find(self, ids: Sequence[bytes]) -> dict[bytes, Row]:
        """See `ports.Unit.find`."""
        run, sql = self._run, self._sql["find"]
        return {
            id_: Row(position, body)
            for part in in_parts(ids)
            for id_, position, body in run(listing(sql, len(part)), part)
        }

    def resolve(self, identifiers: Iterable[Identifier]) -> dict[Identifier, Known]:
        """See `ports.Unit.resolve`."""
        run, sql, wanted = self._run, self._sql["resolve_some"], set(identifiers)
        values = list({identifier.value for identifier in wanted})
        rows = (row for part in in_parts(values) for row in run(listing(sql, len(part)), part))
        found = {Identifier(kind, value): Known(*known) for kind, value, *known in rows}
        return {identifier: known for identifier, known in found.items() if identifier in wanted}

    def add_identifier(self, identifier: Identifier, number: int, customer: int, bucket: int) -> None:
        """See `ports.Unit.add_identifier`."""
        self._identifiers.append((number, identifier.kind, identifier.value, customer, bucket))

    def assign(self, numbers: Sequence[int], customer: int, moved: int) -> None:
        """See `ports.Unit.assign`."""
        self._write_collected()
        self._run_many(self._sql["assign"], [(customer, moved, number) for number in numbers])

    def set_eras(self, number: int, eras: Sequence[Known]) -> None:
        """See `ports.Unit.set_eras`."""
        self._write_collected()
        self._run(self._sql["drop_eras"], (number,))
        last = eras[-1]
        if len(eras) > 1:
            rows = [(e.era or e.number, e.number, e.since, e.until, e.customer, e.moved) for e in eras]
            self._run_many(self._sql["add_era"], rows)
        self._run(self._sql["cut"], (CUT if len(eras) > 1 else STATED, last.customer, last.moved, number))

    def state(self, numbers: Sequence[int]) -> None:
        """See `ports.Unit.state`."""
        self._write_collected()
        self._run_many(self._sql["state"], [(number,) for number in numbers])

    def void(self, customers: Iterable[int]) -> None:
        """See `ports.Unit.void`."""
        gone = set(customers)
        self._checkpoints = [row for row in self._checkpoints if row[0] not in gone]
        self._run_many(self._sql["void"], [(customer,) for customer in gone])

    def add_links(self, rows: Sequence[LinkRow]) -> None:
        """See `ports.Unit.add_links`."""
        self._insert("add_link", sorted(rows))

    def judge(self, rows: Sequence[LinkRow]) -> None:
        """See `ports.Unit.judge`."""
        self._run_many(self._sql["judge"], [(row.verdict, *row[:4]) for row in rows])

    def note(self, name: str, value: str) -> None:
        """See `ports.Unit.note`."""
        self._run(self._sql["note"], (name, value))

    def add_statement(self, row: StatementRow) -> None:
        """See `ports.Unit.add_statement`."""
        self._run(self._sql["add_statement"], row)

    def append(
        self, position: int, id_: bytes, leaf: int, bucket: int, order: tuple[int, int], received_at: int, body: bytes
    ) -> None:
        """See `ports.Unit.append`."""
        self._facts.append((position, id_, leaf, bucket, order[0], order[1], received_at, body))

    def append_change(self, position: int, kind: str, detail: str) -> None:
        """See `ports.Unit.append_change`."""
        self._run(self._sql["append_change"], (position, kind, detail))

    def add_workspace_fact(self, position: int, id_: bytes, body: bytes) -> None:
        """See `ports.Unit.add_workspace_fact`."""
        self._run(self._sql["add_workspace_fact"], (position, id_, body))

    def keep_book(self, book: StoredBook) -> None:
        """See `ports.Unit.keep_book`."""
        self._run(self._sql["keep_book"], (book.touchpoint, book.producer, book.data))

    def drop_book(self, touchpoint: str, producer: str) -> None:
        """See `ports.Unit.drop_book`."""
        self._run(self._sql["drop_book"], (touchpoint, producer))

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
