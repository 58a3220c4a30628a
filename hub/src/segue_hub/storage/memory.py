"""The store in memory: the reference for every other backend. Nothing survives the process.

Owns the plainest version of each port. Atomic: a unit is kept aside and applied as a whole.
"""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from segue.domain.identifier import Identifier

from .memory_ledger import MemoryLedger, MemoryLedgerUnit
from .ports import (
    CUT,
    STATED,
    Checkpoint,
    IdTaken,
    Key,
    Known,
    Leaf,
    LinkRow,
    Row,
    StatementRow,
    StoredBook,
    StoredPlan,
)


class MemoryStore:
    """A store in dictionaries."""

    def __init__(self) -> None:
        self.incarnation = uuid.uuid4().hex
        self._lock = threading.RLock()
        self.ledger = MemoryLedger(self._lock)
        self._rows: dict[int, tuple[bytes, int, int, bytes]] = {}
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

    def links(self, number: int, limit: int = 0) -> list[LinkRow]:
        """See `ports.Links.links`."""
        keys = sorted(self._linked.get(number, ()))
        return [self._links[key] for key in (keys[:limit] if limit else keys)]

    def statements(self, number: int) -> list[StatementRow]:
        """See `ports.Links.statements`."""
        return [row for row in self._statements.values() if number in (row.strong, row.weak)]

    def eras(self, number: int) -> list[Known]:
        """See `ports.Links.eras`."""
        return list(self._eras.get(number, ()))

    def facts(self, leaves: Sequence[Leaf], after: int = 0) -> list[Row]:
        """See `ports.Links.facts`."""
        return [
            Row(position, self._rows[position][3])
            for number, _, since, until in leaves
            for position in self._leaves.get(number, ())
            if position > after and since <= self._rows[position][2] < until
        ]

    def verdicts(self) -> dict[str, int]:
        """See `ports.Store.verdicts`."""
        return dict(Counter(row.verdict for row in self._links.values() if row.verdict))

    def read_checkpoint(self, customer: int) -> Checkpoint | None:
        """See `ports.Store.read_checkpoint`."""
        return self._checkpoints.get(customer)

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
            return self._rows[position][3]
        return self._workspace[position].body if position in self._workspace else None

    def holding(self, after: int, upto: int, since: int, until: int, text: bytes) -> list[int]:
        """See `ports.Store.holding`."""
        rows = [self._rows[position] for position in range(after + 1, upto + 1) if position in self._rows]
        return sorted({row[1] for row in rows if since <= row[2] < until and text in row[3]})

    def workspace_facts(self) -> list[Row]:
        """See `ports.Store.workspace_facts`."""
        return [self._workspace[position] for position in sorted(self._workspace)]

    def plans(self) -> list[StoredPlan]:
        """See `ports.Store.plans`."""
        return list(self._plans)

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
        return len(self.outdated_customers(plan, 0, len(self._checkpoints)))

    def outdated_customers(self, plan: str, after: int, limit: int) -> list[int]:
        """See `ports.Store.outdated_customers`."""
        kept = self._checkpoints.items()
        return sorted(number for number, kept_ in kept if number > after and not kept_.plan.startswith(plan))[:limit]

    def noted(self, name: str) -> str:
        """See `ports.Store.noted`."""
        return self._notes.get(name, "")

    def check(self) -> Iterator[str]:
        """See `ports.Store.check`."""
        last = self.head()[0]
        for position in range(1, last + 1):
            if position not in self._rows and position not in self._changes:
                yield f"the change log has a hole at {position}"
        strays = sum(1 for _, leaf, _, _ in self._rows.values() if leaf not in self._names)
        if strays:
            yield f"{strays} facts without a leaf"
        lone = sum(1 for position in self._workspace if position not in self._changes)
        if lone:
            yield f"{lone} workspace facts without a change"
        eras = {known.era for eras in self._eras.values() for known in eras}
        lost = sum(1 for customer in self._customers() if customer not in self._names and customer not in eras)
        if lost:
            yield f"{lost} identifiers without a customer"

    def _place(self, number: int, known: Known) -> None:
        name = self._names[number]
        self._members.get(self._identifiers[name].customer, set()).discard(number)
        self._identifiers[name] = known
        self._members.setdefault(known.customer, set()).add(number)

    def close(self) -> None:
        """See `ports.Store.close`."""


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
        return {id_: Row(position, self._store._rows[position][3]) for id_, position in found.items()}

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

    def links(self, number: int, limit: int = 0) -> list[LinkRow]:
        """See `ports.Links.links`."""
        return self._store.links(number, limit)

    def statements(self, number: int) -> list[StatementRow]:
        """See `ports.Links.statements`."""
        return self._store.statements(number)

    def eras(self, number: int) -> list[Known]:
        """See `ports.Links.eras`."""
        return self._store.eras(number)

    def facts(self, leaves: Sequence[Leaf], after: int = 0) -> list[Row]:
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
            self._store._rows[position] = (id_, leaf, order[0], body)
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
