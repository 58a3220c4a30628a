"""Reasons: why a link holds nothing together, in a sentence.

Owns the words for the verdicts of `segue.domain.identity`. The codes are stable; the sentences are for people.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from segue.domain.identifier import IdentifierKinds
from segue.domain.identity import ACCEPTED, BLOCKED, PARTNERS, PER_CUSTOMER, RETRACTED, SEPARATED, SIZE, Link, Node

Customer = tuple[Node, ...]


def reason(
    kinds: IdentifierKinds, verdict: str, link: Link, sides: tuple[Customer, Customer], crowded: Iterable[Node]
) -> str:
    """Why a link has its verdict.

    Args:
        kinds: the limits.
        verdict: as the domain gave it.
        link: the two identifiers.
        sides: the customers of both, strong one first.
        crowded: nodes with too many partners.
    """
    code, _, about = verdict.partition(":")
    say: dict[str, Callable[[], str]] = {
        ACCEPTED: lambda: "they are one",
        RETRACTED: lambda: "it was taken back: it never was",
        BLOCKED: lambda: "one of the two stands for nobody (`blocked` in vocabulary.yaml)",
        SEPARATED: lambda: "somebody said that these customers are two, whatever links them",
        PER_CUSTOMER: lambda: _too_many(kinds, about, link, sides),
        SIZE: lambda: f"together they would have more than {about} identifiers",
        PARTNERS: lambda: _crowd(kinds, link, {node.identifier for node in crowded}),
    }
    return say[code]() if code in say else verdict


def _too_many(kinds: IdentifierKinds, kind: str, link: Link, sides: tuple[Customer, Customer]) -> str:
    limit = kinds.per_customer(kind)
    counts = [Counter(node.identifier.kind for node in side)[kind] for side in sides]
    has = [f"{name} already has {count} {kind}" for name, count in zip((link.strong, link.weak), counts, strict=True)]
    return f"{has[0]} and {has[1]}: a customer may have {limit}"


def _crowd(kinds: IdentifierKinds, link: Link, crowded: set[object]) -> str:
    shared = [name for name in (link.weak, link.strong) if name in crowded] or [link.weak]
    many = [
        f"{name} is linked with more than {kinds.partners(name.kind)} of its own strength or a stronger one"
        for name in shared
    ]
    return f"{' and '.join(many)}: it is shared, and links nobody"
