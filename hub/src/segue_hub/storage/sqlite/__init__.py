"""The default store: one SQLite file, WAL, synchronous=FULL, one connection that writes and checkpoints."""

from .store import SqliteStore, StoreInUse

__all__ = ["SqliteStore", "StoreInUse"]
