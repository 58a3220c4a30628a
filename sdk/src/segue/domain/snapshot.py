"""A snapshot: what is known of one customer at one version, as one plan reads it; all decisions on it share it.

Owns the answers that only time can change: they are worked out once, with the instant at which they turn, and hold
until the context, the overlay or the plan becomes another; and what is answered to a name that is misspelt or not
granted. Never changes what it was made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from ..errors import NameUnknown, NotGranted
from .binding import runs_until
from .content import NOTHING, Content
from .instant import NEVER, span
from .plan import Plan
from .projection import Projected
from .verdict import Verdict
from .vocabulary import did_you_mean

Asked = tuple[str, object, object, Any]
"""A question as it was asked: its text with places for two arguments, both, and the answer; worded when read."""
Turning = tuple[int, Asked, Asked]
"""True before an instant (microseconds), false from then on: the instant, and what is told of either."""
Judged = tuple[int, int, Sequence[Verdict]]
"""What guardrails say to an action, from an instant on and before another."""
REMEMBERED: Final = 64
"""Answers of each kind that are remembered; a function that asks for more gets them worked out anew."""


def in_words(asked: Sequence[Asked]) -> list[tuple[str, Any]]:
    """(question, answer) of what was asked, in that order."""
    return [(text.format(first, second), answer) for text, first, second, answer in asked]


@lru_cache(maxsize=4096)
def told(text: str, first: str, second: str | None) -> tuple[Asked, Asked]:
    """What is told of a question that was answered with yes, and with no; shared by all customers."""
    return (text, first, second, True), (text, first, second, False)


def plain(text: str) -> str:
    """A text as plain as it can be: what is remembered of a name must not depend on who asks first."""
    return str.__str__(text) if isinstance(text, str) else text


class Snapshot:
    """Shared by threads: each entry below is written whole, and the same whoever writes it.

    Attributes:
        content: the visible content, overlay included.
        plan: the plan that it is read by.
        projected: what was hidden, and the outcomes shipped in its place.
        version: of the context; 0 where nothing is known.
        strict: whether misspelt names are loud, as in tests.
        running: by map, until when a journey of it runs.
        seen: by (channel or event type, duration), until when it counts as seen.
        traits: by name, what is told of it.
        judged: by what guardrails read of an action, from when until when which verdicts hold.
    """

    __slots__ = ("content", "judged", "plan", "projected", "running", "seen", "strict", "traits", "version")

    def __init__(self, projected: Projected, plan: Plan, version: int = 0, strict: bool = False) -> None:
        self.projected = projected
        self.content: Content = projected.content
        self.plan = plan
        self.version = version
        self.strict = strict
        # Nobody has asked yet: a table of its own comes with the first answer. Of two threads at once one is forgotten.
        self.running: dict[str, Turning] = NOTHING
        self.seen: dict[tuple[str, str | None], Turning] = NOTHING
        self.traits: dict[str, Asked] = NOTHING
        self.judged: dict[tuple[str, ...], Judged] = NOTHING

    def judges_as(self, projected: Projected, plan: Plan, strict: bool) -> bool:
        """Whether what is remembered here holds of another projection too: all that it can rest on is the same."""
        mine = self.projected
        same = bool(mine.judged) and mine.judged == projected.judged and mine.hidden == projected.hidden
        return same and self.plan is plan and self.strict == strict

    def after(self, before: Snapshot) -> Snapshot:
        """This one, with what is remembered of another that judges the same (`judges_as`); they share it from here."""
        self.running, self.seen, self.traits, self.judged = before.running, before.seen, before.traits, before.judged
        return self

    def remember(self, key: tuple[str, ...], judged: Judged) -> None:
        """Keeps what guardrails say to an action."""
        if self.judged is NOTHING:
            self.judged = {key: judged}
        else:
            self.judged[key] = judged

    def check_visible(self, section: str) -> None:
        """Refuses what was not granted."""
        if section in self.projected.hidden:
            raise NotGranted(
                f"this touchpoint may not read {section!r}", field=section, cure="Ask for a grant in touchpoints.yaml"
            )

    def check_activity(self, name: str) -> None:
        """Refuses a channel or event that nobody knows."""
        vocabulary = self.plan.vocabulary
        if not vocabulary.knows_activity(name):
            known = [*vocabulary.channels, *vocabulary.events]
            raise NameUnknown(f"no channel or event is called {name!r}", field=name, cure=did_you_mean(name, known))

    def see(self, name: str, within: str | None) -> Turning:
        """Until when it counts as seen; remembered where it was asked for by texts."""
        name, within = plain(name), within and plain(within)
        activity = self.content.activity.get(name)
        if activity is None:
            self.check_activity(name)
            if self.projected.hidden:
                self.check_visible("activity")
            until = 0
        else:
            until = NEVER if within is None else activity.last + span(within)
        text = "seen({!r}, {!r})" if within else "seen({!r})"
        if type(name) is not str or not (within is None or type(within) is str):
            return until, (text, name, within, True), (text, name, within, False)
        found = until, *told(text, name, within)
        remembered = self.seen
        if remembered is NOTHING:
            self.seen = {(name, within): found}
        elif len(remembered) < REMEMBERED:
            remembered[name, within] = found
        return found

    def run(self, name: str) -> Turning:
        """Until when a journey of a map runs; remembered where it was asked for by a text."""
        name, plan, journeys = plain(name), self.plan, self.content.journeys
        if name not in plan.maps:
            if plan.maps:
                raise NameUnknown(f"no journey map is called {name!r}", field=name, cure=did_you_mean(name, plan.maps))
            if journeys:
                raise NameUnknown("the plan has not arrived yet", field=name)
        if self.projected.hidden:
            self.check_visible("journeys")
        until = runs_until(journeys, plan.maps[name]) if journeys else 0
        text = "journey({!r}).active"
        if type(name) is not str:
            return until, (text, name, None, True), (text, name, None, False)
        found = until, *told(text, name, None)
        remembered = self.running
        if remembered is NOTHING:
            self.running = {name: found}
        elif len(remembered) < REMEMBERED:
            remembered[name] = found
        return found

    def read_trait(self, name: str, default: Any) -> Asked:
        """What is told of a trait; remembered where it is set."""
        name = plain(name)
        trait = self.content.traits.get(name)
        if trait is None:
            zero = self.unset(name)
            return "trait({!r})", name, None, zero if default is None else default
        asked: Asked = ("trait({!r})", name, None, trait.value)
        remembered = self.traits
        if type(name) is str:
            if remembered is NOTHING:
                self.traits = {name: asked}
            elif len(remembered) < REMEMBERED:
                remembered[name] = asked
        return asked

    def unset(self, name: str) -> Any:
        """The zero of a trait's type; refuses one that nobody knows."""
        traits = self.plan.vocabulary.traits
        declared = traits.get(name)
        if declared is None:
            if traits:
                raise NameUnknown(f"no trait is called {name!r}", field=name, cure=did_you_mean(name, traits))
            self.check_visible("traits.general")
            return None
        self.check_visible(f"traits.{declared.label}")
        return declared.zero
