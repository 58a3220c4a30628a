"""A unit of writing on the store in memory: kept aside, and applied as a whole.

Owns the plainest version of `ports.Unit`. It reads what the store holds, and changes it only when the store applies it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from segue.domain.identifier import Identifier

from .memory_ledger import MemoryLedgerUnit
from .ports import (
    ALL,
    CUT,
    STATED,
    Checkpoint,
    FactRow,
    IdTaken,
    Key,
    Known,
    Leaf,
    LinkRow,
    Row,
    StatementRow,
    StoredBook,
    StoredPlan,
    Until,
)

if TYPE_CHECKING:
    from .memory import MemoryStore


class MemoryUnit:
    """See `ports.Unit`."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.changes: list[Callable[[], object]] = []
        self._ids: set[bytes] = set()
        self.ledger = MemoryLedgerUnit(store.ledger, self.changes)

    def find(self, ids: Sequence[bytes]) -> dict[bytes, Row]:
        """See `ports.Unit.find`."""
        found = self._store.find(ids)
        return {id_: Row(position, self._store._rows[position][1].body) for id_, position in found.items()}

    def resolve(self, identifiers: Iterable[Identifier]) -> dict[Identifier, Known]:
        """See `ports.Unit.resolve`."""
        known = self._store._identifiers
        return {identifier: known[identifier] for identifier in identifiers if identifier in known}

    def members(self, customer: int) -> list[tuple[Identifier, Known]]:
        """See `ports.Unit.members`."""
        return self._store.members(customer)

    def add_identifier(self, identifier: Identifier, number: int, customer: int, bucket: int) -> None:
        """See `ports.Unit.add_identifier`."""

        def change() -> None:
            self._store._identifiers[identifier] = Known(number, customer, bucket)
            self._store._names[number] = identifier
            self._store._members.setdefault(customer, set()).add(number)

        self.changes.append(change)

    def names(self, numbers: Iterable[int]) -> dict[int, Identifier]:
        """See `ports.Links.names`."""
        return self._store.names(numbers)

    def links(self, number: int, limit: int = 0, until: Until = ALL) -> list[LinkRow]:
        """See `ports.Links.links`."""
        return self._store.links(number, limit, until)

    def held(self, strong: Sequence[int]) -> list[LinkRow]:
        """See `ports.Links.held`."""
        return self._store.held(strong)

    def statements(self, number: int) -> list[StatementRow]:
        """See `ports.Links.statements`."""
        return self._store.statements(number)

    def eras(self, number: int) -> list[Known]:
        """See `ports.Links.eras`."""
        return self._store.eras(number)

    def facts(self, leaves: Sequence[Leaf], after: int = 0) -> list[FactRow]:
        """See `ports.Links.facts`."""
        return self._store.facts(leaves, after)

    def assign(self, numbers: Sequence[int], customer: int, moved: int) -> None:
        """See `ports.Unit.assign`."""

        def change() -> None:
            for number in numbers:
                known = self._store._identifiers[self._store._names[number]]
                self._store._place(number, known._replace(customer=customer, moved=moved))

        self.changes.append(change)

    def set_eras(self, number: int, eras: Sequence[Known]) -> None:
        """See `ports.Unit.set_eras`."""

        def change() -> None:
            store, last = self._store, eras[-1]
            known = store._identifiers[store._names[number]]
            cut = len(eras) > 1
            store._place(
                number, known._replace(customer=last.customer, moved=last.moved, stated=CUT if cut else STATED)
            )
            store._eras.pop(number, None)
            if cut:
                store._members[last.customer].discard(number)
                store._eras[number] = [e._replace(stated=CUT, era=e.era or e.number) for e in eras]

        self.changes.append(change)

    def state(self, numbers: Sequence[int]) -> None:
        """See `ports.Unit.state`."""

        def change() -> None:
            for number in numbers:
                name = self._store._names[number]
                known = self._store._identifiers[name]
                self._store._identifiers[name] = known._replace(stated=known.stated or STATED)

        self.changes.append(change)

    def void(self, customers: Iterable[int]) -> None:
        """See `ports.Unit.void`."""
        gone = list(customers)
        self.changes.append(lambda: [self._store._checkpoints.pop(customer, None) for customer in gone])

    def add_links(self, rows: Sequence[LinkRow]) -> None:
        """See `ports.Unit.add_links`."""

        def change() -> None:
            for row in rows:
                self._store._links.setdefault(row[:4], row)
                for number in row[:2]:
                    self._store._linked.setdefault(number, set()).add(row[:4])

        self.changes.append(change)

    def judge(self, rows: Sequence[LinkRow]) -> None:
        """See `ports.Unit.judge`."""

        def change() -> None:
            for row in rows:
                self._store._links[row[:4]] = self._store._links[row[:4]]._replace(verdict=row.verdict)

        self.changes.append(change)

    def note(self, name: str, value: str) -> None:
        """See `ports.Unit.note`."""
        self.changes.append(lambda: self._store._notes.__setitem__(name, value))

    def add_statement(self, row: StatementRow) -> None:
        """See `ports.Unit.add_statement`."""
        self.changes.append(lambda: self._store._statements.__setitem__(row.id, row))

    def append(
        self, position: int, id_: bytes, leaf: int, bucket: int, order: tuple[int, int], received_at: int, body: bytes
    ) -> None:
        """See `ports.Unit.append`."""
        if id_ in self._ids or id_ in self._store._ids:
            raise IdTaken(id_.hex())
        self._ids.add(id_)

        def change() -> None:
            self._store._rows[position] = (leaf, FactRow(*order, id_, position, body))
            self._store._received[position] = received_at
            self._store._ids[id_] = position
            self._store._leaves.setdefault(leaf, []).append(position)

        self.changes.append(change)

    def append_change(self, position: int, kind: str, detail: str) -> None:
        """See `ports.Unit.append_change`."""
        self.changes.append(lambda: self._store._changes.__setitem__(position, (kind, detail)))

    def add_workspace_fact(self, position: int, id_: bytes, body: bytes) -> None:
        """See `ports.Unit.add_workspace_fact`."""
        self.changes.append(lambda: self._store._workspace.__setitem__(position, Row(position, body)))

    def keep_book(self, book: StoredBook) -> None:
        """See `ports.Unit.keep_book`."""
        self.changes.append(lambda: self._store._books.__setitem__((book.touchpoint, book.producer), book))

    def drop_book(self, touchpoint: str, producer: str) -> None:
        """See `ports.Unit.drop_book`."""
        self.changes.append(lambda: self._store._books.pop((touchpoint, producer), None))

    def checkpoint(self, customer: int, checkpoint: Checkpoint) -> None:
        """See `ports.Unit.checkpoint`."""
        self.changes.append(lambda: self._store._checkpoints.__setitem__(customer, checkpoint))

    def add_plan(self, plan: StoredPlan) -> None:
        """See `ports.Unit.add_plan`."""
        self.changes.append(lambda: self._store._plans.append(plan))

    def add_key(self, key: Key, keep: int) -> None:
        """See `ports.Unit.add_key`."""

        def change() -> None:
            others = [other for other in self._store._keys if other.touchpoint != key.touchpoint]
            own = [other for other in self._store._keys if other.touchpoint == key.touchpoint]
            self._store._keys = [*others, *own[-keep + 1 :], key] if keep > 1 else [*others, key]

        self.changes.append(change)

    def revoke(self, touchpoint: str) -> int:
        """See `ports.Unit.revoke`."""
        gone = [key for key in self._store._keys if key.touchpoint == touchpoint]

        def change() -> None:
            self._store._keys = [key for key in self._store._keys if key.touchpoint != touchpoint]

        self.changes.append(change)
        return len(gone)
