"""The ledger in memory: the reference for every other backend (`ledger_ports`).

Owns the plainest version of each port. A unit's changes are collected and applied in order when it ends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager

from segue.domain.instant import NEVER

from .ledger_ports import KeptAudience, Standing, StoredCursor, Telling


class MemoryLedger:
    """See `ledger_ports.LedgerReads`.

    Args:
        lock: held while a unit is applied.
    """

    def __init__(self, lock: AbstractContextManager[object]) -> None:
        self._lock = lock
        self._audiences: dict[int, KeptAudience] = {}
        self._cursors: dict[int, StoredCursor] = {}
        self._tellings: dict[int, dict[int, Telling]] = {}
        self._told: dict[tuple[int, int], int] = {}
        self._wakes: dict[int, int] = {}

    def kept_audiences(self) -> list[KeptAudience]:
        """See `ledger_ports.LedgerReads.kept_audiences`."""
        return [self._audiences[number] for number in sorted(self._audiences)]

    def cursors(self) -> list[StoredCursor]:
        """See `ledger_ports.LedgerReads.cursors`."""
        return [self._cursors[number] for number in sorted(self._cursors)]

    def tellings(self, cursor: int, after: int, limit: int) -> list[Telling]:
        """See `ledger_ports.LedgerReads.tellings`."""
        with self._lock:
            waiting = self._tellings.get(cursor, {})
            return [waiting[number] for number in sorted(waiting) if number > after][:limit]

    def waiting(self, cursor: int, after: int = 0) -> int:
        """See `ledger_ports.LedgerReads.waiting`."""
        return sum(number > after for number in list(self._tellings.get(cursor, {})))

    def standing(self, customer: int) -> Standing:
        """See `ledger_ports.LedgerReads.standing`."""
        with self._lock:
            since = {audience: at for (who, audience), at in self._told.items() if who == customer}
            return Standing(self._wakes.get(customer, NEVER), since)

    def wake_ups(self, after: tuple[int, int], limit: int) -> list[tuple[int, int]]:
        """See `ledger_ports.LedgerReads.wake_ups`."""
        with self._lock:
            return sorted(row for who, at in self._wakes.items() if (row := (at, who)) > after)[:limit]

    def members_of(self, audience: int, after: int, limit: int) -> list[int]:
        """See `ledger_ports.LedgerReads.members_of`."""
        with self._lock:
            return sorted(who for who, other in self._told if other == audience and who > after)[:limit]

    def ledger_counts(self) -> dict[str, int]:
        """See `ledger_ports.LedgerReads.ledger_counts`."""
        with self._lock:
            tellings = sum(len(waiting) for waiting in self._tellings.values())
        return {"members": len(self._told), "tellings": tellings, "wake_ups": len(self._wakes)}

    def ledger_faults(self) -> list[str]:
        """See `ledger_ports.LedgerReads.ledger_faults`."""
        with self._lock:
            strays = {
                "tellings without a cursor": sum(
                    len(waiting) for number, waiting in self._tellings.items() if number not in self._cursors
                ),
                "members of audiences that nobody watches": sum(row[1] not in self._audiences for row in self._told),
                "cursors of audiences that are not kept": sum(
                    cursor.audience not in self._audiences for cursor in self._cursors.values()
                ),
            }
        return [f"{count} {text}" for text, count in strays.items() if count]


class MemoryLedgerUnit:
    """See `ledger_ports.LedgerWrites`.

    Args:
        ledger: what is written.
        changes: the unit's, applied when it ends.
    """

    def __init__(self, ledger: MemoryLedger, changes: list[Callable[[], object]]) -> None:
        self._ledger = ledger
        self._later = changes.append

    def keep_audience(self, audience: KeptAudience) -> None:
        """See `ledger_ports.LedgerWrites.keep_audience`."""
        self._later(lambda: self._ledger._audiences.__setitem__(audience.number, audience))

    def drop_audience(self, number: int) -> None:
        """See `ledger_ports.LedgerWrites.drop_audience`."""

        def change() -> None:
            ledger = self._ledger
            ledger._audiences.pop(number, None)
            ledger._told = {row: since for row, since in ledger._told.items() if row[1] != number}

        self._later(change)

    def keep_cursor(self, cursor: StoredCursor) -> None:
        """See `ledger_ports.LedgerWrites.keep_cursor`."""

        def change() -> None:
            ledger = self._ledger
            members = sorted((at, who) for (who, audience), at in ledger._told.items() if audience == cursor.audience)
            waiting = [Telling(number, who, False, at, "") for number, (at, who) in enumerate(members, cursor.next)]
            ledger._tellings[cursor.number] = {telling.number: telling for telling in waiting}
            ledger._cursors[cursor.number] = cursor._replace(next=cursor.next + len(waiting))

        self._later(change)

    def drop_cursor(self, number: int) -> None:
        """See `ledger_ports.LedgerWrites.drop_cursor`."""
        self._later(lambda: (self._ledger._cursors.pop(number, None), self._ledger._tellings.pop(number, None)))

    def tell(self, cursor: int, tellings: Sequence[Telling]) -> None:
        """See `ledger_ports.LedgerWrites.tell`."""

        def change() -> None:
            ledger = self._ledger
            ledger._tellings[cursor].update({telling.number: telling for telling in tellings})
            ledger._cursors[cursor] = ledger._cursors[cursor]._replace(next=tellings[-1].number + 1)

        if tellings:
            self._later(change)

    def told(self, cursor: int, through: int, at: int) -> None:
        """See `ledger_ports.LedgerWrites.told`."""

        def change() -> None:
            ledger = self._ledger
            waiting = ledger._tellings[cursor]
            ledger._tellings[cursor] = {number: waiting[number] for number in waiting if number > through}
            ledger._cursors[cursor] = ledger._cursors[cursor]._replace(heard_at=at)

        self._later(change)

    def conflate(self, cursor: int, after: int) -> None:
        """See `ledger_ports.LedgerWrites.conflate`."""

        def change() -> None:
            waiting = self._ledger._tellings[cursor]
            behind = [telling for number, telling in sorted(waiting.items()) if number > after]
            times, last = Counter(telling.customer for telling in behind), {t.customer: t.number for t in behind}
            keep = {number for customer, number in last.items() if times[customer] % 2}
            self._ledger._tellings[cursor] = {n: t for n, t in waiting.items() if n <= after or n in keep}

        self._later(change)

    def set_members(self, rows: Iterable[tuple[int, int, int]]) -> None:
        """See `ledger_ports.LedgerWrites.set_members`."""
        found = {(customer, audience): since for customer, audience, since in rows}
        self._later(lambda: self._ledger._told.update(found))

    def drop_members(self, rows: Iterable[tuple[int, int]]) -> None:
        """See `ledger_ports.LedgerWrites.drop_members`."""
        found = list(rows)
        self._later(lambda: [self._ledger._told.pop(row, None) for row in found])

    def wake(self, rows: Iterable[tuple[int, int]]) -> None:
        """See `ledger_ports.LedgerWrites.wake`."""
        found = list(rows)

        def change() -> None:
            for customer, at in found:
                if at < NEVER:
                    self._ledger._wakes[customer] = at
                else:
                    self._ledger._wakes.pop(customer, None)

        self._later(change)

    def rouse(self, customers: Iterable[int], at: int) -> None:
        """See `ledger_ports.LedgerWrites.rouse`."""
        found = list(customers)

        def change() -> None:
            wakes = self._ledger._wakes
            wakes.update({customer: min(at, wakes.get(customer, at)) for customer in found})

        self._later(change)

    def drop_wake_ups(self) -> None:
        """See `ledger_ports.LedgerWrites.drop_wake_ups`."""
        self._later(lambda: self._ledger._wakes.clear())
