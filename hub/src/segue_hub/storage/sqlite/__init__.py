"""The default store: one SQLite file, WAL, synchronous=FULL, one connection that writes and checkpoints."""

from .copy import copy_store, restore_store
from .store import SqliteStore, StoreInUse

__all__ = ["SqliteStore", "StoreInUse", "copy_store", "restore_store"]
