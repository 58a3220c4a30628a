"""Edges of time that moves: zones that change at one past midnight, the end of the calendar, a variable called `now`.

Holds at them what holds everywhere: a value never changes before the flip it was given with (TI6), and a name means
in Segue what it means in CEL.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from cel_expr_python import cel
from hypothesis import given
from hypothesis import strategies as st
from segue.domain.content import Content
from segue.domain.expression import NEVER, Timestamp, compile_tree
from segue.domain.expression.calendar import changes_within, part
from segue.domain.expression.node import Node
from segue.domain.instant import instant_text, parse_instant, to_datetime
from segue.domain.scope import Scope
from segue_hub.checking.expression import check_row_expression

from tests.building import BEGIN, DAY, HOUR, MINUTE, fact, small
from tests.unit.logs import law

SECOND = 1_000_000
END = parse_instant("9999-12-31T23:59:59.999999Z")
CHANGES = [
    ("America/St_Johns", "2010-11-07T02:31:00Z"),  # 00:01 back to 23:01 of the day before
    ("America/St_Johns", "2011-03-13T03:31:00Z"),  # 00:01 on to 01:01
    ("Antarctica/Casey", "2020-10-03T16:01:00Z"),  # 00:01 on to 03:01
    ("Asia/Gaza", "2010-03-26T22:01:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),  # half an hour back
    ("Europe/Berlin", "2026-03-29T01:00:00Z"),
    ("Europe/Berlin", "2026-10-25T01:00:00Z"),
    ("Pacific/Apia", "2011-12-30T10:00:00Z"),  # a day that never was
    ("Asia/Beirut", "2025-10-25T21:00:00Z"),  # midnight comes twice
]
PARTS = [
    "getFullYear", "getMonth", "getDayOfYear", "getDayOfMonth", "getDate", "getDayOfWeek", "getHours", "getMinutes",
    "getSeconds",
]  # fmt: skip


def value(function: str, at: int, zone: str) -> int:
    return part(function, Timestamp(at * 1000), zone)


def test_the_changes_are_where_these_tests_take_them_to_be() -> None:
    from segue.domain.expression.calendar import zone as zone_of

    for name, text in CHANGES:
        at = parse_instant(text)
        before, after = (to_datetime(moment).astimezone(zone_of(name)).utcoffset() for moment in (at - 1, at))
        assert before != after, (name, text)


@law(600)
@given(st.sampled_from(CHANGES), st.sampled_from(PARTS), st.integers(-30 * 3600, 3 * 3600), st.integers(0, 999_999))
def test_no_part_of_a_moment_changes_before_it_said_it_would(
    change: tuple[str, str], function: str, seconds: int, micros: int
) -> None:
    zone, text = change
    turn = parse_instant(text)
    at = turn + seconds * SECOND + micros
    flip = at + -(-changes_within(function, Timestamp(at * 1000), zone) // 1000)
    assert flip > at
    asked = [flip - 1, turn - 1, turn, turn + SECOND, *range(at, flip, max(1, (flip - at) // 40))]
    for moment in asked:
        if at <= moment < flip:
            assert value(function, moment, zone) == value(function, at, zone), instant_text(moment)


@pytest.mark.parametrize("zone", ["", "Europe/Berlin", "+05:30"])
def test_a_part_of_a_moment_says_no_flip_that_is_none(zone: str) -> None:
    """Without a change of the clocks ahead, the flip is the very instant at which the part differs."""
    at = parse_instant("2026-05-04T20:15:30.25Z")
    for function in PARTS:
        flip = at + changes_within(function, Timestamp(at * 1000), zone) // 1000
        if function in ("getFullYear", "getMonth"):
            continue  # days are the coarsest that is looked ahead
        assert value(function, flip, zone) != value(function, at, zone), function


def test_a_moment_before_the_zones_last_day_has_a_flip_and_no_error() -> None:
    for function in PARTS:
        assert changes_within(function, Timestamp(END * 1000), "Europe/London") > 0


# The end of the calendar.


def holds_until(when: str, at: int) -> tuple[bool, int]:
    plan = small(audiences={"a": {"when": when}})
    content = Content()
    return plan.audiences["a"].when.holds_until(Scope(content, at, plan))


@pytest.mark.parametrize(
    "when",
    [
        'now + duration("{span}s") > timestamp("2026-01-01T00:00:00Z")',
        'duration("{span}s") + now > timestamp("2026-01-01T00:00:00Z")',
        '!(now + duration("{span}s") < timestamp("2026-01-01T00:00:00Z"))',
        '(now + duration("{span}s")).getFullYear() == 9999',
        '(now + duration("{span}s")) - duration("1s") > timestamp("2026-01-01T00:00:00Z")',
    ],
)
def test_a_sum_that_will_leave_the_calendar_flips_when_it_does(when: str) -> None:
    """Beyond the year 9999 there is no value, and an expression without a value does not hold."""
    leaves = BEGIN + HOUR
    text = when.format(span=(END + 1 - leaves) // SECOND)
    holds, flip = holds_until(text, BEGIN)
    assert holds is True
    assert BEGIN < flip <= leaves
    for at in range(BEGIN, leaves, 10 * MINUTE):
        assert holds_until(text, at)[0] is True
    assert holds_until(text, leaves)[0] is False


def test_a_sum_that_runs_backwards_flips_when_it_leaves_the_calendar() -> None:
    leaves = BEGIN + HOUR
    begin = parse_instant("0001-01-01T00:00:00Z")
    span = (leaves - begin) // SECOND
    first, turn = 'timestamp("0001-01-01T00:00:00Z")', f'timestamp("{instant_text(leaves)}")'
    text = f'{first} + ({turn} - now) < timestamp("2026-01-01T00:00:00Z")'
    assert span > 0
    assert holds_until(text, leaves)[0] is True
    assert holds_until(text, leaves + 1)[0] is False
    holds, flip = holds_until(text, BEGIN)
    assert holds is True
    assert BEGIN < flip <= leaves + 1


def test_a_sum_that_leaves_it_only_when_now_does_has_no_flip_for_that() -> None:
    assert holds_until('now - timestamp("2020-01-01T00:00:00Z") > duration("1d")', BEGIN) == (True, NEVER)


def test_an_audience_of_such_a_sum_never_holds_longer_than_it_said() -> None:
    plan = small(audiences={"a": {"when": 'now - last("web") < duration("10d")'}})
    from segue.domain.fold import fold

    content = fold(plan, [fact("page.seen", "0s")])
    when = plan.audiences["a"].when
    assert when.holds_until(Scope(content, BEGIN, plan)) == (True, BEGIN + 10 * DAY)


# Names.


class _Names:
    """`now` and `tier` as variables of a plan would be, with fixed values."""

    def variable(self, name: str) -> Node | None:
        held = {"now": Timestamp(BEGIN * 1000), "i": 7, "trait.x": "outer"}
        return Node(lambda env: held[name]) if name in held else None

    def function(self, name: str, arguments: list[Node]) -> Node | None:
        return None


ENVIRONMENT = cel.NewEnv(variables={"now": cel.Type.TIMESTAMP, "i": cel.Type.INT, "trait.x": cel.Type.STRING})


@pytest.mark.parametrize(
    "text",
    [
        "[timestamp('2026-01-01T00:00:00Z')].exists(now, .now > now)",
        "[timestamp('2026-01-01T00:00:00Z')].exists(now, now > now)",
        "[timestamp('2026-01-01T00:00:00Z')].all(now, .now == .now && now < .now)",
        "[1, 2].exists(i, .i == 7 && i == 2)",
        "[1, 2].exists(i, .i == i)",
        "[1, 2].map(i, i + .i) == [8, 9]",
        "[1, 2].filter(i, i < .i).map(i, i * 2) == [2, 4]",
        "[[1], [2]].exists(i, i.exists(i, i == 2 && .i == 7))",
        "[1, 2].exists(i, [3].exists(j, i == 2 && .i == 7 && j == 3))",
        "[i].exists(i, i == .i)",
        "[.i].exists(i, i == 7)",
        "[{'x': 'inner'}].exists(trait, trait.x == 'inner')",
        "[{'x': 'inner'}].exists(trait, .trait.x == 'outer')",
        "[{'x': 'inner'}].exists(trait, trait.x == 'inner' && .trait.x == 'outer')",
    ],
)
def test_a_name_with_a_dot_before_it_means_the_outer_one_as_it_does_in_cel(text: str) -> None:
    from cel.expr import checked_pb2
    from google.protobuf import any_pb2
    from segue_hub.checking.expression import tree_of

    compiled = ENVIRONMENT.compile(text)
    theirs = compiled.eval(data={"now": datetime.fromtimestamp(BEGIN / SECOND, UTC), "i": 7, "trait.x": "outer"})
    wrapped, checked = any_pb2.Any.FromString(compiled.serialize()), checked_pb2.CheckedExpr()
    wrapped.Unpack(checked)
    env: Any = Scope(Content(), BEGIN, small())
    ours = compile_tree(tree_of(checked.expr), _Names()).value(env)
    assert ours is bool(theirs.value())


def test_a_row_expression_knows_the_outer_row_too() -> None:
    tree = check_row_expression('["x"].exists(row, row == "x" && .row.name == "y")', "bool")
    from segue_hub.importing.value import RowScope, compiled

    assert compiled({"source": "", "tree": tree}).holds(RowScope({"name": "y"}))
    assert not compiled({"source": "", "tree": tree}).holds(RowScope({"name": "x"}))
