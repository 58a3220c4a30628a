"""What an audience's members are derived by, as a digest: where it is another, everybody is derived anew.

Owns which parts of a plan can change who is a member: the expression, and what fold and derivation read. A plan that
changes guardrails, grants or titles changes no basis.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from segue.domain.instant import NEVER
from segue.domain.plan import Plan, canonical
from segue.domain.tree_reading import counted

_BESIDE: Final = frozenset({"audiences", "guardrails", "touchpoints", "maps", "identifiers", "blocked", "timeline"})
"""Sections of a document that no membership reads; who is one customer is told by `Resolved`."""
_RULES: Final = 1
"""Raised where fold or derivation come to mean something else by the same plan."""
_WORDS: Final = frozenset({"title", "goal", "owner", "status", "parent", "value", "targets"})
"""What a map says for people and reports."""


def basis(plan: Plan, name: str) -> str:
    """The digest of what decides who is in an audience of a plan, read with its workspace."""
    document, audience = plan.document, plan.audiences[name]
    tree = document["audiences"][name]["when"]["tree"]
    read: dict[str, Any] = {key: body for key, body in document.items() if key not in _BESIDE}
    incidents = plan.incidents_of(f"audiences.{name}.")
    if "journeys" in audience.inputs:
        maps = document.get("maps", {})
        read["maps"] = {m: {k: v for k, v in body.items() if k not in _WORDS} for m, body in maps.items()}
        incidents |= plan.incidents_of("maps.")
    told = {
        "rules": _RULES,
        "tree": tree,
        "read": read,
        "kept": {word: plan.kept(word) for word in counted(tree)},
        "incidents": plan.workspace.history(incidents, NEVER) if incidents else "",
    }
    return hashlib.sha256(canonical(told)).hexdigest()[:16]
