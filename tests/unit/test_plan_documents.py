"""Documents that are no plan: whatever stands where, `Plan` says so with its place, or runs what it took."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from segue.domain.action import Action
from segue.domain.brief import brief
from segue.domain.decision import judge
from segue.domain.derivation import derive
from segue.domain.fold import advance, fold
from segue.domain.plan import Plan
from segue.errors import PlanError

from tests.building import DAY, SKETCH, context_of, document, fact, trait
from tests.unit.logs import law

DOCUMENT = document(SKETCH)
TRUE = {"source": "true", "tree": ["bool", True]}
FACTS = [
    fact("transfer.started", "0s", transfer_id="T-1", channel="app"), fact("help.searched", "1m"),
    fact("call.started", "2m", channel="ivr", visit="v-1"), fact("activation.started", "3m"),
    trait("value_tier", "high", "4m"), trait("time_zone", "Europe/Berlin", "4m"),
    fact("incident.opened", "5m", number=7), fact("transfer.completed", "6m", transfer_id="T-1"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "field", "told"),
    [
        ([], "plan", "is of type list, and must be a mapping"),
        (None, "plan", "is of type null"),
        ({"timeline": "many"}, "timeline", "must be a whole number"),
        ({"timeline": 0}, "timeline", "must be a whole number"),
        ({"time_zone": "Europe/Berln"}, "time_zone", "no time zone is called 'Europe/Berln'"),
        ({"unknown_events": "ignore"}, "unknown_events", "Known: accept, quarantine, reject"),
        ({"purposes": "service"}, "purposes", "must be a list"),
        ({"blocked": [0]}, "blocked.0", "is of type int, and must be a text"),
        ({"channels": ["web"]}, "channels", "must be a mapping"),
        ({"channels": {"web": {"cost": {"amount": "1"}}}}, "channels.web.cost.amount", "must be a number"),
        ({"identifiers": {"account": {"priority": "first"}}}, "identifiers.account.priority", "whole number"),
        ({"traits": {"a": {"type": "strng"}}}, "traits.a.type", "Did you mean 'string'?"),
        ({"traits": {"a": {"type": "string", "one_of": "b"}}}, "traits.a.one_of", "must be a list"),
        ({"events": {"a": {"properties": {"b": "number"}}}}, "events.a.properties.b", "'number' is not known here"),
        ({"events": {"a": {"aliases": {"web": "b"}}}}, "events.a.aliases.web", "must be a list"),
        ({"maps": {"m": 1}}, "maps.m", "must be a mapping"),
        ({"maps": {"m": {"starts": "true"}}}, "maps.m.starts", "must be a mapping"),
        ({"maps": {"m": {"starts": {"source": "true"}}}}, "maps.m.starts.tree", "is missing"),
        ({"maps": {"m": {"starts": {"source": "?", "tree": ["call", "_==_", []]}}}}, "maps.m", "cannot be compiled"),
        ({"maps": {"m": {"starts": {"source": "?", "tree": ["no such form"]}}}}, "maps.m.starts", "unknown form"),
        ({"maps": {"m": {"stages": {"s": {}}}}}, "maps.m.stages.s.reached", "is missing"),
        ({"maps": {"m": {"stalls": {"after": "soon"}}}}, "maps.m.stalls.after", "'soon' is no duration"),
        ({"maps": {"m": {"stalls": {"after": 15}}}}, "maps.m.stalls.after", "is of type int, and must be a text"),
        ({"maps": {"m": {"stalls": "15m"}}}, "maps.m.stalls", "must be a mapping"),
        ({"maps": {"m": {"touches": "call.*"}}}, "maps.m.touches", "must be a list"),
        ({"maps": {"m": {"running": 0}}}, "maps.m.running", "1 at least"),
        ({"maps": {"m": {"position": "1"}, "n": {"position": 0}}}, "maps.m.position", "whole number"),
        ({"maps": {"m": {"targets": {"completion": "all"}}}}, "maps.m.targets.completion", "must be a number"),
        ({"audiences": {"a": {}}}, "audiences.a.when", "is missing"),
        ({"audiences": {"a": {"when": {"tree": ["bool", True]}}}}, "audiences.a.when.source", "is missing"),
        ({"audiences": {"a": {"when": {"source": "?", "tree": "true"}}}}, "audiences.a.when.tree", "a checked tree"),
        ({"guardrails": {"g": {"cap": {"limit": 2}}}}, "guardrails.g.cap.window", "is missing"),
        ({"guardrails": {"g": {"cap": {"limit": "2", "window": "7d"}}}}, "guardrails.g.cap.limit", "whole number"),
        ({"guardrails": {"g": {"mode": "observ"}}}, "guardrails.g.mode", "Did you mean 'observe'?"),
        ({"guardrails": {"g": {"on_missing": "alow"}}}, "guardrails.g.on_missing", "Did you mean 'allow'?"),
        ({"guardrails": {"g": {"quiet_hours": {"from": "21:00"}}}}, "guardrails.g.quiet_hours.to", "is missing"),
        ({"guardrails": {"g": {"quiet_hours": {"from": "9 pm", "to": "08:00"}}}}, "guardrails.g.quiet_hours.from",
         "no time of day"),
        ({"guardrails": {"g": {"quiet_hours": {"from": "21:00", "to": "08:00", "zone": "Mars"}}}},
         "guardrails.g.quiet_hours.zone", "no time zone"),
        ({"guardrails": {"g": {"cap": {"limit": 2, "window": "yearly"}}}}, "guardrails.g.cap.window", "no duration"),
        ({"guardrails": {"g": {"valid": {"from": "tomorrow"}}}}, "guardrails.g.valid.from", "tomorrow"),
        ({"guardrails": {"g": {"holdout": {"share": 2}}}}, "guardrails.g.holdout.share", "from 0 to 1"),
        ({"guardrails": {"g": {"yields": {"to": "service", "within": "1d"}}}}, "guardrails.g.yields.to", "a list"),
        ({"effort": {"weights": {"repeats": "many"}}}, "effort.weights.repeats", "whole number"),
        ({"action_priorities": ["offer.*"]}, "action_priorities", "must be a mapping"),
        ({"choices": {"exempt": "service"}}, "choices.exempt", "must be a list"),
        ({"touchpoints": {"t": {"writes": "*"}}}, "touchpoints.t.writes", "must be a list"),
        ({"touchpoints": {"t": {"reads": ["traits"]}}}, "touchpoints.t.reads", "must be a mapping"),
        ({"calendars": []}, "calendars", "must be a mapping"),
        ({1: 2}, "plan", "the key 1 is no text"),
        ({"maps": {1: {}}}, "maps", "the key 1 is no text"),
        ({"title": {1, 2}}, "plan", "cannot be compiled"),
        ({"title": "\ud800"}, "plan", "cannot be compiled"),
    ],
    ids=lambda value: str(value)[:60].encode("ascii", "replace").decode() if isinstance(value, dict | list) else None,
)  # fmt: skip
def test_what_cannot_be_a_plan_is_refused_with_its_place(wrong: Any, field: str, told: str) -> None:
    with pytest.raises(PlanError) as refused:
        Plan(wrong)
    assert refused.value.field == field
    assert refused.value.code == "PLAN_INVALID"
    assert str(refused.value).startswith(f"{field}: ")
    assert told in str(refused.value)


def test_a_tree_without_end_is_refused_and_not_compiled_until_python_gives_up() -> None:
    tree: list[Any] = ["bool", True]
    for _ in range(900):
        tree = ["call", "!_", [tree]]
    for body in ({"maps": {"m": {"starts": {"source": "?", "tree": tree}}}},
                 {"guardrails": {"g": {"suppress_when": {"source": "?", "tree": tree}}}},
                 {"audiences": {"a": {"when": {"source": "?", "tree": tree}}}}):  # fmt: skip
        with pytest.raises(PlanError):
            Plan(body)


def test_keys_that_a_newer_hub_says_are_left_alone() -> None:
    plan = Plan({
        "later": [1], "maps": {"m": {"starts": TRUE, "later": None}}, "guardrails": {"g": {"reason": "r", "later": 1}},
    })  # fmt: skip
    assert list(plan.maps) == ["m"]
    assert list(plan.guardrails) == ["g"]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where in a document something stands."""
    found = [path] if path else []
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in entries:
        found += places(item, (*path, name))
    return found


