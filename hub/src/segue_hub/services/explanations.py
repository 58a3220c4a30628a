"""Explanations: which links hold a customer together, which do not, and why.

Owns what `customer identity --explain` tells: identifiers with their eras, links with their first fact and verdict, who
the refused other side is, and what was said about them. Decides nothing: verdicts are the domain's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final

from segue.domain.fact import ENDING, RETRACTION, SEPARATION, Fact
from segue.domain.identifier import Identifier
from segue.domain.identity import ACCEPTED, PARTNERS, RETRACTED, Link, Node, Statement
from segue.domain.instant import instant_text
from segue.domain.plan import Plan

from ..storage.ports import Known, LinkRow, Store
from .blocked_values import BLOCKED, BlockedValues
from .identities import Held, Identities, LinkMemory, span_plain
from .link_reasons import Customer, reason
from .moments import Moments

Plain = dict[str, Any]
LINKS: Final = 500
"""Links of one identifier that are told of at most."""
NAMES: Final = 8
"""Identifiers of somebody else that are told of at most."""


class Explanations:
    """Explains identities.

    Args:
        store: links, and the facts that made them.
        identities: who is who.
        moments: all that is known, by the plan in force.
        decode: a fact as the store keeps it.
        blocked: how often values were named that stand for nobody.
    """

    def __init__(
        self, store: Store, identities: Identities, moments: Moments, decode: Callable[[bytes], Fact],
        blocked: BlockedValues,
    ) -> None:  # fmt: skip
        self._store = store
        self._identities = identities
        self._moments = moments
        self._decode = decode
        self._blocked = blocked

    def explain(self, identifier: Identifier) -> Plain:
        """Why a customer is who she is.

        Raises:
            Refusal: NOT_FOUND.
        """
        moment = self._moments.ever()
        if moment.plan.kinds.is_blocked(identifier):
            return _blocked(identifier, moment.plan, self._blocked.of(identifier))
        with self._store.snapshot():
            reader = LinkMemory(self._store)
            held = self._identities.held(self._identities.number(identifier, moment), moment, reader)
            links, more = self._links(held, reader)
            statements = [self._statement(said, held) for said in self._said(held)]
        refused = Counter(link["verdict"] for link in links if not link["holds"])
        return {
            "customer": str(held.names[0]),
            "asked": str(moment.plan.kinds.normal(identifier)),
            "plan": moment.plan.digest,
            "identifiers": [span_plain(span) for span in held.spans],
            "links": links,
            "refused": dict(sorted(refused.items())),
            "more_links": more,
            "statements": statements,
        }

    def _links(self, held: Held, reader: LinkMemory) -> tuple[list[Plain], bool]:
        """The links of the customer's identifiers, the first of each two, and whether there are more."""
        own = {Node(span.identifier, span.since) for span in held.spans}
        first: dict[tuple[object, ...], Link] = {}
        more = False
        for number, name in {span.number: span.identifier for span in held.spans}.items():
            rows = reader.links(number, LINKS + 1)
            more = more or len(rows) > LINKS
            for link in sorted(self._named(rows[:LINKS], held, reader), key=lambda link: (link.at, link.id)):
                nodes = held.selection.node(link.strong, link.at), held.selection.node(link.weak, link.at)
                if any(node in own for node in nodes if node.identifier == name):
                    # A link that was taken back stands for itself; of the others, the first of each two counts.
                    taken_back = held.divided.verdicts.get(link) == RETRACTED
                    first.setdefault((*nodes, link.id if taken_back else b""), link)
        told = [self._link(link, held, own) for link in first.values()]
        return sorted(told, key=lambda link: (not link["holds"], link["at"], link["strong"], link["weak"])), more

    def _named(self, rows: Iterable[LinkRow], held: Held, reader: LinkMemory) -> list[Link]:
        found = list(rows)
        names = reader.names(number for row in found for number in row[:2])
        strength = held.moment.plan.kinds.strength
        links = []
        for row in found:
            strong, weak = sorted((names[row.strong], names[row.weak]), key=strength)
            links.append(Link(strong, weak, row.at, row.id))
        return links

    def _link(self, link: Link, held: Held, own: set[Node]) -> Plain:
        kinds, selection = held.moment.plan.kinds, held.selection
        nodes = selection.node(link.strong, link.at), selection.node(link.weak, link.at)
        sides = self._side(nodes[0], held, link.at), self._side(nodes[1], held, link.at)
        verdict = held.divided.verdicts.get(link, PARTNERS)  # of a crowd, only some links were looked at
        plain: Plain = {
            "strong": str(link.strong),
            "weak": str(link.weak),
            "at": instant_text(link.at),
            "fact": link.id.hex(),
            "holds": verdict == ACCEPTED,
            "verdict": verdict,
            "why": reason(kinds, verdict, link, sides, held.part.crowded),
            **self._origin(link.id),
        }
        if verdict != ACCEPTED and not own.issuperset(nodes):
            others = sides[1] if nodes[0] in own else sides[0]
            names = [str(node.identifier) for node in others]
            plain["other"] = {"customer": names[0], "identifiers": names[:NAMES], "count": len(names)}
        return plain

    def _side(self, node: Node, held: Held, at: int) -> Customer:
        """The customer of a node, as the store has it where the part does not reach so far."""
        for cluster in held.divided.clusters:
            if node in cluster:
                return cluster
        known = self._store.resolve(node.identifier)
        if known is None:
            return (node,)
        eras = self._store.eras(known.number) or [known]
        customer = next(era.customer for era in reversed(eras) if era.since <= at)
        return tuple(_by_strength(self._store.members(customer), held)) or (node,)

    def _origin(self, id_: bytes) -> Plain:
        """Who told the fact, and how."""
        position = self._store.find([id_]).get(id_)
        for _, body in self._store.log(position - 1, 1) if position else ():
            if body is not None:
                fact = self._decode(body)
                told = {"position": position, "kind": fact.kind, "type": fact.type, "touchpoint": fact.touchpoint}
                said = fact.properties.get("reason") if fact.kind != "event" else None
                return told | ({"reason": said} if said else {})
        return {}

    def _said(self, held: Held) -> list[Statement]:
        names = set(held.names)
        said = [s for s in held.part.statements.values() if names & {s.strong, s.weak}]
        return sorted(said, key=lambda statement: (statement.at, statement.id))

    def _statement(self, said: Statement, held: Held) -> Plain:
        pair = {said.strong, said.weak}
        undone = any(
            other.kind == RETRACTION and other.target == said.id and {other.strong, other.weak} == pair
            for other in held.part.statements.values()
        )
        return {
            "kind": said.kind,
            "strong": str(said.strong),
            "weak": str(said.weak),
            "at": instant_text(said.at),
            "fact": said.id.hex(),
            "target": said.target.hex(),
            "holds": not undone,
            "effect": "it was taken back" if undone else _effect(said, held),
            **self._origin(said.id),
        }


