"""The plan: maps, audiences, guardrails, vocabulary and grants, compiled from its document.

Owns the compiled form that fold, derivation and decision read, and the digest that names it. A document is what the
hub's checker makes of the YAML files: plain JSON, every expression as `{"source": text, "tree": checked tree}`, every
duration as text. The same document gives the same plan in hub and SDK.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from ..errors import PlanError
from .activity import KEPT, MOST
from .audience import Audience
from .binding import ContextBindings
from .expression import Compiled, compile_tree
from .expression.node import Refused
from .grant import Grant, everything
from .guardrail import ENFORCE, Guardrail
from .identifier import DEFAULT_BLOCKED, DEFAULT_KINDS, IdentifierKind, IdentifierKinds
from .instant import span
from .journey_map import RUNNING, SETTLES, JourneyMap, Matcher, Stage, matchers
from .tree_reading import counted, event_types, inputs
from .vocabulary import Channel, EventName, TraitName, Vocabulary

TIMELINE: Final = 50
"""Facts kept in the timeline, unless the plan says otherwise."""

Document = Mapping[str, Any]


def canonical(document: Document) -> bytes:
    """The bytes of a document that its digest is taken of."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest_of(document: Document) -> str:
    """The name of a document: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(canonical(document)).hexdigest()[:16]


class Plan:
    """A compiled plan. Immutable.

    Args:
        document: see the module's text; `{}` is the plan of a touchpoint without one.

    Attributes:
        digest: the name of the document.
        maps, audiences, guardrails: by name, in the plan's order.
        capping: the guardrails that count actions.
        timeline: how many facts a timeline keeps.

    Raises:
        PlanError: the document cannot be compiled here; names the field.
    """

    def __init__(self, document: Document) -> None:
        self.document = document
        self.digest = digest_of(document)
        self.timeline: int = int(document.get("timeline", TIMELINE))
        self.default_zone: str = document.get("time_zone", "UTC")
        self.vocabulary = _vocabulary(document)
        self.kinds = _kinds(document)
        self._kept: dict[str, int] = {}
        names = tuple(document.get("maps", {}))
        bindings = ContextBindings(self.vocabulary, names)
        self.maps: dict[str, JourneyMap] = {
            name: self._map(name, position, body, bindings)
            for position, (name, body) in enumerate(_ordered(document, "maps"))
        }
        self.audiences: dict[str, Audience] = {
            name: self._audience(name, body, bindings) for name, body in _ordered(document, "audiences")
        }
        bindings = ContextBindings(self.vocabulary, names, tuple(self.audiences))
        self.guardrails: dict[str, Guardrail] = {
            name: self._guardrail(name, body, bindings) for name, body in _ordered(document, "guardrails")
        }
        self.capping = tuple(guardrail for guardrail in self.guardrails.values() if guardrail.limit)
        self.grants: dict[str, Grant] = {
            name: _grant(name, body) for name, body in document.get("touchpoints", {}).items()
        }
        self._matchers: dict[tuple[str, str], tuple[Matcher, ...]] = {}

    def matchers(self, type_: str, channel: str) -> tuple[Matcher, ...]:
        """What of the maps can react to an event type on a channel."""
        found = self._matchers.get((type_, channel))
        if found is None:
            found = matchers(self.maps, type_, channel)
            if len(self._matchers) < 10_000:
                self._matchers[type_, channel] = found
        return found

    def kept(self, name: str) -> int:
        """How many recent instants of a channel or event type are kept."""
        return self._kept.get(name, KEPT)

    def folds(self, type_: str) -> bool:
        """Whether events of a type are folded: a quarantined one waits in the log until the vocabulary knows it."""
        return self.vocabulary.unknown_events != "quarantine" or self.vocabulary.knows_event(type_)

    def is_assisted(self, channel: str) -> bool:
        """Whether a person serves the customer on a channel."""
        declared = self.vocabulary.channels.get(channel)
        return declared is not None and declared.assisted

    def grant(self, touchpoint: str) -> Grant:
        """What a touchpoint may do; nothing where the plan names others but not it."""
        if not self.grants:
            return everything(touchpoint)
        return self.grants.get(touchpoint) or Grant(touchpoint=touchpoint, writes=())

    def _expression(self, field: str, body: Any, bindings: ContextBindings) -> Compiled | None:
        if body is None:
            return None
        try:
            compiled = compile_tree(body["tree"], bindings)
            counts = counted(body["tree"])
        except Refused as error:
            raise PlanError(str(error), field=field) from None
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise PlanError(f"is no checked expression ({error!r})", field=field) from None
        for name, number in counts.items():
            self._kept[name] = min(MOST, max(self.kept(name), number + 1))
        return compiled

    def _required(self, field: str, body: Any, bindings: ContextBindings) -> Compiled:
        compiled = self._expression(field, body, bindings)
        if compiled is None:
            raise PlanError("is missing", field=field)
        return compiled

    def _map(self, name: str, position: int, body: Document, bindings: ContextBindings) -> JourneyMap:
        field = f"maps.{name}"
        conditions = {part: body.get(part) for part in ("starts", "reaches_goal", "fails")}
        types = {
            "goal" if part == "reaches_goal" else part: event_types(expression["tree"]) if expression else frozenset()
            for part, expression in conditions.items()
        }
        stages = [
            Stage(
                name=stage,
                reached=self._required(f"{field}.stages.{stage}.reached", details.get("reached"), bindings),
                types=event_types(details["reached"]["tree"]),
                expect_within=_span(details.get("expect", {}).get("within")),
                moment_of_truth=bool(details.get("moment_of_truth")),
            )
            for stage, details in _ordered(body, "stages")
        ]
        return JourneyMap(
            name=name,
            position=position,
            title=body.get("title", ""),
            goal_text=body.get("goal", ""),
            owner=body.get("owner", ""),
            status=body.get("status", "hypothesis"),
            parent=body.get("parent", ""),
            starts=self._expression(f"{field}.starts", conditions["starts"], bindings),
            key=self._expression(f"{field}.key", body.get("key"), bindings),
            stages=tuple(stages),
            goal=self._expression(f"{field}.reaches_goal", conditions["reaches_goal"], bindings),
            fails=self._expression(f"{field}.fails", conditions["fails"], bindings),
            types=types,
            touches=tuple(body.get("touches", ())),
            stalls=_span(body.get("stalls", {}).get("after")),
            abandons=_span(body.get("abandons", {}).get("after")),
            settles=_span(body.get("settles", {}).get("within")) if "settles" in body else SETTLES,
            running=int(body.get("running", RUNNING)),
            value=body.get("value", {}),
            targets=body.get("targets", {}),
            inputs=self._map_inputs(body),
        )

    def _map_inputs(self, body: Document) -> frozenset[str]:
        parts = [body.get(part) for part in ("starts", "key", "reaches_goal", "fails")]
        parts += [stage["reached"] for stage in body.get("stages", {}).values()]
        return frozenset().union(*(inputs(part["tree"], self.vocabulary) for part in parts if part))

    def _audience(self, name: str, body: Document, bindings: ContextBindings) -> Audience:
        return Audience(
            name=name,
            when=self._required(f"audiences.{name}.when", body.get("when"), bindings),
            source=body["when"]["source"],
            owner=body.get("owner", ""),
            title=body.get("title", ""),
            inputs=inputs(body["when"]["tree"], self.vocabulary),
        )

    def _guardrail(self, name: str, body: Document, bindings: ContextBindings) -> Guardrail:
        field = f"guardrails.{name}"
        suppress, cap, quiet = body.get("suppress_when"), body.get("cap") or {}, body.get("quiet_hours")
        reads: set[str] = set()
        if suppress:
            audiences = {audience.name: audience.inputs for audience in self.audiences.values()}
            reads |= inputs(suppress["tree"], self.vocabulary, audiences)
        reads |= {"consents"} if body.get("requires_consent") else set()
        reads |= {"subscriptions"} if body.get("requires_subscription") else set()
        reads |= {"actions"} if cap else set()
        reads |= {"traits." + self._label("time_zone")} if quiet and quiet.get("zone") == "customer" else set()
        return Guardrail(
            name=name,
            reason=body.get("reason", ""),
            owner=body.get("owner", ""),
            mode=body.get("mode", ENFORCE),
            applies_to=self._expression(f"{field}.applies_to", body.get("applies_to"), bindings),
            suppress_when=self._expression(f"{field}.suppress_when", suppress, bindings),
            requires_consent=body.get("requires_consent", ""),
            requires_subscription=body.get("requires_subscription", ""),
            limit=int(cap.get("limit", 0)),
            window=_span(cap.get("window")),
            quiet=(_minute(quiet["from"]), _minute(quiet["to"]), quiet.get("zone", "customer")) if quiet else None,
            default_zone=self.default_zone,
            on_stale=body.get("on_stale", "enforce"),
            on_missing=body.get("on_missing", "default"),
            inputs=frozenset(reads),
        )

    def _label(self, trait: str) -> str:
        declared = self.vocabulary.traits.get(trait)
        return declared.label if declared else "general"


def _ordered(body: Document, section: str) -> list[tuple[str, Any]]:
    """The entries of a section in the plan's order (a canonical document sorts its keys, so it is by name)."""
    return sorted(body.get(section, {}).items(), key=lambda entry: (entry[1].get("position", 0), entry[0]))


