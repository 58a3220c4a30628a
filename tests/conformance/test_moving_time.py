"""Time that passes without a fact: a value never changes before the flip it was given with (law 3, semantics TI6).

Holds for random contexts and random audience expressions that the flip lies ahead, that the value is the same at
every instant before it, that it is what a plain reading of the expression says at each of those instants, and that
this is so again from flip to flip. The plain reading is in `plain_reading`, over the bare list of facts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from segue.domain.binding import ContextBindings
from segue.domain.expression import NEVER, compile_tree
from segue.domain.expression.moving import crossing
from segue.domain.fact import EVENT, TRAIT, Fact, properties_bytes
from segue.domain.fold import fold
from segue.domain.identifier import Identifier
from segue.domain.instant import parse_instant, span
from segue.domain.plan import Plan
from segue.domain.scope import Scope
from segue.domain.vocabulary import Channel, EventName, TraitName, Vocabulary
from segue_hub.checking.expression import Checker

from tests.conformance.plain_reading import (
    COMPARISONS,
    HOUR,
    MINUTE,
    NOW,
    SECOND,
    SPAN_UNITS,
    FailedError,
    Sketch,
    World,
    chosen,
    clock,
    compared,
    count,
    counted_among,
    divided,
    how_many_stalled,
    joined,
    journey,
    journeys,
    last,
    length,
    minus,
    negated,
    plus,
    seen,
    taken_apart,
    whole,
)

BEGIN = parse_instant("2026-03-28T21:00:00Z")
"""A Saturday evening: Berlin's clocks go forward that night."""
HORIZON = 3 * 24 * HOUR
LAST_DAY = parse_instant("9999-12-31T00:00:00Z")
"""Sums leave the calendar then, which the plain reading knows nothing of: `tests/unit/test_moving_edges` does."""

NAMES = ("web", "ivr", "transfer.started", "transfer.details", "card.started", "call.started")
WINDOWS = ("250ms", "90s", "5m", "15m", "1h", "90m", "4h", "1d")
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "-03:30")
MAPS: dict[str, dict[str, Any]] = {
    "transfer": {
        "starts": 'event.type == "transfer.started"',
        "key": "event.properties.id",
        "stages": {"details": 'event.type == "transfer.details"'},
        "reaches_goal": 'event.type == "transfer.done"',
        "stalls": "15m", "abandons": "3h",
    },
    "card": {"starts": 'event.type == "card.started"', "stages": {}, "stalls": "1h"},
}  # fmt: skip
VOCABULARY = Vocabulary(
    channels={"web": Channel(), "ivr": Channel()},
    events={name: EventName() for name in (*NAMES[2:], "transfer.done")},
    traits={"tier": TraitName()},
)
CHECKER = Checker(VOCABULARY, MAPS)


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    def checked(text: str, result: str = "bool") -> dict[str, Any]:
        return {"source": text, "tree": CHECKER.check(text, "map", result)}

    maps = {}
    for name, body in MAPS.items():
        made: dict[str, Any] = {part: checked(body[part]) for part in ("starts", "reaches_goal") if part in body}
        if "key" in body:
            made["key"] = checked(body["key"], "any")
        made["stages"] = {stage: {"reached": checked(text)} for stage, text in body["stages"].items()}
        made |= {part: {"after": body[part]} for part in ("stalls", "abandons") if part in body}
        maps[name] = made
    return {
        "channels": {"web": {}, "ivr": {}}, "events": {name: {} for name in VOCABULARY.events},
        "traits": {"tier": {"type": "string"}}, "maps": maps,
    }  # fmt: skip


def plan_with(text: str) -> Plan:
    tree = CHECKER.check(text, "audience")
    return Plan({**document(), "audiences": {"asked": {"when": {"source": text, "tree": tree}}}})


# --- random expressions -----------------------------------------------------------------------------------------

