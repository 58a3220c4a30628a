"""Workspace facts: taken in, kept durably, and told to everybody with the plan (FA5).

Owns their admission, their log and who hears of them. They belong to no customer, so they are few and all of them are
in memory; the state they give is the domain's, a function of their set. Acknowledged = durable, and in every later
read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from segue.domain.fact import Fact
from segue.domain.grant import Grant
from segue.domain.incident import OPENED, check_incident
from segue.domain.instant import NEVER, SECOND, instant_text
from segue.domain.vocabulary import nearest
from segue.errors import FactError

from ..storage.ports import Store, StoreBroken, StoreFull
from .admission import ACCEPTED, DUPLICATE, SKEW, Result, misfit, rejected
from .failure import store_refuses
from .plans import News, Plans

FURTHEST: Final = 366 * 86_400 * SECOND
"""How far ahead (microseconds) something may be announced."""


class WorkspaceLog:
    """The workspace facts of a hub.

    Args:
        store: where they are kept.
        plans: the plan that is read with them.
        clock: the hub's time in microseconds.
        encode, decode: a fact as the store keeps it.

    Attributes:
        listeners: told, in order, once the plan in force is read with what is new.
    """

    def __init__(
        self, store: Store, plans: Plans, clock: Callable[[], int], encode: Callable[[Fact], bytes],
        decode: Callable[[bytes], Fact],
    ) -> None:  # fmt: skip
        self._store = store
        self._plans = plans
        self._clock = clock
        self._encode = encode
        self._decode = decode
        self._facts: dict[bytes, Fact] = {}
        self._about: dict[str, list[Fact]] = {}
        self._writing = asyncio.Lock()
        self._tasks: set[asyncio.Task[list[Result]]] = set()
        self.write: Callable[..., Any] | None = None
        self.listeners: list[Callable[[News], None]] = []
        position = 0
        for row in store.workspace_facts():
            fact = decode(row.body)
            self._keep(fact)
            position = row.position if fact.type in plans.current.incidents else position
        plans.inform(plans.current.workspace.telling(self._about), position)

    def _keep(self, fact: Fact) -> None:
        self._facts[fact.id] = fact
        self._about.setdefault(fact.type, []).append(fact)

    async def publish(self, facts: Sequence[Fact], grant: Grant, sent_at: int = 0) -> list[Result]:
        """Stores facts that belong to no customer.

        Args:
            facts: as read from the wire.
            grant: of who sends them.
            sent_at: the producer's clock, microseconds; 0 where it keeps none.

        Returns:
            One result per fact, in order; ACCEPTED and DUPLICATE are durable.

        Raises:
            Refusal: STORE_FULL or STORE_BROKEN: nothing is acknowledged.
        """
        # A caller that hangs up meanwhile changes nothing: what is durable has to be known too.
        task = asyncio.create_task(self._taken(facts, grant, sent_at), name="workspace")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def _taken(self, facts: Sequence[Fact], grant: Grant, sent_at: int) -> list[Result]:
        async with self._writing:
            fresh: dict[bytes, Fact] = {}
            results = [self._admitted(self._read(fact, grant), grant, sent_at, fresh) for fact in facts]
            if fresh:
                await self._stored(list(fresh.values()))
        return [self._hinted(fact, result) for fact, result in zip(facts, results, strict=True)]

    def _read(self, fact: Fact, grant: Grant) -> Fact:
        """As it will be read again: live is replay."""
        fact.touchpoint, fact.channel, fact.interaction = grant.touchpoint, "", None
        return self._decode(self._encode(fact))

    def _admitted(self, fact: Fact, grant: Grant, sent_at: int, fresh: dict[bytes, Fact]) -> Result:
        try:
            check_incident(fact)
        except FactError as error:
            return misfit(error)
        if not grant.may_write(fact.kind, fact.type):
            name = f"{fact.kind}:{fact.type}"
            cure = f'Add "{name}" or "{fact.kind}:*" under `writes` in touchpoints.yaml'
            return rejected(
                "NOT_GRANTED", f"type: touchpoint {grant.touchpoint!r} may not write {name!r}. {cure}", "type"
            )
        known = self._facts.get(fact.id) or fresh.get(fact.id)
        if known is not None:
            if sent_at:
                fact.occurred_at = known.occurred_at  # without a clock to rely on, the first arrival counts
            same = fact.content() == known.content()
            return DUPLICATE if same else _conflict(fact)
        if self._store.find([fact.id]):
            return _conflict(fact)
        now = self._clock()
        if sent_at and abs(now - sent_at) > SKEW:
            fact.occurred_at += now - sent_at
        if not 0 < fact.occurred_at <= now + FURTHEST:
            latest = instant_text(now + FURTHEST)
            return rejected("TOO_FAR_AHEAD", f"occurred_at: is later than {latest}. Give it nearer then", "occurred_at")
        fresh[fact.id] = fact
        return ACCEPTED

    async def _stored(self, facts: list[Fact]) -> None:
        assert self.write is not None, "wired by the composition root"
        first = [0]

        def write(unit: Any, position: int) -> int:
            first[0] = position + 1
            for fact in facts:
                position += 1
                unit.append_change(position, fact.kind, fact.type)
                unit.add_workspace_fact(position, fact.id, self._encode(fact))
            return position

        def kept() -> None:
            for fact in facts:
                self._keep(fact)
            self._inform([fact.type for fact in facts], first[0])

        try:
            await self.write(write, kept)
        except (StoreFull, StoreBroken) as error:
            raise store_refuses(error) from None

    def _inform(self, named: list[str], first: int) -> None:
        """What incidents, told of at positions from `first` on, are now."""
        before = self._plans.current
        workspace = before.workspace.telling({name: self._about[name] for name in named})
        changed = frozenset(n for n in named if workspace.differs_from(before.workspace, [n]) < NEVER)
        read = not changed.isdisjoint(before.incidents)
        positions = [position for position, name in enumerate(named, first) if name in before.incidents]
        self._plans.inform(workspace, positions[-1] if read else 0)
        last = first + len(named) - 1
        news = News(changed, read, self._plans.current.folds_otherwise_from(before), first, last)
        for listener in self.listeners:
            listener(news)

    def _hinted(self, fact: Fact, result: Result) -> Result:
        """Whoever fixes what was never opened may have misspelt it: taken all the same, the opening may be late."""
        about = self._about.get(fact.type, ())
        if result.status == "REJECTED" or any(told.properties["state"] == OPENED for told in about):
            return result
        near = nearest(fact.type, [name for name in self._about if name != fact.type])
        hint = f" Did you mean {near!r}?" if near else ""
        return Result(result.status, "INCIDENT_UNKNOWN", f"{fact.type} was never opened.{hint}", "type")


def _conflict(fact: Fact) -> Result:
    return rejected("ID_CONFLICT", f"id: {fact.id.hex()} names another fact. Use a new id", "id")
