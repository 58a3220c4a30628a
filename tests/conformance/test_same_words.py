"""One vocabulary: what a plan's expressions can ask, a decision function can ask in the same words, and hears the same.

Random customers are asked each word both ways at a random moment. The list of words is held complete on both sides, so
that a word that only one of them learns is noticed.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import event, given
from segue.domain.binding import EFFORT_FIELDS, FUNCTIONS, JOURNEY_FIELDS, ContextBindings
from segue.domain.context import Context
from segue.domain.coordination_binding import CLAIM_FIELDS
from segue.domain.coordination_reading import ClaimReading, EffortReading
from segue.domain.expression import compile_tree
from segue.domain.expression.value import Timestamp
from segue.domain.fact import CHOICE, CLAIM, EXPOSURE, Fact
from segue.domain.fold import fold
from segue.domain.grant import Grant
from segue.domain.journey_reading import JourneyReading
from segue.domain.plan import Plan
from segue.domain.projection import Projected, project, receive
from segue.domain.scope import Scope
from segue.domain.workspace_binding import CALENDAR_FIELDS, INCIDENT_FIELDS
from segue.domain.workspace_reading import CalendarReading, IncidentReading
from segue.errors import NameUnknown, NotGranted
from segue_hub.checking.expression import Checker, ExpressionFlawed

from tests.building import BEGIN, HOUR, MINUTE, SKETCH, context_of, document, fact, incident, moment, seen_by, workspace
from tests.unit.logs import delays, law, logs
from tests.unit.test_coordination_laws import GUARDRAILS, WEIGHED

SKETCHED: dict[str, Any] = {
    **SKETCH, "guardrails": GUARDRAILS, "effort": WEIGHED,
    "calendars": {"support": {"zone": "Europe/Berlin", "hours": [{"days": ["mon"], "from": "09:00", "to": "17:00"}]}},
}  # fmt: skip
PLAN = Plan(document(SKETCHED)).on(
    workspace(incident("IOS-481", "opened", "1h", title="Uploads fail", workaround="use the web"))
)
CHECKER = Checker(PLAN.vocabulary, PLAN.maps, PLAN.audiences, PLAN.calendars, ["control_group"])
BINDINGS = ContextBindings(
    PLAN.vocabulary, tuple(PLAN.maps), tuple(PLAN.audiences), tuple(PLAN.calendars), ("control_group",)
)
NEVER_WAS = datetime(1970, 1, 1, tzinfo=UTC)

Asked = Callable[[Context], Any]
WORDS: list[tuple[str, Asked]] = [
    ("now.getHours(\"UTC\")", lambda c: c.now.hour),
    ("trait.value_tier", lambda c: c.trait("value_tier")), ('known("value_tier")', lambda c: c.known("value_tier")),
    ('seen("ivr", "1h")', lambda c: c.seen("ivr", "1h")), ('seen("web")', lambda c: c.seen("web")),
    ('count("web", "1d")', lambda c: c.count("web", "1d")), ('count("web")', lambda c: c.count("web")),
    ('last("ivr")', lambda c: c.last("ivr")),
    ('consents_to("marketing")', lambda c: c.consents_to("marketing")),
    ('subscribed("email", "offers")', lambda c: c.subscribed("email", "offers")),
    ('in_audience("in_trouble")', lambda c: c.in_audience("in_trouble")),
    ('journeys("money_transfer").map(j, j.key)', lambda c: sorted(j.key for j in c.journeys("money_transfer"))),
    *((f"journey.money_transfer.{part}", lambda c, part=part: getattr(c.journey("money_transfer"), part))
      for part in JOURNEY_FIELDS),
    *((f"effort.{part}", lambda c, part=part: getattr(c.effort, part)) for part in EFFORT_FIELDS),
    *((f'incident("IOS-481").{part}', lambda c, part=part: getattr(c.incident("IOS-481"), part))
      for part in INCIDENT_FIELDS),
    *((f'calendar("support").{part}', lambda c, part=part: getattr(c.calendar("support"), part))
      for part in CALENDAR_FIELDS),
    *((f'choice("{about}")', lambda c, about=about: c.choice(about))
      for about in ("topic:offers", "channel:email", "journey:money_transfer", "channel")),
    *((f'claim("{scope}").{part}', lambda c, scope=scope, part=part: getattr(c.claim(scope), part))
      for scope in ("conversation", "case") for part in CLAIM_FIELDS),
    ('holdout("control_group")', lambda c: c.holdout("control_group")),
]  # fmt: skip
COMPILED = [(text, compile_tree(CHECKER.check(text, "guardrail", "any"), BINDINGS), ask) for text, ask in WORDS]


def in_python(value: Any) -> Any:
    """A value of an expression as Python has it: 1970 stands for an instant that never was (TI9)."""
    if not isinstance(value, Timestamp):
        return value
    at = datetime.fromtimestamp(0, UTC) + (value.nanos // 1000) * (datetime.resolution)
    return None if at == NEVER_WAS else at


@law(120)
@given(logs(most=16), delays)
def test_a_function_hears_what_an_expression_hears(facts: list[Fact], delay: int) -> None:
    content = fold(PLAN, facts)
    context = context_of(content, PLAN, max(BEGIN, content.at) + delay)
    scope = Scope(content, context.at, PLAN)
    for text, expression, ask in COMPILED:
        heard = ask(context)
        assert in_python(expression.value(scope)) == heard, text
        if heard:
            event(text)
    assert len(context.reads) >= len(COMPILED) - 1, "all but the moment itself is remembered"


PYTHON_ONLY = {
    "decisions": "a list of facts", "actions": "a list of facts", "timeline": "a list of facts",
    "interactions": "a list", "traits": "a table", "incidents": "a list", "brief": "a summary for people",
    "reads": "what was asked", "freshness": "of the copy", "live": "of the copy", "version": "of the copy",
}  # fmt: skip
"""What no expression can ask: loops there run over constant and bounded lists only (TI7)."""
PARTS_ONLY = {("journey", "latest"), ("calendar", "changes_at"), ("incident", "id"), ("calendar", "name"),
              ("claim", "scope")}  # fmt: skip


def words(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_no_word_is_known_to_one_side_only() -> None:
    inner = {"content", "at", "plan", "projected", "strict", "partial", "asked", "snapshot", "held"}
    heads = {*FUNCTIONS, "now", "trait", "journey", "effort"}
    assert words(Context) - inner - PYTHON_ONLY.keys() == heads
    parts = [
        ("journey", JourneyReading, JOURNEY_FIELDS), ("effort", EffortReading, EFFORT_FIELDS),
        ("incident", IncidentReading, INCIDENT_FIELDS), ("calendar", CalendarReading, CALENDAR_FIELDS),
        ("claim", ClaimReading, CLAIM_FIELDS),
    ]  # fmt: skip
    for head, reading, fields in parts:
        assert {(head, name) for name in words(reading)} - PARTS_ONLY == {(head, name) for name in fields}
    asked = {text.partition("(")[0].partition(".")[0] for text, _ in WORDS}
    assert asked == heads, "each is asked above"


TOLD = [
    fact("topic:offers", "0s", kind=CHOICE, choice="no"), fact("channel", "0s", kind=CHOICE, choice="sms"),
    fact("journey:money_transfer", "1m", kind=CHOICE, choice="left"),
    fact("conversation", "2m", kind=CLAIM, touchpoint="chat", status="held", until=BEGIN + HOUR),
    fact("conversation", "3m", kind=CLAIM, touchpoint="chat", status="offered", until=BEGIN + 9 * MINUTE, to="desk"),
    fact("control_group", "4m", kind=EXPOSURE, arm="treated"),
]  # fmt: skip


def test_what_she_chose_who_she_is_with_and_which_arm_she_is_in() -> None:
    c = seen_by(PLAN, TOLD, "5m")
    assert (c.choice("topic:offers"), c.choice("channel"), c.choice("topic:news")) == ("no", "sms", "")
    assert c.choice("journey:money_transfer") == "left"
    claim = c.claim("conversation")
    assert (claim.holder, claim.offered_to, c.holdout("control_group")) == ("chat", "desk", "treated")
    assert claim.since is not None
    assert claim.since.timestamp() * 1e6 == moment("2m")
    assert ("choice('topic:offers')", "no") in c.reads
    assert ("claim('conversation').holder", "chat") in c.reads
    assert ("holdout('control_group')", "treated") in c.reads
    assert seen_by(PLAN, TOLD, "9m").claim("conversation").offered_to == "", "the offer has run out, half-open"
    over = seen_by(PLAN, TOLD, "1h").claim("conversation")
    assert (over.holder, over.since, over.until) == ("", None, None)


def test_what_she_takes_back_is_none() -> None:
    back = fact("topic:offers", "9m", kind=CHOICE, choice="")
    assert seen_by(PLAN, [*TOLD, back], "10m").choice("topic:offers") == ""


def test_before_her_first_exposure_she_is_in_no_arm_and_asking_exposes_nobody() -> None:
    c = seen_by(PLAN, [], "0s")
    assert c.holdout("control_group") == ""
    assert not c.content.exposures


def test_after_a_merge_the_earliest_exposure_is_the_one_that_is_read() -> None:
    one = fact("control_group", "2m", "cookie=c1", kind=EXPOSURE, arm="treated")
    other = fact("control_group", "1m", "account=A-1", kind=EXPOSURE, arm="held_out")
    assert seen_by(PLAN, [other, one], "5m").holdout("control_group") == "held_out"


def test_no_grant_hides_what_she_chose_and_claims_and_arms_are_granted() -> None:
    sections, _ = project(fold(PLAN, TOLD), PLAN, Grant(touchpoint="kiosk"), "service", moment("5m"))
    c = Context(receive(sections), PLAN, moment("5m"))
    assert c.choice("topic:offers") == "no"
    for ask, section in ((lambda: c.claim("conversation"), "claims"), (lambda: c.holdout("control_group"), "actions"),
                         (lambda: c.effort, "interactions")):  # fmt: skip
        with pytest.raises(NotGranted, match=section):
            ask()


MISSPELT = [
    ('choice("topik:offers")', lambda c: c.choice("topik:offers"), "nobody chooses about 'topik:offers'"),
    ('choice("channel:emial")', lambda c: c.choice("channel:emial"), "Did you mean 'email'?"),
    ('choice("journey:money_tranfer")', lambda c: c.choice("journey:money_tranfer"), "no journey map"),
    ('choice("purpose:marketting")', lambda c: c.choice("purpose:marketting"), "Did you mean 'marketing'?"),
    ('choice("topic:")', lambda c: c.choice("topic:"), "nobody chooses about 'topic:'"),
    ('holdout("controls")', lambda c: c.holdout("controls"), "no guardrail with a holdout is called 'controls'"),
    ('holdout("daily")', lambda c: c.holdout("daily"), "no guardrail with a holdout is called 'daily'"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "ask", "says"), MISSPELT, ids=[text for text, _, _ in MISSPELT])
def test_a_misspelt_name_is_said_on_both_sides(text: str, ask: Asked, says: str) -> None:
    with pytest.raises(ExpressionFlawed, match=says.replace("?", r"\?")):
        CHECKER.check(f'{text} == "no"', "audience")
    with pytest.raises(NameUnknown) as raised:
        ask(seen_by(PLAN, [], "0s"))
    assert says in f"{raised.value} {raised.value.cure}"


def test_a_part_that_a_claim_does_not_have_is_said() -> None:
    with pytest.raises(ExpressionFlawed, match=r"claim\(\.\.\.\) has no 'holdr'"):
        CHECKER.check('claim("conversation").holdr == "desk"', "audience")


def test_what_an_expression_reads_of_a_hidden_section_is_shipped_as_an_outcome() -> None:
    """VE5: an audience on claims binds who may not see claims, and flips with them."""
    made = Plan(document({**SKETCHED, "audiences": {
        "at_the_desk": {"when": 'claim("conversation").holder == "chat" && choice("topic:offers") == "no"'},
    }, "touchpoints": {"mailer": {"channel": "email", "reads": {"service": ["audiences"]}}},
        "guardrails": {"control_group": GUARDRAILS["control_group"]}}))  # fmt: skip
    sections, _ = project(fold(made, TOLD), made, made.grant("mailer"), "service", moment("5m"))
    held = receive(sections)
    assert Context(held, made, moment("5m")).in_audience("at_the_desk")
    assert not Context(held, made, moment("1h")).in_audience("at_the_desk")
    assert Context(Projected(fold(made, TOLD)), made, moment("59m")).in_audience("at_the_desk")