signs = st.sampled_from(list(COMPARISONS))
names = st.sampled_from(NAMES)
windows = st.sampled_from(WINDOWS)
map_names = st.sampled_from(sorted(MAPS))
counts = st.builds(count, names, st.sampled_from((*WINDOWS, "")))
numbers = st.integers(0, 4).map(whole)
zone_texts = st.sampled_from(ZONES).map(lambda zone: Sketch(f'"{zone}"', lambda w, t: zone))
switching_zones = st.builds(chosen, st.builds(seen, names, windows), zone_texts, zone_texts)
lengths = st.sampled_from((*WINDOWS, "-15m", "-1h")).map(length)
switching_lengths = st.builds(chosen, st.builds(seen, names, windows), lengths, lengths)
fixed_moments = st.builds(last, names) | st.builds(journey, map_names, st.sampled_from(["started_at", "progress_at"]))
moving_moments = st.just(NOW) | st.builds(plus, st.just(NOW), lengths) | st.builds(minus, st.just(NOW), lengths)
ages = st.builds(minus, moving_moments, fixed_moments)
waits = st.builds(minus, fixed_moments, moving_moments)
soon = st.integers(-3, 50).map(
    lambda hours: Sketch(f"timestamp({(BEGIN + hours * HOUR) // SECOND})", lambda w, t: BEGIN + hours * HOUR)
)
clock_parts = st.sampled_from(["getHours", "getMinutes", "getSeconds", "getDayOfWeek", "getDate", "getMilliseconds"])
PREDICATES: list[tuple[str, Callable[[Any, dict[str, int], int], bool]]] = [
    ("j.stalled", lambda j, due, t: t >= due["stalls"]),
    ('j.stalled && j.stage == "details"', lambda j, due, t: t >= due["stalls"] and j.stage == "details"),
    ('now - j.started_at >= duration("1h")', lambda j, due, t: t - j.started_at >= HOUR),
    ('j.stage == "" || now - j.progress_at < duration("5m")',
     lambda j, due, t: j.stage == "" or t - j.progress_at < 5 * MINUTE),
    ('j.key == "1" && !j.stalled', lambda j, due, t: j.key == "1" and t < due["stalls"]),
]  # fmt: skip

leaves = st.one_of(
    st.builds(seen, names, st.sampled_from((*WINDOWS, ""))),
    st.builds(compared, counts, signs, numbers),
    st.builds(compared, numbers, signs, counts),
    st.builds(compared, st.builds(plus, counts, counts), signs, numbers),
    st.builds(compared, st.builds(divided, st.integers(1, 5), counts), signs, numbers),
    st.builds(compared, ages, signs, lengths | switching_lengths),
    st.builds(compared, lengths, signs, ages),
    st.builds(compared, waits, signs, lengths),
    st.builds(compared, fixed_moments, signs, moving_moments),
    st.builds(compared, st.builds(plus, fixed_moments, switching_lengths), signs, moving_moments),
    st.builds(compared, moving_moments, signs, moving_moments),
    st.builds(compared, st.builds(clock, moving_moments, clock_parts, zone_texts | switching_zones), signs,
              st.integers(0, 30).map(whole)),
    st.builds(compared, st.builds(taken_apart, ages | st.builds(minus, moving_moments, soon),
                                  st.sampled_from([*SPAN_UNITS, "getMilliseconds"])),
              signs, st.integers(-3, 6).map(whole)),
    st.builds(journey, map_names, st.sampled_from(["active", "stalled"])),
    st.builds(compared, st.builds(journey, st.just("transfer"), st.just("stage")), st.sampled_from(["==", "!="]),
              st.sampled_from(["", "details"]).map(lambda stage: Sketch(f'"{stage}"', lambda w, t: stage))),
    st.builds(lambda name, macro, predicate: journeys(name, macro, *predicate), map_names,
              st.sampled_from(["exists", "all", "exists_one"]), st.sampled_from(PREDICATES)),
    st.builds(compared, st.builds(how_many_stalled, map_names), signs, numbers),
    st.builds(counted_among, st.lists(st.integers(0, 4), max_size=3), st.sampled_from(["exists", "all"]), counts),
    st.just(Sketch('known("tier")', lambda w, t: any(f.kind == TRAIT for f in w.facts))),
)  # fmt: skip
sketches = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(joined, inner, st.sampled_from(["&&", "||"]), inner),
        st.builds(chosen, inner, inner, inner),
        st.builds(negated, inner),
    ),
    max_leaves=6,
)

