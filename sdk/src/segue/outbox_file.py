"""The file of an outbox: that it is there, that it is ours, and that it is still there.

Owns its name and its lock, and what is done where somebody removed it while we use it, as whoever cleans up folders of
temporary files does: what it holds is written anew, or nothing that is written from then on counts as kept. Knows no
row: that is the journal's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from .adoption import lock_path, orphans, remove
from .clock import SYSTEM, System
from .file_lock import FileLock
from .folder import inode, make_folder
from .journal import Journal


class OutboxFile:
    """One process's.

    Args:
        folder: where it goes.
        name: that no other process has.
        system: time.

    Attributes:
        path: of the file; None before there was one.
        lock: held while the process lives.
    """

    def __init__(self, folder: Path, name: str, system: System = SYSTEM) -> None:
        self._folder = folder
        self._name = name
        self._system = system
        self._inode: tuple[int, int] | None = None
        self._times = 0
        self.path: Path | None = None
        self.lock: FileLock | None = None

    def open(self) -> Journal:
        """Makes the file.

        Raises:
            OSError, sqlite3.Error: it cannot be made or written.
        """
        make_folder(self._folder)
        self.path = self._folder / f"{self._name}.outbox"
        if self.lock is None:
            self.lock = FileLock(lock_path(self.path))
        journal = Journal(self.path, self._system)
        self._inode = inode(self.path)
        return journal

    def orphans(self, prefix: str) -> Iterator[tuple[Path, FileLock]]:
        """What dead processes left beside it, each with its lock."""
        assert self.path is not None
        return orphans(self._folder, prefix, self.path)

    @property
    def gone(self) -> bool:
        """Whether it was removed, or stands where nobody looks for it any more."""
        return self.path is not None and self._inode is not None and inode(self.path) != self._inode

    def write_anew(self, journal: Journal) -> None:
        """What is in a journal whose file is gone goes into another file, beside where that was.

        Raises:
            OSError, sqlite3.Error: it cannot be made or written; the journal is as it was.
        """
        make_folder(self._folder)
        # Not under the same name: whoever lets go of a file removes what stands beside that name.
        path = self._folder / f"{self._name}.{self._times + 1}.outbox"
        lock = FileLock(lock_path(path))
        try:
            journal.move(path)
        except BaseException:
            remove(path, lock)
            raise
        if self.lock is not None:
            with contextlib.suppress(OSError):
                self.lock.remove()
        self.path, self.lock, self._inode = path, lock, inode(path)
        self._times += 1

    def close(self, *, empty: bool) -> None:
        """Lets go of it; one with nothing left in it is removed."""
        if self.lock is not None and self.path is not None:
            if empty:
                with contextlib.suppress(OSError):  # it is gone already, and so is its folder
                    remove(self.path, self.lock)
            self.lock.close()
