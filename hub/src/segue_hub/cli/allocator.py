"""The C library's allocator, fitted to a process that runs for months.

Owns what a hub's process asks of it; nothing of what is allocated.

glibc raises by itself, to as much as 32 MB, the size from which on a block gets pages of its own, each time such a
block is freed. What was large and short-lived (a batch on its way, what a plan's push looks at) then lies among what is
small and stays, and its room is held for good. Held fast, such blocks go back to the kernel when they are freed.
"""

from __future__ import annotations

import ctypes
import os
from typing import Final

OWN_PAGES: Final = 128 * 1024
"""Bytes from which on a block has pages of its own: where glibc itself begins."""
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
"""Numbers of mallopt(3)."""
SAID: Final = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_MAX_")
"""Where an operator says something of it, nothing is changed: each of them holds it fast as well. So does what
GLIBC_TUNABLES says of malloc."""


def give_back_large_blocks() -> bool:
    """Holds fast from which size on a block has pages of its own; returns whether the C library takes it.

    Before other threads begin. Other C libraries than glibc know no such threshold, or another.
    """
    if any(name in os.environ for name in SAID) or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # no glibc
        return False
    return bool(mallopt(_MMAP_THRESHOLD, OWN_PAGES)) and bool(mallopt(_TRIM_THRESHOLD, OWN_PAGES))
