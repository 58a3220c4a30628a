"""The cases of `vectors/identity.json`: who is one, by the rule in docs/reference/identity.md.

`customers` are what was reasoned by hand: every identifier or era, customer by customer. The verdicts of the links are
what the implementation gave when these held. Times are small numbers: only their order counts.
"""

from __future__ import annotations

from typing import Any

from segue.domain.fact import STATEMENTS, Fact, properties_bytes
from segue.domain.identifier import Identifier, IdentifierKind, IdentifierKinds, parse_identifier
from segue.domain.identity import links_of, partition, statement_of

_KINDS = {
    "account": {"priority": 1, "per_customer": 1}, "email": {"priority": 2}, "phone": {"priority": 3, "partners": 2},
    "cookie": {"priority": 9, "partners": 2},
}  # fmt: skip


def _fact(number: int, at: int, kind: str, *names: str, fact: int = 0) -> dict[str, Any]:
    said: dict[str, Any] = {"id": f"{number:032x}", "kind": kind, "occurred_at": at, "identifiers": [*names]}
    return said | ({"fact": f"{fact:032x}"} if fact else {})


CASES: list[dict[str, Any]] = [
    {
        "name": "a-star-around-the-leaf",
        "says": "A fact links its strongest identifier, its leaf, with each other it names; not the others with one "
        "another. Taking back one of the two links therefore parts one of them alone.",
        "kinds": _KINDS,
        "facts": [
            _fact(1, 10, "event", "cookie=c", "account=A", "phone=p"),
            _fact(2, 20, "retraction", "account=A", "phone=p"),
        ],
        "customers": [["account=A", "cookie=c"], ["phone=p"]],
    },
    {
        "name": "strong-links-first",
        "says": "Links are visited by the weaker kind's priority, then occurred_at, then id: the phone finds A before "
        "any cookie is asked, whatever came first.",
        "kinds": _KINDS,
        "facts": [
            _fact(1, 10, "event", "account=B", "cookie=c"), _fact(2, 20, "event", "phone=p", "cookie=c"),
            _fact(3, 90, "event", "account=A", "phone=p"),
        ],
        "customers": [["account=A", "phone=p"], ["account=B", "cookie=c"]],
    },
    {
        "name": "of-equals-the-earlier-wins",
        "says": "A cookie that two accounts used is of the account that used it first, also where that arrived later.",
        "kinds": _KINDS,
        "facts": [_fact(1, 20, "event", "account=B", "cookie=c"), _fact(2, 10, "event", "account=A", "cookie=c")],
        "customers": [["account=A", "cookie=c"], ["account=B"]],
    },
    {
        "name": "of-one-instant-the-lower-id-wins",
        "says": "At one instant the lower id is visited first.",
        "kinds": _KINDS,
        "facts": [_fact(7, 10, "event", "account=A", "cookie=c"), _fact(3, 10, "event", "account=B", "cookie=c")],
        "customers": [["account=A"], ["account=B", "cookie=c"]],
    },
    {
        "name": "a-loyal-customer-has-many-cookies",
        "says": "Partners count only of an identifier's own strength or stronger: ten cookies make no account a shared "
        "one.",
        "kinds": _KINDS,
        "facts": [_fact(n, n, "event", "account=A", f"cookie=c{n}") for n in range(1, 11)],
        "customers": [["account=A", *(f"cookie=c{n}" for n in (1, 10, 2, 3, 4, 5, 6, 7, 8, 9))]],
    },
    {
        "name": "a-shared-cookie-links-nobody",
        "says": "One with more partners than it may have links nobody, not even the first: a kiosk's cookie.",
        "kinds": _KINDS,
        "facts": [_fact(n, n, "event", f"email=e{n}", "cookie=kiosk") for n in (1, 2, 3)],
        "customers": [["email=e1"], ["email=e2"], ["email=e3"], ["cookie=kiosk"]],
    },
    {
        "name": "a-partner-is-counted-once-and-retracted-ones-are-not",
        "says": "Partners are identifiers, not facts; a link that was taken back makes no partner.",
        "kinds": _KINDS,
        "facts": [
            _fact(1, 1, "event", "email=e1", "cookie=c"), _fact(2, 2, "event", "email=e1", "cookie=c"),
            _fact(3, 3, "event", "email=e2", "cookie=c"), _fact(4, 4, "event", "email=e3", "cookie=c"),
            _fact(5, 5, "retraction", "email=e3", "cookie=c"),
        ],
        "customers": [["email=e1", "email=e2", "cookie=c"], ["email=e3"]],
    },
    {
        "name": "a-size-is-never-exceeded",
        "says": "A customer has at most `most` identifiers: the link that would make more is refused, later ones too.",
        "kinds": _KINDS,
        "most": 3,
        "facts": [_fact(n, n, "event", "account=A", f"cookie=c{n}") for n in (1, 2, 3, 4)],
        "customers": [["account=A", "cookie=c1", "cookie=c2"], ["cookie=c3"], ["cookie=c4"]],
    },
    {
        "name": "a-retraction-is-for-all-time",
        "says": "A retraction takes back all links of the two up to its own time; what names them together later links "
        "them again.",
        "kinds": _KINDS,
        "facts": [
            _fact(1, 10, "event", "account=A", "cookie=c"), _fact(2, 20, "event", "account=A", "cookie=c"),
            _fact(3, 20, "retraction", "account=A", "cookie=c"), _fact(4, 21, "event", "account=A", "cookie=d"),
        ],
        "customers": [["account=A", "cookie=d"], ["cookie=c"]],
    },
    {
        "name": "a-retraction-of-one-fact",
        "says": "With the id of a fact, that one alone is taken back; another that names the two together still links.",
        "kinds": _KINDS,
        "facts": [
            _fact(1, 10, "event", "account=A", "cookie=c"), _fact(2, 20, "event", "account=A", "cookie=c"),
            _fact(3, 30, "retraction", "cookie=c", "account=A", fact=1),
        ],
        "customers": [["account=A", "cookie=c"]],
    },
    {
        "name": "a-recycled-number-begins-anew",
        "says": "An ending cuts the weaker of the two at its instant: before, it is the one's; from then on another's. "
        "A fact at the very instant is the new one's.",
        "kinds": _KINDS,
        "facts": [
            _fact(1, 10, "event", "account=A", "phone=p"), _fact(2, 50, "ending", "account=A", "phone=p"),
            _fact(3, 50, "event", "account=B", "phone=p"),
        ],
        "customers": [["account=A", "phone=p"], ["account=B", "phone=p@50"]],
    },
    {
        "name": "nothing-ends-that-did-not-hold",
        "says": "An ending of two that no live link joined in the era counts for nothing: nobody cuts somebody else's "
        "number.",
        "kinds": _KINDS,
        "facts": [
            _fact(1, 10, "event", "account=A", "phone=p"), _fact(2, 50, "ending", "account=B", "phone=p"),
            _fact(3, 60, "ending", "account=A", "phone=q"),
        ],
        "customers": [["account=A", "phone=p"], ["account=B"], ["phone=q"]],
    },
    {
        "name": "an-ending-taken-back",
        "says": "An ending or separation is taken back by a retraction of its id.",
        "kinds": _KINDS,
        "facts": [
            _fact(1, 10, "event", "account=A", "phone=p"), _fact(2, 50, "ending", "account=A", "phone=p"),
            _fact(3, 60, "event", "account=A", "phone=p"), _fact(4, 70, "retraction", "account=A", "phone=p", fact=2),
        ],
        "customers": [["account=A", "phone=p"]],
    },
    {
        "name": "a-separation-outlives-every-path",
        "says": "Two who are separated are in no one customer, by whichever path: the link that would join their "
        "customers is refused, the others hold.",
        "kinds": {**_KINDS, "cookie": {"priority": 9, "partners": 5}},
        "facts": [
            _fact(1, 10, "event", "email=e", "phone=p"), _fact(2, 20, "event", "email=f", "cookie=c"),
            _fact(3, 30, "separation", "email=f", "phone=p"), _fact(4, 40, "event", "email=e", "cookie=c"),
            _fact(5, 50, "event", "email=f", "phone=p"),
        ],
        "customers": [["email=e", "phone=p"], ["email=f", "cookie=c"]],
    },
    {
        "name": "a-refusal-frees-nobody-else",
        "says": "Limits are monotone: a refused link stays refused, and later links are judged by the customers as "
        "they are then.",
        "kinds": {
            **_KINDS, "email": {"priority": 2, "per_customer": 2}, "phone": {"priority": 3, "partners": 3}
        },
        "facts": [
            _fact(1, 10, "event", "email=e1", "phone=p"), _fact(2, 20, "event", "email=e2", "phone=p"),
            _fact(3, 30, "event", "email=e3", "phone=q"), _fact(4, 40, "event", "phone=p", "phone=q"),
            _fact(5, 50, "event", "phone=q", "cookie=c"),
        ],
        "customers": [["email=e1", "email=e2", "phone=p"], ["email=e3", "phone=q", "cookie=c"]],
    },
]  # fmt: skip

