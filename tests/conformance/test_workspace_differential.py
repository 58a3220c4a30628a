"""Incidents and calendars in random expressions, asked of Google's evaluator and of ours at the same instants.

Google's is told how each incident is just then, by a plain walk over the bare facts. Ours reads the workspace, and has
to say the same at every instant, and when that may change (TI6).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from cel_expr_python import cel
from google.protobuf import message_factory
from hypothesis import event, given
from hypothesis import strategies as st
from segue.domain.content import Content
from segue.domain.fact import Fact
from segue.domain.incident import FIXED, OPENED
from segue.domain.instant import NEVER
from segue.domain.plan import Plan
from segue.domain.scope import Scope
from segue.domain.vocabulary import Vocabulary
from segue_hub.checking.compound_type import COMPOUND, pool
from segue_hub.checking.expression import Checker

from tests.building import BEGIN, DAY, HOUR, MINUTE, incident, workspace
from tests.unit.logs import law

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INSTANTS = [BEGIN + step for step in (-HOUR, 0, 1, MINUTE, HOUR, 2 * HOUR, 5 * HOUR, DAY)]
CALENDARS = {"support": {"zone": "UTC", "hours": [{"days": ["mon", "tue", "wed"], "from": "08:00", "to": "18:00"}]}}
CHECKER = Checker(Vocabulary(), (), (), CALENDARS)

LEAVES = st.sampled_from([
    'incident("A").open', 'incident("B").open', 'calendar("support").open', 'incident("A").title == "a"',
    'incident("B").workaround.contains("w")', 'incident("A").opened_at < incident("B").fixed_at',
    'incident("A").opened_at > now - duration("90m")', 'now - incident("B").fixed_at >= duration("1h")',
    'incident("A").fixed_at == timestamp("1970-01-01T00:00:00Z")', "now.getHours() >= 10", "true",
    'incident("B").opened_at.getHours("Europe/Berlin") == 11', 'incident("A") == incident("B")',
])  # fmt: skip
EXPRESSIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds("({} && {})".format, inner, inner), st.builds("({} || {})".format, inner, inner),
        st.builds("!({})".format, inner), st.builds("({} ? {} : {})".format, inner, inner, inner),
        st.builds('({} ? incident("A") : incident("B")).open'.format, inner),
        st.builds('({} ? incident("B") : incident("A")).title != ""'.format, inner),
    ),
    max_leaves=5,
)  # fmt: skip
TELLINGS = st.lists(
    st.builds(
        incident, st.sampled_from("AB"), st.sampled_from([OPENED, FIXED]), st.sampled_from(INSTANTS),
        seq=st.integers(0, 2), title=st.sampled_from(["", "a", "b"]), workaround=st.sampled_from(["", "web"]),
    ),
    max_size=8,
)  # fmt: skip


WORDS = ("incident", "calendar")
"""What the workspace tells; the other compounds are a customer's."""


class Google:
    """Google's evaluator, told how things are at `at`."""

    def __init__(self) -> None:
        self.at = 0
        self.facts: list[Fact] = []
        kinds = {word: cel.Type(COMPOUND[word][0]) for word in WORDS}
        self.made = {
            word: message_factory.GetMessageClass(pool().FindMessageTypeByName(COMPOUND[word][0])) for word in WORDS
        }
        self.environment = cel.NewEnv(
            descriptor_pool=pool(),
            variables={"now": cel.Type.TIMESTAMP},
            functions=[
                cel.FunctionDecl(
                    word, [cel.Overload(f"{word}_1", kinds[word], [cel.Type.STRING], impl=getattr(self, word))]
                )
                for word in WORDS
            ],
        )

    def incident(self, name: str) -> Any:
        found = self.made["incident"]()
        told: dict[str, Any] = {"open": False}
        for each in sorted(self.facts, key=lambda fact: fact.order):
            if each.type != name or each.occurred_at > self.at:
                continue
            opens = each.properties["state"] == OPENED
            if opens and not told["open"]:
                told["opened_at"] = each.occurred_at
            if not opens and (told["open"] or "fixed_at" not in told):
                told["fixed_at"] = each.occurred_at
            told["open"] = opens
            told |= {part: each.properties[part] for part in ("title", "workaround") if each.properties[part]}
        for part, value in told.items():
            if part.endswith("_at"):
                getattr(found, part).FromDatetime(EPOCH + timedelta(microseconds=value))
            else:
                setattr(found, part, value)
        return found

    def calendar(self, name: str) -> Any:
        local = EPOCH + timedelta(microseconds=self.at)
        return self.made["calendar"](open=local.weekday() < 3 and 8 <= local.hour < 18)

    def ask(self, text: str, facts: list[Fact], at: int) -> Any:
        self.facts, self.at = facts, at
        now = EPOCH + timedelta(microseconds=at)
        return self.environment.compile(text).eval(data={"now": now}).plain_value()


GOOGLE = Google()


@law(400)
@given(EXPRESSIONS, TELLINGS, st.sampled_from(INSTANTS), st.lists(st.floats(0, 1), min_size=3, max_size=3))
def test_incidents_and_calendars_mean_the_same_here_and_with_google(
    text: str, facts: list[Fact], at: int, parts: list[float]
) -> None:
    tree = CHECKER.check(text, "audience")
    document = {"calendars": CALENDARS, "audiences": {"a": {"when": {"source": text, "tree": tree}}}}
    plan = Plan(document).on(workspace(*facts))
    when, content, changed = plan.audiences["a"].when, Content(), 0
    for _ in range(6):
        value, flip = when.holds_until(Scope(content, at, plan))
        assert flip > at
        end = min(flip, at + 8 * DAY)
        within = {at, end - 1, *(at + int((end - 1 - at) * part) for part in parts)}
        for moment in sorted(within | {i for i in INSTANTS if at < i < end}):
            found = when.holds(Scope(content, moment, plan))
            assert found == GOOGLE.ask(text, facts, moment), f"{text} at {moment}"
            assert found == value, f"{text}: changed before its flip"
        if flip >= NEVER:
            break
        changed += when.holds(Scope(content, flip, plan)) != value
        at = flip
    event("flips were real" if changed else "nothing changed")
