"""Every construct that the checker accepts: what it says is constant on [at, flips_at), and those that move do flip.

`test_moving_time` holds this for random expressions. Here each construct stands alone, in a life in which time changes
what it says; and the list is held complete, so that a new construct without its flips is noticed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from segue.domain.binding import ACTION_FIELDS, EFFORT_FIELDS, EVENT_FIELDS, FUNCTIONS, JOURNEY_FIELDS
from segue.domain.coordination_binding import CLAIM_FIELDS
from segue.domain.expression.calendar import CALENDAR
from segue.domain.fact import CHOICE, CLAIM, EXPOSURE, Fact
from segue.domain.fold import fold
from segue.domain.instant import NEVER, instant_text, parse_instant, span
from segue.domain.plan import Plan
from segue.domain.scope import Scope
from segue.domain.workspace_binding import CALENDAR_FIELDS, INCIDENT_FIELDS
from segue_hub.checking.plan_check import _LIMITS

from tests.building import DAY, HOUR, MINUTE, SKETCH, document, fact, incident, trait, workspace
from tests.unit.test_coordination_laws import GUARDRAILS

SPRING = parse_instant("2026-03-28T21:00:00Z")
"""A Saturday evening: Berlin's clocks go forward that night."""
NEW_YEAR = parse_instant("2026-12-31T18:00:00Z")
HORIZON = 9 * DAY
BERLIN = '"Europe/Berlin"'


class Case(NamedTuple):
    """A construct's name, an expression that is nothing without it, when it is asked first, and whether it moves."""

    name: str
    text: str
    begin: int = SPRING
    moves: bool = True


CASES = [
    Case("seen", 'seen("web", "1h")'), Case("seen", 'seen("web")', moves=False),
    Case("count", 'count("web", "2h") >= 2'), Case("count", 'count("web", "2h") + count("ivr", "1h") == 1'),
    Case("count", 'count("web")  > 1', moves=False), Case("count", '3 > count("ivr", "1d")'),
    Case("last", 'now - last("web") > duration("90m")'), Case("last", 'last("ivr") < last("web")', moves=False),
    Case("known", 'known("value_tier")', moves=False), Case("consents_to", 'consents_to("marketing")', moves=False),
    Case("subscribed", 'subscribed("email", "offers")', moves=False),
    Case("trait", 'trait.contract_ends < now + duration("2d")'), Case("trait", "trait.balance > 1.0", moves=False),
    Case("in_audience", 'in_audience("stuck_in_transfer")'),
    Case("journeys", 'journeys("money_transfer").exists(j, j.stalled && j.stage == "details")'),
    Case("journeys", 'journeys("money_transfer").filter(j, now - j.progress_at > duration("20m")).size() > 0'),
    Case("journey.active", "journey.money_transfer.active"), Case("journey.stalled", "journey.money_transfer.stalled"),
    Case("journey.stage", 'journey.money_transfer.stage == "details"'),
    Case("journey.started_at", 'journey.activation.started_at > timestamp("2020-01-01T00:00:00Z")'),
    Case("journey.progress_at", 'now - journey.money_transfer.progress_at < duration("50m")'),
    Case("journey.completed_at", 'now - journey.incident.completed_at > duration("3h")'),
    Case("incident", 'incident("IOS-481").open'), Case("incident.open", 'incident("IOS-481").open && seen("web")'),
    Case("incident.opened_at", 'now - incident("IOS-481").opened_at < duration("4h")'),
    Case("incident.fixed_at", 'incident("IOS-481").fixed_at > timestamp("2020-01-01T00:00:00Z")'),
    Case("incident.title", 'incident("IOS-481").title == "Uploads fail"'),
    Case("incident.workaround", 'incident("IOS-481").workaround == "use the web"'),
    Case("calendar", 'calendar("support").open'), Case("calendar.open", '!calendar("support").open && seen("web")'),
    Case("choice", 'choice("topic:offers") == "no"', moves=False),
    Case("holdout", 'holdout("control_group") == "treated"', moves=False),
    Case("claim", 'claim("conversation").holder != ""'), Case("claim.holder", 'claim("conversation").holder == "chat"'),
    Case("claim.offered_to", 'claim("conversation").offered_to == "desk"'),
    Case("claim.since", 'now - claim("conversation").since < duration("2h")'),
    Case("claim.until", 'claim("conversation").until - now > duration("30m")'),
    *(Case(f"effort.{field}", f"effort.{field} > 0") for field in EFFORT_FIELDS),
    Case("now", 'now > timestamp("2026-03-29T01:00:00Z")'),
    Case("getFullYear", f"now.getFullYear({BERLIN}) == 2027", NEW_YEAR),
    Case("getMonth", f"now.getMonth({BERLIN}) == 0", NEW_YEAR),
    Case("getDayOfYear", f"now.getDayOfYear({BERLIN}) < 300", NEW_YEAR),
    Case("getDayOfMonth", f"now.getDayOfMonth({BERLIN}) == 0", NEW_YEAR),
    Case("getDate", f"now.getDate({BERLIN}) == 29"), Case("getDayOfWeek", f"now.getDayOfWeek({BERLIN}) == 0"),
    Case("getHours", f"now.getHours({BERLIN}) in [1, 3]"), Case("getHours", '(now - last("web")).getHours() > 1'),
    Case("getMinutes", f"now.getMinutes({BERLIN}) == 30"),
    Case("getMinutes", '(now - last("web")).getMinutes() == 120'),
    Case("getSeconds", f"now.getSeconds({BERLIN}) == 7"),
    Case("getSeconds", '(now - last("web")).getSeconds() == 700'),
    Case("getMilliseconds", "now.getMilliseconds() == 5"),
]  # fmt: skip

