"""The one projection: what of a context leaves the hub, for whom, for which purpose.

Owns rule VE5 and least sight: streams, reads, exports and replays all go through `project`. A section without a grant
does not leave; what depends on it leaves as outcomes over time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

from .cap import NOT_COUNTED, Cap
from .consent import allows
from .content import NOTHING, Content
from .derivation import Interval, audience_outcome, guardrail_outcome
from .expression import NEVER
from .fact import ACTION, CONSENT, SUBSCRIPTION
from .grant import SECTIONS, Grant
from .guardrail import ALLOW
from .plan import Plan
from .section import Plain, Section, content_of, dumps, plain, shown

MAX_BYTES: Final = 64 * 1024
"""Bytes of a projected context; beyond, the oldest of the timeline are dropped, and said to be."""
_ALWAYS: Final = ("envelope", "choices")
"""What leaves whatever is granted: what the customer chose binds everybody."""
_NEVER_JUDGED: Final = frozenset(("decisions", "envelope", "timeline"))
"""Sections that no expression, guardrail, journey or trait is read from; every frame brings others."""
_BY_EVENTS: Final = frozenset(("timeline", "activity", "interactions", "journeys"))
"""Sections that an event changes which names nobody new."""
_TOLD_ELSEWHERE: Final = {CONSENT: "consents", SUBSCRIPTION: "subscriptions", ACTION: "actions"}
"""Facts of a timeline that are seen only by who may see the section that tells the same."""


_Outcomes = tuple[Mapping[str, Plain], Mapping[str, Plain]]
"""Of audiences, and of guardrails."""
_NO_OUTCOMES: Final[_Outcomes] = ({}, {})


class Origin(NamedTuple):
    """Where a context that was received came from, so that the same can be made again.

    Attributes:
        incarnation: of the hub's store; its versions speak of that history only.
        version: of the context; 0 where nothing is known of it.
        plan: digest of the plan that it was folded by.
        readable: False where the plan that runs here was another one, and what a plan decides was left out.
    """

    incarnation: str = ""
    version: int = 0
    plan: str = ""
    readable: bool = True


NOWHERE: Final = Origin()


@dataclass(frozen=True, slots=True)
class Projected:
    """A context as one touchpoint may see it.

    Attributes:
        content: the visible content; sections that are not visible are empty.
        hidden: the sections, in the words of grants, that were left out.
        audiences: memberships over time of audiences that read hidden sections.
        guardrails: verdicts over time of guardrails that read hidden sections.
        dropped: facts of the timeline left out for size.
        origin: where it came from.
        overlay: ids of the own facts that were laid over it, in that order.
        judged: digest of the sections, as received, that guardrails and conditions can be read from; empty where own
            facts lie over them, or where it was not received.
    """

    content: Content
    hidden: frozenset[str] = frozenset()
    audiences: Mapping[str, list[Interval]] = field(default_factory=dict)
    guardrails: Mapping[str, list[Interval]] = field(default_factory=dict)
    dropped: int = 0
    origin: Origin = NOWHERE
    overlay: tuple[bytes, ...] = ()
    judged: bytes = field(default=b"", compare=False, repr=False)

    @property
    def outcomes_at(self) -> int:
        """The moment (microseconds) from which the shipped outcomes were told; 0 where there are none."""
        shipped = (*self.audiences.values(), *self.guardrails.values())
        return min((intervals[0].since for intervals in shipped if intervals), default=0)


NOBODY: Final = Projected(Content())
"""What a touchpoint holds of a customer it has heard nothing of."""


def view_of(plan: Plan, grant: Grant, purpose: str) -> str:
    """The digest of what decides a projection: plan, grant and purpose (VE2)."""
    parts = [plan.digest, grant.touchpoint, purpose, str(grant.everything), *grant.reads.get(purpose, ())]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def foreseen(plan: Plan, grant: Grant, purpose: str) -> bool:
    """Whether who may see so much makes of an event of its own all that the hub makes of it: no outcome that is shipped
    in place of hidden sections, and no journey that is seen, is another one by what an event changes.
    """
    sight = Sight(plan, grant, purpose)
    if any(not _BY_EVENTS.isdisjoint(inputs) for inputs in sight.shipped):
        return False
    return not grant.may_read("journeys", purpose) or all(
        grant.may_read_all(journey_map.inputs, purpose) for journey_map in plan.maps.values()
    )


def project(
    content: Content,
    plan: Plan,
    grant: Grant,
    purpose: str,
    at: int,
    dump: Callable[[Plain], bytes] = dumps,
) -> tuple[list[Section], int]:
    """The sections that a touchpoint may see for a purpose.

    Returns:
        The sections, and the instant at which a shipped outcome ends (`NEVER` where none does): send again by then.
    """
    return Sight(plan, grant, purpose).project(content, at, dump)


class Sight:
    """What one touchpoint may see for one purpose, by one plan: worked out once, for all customers.

    Args:
        plan: by which contexts are folded.
        grant: of the touchpoint.
        purpose: of the read.

    Attributes:
        plan: the same.
        whole: whether nothing it may not see decides anything it needs: then no outcomes are shipped.
    """

    def __init__(self, plan: Plan, grant: Grant, purpose: str) -> None:
        self.plan = plan
        self._grant = grant
        self._purpose = purpose
        self._visible: dict[str, bool] = dict.fromkeys(_ALWAYS, True)
        self._withheld = frozenset(
            kind for kind, section in _TOLD_ELSEWHERE.items() if not grant.may_read(section, purpose)
        )
        self._hidden = sorted(hidden_sections(plan, grant, purpose))
        may_read_audiences = grant.may_read("audiences", purpose)
        self._audiences = tuple(
            name
            for name, audience in plan.audiences.items()
            if may_read_audiences and not grant.may_read_all(audience.inputs, purpose)
        )
        self._guardrails = tuple(
            name for name, guardrail in plan.guardrails.items() if not grant.may_read_all(guardrail.inputs, purpose)
        )
        self.whole = not (self._audiences or self._guardrails)

    @property
    def shipped(self) -> list[frozenset[str]]:
        """What each of those reads that are told as outcomes."""
        audiences = [self.plan.audiences[name].inputs for name in self._audiences]
        return audiences + [self.plan.guardrails[name].inputs for name in self._guardrails]

    def project(self, content: Content, at: int, dump: Callable[[Plain], bytes] = dumps) -> tuple[list[Section], int]:
        """See the function of this name."""
        if self.whole:
            return self._seen(plain(content, self.plan, complete=False), _NO_OUTCOMES, dump), NEVER
        outcomes, renew_at = self._outcomes(content, at)
        return self._seen(plain(content, self.plan, complete=False), outcomes, dump), renew_at

    def splice(self, stored: Mapping[str, Plain], dump: Callable[[Plain], bytes] = dumps) -> list[Section]:
        """What `project` makes of the content that a store keeps so, where the sight is whole."""
        assert self.whole, "outcomes are made of a content"
        return self._seen(shown(stored), _NO_OUTCOMES, dump)

    def _seen(self, sections: dict[str, Plain], outcomes: _Outcomes, dump: Callable[[Plain], bytes]) -> list[Section]:
        withheld = self._withheld
        if withheld:
            sections["timeline"] = [fact for fact in sections["timeline"] if fact[1] not in withheld]
        if not self._sees("journeys"):
            sections["envelope"][3] = NEVER  # a deadline would tell of journeys
        seen = self._visible.get
        found = [
            Section(name, dump(value)) for name, value in sorted(sections.items()) if seen(name) or self._sees(name)
        ]
        dropped = _shrink(found, sections, dump)
        found.append(Section("outcomes", dump([*outcomes, self._hidden, dropped])))
        return found

    def _sees(self, name: str) -> bool:
        seen = self._visible.get(name)
        if seen is None:  # of a plan there are so many
            seen = self._visible[name] = self._grant.may_read(name, self._purpose)
        return seen

    def _outcomes(self, content: Content, at: int) -> tuple[_Outcomes, int]:
        plan, grant, hidden = self.plan, self._grant, self._guardrails
        audiences = {name: audience_outcome(content, plan, name, at) for name in self._audiences}
        guardrails = {}
        for name in hidden:
            guardrail = plan.guardrails[name]
            action = _uncounted(guardrail.cap, grant.touchpoint)
            guardrails[name] = guardrail_outcome(content, plan, guardrail, at, action)
        guardrails |= _by_slot(content, plan, hidden, at)
        guardrails |= _subscribed(content, plan, grant, hidden, at)
        shipped = [*audiences.values(), *guardrails.values()]
        renew_at = min((i.since for intervals in shipped for i in intervals if i.kind == "UNKNOWN"), default=NEVER)
        return (_plain_outcomes(audiences), _plain_outcomes(guardrails)), renew_at


def hidden_sections(plan: Plan, grant: Grant, purpose: str) -> frozenset[str]:
    """The sections, in the words of grants, that a touchpoint may not see for a purpose; traits by label."""
    labels = {trait.label for trait in plan.vocabulary.traits.values()} | {"general"}
    names = [name for name in SECTIONS if name != "traits"] + [f"traits.{label}" for label in labels]
    return frozenset(name for name in names if not grant.may_read(name, purpose))


def _uncounted(cap: Cap | None, touchpoint: str) -> Mapping[str, str]:
    """An action that stands for all of a touchpoint's whose own slot is not shipped: nothing was counted for it."""
    return {"touchpoint": touchpoint} | ({cap.per: NOT_COUNTED} if cap is not None and cap.per else {})