NORMAL: list[dict[str, Any]] = [
    {"normalise": "email", "given": " Ann@Example.COM ", "normal": "ann@example.com"},
    {"normalise": "digits", "given": "+49 (30) 123-456", "normal": "+4930123456"},
    {"normalise": "e164", "region": "DE", "given": "030 / 123456", "normal": "+4930123456"},
    {"normalise": "e164", "region": "DE", "given": "0049 30 123456", "normal": "+4930123456"},
    {"normalise": "e164", "region": "US", "given": "(415) 555-2671", "normal": "+14155552671"},
    {"normalise": "e164", "region": "DE", "given": "+41 44 668 18 00", "normal": "+41446681800"},
    {"normalise": "e164", "given": "+44 20 7946 0958", "normal": "+442079460958"},
    {"normalise": "e164", "region": "DE", "given": " ask reception ", "normal": "ask reception"},
]
"""How values are brought to their form before they are compared. What is no number stays as it is, without spaces."""


def kinds_of(case: dict[str, Any]) -> IdentifierKinds:
    """The limits of a case."""
    return IdentifierKinds({name: IdentifierKind(**rule) for name, rule in case["kinds"].items()}, (), case["most"])


def facts_of(case: dict[str, Any]) -> list[Fact]:
    """The facts of a case."""
    return [
        Fact(
            bytes.fromhex(said["id"]), said["kind"], said["kind"], said["occurred_at"], 0,
            tuple(parse_identifier(name) for name in said["identifiers"]),
            raw=properties_bytes({"fact": said["fact"]} if "fact" in said else {}),
        )
        for said in case["facts"]
    ]  # fmt: skip


