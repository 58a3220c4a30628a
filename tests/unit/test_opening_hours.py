"""Calendars: opening hours on the wall of a zone, their exceptions, and flips that are exact when clocks change."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from segue.domain.content import Content
from segue.domain.derivation import derive
from segue.domain.expression.calendar import zone
from segue.domain.expression.failure import ExpressionError
from segue.domain.instant import NEVER, instant_text, parse_instant, to_datetime
from segue.domain.opening_hours import DAYS, Calendar, calendar_of
from segue.errors import NameUnknown, PlanError

from tests.building import MINUTE, fact, seen_by, small
from tests.unit.logs import law

WEEK = {
    "zone": "Europe/Berlin",
    "hours": [
        {"days": ["mon", "tue", "wed", "thu", "fri"], "from": "08:00", "to": "18:00"},
        {"days": ["sat"], "from": "09:00", "to": "13:00"},
    ],
    "exceptions": [
        {"date": "2026-12-24", "from": "08:00", "to": "12:00"}, {"date": "2026-12-25"}, {"date": "2026-12-26"},
    ],
}  # fmt: skip


def calendar(**body: Any) -> Calendar:
    return calendar_of("support", {**WEEK, **body} if not body.get("hours") else body, "UTC")


def turns(found: Calendar, begin: str, count: int) -> list[tuple[str, bool]]:
    """What it becomes and when, from flip to flip."""
    at, seen = parse_instant(begin), []
    for _ in range(count):
        at = found.open_until(at)[1]
        if at >= NEVER:
            break
        seen.append((instant_text(at), found.is_open(at)))
    return seen


def test_a_week_opens_and_closes_by_the_wall_of_its_zone() -> None:
    assert turns(calendar(), "2026-03-27T12:00:00Z", 5) == [
        ("2026-03-27T17:00:00Z", False), ("2026-03-28T08:00:00Z", True), ("2026-03-28T12:00:00Z", False),
        # The clocks went forward on Sunday: eight in Berlin is an hour earlier.
        ("2026-03-30T06:00:00Z", True), ("2026-03-30T16:00:00Z", False),
    ]  # fmt: skip


def test_a_day_that_is_different_has_its_own_hours_or_none() -> None:
    assert turns(calendar(), "2026-12-24T00:00:00Z", 3) == [
        ("2026-12-24T07:00:00Z", True), ("2026-12-24T11:00:00Z", False), ("2026-12-28T07:00:00Z", True)
    ]  # fmt: skip


def test_hours_that_end_no_later_than_they_begin_end_on_the_next_day() -> None:
    night = calendar(zone="UTC", hours=[{"days": ["fri"], "from": "22:00", "to": "06:00"}])
    assert turns(night, "2026-03-27T00:00:00Z", 3) == [
        ("2026-03-27T22:00:00Z", True), ("2026-03-28T06:00:00Z", False), ("2026-04-03T22:00:00Z", True)
    ]  # fmt: skip
    closed = {"exceptions": [{"date": "2026-03-28"}], "hours": [{"days": ["fri"], "from": "22:00", "to": "06:00"}]}
    assert turns(calendar(**closed), "2026-03-27T23:00:00Z", 1) == [("2026-03-28T06:00:00Z", False)]


def test_the_whole_day_and_every_day_never_flips_but_for_an_exception() -> None:
    always = [{"days": list(DAYS), "from": "00:00", "to": "00:00"}]
    assert calendar(hours=always).open_until(parse_instant("2026-03-27T12:00:00Z")) == (True, NEVER)
    closed = calendar(zone="Europe/Berlin", hours=always, exceptions=[{"date": "2027-01-01"}])
    assert turns(closed, "2026-03-27T12:00:00Z", 9) == [
        ("2026-12-31T23:00:00Z", False), ("2027-01-01T23:00:00Z", True)
    ]  # fmt: skip
    assert calendar(hours=[{"days": [], "from": "08:00", "to": "09:00"}]).open_until(1) == (False, NEVER)


def test_hours_that_the_clocks_skip_or_show_twice() -> None:
    small_hours = calendar(zone="Europe/Berlin", hours=[{"days": ["sun"], "from": "02:00", "to": "03:00"}])
    # Forward: from two to three there is nothing. Back: from two to three comes twice, without a gap.
    assert turns(small_hours, "2026-03-28T12:00:00Z", 1) == [("2026-04-05T00:00:00Z", True)]
    assert turns(small_hours, "2026-10-24T12:00:00Z", 2) == [
        ("2026-10-25T00:00:00Z", True), ("2026-10-25T02:00:00Z", False)
    ]  # fmt: skip
    half = calendar(zone="Europe/Berlin", hours=[{"days": ["sun"], "from": "02:00", "to": "02:30"}])
    assert turns(half, "2026-10-24T12:00:00Z", 4) == [
        ("2026-10-25T00:00:00Z", True), ("2026-10-25T00:30:00Z", False),
        ("2026-10-25T01:00:00Z", True), ("2026-10-25T01:30:00Z", False),
    ]  # fmt: skip


def test_clocks_that_go_back_over_midnight_show_the_day_before_once_more() -> None:
    # St. John's went back at one minute past midnight, to 23:01 of the day before.
    late = calendar(zone="America/St_Johns", hours=[{"days": ["sat"], "from": "23:00", "to": "23:30"}])
    for at in ("2006-10-29T02:00:00Z", "2006-10-29T02:30:30Z"):
        assert turns(late, at, 2) == [("2006-10-29T02:31:00Z", True), ("2006-10-29T03:00:00Z", False)]


ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Havana", "Pacific/Apia")
NEAR_CHANGES = [
    parse_instant(text)
    for text in ("2026-03-27T00:00:00Z", "2026-10-23T00:00:00Z", "2026-03-06T00:00:00Z", "2026-04-03T00:00:00Z",
                 "2011-12-28T00:00:00Z", "2026-06-10T00:00:00Z")
]  # fmt: skip
clocks = st.sampled_from(["00:00", "00:01", "01:00", "01:30", "02:00", "02:15", "03:00", "08:00", "23:30", "23:59"])


@st.composite
def calendars(draw: st.DrawFn) -> tuple[Calendar, dict[str, Any], int]:
    begin = draw(st.sampled_from(NEAR_CHANGES))
    first = to_datetime(begin).date()
    hours = [
        {
            "days": draw(st.lists(st.sampled_from(DAYS), min_size=1, max_size=7)),
            "from": draw(clocks),
            "to": draw(clocks),
        }
        for _ in range(draw(st.integers(1, 3)))
    ]
    exceptions: list[dict[str, str]] = []
    for _ in range(draw(st.integers(0, 2))):
        day = {"date": str(first + timedelta(days=draw(st.integers(-1, 5))))}
        exceptions.append(day | draw(st.sampled_from([{}, {"from": draw(clocks), "to": draw(clocks)}])))
    body = {"zone": draw(st.sampled_from(ZONES)), "hours": hours, "exceptions": exceptions}
    return calendar_of("c", body, "UTC"), body, begin


def plainly(body: dict[str, Any], at: int) -> bool:
    """Whether it is open, read from the plan's own words."""
    local = to_datetime(at).astimezone(zone(body["zone"]))
    clock = f"{local.hour:02}:{local.minute:02}"

    def hours(day: date) -> list[dict[str, str]]:
        different = [e for e in body["exceptions"] if e["date"] == str(day)]
        if different:
            return [e for e in different if "from" in e]
        return [h for h in body["hours"] if DAYS[day.weekday()] in h["days"]]

    today, yesterday = hours(local.date()), hours(local.date() - timedelta(days=1))
    return any(h["from"] <= clock and (clock < h["to"] or h["to"] <= h["from"]) for h in today) or any(
        h["to"] <= h["from"] and clock < h["to"] for h in yesterday
    )