def _by_slot(content: Content, plan: Plan, hidden: Sequence[str], at: int) -> dict[str, list[Interval]]:
    """The outcomes of hidden caps that count by kind, topic or channel: of every value that was counted for."""
    found = {}
    taken = {*content.caps, *(slot for held in content.reservations.values() for slot in held.slots)}
    for name in hidden:
        cap = plan.guardrails[name].cap
        if cap is not None and cap.per:
            for slot in taken:
                if slot.startswith(f"{name}:"):
                    action = {cap.per: slot[len(name) + 1 :]}
                    found[slot] = guardrail_outcome(content, plan, plan.guardrails[name], at, action)
    return found


def _subscribed(
    content: Content, plan: Plan, grant: Grant, hidden: Sequence[str], at: int
) -> dict[str, list[Interval]]:
    """What a touchpoint may send although it may not see subscriptions: opted in, on its own channel, by topic."""
    topics = [
        name for name, bound in content.subscriptions.items() if allows(bound) and name.startswith(f"{grant.channel}:")
    ]
    return {
        f"{name}@{topic}": [Interval(at, ALLOW, NEVER, plan.guardrails[name].reason)]
        for name in hidden
        if plan.guardrails[name].requires_subscription
        for topic in topics
    }


def _plain_outcomes(outcomes: Mapping[str, Sequence[Interval]]) -> Mapping[str, Plain]:
    return {
        name: [[i.since, i.kind, i.until, i.reason, *([i.holder] if i.holder else [])] for i in intervals]
        for name, intervals in outcomes.items()
    }


