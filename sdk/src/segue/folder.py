"""A folder that is still there after a power failure, and a file that is still there while it is in use.

Owns what `mkdir` leaves open: a name is on disk when the folder that it stands in was synced. Without that a whole
outbox may be gone, however well its file was written. So it may where somebody removed the file: whoever has it open
hears nothing of it.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path


def make_folder(folder: Path) -> None:
    """Makes a folder, and those above it, so that they last; where they are there, makes sure that they do.

    Raises:
        OSError: it cannot be made, or the disk cannot promise to keep it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for above in folder.absolute().parents:
        with contextlib.suppress(PermissionError):  # of somebody else, who made it
            _sync(above)


def inode(path: Path) -> tuple[int, int] | None:
    """Which file stands under a name, by device and number; None where none does."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EROFS, errno.ENOTSUP):  # a file system that keeps no such promise
            raise
    finally:
        os.close(descriptor)
