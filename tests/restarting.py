"""A whole hub in the test's own thread, started again on the same store as often as a test likes.

Owns `Restarting`: real services and real gRPC on an event loop that only runs while it is asked. What the store keeps
survives a restart, in memory too; all that the services remember does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from segue.domain.content import Content
from segue.domain.fact import Fact
from segue.domain.identifier import Identifier
from segue.domain.section import encode
from segue_hub.app import Hub
from segue_hub.services.admission import Result
from segue_hub.settings import Settings
from segue_hub.storage.memory import MemoryStore
from segue_hub.storage.ports import Store
from segue_hub.storage.sqlite import SqliteStore

from tests.building import BEGIN, DAY

Answer = TypeVar("Answer")
Span = tuple[Identifier, int]
"""An identifier, and since when: 0, or the ending that it begins anew with."""


class _Kept(MemoryStore):
    """A store in memory that outlives the hub that closes it."""

    def close(self) -> None:
        """Nothing is let go of."""


class Restarting:
    """A hub that can be started again.

    Args:
        plan: the document in force.
        path: of a SQLite store; memory where not given.
        heads: live contexts kept; few, so that they are read from checkpoints again and again.
        touchpoint: who publishes.

    Attributes:
        hub: the one that runs now.
        starts: how many ran.
    """

    def __init__(
        self, plan: Mapping[str, Any], path: Path | None = None, *, heads: int = 100_000, touchpoint: str = "desk"
    ) -> None:
        self._plan, self._path, self._heads, self._touchpoint = plan, path, heads, touchpoint
        self._memory = _Kept()
        self._loop = asyncio.new_event_loop()
        self.now = BEGIN + 90 * DAY
        self.starts = 0
        self.hub = self._start()

    def _start(self) -> Hub:
        store: Store = SqliteStore(self._path) if self._path is not None else self._memory
        settings = Settings(insecure=True, heads=self._heads, port=0, http_port=None)

        async def start() -> Hub:
            hub = Hub(settings, lambda: self.now, store)
            await hub.start()
            await hub.plans.push(self._plan, {}, "test", "")
            await hub.sweep.idle()
            return hub

        self.starts += 1
        return self._loop.run_until_complete(start())

    def restart(self) -> None:
        """Stops, and starts again on the same store."""
        self.run(self.hub.stop(grace=0.0))
        self.hub = self._start()

    def close(self) -> None:
        self.run(self.hub.stop(grace=0.0))
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Lets the hub run while something is done."""
        return self._loop.run_until_complete(work)

    def publish(self, batches: Iterable[Sequence[Fact]]) -> list[Result]:
        """All batches at once, so that the hub puts them into units as it likes; none may be refused."""
        grant = self.hub.plans.current.grant(self._touchpoint)
        # Admission changes a fact in place.
        calls: list[Awaitable[list[Result]]] = [
            self.hub.ingest.publish([Fact(*fact.content()) for fact in batch], grant) for batch in batches
        ]

        async def send() -> list[Result]:
            return [result for results in await asyncio.gather(*calls) for result in results]

        found = self.run(send())
        assert {result.status for result in found} <= {"ACCEPTED", "DUPLICATE"}, found
        return found

    def push(self, plan: Mapping[str, Any]) -> None:
        """Puts another plan in force, and waits until history is seen by it."""
        self._plan = plan

        async def enact() -> None:
            await self.hub.plans.push(plan, {}, "test", "")
            await self.hub.sweep.idle()

        self.run(enact())

    def customers(self) -> dict[frozenset[Span], int]:
        """Who is one, by the store, with the customer's number."""
        store, after = self.hub.store, 0
        found: dict[frozenset[Span], int] = {}
        while numbers := store.customers(after, 500):
            after = numbers[-1]
            for number in numbers:
                found[frozenset((name, known.since) for name, known in store.members(number))] = number
        return found

    def customer(self, name: Identifier) -> int:
        """The number of whoever is known by an identifier now."""
        known = self.hub.contexts.find(name)
        assert known is not None, f"nobody is known by {name}"
        return known.customer

    def content(self, customer: int) -> Content:
        """What is folded of a customer, by number."""
        return self.hub.contexts.read(customer).content

    def encoded(self, customer: int) -> bytes:
        """The content as bytes."""
        return encode(self.content(customer), self.hub.plans.current)

    def version(self, customer: int) -> int:
        """The version of a customer's context."""
        return self.hub.contexts.version(self.hub.contexts.read(customer))


@contextmanager
def restarting(plan: Mapping[str, Any], path: Path | None = None, **more: Any) -> Iterator[Restarting]:
    """A hub while the block runs."""
    running = Restarting(plan, path, **more)
    try:
        yield running
    finally:
        running.close()
