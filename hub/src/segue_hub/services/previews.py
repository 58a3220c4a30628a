"""Previews: who would be who if something were said, before it is said.

Owns the rehearsal of a unit of writing: the same resolution as for real, on a unit that writes nothing, so that what is
shown is what happens. And the summary of the customers concerned, before and after, that people decide by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from segue.domain.fact import Fact
from segue.domain.fold import advance
from segue.domain.identifier import Identifier
from segue.domain.instant import NEVER, instant_text

from ..storage.ports import Known, Leaf, Store, Unit
from .head import head_of
from .identities import LinkMemory, Span, span_plain
from .plans import Plans
from .portrait import Plain, portrait
from .resolution import Resolution
from .resolved import Memory

SHOWN: Final = 50
"""Customers told of at most, before and after."""
_COUNTED: Final = ("decisions", "actions", "timeline")
_TOLD: Final = ("facts", "traits", "consents", "subscriptions", "journeys", "ended", "audiences", "interactions")

Members = Sequence[tuple[Identifier, Known]]


class Rehearsal(LinkMemory):
    """The part of `ports.Unit` that resolution uses, on a store that stays as it is.

    Args:
        store: read from.

    Attributes:
        fresh: identifiers that would be new, by number.
        placed: whose each identifier would be, by number; its eras, where it has several.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._store = store
        self.fresh: dict[int, Identifier] = {}
        self.placed: dict[int, list[Known]] = {}

    def resolve(self, identifiers: Iterable[Identifier]) -> dict[Identifier, Known]:
        """See `ports.Unit.resolve`."""
        found = ((identifier, self._store.resolve(identifier)) for identifier in identifiers)
        return {identifier: known for identifier, known in found if known is not None}

    def members(self, customer: int) -> list[tuple[Identifier, Known]]:
        """See `ports.Unit.members`."""
        return self._store.members(customer)

    def add_identifier(self, identifier: Identifier, number: int, customer: int, bucket: int) -> None:
        """See `ports.Unit.add_identifier`."""
        self.fresh[number] = identifier
        self.placed[number] = [Known(number, customer, bucket)]

    def assign(self, numbers: Sequence[int], customer: int, moved: int) -> None:
        """See `ports.Unit.assign`."""
        for name in self.names(numbers).values():
            known = self._store.resolve(name)
            if known is not None:
                self.placed[known.number] = [known._replace(customer=customer, moved=moved)]

    def set_eras(self, number: int, eras: Sequence[Known]) -> None:
        """See `ports.Unit.set_eras`."""
        self.placed[number] = list(eras)

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Whatever else a unit would write has no part in who is who."""
        if name not in ("state", "void", "add_links", "judge", "add_statement"):
            raise AttributeError(name)
        return lambda *_: None


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What would come of facts.

    Attributes:
        facts: that are new, with their leaves' numbers.
        names: the identifiers whose customers are concerned.
        before, after: the members of these customers.
    """

    facts: list[tuple[int, Fact]]
    names: set[Identifier]
    before: list[Members]
    after: list[Members]


