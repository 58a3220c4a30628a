"""The brief: a hand-over summary for the next touchpoint or a person, at most five sentences.

Owns what is said of a context: what she wanted, tried, where it failed, what was offered, promised and said, and what
it cost her. States only what is in the visible content; what is hidden or unknown is said to be. The words are
`brief_text`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .brief_text import Words, words_of
from .effort import effort
from .explanation import shown
from .fact import ACTION, DECISION, EVENT, Fact
from .instant import parse_instant

if TYPE_CHECKING:
    from .content import Content
    from .plan import Plan

PROMISED: Final = "promise.made"
"""The event that a promise was made: its properties `what` and `due` (RFC 3339) are told."""
KEPT: Final = "promise.kept"
"""The event that the promise with the same `what` was kept."""
SHOWN: Final = ("timeline", "journeys", "interactions", "decisions", "actions")
"""Sections without which something of a brief is missing."""
_NOISE: Final = ("interaction.", PROMISED, KEPT)
_TRIED, _SAID = 5, 3


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened: where, what, how long ago (microseconds), and the id of its fact."""

    channel: str
    what: str
    age: int
    fact: bytes = b""


@dataclass(frozen=True, slots=True)
class Want:
    """One journey that is under way. `age` is how long ago it began, in microseconds."""

    title: str
    stalled: bool
    stage: str
    age: int


@dataclass(frozen=True, slots=True)
class Promise:
    """What the customer was told would happen; `due_in` in microseconds, negative once past, 0 where not said."""

    what: str
    channel: str
    due_in: int
    fact: bytes


@dataclass(frozen=True, slots=True)
class Answered:
    """What a touchpoint decided: the question, the answer in words, and whether a guardrail held it back."""

    touchpoint: str
    question: str
    answer: str
    held_back: bool
    fact: bytes


@dataclass(frozen=True, slots=True)
class Offered:
    """What a touchpoint did: the kind of action, and what became of it."""

    touchpoint: str
    kind: str
    status: str
    age: int
    fact: bytes


@dataclass(frozen=True, slots=True)
class Brief:
    """What the next one needs to know.

    Attributes:
        wanted: the running journeys, the latest progressed first.
        tried: the newest events, oldest first.
        failed: those of the newest events that are failures.
        offered: newest actions.
        promised: promises that were not kept yet, the earliest due first.
        answered: newest decision of each other touchpoint.
        chosen: what she chose herself: (about, choice).
        note: what the touchpoint that she is with says to the next one.
        effort: parts of her effort that are not zero, by name.
        interactions: how many interactions this took so far.
        hidden: sections of a brief that could not be seen.
        known: whether anything at all is known of her here.
        language: of the sentences: `en` or `zh`.
    """

    wanted: tuple[Want, ...] = ()
    tried: tuple[Step, ...] = ()
    failed: tuple[Step, ...] = ()
    offered: tuple[Offered, ...] = ()
    promised: tuple[Promise, ...] = ()
    answered: tuple[Answered, ...] = ()
    chosen: tuple[tuple[str, str], ...] = ()
    note: str = ""
    effort: tuple[tuple[str, int], ...] = ()
    interactions: int = 0
    hidden: tuple[str, ...] = ()
    known: bool = False
    language: str = "en"

    @property
    def wants(self) -> tuple[str, ...]:
        """Titles of the running journeys."""
        return tuple(want.title for want in self.wanted)

    @property
    def facts(self) -> frozenset[bytes]:
        """The ids of all facts that the sentences speak of."""
        steps = {step.fact for step in (*self.tried[-_TRIED:], *self.failed[-1:])}
        said = {answered.fact for answered in self.answered[-_SAID:]} | {done.fact for done in self.offered[-_SAID:]}
        return frozenset(steps | said | {promise.fact for promise in self.promised[:_SAID]})

    def sentences(self, language: str = "") -> list[str]:
        """At most five. In English where the language is not known."""
        words = words_of(language or self.language)
        said = [self._wants(words), self._tried(words), self._failed(words), self._done(words), self._cost(words)]
        return [sentence for sentence in said if sentence]

    def _wants(self, words: Words) -> str:
        if not self.known and not self.hidden:
            return words.nothing
        if self.wanted:
            first, *others = self.wanted
            standing = words.standing(first.stalled, first.stage, first.age)
            return words.wants(first.title, standing, [want.title for want in others])
        return "" if "journeys" in self.hidden else words.no_journey

    def _tried(self, words: Words) -> str:
        return words.tried([words.step(s.channel, s.what, s.age) for s in self.tried[-_TRIED:]]) if self.tried else ""

    def _failed(self, words: Words) -> str:
        if not self.failed:
            return ""
        newest = self.failed[-1]
        return words.failed(words.step(newest.channel, newest.what, newest.age), len(self.failed) - 1)

    def _done(self, words: Words) -> str:
        offered = [words.offer(o.touchpoint, o.kind, o.status, o.age) for o in self.offered[-_SAID:]]
        promised = [words.promise(p.what, p.channel, p.due_in) for p in self.promised[:_SAID]]
        answered = [words.answer(a.touchpoint, a.question, a.answer, a.held_back) for a in self.answered[-_SAID:]]
        chosen = [words.choice(about, choice) for about, choice in self.chosen[:_SAID]]
        return words.done(offered, promised, answered, chosen, self.note)

    def _cost(self, words: Words) -> str:
        return words.cost(self.effort, self.hidden)

    def plain(self) -> dict[str, Any]:
        """As JSON carries it; ages in seconds."""
        return {
            "language": self.language,
            "sentences": self.sentences(),
            "known": self.known,
            "wanted": [
                {"title": w.title, "stalled": w.stalled, "stage": w.stage, "begun_s": _seconds(w.age)}
                for w in self.wanted
            ],
            "tried": [_step_plain(step) for step in self.tried],
            "failed": [_step_plain(step) for step in self.failed],
            "offered": [
                {"touchpoint": o.touchpoint, "kind": o.kind, "status": o.status, "age_s": _seconds(o.age),
                 "fact": o.fact.hex()}
                for o in self.offered
            ],
            "promised": [
                {"what": p.what, "channel": p.channel, "due_in_s": _seconds(p.due_in) if p.due_in else None,
                 "fact": p.fact.hex()}
                for p in self.promised
            ],
            "answered": [
                {"touchpoint": a.touchpoint, "question": a.question, "answer": a.answer, "held_back": a.held_back,
                 "fact": a.fact.hex()}
                for a in self.answered
            ],
            "chosen": dict(self.chosen),
            "note": self.note,
            "interactions": self.interactions,
            "effort": dict(self.effort),
            "hidden": list(self.hidden),
        }  # fmt: skip

    def __str__(self) -> str:
        return " ".join(self.sentences()) if self.language != "zh" else "".join(self.sentences())