@law(80)
@given(calendars(), st.integers(0, 4 * 1440), st.integers(0, 59_999_999))
def test_it_is_open_as_the_plan_says_until_exactly_its_flip(
    found: tuple[Calendar, dict[str, Any], int], minute: int, beside: int
) -> None:
    calendar_, body, begin = found
    at = begin + minute * MINUTE + beside
    for _ in range(4):
        value, flip = calendar_.open_until(at)
        assert value == plainly(body, at)
        end = min(flip, at + 8 * 1440 * MINUTE)
        whole = at - at % MINUTE
        assert all(plainly(body, i) is value for i in range(whole + MINUTE, end, MINUTE)), "no flip is late"
        if flip >= NEVER or flip > end:
            break
        assert plainly(body, flip) is not value, "and none is early"
        assert plainly(body, flip - 1) is value
        at = flip


def test_an_instant_beyond_the_calendar_is_an_error_and_not_a_crash() -> None:
    with pytest.raises(ExpressionError, match="9999"):
        calendar().open_until(1 << 61)
    plan = small(calendars={"support": WEEK}, audiences={"a": {"when": 'calendar("support").open'}})
    assert derive(Content(), plan, 1 << 61).audiences == {"a": False}


# In plans and decisions.


def test_an_expression_reads_it_and_flips_with_it() -> None:
    plan = small(calendars={"support": WEEK}, audiences={"a": {"when": 'calendar("support").open && !seen("x", "1h")'}})
    at = parse_instant("2026-03-27T12:00:00Z")
    found = derive(Content(), plan, at)
    assert (found.audiences["a"], instant_text(found.flips_at)) == (True, "2026-03-27T17:00:00Z")


def test_a_map_reads_it_as_of_the_facts_own_time() -> None:
    plan = small(
        calendars={"support": WEEK},
        maps={"late": {"starts": 'event.type == "call" && !calendar("support").open', "key": "event.properties.n",
                       "reaches_goal": "false"}},
    )  # fmt: skip
    times = ["2026-03-27T12:00:00Z", "2026-03-27T17:00:00Z", "2026-03-29T12:00:00Z"]
    context = seen_by(plan, [fact("call", at, n=n) for n, at in enumerate(times)], times[-1])
    assert [journey.key for journey in context.journeys("late")] == ["2", "1"]


def test_a_decision_function_reads_it_and_when_it_changes() -> None:
    plan = small(calendars={"support": WEEK})
    context = seen_by(plan, [fact("x", "0s")], "2026-03-27T18:00:00Z")
    support = context.calendar("support")
    assert support.open is False
    assert support.changes_at is not None
    assert support.changes_at.isoformat() == "2026-03-28T08:00:00+00:00"
    assert context.reads[0] == ("calendar('support').open", False)
    with pytest.raises(NameUnknown, match="Did you mean 'support'"):
        context.calendar("suport")


@pytest.mark.parametrize(
    "body",
    [
        {"zone": "Nowhere", "hours": []}, {"hours": [{"days": ["someday"], "from": "08:00", "to": "09:00"}]},
        {"hours": [], "exceptions": [{"date": "2026-13-01"}]}, {"hours": [{"days": ["mon"]}]}, {"hours": 7}, [],
    ],
)  # fmt: skip
def test_a_document_with_a_calendar_that_is_none_cannot_be_compiled(body: Any) -> None:
    with pytest.raises(PlanError) as caught:
        small(calendars={"support": body})
    assert caught.value.field == "calendars.support"
