"""Reading who is who from SQLite: identifiers, links, statements and facts of leaves, over one connection.

Owns the reads that a store and a unit of writing have in common (`ports.Links`, and members).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Any, Final

from segue.domain.identifier import Identifier
from segue.domain.instant import NEVER

from ..ports import ALL, FactRow, Known, Leaf, LinkRow, StatementRow, Until

MANY: Final = (256, 32, 4, 1)
"""Rows of one statement: few different ones, so that all stay prepared."""
_fact_row = partial(tuple.__new__, FactRow)  # a third of what `FactRow(*row)` costs, for every fact of a long life


@lru_cache(maxsize=64)
def listing(sql: str, count: int) -> str:
    """The statement for `count` values in its `IN (?)`."""
    return sql.replace("IN (?)", f"IN ({', '.join('?' * count)})")


def in_parts(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """The rows in parts as long as `MANY` allows."""
    start = 0
    for size in MANY:
        while len(rows) - start >= size:
            yield rows[start : start + size]
            start += size


class LinkReader:
    """See `ports.Links`.

    Args:
        run: executes on the connection that is read.
        sql: the statements by name.
    """

    def __init__(self, run: Callable[..., Any], sql: dict[str, str]) -> None:
        self._read = run
        self._sql = sql

    def names(self, numbers: Iterable[int]) -> dict[int, Identifier]:
        """See `ports.Links.names`."""
        run, sql = self._read, self._sql["names"]
        rows = (row for part in in_parts(list(numbers)) for row in run(listing(sql, len(part)), part))
        return {number: Identifier(kind, value) for number, kind, value in rows}

    def links(self, number: int, limit: int = 0, until: Until = ALL) -> list[LinkRow]:
        """See `ports.Links.links`."""
        return [LinkRow(*row) for row in self._read(self._sql["links"], (number, limit or -1, *until))]

    def held(self, strong: Sequence[int]) -> list[LinkRow]:
        """See `ports.Links.held`."""
        run, sql = self._read, self._sql["held"]
        return [LinkRow(*row) for part in in_parts(strong) for row in run(listing(sql, len(part)), part)]

    def statements(self, number: int) -> list[StatementRow]:
        """See `ports.Links.statements`."""
        return [StatementRow(*row) for row in self._read(self._sql["statements"], (number,))]

    def eras(self, number: int) -> list[Known]:
        """See `ports.Links.eras`."""
        return [Known(*row) for row in self._read(self._sql["eras"], (number,))]

    def facts(self, leaves: Sequence[Leaf], after: int = 0) -> list[FactRow]:
        """See `ports.Links.facts`."""
        run, sql, between = self._read, self._sql["facts"], self._sql["facts_between"]
        found: list[FactRow] = []
        for number, bucket, since, until in leaves:
            if since or until != NEVER:
                rows = run(between, (bucket, number, after, since, until))
            else:
                rows = run(sql, (bucket, number, after))
            found += map(_fact_row, rows)
        return found

    def members(self, customer: int) -> list[tuple[Identifier, Known]]:
        """See `ports.Store.members`."""
        run, sql = self._read, self._sql
        found = [(Identifier(row[0], row[1]), Known(*row[2:])) for row in run(sql["members"], (customer,))]
        found += [(Identifier(row[0], row[1]), Known(*row[2:])) for row in run(sql["member_eras"], (customer,))]
        return found
