"""What the fact of a decision says: the answer, why, and on what it was made, so that it can be asked again (VE8).

Owns the details of a decision in their written form, both ways. What was known need not be copied: a context is named
by its version, own facts that lay over it by their ids, plan and workspace by their digests.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from .action import Action
from .context import Context
from .decision import Decision, shown
from .expression import NEVER
from .fact import DECISION, MAX_PROPERTIES, Fact, properties_bytes
from .function_version import function_version
from .grant import SERVICE
from .guardrail import ALLOW, BLOCK, ENFORCE
from .identifier import Identifier
from .instant import instant_text, parse_instant
from .interaction import InteractionRef
from .ranking import Candidate
from .verdict import Verdict

_PLAIN: Final = frozenset((str, int, bool, type(None)))
CANDIDATES: Final = 16
"""Candidate actions of one decision that are written down."""
HUB: Final = "hub"
"""Stands in a decision's record where the hub ran the function."""
_HUB: Final = 8
"""Characters of an incarnation that are written down."""


@dataclass(frozen=True, slots=True)
class Basis:
    """What a decision was made on, besides `at`, plan and freshness.

    Attributes:
        version: of the context; 0 where nothing was known.
        hub: the beginning of the incarnation that the version speaks of; empty where nothing was known.
        folded: digest of the plan that the context was folded by, where that is not the decision's.
        unreadable: whether what a plan decides was left out for that.
        outcomes_at: the moment from which outcomes of hidden sections were told; 0 where there were none.
        overlay: ids of the own facts that lay over the context, in that order.
        purpose: why it was read.
        workspace: digest of the workspace; empty where it told of nothing.
    """

    version: int = 0
    hub: str = ""
    folded: str = ""
    unreadable: bool = False
    outcomes_at: int = 0
    overlay: tuple[bytes, ...] = ()
    purpose: str = SERVICE
    workspace: str = ""

    def plain(self) -> dict[str, Any]:
        """As it is written: what is as usual is left out."""
        written: tuple[tuple[str, Any, Any], ...] = (
            ("hub", self.hub, ""), ("folded", self.folded, ""), ("unreadable", self.unreadable, False),
            ("outcomes_at", self.outcomes_at, 0), ("overlay", [id_.hex() for id_ in self.overlay], []),
            ("purpose", self.purpose, SERVICE), ("workspace", self.workspace, ""),
        )  # fmt: skip
        return {"version": self.version} | {name: value for name, value, usual in written if value != usual}


def basis_of(context: Context, purpose: str) -> Basis:
    """What a decision on this context is made on."""
    projected, plan = context.projected, context.plan
    origin = projected.origin
    return Basis(
        origin.version,
        origin.incarnation[:_HUB],
        origin.plan if origin.plan != plan.digest else "",
        not origin.readable,
        projected.outcomes_at,
        projected.overlay,
        purpose,
        plan.workspace.digest if plan.workspace.incidents else "",
    )


def basis_from(details: Mapping[str, Any]) -> Basis:
    """The basis that a decision's details tell of.

    Raises:
        ValueError, TypeError, KeyError: they tell of none.
    """
    return Basis(
        int(details["version"]), str(details.get("hub", "")), str(details.get("folded", "")),
        bool(details.get("unreadable")), int(details.get("outcomes_at", 0)),
        tuple(bytes.fromhex(id_) for id_ in details.get("overlay", ())), str(details.get("purpose", SERVICE)),
        str(details.get("workspace", "")),
    )  # fmt: skip


def is_from(incarnation: str, basis: Basis) -> bool:
    """Whether the version of a basis speaks of this incarnation's history; taken so where it does not say."""
    return not basis.hub or incarnation.startswith(basis.hub)


def answer_of(decision: Decision) -> Any:
    """The answer as it is written: the value, or the kind of action."""
    return json_text(decision.value) if decision.action is None else decision.action.kind


def value_of(decision: Decision) -> Any:
    """What a caller elsewhere is told as the answer: the value, or the kind of the action that may be carried out."""
    action = decision.action
    return action.kind if action is not None and decision.value is action else json_text(decision.value)


