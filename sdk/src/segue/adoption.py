"""Adoption: what a dead process left in its outbox becomes part of a living one's.

Owns who is an orphan (a file that nobody holds the lock of), how its rows are copied in one transaction, and that its
files are gone after. A process that dies in between leaves the orphan for the next one: copying twice adds nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from .file_lock import FileLock

_PRODUCERS: Final = (
    "INSERT OR IGNORE INTO producers (name, handed_out, reserved, ended)"
    " SELECT name, handed_out, reserved, 1 FROM orphan.producers WHERE told IS NULL ORDER BY number"
)
_LOST: Final = (
    "INSERT OR IGNORE INTO lost (producer, first, last, reason) SELECT mine.number, l.first, l.last, l.reason"
    " FROM orphan.lost l JOIN orphan.producers p ON p.number = l.producer JOIN producers mine ON mine.name = p.name"
    " WHERE l.told IS NULL ORDER BY l.number"
)
_DEAD: Final = "INSERT OR IGNORE INTO dead SELECT id, code, reason, body, at FROM orphan.dead"
_FACTS: Final = (
    "INSERT OR IGNORE INTO facts (id, lane, size, at, body, producer, ordinal)"
    " SELECT f.id, f.lane, f.size, f.at, f.body, coalesce(mine.number, 0), f.ordinal FROM orphan.facts f"
    " LEFT JOIN orphan.producers p ON p.number = f.producer LEFT JOIN producers mine ON mine.name = p.name"
    " WHERE f.delivered IS NULL ORDER BY f.number"
)
_UNNUMBERED: Final = (
    "INSERT OR IGNORE INTO facts (id, lane, size, at, body, producer, ordinal)"
    " SELECT id, lane, size, at, body, 0, 0 FROM orphan.facts WHERE delivered IS NULL ORDER BY number"
)
"""From a file of the time before ordinals."""


def lock_path(outbox: Path) -> Path:
    """Where the lock of an outbox's file is."""
    return outbox.with_suffix(".lock")


def orphans(folder: Path, prefix: str, mine: Path) -> Iterator[tuple[Path, FileLock]]:
    """The files of dead processes, each with its lock, which the caller lets go of."""
    for path in sorted(folder.glob(f"{prefix}*.outbox")):
        if path == mine:
            continue
        try:
            lock = FileLock(lock_path(path))
        except OSError:
            continue  # its process lives, or another one adopts it right now
        if path.exists():
            yield path, lock
        else:  # adopted or removed since it was listed: our lock made nothing but its own file
            lock.remove()


def remove(outbox: Path, lock: FileLock) -> None:
    """Removes an outbox whose lock is held; the lock goes last, so that nobody finds half of it."""
    for suffix in ("", "-wal", "-shm"):
        outbox.with_name(outbox.name + suffix).unlink(missing_ok=True)
    lock.remove()


@contextmanager
def copying(run: sqlite3.Connection, orphan: Path) -> Iterator[Callable[[], int]]:
    """Gives what copies an orphan's rows, to be called within a transaction; it returns how many facts it copied.

    Raises:
        sqlite3.Error: it cannot be read.
    """
    # Never made by looking at it: where it is gone, it is no orphan any more.
    run.execute("ATTACH ? AS orphan", (f"{orphan.absolute().as_uri()}?mode=rw",))
    try:
        tables = {name for (name,) in run.execute("SELECT name FROM orphan.sqlite_master WHERE type = 'table'")}

        def copy() -> int:
            if "lost" in tables:  # the last one made: a file without it never took a fact with a number
                for step in (_PRODUCERS, _LOST, _DEAD):
                    run.execute(step)
                return run.execute(_FACTS).rowcount
            return run.execute(_UNNUMBERED).rowcount if "facts" in tables else 0

        yield copy
    finally:
        run.execute("DETACH orphan")
