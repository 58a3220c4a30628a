"""What a service refuses, with a stable code.

Owns the refusals that cross from services to servers; the table from code to status is `server/status.py`.
"""

from __future__ import annotations

from segue.errors import SegueError

from ..storage.ports import StoreBroken, StoreFull


class Refusal(SegueError):
    """A request that is not served. `retry_after_ms` is a hint, 0 where retrying is no use."""

    def __init__(self, code: str, message: str, *, retry_after_ms: int = 0) -> None:
        super().__init__(message, code=code)
        self.retry_after_ms = retry_after_ms


def not_found(what: str) -> Refusal:
    """Nobody and nothing is known by that name."""
    return Refusal("NOT_FOUND", what)


def overloaded(message: str, retry_after_ms: int) -> Refusal:
    """Too much is under way."""
    return Refusal("OVERLOADED", message, retry_after_ms=retry_after_ms)


def store_refuses(error: StoreFull | StoreBroken) -> Refusal:
    """What a caller is told of a store that does not write."""
    return Refusal(error.code, str(error), retry_after_ms=1000)