def details_of(decision: Decision, answer: Any, basis: Basis, decided_by: str = "") -> tuple[dict[str, Any], bytes]:
    """What the fact of a decision says, and the same as its bytes.

    Args:
        decision: as it was made.
        answer: of `answer_of`.
        basis: what it was made on.
        decided_by: `hub` where it ran the function; empty where the touchpoint did.
    """
    details = basis.plain() | {
        "value": answer,
        "reason": decision.reason,
        "freshness": decision.freshness.state,
        "age_us": decision.freshness.age,
        "plan": decision.plan,
        "at": decision.at,
        "reads": [[question, json_text(value)] for question, value in decision.reads],
        "verdicts": _verdicts(decision.verdicts),
        "explain": decision.explain(),
    }
    if decision.action is not None:
        details["action"] = _action(decision.action)
    if decision.candidates:
        details["candidates"] = [_candidate(candidate) for candidate in decision.candidates[:CANDIDATES]]
    more = {"error": decision.error, "function": function_version(decision.function), "decided_by": decided_by}
    details |= {name: text for name, text in more.items() if text}
    raw = properties_bytes(details)
    if len(raw) > MAX_PROPERTIES:
        # An answer of any size is the host's to give; what is recorded of it has a bound.
        cut = {"value": shown(answer)[:1000], "explain": decision.explain()[:2000], "reads": [], "verdicts": []}
        details |= cut | {name: text[:1000] for name, text in more.items() if text}
        details.pop("candidates", None)
        raw = properties_bytes(details)
    return details, raw


def fact_of(
    decision: Decision, said: tuple[Any, str, Sequence[Verdict], str], answer: Any, purpose: str, seq: int, at: int,
    who: tuple[tuple[Identifier, ...], str, str, InteractionRef | None],
) -> Fact:  # fmt: skip
    """The fact of a decision.

    Args:
        decision: that was made, with its id.
        said: value, reason, verdicts and pending as they were then: a place may have been refused since.
        answer: of `answer_of`.
        purpose: why the context was read.
        seq: the producer's.
        at: the moment, in microseconds.
        who: the customer's identifiers, the channel, the touchpoint and the interaction.
    """
    made = decision.copy()
    made.value, made.reason, made.verdicts, made.pending = said
    identifiers, channel, touchpoint, reference = who
    raw = details_of(made, answer, basis_of(made.context, purpose))[1]
    return Fact(made.id, DECISION, made.name, at, seq, identifiers, channel, touchpoint, reference, raw)


def _verdicts(verdicts: Sequence[Verdict]) -> list[dict[str, str]]:
    return [
        {"guardrail": v.guardrail, "kind": v.kind, "reason": v.reason, "owner": v.owner, "mode": v.mode}
        | ({"until": instant_text(v.until)} if v.until < NEVER else {})
        | ({"holder": v.holder} if v.holder else {})
        for v in verdicts
    ]


def _candidate(candidate: Candidate) -> dict[str, Any]:
    """What a decision's fact says of one candidate: what decided its place, and what guardrails said where asked."""
    said = {
        "score": candidate.score, "priority": candidate.priority, "outranks": candidate.outranks,
        "verdicts": _verdicts(candidate.verdicts), "error": candidate.error,
    }  # fmt: skip
    return (
        {"kind": candidate.action.kind} | _action(candidate.action) | {n: value for n, value in said.items() if value}
    )


def _action(action: Action) -> dict[str, str]:
    """What a decision's fact says of its action; of the details, which are the touchpoint's own, a digest."""
    said = {
        "topic": action.topic, "purpose": action.purpose, "channel": action.channel, "advances": action.advances,
    }  # fmt: skip
    if action.properties:
        text = json.dumps(json_text(dict(action.properties)), sort_keys=True, separators=(",", ":"))
        said["details"] = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return {name: value for name, value in said.items() if value}


@dataclass(frozen=True, slots=True)
class Treatment:
    """What became of a customer by a decision: two that are equal treat her alike.

    Attributes:
        answer: as JSON text.
        action: what was wanted to be done, as JSON text; empty where that was no action.
        held: the strictest binding verdict, with until when; empty where none held the action back.
    """

    answer: str
    action: str = ""
    held: str = ""


def treatment_of(details: Mapping[str, Any]) -> Treatment:
    """What a decision's details say became of the customer.

    Raises:
        ValueError, TypeError, KeyError: they are no decision's.
    """
    action = details.get("action")
    return Treatment(_text(details.get("value")), _text(action) if action else "", _held(details.get("verdicts", ())))


def _held(verdicts: Sequence[Mapping[str, Any]]) -> str:
    binding = [v for v in verdicts if v["kind"] != ALLOW and v.get("mode", ENFORCE) == ENFORCE]
    if not binding:
        return ""
    strictest = max(binding, key=lambda v: (v["kind"] == BLOCK, parse_instant(v["until"]) if "until" in v else NEVER))
    return f"{strictest['kind']} until {strictest['until']}" if "until" in strictest else str(strictest["kind"])


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def json_text(value: Any) -> Any:
    """A value as JSON can carry it; what it cannot is told as text."""
    if type(value) in _PLAIN or (type(value) is float and value - value == 0.0):
        return value
    try:
        json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=False).encode()
    except Exception:  # noqa: BLE001  # the host's own value: whatever it raises, it is told as text
        return shown(value)
    return value
