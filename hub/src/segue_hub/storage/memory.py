"""The store in memory: the reference for every other backend. Nothing survives the process.

Owns the plainest version of each port. Atomic: a unit is kept aside and applied as a whole.
"""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from segue.domain.identifier import Identifier

from .memory_ledger import MemoryLedger
from .memory_unit import MemoryUnit
from .ports import (
    ALL,
    CUT,
    Checkpoint,
    FactRow,
    Key,
    Known,
    Leaf,
    LinkRow,
    PlanEntry,
    Row,
    StatementRow,
    StoredBook,
    StoredPlan,
    Until,
)


class MemoryStore:
    """A store in dictionaries."""

    def __init__(self) -> None:
        self.incarnation = uuid.uuid4().hex
        self._lock = threading.RLock()
        self.ledger = MemoryLedger(self._lock)
        self._rows: dict[int, tuple[int, FactRow]] = {}
        self._received: dict[int, int] = {}
        self._ids: dict[bytes, int] = {}
        self._changes: dict[int, tuple[str, str]] = {}
        self._leaves: dict[int, list[int]] = {}
        self._identifiers: dict[Identifier, Known] = {}
        self._names: dict[int, Identifier] = {}
        self._members: dict[int, set[int]] = {}
        self._eras: dict[int, list[Known]] = {}
        self._notes: dict[str, str] = {}
        self._links: dict[tuple[int, int, int, bytes], LinkRow] = {}
        self._linked: dict[int, set[tuple[int, int, int, bytes]]] = {}
        self._statements: dict[bytes, StatementRow] = {}
        self._checkpoints: dict[int, Checkpoint] = {}
        self._workspace: dict[int, Row] = {}
        self._plans: list[StoredPlan] = []
        self._keys: list[Key] = []
        self._books: dict[tuple[str, str], StoredBook] = {}

    @contextmanager
    def unit(self) -> Iterator[MemoryUnit]:
        """See `ports.Store.unit`."""
        unit = MemoryUnit(self)
        yield unit
        with self._lock:
            for change in unit.changes:
                change()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """See `ports.Store.snapshot`."""
        with self._lock:
            yield

    def head(self) -> tuple[int, int]:
        """See `ports.Store.head`."""
        eras = [known.era for eras in self._eras.values() for known in eras]
        return max([0, *self._rows, *self._changes]), max([0, *self._names, *eras])

    def known_at(self, instant: int) -> int:
        """See `ports.Store.known_at`."""
        later = [position for position, received_at in self._received.items() if received_at > instant]
        later += [plan.position for plan in self._plans if plan.pushed_at > instant]
        return min(later) - 1 if later else self.head()[0]

    def find(self, ids: Sequence[bytes]) -> dict[bytes, int]:
        """See `ports.Store.find`."""
        return {id_: self._ids[id_] for id_ in ids if id_ in self._ids}

    def resolve(self, identifier: Identifier) -> Known | None:
        """See `ports.Store.resolve`."""
        return self._identifiers.get(identifier)

    def members(self, customer: int) -> list[tuple[Identifier, Known]]:
        """See `ports.Store.members`."""
        names = [self._names[number] for number in sorted(self._members.get(customer, ()))]
        eras = sorted(known for eras in self._eras.values() for known in eras if known.customer == customer)
        return [
            *((name, self._identifiers[name]) for name in names),
            *((self._names[known.number], known) for known in sorted(eras, key=lambda known: known.era)),
        ]

    def names(self, numbers: Iterable[int]) -> dict[int, Identifier]:
        """See `ports.Links.names`."""
        return {number: self._names[number] for number in numbers if number in self._names}

    def links(self, number: int, limit: int = 0, until: Until = ALL) -> list[LinkRow]:
        """See `ports.Links.links`."""
        rows = [row for key in sorted(self._linked.get(number, ())) if until.keeps(row := self._links[key])]
        return rows[:limit] if limit else rows

    def held(self, strong: Sequence[int]) -> list[LinkRow]:
        """See `ports.Links.held`."""
        keys = (key for number in strong for key in sorted(self._linked.get(number, ())) if key[0] == number)
        return [row for row in (self._links[key] for key in keys) if not row.verdict]

    def statements(self, number: int) -> list[StatementRow]:
        """See `ports.Links.statements`."""
        return [row for row in self._statements.values() if number in (row.strong, row.weak)]

    def eras(self, number: int) -> list[Known]:
        """See `ports.Links.eras`."""
        return list(self._eras.get(number, ()))

    def facts(self, leaves: Sequence[Leaf], after: int = 0) -> list[FactRow]:
        """See `ports.Links.facts`."""
        return [
            self._rows[position][1]
            for number, _, since, until in leaves
            for position in self._leaves.get(number, ())
            if position > after and since <= self._rows[position][1].occurred_at < until
        ]

    def verdicts(self) -> dict[str, int]:
        """See `ports.Store.verdicts`."""
        return dict(Counter(row.verdict for row in self._links.values() if row.verdict))

    def read_checkpoint(self, customer: int) -> Checkpoint | None:
        """See `ports.Store.read_checkpoint`."""
        return self._checkpoints.get(customer)

    def whole_checkpoint(self, customer: int) -> tuple[Checkpoint, int] | None:
        """See `ports.Store.whole_checkpoint`."""
        kept, members = self._checkpoints.get(customer), [own for _, own in self.members(customer)]
        if kept is None or not members or any(own.stated == CUT for own in members):
            return None
        leaves = [Leaf(own.number, own.bucket, own.since, own.until) for own in members]
        if self.facts(leaves, kept.position):
            return None
        return kept, max(own.moved for own in members)

    def newest(self, customer: int) -> tuple[int, int] | None:
        """See `ports.Store.newest`."""
        members = [own for _, own in self.members(customer)]
        if not members or any(own.stated == CUT for own in members):
            return None
        positions = [position for own in members for position in self._leaves.get(own.number, ())]
        return max(positions, default=0), max(own.moved for own in members)

    def customers(self, after: int, limit: int) -> list[int]:
        """See `ports.Store.customers`."""
        return [number for number in sorted(self._customers()) if number > after][:limit]

    def _customers(self) -> set[int]:
        found = {number for number, members in self._members.items() if members}
        return found | {known.customer for eras in self._eras.values() for known in eras}

    def log(self, after: int, limit: int) -> list[tuple[int, bytes | None]]:
        """See `ports.Store.log`."""
        last = self.head()[0]
        return [(position, self._body(position)) for position in range(after + 1, min(last, after + limit) + 1)]

    def _body(self, position: int) -> bytes | None:
        if position in self._rows:
            return self._rows[position][1].body
        return self._workspace[position].body if position in self._workspace else None

    def holding(self, after: int, upto: int, since: int, until: int, text: bytes) -> list[int]:
        """See `ports.Store.holding`."""
        rows = [self._rows[position] for position in range(after + 1, upto + 1) if position in self._rows]
        return sorted({leaf for leaf, row in rows if since <= row.occurred_at < until and text in row.body})

    def workspace_facts(self) -> list[Row]:
        """See `ports.Store.workspace_facts`."""
        return [self._workspace[position] for position in sorted(self._workspace)]

    def plans(self) -> list[PlanEntry]:
        """See `ports.Store.plans`."""
        return [stored.entry for stored in self._plans]

    def plan(self, number: int) -> StoredPlan:
        """See `ports.Store.plan`."""
        for stored in self._plans:
            if stored.number == number:
                return stored
        raise LookupError(f"there is no plan {number}")

    def keys(self) -> list[Key]:
        """See `ports.Store.keys`."""
        return list(self._keys)

    def books(self) -> list[StoredBook]:
        """See `ports.Store.books`."""
        return [self._books[key] for key in sorted(self._books)]

    def counts(self) -> dict[str, int]:
        """See `ports.Store.counts`."""
        return {
            "facts": len(self._rows),
            "identifiers": len(self._names),
            "customers": len(self._customers()),
            "checkpoints": len(self._checkpoints),
            "linked": len({row.strong for row in self._links.values()}),
            "bytes": 0,
        }

    def linked(self, after: int, limit: int) -> list[int]:
        """See `ports.Store.linked`."""
        return sorted({row.strong for row in self._links.values() if row.strong > after})[:limit]

    def outdated(self, plan: str) -> int:
        """See `ports.Store.outdated`."""
        return sum(not kept.plan.startswith(plan) for kept in self._checkpoints.values())

    def checkpointed(self, after: int, limit: int) -> list[tuple[int, str]]:
        """See `ports.Store.checkpointed`."""
        return sorted((number, kept.plan) for number, kept in self._checkpoints.items() if number > after)[:limit]

    def noted(self, name: str) -> str:
        """See `ports.Store.noted`."""
        return self._notes.get(name, "")

    def check(self) -> Iterator[str]:
        """See `ports.Store.check`."""
        last = self.head()[0]
        for position in range(1, last + 1):
            if position not in self._rows and position not in self._changes:
                yield f"the change log has a hole at {position}"
        strays = sum(1 for leaf, _ in self._rows.values() if leaf not in self._names)
        if strays:
            yield f"{strays} facts without a leaf"
        lone = sum(1 for position in self._workspace if position not in self._changes)
        if lone:
            yield f"{lone} workspace facts without a change"
        eras = {known.era for eras in self._eras.values() for known in eras}
        lost = sum(1 for customer in self._customers() if customer not in self._names and customer not in eras)
        if lost:
            yield f"{lost} identifiers without a customer"
        yield from self.ledger.ledger_faults()

    def _place(self, number: int, known: Known) -> None:
        name = self._names[number]
        self._members.get(self._identifiers[name].customer, set()).discard(number)
        self._identifiers[name] = known
        self._members.setdefault(known.customer, set()).add(number)

    def close(self) -> None:
        """See `ports.Store.close`."""
