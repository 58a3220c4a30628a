"""The journal: one outbox's file, in SQLite (WAL, synchronous FULL).

Owns the tables and every statement on them: facts that wait or were delivered a while ago, what the hub will never
take, producers with their ordinals, and those that are lost. Each method that writes is one transaction: on disk when
it returns, none of it where it raises; only that the hub has a fact may reach the disk with the next. One thread.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from .adoption import copying
from .clock import SYSTEM, System
from .domain.tally import Tally, runs
from .journal_schema import SCHEMA
from .offered import Offered, Row
from .ordinals import Lost, Reservation, Statement

KEPT_AFTER: Final = 24 * 3600.0
"""Seconds that acknowledged facts are kept, to be offered again to a hub whose history was cut."""
KEPT_BYTES: Final = 64 * 1024 * 1024
DEAD_AFTER: Final = 7 * 24 * 3600.0
"""Seconds that refused facts are kept for people to look at."""
DEAD_ROWS: Final = 1000
LANES: Final = ("must", "analytics")
LOST_ROWS: Final = 10_000
"""Runs of lost ordinals that are remembered at most; what is lost beyond stays a gap until its producer ends."""
TOLD_AT_ONCE: Final = 200
"""Runs in one statement to the hub at most."""


class Journal:
    """A file.

    Args:
        path: made where it is absent.
        system: whose time is asked for how long something is kept.

    Attributes:
        waiting: facts that wait, by their producer's number in this file.
        bytes: of their bodies.

    Raises:
        sqlite3.Error: it cannot be written.
    """

    def __init__(self, path: Path, system: System = SYSTEM) -> None:
        self.path = path
        self._system = system
        self.waiting: Counter[int] = Counter()
        self.bytes = 0
        self._names: dict[int, str] = {0: ""}
        self._numbers: dict[str, int] = {"": 0}
        self._lost_untold = 0
        self._ended_untold: tuple[int, ...] = ()
        self._run = _connected(path)
        try:
            self._run.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
            self._run.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT;")  # whoever adopts it finds all of it, or none
        except sqlite3.Error:
            self._run.close()
            raise

    def _now(self) -> float:
        return self._system.now() / 1_000_000

    @contextmanager
    def _transaction(self, *, synced: bool = True) -> Iterator[sqlite3.Connection]:
        run = self._run
        (level,) = run.execute("PRAGMA synchronous").fetchone()
        try:
            run.execute(f"PRAGMA synchronous = {level if synced else 'NORMAL'}")
            run.execute("BEGIN IMMEDIATE")
            yield run
            run.execute("COMMIT")
        except BaseException:  # whatever it was: nothing of it may stay
            if run.in_transaction:
                run.execute("ROLLBACK")
            raise
        finally:
            run.execute(f"PRAGMA synchronous = {level}")

    def _recount(self) -> None:
        found = self._run.execute("SELECT producer, count(*), sum(size) FROM facts WHERE delivered IS NULL GROUP BY 1")
        rows = found.fetchall()
        self.waiting = Counter({producer: count for producer, count, _ in rows})
        self.bytes = sum(size for _, _, size in rows)
        self._look()

    def _look(self) -> None:
        """Who is there, and what is still to be told."""
        rows = self._run.execute("SELECT number, name, ended AND told IS NULL FROM producers").fetchall()
        self._names = {0: ""} | {number: name for number, name, _ in rows}
        self._numbers = {name: number for number, name in self._names.items()}
        self._ended_untold = tuple(number for number, _, untold in rows if untold)
        (self._lost_untold,) = self._run.execute("SELECT count(*) FROM lost WHERE told IS NULL").fetchone()

    # -- facts ---------------------------------------------------------------------------------------------------------

    def write(self, facts: Sequence[Offered], reservations: Sequence[Reservation], lost: Sequence[Lost]) -> int:
        """Keeps facts, with what their producers reserved and lost; returns how many were here already, by id."""
        now, ignored = self._now(), []
        with self._transaction() as run:
            for reservation in reservations:
                self._reserve(reservation)
            numbers = {name: self._number_of(name) for name in {fact.producer for fact in facts}}
            before = run.total_changes
            run.executemany(
                "INSERT OR IGNORE INTO facts (id, lane, size, at, body, producer, ordinal)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(f.id, f.lane, len(f.body), now, f.body, numbers[f.producer], f.ordinal) for f in facts],
            )
            if run.total_changes - before < len(facts):
                ignored = self._ignored(facts, numbers)
            self._lose([*lost, *(Lost(fact.producer, fact.ordinal, fact.ordinal, "duplicate") for fact in ignored)])
        if lost or ignored or not numbers.keys() <= self._numbers.keys():
            self._look()
        self.waiting.update(numbers[fact.producer] for fact in facts)
        self.waiting.subtract(numbers[fact.producer] for fact in ignored)
        self.bytes += sum(len(fact.body) for fact in facts) - sum(len(fact.body) for fact in ignored)
        return len(ignored)

    def reserve(self, reservations: Sequence[Reservation]) -> None:
        """Keeps how far producers came, and what they reserved."""
        with self._transaction():
            for reservation in reservations:
                self._reserve(reservation)

    def _reserve(self, reservation: Reservation) -> None:
        self._run.execute(
            "INSERT INTO producers (name, handed_out, reserved, ended) VALUES (?, ?, ?, 0)"
            " ON CONFLICT (name) DO UPDATE SET handed_out = excluded.handed_out, reserved = excluded.reserved",
            (reservation.producer, reservation.handed_out, reservation.reserved),
        )

    def _number_of(self, producer: str) -> int:
        number = self._numbers.get(producer)
        if number is None:
            insert = "INSERT OR IGNORE INTO producers (name, handed_out, reserved, ended) VALUES (?, 0, 0, 0)"
            self._run.execute(insert, (producer,))
            (number,) = self._run.execute("SELECT number FROM producers WHERE name = ?", (producer,)).fetchone()
        return int(number)

    def _ignored(self, facts: Sequence[Offered], numbers: dict[str, int]) -> list[Offered]:
        """Facts whose id stands here already, from before or from earlier in the same batch."""
        seen: set[bytes] = set()
        found = []
        for fact in facts:
            there = self._run.execute("SELECT producer, ordinal FROM facts WHERE id = ?", (fact.id,)).fetchone()
            if fact.id in seen or there != (numbers[fact.producer], fact.ordinal):
                found.append(fact)
            seen.add(fact.id)
        return found

    def take(self, rows: int, size: int) -> list[Row]:
        """The next that wait, at most so many and so large together: lane by lane, each in its order."""
        found: list[Row] = []
        total = 0
        for number, id_, body, producer, ordinal in self._run.execute(
            "SELECT number, id, body, producer, ordinal FROM facts WHERE delivered IS NULL"
            " ORDER BY lane, number LIMIT ?",
            (rows,),
        ):
            total += len(body)
            if found and total > size:
                break
            found.append(Row(number, id_, body, self._names.get(producer, ""), ordinal))
        return found

    def settle(
        self, delivered: Sequence[Row], refused: Sequence[tuple[Row, str, str]], lost: Sequence[Lost]
    ) -> set[bytes]:
        """The hub answered: delivered ones are kept a while, refused ones laid aside; returns whose row was here."""
        now, gone = self._now(), []
        with self._transaction(synced=bool(refused or lost)) as run:
            for row in delivered:
                statement = "UPDATE facts SET delivered = ? WHERE id = ? AND delivered IS NULL"
                if run.execute(statement, (now, row.id)).rowcount:
                    gone.append(row)
            for row, code, reason in refused:
                run.execute("INSERT OR REPLACE INTO dead VALUES (?, ?, ?, ?, ?)", (row.id, code, reason, row.body, now))
                if run.execute("DELETE FROM facts WHERE id = ? AND delivered IS NULL", (row.id,)).rowcount:
                    gone.append(row)
            self._lose(lost)
        self._gone([(self._numbers.get(row.producer, 0), len(row.body)) for row in gone])
        if lost:
            self._look()
        return {row.id for row in gone}

    def drop(self, count: int, spared: Iterable[int], reason: str, since: float = 0.0, until: float = 0.0) -> int:
        """Deletes the oldest that wait, the last lane first, and notes their ordinals as lost; returns how many.

        With `until`, only those journalled between two instants (seconds): whoever says otherwise has another clock.
        """
        but = ",".join(str(number) for number in spared)
        waiting = f"FROM facts WHERE delivered IS NULL AND number NOT IN ({but})"
        with self._transaction() as run:
            rows: list[tuple[int, int, int, int]] = []
            if until:
                statement = f"SELECT number, producer, ordinal, size {waiting} AND at >= ? AND at < ?"
                rows = run.execute(f"{statement} ORDER BY lane DESC, number LIMIT ?", (since, until, count)).fetchall()
            else:
                statement = f"SELECT number, producer, ordinal, size {waiting} AND lane = ?"
                for lane in reversed(range(len(LANES))):  # each in the index's order, so that nothing is sorted
                    rows += run.execute(f"{statement} ORDER BY number LIMIT ?", (lane, count - len(rows))).fetchall()
            run.executemany("DELETE FROM facts WHERE number = ?", [(number,) for number, _, _, _ in rows])
            for producer in sorted({row[1] for row in rows} - {0}):
                ordinals = runs(ordinal for _, whose, ordinal, _ in rows if whose == producer)
                self._lose([Lost(self._names[producer], first, last, reason) for first, last in ordinals])
        self._gone([(producer, size) for _, producer, _, size in rows])
        self._look()
        return len(rows)

    def _gone(self, rows: Sequence[tuple[int, int]]) -> None:
        self.waiting.subtract(producer for producer, _ in rows)
        self.bytes -= sum(size for _, size in rows)

    def forget(self) -> None:
        """Lets go of what was acknowledged or told long ago, or is too much."""
        run, now = self._run, self._now()
        run.execute("DELETE FROM facts WHERE delivered < ?", (now - KEPT_AFTER,))
        (kept,) = run.execute("SELECT coalesce(sum(size), 0) FROM facts WHERE delivered IS NOT NULL").fetchone()
        if kept > KEPT_BYTES:
            run.execute(
                "DELETE FROM facts WHERE number IN (SELECT number FROM facts WHERE delivered IS NOT NULL"
                " ORDER BY number LIMIT (SELECT count(*) / 2 FROM facts WHERE delivered IS NOT NULL))"
            )
        run.execute("DELETE FROM dead WHERE at < ?", (now - DEAD_AFTER,))
        run.execute(
            "DELETE FROM dead WHERE id IN (SELECT id FROM dead ORDER BY at DESC LIMIT -1 OFFSET ?)", (DEAD_ROWS,)
        )
        run.execute("DELETE FROM lost WHERE told < ?", (now - KEPT_AFTER,))
        run.execute(
            "DELETE FROM lost WHERE number IN (SELECT number FROM lost WHERE told IS NOT NULL"
            " ORDER BY number DESC LIMIT -1 OFFSET ?)",
            (LOST_ROWS,),
        )
        gone = run.execute(
            "DELETE FROM producers WHERE ended AND told < ? AND number NOT IN (SELECT producer FROM facts)"
            " AND number NOT IN (SELECT producer FROM lost)",
            (now - KEPT_AFTER,),
        ).rowcount
        if gone:
            self._look()

    def offer_again(self) -> int:
        """What was acknowledged and is still kept waits again, with what was told; returns how many facts."""
        with self._transaction() as run:
            count = run.execute("UPDATE facts SET delivered = NULL WHERE delivered IS NOT NULL").rowcount
            run.execute("UPDATE lost SET told = NULL")
            run.execute("UPDATE producers SET told = NULL")
        self._recount()
        return count

    def dead(self) -> list[tuple[bytes, str, str]]:
        """What the hub will never take: (id, code, reason)."""
        return self._run.execute("SELECT id, code, reason FROM dead ORDER BY id").fetchall()

    # -- ordinals ------------------------------------------------------------------------------------------------------

    def _lose(self, lost: Iterable[Lost]) -> None:
        """Within a transaction: notes lost ordinals; a run that goes on where one ended makes it longer."""
        run = self._run
        for one in lost:
            if not one.first:
                continue  # it never had a number, so nobody misses one
            number = self._number_of(one.producer)
            longer = run.execute(
                "UPDATE lost SET last = ? WHERE producer = ? AND last = ? AND reason = ? AND told IS NULL",
                (one.last, number, one.first - 1, one.reason),
            ).rowcount
            if not longer:
                run.execute(
                    "INSERT OR IGNORE INTO lost (producer, first, last, reason) SELECT ?, ?, ?, ?"
                    " WHERE (SELECT count(*) FROM lost WHERE told IS NULL) < ?",
                    (number, one.first, one.last, one.reason, LOST_ROWS),
                )

    def _settled(self, number: int) -> int:
        """Through which ordinal a producer waits for nothing any more."""
        if self.waiting[number] > 0:  # lanes keep their producers' order: the first is the lowest
            (ordinal,) = self._run.execute(
                "SELECT ordinal FROM facts WHERE delivered IS NULL AND producer = ? ORDER BY lane, number LIMIT 1",
                (number,),
            ).fetchone()
            return max(0, int(ordinal) - 1)
        (handed_out,) = self._run.execute("SELECT handed_out FROM producers WHERE number = ?", (number,)).fetchone()
        return int(handed_out)

    @property
    def untold(self) -> bool:
        """Whether there is something to tell of lost ordinals, or of producers that ended and have nothing waiting."""
        return self._lost_untold > 0 or any(self.waiting[number] <= 0 for number in self._ended_untold)

    def statement(self) -> Statement | None:
        """What is to be told next."""
        if not self.untold:
            return None
        run, lost, ended = self._run, defaultdict[int, list[tuple[int, int, str]]](list), dict[int, tuple[int, int]]()
        rows = run.execute(
            "SELECT number, producer, first, last, reason FROM lost WHERE told IS NULL ORDER BY number LIMIT ?",
            (TOLD_AT_ONCE,),
        ).fetchall()
        for _, producer, first, last, reason in rows:
            lost[producer].append((first, last, reason))
        if len(rows) < TOLD_AT_ONCE:  # else there may be more of an ended one's
            quiet = [number for number in self._ended_untold if self.waiting[number] <= 0][:TOLD_AT_ONCE]
            for number in quiet:
                statement = "SELECT handed_out, reserved FROM producers WHERE number = ?"
                ended[number] = run.execute(statement, (number,)).fetchone()
        tallies = []
        for number in sorted({*lost, *ended}):
            handed_out, reserved = ended.get(number, (0, 0))
            tally = Tally(self._names[number], (), self._settled(number), tuple(lost.get(number, ())))
            tallies.append(replace(tally, handed_out=handed_out, at_most=reserved, ended=number in ended))
        return Statement(tuple(tallies), tuple((row[0], row[3]) for row in rows), tuple(ended))

    def told(self, statement: Statement) -> None:
        """The hub has it."""
        now = self._now()
        with self._transaction() as run:
            # A run that became longer meanwhile is told again, whole.
            run.executemany(
                "UPDATE lost SET told = ? WHERE number = ? AND last = ?", [(now, *n) for n in statement.lost]
            )
            run.executemany("UPDATE producers SET told = ? WHERE number = ?", [(now, n) for n in statement.producers])
        self._look()

    # -- orphans and the end -------------------------------------------------------------------------------------------

    def adopt(self, orphan: Path) -> int:
        """Takes over all that another file has to deliver or to tell; returns how many facts.

        Raises:
            sqlite3.Error: it cannot be read, or this one not written; nothing was taken over.
        """
        with copying(self._run, orphan) as copy, self._transaction():
            adopted = copy()
        self._recount()
        return adopted

    def move(self, path: Path) -> None:
        """Goes on in another file, with all that this one holds: its own is gone, and can only be read by us.

        Raises:
            sqlite3.Error: that file cannot be written; this one goes on.
        """
        run = _connected(path)
        try:
            self._run.backup(run)
            run.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
        except sqlite3.Error:
            run.close()
            raise
        self._run.close()
        self.path, self._run = path, run

    @property
    def empty(self) -> bool:
        """Whether nothing is lost where the file is removed."""
        return not (+self.waiting or self.untold or self.dead())

    def close(self) -> None:
        """Lets go of the file."""
        self._run.close()


def _connected(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path.absolute().as_uri(), isolation_level=None, check_same_thread=False, uri=True)