# --- random contexts --------------------------------------------------------------------------------------------

gaps = st.sampled_from([0, 1, 250_000, 90 * SECOND, 5 * MINUTE, 15 * MINUTE - 1, 15 * MINUTE, 40 * MINUTE, 2 * HOUR])
happenings = st.tuples(
    gaps | st.integers(0, 20 * MINUTE),
    st.sampled_from([*NAMES[2:], "transfer.done", "tier"]),
    st.sampled_from(["web", "ivr"]),
    st.sampled_from(["1", "2"]),
)


def facts_of(drawn: list[tuple[int, str, str, str]]) -> list[Fact]:
    at, made = BEGIN, []
    for number, (gap, type_, channel, key) in enumerate(drawn):
        at += gap
        kind = TRAIT if type_ == "tier" else EVENT
        raw = properties_bytes({"value": "gold"} if kind == TRAIT else {"id": key})
        someone = (Identifier("account", "A-1"),)
        made.append(
            Fact(
                number.to_bytes(16, "big"),
                kind,
                type_,
                at,
                number,
                someone,
                "" if kind == TRAIT else channel,
                "t",
                None,
                raw,
            )
        )
    return made


def instants_between(at: int, flip: int, facts: list[Fact], picks: list[float]) -> list[int]:
    """Where a value could wrongly change: at the edges of windows and deadlines, just before the flip, anywhere."""
    end = min(flip, at + HORIZON)
    edges = {at + 1, end - 1, *(at + int((end - at) * pick) for pick in picks)}
    for fact in facts:
        for window in (*WINDOWS, "3h", "30m", "75m"):
            for near in (-1, 0, 1):
                edges.add(fact.occurred_at + span(window) + near)
    return sorted(edge for edge in edges if at < edge < end)


def plainly(sketch: Sketch, world: World, at: int) -> bool:
    try:
        return sketch.means(world, at) is True
    except FailedError:
        return False


