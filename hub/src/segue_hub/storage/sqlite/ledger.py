"""The ledger on SQLite: its reads over the reading connection, its writes within a unit (`ledger_ports`).

Owns the translation into the statements of `queries.sql`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from segue.domain.instant import NEVER

from ..ledger_ports import KeptAudience, Standing, StoredCursor, Telling
from .link_reader import in_parts, listing


@lru_cache(maxsize=64)
def _several(sql: str, count: int, width: int) -> str:
    """The statement for `count` rows in its `VALUES`."""
    row = f"({', '.join('?' * width)})"
    return sql.replace(f"VALUES {row}", f"VALUES {', '.join([row] * count)}")


class LedgerReader:
    """See `ledger_ports.LedgerReads`.

    Args:
        run: executes on the connection that is read.
        sql: the statements by name.
    """

    def __init__(self, run: Callable[..., Any], sql: dict[str, str]) -> None:
        self._asked = run
        self._statements = sql

    def kept_audiences(self) -> list[KeptAudience]:
        """See `ledger_ports.LedgerReads.kept_audiences`."""
        return [KeptAudience(*row) for row in self._asked(self._statements["kept_audiences"])]

    def cursors(self) -> list[StoredCursor]:
        """See `ledger_ports.LedgerReads.cursors`."""
        return [StoredCursor(*row) for row in self._asked(self._statements["cursors"])]

    def tellings(self, cursor: int, after: int, limit: int) -> list[Telling]:
        """See `ledger_ports.LedgerReads.tellings`."""
        rows = self._asked(self._statements["tellings"], (cursor, after, limit))
        return [Telling(number, customer, bool(gone), at, reason) for number, customer, gone, at, reason in rows]

    def waiting(self, cursor: int, after: int = 0) -> int:
        """See `ledger_ports.LedgerReads.waiting`."""
        return int(next(self._asked(self._statements["waiting"], (cursor, after)))[0])

    def standing(self, customer: int) -> Standing:
        """See `ledger_ports.LedgerReads.standing`."""
        wake_at = next((row[0] for row in self._asked(self._statements["wake_up_of"], (customer,))), NEVER)
        return Standing(wake_at, dict(self._asked(self._statements["memberships"], (customer,))))

    def wake_ups(self, after: tuple[int, int], limit: int) -> list[tuple[int, int]]:
        """See `ledger_ports.LedgerReads.wake_ups`."""
        return [(row[0], row[1]) for row in self._asked(self._statements["wake_ups"], (*after, limit))]

    def members_of(self, audience: int, after: int, limit: int) -> list[int]:
        """See `ledger_ports.LedgerReads.members_of`."""
        return [row[0] for row in self._asked(self._statements["members_of"], (audience, after, limit))]

    def ledger_counts(self) -> dict[str, int]:
        """See `ledger_ports.LedgerReads.ledger_counts`."""
        members, tellings, wake_ups = next(self._asked(self._statements["ledger_counts"]))
        return {"members": members, "tellings": tellings, "wake_ups": wake_ups}

    def ledger_faults(self) -> list[str]:
        """See `ledger_ports.LedgerReads.ledger_faults`."""
        counts = next(self._asked(self._statements["ledger_strays"]))
        texts = ("tellings without a cursor", "members of audiences that nobody watches",
                 "cursors of audiences that are not kept")  # fmt: skip
        return [f"{count} {text}" for count, text in zip(counts, texts, strict=True) if count]


class LedgerWriter:
    """See `ledger_ports.LedgerWrites`.

    Args:
        run: executes on the writing connection.
        sql: the statements by name.
    """

    def __init__(self, run: Callable[..., Any], sql: dict[str, str]) -> None:
        self._do = run
        self._written_by = sql

    def _each(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        sql = self._written_by[statement]
        for row in rows:
            self._do(sql, row)

    def _put(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Many rows by few statements: each step of one lets go of the interpreter."""
        sql = self._written_by[statement]
        for part in in_parts(rows):
            self._do(_several(sql, len(part), len(part[0])), tuple(chain.from_iterable(part)))

    def keep_audience(self, audience: KeptAudience) -> None:
        """See `ledger_ports.LedgerWrites.keep_audience`."""
        self._each("keep_audience", [audience])

    def drop_audience(self, number: int) -> None:
        """See `ledger_ports.LedgerWrites.drop_audience`."""
        self._each("drop_audience", [(number,)])
        self._each("drop_audience_members", [(number,)])

    def keep_cursor(self, cursor: StoredCursor) -> None:
        """See `ledger_ports.LedgerWrites.keep_cursor`."""
        self._each("keep_cursor", [cursor])
        self._each("welcome", [(cursor.number, cursor.next, cursor.audience)])
        (count,) = next(self._do(self._written_by["waiting"], (cursor.number, 0)))
        self._each("move_cursor", [(cursor.next + count, cursor.number)])

    def drop_cursor(self, number: int) -> None:
        """See `ledger_ports.LedgerWrites.drop_cursor`."""
        self._each("drop_cursor", [(number,)])
        self._each("drop_tellings", [(number,)])

    def tell(self, cursor: int, tellings: Sequence[Telling]) -> None:
        """See `ledger_ports.LedgerWrites.tell`."""
        if tellings:
            self._put("tell", [(cursor, *telling) for telling in tellings])
            self._each("move_cursor", [(tellings[-1].number + 1, cursor)])

    def told(self, cursor: int, through: int, at: int) -> None:
        """See `ledger_ports.LedgerWrites.told`."""
        self._each("told", [(cursor, through)])
        self._each("heard", [(at, cursor)])

    def conflate(self, cursor: int, after: int) -> None:
        """See `ledger_ports.LedgerWrites.conflate`."""
        self._each("conflate", [(cursor, after)])

    def set_members(self, rows: Iterable[tuple[int, int, int]]) -> None:
        """See `ledger_ports.LedgerWrites.set_members`."""
        self._put("set_member", sorted(rows))

    def drop_members(self, rows: Iterable[tuple[int, int]]) -> None:
        """See `ledger_ports.LedgerWrites.drop_members`."""
        self._each("drop_member", sorted(rows))

    def wake(self, rows: Iterable[tuple[int, int]]) -> None:
        """See `ledger_ports.LedgerWrites.wake`."""
        found = sorted(rows)
        self._put("wake", [row for row in found if row[1] < NEVER])
        sql = self._written_by["drop_some_wake_ups"]
        for part in in_parts([customer for customer, at in found if at >= NEVER]):
            self._do(listing(sql, len(part)), part)

    def rouse(self, customers: Iterable[int], at: int) -> None:
        """See `ledger_ports.LedgerWrites.rouse`."""
        self._put("rouse", [(customer, at) for customer in sorted(customers)])

    def drop_wake_ups(self) -> None:
        """See `ledger_ports.LedgerWrites.drop_wake_ups`."""
        self._each("drop_wake_ups", [()])