PLACES = places(DOCUMENT)
SHALLOW = [path for path in PLACES if "tree" not in path]
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from(["call", "ident", "string", "15m", "customer", "enforce", "_==_", "event.type"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def spoilt(path: tuple[Any, ...], change: Any, how: str) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json.dumps(DOCUMENT))
    holder: Any = made
    for part in path[:-1]:
        holder = holder[part]
    if how == "remove":
        del holder[path[-1]]
    else:
        holder[path[-1]] = change
    return made


@law(400)
@given(
    st.one_of(st.sampled_from(PLACES), st.sampled_from(SHALLOW)), anything, st.sampled_from(["put", "put", "remove"])
)
def test_whatever_is_spoilt_the_plan_is_refused_with_its_place_or_runs(
    path: tuple[Any, ...], change: Any, how: str
) -> None:
    try:
        plan = Plan(spoilt(path, change, how))
    except PlanError as error:
        assert error.field  # noqa: PT017  # the other outcome is as good
        return
    content = fold(plan, FACTS)
    at = content.at
    for later in (at, at + DAY, at + 30 * DAY):
        advance(content, plan, later)
        derive(content, plan, later)
        brief(content, plan, later)
        context = context_of(content, plan, later)
        for channel in ("sms", "email"):
            for verdict in judge(Action("offer.upsell", "fibre", "marketing").asked(channel), context):
                assert verdict.kind in ("ALLOW", "DEFER", "BLOCK")
                assert isinstance(verdict.binds, bool)
    for touchpoint in plan.grants:
        plan.grant(touchpoint).may_write("event", "transfer.started")
        plan.grant(touchpoint).may_read("traits.business", "service")
