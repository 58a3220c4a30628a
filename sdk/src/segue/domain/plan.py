"""The plan: maps, audiences, guardrails, vocabulary and grants, compiled from its document.

Owns the compiled form that fold, derivation and decision read, and the digest that names it. A document is what the
hub's checker makes of the YAML files: plain JSON, every expression as `{"source": text, "tree": checked tree}`, every
duration as text. The same document gives the same plan in hub and SDK. With it comes the workspace: what is so for
everybody just now (FA5).
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from ..errors import PlanError
from .activity import KEPT, MOST
from .audience import Audience
from .binding import ContextBindings
from .document import MALFORMED, check_document, placed
from .expression import Compiled, ExpressionError, compile_tree
from .expression.node import Refused
from .grant import Grant, everything
from .guardrail import Guardrail
from .guardrail_reading import effort_of, guardrail_of
from .identifier import DEFAULT_BLOCKED, DEFAULT_KINDS, MOST_IDENTIFIERS, IdentifierKind, IdentifierKinds
from .instant import span
from .journey_map import NOTHING, RUNNING, SETTLES, JourneyMap, Reaction, Stage, matchers
from .opening_hours import Calendar, calendar_of
from .tree_reading import counted, event_types, incidents, inputs, property_named, type_decides
from .vocabulary import Channel, EventName, TraitName, Vocabulary
from .workspace import QUIET, Workspace

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
        workspace: the incidents that it is read with; `on` gives the same plan with others.
        incidents: ids of those that its expressions read.
        calendars: by name.
        maps, audiences, guardrails: by name, in the plan's order.
        capping, exposing: the guardrails that count actions, and that have a holdout.
        effort: how effort is weighed.
        priorities: of actions, as (pattern of kinds, priority), the first that fits.
        unstoppable: purposes of actions that a choice of channel or topic does not stop.
        timeline: how many facts a timeline keeps.

    Raises:
        PlanError: the document cannot be compiled here; names the field.
    """

    def __init__(self, document: Document) -> None:
        with placed("plan"):
            self.digest = digest_of(document)
        check_document(document)
        self.document = document
        self.timeline: int = int(document.get("timeline", TIMELINE))
        self.default_zone: str = document.get("time_zone", "UTC")
        self.vocabulary = _vocabulary(document)
        self.kinds = _kinds(document)
        self.workspace = QUIET
        self.calendars: dict[str, Calendar] = {
            name: self._calendar(name, body) for name, body in document.get("calendars", {}).items()
        }
        assisted = frozenset(name for name, channel in self.vocabulary.channels.items() if channel.assisted)
        with placed("effort"):
            self.effort = effort_of(document.get("effort", {}), assisted)
        self.priorities = tuple(
            (pattern, int(priority)) for pattern, priority in document.get("action_priorities", {}).items()
        )
        self.unstoppable = frozenset(document.get("choices", {}).get("exempt", ()))
        self._kept: dict[str, int] = {}
        self._reads: dict[str, frozenset[str]] = {}
        names, calendars = tuple(document.get("maps", {})), tuple(self.calendars)
        holdouts = tuple(name for name, body in document.get("guardrails", {}).items() if body.get("holdout"))
        bindings = ContextBindings(self.vocabulary, names, (), calendars, holdouts)
        self.maps: dict[str, JourneyMap] = {
            name: self._map(name, position, body, bindings)
            for position, (name, body) in enumerate(_ordered(document, "maps"))
        }
        self.audiences: dict[str, Audience] = {
            name: self._audience(name, body, bindings) for name, body in _ordered(document, "audiences")
        }
        bindings = ContextBindings(self.vocabulary, names, tuple(self.audiences), calendars, holdouts)
        self.guardrails: dict[str, Guardrail] = {
            name: self._guardrail(name, body, bindings) for name, body in _ordered(document, "guardrails")
        }
        self.capping = tuple(guardrail for guardrail in self.guardrails.values() if guardrail.cap is not None)
        self.exposing = tuple(guardrail for guardrail in self.guardrails.values() if guardrail.holdout is not None)
        self.grants: dict[str, Grant] = {
            name: _grant(name, body) for name, body in document.get("touchpoints", {}).items()
        }
        self._reactions: dict[tuple[str, str], Reaction] = {}
        self.incidents = self.incidents_of("")
        self._folded_with = self.incidents_of("maps.")

    def on(self, workspace: Workspace) -> Plan:
        """The same plan with a workspace."""
        plan = copy.copy(self)
        plan.workspace = workspace
        return plan

    def incidents_of(self, part: str) -> frozenset[str]:
        """The incidents that expressions of a part read: `maps.`, `audiences.stuck.`; of all where empty."""
        return frozenset().union(*(read for field, read in self._reads.items() if field.startswith(part)))

    def folded_as(self, at: int) -> str:
        """What a content that was folded through a moment depends on: the document, and the past of the incidents that
        maps read. A content that was folded as another name is to be folded again.
        """
        if not self._folded_with:
            return self.digest
        return f"{self.digest}.{self.workspace.history(self._folded_with, at)}"

    def folds_otherwise_from(self, other: Plan) -> int:
        """The first instant (microseconds) from which maps read another workspace than that of the same plan, `other`;
        NEVER where they read no difference.
        """
        return self.workspace.differs_from(other.workspace, self._folded_with)

    def reaction(self, type_: str, channel: str) -> Reaction:
        """What becomes of events of a type on a channel."""
        found = self._reactions.get((type_, channel))
        if found is None:
            able = matchers(self.maps, type_, channel)
            names = (type_, channel) if channel and channel != type_ else (type_,)
            found = Reaction(
                matchers=able, acting=tuple(matcher for matcher in able if matcher.decided != NOTHING),
                folds=self.folds(type_), kept=tuple((name, self.kept(name)) for name in names),
            )  # fmt: skip
            if len(self._reactions) < 10_000:
                self._reactions[type_, channel] = found
        return found

    def kept(self, name: str) -> int:
        """How many recent instants of a channel or event type are kept."""
        return self._kept.get(name, KEPT)

    def folds(self, type_: str) -> bool:
        """Whether events of a type are folded: a quarantined one waits in the log until the vocabulary knows it."""
        return self.vocabulary.unknown_events != "quarantine" or self.vocabulary.knows_event(type_)

    def folds_trait(self, name: str) -> bool:
        """Whether a trait is folded: as for events, a quarantined one waits until the vocabulary knows it."""
        return self.vocabulary.unknown_events != "quarantine" or self.vocabulary.knows_trait(name)

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
            counts, self._reads[field] = counted(body["tree"]), incidents(body["tree"])
        except Refused as error:
            raise PlanError(str(error), field=field) from None
        except MALFORMED as error:
            raise PlanError(f"is no checked expression ({error!r:.200})", field=field) from None
        for name, number in counts.items():
            self._kept[name] = min(MOST, max(self.kept(name), number + 1))
        return compiled

    def _calendar(self, name: str, body: Document) -> Calendar:
        try:
            return calendar_of(name, body, self.default_zone)
        except (ExpressionError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise PlanError(f"is no calendar ({error})", field=f"calendars.{name}") from None

    def _required(self, field: str, body: Any, bindings: ContextBindings) -> Compiled:
        compiled = self._expression(field, body, bindings)
        if compiled is None:
            raise PlanError("is missing", field=field)
        return compiled

    def _map(self, name: str, position: int, body: Document, bindings: ContextBindings) -> JourneyMap:
        with placed(f"maps.{name}"):
            return self._mapped(name, position, body, bindings)

    def _mapped(self, name: str, position: int, body: Document, bindings: ContextBindings) -> JourneyMap:
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
                decided=type_decides(details["reached"]["tree"]),
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
            decided=frozenset(
                "goal" if part == "reaches_goal" else part
                for part, expression in conditions.items()
                if expression and type_decides(expression["tree"])
            ),
            key_property=property_named(body["key"]["tree"]) if body.get("key") else "",
            touches=tuple(body.get("touches", ())),
            stalls=_span(body.get("stalls", {}).get("after")),
            abandons=_span(body.get("abandons", {}).get("after")),
            settles=_span(body.get("settles", {}).get("within")) if "settles" in body else SETTLES,
            running=int(body.get("running", RUNNING)),
            outranks=bool(body.get("outranks")),
            value=body.get("value", {}),
            targets=body.get("targets", {}),
            inputs=self._map_inputs(body),
        )

    def _map_inputs(self, body: Document) -> frozenset[str]:
        parts = [body.get(part) for part in ("starts", "key", "reaches_goal", "fails")]
        parts += [stage["reached"] for stage in body.get("stages", {}).values()]
        return frozenset().union(*(inputs(part["tree"], self.vocabulary) for part in parts if part))

    def _audience(self, name: str, body: Document, bindings: ContextBindings) -> Audience:
        with placed(f"audiences.{name}"):
            return Audience(
                name=name,
                when=self._required(f"audiences.{name}.when", body.get("when"), bindings),
                source=body["when"]["source"],
                owner=body.get("owner", ""),
                title=body.get("title", ""),
                inputs=inputs(body["when"]["tree"], self.vocabulary),
            )

    def _guardrail(self, name: str, body: Document, bindings: ContextBindings) -> Guardrail:
        audiences = {audience.name: audience.inputs for audience in self.audiences.values()}

        def reads(expression: Any) -> frozenset[str]:
            with placed(f"guardrails.{name}.suppress_when"):
                return inputs(expression["tree"], self.vocabulary, audiences)

        def compiled(field: str, expression: Any) -> Compiled | None:
            return self._expression(field, expression, bindings)

        with placed(f"guardrails.{name}"):
            return guardrail_of(name, body, compiled, reads, self._label("time_zone"), self.default_zone)

    def _label(self, trait: str) -> str:
        declared = self.vocabulary.traits.get(trait)
        return declared.label if declared else "general"


def _ordered(body: Document, section: str) -> list[tuple[str, Any]]:
    """The entries of a section in the plan's order (a canonical document sorts its keys, so it is by name)."""
    return sorted(body.get(section, {}).items(), key=lambda entry: (entry[1].get("position", 0), entry[0]))


def _span(text: str | None) -> int:
    return span(text) if text else 0


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
        name: IdentifierKind(
            priority=int(body.get("priority", 100)),
            normalise=body.get("normalise", ""),
            region=body.get("region", ""),
            per_customer=1 if body.get("unique") else int(body.get("per_customer", 0)),
            partners=int(body.get("partners", 0)),
        )
        for name, body in (declared or {}).items()
    }
    most = int(document.get("identifiers_per_customer", MOST_IDENTIFIERS))
    return IdentifierKinds(kinds or DEFAULT_KINDS, document.get("blocked", DEFAULT_BLOCKED), most)


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
