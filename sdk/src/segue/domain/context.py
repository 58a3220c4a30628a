"""The context as a decision function reads it: immutable, at one moment, in the same words as the plan's expressions.

Owns the reading API and what it answers to a name that is misspelt or not granted, and to a question that reaches
further back than is kept. Remembers what was read, so that a decision can explain itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ..errors import NameUnknown, NotCovered
from .binding import running
from .brief import Brief, brief
from .choice import chosen
from .consent import allows
from .content import Content
from .coordination_binding import exposed, unknown_choice
from .coordination_reading import ClaimReading, EffortReading
from .derivation import outcome_at
from .fact import Fact
from .freshness import FRESH, LIVE, Freshness, freshness_at, is_live
from .instant import span, to_datetime
from .interaction import Interaction
from .journey import Journey
from .journey_reading import JourneyReading
from .plan import Plan
from .projection import Projected
from .scope import Scope
from .snapshot import Asked, Snapshot, in_words
from .vocabulary import did_you_mean
from .workspace_reading import CalendarReading, IncidentReading


class Context:
    """Everything a touchpoint may know of a customer, at one moment.

    Attributes:
        at: the moment, in microseconds.
        snapshot: what it reads, shared with other contexts of the same version.
        asked: every question with its answer, in the order they were asked; `reads` has them in words.
        partial: whether a question reached further back than is kept.
    """

    __slots__ = (
        "_clock", "_freshness", "_heard_at", "_own_scope", "_persisted_at", "asked", "at", "partial", "snapshot",
    )  # fmt: skip

    _clock: int
    _heard_at: int
    _persisted_at: int

    def __init__(
        self,
        projected: Projected,
        plan: Plan,
        at: int,
        freshness: Freshness = FRESH,
        version: int = 0,
        strict: bool = False,
    ) -> None:
        content = projected.content
        self.snapshot = Snapshot(projected, plan, version, strict)
        self.at = at if at > content.at else content.at
        self.asked: list[Asked] = []
        self.partial = False
        self._freshness: Freshness | None = freshness
        self._own_scope: Scope | None = None

    @staticmethod
    def held(snapshot: Snapshot, at: int, clock: int, heard_at: int, persisted_at: int) -> Context:
        """The context of a decision on what is held; how fresh that is is told once somebody asks.

        Args:
            snapshot: what is known.
            at: the moment.
            clock: our own, at that moment.
            heard_at: of `freshness_at`.
            persisted_at: likewise.
        """
        context: Context = _Held()
        context.snapshot = snapshot
        known = snapshot.content.at
        context.at = at if at > known else known
        context.asked = []
        context.partial = False
        context._freshness = context._own_scope = None
        context._clock, context._heard_at, context._persisted_at = clock, heard_at, persisted_at
        return context

    @property
    def content(self) -> Content:
        """The visible content, overlay included."""
        return self.snapshot.content

    @property
    def plan(self) -> Plan:
        """The plan that it is read by."""
        return self.snapshot.plan

    @property
    def projected(self) -> Projected:
        """What was hidden, and the outcomes shipped in its place."""
        return self.snapshot.projected

    @property
    def version(self) -> int:
        """Of the context; 0 where nothing is known."""
        return self.snapshot.version

    @property
    def strict(self) -> bool:
        """Whether misspelt names are loud, as in tests."""
        return self.snapshot.strict

    @property
    def freshness(self) -> Freshness:
        """How old it is."""
        found = self._freshness
        if found is None:
            found = self._freshness = freshness_at(self._clock, self._heard_at, self._persisted_at)
        return found

    @property
    def live(self) -> bool:
        """Whether the hub was heard of late: `freshness` is made only where somebody wants to know more."""
        found = self._freshness
        return is_live(self._clock, self._heard_at) if found is None else found.state == LIVE

    @property
    def reads(self) -> Sequence[tuple[str, Any]]:
        """(question, answer) in the order they were asked."""
        return in_words(self.asked)

    def _scope(self) -> Scope:
        scope = self._own_scope
        if scope is None:
            scope = self._own_scope = Scope(self.content, self.at, self.plan)
        return scope

    def _partial(self, question: str) -> None:
        self.partial = True
        if self.strict:
            raise NotCovered(f"{question} reaches further back than the context keeps; let an audience count it")

    def seen(self, name: str = "", within: str | None = None, *, event: str = "", channel: str = "") -> bool:
        """Whether a channel or event type was seen, within a duration (`"1h"`) or ever."""
        try:
            until, yes, no = self.snapshot.seen[name, within]
        except (KeyError, TypeError):
            until, yes, no = self.snapshot.see(name or event or channel, within)
        if self.at < until:
            self.asked.append(yes)
            return True
        self.asked.append(no)
        return False

    def count(self, name: str, within: str | None = None) -> int:
        """How often a channel or event type was seen, within a duration or ever."""
        activity = self.content.activity.get(name)
        value = 0
        if activity is None:
            self.snapshot.check_activity(name)
            self.snapshot.check_visible("activity")
        elif within is None:
            value = activity.total
        else:
            value, _, saturated = activity.count(self.at, span(within))
            if saturated:
                self._partial(f"count({name!r}, {within!r})")
        self.asked.append(("count({!r}, {!r})" if within else "count({!r})", name, within, value))
        return value

    def last(self, name: str) -> datetime | None:
        """When a channel or event type was last seen."""
        activity = self.content.activity.get(name)
        if activity is None:
            self.snapshot.check_activity(name)
            self.snapshot.check_visible("activity")
        value = to_datetime(activity.last) if activity else None
        self.asked.append(("last({!r})", name, None, value))
        return value

    def trait(self, name: str, default: Any = None) -> Any:
        """A trait's value; where unset the default, or its type's zero."""
        try:
            asked = self.snapshot.traits[name]
        except KeyError:
            asked = self.snapshot.read_trait(name, default)
        self.asked.append(asked)
        return asked[3]

    def known(self, name: str) -> bool:
        """Whether a trait was ever set."""
        value = name in self.content.traits
        if not value:
            self.snapshot.unset(name)
        self.asked.append(("known({!r})", name, None, value))
        return value

    def journey(self, name: str) -> JourneyReading:
        """The running journeys of a map, read together."""
        reading = JourneyReading()
        reading._context, reading._name = self, name
        try:
            reading._turning = self.snapshot.running[name]
        except KeyError:
            reading._turning = self.snapshot.run(name)
        return reading

    def journeys(self, name: str | None = None) -> list[Journey]:
        """The running journeys, of one map or of all, the latest progressed first."""
        self.snapshot.check_visible("journeys")
        if name is not None and name not in self.plan.maps and self.plan.maps:
            raise NameUnknown(f"no journey map is called {name!r}", field=name, cure=did_you_mean(name, self.plan.maps))
        maps = [name] if name in self.plan.maps else [] if name else list(self.plan.maps)
        found = [journey for map_ in maps for journey, _ in running(self._scope(), map_)]
        found.sort(key=lambda journey: (-journey.progress_at, journey.map, journey.key))
        self.asked.append(("journeys({!r})" if name else "journeys()", name, None, len(found)))
        return found

    def in_audience(self, name: str) -> bool:
        """Whether the customer is in an audience now."""
        audience = self.plan.audiences.get(name)
        if audience is None:
            raise NameUnknown(
                f"no audience is called {name!r}", field=name, cure=did_you_mean(name, self.plan.audiences)
            )
        if not self.projected.hidden.isdisjoint(audience.inputs):
            self.snapshot.check_visible("audiences")
            interval = outcome_at(self.projected.audiences.get(name, []), self.at)
            value = interval is not None and interval.kind == "IN"
            if interval is None:
                self.partial = True
        else:
            value = audience.when.holds(self._scope())
        self.asked.append(("in_audience({!r})", name, None, value))
        return value

    def consents_to(self, purpose: str) -> bool:
        """Whether consent to a purpose is in force."""
        purposes = self.plan.vocabulary.purposes
        if purposes and purpose not in purposes:
            raise NameUnknown(f"no purpose is called {purpose!r}", field=purpose, cure=did_you_mean(purpose, purposes))
        self.snapshot.check_visible("consents")
        value = allows(self.content.consents.get(purpose))
        self.asked.append(("consents_to({!r})", purpose, None, value))
        return value

    def subscribed(self, channel: str, topic: str) -> bool:
        """Whether the customer opted in to a topic on a channel."""
        self.snapshot.check_visible("subscriptions")
        value = allows(self.content.subscriptions.get(f"{channel}:{topic}"))
        self.asked.append(("subscribed({!r}, {!r})", channel, topic, value))
        return value

    def choice(self, about: str) -> str:
        """What the customer chose about `channel:NAME`, `topic:NAME`, `purpose:NAME`, `journey:MAP`, or `channel` for
        the one she prefers; empty where nothing. No grant hides it.
        """
        cause, cure = unknown_choice(about, self.plan.vocabulary, tuple(self.plan.maps))
        if cause:
            raise NameUnknown(cause, field=about, cure=cure)
        value = chosen(self.content.choices, about)
        self.asked.append(("choice({!r})", about, None, value))
        return value

    def claim(self, scope: str) -> ClaimReading:
        """Who the customer is with, for a scope (`conversation`): `.holder`, `.offered_to`, `.since`, `.until`."""
        self.snapshot.check_visible("claims")
        return ClaimReading(self, scope)

    def holdout(self, name: str) -> str:
        """The arm (`held_out`, `treated`) that the customer was first exposed in, by the name of the guardrail; empty
        before. Reading it exposes nobody.
        """
        holdouts = [guardrail.name for guardrail in self.plan.guardrails.values() if guardrail.holdout is not None]
        if name not in holdouts:
            raise NameUnknown(
                f"no guardrail with a holdout is called {name!r}", field=name, cure=did_you_mean(name, holdouts)
            )
        self.snapshot.check_visible("actions")
        value = exposed(self.content, name)
        self.asked.append(("holdout({!r})", name, None, value))
        return value

    @property
    def effort(self) -> EffortReading:
        """How hard it has been for her of late: `.score`, and the counts that it weighs."""
        self.snapshot.check_visible("interactions")
        return EffortReading(self)

    @property
    def now(self) -> datetime:
        """The moment, as an aware datetime."""
        return to_datetime(self.at)

    def incident(self, id: str) -> IncidentReading:
        """An incident of the workspace: `.open`, `.title`, `.workaround`; one that nobody has told of is not open."""
        return IncidentReading(self, id)

    def incidents(self) -> list[IncidentReading]:
        """The incidents that are open, the one that was opened first at the front."""
        names = self.plan.workspace.open_incidents(self.at)
        self.asked.append(("incidents()", None, None, names))
        return [IncidentReading(self, name) for name in names]

    def calendar(self, name: str) -> CalendarReading:
        """A calendar of the plan: `.open`, `.changes_at`."""
        calendars = self.plan.calendars
        if name not in calendars:
            raise NameUnknown(f"no calendar is called {name!r}", field=name, cure=did_you_mean(name, calendars))
        return CalendarReading(self, name)

    def decisions(self, name: str | None = None) -> Sequence[Fact]:
        """Newest decisions of all touchpoints, oldest first; of one question where named."""
        self.snapshot.check_visible("decisions")
        return self._facts("decisions", self.content.decisions, name)

    def actions(self, kind: str | None = None) -> Sequence[Fact]:
        """Newest actions of all touchpoints, oldest first; of one kind where named."""
        self.snapshot.check_visible("actions")
        return self._facts("actions", self.content.actions, kind)

    def _facts(self, question: str, facts: Sequence[Fact], type_: str | None) -> Sequence[Fact]:
        found = [fact for fact in facts if type_ is None or fact.type == type_]
        self.asked.append((f"{question}({{!r}})" if type_ else f"{question}()", type_, None, len(found)))
        return found

    def timeline(self) -> Sequence[Fact]:
        """The newest facts of all channels, oldest first."""
        self.snapshot.check_visible("timeline")
        self.asked.append(("timeline()", None, None, len(self.content.timeline)))
        return tuple(self.content.timeline)

    def interactions(self, channel: str | None = None) -> list[Interaction]:
        """The newest interactions, oldest first; of one channel where named."""
        self.snapshot.check_visible("interactions")
        found = [i for i in self.content.interactions.values() if channel is None or i.channel == channel]
        self.asked.append(("interactions({!r})" if channel else "interactions()", channel, None, len(found)))
        return found

    def traits(self) -> Mapping[str, Any]:
        """All visible traits."""
        self.asked.append(("traits()", None, None, sorted(self.content.traits)))
        return {name: trait.value for name, trait in self.content.traits.items()}

    def brief(self, language: str = "en") -> Brief:
        """The hand-over summary; its sentences in English or Chinese (`zh`)."""
        found = brief(self.content, self.plan, self.at, language)
        self.asked.append(("brief()", None, None, str(found)))
        return found


class _Held(Context):
    """A context that `Context.held` fills: made without a call of `__init__`, which would cost as much as that."""

    __slots__ = ()
    __init__ = object.__init__
