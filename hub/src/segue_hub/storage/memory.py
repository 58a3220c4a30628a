"""The store in memory: the reference for every other backend. Nothing survives the process.

Owns the plainest version of each port. Atomic: a unit is kept aside and applied as a whole.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from segue.domain.identifier import Identifier

from .ports import Checkpoint, Key, Known, Row, StoredPlan


class MemoryStore:
    """A store in dictionaries."""

    def __init__(self) -> None:
        self.incarnation = uuid.uuid4().hex
        self._lock = threading.RLock()
        self._rows: dict[int, tuple[bytes, int, bytes]] = {}
        self._ids: dict[bytes, int] = {}
        self._changes: dict[int, tuple[str, str]] = {}
        self._leaves: dict[int, list[int]] = {}
        self._identifiers: dict[Identifier, Known] = {}
        self._names: dict[int, Identifier] = {}
        self._members: dict[int, set[int]] = {}
        self._checkpoints: dict[int, Checkpoint] = {}
        self._plans: list[StoredPlan] = []
        self._keys: list[Key] = []

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
        return max([0, *self._rows, *self._changes]), max(self._names, default=0)

    def find(self, ids: Sequence[bytes]) -> dict[bytes, int]:
        """See `ports.Store.find`."""
        return {id_: self._ids[id_] for id_ in ids if id_ in self._ids}

    def resolve(self, identifier: Identifier) -> Known | None:
        """See `ports.Store.resolve`."""
        return self._identifiers.get(identifier)

    def members(self, customer: int) -> list[tuple[Identifier, Known]]:
        """See `ports.Store.members`."""
        names = [self._names[number] for number in sorted(self._members.get(customer, ()))]
        return [(name, self._identifiers[name]) for name in names]

    def facts(self, leaves: Sequence[tuple[int, int]], after: int = 0) -> list[Row]:
        """See `ports.Store.facts`."""
        positions = [p for number, _ in leaves for p in self._leaves.get(number, ()) if p > after]
        return [Row(position, self._rows[position][2]) for position in positions]

    def read_checkpoint(self, customer: int) -> Checkpoint | None:
        """See `ports.Store.read_checkpoint`."""
        return self._checkpoints.get(customer)

    def customers(self, after: int, limit: int) -> list[int]:
        """See `ports.Store.customers`."""
        return sorted(number for number, members in self._members.items() if members and number > after)[:limit]

    def log(self, after: int, limit: int) -> list[tuple[int, bytes | None]]:
        """See `ports.Store.log`."""
        last = self.head()[0]
        return [
            (position, self._rows[position][2] if position in self._rows else None)
            for position in range(after + 1, min(last, after + limit) + 1)
        ]

    def plans(self) -> list[StoredPlan]:
        """See `ports.Store.plans`."""
        return list(self._plans)

    def keys(self) -> list[Key]:
        """See `ports.Store.keys`."""
        return list(self._keys)

    def counts(self) -> dict[str, int]:
        """See `ports.Store.counts`."""
        return {
            "facts": len(self._rows),
            "identifiers": len(self._names),
            "customers": sum(1 for members in self._members.values() if members),
            "checkpoints": len(self._checkpoints),
            "bytes": 0,
        }

    def check(self) -> Iterator[str]:
        """See `ports.Store.check`."""
        last = self.head()[0]
        for position in range(1, last + 1):
            if position not in self._rows and position not in self._changes:
                yield f"the change log has a hole at {position}"
        strays = sum(1 for _, leaf, _ in self._rows.values() if leaf not in self._names)
        if strays:
            yield f"{strays} facts without a leaf"
        lost = sum(1 for known in self._identifiers.values() if known.customer not in self._names)
        if lost:
            yield f"{lost} identifiers without a customer"

    def close(self) -> None:
        """See `ports.Store.close`."""


class MemoryUnit:
    """See `ports.Unit`."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.changes: list[Callable[[], object]] = []

    def find(self, ids: Sequence[bytes]) -> dict[bytes, Row]:
        """See `ports.Unit.find`."""
        found = self._store.find(ids)
        return {id_: Row(position, self._store._rows[position][2]) for id_, position in found.items()}

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

    def assign(self, numbers: Sequence[int], customer: int) -> None:
        """See `ports.Unit.assign`."""

        def change() -> None:
            store = self._store
            for number in numbers:
                name = store._names[number]
                known = store._identifiers[name]
                store._members.get(known.customer, set()).discard(number)
                store._checkpoints.pop(known.customer, None)
                store._identifiers[name] = Known(number, customer, known.bucket)
                store._members.setdefault(customer, set()).add(number)
            store._checkpoints.pop(customer, None)

        self.changes.append(change)

    def append(
        self, position: int, id_: bytes, leaf: int, bucket: int, order: tuple[int, int], received_at: int, body: bytes
    ) -> None:
        """See `ports.Unit.append`."""

        def change() -> None:
            self._store._rows[position] = (id_, leaf, body)
            self._store._ids[id_] = position
            self._store._leaves.setdefault(leaf, []).append(position)

        self.changes.append(change)

    def append_change(self, position: int, kind: str, detail: str) -> None:
        """See `ports.Unit.append_change`."""
        self.changes.append(lambda: self._store._changes.__setitem__(position, (kind, detail)))

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
