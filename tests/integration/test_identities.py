"""Who is who, explained, tried out, and looked back on: services on a store, without a network."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from segue.domain.fact import DECISION, STATEMENTS, Fact, derived_id, properties_bytes
from segue.domain.identifier import Identifier
from segue.domain.identity import ACCEPTED, links_of, partition, select, statement_of
from segue.domain.plan import Plan
from segue_hub.services.failure import Refusal
from segue_hub.storage.memory import MemoryStore
from segue_hub.storage.sqlite import SqliteStore

from tests.building import BEGIN, DAY, MINUTE, action, document, fact, link
from tests.lives import PLAN, POOL, Lives, lives, statements
from tests.unit.logs import law

KINDS = PLAN.kinds


def said(kind: str, at: int, *names: str, **properties: Any) -> Fact:
    made = fact(kind, at, *names, **properties)
    return Fact(made.id, kind, kind, made.occurred_at, 0, made.identifiers, raw=made.raw)


def taken(*units: Sequence[Fact], plan: Plan = PLAN) -> Lives:
    found = Lives(plan=plan)
    for unit in units:
        found.take(unit)
    return found


# Previews.


@st.composite
def changes(draw: st.DrawFn) -> tuple[list[Fact], list[Fact]]:
    """A history, and something to be said about it."""
    history = draw(lives())
    said = []
    for number in range(draw(st.integers(1, 3))):
        at = BEGIN + draw(st.integers(0, 12)) * 5 * MINUTE
        if draw(st.booleans()):
            said.append(draw(statements(history, 100 + number, at)))
        else:
            names = draw(st.lists(st.sampled_from(POOL), min_size=2, max_size=3, unique=True))
            id_ = derived_id(at, "lives", f"{100 + number}")
            said.append(Fact(id_, "link", "link", at, 100 + number, tuple(names)))
    return history, said


@law(200)
@given(changes(), st.lists(st.integers(1, 4), max_size=3))
def test_what_a_preview_shows_is_what_happens(told: tuple[list[Fact], list[Fact]], sizes: list[int]) -> None:
    history, new = told
    world, rest = Lives(), list(history)
    for size in [*sizes, len(rest)]:
        batch, rest = rest[:size], rest[size:]
        world.take(batch)
    kept = copy.deepcopy((world.store.head(), world.store.verdicts(), world.everybody()))
    preview = world.previews.preview(new)
    concerned = world.previews.concerned(new)
    assert (world.store.head(), world.store.verdicts(), world.everybody()) == kept, "nothing is written"
    assert preview["before"] == world.previews.standing(concerned)

    now = world.now
    world.take(new)
    world.now = now
    assert preview["after"] == world.previews.standing(concerned)
    assert preview["customers_after"] == len(preview["after"])
    before, after = (
        {one for one in everybody if concerned.isdisjoint(name for name, _, _ in one)}
        for everybody in (kept[2], world.everybody())
    )
    assert before == after, "nobody else is another"


def test_a_preview_tells_of_journeys_consents_and_counts() -> None:
    world = taken([
        fact("transfer.started", "0s", "account=a0", "cookie=c0", transfer_id="T1"),
        fact("marketing", "1m", "account=a0", kind="consent", state="granted"),
        fact("marketing", "1m", "email=e1", kind="consent", state="withdrawn"),
        fact("value_tier", "2m", "email=e1", kind="trait", value="high"),
    ])  # fmt: skip
    plain = world.previews.preview([link("5m", "account=a0", "email=e1")])
    assert plain["changes"]
    assert [one["customer"] for one in plain["before"]] == ["account=a0", "email=e1"]
    (one,) = plain["after"]
    assert [own["identifier"] for own in one["identifiers"]] == ["account=a0", "email=e1", "cookie=c0"]
    assert one["consents"] == {"marketing": "withdrawn"}, "a merge never widens"
    assert one["traits"] == {"value_tier": "high"}
    assert [journey["key"] for journey in one["journeys"]] == ["T1"]
    assert one["facts"] == 5, "the link counts"


def test_a_preview_of_what_is_so_already_changes_nothing() -> None:
    together = link("1m", "account=a0", "cookie=c0")
    world = taken([together])
    assert not world.previews.preview([together])["changes"]
    assert not world.previews.preview([link("9m", "account=a0", "cookie=c0")])["changes"]
    world.take([fact("x", "1m", "account=a1"), fact("x", "1m", "account=a2")])
    plain = world.previews.preview([said("separation", BEGIN, "account=a1", "account=a2")])
    assert (plain["changes"], plain["unknown"]) == (False, [])
    assert world.previews.preview([link("9m", "account=a1", "cookie=c9")])["unknown"] == ["cookie=c9"]


# Explanations.


@law(200)
@given(lives(), st.lists(st.integers(1, 4), max_size=3), st.sampled_from(POOL))
def test_every_link_of_a_customer_is_told_with_its_verdict_and_every_refusal_has_a_reason(
    facts: list[Fact], sizes: list[int], name: Identifier
) -> None:
    world, rest = Lives(), list(facts)
    for size in [*sizes, len(rest)]:
        batch, rest = rest[:size], rest[size:]
        world.take(batch)
    links = [found for told in facts for found in links_of(told, KINDS)]
    statements = [statement_of(told, KINDS) for told in facts if told.kind in STATEMENTS]
    try:
        plain = world.explanations.explain(name)
    except Refusal:
        assert not any(name in told.identifiers for told in facts)
        return
    names = {i for told in facts for i in told.identifiers}
    selection, divided = select(links, statements), partition(KINDS, links, statements, names)
    own = selection.nodes(name)[-1]
    (hers,) = (set(nodes) for nodes in divided.clusters if own in nodes)
    assert {own["identifier"] for own in plain["identifiers"]} == {str(node.identifier) for node in hers}

    first: dict[Any, Any] = {}
    for found in sorted(selection.live, key=lambda one: (one.at, one.id)):
        pair = selection.node(found.strong, found.at), selection.node(found.weak, found.at)
        if hers & set(pair):
            first.setdefault(pair, found)
    told = {(one["strong"], one["weak"], one["fact"]): one for one in plain["links"] if one["verdict"] != "RETRACTED"}
    assert {(str(one.strong), str(one.weak), one.id.hex()) for one in first.values()} == set(told)
    for found in first.values():
        one = told[str(found.strong), str(found.weak), found.id.hex()]
        assert one["verdict"] == divided.verdicts[found]
        assert one["holds"] == (one["verdict"] == ACCEPTED)
        assert one["why"]
        if not one["holds"]:
            assert "other" in one or {found.strong, found.weak} <= {node.identifier for node in hers}
    assert sum(plain["refused"].values()) == sum(not one["holds"] for one in plain["links"])
    concerned = {str(node.identifier) for node in hers}
    for statement in statements:
        if concerned & {str(statement.strong), str(statement.weak)}:
            assert statement.id.hex() in {one["fact"] for one in plain["statements"]}


def why(world: Lives, name: str, verdict: str) -> dict[str, Any]:
    kind, _, value = name.partition("=")
    (found,) = (
        one for one in world.explanations.explain(Identifier(kind, value))["links"] if one["verdict"] == verdict
    )
    return dict(found)


def test_reasons_say_what_a_person_needs_to_know() -> None:
    world = taken([
        link("1m", "account=a0", "phone=p0"), link("2m", "account=a1", "phone=p0"),
        link("3m", "email=e0", "cookie=c0"), link("4m", "email=e1", "cookie=c0"),
        link("5m", "email=e2", "cookie=c0"), link("6m", "account=a2", "cookie=c0"),
    ])  # fmt: skip
    found = why(world, "phone=p0", "PER_CUSTOMER:account")
    assert found["why"] == "account=a1 already has 1 account and phone=p0 already has 1 account: a customer may have 1"
    assert found["other"] == {"customer": "account=a1", "identifiers": ["account=a1"], "count": 1}
    assert (found["type"], found["touchpoint"], found["position"]) == ("link", "test", 2)
    crowded = world.explanations.explain(Identifier("cookie", "c0"))
    assert crowded["refused"] == {"PARTNERS": 4}
    assert "cookie=c0 is linked with more than 3" in crowded["links"][0]["why"]

    world.take([said("separation", BEGIN, "account=a0", "phone=p0", reason="her father's number")])
    found = why(world, "account=a0", "SEPARATED")
    assert "said that these customers are two" in found["why"]
    (told,) = world.explanations.explain(Identifier("account", "a0"))["statements"]
    assert (told["kind"], told["effect"], told["holds"]) == ("separation", "these two are never one", True)
    assert told["reason"] == "her father's number"

    world.take([said("retraction", BEGIN + DAY, "account=a0", "phone=p0", fact=told["fact"])])
    effects = [one["effect"] for one in world.explanations.explain(Identifier("account", "a0"))["statements"]]
    assert "it was taken back" in effects


def test_an_ended_identifier_is_told_with_its_eras() -> None:
    world = taken([
        link("1m", "account=a0", "phone=p0"), said("ending", BEGIN + 5 * MINUTE, "account=a0", "phone=p0"),
        link("9m", "account=a1", "phone=p0"),
    ])  # fmt: skip
    ended = world.explanations.explain(Identifier("account", "a0"))
    assert ended["identifiers"][1] == {"identifier": "phone=p0", "since": None, "until": "2026-03-02T09:05:00Z"}
    assert [one["effect"] for one in ended["statements"]] == ["phone=p0 is another one from then on"]
    now = world.explanations.explain(Identifier("phone", "p0"))
    assert now["customer"] == "account=a1"
    assert now["identifiers"][1] == {"identifier": "phone=p0", "since": "2026-03-02T09:05:00Z", "until": None}
    assert [(one["strong"], one["holds"]) for one in now["links"]] == [("account=a1", True)]


def test_an_ending_of_what_did_not_hold_says_so() -> None:
    world = taken([link("1m", "account=a0", "phone=p0"), said("ending", BEGIN, "account=a1", "phone=p0")])
    effects = [one["effect"] for one in world.explanations.explain(Identifier("phone", "p0"))["statements"]]
    assert effects == ["nothing ended: the two were not linked then"]


def test_a_blocked_value_is_nobody_and_says_why() -> None:
    plain = taken([link("1m", "account=a0", "cookie=c0")]).explanations.explain(Identifier("cookie", "NULL"))
    assert plain["customer"] is None
    assert "stands for nobody" in plain["blocked"]


def test_size_is_told() -> None:
    plan = Plan(document({"identifiers": {"account": {"priority": 1}, "cookie": {"priority": 2}},
                          "identifiers_per_customer": 2}))  # fmt: skip
    world = taken([link("1m", "account=a0", "cookie=c0"), link("2m", "account=a0", "cookie=c1")], plan=plan)
    assert why(world, "account=a0", "SIZE:2")["why"] == "together they would have more than 2 identifiers"


# Affected decisions.


def decided(name: str, at: int, version: int, *names: str, value: str = "agent") -> Fact:
    raw = properties_bytes({"value": value, "version": version, "at": at, "plan": "", "freshness": "LIVE"})
    identifiers = fact("x", at, *names).identifiers
    return Fact(derived_id(at, "t", f"{name}{names}"), DECISION, name, at, 0, identifiers, "", "chat", None, raw)


def affected(world: Lives, name: str, limit: int = 100) -> dict[str, Any]:
    kind, _, value = name.partition("=")
    return asyncio.run(world.affected.of(Identifier(kind, value), limit))


@pytest.mark.parametrize("backend", ["memory", "sqlite"])
def test_decisions_on_a_wrong_merge_are_listed_once_it_is_undone(backend: str, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "segue.db") if backend == "sqlite" else MemoryStore()
    world = Lives(store)
    world.take([fact("help.searched", "0s", "account=a0", "phone=p0")])
    world.take([link("1m", "email=e0", "phone=p0")])
    world.take([decided("chat.route", BEGIN + 2 * MINUTE, 2, "email=e0")])
    world.take([action("offer.upsell", "3m", "account=a0")])
    assert affected(world, "email=e0")["affected"] == []
    world.take([said("retraction", BEGIN + DAY, "email=e0", "phone=p0")])
    world.take([decided("chat.route", BEGIN + DAY + 1, 5, "email=e0")])

    found = affected(world, "email=e0")
    assert (found["looked_at"], found["whole"], found["unknown"]) == (3, True, 0)
    done, chosen = found["affected"]
    assert (chosen["kind"], chosen["name"], chosen["value"], chosen["touchpoint"]) == (
        "decision", "chat.route", "agent", "chat"
    )  # fmt: skip
    assert chosen["held"] == ["account=a0", "email=e0", "phone=p0"]
    assert (chosen["now"], chosen["too_many"], chosen["missing"]) == (["email=e0"], ["account=a0", "phone=p0"], [])
    assert chosen["at"] == "2026-03-02T09:02:00Z"
    assert (done["kind"], done["name"], done["too_many"]) == ("action", "offer.upsell", ["email=e0"])
    assert affected(world, "account=a0") == found | {"asked": "account=a0", "customer": "account=a0"}
    assert affected(world, "email=e0", limit=1)["whole"] is False
    store.close()


def test_a_decision_taken_before_a_late_link_came_missed_somebody() -> None:
    world = taken(
        [fact("help.searched", "0s", "cookie=c0")],
        [decided("web.banner", BEGIN + 5 * MINUTE, 1, "cookie=c0")],
        [link("4m", "account=a0", "cookie=c0")],  # happened before, arrived after
    )
    (found,) = affected(world, "account=a0")["affected"]
    assert (found["held"], found["missing"]) == (["cookie=c0"], ["account=a0"])


def test_a_login_after_a_decision_makes_it_no_wrong_one() -> None:
    world = taken(
        [fact("help.searched", "0s", "cookie=c0")],
        [decided("web.banner", BEGIN + 5 * MINUTE, 1, "cookie=c0")],
        [link("6m", "account=a0", "cookie=c0")],
    )
    assert affected(world, "account=a0")["affected"] == []


def test_a_decision_on_nothing_and_one_of_another_hub_are_not_judged() -> None:
    foreign = decided("chat.route", BEGIN + 2 * MINUTE, 700, "account=a0")
    foreign = Fact(
        foreign.id, DECISION, foreign.type, foreign.occurred_at, 0, foreign.identifiers, "", "chat", None,
        properties_bytes(foreign.properties | {"hub": "ffffffff"}),
    )  # fmt: skip
    world = taken(
        [decided("chat.route", BEGIN + MINUTE, 0, "account=a0"), foreign], [link("0s", "account=a0", "phone=p0")]
    )
    found = affected(world, "account=a0")
    assert (found["affected"], found["unknown"], found["looked_at"]) == ([], 1, 2)


def test_decisions_through_a_crowded_identifier_are_found_though_it_links_nobody_any_more() -> None:
    world = taken(
        [link("1m", "email=e0", "cookie=c0"), link("2m", "email=e1", "cookie=c0")],
        [decided("chat.route", BEGIN + 3 * MINUTE, 2, "email=e1")],
        [link("2m", "account=a0", "cookie=c0"), link("2m", "phone=p0", "cookie=c0")],  # the kiosk's
    )
    (found,) = affected(world, "email=e0")["affected"]
    assert (found["about"], found["too_many"]) == ("email=e1", ["email=e0", "cookie=c0"])


def test_a_number_that_came_back_to_its_customer_is_named_once() -> None:
    world = taken([
        link("1m", "account=a0", "phone=p0"), said("ending", BEGIN + 5 * MINUTE, "account=a0", "phone=p0"),
        link("9m", "account=a0", "phone=p0"),
    ])  # fmt: skip
    known = world.contexts.find(Identifier("phone", "p0"))
    assert known is not None
    assert [str(name) for name in world.contexts.identifiers(known.customer)] == ["account=a0", "phone=p0"]
    explained = world.explanations.explain(Identifier("account", "a0"))
    assert [own["until"] for own in explained["identifiers"]] == [None, "2026-03-02T09:05:00Z", None]
