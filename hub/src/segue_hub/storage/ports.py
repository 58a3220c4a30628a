"""What the services need of a store: small protocols, one conformance suite for every backend.

Owns the words between services and backends. Knows no SQL. A unit of writing is atomic and durable: when `commit`
returns, all of it is on disk, and before, nothing of it can be read. Reads inside a unit see what was committed
before it. Every hot call names the bucket of its leaf, so that the same protocol runs on sharded engines later.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Protocol

from segue.domain.identifier import Identifier

BUCKETS: Final = 64
"""How many buckets a workspace has; fixed for the life of a store."""


def bucket_of(leaf: Identifier) -> int:
    """The bucket of a leaf."""
    return zlib.crc32(f"{leaf.kind}\0{leaf.value}".encode()) % BUCKETS


class StoreFull(Exception):
    """The disk is full: nothing of the unit was written."""


class StoreBroken(Exception):
    """The store cannot promise anything any more (a failed fsync, a corrupt page): the hub has to stop."""


@dataclass(frozen=True, slots=True)
class Known:
    """An identifier as the store knows it.

    Attributes:
        number: its own; leaves and customers are named by such numbers.
        customer: number of the strongest identifier of the customer that it resolves to.
    """

    number: int
    customer: int
    bucket: int


@dataclass(frozen=True, slots=True)
class Row:
    """A stored fact: its place in the change log, and its bytes."""

    position: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A context folded earlier: through which position, by which plan, as encoded content."""

    position: int
    plan: str
    data: bytes


@dataclass(frozen=True, slots=True)
class StoredPlan:
    """One entry of the plan history. `document` and `files` are JSON bytes."""

    number: int
    digest: str
    position: int
    pushed_at: int
    author: str
    note: str
    document: bytes
    files: bytes


@dataclass(frozen=True, slots=True)
class Key:
    """A touchpoint's key: the hash only."""

    touchpoint: str
    hash: bytes
    created_at: int


class Unit(Protocol):
    """One atomic, durable piece of writing. Used by the writer thread only."""

    def find(self, ids: Sequence[bytes]) -> dict[bytes, Row]:
        """The stored facts among these ids."""

    def resolve(self, identifiers: Iterable[Identifier]) -> dict[Identifier, Known]:
        """The known ones among these identifiers."""

    def members(self, customer: int) -> list[tuple[Identifier, Known]]:
        """All identifiers of a customer."""

    def add_identifier(self, identifier: Identifier, number: int, customer: int, bucket: int) -> None:
        """A new identifier."""

    def assign(self, numbers: Sequence[int], customer: int) -> None:
        """These identifiers resolve to this customer from now on; their checkpoints are void."""

    def append(
        self, position: int, id_: bytes, leaf: int, bucket: int, order: tuple[int, int], received_at: int, body: bytes
    ) -> None:
        """A fact, at the next position of the change log. `order` is (occurred_at, seq)."""

    def append_change(self, position: int, kind: str, detail: str) -> None:
        """A change that is no fact, at the next position of the change log."""

    def checkpoint(self, customer: int, checkpoint: Checkpoint) -> None:
        """Keeps a folded context."""

    def add_plan(self, plan: StoredPlan) -> None:
        """A plan that is current from now on."""

    def add_key(self, key: Key, keep: int) -> None:
        """A key; of the touchpoint's keys only the newest `keep` stay."""

    def revoke(self, touchpoint: str) -> int:
        """Removes all keys of a touchpoint; returns how many."""


class Store(Protocol):
    """A backend. Reads may come from the event loop while the writer thread is in a unit."""

    incarnation: str

    def unit(self) -> AbstractContextManager[Unit]:
        """A unit that is committed durably when its block ends, and leaves nothing where it raises.

        Raises:
            StoreFull: there is no space; nothing was written.
            StoreBroken: durability cannot be promised any more.
        """

    def snapshot(self) -> AbstractContextManager[None]:
        """Reads inside see one state of the store, whatever is committed meanwhile. May be nested."""

    def head(self) -> tuple[int, int]:
        """The last position of the change log and the last identifier number."""

    def find(self, ids: Sequence[bytes]) -> dict[bytes, int]:
        """The positions of the stored facts among these ids."""

    def resolve(self, identifier: Identifier) -> Known | None:
        """An identifier, or None where nobody is known by it."""

    def members(self, customer: int) -> list[tuple[Identifier, Known]]:
        """All identifiers of a customer, as (identifier, known)."""

    def facts(self, leaves: Sequence[tuple[int, int]], after: int = 0) -> list[Row]:
        """The facts of leaves, given as (number, bucket), after a position, in no particular order."""

    def read_checkpoint(self, customer: int) -> Checkpoint | None:
        """The folded context of a customer, if one is kept."""

    def customers(self, after: int, limit: int) -> list[int]:
        """Customer numbers above `after`, rising."""

    def log(self, after: int, limit: int) -> list[tuple[int, bytes | None]]:
        """The change log after a position: (position, fact bytes or None), rising."""

    def plans(self) -> list[StoredPlan]:
        """The plan history, oldest first."""

    def keys(self) -> list[Key]:
        """All live keys."""

    def counts(self) -> dict[str, int]:
        """Facts, identifiers, customers, checkpoints, bytes on disk."""

    def check(self) -> Iterator[str]:
        """Every fault found in the store's own books, in words; nothing where it is sound."""

    def close(self) -> None:
        """Writes what is pending and lets go."""
