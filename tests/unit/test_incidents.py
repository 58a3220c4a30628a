"""Incidents (FA5): what a set of facts makes of them, when they flip, and what is folded again because of them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from segue.domain.content import Content
from segue.domain.derivation import derive
from segue.domain.fact import Fact
from segue.domain.fold import fold
from segue.domain.incident import FIXED, MAX_TITLE, OPENED, UNHEARD, IncidentState, check_incident, incident_of
from segue.domain.instant import NEVER
from segue.domain.overlay import overlaid
from segue.domain.plan import WAITING, Plan
from segue.domain.projection import project, receive
from segue.domain.scope import Scope
from segue.domain.section import encode
from segue.domain.workspace import QUIET, REMEMBERED, Workspace, workspace_bytes, workspace_of
from segue.errors import FactError, PlanError
from segue.persistence import Persistence
from segue.sync import Incoming, Machine, prepare
from segue.wire import fact_from_bytes, fact_to_bytes

from tests.building import BEGIN, DAY, HOUR, MINUTE, fact, incident, seen_by, small, trait, workspace
from tests.unit.logs import law

X = "IOS-481"
INSTANTS = [BEGIN + step for step in (0, 1, MINUTE, HOUR - 1, HOUR, HOUR + 1, 5 * HOUR, DAY, 40 * DAY)]


@st.composite
def tellings(draw: st.DrawFn, names: tuple[str, ...] = (X,), most: int = 8) -> list[Fact]:
    """Workspace facts, with ties and with things told again."""
    return [
        incident(
            draw(st.sampled_from(names)), draw(st.sampled_from([OPENED, FIXED])), draw(st.sampled_from(INSTANTS)),
            seq=draw(st.integers(0, 2)), title=draw(st.sampled_from(["", "a", "b"])),
            workaround=draw(st.sampled_from(["", "w"])),
        )
        for _ in range(draw(st.integers(0, most)))
    ]  # fmt: skip


def plainly(facts: list[Fact], at: int) -> bool:
    """Whether it is open: the last fact up to the moment says so."""
    until = [f for f in facts if f.occurred_at <= at]
    return bool(until) and max(until, key=lambda f: f.order).properties["state"] == OPENED


# One incident.


def test_it_is_open_from_its_opening_until_its_fixing() -> None:
    found = incident_of(X, [incident(X, OPENED, "1h", title="Uploads fail", workaround="Use the web"),
                            incident(X, FIXED, "3h")])  # fmt: skip
    opened, fixed = BEGIN + HOUR, BEGIN + 3 * HOUR
    assert found.at(opened - 1) == UNHEARD
    assert found.at(opened) == IncidentState(opened, True, opened, 0, "Uploads fail", "Use the web")
    assert found.at(fixed - 1).open
    assert found.at(fixed) == IncidentState(fixed, False, opened, fixed, "Uploads fail", "Use the web")
    assert [found.open_until(at) for at in (0, opened, fixed)] == [(False, opened), (True, fixed), (False, NEVER)]


def test_told_again_it_keeps_its_opening_and_what_it_is_called() -> None:
    found = incident_of(X, [
        incident(X, OPENED, "0s", title="Uploads fail"), incident(X, OPENED, "1h", workaround="Use the web"),
        incident(X, FIXED, "2h"), incident(X, FIXED, "3h"), incident(X, OPENED, "4h"),
    ])  # fmt: skip
    assert [(s.since - BEGIN, s.open, s.opened_at - BEGIN) for s in found.states] == [
        (0, True, 0), (HOUR, True, 0), (2 * HOUR, False, 0), (4 * HOUR, True, 4 * HOUR)
    ]  # fmt: skip
    assert found.states[-1].title == "Uploads fail"
    assert found.states[-1].workaround == "Use the web"
    assert found.states[-1].fixed_at == BEGIN + 2 * HOUR
    assert found.open_until(BEGIN) == (True, BEGIN + 2 * HOUR), "a new title is no flip of open"


def test_of_one_instant_the_last_in_order_holds() -> None:
    both = [incident(X, OPENED, "1h", seq=1), incident(X, FIXED, "1h", seq=2)]
    assert [incident_of(X, both[::step]).at(BEGIN + HOUR).open for step in (1, -1)] == [False, False]
    taken_back = [incident(X, OPENED, "9h", seq=1), incident(X, FIXED, "9h", seq=2), incident(X, OPENED, "5h")]
    assert incident_of(X, taken_back).open_until(BEGIN + 5 * HOUR) == (True, BEGIN + 9 * HOUR)


def test_a_fixing_whose_opening_was_never_heard_leaves_it_closed() -> None:
    found = incident_of(X, [incident(X, FIXED, "1h")])
    assert found.at(BEGIN + HOUR) == IncidentState(BEGIN + HOUR, False, 0, BEGIN + HOUR)


@law()
@given(tellings(), st.randoms(use_true_random=False))
def test_an_incident_is_a_function_of_the_set_of_facts(facts: list[Fact], chance: random.Random) -> None:
    arrived = facts + chance.sample(facts, len(facts) // 2)
    chance.shuffle(arrived)
    found = incident_of(X, arrived)
    assert found == incident_of(X, facts)
    for at in [BEGIN - 1, *INSTANTS, *(i - 1 for i in INSTANTS)]:
        assert found.at(at).open == plainly(facts, at)
    assert [s.since for s in found.states] == sorted({s.since for s in found.states})


@law()
@given(tellings(), st.sampled_from(INSTANTS), st.integers(-2, 2))
def test_open_holds_until_its_flip_and_differs_there(facts: list[Fact], near: int, beside: int) -> None:
    found, at = incident_of(X, facts), near + beside
    value, flip = found.open_until(at)
    assert flip > at
    inside = [i for i in INSTANTS + [j - 1 for j in INSTANTS] if at <= i < flip]
    assert all(found.at(i).open is value for i in [at, *inside])
    assert flip == NEVER or found.at(flip).open is not value


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"id": b"short"}, "id"), ({"type": "  "}, "type"), ({"type": "a\nb"}, "type"), ({"type": "x" * 200}, "type"),
        ({"occurred_at": 0}, "occurred_at"), ({"occurred_at": 1 << 62}, "occurred_at"),
        ({"identifiers": fact("x", "0s").identifiers}, "identifiers"),
        ({"raw": b'{"state":"broken"}'}, "incident.state"),
        ({"raw": b"[]"}, "incident"), ({"raw": b'{"state":"opened","title":7}'}, "incident.title"),
        ({"raw": b'{"state":"opened","title":"%s"}' % (b"x" * (MAX_TITLE + 1))}, "incident.title"),
        ({"raw": b'{"state":"opened","workaround":"%s"}' % (b"x" * 3000)}, "incident.workaround"),
    ],
)  # fmt: skip
def test_what_cannot_be_told_of_an_incident_names_the_field(change: dict[str, object], field: str) -> None:
    made = incident(X, OPENED, "0s")
    for name, value in change.items():
        setattr(made, name, value)
    made.forget()
    with pytest.raises(FactError) as caught:
        check_incident(made)
    assert caught.value.field == field


def test_a_fact_about_an_incident_survives_the_wire_byte_by_byte() -> None:
    made = incident(X, OPENED, "1h", seq=3, title="Früh kaputt", workaround="Später")
    body = fact_to_bytes(made)
    assert fact_from_bytes(body) == made
    assert fact_to_bytes(fact_from_bytes(body)) == body


# All of them.


@law()
@given(tellings(("A", "B", "C"), 12), st.randoms(use_true_random=False))
def test_a_workspace_is_one_whatever_the_order_and_survives_its_document(
    facts: list[Fact], chance: random.Random
) -> None:
    whole = workspace(*facts)
    arrived = facts + facts[:3]
    chance.shuffle(arrived)
    grown, known = QUIET, []
    for each in arrived:
        known.append(each)
        grown = grown.telling({each.type: [f for f in known if f.type == each.type]})
    assert grown == whole
    assert grown.digest == whole.digest
    again = workspace_of(whole.document)
    assert again == whole
    assert workspace_bytes(again) == workspace_bytes(whole)


@law()
@given(tellings(("A", "B"), 8), tellings(("A", "B"), 4))
def test_two_workspaces_are_the_same_until_the_instant_that_is_said(first: list[Fact], more: list[Fact]) -> None:
    left, right = workspace(*first), workspace(*first, *more)
    instant = right.differs_from(left, ["A", "B"])
    assert instant == left.differs_from(right, ["A", "B"])
    for at in [i + beside for i in INSTANTS for beside in (-1, 0)]:
        same = left.history(["A", "B"], at) == right.history(["A", "B"], at)
        assert same == (at < instant)
        if same:
            assert [left.state(n, at) for n in "AB"] == [right.state(n, at) for n in "AB"]


@law()
@given(tellings(("A", "B"), 8), st.sampled_from([*INSTANTS, BEGIN + REMEMBERED, BEGIN + 80 * DAY]))
def test_what_sdks_are_told_reads_the_same_from_now_on(facts: list[Fact], now: int) -> None:
    whole = workspace(*facts)
    told = whole.told(frozenset({"A"}), now)
    for at in [now, now + 1, now + HOUR, *(i for i in INSTANTS if i > now)]:
        assert told.state("A", at) == whole.state("A", at)
        assert told.state("B", at).open == whole.state("B", at).open
        assert told.open_incidents(at) == whole.open_incidents(at)
    assert workspace_of(told.document) == told


def test_sdks_are_not_told_of_what_was_over_long_ago_unless_the_plan_reads_it() -> None:
    whole = workspace(*(incident(name, state, at) for name in "AB" for state, at in ((OPENED, "0s"), (FIXED, "1h"))))
    now = BEGIN + HOUR + REMEMBERED
    assert set(whole.told(frozenset(), now - 1).incidents) == {"A", "B"}
    assert set(whole.told(frozenset({"A"}), now).incidents) == {"A"}
    assert whole.told(frozenset({"A"}), now).state("A", now).fixed_at == BEGIN + HOUR
    still = workspace(incident("C", OPENED, "0s"))
    assert still.told(frozenset(), BEGIN + 9 * REMEMBERED).state("C", BEGIN + 9 * REMEMBERED).open


def test_what_a_newer_hub_says_more_is_left_out_and_what_is_no_state_is_refused() -> None:
    plain = [BEGIN, True, BEGIN, 0, "Uploads fail", "", "high"]
    found = workspace_of({"incidents": {X: [plain]}, "weather": ["rain"]})
    assert found.state(X, BEGIN) == IncidentState(BEGIN, True, BEGIN, 0, "Uploads fail", "")
    for broken in (plain[:5], [str(BEGIN), *plain[1:]], [BEGIN, 1, *plain[2:]], 7):
        with pytest.raises((ValueError, TypeError)):
            workspace_of({"incidents": {X: [broken]}})


# In expressions.


def asked(text: str, *facts: Fact) -> Plan:
    return small(audiences={"a": {"when": text}}).on(workspace(*facts))


def turns(plan: Plan, at: int, content: Content | None = None) -> list[tuple[int, bool]]:
    """From flip to flip: (minutes after the beginning, member)."""
    found = []
    while at < NEVER:
        derived = derive(content or Content(), plan, at)
        found.append(((at - BEGIN) // MINUTE, derived.audiences["a"]))
        at = derived.flips_at
    return found


def test_an_expression_flips_when_an_announced_incident_opens_and_when_it_is_fixed() -> None:
    plan = asked(f'!incident("{X}").open', incident(X, OPENED, "1h"), incident(X, FIXED, "3h", title="t"))
    assert turns(plan, BEGIN) == [(0, True), (60, False), (180, True)]


def test_an_incident_that_nobody_told_of_is_not_open_and_never_flips() -> None:
    assert turns(asked('incident("never").open || incident("never").title != ""'), BEGIN) == [(0, False)]
    text = 'incident("never").opened_at == timestamp("1970-01-01T00:00:00Z")'
    assert turns(asked(text), BEGIN) == [(0, True)], "never seen is 1970 (TI9)"


def test_its_parts_move_with_it() -> None:
    facts = (incident(X, OPENED, "1h", title="a"), incident(X, OPENED, "2h", workaround="w"), incident(X, FIXED, "3h"))
    assert turns(asked(f'incident("{X}").workaround == "w" && incident("{X}").open', *facts), BEGIN)[-1] == (180, False)
    aged = f'incident("{X}").open && now - incident("{X}").opened_at >= duration("90m")'
    assert [turn for turn in turns(asked(aged, *facts), BEGIN) if turn[1]] == [(150, True)]


def test_the_whole_incident_can_be_chosen_and_then_read() -> None:
    plan = asked('(seen("web") ? incident("A") : incident("B")).open', incident("B", OPENED, "1h"))
    assert turns(plan, BEGIN) == [(0, False), (60, True)]
    assert turns(plan, BEGIN, fold(plan, [fact("x", "0s", channel="web")])) == [(0, False)]


def test_the_witness_of_a_conjunction_is_the_incident_that_decides_it() -> None:
    plan = asked(f'incident("{X}").open && seen("x", "1h")', incident(X, OPENED, "30m"))
    content = fold(plan, [fact("x", "0s")])
    assert derive(content, plan, BEGIN).flips_at == BEGIN + 30 * MINUTE
    assert derive(content, plan, BEGIN + 30 * MINUTE).flips_at == BEGIN + HOUR


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ('incident("A").opne', "no 'opne'"), ("incident(trait.x).open", "constant texts"),
        ('incident("").open', "names no incident"), ('has(incident("A").open)', "always there"),
    ],
)  # fmt: skip
def test_a_plan_that_reads_an_incident_wrongly_cannot_be_compiled(text: str, cause: str) -> None:
    trees = {
        'incident("A").opne': ["select", ["call", "incident", [["string", "A"]]], "opne"],
        "incident(trait.x).open": ["select", ["call", "incident", [["ident", "trait.x"]]], "open"],
        'incident("").open': ["select", ["call", "incident", [["string", ""]]], "open"],
        'has(incident("A").open)': ["has", ["call", "incident", [["string", "A"]]], "open"],
    }
    with pytest.raises(PlanError, match=cause):
        Plan({"audiences": {"a": {"when": {"source": text, "tree": trees[text]}}}})


def test_a_plan_knows_which_incidents_it_reads_and_where() -> None:
    plan = small(
        maps={"m": {"starts": 'event.type == "a" && !incident("M").open', "reaches_goal": 'event.type == "b"',
                    "stages": {"s": {"reached": 'incident("S").open'}}}},
        audiences={"a": {"when": 'incident("A").open'}, "aa": {"when": 'incident("AA").open'}},
        guardrails={"g": {"suppress_when": 'in_audience("a") || incident("G").open', "reason": "r"}},
    )  # fmt: skip
    assert plan.incidents == {"M", "S", "A", "AA", "G"}
    assert plan.incidents_of("maps.") == {"M", "S"}
    assert plan.incidents_of("audiences.a.") == {"A"}


# In maps.

MAPPED = small(
    maps={
        "upload": {
            "starts": f'event.type == "upload.failed" && incident("{X}").open', "key": "event.properties.n",
            "reaches_goal": 'event.type == "upload.done"', "abandons": {"after": "30d"},
        }
    },
    audiences={"told": {"when": f'incident("{X}").open'}},
)  # fmt: skip


def started(plan: Plan, facts: list[Fact]) -> list[str]:
    return sorted(key for _, key in fold(plan, facts).journeys)


def test_a_map_reads_an_incident_as_of_the_facts_own_time() -> None:
    facts = [fact("upload.failed", at, n=at) for at in ("30m", "1h", "2h", "3h")]
    told = workspace(incident(X, OPENED, "1h"), incident(X, FIXED, "3h"))
    assert started(MAPPED.on(told), facts) == ["1h", "2h"]
    assert started(MAPPED.on(told), facts[::-1]) == ["1h", "2h"]
    assert started(MAPPED, facts) == []


@law()
@given(tellings(), tellings(most=3), st.lists(st.sampled_from(INSTANTS), max_size=6))
def test_what_was_folded_before_two_workspaces_differ_is_the_same_in_both(
    before: list[Fact], more: list[Fact], instants: list[int]
) -> None:
    """What the hub relies on when it keeps what it folded: the name of a fold is its past, not its future."""
    facts = [fact("upload.failed", at, seq=n, n=n) for n, at in enumerate(instants)]
    old, new = MAPPED.on(workspace(*before)), MAPPED.on(workspace(*before, *more))
    content = fold(old, facts)
    kept = content.at < new.folds_otherwise_from(old)
    assert kept == (old.folded_as(content.at) == new.folded_as(content.at))
    if kept:
        assert encode(content, old) == encode(fold(new, facts), new)


def test_a_plan_whose_maps_read_no_incident_is_folded_as_its_digest_whatever_is_told() -> None:
    plan = asked(f'incident("{X}").open')
    told = plan.on(workspace(incident(X, OPENED, "1h")))
    assert told.folded_as(BEGIN + DAY) == plan.folded_as(0) == plan.digest == told.digest
    assert told.folds_otherwise_from(plan) == NEVER


def test_an_own_fact_is_laid_over_with_the_incidents_of_now() -> None:
    plan = MAPPED.on(workspace(incident(X, OPENED, "1h")))
    grant = plan.grant("app")
    shown = receive(project(fold(plan, []), plan, grant, "service", BEGIN)[0])
    pending = [fact("upload.failed", "2h", n="T")]
    assert list(overlaid(shown, plan, pending).content.journeys) == [("upload", "T")]
    assert list(overlaid(shown, MAPPED, pending).content.journeys) == []


# In guardrails and decisions.


def test_a_guardrail_holds_back_until_the_fixing_that_is_known() -> None:
    plan = small(guardrails={"g": {"suppress_when": f'incident("{X}").open', "reason": "Broken."}})
    told = plan.on(workspace(incident(X, OPENED, "1h"), incident(X, FIXED, "3h")))
    verdict = told.guardrails["g"].verdict(Scope(Content(), BEGIN + 2 * HOUR, told, action={}))
    assert (verdict.kind, verdict.until) == ("BLOCK", BEGIN + 3 * HOUR)
    assert told.guardrails["g"].verdict(Scope(Content(), BEGIN, told, action={})).flips_at == BEGIN + HOUR


def test_what_a_touchpoint_may_not_see_is_shipped_with_the_flips_of_incidents() -> None:
    plan = small(
        traits={"tier": {"type": "string", "label": "secret"}},
        guardrails={"g": {"suppress_when": f'incident("{X}").open && trait.tier == "high"', "reason": "Broken."}},
        touchpoints={"mail": {"channel": "email", "reads": {"marketing": ["activity"]}}},
    ).on(workspace(incident(X, OPENED, "1h"), incident(X, FIXED, "3h")))
    content = fold(plan, [trait("tier", "high", "0s")])
    shipped = receive(project(content, plan, plan.grant("mail"), "marketing", BEGIN)[0]).guardrails["g"]
    assert [(i.since - BEGIN, i.kind) for i in shipped] == [(0, "ALLOW"), (HOUR, "BLOCK"), (3 * HOUR, "ALLOW")]


def test_a_decision_function_reads_it_and_the_decision_remembers_what_was_read() -> None:
    plan = small().on(
        workspace(
            incident(X, OPENED, "1h", title="Uploads fail", workaround="Use the web"), incident("B", OPENED, "0s")
        )
    )
    context = seen_by(plan, [fact("x", "0s")], "2h")
    found = context.incident(X)
    assert (found.open, found.title, found.workaround) == (True, "Uploads fail", "Use the web")
    assert found.opened_at is not None
    assert found.opened_at.isoformat() == "2026-03-02T10:00:00+00:00"
    assert found.fixed_at is None
    assert [one.id for one in context.incidents()] == ["B", X]
    assert context.incident("never").open is False
    assert context.reads[0] == (f"incident({X!r}).open", True)
    assert context.reads[-2:] == [("incidents()", ["B", X]), ("incident('never').open", False)]
    assert not context.partial


def test_reading_changes_nothing_of_the_plan_that_it_was_made_of() -> None:
    plan = small()
    told = plan.on(workspace(incident(X, OPENED, "0s")))
    assert plan.workspace == QUIET
    assert told.digest == plan.digest
    assert told.maps is plan.maps
    assert told.on(Workspace()).workspace == QUIET


# In the SDK's machine, and on its disk.


def test_a_workspace_that_cannot_be_read_is_reported_and_the_last_one_stays() -> None:
    machine, told = Machine("chat-1", "test"), workspace(incident(X, OPENED, "1h"))
    machine.received(Incoming("workspace", {"digest": told.digest, "document": told.document}), 0)
    assert machine.plan.workspace == told
    for document in ({"incidents": {X: [7]}}, {"incidents": None}, {}, []):
        message = Incoming("workspace", {"digest": "?", "document": document})
        prepare(message)
        assert machine.received(message, 0) == []
        assert machine.errors[-1].startswith("WORKSPACE_INVALID: ")
        assert machine.plan.workspace == told
    (hello,) = machine.connected()
    assert hello.fields["workspace"] == told.digest


def test_a_new_plan_at_an_sdk_is_read_with_the_workspace_that_it_holds() -> None:
    machine, told, plan = Machine("chat-1", "test"), workspace(incident(X, OPENED, "1h")), small()
    machine.received(Incoming("workspace", {"digest": told.digest, "document": told.document}), 0)
    machine.received(Incoming("plan", {"digest": plan.digest, "document": plan.document}), 0)
    assert (machine.plan.digest, machine.plan.workspace) == (plan.digest, told)


def test_a_workspace_is_kept_with_its_plan_and_never_without(tmp_path: Path) -> None:
    kept, told, plan = Persistence(tmp_path, "chat", contexts=False), workspace(incident(X, OPENED, "1h")), small()
    kept.keep_plan(WAITING.on(told))
    assert list(tmp_path.iterdir()) == [], "what waits for a plan is not one"
    kept.keep_plan(plan.on(told))
    again = Persistence(tmp_path, "chat", contexts=False).plan()
    assert again is not None
    assert (again.digest, again.workspace) == (plan.digest, told)