def brief(content: Content, plan: Plan, at: int, language: str = "en") -> Brief:
    """The brief of a visible content at a moment (microseconds)."""
    running = sorted(
        (j for j in content.journeys.values() if j.active(plan.maps[j.map], at)),
        key=lambda journey: (-journey.progress_at, journey.map, journey.key),
    )
    wanted = []
    for journey in running:
        journey_map = plan.maps[journey.map]
        title = journey_map.title or journey.map.replace("_", " ")
        wanted.append(Want(title, journey.stalled(journey_map, at), journey.stage, at - journey.started_at))
    events = [fact for fact in content.timeline if fact.kind == EVENT]
    told = [fact for fact in events if not fact.type.startswith(_NOISE)]
    claim = max((c for c in content.claims.values() if c.stands(at)), key=lambda c: c.since, default=None)
    parts = effort(content, plan.effort, at).parts if content.interactions else {}
    return Brief(
        wanted=tuple(wanted),
        tried=tuple(_step(fact, at) for fact in told[-8:]),
        failed=tuple(_step(fact, at) for fact in told if _is_failure(fact)),
        offered=tuple(
            Offered(f.touchpoint, f.type, str(f.properties.get("status", "")), at - f.occurred_at, f.id)
            for f in content.actions
        ),
        promised=tuple(_promises(events, at)),
        answered=tuple(_answered(fact) for fact in _newest_by_touchpoint(content.decisions)),
        chosen=tuple(sorted((about, choice) for about, (choice, _, _) in content.choices.items() if choice)),
        note=claim.note if claim is not None else "",
        effort=tuple((name, count) for name, count in parts.items() if count),
        interactions=len(content.interactions),
        hidden=tuple(name for name in SHOWN if name in content.hidden),
        known=bool(content.facts or content.timeline or wanted or content.decisions or content.actions),
        language=language,
    )


def _step(fact: Fact, at: int) -> Step:
    what = fact.type.replace(".", " ").replace("_", " ")
    detail = _detail(fact.properties)
    what = f"{what} ({detail})" if detail else what
    return Step(fact.channel or fact.touchpoint, what, at - fact.occurred_at, fact.id)


def _detail(properties: dict[str, Any]) -> str:
    for name in ("error", "query", "reason", "choice"):
        if isinstance(properties.get(name), str):
            return str(properties[name])[:80]
    return ""


def _is_failure(fact: Fact) -> bool:
    return fact.type.endswith((".failed", ".rejected", "_failed")) or "error" in fact.properties


def _promises(events: Sequence[Fact], at: int) -> list[Promise]:
    """Promises in the visible timeline that none there says to have been kept; the earliest due first."""
    found: dict[str, Promise] = {}
    for fact in events:
        what = str(fact.properties.get("what", ""))[:200]
        if fact.type == PROMISED and what:
            found[what] = Promise(what, fact.channel or fact.touchpoint, _due(fact.properties.get("due"), at), fact.id)
        elif fact.type == KEPT:
            found.pop(what, None)
    return sorted(found.values(), key=lambda promise: (not promise.due_in, promise.due_in, promise.what))


def _due(said: object, at: int) -> int:
    try:
        return (parse_instant(said) - at) or -1 if isinstance(said, str) else 0
    except ValueError:
        return 0


def _newest_by_touchpoint(facts: Sequence[Fact]) -> list[Fact]:
    newest: dict[tuple[str, str], Fact] = {}
    for fact in facts:
        if fact.kind in (DECISION, ACTION):
            newest.pop((fact.touchpoint, fact.type), None)
            newest[fact.touchpoint, fact.type] = fact
    return list(newest.values())


def _answered(fact: Fact) -> Answered:
    held_back = fact.properties.get("reason") == "HELD_BACK"
    value = fact.properties.get("value")
    answer = value if isinstance(value, str) and value else shown(value)
    return Answered(fact.touchpoint, fact.type, answer[:200], held_back, fact.id)


def _step_plain(step: Step) -> dict[str, Any]:
    return {"channel": step.channel, "what": step.what, "age_s": _seconds(step.age), "fact": step.fact.hex()}


def _seconds(microseconds: int) -> float:
    return round(microseconds / 1_000_000, 3)