def _shrink(found: list[Section], sections: Mapping[str, Plain], dump: Callable[[Plain], bytes]) -> int:
    """Drops the oldest of the timeline until the whole fits; returns how many were dropped."""
    dropped = 0
    timeline = sections["timeline"]
    while sum(len(section.data) for section in found) > MAX_BYTES and dropped < len(timeline):
        dropped += max(1, (len(timeline) - dropped) // 2)
        for index, section in enumerate(found):
            if section.name == "timeline":
                found[index] = Section("timeline", dump(timeline[dropped:]))
                break
        else:
            break
    return dropped


def receive(sections: Sequence[Section]) -> Projected:
    """The other side of `project`: sections into what a decision reads."""
    loaded = {section.name: json.loads(section.data.decode()) for section in sections}  # it guesses of what is bytes
    audiences, guardrails, hidden, dropped = loaded.pop("outcomes", ({}, {}, (), 0))
    content = content_of(loaded)
    content.hidden = _hidden(tuple(hidden))
    content.seal()
    return Projected(
        content, content.hidden, _intervals(audiences), _intervals(guardrails), dropped, judged=_judged(sections)
    )


@lru_cache(maxsize=64)
def _hidden(names: tuple[str, ...]) -> frozenset[str]:
    """One set for all customers of whom the same is hidden."""
    return frozenset(names)


def _judged(sections: Sequence[Section]) -> bytes:
    """The same for the same sections, whatever was decided meanwhile: a digest, as the sections are not kept."""
    digest = hashlib.blake2b(digest_size=16)
    for section in sections:
        if section.name not in _NEVER_JUDGED:
            digest.update(b"%d:%d:" % (len(section.name), len(section.data)) + section.name.encode() + section.data)
    return digest.digest()


def without_plan(projected: Projected) -> Projected:
    """What is left of a context that was folded by a plan which is not known here: what the plan decides is missing,
    never false (VE3). Changes the content.
    """
    content = projected.content
    content.journeys, content.ended, content.caps, content.next_due = {}, [], {}, NEVER
    content.hidden |= {"journeys", "audiences", "actions"}
    return Projected(content, content.hidden, {}, {}, projected.dropped)


def _intervals(plain_outcomes: Mapping[str, Plain]) -> Mapping[str, list[Interval]]:
    if not plain_outcomes:
        return NOTHING
    return {name: [Interval(*interval) for interval in intervals] for name, intervals in plain_outcomes.items()}
