"""Hidden identity: random people and what is said of who is one, and who they turn out to be by the rule's words.

Owns seeded histories (facts that name several, links, retractions, endings, separations, consents), the ways they may
arrive, and the naive rule: one pass over all links, each accepted or refused by looking at a graph of networkx. It
shares nothing with the hub's own but the strength of kinds.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import networkx as nx
from segue.domain.consent import in_force
from segue.domain.fact import CONSENT, EVENT, LINK, STATEMENTS, TRAIT, Fact, derived_id, properties_bytes
from segue.domain.fold import fold
from segue.domain.holding import holding
from segue.domain.identifier import Identifier, IdentifierKinds
from segue.domain.plan import Plan
from segue.domain.section import encode
from segue.wire import fact_from_bytes, fact_to_bytes

from tests.building import BEGIN, MINUTE, SKETCH, document
from tests.restarting import Span

KINDS: Final = ("account", "email", "phone", "cookie")
_LIMITS: Final = (
    {"account": {"priority": 1, "per_customer": 1}, "email": {"priority": 2, "per_customer": 2},
     "phone": {"priority": 3, "partners": 2}, "cookie": {"priority": 9, "partners": 3}},
    {"account": {"priority": 1, "per_customer": 1}, "email": {"priority": 2},
     "phone": {"priority": 3, "partners": 1}, "cookie": {"priority": 3, "partners": 2}},
    {"account": {"priority": 1, "partners": 2}, "email": {"priority": 1, "per_customer": 1}, "phone": {"priority": 3},
     "cookie": {"priority": 9}},
)  # fmt: skip
_MOST: Final = (7, 4, 256)
LIMITED: Final = [
    document({**SKETCH, "identifiers": limits, "identifiers_per_customer": most})
    for limits, most in zip(_LIMITS, _MOST, strict=True)
]
"""Plans whose limits bite: of one kind, of the size, of partners of the same strength."""
FREE: Final = document({
    **SKETCH, "identifiers_per_customer": 100_000,
    "identifiers": {kind: {"priority": number, "partners": 1000} for number, kind in enumerate(KINDS, 1)},
})  # fmt: skip
"""A plan in which no limit bites."""
_EVENTS: Final = (
    "transfer.started", "transfer.completed", "transfer.details_entered", "help.searched", "call.started",
)  # fmt: skip


class Telling:
    """Makes facts as the hub stores them, each with an id of its own; the same seed makes the same."""

    def __init__(self, source: str) -> None:
        self._source, self._count = source, 0

    def fact(self, kind: str, type_: str, at: int, names: Sequence[Identifier], **properties: Any) -> Fact:
        """One more fact, so many microseconds after the beginning."""
        self._count += 1
        id_ = derived_id(BEGIN + at, self._source, str(self._count))
        raw = properties_bytes(properties)
        return fact_from_bytes(
            fact_to_bytes(Fact(id_, kind, type_, BEGIN + at, 0, tuple(names), "web", "desk", None, raw))
        )

    def event(self, at: int, *names: Identifier, type_: str = "help.searched", **properties: Any) -> Fact:
        return self.fact(EVENT, type_, at, names, **properties)

    def link(self, at: int, *names: Identifier) -> Fact:
        return self.fact(LINK, LINK, at, names)

    def say(self, kind: str, at: int, *names: Identifier, of: Fact | None = None) -> Fact:
        """A retraction, ending or separation; a retraction of one fact where `of` names it."""
        return self.fact(kind, kind, at, names, **({"fact": of.id.hex()} if of is not None else {}))

    def consent(self, at: int, state: str, *names: Identifier, purpose: str = "marketing") -> Fact:
        return self.fact(CONSENT, purpose, at, names, state=state)


def people(each: int, prefix: str = "") -> list[Identifier]:
    """So many identifiers of each kind."""
    return [Identifier(kind, f"{prefix}{kind[0]}{number}") for kind in KINDS for number in range(each)]


def history(
    chance: random.Random, size: int, pool: Sequence[Identifier], *, spoken: float = 0.3, source: str = "linking"
) -> list[Fact]:
    """So many facts about whoever is in the pool; of them a share is about who is one with whom.

    Times are few, so that ties abound; statements are mostly about pairs that were named together, at the instants at
    which that matters.
    """
    telling, facts, minutes = Telling(source), list[Fact](), chance.choice([5, 30])

    def some(sizes: Sequence[int]) -> list[Identifier]:
        return chance.sample(list(pool), min(len(pool), chance.choice(sizes)))

    for _ in range(size):
        at, names, sort = chance.randrange(1, minutes) * MINUTE, some((1, 2, 2, 2, 3)), chance.random()
        together = [fact for fact in facts if len(fact.identifiers) > 1]
        if sort < spoken and (together or len(pool) > 1):
            kind, of = chance.choice(STATEMENTS), chance.choice(together) if together else None
            if of is not None and of.kind in STATEMENTS:
                kind = "retraction"
            pair = chance.sample(list(of.identifiers), 2) if of is not None else some((2,))
            if of is not None and chance.random() < 0.7:
                at = max(1, of.occurred_at - BEGIN + chance.choice([-1, 0, 0, 1, MINUTE]))
            single = of is not None and (of.kind in STATEMENTS or chance.random() < 0.5)
            facts.append(telling.say(kind, at, *pair, of=of if single and kind == "retraction" else None))
        elif sort < spoken + 0.15:
            facts.append(telling.link(at, *names))
        elif sort < spoken + 0.3:
            facts.append(telling.consent(at, chance.choice(["granted", "granted", "denied", "withdrawn"]), *names))
        elif sort < spoken + 0.36:
            facts.append(telling.fact(TRAIT, "value_tier", at, names, value=chance.choice(["low", "high"])))
        else:
            key = chance.choice(["T1", "T2"])
            facts.append(telling.fact(EVENT, chance.choice(_EVENTS), at, names, transfer_id=key))
    return facts


def arrived(chance: random.Random, facts: Sequence[Fact]) -> list[list[Fact]]:
    """The facts shuffled, some of them twice, cut into batches."""
    rest = [*facts, *chance.sample(list(facts), len(facts) // 4)]
    chance.shuffle(rest)
    batches = []
    while rest:
        size = chance.choice((1, 1, 2, 3, 8, 30))
        batches.append(rest[:size])
        rest = rest[size:]
    return batches


@dataclass(frozen=True)
class People:
    """Who is one, by the naive rule.

    Attributes:
        customers: as sets of spans, each with its facts.
        live: links that nobody took back.
    """

    customers: Mapping[frozenset[Span], list[Fact]]
    live: Sequence[_Named]


class _Named(NamedTuple):
    """Two identifiers, the stronger first, as a fact named them together or said something about them."""

    at: int
    id: bytes
    kind: str
    strong: Identifier
    weak: Identifier
    target: str = ""


@dataclass(frozen=True)
class _Said:
    """What of all links and statements counts.

    Attributes:
        live: links that nobody took back.
        begins: by identifier, when it began and began anew.
        vetoes: pairs that are never one.
    """

    live: list[_Named]
    begins: dict[Identifier, list[int]]
    vetoes: list[tuple[Identifier, Identifier]]

    def span(self, name: Identifier, at: int) -> Span:
        """What an identifier is at an instant."""
        return name, max(begin for begin in self.begins[name] if begin <= at)


def _selected(facts: Sequence[Fact], kinds: IdentifierKinds) -> _Said:
    links, said = list[_Named](), list[_Named]()
    for fact in facts:
        strong, *weaker = sorted(set(fact.identifiers), key=kinds.strength)
        target = str(fact.properties.get("fact", "")) if fact.kind in STATEMENTS else ""
        named = [_Named(fact.occurred_at, fact.id, fact.kind, strong, weak, target) for weak in weaker]
        (said if fact.kind in STATEMENTS else links).extend(named)
    said.sort()
    single = {(one.target, one.strong, one.weak) for one in said if one.kind == "retraction" and one.target}
    whole = {(one.strong, one.weak): one.at for one in said if one.kind == "retraction" and not one.target}

    def stands(one: _Named) -> bool:
        return (one.id.hex(), one.strong, one.weak) not in single

    live = [link for link in links if stands(link) and link.at > whole.get((link.strong, link.weak), -1)]
    begins: dict[Identifier, list[int]] = {name: [0] for fact in facts for name in fact.identifiers}
    for one in said:
        own = begins[one.weak]
        together = [link.at for link in live if (link.strong, link.weak) == (one.strong, one.weak)]
        if one.kind == "ending" and stands(one) and any(own[-1] <= at < one.at for at in together):
            own.append(one.at)
    return _Said(live, begins, [(one.strong, one.weak) for one in said if one.kind == "separation" and stands(one)])


def told(facts: Iterable[Fact], kinds: IdentifierKinds) -> People:
    """Who is one, by all that was said: the rule's words, one after the other."""
    known = list({fact.id: fact for fact in facts}.values())
    said = _selected(known, kinds)
    first: dict[tuple[Span, Span], _Named] = {}
    partners: dict[Span, set[Identifier]] = defaultdict(set)
    for link in sorted(said.live):
        pair = said.span(link.strong, link.at), said.span(link.weak, link.at)
        first.setdefault(pair, link)
        for own, (other, _) in (pair, pair[::-1]):
            if kinds.priority(other.kind) <= kinds.priority(own[0].kind):
                partners[own].add(other)
    crowded = {own for own, others in partners.items() if len(others) > kinds.partners(own[0].kind)}
    graph = nx.Graph()
    graph.add_nodes_from((name, begin) for name, begun in said.begins.items() for begin in begun)

    def may_be(together: set[Span]) -> bool:
        names = {name for name, _ in together}
        of_kind = Counter(name.kind for name, _ in together)
        within = all(count <= (kinds.per_customer(kind) or count) for kind, count in of_kind.items())
        return len(together) <= kinds.most and within and not any(a in names and b in names for a, b in said.vetoes)

    def turn(entry: tuple[tuple[Span, Span], _Named]) -> Any:
        link = entry[1]
        return kinds.priority(link.weak.kind), link.at, link.id, kinds.strength(link.weak), kinds.strength(link.strong)

    for (left, right), _ in sorted(first.items(), key=turn):
        if crowded.isdisjoint((left, right)) and not nx.has_path(graph, left, right):
            whole = nx.node_connected_component(graph, left) | nx.node_connected_component(graph, right)
            if may_be(whole):
                graph.add_edge(left, right)
    customers: dict[frozenset[Span], list[Fact]] = {frozenset(part): [] for part in nx.connected_components(graph)}
    whose = {own: part for part in customers for own in part}
    for fact in known:
        customers[whose[said.span(kinds.strongest(fact.identifiers), fact.occurred_at)]].append(fact)
    return People(customers, said.live)


