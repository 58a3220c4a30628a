"""A unit of writing on SQLite: one transaction of the writing connection.

Owns the translation of `ports.Unit` into prepared statements. Rows are collected and written together at the end,
facts sorted by leaf, so that the index is walked once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import apsw
from segue.domain.identifier import Identifier

from ..ports import Checkpoint, Key, Known, Row, StoredPlan


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
        if self._identifiers:
            self._run_many(self._sql["add_identifier"], self._identifiers)
        if self._facts:
            self._run_many(self._sql["append"], self._facts)
        if self._checkpoints:
            self._checkpoints.sort()
            self._run_many(self._sql["checkpoint"], self._checkpoints)

    def find(self, ids: Sequence[bytes]) -> dict[bytes, Row]:
        """See `ports.Unit.find`."""
        run, sql, found = self._run, self._sql["find"], {}
        for id_ in ids:
            for row in run(sql, (id_,)):
                found[row[0]] = Row(row[1], row[2])
        return found

    def resolve(self, identifiers: Iterable[Identifier]) -> dict[Identifier, Known]:
        """See `ports.Unit.resolve`."""
        run, sql, found = self._run, self._sql["resolve"], {}
        for identifier in identifiers:
            for row in run(sql, (identifier.value, identifier.kind)):
                found[identifier] = Known(*row)
        return found

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
                plan.number, plan.digest, plan.position, plan.pushed_at, plan.author, plan.note, plan.document,
                plan.files,
            ),  # fmt: skip
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
