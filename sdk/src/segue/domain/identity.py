"""Identity: which identifiers are one customer, as a function of the set of links and statements about them.

Owns rules ID1 and ID2: the order in which links are visited, the limits that refuse one, and what retractions, endings
and separations select. Knows nothing of stores, customers' numbers or arrival. The algorithm in words, with its
examples, is in docs/reference/identity.md.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from .fact import ENDING, RETRACTION, SEPARATION, STATEMENTS, Fact
from .holding import Holding, holding
from .identifier import Identifier, IdentifierKinds

ACCEPTED: Final = ""
RETRACTED: Final = "RETRACTED"
PARTNERS: Final = "PARTNERS"
SEPARATED: Final = "SEPARATED"
PER_CUSTOMER: Final = "PER_CUSTOMER"
SIZE: Final = "SIZE"
BLOCKED: Final = "BLOCKED"


class Node(NamedTuple):
    """An identifier between two endings: a recycled phone number is a new one from its ending on.

    Attributes:
        since: the ending (microseconds) that it begins with; 0 for the first.
    """

    identifier: Identifier
    since: int = 0


class Link(NamedTuple):
    """Two identifiers named together by a fact, once. `strong` is the stronger of the two."""

    strong: Identifier
    weak: Identifier
    at: int
    id: bytes


class Statement(NamedTuple):
    """What somebody says about whether two identifiers are one.

    Attributes:
        kind: RETRACTION, ENDING or SEPARATION.
        target: of a retraction, the id of the one fact it takes back; empty for all links of the two up to `at`.
    """

    kind: str
    strong: Identifier
    weak: Identifier
    at: int
    id: bytes
    target: bytes = b""


@dataclass(frozen=True, slots=True)
class Partition:
    """Who is one.

    Attributes:
        clusters: the nodes of each customer, strongest first; a node without accepted links is alone.
        verdicts: by link, why it holds nothing together; ACCEPTED where it does, or would.
        reached: nodes beyond what was decided that a link would hold now: with them it has to be decided again.
    """

    clusters: list[tuple[Node, ...]]
    verdicts: dict[Link, str]
    reached: set[Node] = field(default_factory=set)


Turn = tuple[object, ...]
"""When a link is visited: of the stronger kinds first, of equals the earlier."""


class Beyond(Protocol):
    """The customers around those that are decided anew, as they were decided and as they stay unless one is reached."""

    @property
    def begins(self) -> Mapping[Identifier, Sequence[int]]:
        """The identifiers beyond, with the instants at which each began anew, rising."""

    def cluster(self, node: Node, before: Turn) -> Cluster:
        """What was held to be one with a node before a turn."""


def links_of(fact: Fact, kinds: IdentifierKinds) -> list[Link]:
    """The links that a fact makes: each of its identifiers with the strongest one, its leaf."""
    names = fact.identifiers
    if len(names) < 2 or fact.kind in STATEMENTS:
        return []
    leaf = kinds.strongest(names)
    return [Link(leaf, other, fact.occurred_at, fact.id) for other in names if other != leaf]


def statement_of(fact: Fact, kinds: IdentifierKinds) -> Statement:
    """What a fact of one of the kinds `STATEMENTS` says."""
    strong, weak = sorted(fact.identifiers, key=kinds.strength)
    target = bytes.fromhex(fact.properties.get("fact", ""))
    return Statement(fact.kind, strong, weak, fact.occurred_at, fact.id, target)


@dataclass(slots=True)
class Cluster:
    """Nodes held to be one, while links are visited."""

    nodes: list[Node] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, node: Node) -> None:
        """One more."""
        self.nodes.append(node)
        kind = node.identifier.kind
        self.counts[kind] = self.counts.get(kind, 0) + 1

    def join(self, other: Cluster) -> None:
        """All of another."""
        self.nodes += other.nodes
        for kind, count in other.counts.items():
            self.counts[kind] = self.counts.get(kind, 0) + count


Vetoes = Mapping[Identifier, set[Identifier]]


def refusal(kinds: IdentifierKinds, left: Cluster, right: Cluster, vetoes: Vetoes) -> str:
    """Why two clusters may not become one; ACCEPTED where they may.

    Every limit is monotone: what may be one in a larger cluster may be one in a smaller.
    """
    if len(left.nodes) + len(right.nodes) > kinds.most:
        return f"{SIZE}:{kinds.most}"
    small, large = (left, right) if len(left.counts) <= len(right.counts) else (right, left)
    many = [
        kind
        for kind, count in small.counts.items()
        if (limit := kinds.per_customer(kind)) and count + large.counts.get(kind, 0) > limit
    ]
    if many:
        return f"{PER_CUSTOMER}:{min(many, key=lambda kind: (kinds.priority(kind), kind))}"
    if vetoes:
        small, large = (left, right) if len(left.nodes) <= len(right.nodes) else (right, left)
        apart = {other for node in small.nodes for other in vetoes.get(node.identifier, ())}
        if apart and any(node.identifier in apart for node in large.nodes):
            return SEPARATED
    return ACCEPTED


@dataclass(slots=True)
class Selection:
    """What statements leave of a set of links.

    Attributes:
        live: links that no retraction takes back.
        cuts: by identifier, the instants at which it begins anew, rising.
        vetoes: by identifier, those it may never be one with.
    """

    live: list[Link]
    retracted: list[Link]
    cuts: dict[Identifier, list[int]]
    vetoes: dict[Identifier, set[Identifier]]

    def node(self, identifier: Identifier, at: int) -> Node:
        """The node that an identifier is at an instant."""
        cuts = self.cuts.get(identifier)
        index = bisect_right(cuts, at) if cuts else 0
        return Node(identifier, cuts[index - 1] if cuts and index else 0)

    def nodes(self, identifier: Identifier) -> list[Node]:
        """All nodes of an identifier, in time."""
        return [Node(identifier), *(Node(identifier, cut) for cut in self.cuts.get(identifier, ()))]


def select(links: Iterable[Link], statements: Iterable[Statement]) -> Selection:
    """Applies retractions, endings and separations."""
    said = sorted(statements, key=lambda statement: (statement.at, statement.id))
    taken_back: set[tuple[Identifier, Identifier, bytes]] = set()
    void: dict[tuple[Identifier, Identifier], int] = {}
    for statement in said:
        if statement.kind == RETRACTION:
            if statement.target:
                taken_back.add((statement.strong, statement.weak, statement.target))
            else:
                void[statement.strong, statement.weak] = statement.at
    live: list[Link] = []
    retracted: list[Link] = []
    for link in links:
        pair = link.strong, link.weak
        gone = link.at <= void.get(pair, -1) or (*pair, link.id) in taken_back
        (retracted if gone else live).append(link)
    cuts: dict[Identifier, list[int]] = {}
    vetoes: dict[Identifier, set[Identifier]] = {}
    times: dict[tuple[Identifier, Identifier], list[int]] = {}
    if said:
        for link in live:
            times.setdefault((link.strong, link.weak), []).append(link.at)
    for statement in said:
        pair = statement.strong, statement.weak
        if (*pair, statement.id) in taken_back:
            continue
        if statement.kind == SEPARATION:
            vetoes.setdefault(statement.strong, set()).add(statement.weak)
            vetoes.setdefault(statement.weak, set()).add(statement.strong)
        elif statement.kind == ENDING:
            own = cuts.setdefault(statement.weak, [])
            began = own[-1] if own else 0
            # Nothing ends that did not hold: the number of somebody else is not cut.
            if began < statement.at and any(began <= at < statement.at for at in times.get(pair, ())):
                own.append(statement.at)
    return Selection(live, retracted, {name: found for name, found in cuts.items() if found}, vetoes)


def peers(kinds: IdentifierKinds, live: Iterable[tuple[Node, Node]]) -> dict[Node, set[Identifier]]:
    """By node, the others of its own kind's strength or a stronger one that it is linked with.

    A cookie with many accounts is a shared one; an account with many cookies is a loyal customer.
    """
    found: dict[Node, set[Identifier]] = {}
    for left, right in live:
        a, b = kinds.priority(left.identifier.kind), kinds.priority(right.identifier.kind)
        if a <= b:
            found.setdefault(right, set()).add(left.identifier)
        if b <= a:
            found.setdefault(left, set()).add(right.identifier)
    return found


def turn(kinds: IdentifierKinds, link: Link) -> Turn:
    """When a link is visited."""
    strengths = kinds.strength(link.strong), kinds.strength(link.weak)
    return (kinds.priority(link.weak.kind), link.at, link.id, strengths[1], strengths[0])


Hold = tuple[Node, Node, Turn]
"""Two nodes that a link holds together, and when it is visited."""


def held_before(node: Node, holds: Iterable[Hold], before: Turn) -> Cluster:
    """What is held to be one with a node before a turn.

    Args:
        node: to begin with.
        holds: of its customer.
        before: the turn.
    """
    partners: dict[Node, list[Node]] = {}
    for left, right, visited in holds:
        if visited < before:
            partners.setdefault(left, []).append(right)
            partners.setdefault(right, []).append(left)
    found, waiting, cluster = {node}, [node], Cluster()
    while waiting:
        one = waiting.pop()
        cluster.add(one)
        more = {other for other in partners.get(one, ()) if other not in found}
        found |= more
        waiting += more
    return cluster


def partition(
    kinds: IdentifierKinds,
    links: Iterable[Link],
    statements: Iterable[Statement] = (),
    names: Iterable[Identifier] = (),
    crowded: Iterable[Node] = (),
    beyond: Beyond | None = None,
) -> Partition:
    """Who is one, by the set of links and statements; their order does not matter.

    Args:
        kinds: strength and limits, from the plan.
        links: of whole connected parts; or of whole customers, with those that lead beyond them.
        statements: about them.
        names: identifiers that stand alone unless a link holds them.
        crowded: nodes known to have too many partners, of whose links only some are given.
        beyond: whom those links lead to.
    """
    selection = select(links, statements)
    outside: Mapping[Identifier, Sequence[int]] = beyond.begins if beyond is not None else {}
    selection.cuts.update({name: list(begins) for name, begins in outside.items()})
    verdicts: dict[Link, str] = dict.fromkeys(selection.retracted, RETRACTED)
    first: dict[tuple[Node, Node], Link] = {}
    for link in sorted(selection.live, key=lambda link: (link.at, link.id)):
        pair = selection.node(link.strong, link.at), selection.node(link.weak, link.at)
        if kinds.is_blocked(link.strong) or kinds.is_blocked(link.weak):  # by a plan that came later than the fact
            verdicts[link] = BLOCKED
            continue
        verdicts[link] = ACCEPTED
        first.setdefault(pair, link)
    every = {name for link in verdicts for name in (link.strong, link.weak)} | set(names)
    clusters = {
        node: Cluster([node], {name.kind: 1}) for name in every - outside.keys() for node in selection.nodes(name)
    }
    shared = set(crowded)
    shared.update(
        node
        for node, others in peers(kinds, first).items()
        if node.identifier not in outside and len(others) > kinds.partners(node.identifier.kind)
    )
    reached = set()
    for (left, right), link in sorted(first.items(), key=lambda entry: turn(kinds, entry[1])):
        if left in shared or right in shared:
            verdicts[link] = PARTNERS
            continue
        one, other = clusters.get(left), clusters.get(right)
        if one is other:
            continue
        if beyond is not None and (one is None or other is None):
            node, own = (left, other) if one is None else (right, one)
            assert own is not None, "a link leads beyond from somewhere"
            verdicts[link] = refusal(kinds, own, beyond.cluster(node, turn(kinds, link)), selection.vetoes)
            if verdicts[link] == ACCEPTED:
                reached.add(node)
            continue
        assert one is not None
        assert other is not None
        verdicts[link] = refusal(kinds, one, other, selection.vetoes)
        if verdicts[link] == ACCEPTED:
            if len(one.nodes) < len(other.nodes):
                one, other = other, one
            one.join(other)
            for node in other.nodes:
                clusters[node] = one
    found = {id(cluster): cluster for cluster in clusters.values()}

    def strength(node: Node) -> tuple[object, ...]:
        return (*kinds.strength(node.identifier), node.since)

    ordered = [tuple(sorted(cluster.nodes, key=strength)) for cluster in found.values()]
    return Partition(sorted(ordered, key=lambda nodes: strength(nodes[0])), verdicts, reached)


def customer_of(kinds: IdentifierKinds, facts: Iterable[Fact], name: Identifier) -> tuple[list[Fact], Holding]:
    """Whoever an identifier is now, out of a whole log.

    Returns:
        The customer's facts, in no particular order, and what of the names in them holds.
    """
    log = list(facts)
    links = [link for fact in log for link in links_of(fact, kinds)]
    said = [statement_of(fact, kinds) for fact in log if fact.kind in STATEMENTS]
    selection = select(links, said)
    own = selection.nodes(name)[-1]
    names = {name, *(other for fact in log for other in fact.identifiers)}
    (nodes,) = (set(nodes) for nodes in partition(kinds, links, said, names).clusters if own in nodes)
    hers = [
        fact for fact in log
        if fact.identifiers and selection.node(kinds.strongest(fact.identifiers), fact.occurred_at) in nodes
    ]  # fmt: skip
    return hers, holding(hers, [(node.identifier, node.since) for node in nodes], kinds)


__all__ = [
    "ACCEPTED", "BLOCKED", "ENDING", "PARTNERS", "PER_CUSTOMER", "RETRACTED", "RETRACTION", "SEPARATED", "SEPARATION",
    "SIZE", "STATEMENTS", "Cluster", "Link", "Node", "Partition", "Selection", "Statement", "customer_of", "links_of",
    "partition", "peers", "refusal", "select", "statement_of",
]  # fmt: skip