def folded(plan: Plan, members: Iterable[Span], facts: Iterable[Fact]) -> bytes:
    """What the one fold makes of a customer's facts, as bytes; names that are not hers are held apart."""
    facts = list(facts)
    return encode(fold(plan, facts, holding(facts, [*members], plan.kinds)), plan)


def agreed(people: People, members: frozenset[Span], kinds: IdentifierKinds, purpose: str = "marketing") -> str:
    """What holds of a consent, by ID4's words: it binds whatever is linked at its time; the most restrictive counts."""
    facts = sorted(people.customers[members], key=lambda fact: fact.order)
    bound: dict[Identifier, tuple[str, int]] = {}

    def span(name: Identifier, at: int) -> Span | None:
        return max((own for own in members if own[0] == name and own[1] <= at), default=None)

    for place, fact in enumerate(facts):
        if fact.kind != CONSENT or fact.type != purpose:
            continue
        linked = nx.Graph()
        earlier = {other.id for other in facts[: place + 1]}
        for link in people.live:
            ends = span(link.strong, link.at), span(link.weak, link.at)
            if link.id in earlier and None not in ends:
                linked.add_edge(*ends)
        leaf = span(kinds.strongest(fact.identifiers), fact.occurred_at)
        linked.add_node(leaf)
        for name, since in nx.node_connected_component(linked, leaf):
            said = Identifier(name.kind, f"{name.value} since {since}")
            bound[said] = str(fact.properties["state"]), fact.occurred_at
    return in_force(bound)