def _effect(said: Statement, held: Held) -> str:
    if said.kind == SEPARATION:
        return "these two are never one"
    if said.kind == ENDING:
        if said.at in held.selection.cuts.get(said.weak, ()):
            return f"{said.weak} is another one from then on"
        return "nothing ended: the two were not linked then"
    gone = sum(
        {link.strong, link.weak} == {said.strong, said.weak} and (link.id == said.target or not said.target)
        for link in held.selection.retracted
    )
    return f"{gone} link{'s' if gone != 1 else ''} taken back" if gone else "nothing was taken back"


def _by_strength(members: Iterable[tuple[Identifier, Known]], held: Held) -> list[Node]:
    nodes = [Node(name, known.since) for name, known in members]
    return sorted(nodes, key=lambda node: (held.moment.plan.kinds.strength(node.identifier), node.since))


def _blocked(identifier: Identifier, plan: Plan, count: int) -> Plain:
    """A value that stands for nobody: it is left out of every fact, so it is nobody's and links nobody."""
    return {
        "customer": None,
        "asked": str(identifier),
        "plan": plan.digest,
        "blocked": f"{identifier.value!r} stands for nobody (`blocked` in vocabulary.yaml): facts come in without it."
        f" Facts that named it since the hub started: {count}",
        "identifiers": [],
        "links": [],
        "refused": {BLOCKED: count} if count else {},
        "more_links": False,
        "statements": [],
    }
