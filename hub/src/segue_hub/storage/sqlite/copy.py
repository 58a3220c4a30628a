"""Copies of a store's file: taken while the hub serves, put back while none does.

Owns the copy at one position of the change log, and the restore: under the store's own lock, checked before it takes
the place of anything, and with a new incarnation, so that every SDK knows that history was cut and offers again what it
kept.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

import apsw
from segue.folder import make_folder

from ..ports import StoreBroken
from .store import SqliteStore, lock_store

PAGES: Final = 2_000
"""Pages copied in one step."""
_BESIDE: Final = ("-wal", "-shm")


def copy_store(source: Path, target: Path, progress: Callable[[int, int], None] = lambda done, of: None) -> int:
    """Copies a store that may be open in this process; returns the position through which the copy goes.

    Args:
        source: the store's file.
        target: made anew; on disk when this returns.
        progress: told of pages (done, of all).

    Raises:
        StoreBroken: the file cannot be read, or the copy not be written.
    """
    try:
        target.unlink(missing_ok=True)
        with closing(apsw.Connection(str(source), flags=apsw.SQLITE_OPEN_READONLY)) as reader:
            # One transaction: the copy is of one moment, whatever is written meanwhile.
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM meta").fetchall()
            with closing(apsw.Connection(str(target))) as writer:
                with writer.backup("main", reader, "main") as backup:
                    while not backup.done:
                        backup.step(PAGES)
                        progress(backup.page_count - backup.remaining, backup.page_count)
                writer.execute("PRAGMA journal_mode = DELETE").fetchall()
                ((position,),) = writer.execute(
                    "SELECT max((SELECT coalesce(max(position), 0) FROM facts),"
                    " (SELECT coalesce(max(position), 0) FROM changes))"
                ).fetchall()
        _sync(target)
    except (apsw.Error, OSError) as error:
        target.unlink(missing_ok=True)
        raise StoreBroken(f"{source} cannot be copied to {target}: {error}") from None
    return int(str(position))


def restore_store(backup: Path, target: Path) -> tuple[Path | None, str]:
    """Puts a copy in the place of a store.

    Args:
        backup: a file of `copy_store`.
        target: the store's file; what is there is kept beside it.

    Returns:
        Where the former store is now, None where there was none; and the new incarnation.

    Raises:
        StoreInUse: a hub serves the target.
        StoreBroken: the copy is not sound; nothing was changed.
    """
    incoming = target.with_name(f"{target.name}.restoring")
    make_folder(target.parent)
    copy_store(backup, incoming)
    with closing(SqliteStore(incoming)) as checked:
        faults = list(checked.check())
    if faults:
        _remove(incoming)
        raise StoreBroken(f"{backup} is not sound: {'; '.join(faults[:3])}")
    incarnation = uuid.uuid4().hex
    with closing(apsw.Connection(str(incoming))) as connection:
        connection.execute("UPDATE meta SET value = ? WHERE name = 'incarnation'", (incarnation,))
        connection.execute("PRAGMA journal_mode = DELETE").fetchall()
    _sync(incoming)
    # No hub may serve what is replaced, nor begin to while it is.
    with closing(lock_store(target)):
        former = _put_aside(target)
        incoming.replace(target)
        _sync_folder(target.parent)
    Path(f"{incoming}.lock").unlink(missing_ok=True)
    return former, incarnation


def _put_aside(target: Path) -> Path | None:
    """The former store as one whole file under another name."""
    if not target.exists():
        return None
    with closing(apsw.Connection(str(target))) as connection:
        found = connection.execute("SELECT value FROM meta WHERE name = 'incarnation'").fetchall()
        connection.execute("PRAGMA journal_mode = DELETE").fetchall()  # what the write-ahead log holds goes in
    former = target.with_name(f"{target.name}.before-{str(found[0][0])[:8]}" if found else f"{target.name}.before")
    target.replace(former)
    return former


def _remove(path: Path) -> None:
    for other in (path, *(Path(f"{path}{suffix}") for suffix in (*_BESIDE, ".lock"))):
        other.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
