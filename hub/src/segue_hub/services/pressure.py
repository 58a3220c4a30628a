"""Pressure: how much is under way at this moment, and what was refused for want of room since the hub started.

Owns the counts and their bounds; knows neither calls nor streams, only names that take a place and give it back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from .failure import Refusal, overloaded

RETRY_MS: Final = 250
"""Told to whom no place is free, where nothing better is known."""


class Pressure:
    """Counts what is under way.

    Attributes:
        refused: by the limit that was reached.
        slow_readers: streams that were ended since they did not read.
        abandoned: batches that were dropped unwritten, since nobody waited for their answer any more.
    """

    def __init__(self) -> None:
        self._taken: Counter[tuple[str, str]] = Counter()
        self.refused: Counter[str] = Counter()
        self.slow_readers = 0
        self.abandoned = 0

    def full(self, places: list[tuple[str, str, int]]) -> Refusal | None:
        """The refusal where one of several places is not free; each is (limit, of whom, how many)."""
        for limit, whose, most in places:
            if self._taken[limit, whose] >= most:
                return self.refuse(limit, f"{most} are under way already{' of ' + whose if whose else ''}")
        return None

    def refuse(self, limit: str, message: str, retry_after_ms: int = RETRY_MS) -> Refusal:
        """Counts that a limit was reached; returns what is told."""
        self.refused[limit] += 1
        return overloaded(f"limit {limit}: {message}. Come back later, as RetryInfo says", retry_after_ms)

    @contextmanager
    def taken(self, places: list[tuple[str, str, int]]) -> Iterator[None]:
        """Holds places while the block runs.

        Raises:
            Refusal: OVERLOADED: one of them is not free; none is held.
        """
        refusal = self.full(places)
        if refusal is not None:
            raise refusal
        names = [(limit, whose) for limit, whose, _ in places]
        self._taken.update(names)
        try:
            yield
        finally:
            for name in names:
                self._taken[name] -= 1
                if not self._taken[name]:
                    del self._taken[name]

    def count(self, limit: str) -> int:
        """How many places of a limit are held, by all."""
        return sum(count for (name, _), count in self._taken.items() if name == limit)

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "calls": self.count("calls") + self.count("admin_calls"),
            "streams": self.count("streams"),
            "refused": dict(self.refused),
            "slow_readers": self.slow_readers,
            "abandoned": self.abandoned,
        }