SKETCHED: dict[str, Any] = {
    **SKETCH,
    "effort": {"weights": {"repeats": 1, "switches": 1, "loops": 1}, "within": "1d", "window": "3d"},
    "guardrails": {**SKETCH["guardrails"], "control_group": GUARDRAILS["control_group"]},
    "calendars": {
        "support": {"zone": "Europe/Berlin", "hours": [{"days": ["mon", "tue", "sun"], "from": "02:30", "to": "18:00"}]}
    },
}


def life(begin: int) -> list[Fact]:
    """Calls and visits that cost effort in every way there is, a transfer that gets nowhere, an activation given up."""

    def visit(number: int, channel: str, after: str, outcome: str = "") -> list[Fact]:
        at, name = begin - 3 * HOUR + span(after), f"V-{number}"
        return [
            fact("call.started", at, visit=name, channel=channel, direction="inbound", seq=number),
            fact("interaction.ended", at + 1000, visit=name, channel=channel, outcome=outcome, seq=number),
        ]

    return sorted([
        trait("value_tier", "high", begin - DAY), trait("balance", 5, begin - DAY),
        trait("contract_ends", instant_text(begin + 3 * DAY), begin - DAY),
        fact("incident.opened", begin - 5 * HOUR, number=1), fact("incident.resolved", begin - HOUR, number=1),
        fact("activation.started", begin - HOUR), fact("transfer.started", begin - 20 * MINUTE, transfer_id="T"),
        fact("transfer.details_entered", begin - 10 * MINUTE, transfer_id="T"),
        *visit(1, "web", "1m"), *visit(2, "web", "20m", "abandoned"), *visit(3, "ivr", "50m", "transferred"),
        fact("interaction.queued", begin - 2 * HOUR, visit="V-3", channel="ivr", seconds=90),
        fact("topic:offers", begin - HOUR, kind=CHOICE, choice="no"),
        fact("control_group", begin - HOUR, kind=EXPOSURE, arm="treated"),
        fact("conversation", begin - HOUR, kind=CLAIM, touchpoint="chat", status="held", until=begin + 3 * HOUR),
        fact("conversation", begin - MINUTE, kind=CLAIM, touchpoint="chat", status="offered", until=begin + HOUR,
             to="desk"),
        *visit(4, "web", "70m"), *visit(5, "voice", "100m"), *visit(6, "ivr", "175m"),
    ], key=lambda made: made.order)  # fmt: skip


def told(begin: int) -> list[Fact]:
    return [
        incident("IOS-481", "opened", begin + 2 * HOUR, title="Uploads fail", workaround="use the web"),
        incident("IOS-481", "fixed", begin + 9 * HOUR),
    ]


def asked(case: Case) -> tuple[Plan, Any]:
    """The plan, and the compiled expression: where an audience may not ask, a guardrail does."""
    where = "guardrails" if case.name == "in_audience" else "audiences"
    field, more = ("suppress_when", {"reason": "r"}) if where == "guardrails" else ("when", {})
    sketch = {**SKETCHED, where: {**SKETCHED[where], "asked": {field: case.text, **more}}}
    plan = Plan(document(sketch)).on(workspace(*told(case.begin)))
    compiled = plan.audiences["asked"].when if where == "audiences" else plan.guardrails["asked"].suppress_when
    return plan, compiled


@pytest.mark.parametrize("case", CASES, ids=[f"{number} {case.name}" for number, case in enumerate(CASES)])
def test_a_value_is_constant_until_it_flips_and_a_construct_that_moves_flips(case: Case) -> None:
    plan, expression = asked(case)
    content = fold(plan, life(case.begin))
    at, end, turns, flips = max(case.begin, content.at), case.begin + HORIZON, 0, 0

    def holds(moment: int) -> bool:
        return bool(expression.holds(Scope(content, moment, plan)))

    value, flip = expression.holds_until(Scope(content, at, plan))
    assert value == holds(at)
    while at < end and flips < 400:
        assert flip > at
        last = min(flip, end) - 1
        step = max(1, (last - at) // 40)
        for moment in {*range(at, last + 1, step), last, at + 1 if last > at else at}:
            assert holds(moment) == value, f"{case.text}: another value at {instant_text(moment)}, before its flip"
        if flip >= end:
            break
        at, flips, before = flip, flips + 1, value
        value, flip = expression.holds_until(Scope(content, at, plan))
        turns += value != before
    assert (turns > 0) == case.moves, f"{turns} turns in {flips} flips"
    assert case.moves or (flips == 0 and flip == NEVER)


def test_no_construct_is_left_out() -> None:
    named = {case.name for case in CASES}
    constructs = {
        "now", "trait", *FUNCTIONS, *CALENDAR, *(f"journey.{field}" for field in JOURNEY_FIELDS),
        *(f"effort.{field}" for field in EFFORT_FIELDS), *(f"incident.{field}" for field in INCIDENT_FIELDS),
        *(f"calendar.{field}" for field in CALENDAR_FIELDS), *(f"claim.{field}" for field in CLAIM_FIELDS),
    }  # fmt: skip
    assert named == constructs
    # The rest of what can be asked belongs to the fact or the action at hand, and stands still.
    assert not named & {*EVENT_FIELDS, *ACTION_FIELDS}


def test_no_limit_of_a_guardrail_is_left_out_of_the_laws() -> None:
    """Verdicts are held by tests/unit/test_coordination_laws.py and test_guardrails.py, limit by limit."""
    bodies = [*GUARDRAILS.values(), *SKETCH["guardrails"].values()]
    assert {limit for body in bodies for limit in body if limit in _LIMITS} == set(_LIMITS)
