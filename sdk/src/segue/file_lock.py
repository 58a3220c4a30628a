"""A lock on a file that belongs to one process: it dies with it, and a forked child does not keep it alive.

Owns `flock` and what a fork does to it. The lock hangs on the open file, which a child shares: as long as the child
has it open, the parent's outbox would look alive after the parent died. So the child closes its copies, first thing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Final

from .fork import unforked

_held: Final[set[int]] = set()


class FileLock:
    """An exclusive lock, taken at once or not at all.

    Args:
        path: of a file that is nothing but the lock; made where it is absent.

    Raises:
        OSError: another process holds it, or it was removed by who held it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pid = os.getpid()
        with unforked:  # no fork between the opening and the noting of what was opened
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            _held.add(self._descriptor)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine, there = os.fstat(self._descriptor), path.stat()
            if (mine.st_dev, mine.st_ino) != (there.st_dev, there.st_ino):
                raise FileNotFoundError(f"{path} was removed by who held it")
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Lets go."""
        if self._pid == os.getpid() and self._descriptor >= 0:
            with unforked:
                descriptor, self._descriptor = self._descriptor, -1
                _held.discard(descriptor)
                os.close(descriptor)

    def remove(self) -> None:
        """Removes the file and lets go: who opened it meanwhile finds that it is gone."""
        self._path.unlink(missing_ok=True)
        self.close()


def _in_child() -> None:
    for descriptor in _held:  # closing is all that is done: the lock itself is the parent's, and stays
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_in_child)