class Previews:
    """Rehearses.

    Args:
        store: who is who, and facts.
        plans: the plan in force.
        clock: the hub's time in microseconds.
        decode: a fact as the store keeps it.
    """

    def __init__(self, store: Store, plans: Plans, clock: Callable[[], int], decode: Callable[[bytes], Fact]) -> None:
        self._store = store
        self._plans = plans
        self._clock = clock
        self._decode = decode

    def preview(self, facts: Sequence[Fact]) -> Plain:
        """The customers concerned, before and after.

        Args:
            facts: as admission lets them through.
        """
        with self._store.snapshot():
            rehearsed = self.rehearse(facts)
            before, after = self.summaries(rehearsed.before), self.summaries(rehearsed.after, rehearsed.facts)
            unknown = [str(name) for fact in facts for name in fact.identifiers if self._store.resolve(name) is None]
        return self.document(before, after) | {"unknown": list(dict.fromkeys(unknown))}

    def concerned(self, facts: Sequence[Fact]) -> set[Identifier]:
        """The identifiers whose customers would be others, and those that the facts name."""
        with self._store.snapshot():
            return self.rehearse(facts).names

    def standing(self, names: Iterable[Identifier]) -> list[Plain]:
        """The customers that identifiers resolve to, in short."""
        with self._store.snapshot():
            return self.summaries(self.customers(names))

    def document(self, before: list[Plain], after: list[Plain]) -> Plain:
        """Both sides, as JSON."""
        return {
            "at": instant_text(self._clock()),
            "plan": self._plans.current.digest,
            "changes": [one["identifiers"] for one in before] != [one["identifiers"] for one in after],
            "before": before[:SHOWN],
            "after": after[:SHOWN],
            "customers_before": len(before),
            "customers_after": len(after),
        }

    def rehearse(self, facts: Sequence[Fact]) -> Rehearsed:
        """Who would be who."""
        stored = self._store.find([fact.id for fact in facts])
        fresh = [fact for fact in facts if fact.id not in stored]
        position, number = self._store.head()
        unit = Rehearsal(self._store)
        named = {name for fact in facts for name in fact.identifiers}
        resolution = Resolution(
            cast(Unit, unit), self._plans.current.kinds, number, {n for f in fresh for n in f.identifiers}, Memory(),
            self._decode,
        )  # fmt: skip
        leaves = []
        for fact in fresh:
            position += 1
            leaves.append((resolution.link(fact, position).number, fact))
        resolution.settle(position)
        names = dict(unit.fresh) | self._store.names(set(unit.placed).difference(unit.fresh))
        moved = {names[n] for n, eras in unit.placed.items() if _moved(eras, self._eras(names[n]))}
        concerned = named | moved
        for found in (self.customers(concerned), self._after(concerned, unit, names)):
            concerned = concerned | {name for members in found for name, _ in members}
        return Rehearsed(leaves, concerned, self.customers(concerned), self._after(concerned, unit, names))

    def customers(self, names: Iterable[Identifier]) -> list[Members]:
        """The customers that these identifiers resolve to, with all their members, as the store has them."""
        customers = {known.customer for name in names for known in self._eras(name)}
        return [self._store.members(customer) for customer in customers]

    def _after(self, names: Iterable[Identifier], unit: Rehearsal, placed: Mapping[int, Identifier]) -> list[Members]:
        numbers = {name: number for number, name in placed.items()}
        eras = [unit.placed[numbers[name]] if name in numbers else self._eras(name) for name in names]
        moved = [(placed[number], known) for number, found in unit.placed.items() for known in found]
        after: list[Members] = []
        for customer in {known.customer for found in eras for known in found}:
            stay = [member for member in self._store.members(customer) if member[1].number not in unit.placed]
            after.append([*stay, *(member for member in moved if member[1].customer == customer)])
        return after

    def _eras(self, name: Identifier) -> list[Known]:
        known = self._store.resolve(name)
        return [] if known is None else self._store.eras(known.number) or [known]

    def summaries(self, customers: Iterable[Members], facts: Sequence[tuple[int, Fact]] = ()) -> list[Plain]:
        """Customers in short, by strength.

        Args:
            customers: their members.
            facts: that are not in the store, with their leaves' numbers.
        """
        strength = self._plans.current.kinds.strength
        ordered = [sorted(found, key=lambda own: (strength(own[0]), own[1].since)) for found in customers]
        ordered.sort(key=lambda found: (strength(found[0][0]), found[0][1].since))
        return [self._summary(found, facts) for found in ordered]

    def _summary(self, members: Members, unwritten: Sequence[tuple[int, Fact]]) -> Plain:
        plan, now = self._plans.current, self._clock()
        rows = self._store.facts([Leaf(own.number, own.bucket, own.since, own.until) for _, own in members])
        facts = [(row.position, self._decode(row.body)) for row in rows]
        for leaf, fact in unwritten:
            if any(own.number == leaf and own.since <= fact.occurred_at < own.until for _, own in members):
                facts.append((NEVER, fact))
        content = head_of(plan, facts, [(name, own.since) for name, own in members]).content
        advance(content, plan, now)
        names = list(dict.fromkeys(str(name) for name, _ in members))
        found = portrait(content, plan, now, names, 0)
        short: dict[str, Any] = {name: found[name] for name in _TOLD} | {name: len(found[name]) for name in _COUNTED}
        short["traits"] = {name: trait["value"] for name, trait in found["traits"].items()}
        spans = [span_plain(Span(name, own.number, own.since, own.until)) for name, own in members]
        return {"customer": names[0], "identifiers": spans, **short}


def _moved(now: Sequence[Known], before: Sequence[Known]) -> bool:
    """Whether an identifier, or one of its eras, would be another customer's."""
    return {(own.customer, own.since, own.until) for own in now} != {(o.customer, o.since, o.until) for o in before}