@settings(derandomize=True, max_examples=900, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(sketches, st.lists(happenings, min_size=1, max_size=9), gaps, st.lists(st.floats(0, 1), min_size=6, max_size=6))
def test_no_value_changes_before_its_flip(
    sketch: Sketch, drawn: list[tuple[int, str, str, str]], later: int, picks: list[float]
) -> None:
    plan, facts = plan_with(sketch.text), facts_of(drawn)
    content = fold(plan, facts)
    asked = plan.audiences["asked"].when
    world = World(facts, [
        (j, {"stalls": j.progress_at + span(MAPS[j.map]["stalls"]),
             "abandons": j.progress_at + span(MAPS[j.map]["abandons"]) if "abandons" in MAPS[j.map] else NEVER})
        for j in content.journeys.values()
    ])  # fmt: skip
    at = max(content.at, BEGIN) + later
    changes = 0
    for _ in range(8):
        value, flip = asked.holds_until(Scope(content, at, plan))
        assert flip > at, f"{sketch.text}: the flip does not lie ahead"
        assert value == asked.holds(Scope(content, at, plan)) == plainly(sketch, world, at), f"{sketch.text} at {at}"
        for instant in instants_between(at, flip, facts, picks):
            found = asked.holds(Scope(content, instant, plan))
            assert found == plainly(sketch, world, instant), f"{sketch.text} at {instant}"
            assert found == value, f"{sketch.text}: {value} at {at}, {found} at {instant}, before its flip at {flip}"
        if flip >= LAST_DAY:
            break
        changes += value != asked.holds(Scope(content, flip, plan))
        at = flip
    event("flips were real" if changes else "nothing changed")


def test_the_expressions_that_are_drawn_do_change_with_time() -> None:
    """The law above would hold for a context where nothing ever happens: here something does."""
    text = '(seen("ivr", "15m") || journey.transfer.stalled) && now.getHours("Europe/Berlin") >= 3'
    plan = plan_with(text)
    content = fold(plan, facts_of([(3 * HOUR + 50 * MINUTE, "transfer.started", "ivr", "1")]))
    asked, at, found = plan.audiences["asked"].when, content.at, []
    while at < NEVER and len(found) < 40:
        value, flip = asked.holds_until(Scope(content, at, plan))
        found.append((at - content.at, value))
        at = flip
    turns = [entry for before, entry in zip([(0, None), *found], found, strict=False) if entry[1] != before[1]]
    # 01:50 in Berlin; at 02:00 the clocks go to 03:00; after three hours the journey is given up.
    assert turns == [(0, False), (10 * MINUTE, True), (3 * HOUR, False)]


# --- crossing ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slope", [1, -1])
@pytest.mark.parametrize("sign", COMPARISONS)
def test_a_comparison_flips_at_the_first_microsecond_that_answers_differently(sign: str, slope: int) -> None:
    for difference in range(-4_100, 4_101, 25):
        for nudge in (-1, 0, 1):
            nanos = difference + nudge
            now = COMPARISONS[sign](nanos, 0)
            waits_ = [w for w in range(1, 12) if COMPARISONS[sign](nanos + slope * w * 1000, 0) != now]
            wait = crossing(f"_{sign}_", nanos, slope)
            assert wait >= 1
            if sign in ("==", "!=") and not waits_:
                # Never late, early allowed: between two microseconds equality never comes to be.
                continue
            assert wait == (waits_[0] if waits_ else NEVER), f"{nanos} {sign} 0, slope {slope}"


@pytest.mark.parametrize("slope", [1, -1])
@pytest.mark.parametrize("sign", COMPARISONS)
def test_a_comparison_that_is_past_its_crossing_never_flips(sign: str, slope: int) -> None:
    assert crossing(f"_{sign}_", slope * 1_000_000_000, slope) == NEVER


# --- cases that once were late ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "first_flip"),
    [
        ('(now - last("web")).getMilliseconds() == 0', 1000 - 400),
        ('(now - timestamp("2026-03-28T22:00:00.000400Z")).getSeconds() == -3599', 1),
        ('now.getHours(seen("web", "1s") ? "Asia/Tokyo" : "UTC") == 6', SECOND - 400),
        ('(seen("web", "1s") ? dyn(5) : dyn([1])).exists(n, n == 1)', SECOND - 400),
    ],
)
def test_no_flip_is_late(text: str, first_flip: int) -> None:
    plan = plan_with(text)
    content = fold(plan, facts_of([(SECOND, "call.started", "web", "1")]))
    at = content.at + 400
    value, flip = plan.audiences["asked"].when.holds_until(Scope(content, at, plan))
    for instant in range(at, at + 2 * SECOND, 100):
        if plan.audiences["asked"].when.holds(Scope(content, instant, plan)) != value:
            assert flip <= instant
            break
    assert flip - at <= first_flip


def test_an_instant_beyond_the_calendar_is_an_error_and_not_a_crash() -> None:
    bindings = ContextBindings(VOCABULARY, tuple(MAPS))
    tree = CHECKER.check('now.getHours("Asia/Tokyo") >= 0', "audience")
    plan = plan_with("true")
    at = 1 << 61
    assert compile_tree(tree, bindings).holds_until(Scope(fold(plan, []), at, plan)) == (False, at + 1)