def _span(text: str | None) -> int:
    return span(text) if text else 0


def _minute(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)


def _vocabulary(document: Document) -> Vocabulary:
    channels = {
        name: Channel(
            assisted=bool(body.get("assisted")),
            direction=body.get("direction", ""),
            cost=float(body.get("cost", {}).get("amount", 0.0)),
            currency=body.get("cost", {}).get("currency", ""),
        )
        for name, body in document.get("channels", {}).items()
    }
    events = {
        name: EventName(
            owner=body.get("owner", ""),
            properties=body.get("properties", {}),
            aliases={who: tuple(names) for who, names in body.get("aliases", {}).items()},
        )
        for name, body in document.get("events", {}).items()
    }
    traits = {
        name: TraitName(
            type=body.get("type", "string"),
            owner=body.get("owner", ""),
            label=body.get("label", "general"),
            one_of=tuple(body.get("one_of", ())),
        )
        for name, body in document.get("traits", {}).items()
    }
    return Vocabulary(
        channels=channels,
        events=events,
        traits=traits,
        purposes=tuple(document.get("purposes", ())),
        unknown_events=document.get("unknown_events", "accept"),
    )


def _kinds(document: Document) -> IdentifierKinds:
    declared = document.get("identifiers")
    kinds = {
        name: IdentifierKind(priority=int(body.get("priority", 100)), normalise=body.get("normalise", ""))
        for name, body in (declared or {}).items()
    }
    return IdentifierKinds(kinds or DEFAULT_KINDS, document.get("blocked", DEFAULT_BLOCKED))


def _grant(name: str, body: Document) -> Grant:
    return Grant(
        touchpoint=name,
        channel=body.get("channel", name),
        owner=body.get("owner", ""),
        writes=tuple(body.get("writes", ())),
        reads={purpose: tuple(sections) for purpose, sections in body.get("reads", {}).items()},
    )


WAITING = Plan(
    {
        "guardrails": {
            "no_plan_yet": {
                "applies_to": {
                    "source": 'action.purpose == "marketing"',
                    "tree": ["call", "_==_", [["ident", "action.purpose"], ["string", "marketing"]]],
                },
                "suppress_when": {"source": "true", "tree": ["bool", True]},
                "reason": "No plan has arrived yet",
                "on_missing": "block",
            }
        }
    }
)
"""The plan of a touchpoint whose hub has one that has not arrived, or cannot be run: marketing is held back."""
EMPTY = Plan({})
"""The plan of a touchpoint that has none: every name is known, everything is granted."""