def outcome(case: dict[str, Any], facts: list[Fact]) -> dict[str, Any]:
    """Who is one, and why links hold nothing together, as a vector writes it."""
    kinds = kinds_of(case)
    links = [link for fact in facts for link in links_of(fact, kinds)]
    said = [statement_of(fact, kinds) for fact in facts if fact.kind in STATEMENTS]
    names: set[Identifier] = {name for fact in facts for name in fact.identifiers}
    found = partition(kinds, links, said, names)
    refused = {link: verdict for link, verdict in found.verdicts.items() if verdict}
    return {
        "customers": [
            [f"{node.identifier}@{node.since}" if node.since else str(node.identifier) for node in nodes]
            for nodes in found.clusters
        ],
        "refused": sorted([str(n.strong), str(n.weak), n.id.hex(), verdict] for n, verdict in refused.items()),
    }


def document() -> dict[str, Any]:
    """The whole file."""
    cases = []
    for case in CASES:
        whole = {"most": 256, **case}
        made = outcome(whole, facts_of(whole))
        assert made["customers"] == case["customers"], (case["name"], made["customers"])
        cases.append(whole | {"refused": made["refused"]})
    says = (
        "Who is one: by limits (kinds, most) and facts in any order, the customers, each strongest identifier first; "
        "identifier@instant is one that began anew then. A kind's partners are 20 where it does not say. `refused` are "
        "links that hold nothing together: strong, weak, id of the fact, verdict. `normal` is how values are compared."
    )
    return {"says": says, "cases": cases, "normal": NORMAL}
