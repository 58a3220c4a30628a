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
from typing import Final, NamedTuple, Protocol

from segue.domain.identifier import Identifier
from segue.domain.instant import NEVER

from .ledger_ports import LedgerReads, LedgerWrites

BUCKETS: Final = 64
"""How many buckets a workspace has; fixed for the life of a store."""


def bucket_of(leaf: Identifier) -> int:
    """The bucket of a leaf."""
    return zlib.crc32(f"{leaf.kind}\0{leaf.value}".encode()) % BUCKETS


class StoreFull(Exception):
    """The disk is full: nothing of the unit was written."""

    code = "STORE_FULL"


class StoreMissing(StoreFull):
    """The file was removed or moved while it is served: nothing of the unit was written, as that had no name."""

    code = "STORE_MISSING"


class IdTaken(Exception):
    """A fact of the unit has the id of a stored one, or of another of the unit: nothing of the unit was written."""


class StoreBroken(Exception):
    """The store cannot promise anything any more (a failed fsync, a corrupt page): the hub has to stop."""

    code = "STORE_BROKEN"


STATED: Final = 1
"""Something was said about the identifier's links."""
CUT: Final = 2
"""The identifier began anew at least once: it has eras."""


class Known(NamedTuple):
    """An identifier as the store knows it; of one that began anew, one era.

    Attributes:
        number: its own; leaves are named by such numbers.
        customer: number of the strongest identifier (or era) of the customer that it resolves to.
        stated: 0, STATED or CUT.
        moved: position of the change log at which it came to its customer with a past; 0 where it always was there.
        since, until: the time in which facts that name it as their leaf belong to the customer, half-open.
        era: the number of the era; that of the identifier for the first.
    """

    number: int
    customer: int
    bucket: int
    stated: int = 0
    moved: int = 0
    since: int = 0
    until: int = NEVER
    era: int = 0


class LinkRow(NamedTuple):
    """Two identifiers as a fact first named them together, by number. `verdict` is empty where the link holds."""

    strong: int
    weak: int
    at: int
    id: bytes
    position: int
    verdict: str = ""


class StatementRow(NamedTuple):
    """What a fact says about the links of two identifiers, by number."""

    kind: str
    strong: int
    weak: int
    at: int
    id: bytes
    target: bytes
    position: int


class Until(NamedTuple):
    """How far links are looked at: those that occurred by an instant and stood in the change log by a position."""

    at: int = NEVER
    position: int = NEVER

    def keeps(self, row: LinkRow) -> bool:
        """Whether a link is looked at."""
        return row.at <= self.at and row.position <= self.position


ALL: Final = Until()


@dataclass(frozen=True, slots=True)
class Row:
    """A stored fact: its place in the change log, and its bytes."""

    position: int
    body: bytes


class FactRow(NamedTuple):
    """A stored fact of a customer. Sorts as the fact does (`Fact.order`), without being decoded for it."""

    occurred_at: int
    seq: int
    id: bytes
    position: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A context folded earlier: through which position, by which plan, as encoded content."""

    position: int
    plan: str
    data: bytes


@dataclass(frozen=True, slots=True)
class PlanEntry:
    """One entry of the plan history, without what the plan says."""

    number: int
    digest: str
    position: int
    pushed_at: int
    author: str
    note: str


@dataclass(frozen=True, slots=True)
class StoredPlan(PlanEntry):
    """With what it says: `document` and `files` are JSON bytes."""

    document: bytes
    files: bytes

    @property
    def entry(self) -> PlanEntry:
        """Without what it says."""
        return PlanEntry(self.number, self.digest, self.position, self.pushed_at, self.author, self.note)


@dataclass(frozen=True, slots=True)
class Key:
    """A touchpoint's key: the hash only."""

    touchpoint: str
    hash: bytes
    created_at: int


@dataclass(frozen=True, slots=True)
class StoredBook:
    """A book of a producer's ordinals. `data` is JSON bytes."""

    touchpoint: str
    producer: str
    data: bytes


