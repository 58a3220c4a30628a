"""Affected: the decisions and actions that were taken on another identity than is held now.

Owns the comparison of who a customer was held to be when a touchpoint decided, by the position that it decided on, with
who she is held to have been at that instant by all that is known now. Nothing is changed: what to do about it is
people's to say.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from segue.domain.decision_fact import basis_from, is_from
from segue.domain.fact import ACTION, DECISION, Fact
from segue.domain.identifier import Identifier
from segue.domain.instant import NEVER, instant_text
from segue.domain.plan import Plan

from ..storage.ports import Leaf, LinkRow, Store, bucket_of
from .identities import Identities, LinkMemory, Span
from .moments import Moment, Moments
from .plan_archive import PlanArchive
from .plans import Plans

Plain = dict[str, Any]
REACH: Final = 2_000
"""Identifiers that are looked at most: whoever was ever linked with whom."""
WIDE: Final = 10_000
"""Links of one identifier that are looked at most."""


@dataclass(slots=True)
class _Reached:
    """Who may ever have been one with somebody.

    Attributes:
        whole: whether nobody was left out.
        times: at which instants (rising) who is who may have changed.
        positions: at which positions of the change log it may have.
    """

    names: dict[int, Identifier] = field(default_factory=dict)
    whole: bool = True
    times: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)


class Affected:
    """Looks for decisions.

    Args:
        store: facts and links.
        plans: by whose limits who was who.
        identities: who was who.
        moments: all that is known.
        decode: a fact as the store keeps it.
    """

    def __init__(
        self, store: Store, plans: Plans, identities: Identities, moments: Moments, decode: Callable[[bytes], Fact]
    ) -> None:
        self._store = store
        self._plans = plans
        self._identities = identities
        self._moments = moments
        self._decode = decode

    async def of(self, identifier: Identifier, limit: int) -> Plain:
        """The newest decisions and actions that concern a customer and were taken on another identity.

        Raises:
            Refusal: NOT_FOUND.
        """
        ever, reader = self._moments.ever(), LinkMemory(self._store)
        number = self._identities.number(identifier, ever)
        own = set(self._identities.held(number, ever, reader).names)
        reached = self._reach(number, reader, ever.plan)
        decided = await self._decided(reached)
        archive = PlanArchive(self._store, self._plans, self._decode)
        by_id = {fact.id: (position, fact) for position, fact in decided if fact.kind == DECISION}
        look = _Look(self._store, self._plans, self._identities, reader, reached, archive, by_id)
        found: list[Plain] = []
        unknown = 0
        for looked, (position, fact) in enumerate(decided):
            if looked % 32 == 31:
                await asyncio.sleep(0)
            then = look.position(position, fact)
            if then is None:
                unknown += 1
            elif then:
                found += look.compare(fact, then, own)
            if len(found) >= limit:
                break
        return {
            "asked": str(identifier),
            "customer": str(min(own, key=ever.plan.kinds.strength)),
            "affected": found,
            "looked_at": len(decided),
            "unknown": unknown,
            "whole": reached.whole and len(found) < limit,
        }

    def _reach(self, number: int, reader: LinkMemory, plan: Plan) -> _Reached:
        """Everybody whom links lead to, whether they hold or not."""
        reached, waiting, times, positions = _Reached(), [number], set[int](), set[int]()
        while waiting and len(reached.names) < REACH:
            own = waiting.pop()
            name = reader.names([own]).get(own)
            if name is None or own in reached.names:
                continue
            reached.names[own] = name
            statements = reader.statements(own)
            rows = reader.links(own, WIDE)
            reached.whole = reached.whole and len(rows) < WIDE
            if not statements:
                rows = _before_crowded(own, rows, reader, plan)
            times.update(row.at for row in rows)
            times.update(said.at for said in statements)
            positions.update(row.position for row in rows)
            positions.update(said.position for said in statements)
            waiting += [other for row in rows for other in row[:2] if other not in reached.names]
        reached.whole = reached.whole and not waiting
        reached.times, reached.positions = sorted(times), sorted(positions)
        return reached

    async def _decided(self, reached: _Reached) -> list[tuple[int, Fact]]:
        """Decisions and actions, newest first."""
        found = []
        for number, name in reached.names.items():
            for row in self._store.facts([Leaf(number, bucket_of(name))]):
                fact = self._decode(row.body)
                if fact.kind in (DECISION, ACTION):
                    found.append((row.position, fact))
            await asyncio.sleep(0)
        return sorted(found, key=lambda entry: entry[1].order, reverse=True)


def _before_crowded(number: int, rows: Iterable[LinkRow], reader: LinkMemory, plan: Plan) -> list[LinkRow]:
    """The links through which an identifier may ever have led anywhere: none after it got one partner too many."""
    kinds, found = plan.kinds, sorted(rows, key=lambda row: row.position)
    names = reader.names({other for row in found for other in row[:2]})
    partners = set[int]()
    for index, row in enumerate(found):
        other = row.weak if row.strong == number else row.strong
        if kinds.priority(names[other].kind) <= kinds.priority(names[number].kind):
            partners.add(other)
        if len(partners) > kinds.partners(names[number].kind):
            return found[:index]
    return found


@dataclass(slots=True)
class _Look:
    """Compares, decision by decision; what was worked out once is kept."""

    store: Store
    plans: Plans
    identities: Identities
    reader: LinkMemory
    reached: _Reached
    archive: PlanArchive
    decided: Mapping[bytes, tuple[int, Fact]]
    worked_out: dict[tuple[object, ...], tuple[Span, ...]] = field(default_factory=dict)

    def position(self, position: int, fact: Fact) -> int | None:
        """The position that something was decided on; 0 where nobody was known, None where that cannot be told."""
        if fact.kind == ACTION:
            decision = self.decided.get(bytes.fromhex(fact.properties.get("decision_id", "")))
            return self.position(*decision) if decision is not None else position - 1
        try:
            basis = basis_from(fact.properties)
        except (ValueError, TypeError, KeyError, AttributeError):
            return position - 1  # no SDK's: what was recorded before it
        return basis.version if is_from(self.store.incarnation, basis) else None

    def compare(self, fact: Fact, position: int, own: set[Identifier]) -> list[Plain]:
        """The decision, where it concerns somebody and was taken on another identity."""
        at = fact.properties.get("at")
        at = at if fact.kind == DECISION and isinstance(at, int) else fact.occurred_at
        known = self.store.resolve(fact.identifiers[0])
        if known is None:
            return []
        current = self.plans.current
        in_force = self.archive.in_force(position) if self.plans.history else current
        then = self._held(known.number, Moment(at, position, in_force))
        now = self._held(known.number, Moment(at, NEVER, current))
        if then == now or own.isdisjoint({span.identifier for span in (*then, *now)}):
            return []
        was, is_ = ([str(span.identifier) for span in spans] for spans in (then, now))
        return [{
            "kind": fact.kind,
            "name": fact.type,
            "value": fact.properties.get("value") if fact.kind == DECISION else fact.properties.get("status"),
            "at": instant_text(at),
            "touchpoint": fact.touchpoint,
            "fact": fact.id.hex(),
            "about": str(fact.identifiers[0]),
            "known_position": position,
            "held": list(dict.fromkeys(was)),
            "now": list(dict.fromkeys(is_)),
            "too_many": [name for name in dict.fromkeys(was) if name not in is_],
            "missing": [name for name in dict.fromkeys(is_) if name not in was],
        }]  # fmt: skip

    def _held(self, number: int, moment: Moment) -> tuple[Span, ...]:
        """Who an identifier was held to be; an era that ends later has not ended yet."""
        reached = self.reached
        key = (
            number, moment.plan.digest, bisect_right(reached.times, moment.at),
            bisect_right(reached.positions, moment.position),
        )  # fmt: skip
        found = self.worked_out.get(key)
        if found is None:
            spans = self.identities.held(number, moment, self.reader).spans
            found = tuple(span._replace(until=span.until if span.until <= moment.at else NEVER) for span in spans)
            self.worked_out[key] = found
        return found
