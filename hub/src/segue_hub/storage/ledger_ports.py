"""What the ledger needs of a store: who was told what of an audience, and when membership is asked again (TI2, TI8).

Owns the rows of the ledger and the ports that read and write them; every backend has them beside `ports`. A cursor's
tellings are what it is still to hear, in order; members are as all cursors will know them once they heard.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from segue.domain.instant import NEVER


class KeptAudience(NamedTuple):
    """An audience whose members are kept, since a cursor listens.

    Attributes:
        basis: digest of what its members were derived by; empty while they are still being found.
    """

    number: int
    name: str
    basis: str = ""


class StoredCursor(NamedTuple):
    """A named place in what is told of one audience.

    Attributes:
        audience: its number.
        next: number of the next telling; those below it were told, or are to be.
        heard_at: when something was last acknowledged, in microseconds; when it was made where nothing was yet.
    """

    number: int
    touchpoint: str
    name: str
    audience: int
    next: int
    heard_at: int


class Telling(NamedTuple):
    """One joiner or leaver, for one cursor. Numbers rise, with gaps.

    Attributes:
        at: when it became so, in microseconds.
        reason: why, where it is not simply so by the facts: see `services.ledger`.
    """

    number: int
    customer: int
    left: bool
    at: int
    reason: str


class Standing(NamedTuple):
    """What is kept of a customer.

    Attributes:
        wake_at: membership is to be asked again at this instant at the latest; NEVER where time changes nothing.
        since: by audience number, since when she is told to be a member.
    """

    wake_at: int
    since: Mapping[int, int]


NOBODY = Standing(NEVER, {})


class LedgerReads(Protocol):
    """Reads the ledger."""

    def kept_audiences(self) -> list[KeptAudience]:
        """All audiences whose members are kept, by number."""

    def cursors(self) -> list[StoredCursor]:
        """All cursors, by number."""

    def tellings(self, cursor: int, after: int, limit: int) -> list[Telling]:
        """What a cursor is to hear after a number, rising."""

    def waiting(self, cursor: int, after: int = 0) -> int:
        """How many tellings a cursor is still to hear after a number."""

    def standing(self, customer: int) -> Standing:
        """What is kept of a customer."""

    def wake_ups(self, after: tuple[int, int], limit: int) -> list[tuple[int, int]]:
        """Wake-ups as (instant, customer), rising, behind one of them."""

    def members_of(self, audience: int, after: int, limit: int) -> list[int]:
        """The kept members of an audience above a customer's number, rising."""

    def ledger_counts(self) -> dict[str, int]:
        """Members, tellings and wake-ups, as numbers of rows."""

    def ledger_faults(self) -> list[str]:
        """Every fault found in the ledger's rows, in words; nothing where they are sound."""


class LedgerWrites(Protocol):
    """Writes the ledger, within a unit."""

    def keep_audience(self, audience: KeptAudience) -> None:
        """An audience, in place of what was kept under its number."""

    def drop_audience(self, number: int) -> None:
        """Forgets an audience and its members."""

    def keep_cursor(self, cursor: StoredCursor) -> None:
        """A new cursor; it is told of all who are members once this unit ends, from its `next` on."""

    def drop_cursor(self, number: int) -> None:
        """Forgets a cursor and what it is still to hear."""

    def tell(self, cursor: int, tellings: Sequence[Telling]) -> None:
        """More for a cursor to hear; its `next` moves behind the last."""

    def told(self, cursor: int, through: int, at: int) -> None:
        """A cursor has heard everything through a number, as acknowledged at an instant."""

    def conflate(self, cursor: int, after: int) -> None:
        """Of what a cursor is to hear behind a number, only what makes a difference in the end stays, by customer."""

    def set_members(self, rows: Iterable[tuple[int, int, int]]) -> None:
        """Members as (customer, audience, since)."""

    def drop_members(self, rows: Iterable[tuple[int, int]]) -> None:
        """No members any more, as (customer, audience)."""

    def wake(self, rows: Iterable[tuple[int, int]]) -> None:
        """Wake-ups as (customer, instant), in place of earlier ones; NEVER forgets one."""

    def rouse(self, customers: Iterable[int], at: int) -> None:
        """These customers are asked at an instant at the latest."""

    def drop_wake_ups(self) -> None:
        """Forgets all wake-ups."""