class Links(Protocol):
    """Reads who is linked with whom; of a store, and of what a unit finds in it."""

    def names(self, numbers: Iterable[int]) -> dict[int, Identifier]:
        """Identifiers by number; an era's number is none."""

    def links(self, number: int, limit: int = 0, until: Until = ALL) -> list[LinkRow]:
        """The links of an identifier, at most `limit` of them unless that is 0."""

    def held(self, strong: Sequence[int]) -> list[LinkRow]:
        """The links with an empty verdict that have these identifiers as their stronger ends."""

    def statements(self, number: int) -> list[StatementRow]:
        """What was said about the links of an identifier."""

    def eras(self, number: int) -> list[Known]:
        """The eras of an identifier that began anew, in time; empty for others."""

    def facts(self, leaves: Sequence[Leaf], after: int = 0) -> list[FactRow]:
        """The facts of leaves after a position, in no particular order."""


class Unit(Links, Protocol):
    """One atomic, durable piece of writing. Used by the writer thread only."""

    @property
    def ledger(self) -> LedgerWrites:
        """Writes who is told what of an audience."""

    def find(self, ids: Sequence[bytes]) -> dict[bytes, Row]:
        """The stored facts among these ids."""

    def resolve(self, identifiers: Iterable[Identifier]) -> dict[Identifier, Known]:
        """The known ones among these identifiers."""

    def members(self, customer: int) -> list[tuple[Identifier, Known]]:
        """All identifiers of a customer."""

    def add_identifier(self, identifier: Identifier, number: int, customer: int, bucket: int) -> None:
        """A new identifier."""

    def assign(self, numbers: Sequence[int], customer: int, moved: int) -> None:
        """These identifiers resolve to this customer from now on, as of a position of the change log."""

    def set_eras(self, number: int, eras: Sequence[Known]) -> None:
        """The eras of an identifier, in place of those it had; it resolves to the customer of the last."""

    def state(self, numbers: Sequence[int]) -> None:
        """Something was said about these identifiers' links."""

    def void(self, customers: Iterable[int]) -> None:
        """The checkpoints of these customers are worth nothing any more."""

    def add_links(self, rows: Sequence[LinkRow]) -> None:
        """New links."""

    def judge(self, rows: Sequence[LinkRow]) -> None:
        """Stored links with other verdicts."""

    def add_statement(self, row: StatementRow) -> None:
        """A new statement."""

    def note(self, name: str, value: str) -> None:
        """A short text that the hub wants to find again after a restart."""

    def append(
        self, position: int, id_: bytes, leaf: int, bucket: int, order: tuple[int, int], received_at: int, body: bytes
    ) -> None:
        """A fact, at the next position of the change log. `order` is (occurred_at, seq)."""

    def append_change(self, position: int, kind: str, detail: str) -> None:
        """A change that is no fact, at the next position of the change log."""

    def add_workspace_fact(self, position: int, id_: bytes, body: bytes) -> None:
        """A fact that belongs to no customer, beside its change at that position."""

    def keep_book(self, book: StoredBook) -> None:
        """A book of a producer's ordinals, in place of the one before."""

    def drop_book(self, touchpoint: str, producer: str) -> None:
        """Forgets a book."""

    def checkpoint(self, customer: int, checkpoint: Checkpoint) -> None:
        """Keeps a folded context."""

    def add_plan(self, plan: StoredPlan) -> None:
        """A plan that is current from now on."""

    def add_key(self, key: Key, keep: int) -> None:
        """A key; of the touchpoint's keys only the newest `keep` stay."""

    def revoke(self, touchpoint: str) -> int:
        """Removes all keys of a touchpoint; returns how many."""


class Leaf(NamedTuple):
    """A leaf, and the time of whose facts is asked: half-open."""

    number: int
    bucket: int
    since: int = 0
    until: int = NEVER


