"""The sweep: after a new plan, history is seen by it without waiting for somebody to ask.

Owns the background work that a plan leaves behind: who is one is decided anew where its limits differ, and contexts
that were kept by an earlier plan are folded again. Contexts are right without it, since whoever asks for one has it
folded then; the sweep makes that cheap. Bounded: a small part of the event loop's time, less while facts come in; and a
hub that starts where all is done looks at nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from typing import Any, Final

import structlog
from segue.domain.fact import Fact
from segue.domain.identifier import IdentifierKinds

from ..storage.ports import Checkpoint, Store, Unit
from .contexts import Contexts
from .ingest import Ingest
from .plans import Plans
from .stored_content import stored

log = structlog.get_logger("segue.hub")

LINKED: Final = 200
"""Identifiers whose links are decided anew by one unit of writing."""
CONTEXTS: Final = 64
"""Contexts written by one unit."""
LOOKED_AT: Final = 128
"""Checkpoints looked at in one go: they lie anywhere in the file."""
SLICE: Final = 0.004
"""Seconds of folding before others get their turn."""
SHARE: Final = 3.0
"""While facts come in, the sweep rests so many times as long as it worked."""
PAGE: Final = 1_000
"""Changes of the log looked at in one go."""
_LIMITS: Final = "identity.limits"
_LINKS: Final = "identity.links"
_FOLDED: Final = "contexts.plan"


def limits_digest(kinds: IdentifierKinds) -> str:
    """What decides which links hold, as a short text."""
    return hashlib.sha256(repr(kinds.limits()).encode()).hexdigest()[:16]


class Sweep:
    """One workspace's sweep.

    Args:
        store: where links and checkpoints are.
        plans: the plan in force.
        contexts: folds.
        ingest: writes, in order with all facts.
        decode: a fact as the store keeps it.
    """

    def __init__(
        self, store: Store, plans: Plans, contexts: Contexts, ingest: Ingest, decode: Callable[[bytes], Fact]
    ) -> None:
        self._decode = decode
        self._store = store
        self._plans = plans
        self._contexts = contexts
        self._ingest = ingest
        self._due = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._progress: dict[str, Any] = {"state": "idle", "done": 0, "of": 0}
        self._at_rest = asyncio.Event()
        plans.listeners.append(self._begin_anew)

    def start(self) -> None:
        """Begins; what an earlier run of the hub left undone is done first."""
        self._begin_anew()
        self._task = asyncio.create_task(self._run(), name="sweep")

    def _begin_anew(self) -> None:
        self._at_rest.clear()
        self._due.set()

    @property
    def progress(self) -> dict[str, Any]:
        """What it is at: `state` is idle, links, identity or contexts; `done` of `of` of these; `plan`.

        Contexts are counted by their customers' numbers, which have gaps.
        """
        return dict(self._progress)

    async def idle(self) -> None:
        """Waits until nothing is left to do."""
        await self._at_rest.wait()

    async def _run(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            try:
                await self._find_links()
                await self._decide_identity()
                await self._fold_contexts()
            except Exception:  # whatever it is: contexts stay right without the sweep, and the hub serves on
                log.exception("the sweep after a new plan failed; contexts are folded as they are asked for")
            self._progress["state"] = "idle"
            if not self._due.is_set():
                self._at_rest.set()

    async def _find_links(self) -> None:
        """A store from before links were kept: they are found in the log."""
        if self._store.noted(_LINKS):
            return
        last = self._store.head()[0]
        self._begin("links", last)
        for after in range(0, last, PAGE):
            rows = [(self._decode(body), position) for position, body in self._store.log(after, PAGE) if body]
            sighted = [(fact, position) for fact, position in rows if len(fact.identifiers) > 1]
            if sighted:
                await self._ingest.decide_again(sighted=sighted)
            self._progress["done"] = min(after + PAGE, last)
            await asyncio.sleep(0)
        await self._note(_LINKS, "all")

    async def _note(self, name: str, value: str) -> None:
        def write(unit: Unit, position: int) -> int:
            unit.note(name, value)
            return position

        await self._ingest.exclusively(write)

    async def _decide_identity(self) -> None:
        """Links are judged by the limits of the plan in force."""
        wanted, since = limits_digest(self._plans.current.kinds), self._plans.position
        if self._are_decided(wanted):
            return
        self._begin("identity", self._store.counts()["linked"])
        after = 0
        while numbers := self._store.linked(after, LINKED):
            began = time.perf_counter()
            await self._ingest.decide_again(numbers)
            after = numbers[-1]
            self._progress["done"] += len(numbers)
            await self._rest(time.perf_counter() - began)
            if self._due.is_set():
                return  # yet another plan: begin anew with that one

        await self._note(_LIMITS, f"{wanted}@{since}")

    def _are_decided(self, wanted: str) -> bool:
        """Whether all links were judged by these limits, and none by those of a plan that was in force since, however
        short.
        """
        digest, _, position = self._store.noted(_LIMITS).partition("@")
        if digest != wanted:
            return False
        since = [entry for entry in self._plans.history if entry.position >= int(position or 0)]
        return all(limits_digest(self._plans.plan(entry).kinds) == wanted for entry in since)

    async def _fold_contexts(self) -> None:
        """Checkpoints by earlier plans are made anew."""
        plan = self._plans.current
        wanted = f"{len(self._plans.history)} {plan.digest}"  # one that is in force again is another
        if self._store.noted(_FOLDED) == wanted:
            return
        self._begin("contexts", self._store.head()[1])
        after, kept = 0, list[tuple[int, Checkpoint, set[tuple[int, int]]]]()
        while found := self._store.checkpointed(after, LOOKED_AT):
            began = time.perf_counter()
            for customer in [customer for customer, by in found if not by.startswith(plan.digest)]:
                head = self._contexts.glance(customer)
                if head.position:
                    data = stored(head.content, plan)
                    # The name of now: an incident may have been told of since the sweep began.
                    checkpoint = Checkpoint(head.position, self._plans.current.folded_as(head.content.at), data)
                    kept.append((customer, checkpoint, self._members(customer)))
                if time.perf_counter() - began > SLICE:
                    await self._rest(time.perf_counter() - began)
                    began = time.perf_counter()
                if self._due.is_set():
                    return
                if len(kept) == CONTEXTS:
                    await self._keep(kept)
            if kept:
                await self._keep(kept)
            await self._rest(time.perf_counter() - began)
            after = self._progress["done"] = found[-1][0]
        if not self._due.is_set():
            await self._note(_FOLDED, wanted)

    def _members(self, customer: int) -> set[tuple[int, int]]:
        return {(known.number, known.since) for _, known in self._store.members(customer)}

    async def _keep(self, kept: list[tuple[int, Checkpoint, set[tuple[int, int]]]]) -> None:
        """Writes checkpoints of customers who are still made of the same identifiers."""

        def write(unit: Unit, position: int) -> int:
            for customer, checkpoint, members in kept:
                if {(known.number, known.since) for _, known in unit.members(customer)} == members:
                    unit.checkpoint(customer, checkpoint)
            return position

        await self._ingest.exclusively(write)
        kept.clear()

    def _begin(self, state: str, of: int) -> None:
        self._progress = {"state": state, "done": 0, "of": of, "plan": self._plans.current.digest}

    async def _rest(self, worked: float) -> None:
        await asyncio.sleep(worked * SHARE if self._ingest.busy else 0)

    async def close(self) -> None:
        """Stops; what is undone is done at the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