class Store(Links, Protocol):
    """A backend. Reads may come from the event loop while the writer thread is in a unit."""

    incarnation: str

    @property
    def ledger(self) -> LedgerReads:
        """Reads who is told what of an audience."""

    def unit(self) -> AbstractContextManager[Unit]:
        """A unit that is committed durably when its block ends, and leaves nothing where it raises.

        Raises:
            IdTaken: a fact has the id of another; nothing was written.
            StoreFull: there is no space; nothing was written.
            StoreBroken: durability cannot be promised any more.
        """

    def snapshot(self) -> AbstractContextManager[None]:
        """Reads inside see one state of the store, whatever is committed meanwhile. May be nested."""

    def head(self) -> tuple[int, int]:
        """The last position of the change log and the last identifier number."""

    def known_at(self, instant: int) -> int:
        """The last position that was there at an instant (microseconds) of the hub's clock, which went forward."""

    def find(self, ids: Sequence[bytes]) -> dict[bytes, int]:
        """The positions of the stored facts among these ids."""

    def resolve(self, identifier: Identifier) -> Known | None:
        """An identifier, or None where nobody is known by it."""

    def members(self, customer: int) -> list[tuple[Identifier, Known]]:
        """All identifiers of a customer, as (identifier, known); of one that began anew, the customer's eras."""

    def verdicts(self) -> dict[str, int]:
        """How many links are refused, by verdict."""

    def linked(self, after: int, limit: int) -> list[int]:
        """Numbers of identifiers that have links as the stronger end, above `after`, rising."""

    def outdated(self, plan: str) -> int:
        """How many checkpoints were made by another plan than the one with this digest."""

    def checkpointed(self, after: int, limit: int) -> list[tuple[int, str]]:
        """The customers above `after` who have a checkpoint, rising, each with the plan that it was made by."""

    def noted(self, name: str) -> str:
        """What a unit noted under a name; empty where nothing was."""

    def read_checkpoint(self, customer: int) -> Checkpoint | None:
        """The folded context of a customer, if one is kept."""

    def whole_checkpoint(self, customer: int) -> tuple[Checkpoint, int] | None:
        """The folded context of a customer where it is all there is of her, and the position at which her identifiers
        moved last; None where facts came after it, where an identifier of hers began anew, and where none is kept.
        """

    def newest(self, customer: int) -> tuple[int, int] | None:
        """The position of a customer's newest fact, 0 where there is none, and the one at which her identifiers moved
        last; None where nobody is by that number, and where an identifier of hers began anew.
        """

    def customers(self, after: int, limit: int) -> list[int]:
        """Customer numbers above `after`, rising."""

    def log(self, after: int, limit: int) -> list[tuple[int, bytes | None]]:
        """The change log after a position: (position, fact bytes or None), rising; workspace facts among them."""

    def holding(self, after: int, upto: int, since: int, until: int, text: bytes) -> list[int]:
        """The leaves, each once, of customers' facts whose bytes hold a text.

        Args:
            after: a position of the change log, not included.
            upto: the last position.
            since: of when they occurred, microseconds.
            until: the end of that time, not included.
            text: not empty.
        """

    def workspace_facts(self) -> list[Row]:
        """All facts that belong to no customer, oldest first."""

    def plans(self) -> list[PlanEntry]:
        """The plan history, oldest first."""

    def plan(self, number: int) -> StoredPlan:
        """One entry of the plan history with what it says; LookupError where there is none."""

    def keys(self) -> list[Key]:
        """All live keys."""

    def books(self) -> list[StoredBook]:
        """All books of ordinals, by touchpoint and producer."""

    def counts(self) -> dict[str, int]:
        """Facts, identifiers, customers, checkpoints, linked (identifiers), bytes on disk; from any thread.

        Takes seconds where there are millions.
        """

    def check(self) -> Iterator[str]:
        """Every fault found in the store's own books, in words; nothing where it is sound."""

    def close(self) -> None:
        """Writes what is pending and lets go."""
