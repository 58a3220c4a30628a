"""Values held against the types that the vocabulary declares: by gRPC, by CloudEvents, by an import, by hand."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from segue.domain.identifier import parse_identifier
from segue_hub.checking.plan_check import check_plan
from segue_hub.testing import RunningHub, run_hub

from tests.calling import Caller, calling, event
from tests.commanding import Command

VOCABULARY = """
identifiers: {account: {priority: 1}}
channels: {web: {}}
traits:
  value_tier: {type: string, one_of: [low, mid, high]}
  in_arrears: {type: bool}
  orders:     {type: int}
  balance:    {type: double}
  city:       {type: string}
events:
  order.placed:
    properties: {number: string, amount: double, items: int, gift: bool, lines: list, address: map}
    aliases: {web: [OrderPlaced]}
  order.viewed: {}
unknown_events: accept
"""
PLAN = {"vocabulary.yaml": VOCABULARY, "touchpoints.yaml": "shop: {channel: web, writes: ['*', 'trait:*']}\n"}
SECRET = "Secret-4711"


def saying(unknown: str) -> dict[str, str]:
    return PLAN | {"vocabulary.yaml": VOCABULARY.replace("unknown_events: accept", f"unknown_events: {unknown}")}


@pytest.fixture(scope="module")
def hub() -> Iterator[RunningHub]:
    with run_hub(PLAN) as running:
        yield running


@pytest.fixture
def shop(hub: RunningHub) -> Iterator[Caller]:
    with calling(hub.address, hub.key("shop")) as caller:
        yield caller


def customer(hub: RunningHub, name: str) -> dict[str, Any]:
    async def read() -> dict[str, Any]:
        return hub.hub.reports.customer(parse_identifier(name))

    found: dict[str, Any] = hub.call(read())
    return found


# Traits.


@pytest.mark.parametrize(
    ("name", "value", "found", "allowed"),
    [
        ("in_arrears", "true", "string", "bool. Send true or false"),
        ("in_arrears", 1, "int", "bool. Send true or false"),
        ("in_arrears", None, "null", "bool. Send true or false"),
        ("orders", 1.0, "double", "int. Send a whole number"),
        ("orders", True, "bool", "int. Send a whole number"),
        ("balance", SECRET, "string", "double. Send a number"),
        ("balance", False, "bool", "double. Send a number"),
        ("city", 12, "int", "string. Send a text"),
        ("city", {"name": SECRET}, "map", "string. Send a text"),
        ("city", [SECRET], "list", "string. Send a text"),
        ("value_tier", 1, "int", "string. Send a text"),
        ("value_tier", "hihg", "string", "low, mid, high, and this is another string. Did you mean 'high'?"),
        ("value_tier", SECRET, "string", "low, mid, high, and this is another string. Known: high, low, mid"),
    ],
    ids=str,
)
def test_a_trait_of_another_type_or_value_is_refused_with_field_type_what_is_allowed_and_cure(
    shop: Caller, name: str, value: Any, found: str, allowed: str
) -> None:
    ((status, code, reason),) = shop.send(event(name, "account=V-1", kind="trait", value=value))
    assert (status, code) == ("REJECTED", "TRAIT_INVALID")
    assert reason.startswith("properties.value: ")
    assert f"trait {name!r}" in reason
    assert found in reason
    assert allowed in reason
    assert SECRET not in reason


@pytest.mark.parametrize(
    ("name", "value"),
    [("in_arrears", False), ("orders", 7), ("balance", 7), ("balance", 7.5), ("city", ""), ("value_tier", "high")],
)
def test_a_trait_of_its_type_is_taken(shop: Caller, hub: RunningHub, name: str, value: Any) -> None:
    assert shop.statuses(event(name, "account=V-2", kind="trait", value=value)) == ["ACCEPTED"]
    assert customer(hub, "account=V-2")["traits"][name]["value"] == value


def test_a_refused_trait_changes_nothing_and_the_rest_of_its_batch_is_taken(shop: Caller, hub: RunningHub) -> None:
    right, wrong = (event("orders", "account=V-3", kind="trait", value=value) for value in (1, "2"))
    assert shop.statuses(wrong, right, wrong) == ["REJECTED", "ACCEPTED", "REJECTED"]
    assert customer(hub, "account=V-3")["traits"]["orders"]["value"] == 1
    assert customer(hub, "account=V-3")["facts"] == 1


# Traits that the vocabulary does not know.


def test_unknown_traits_are_taken_and_counted_with_the_nearest_known_one(shop: Caller, hub: RunningHub) -> None:
    assert shop.statuses(*(event("in_arears", "account=V-4", kind="trait", value=n) for n in range(2))) == [
        "ACCEPTED", "ACCEPTED",
    ]  # fmt: skip
    assert customer(hub, "account=V-4")["traits"]["in_arears"]["value"] == 1
    entry = {"name": "in_arears", "count": 2, "nearest": "in_arrears"}
    assert hub.hub.overview.plain()["unknown_traits"] == [entry]
    assert "in_arears" in Command.of(hub, "shop").ok("status")
    with urllib.request.urlopen(f"{hub.http}/metrics", timeout=10) as response:
        assert 'segue_unknown_traits_total{name="in_arears"} 2.0' in response.read().decode()


def test_where_unknown_names_are_rejected_so_is_an_unknown_trait() -> None:
    with run_hub(saying("reject")) as hub, calling(hub.address, hub.key("shop")) as shop:
        ((status, code, reason),) = shop.send(event("in_arears", "account=A", kind="trait", value=True))
        assert (status, code) == ("REJECTED", "TRAIT_UNKNOWN")
        assert "Did you mean 'in_arrears'?" in reason
        assert shop.statuses(event("in_arrears", "account=A", kind="trait", value=True)) == ["ACCEPTED"]


def test_where_unknown_names_are_quarantined_an_unknown_trait_waits_until_it_is_known() -> None:
    with run_hub(saying("quarantine")) as hub, calling(hub.address, hub.key("shop")) as shop:
        assert shop.statuses(event("tier", "account=A", kind="trait", value="gold")) == ["ACCEPTED"]
        assert customer(hub, "account=A")["traits"] == {}
        known = VOCABULARY.replace("value_tier: {type: string, one_of: [low, mid, high]}", "tier: {type: string}")
        hub.push(PLAN | {"vocabulary.yaml": known})
        assert customer(hub, "account=A")["traits"]["tier"]["value"] == "gold"


def test_where_the_vocabulary_names_no_trait_every_trait_is_known() -> None:
    with run_hub({"vocabulary.yaml": "channels: {web: {}}\n"}) as hub, calling(hub.address, hub.key("shop")) as shop:
        assert shop.statuses(event("anything", "account=A", kind="trait", value={"a": [1]})) == ["ACCEPTED"]
        assert hub.hub.overview.plain()["unknown_traits"] == []


# Properties of events.


@pytest.mark.parametrize(
    ("field", "value", "found", "allowed"),
    [
        ("number", 77, "int", "string. Send a text"),
        ("amount", SECRET, "string", "double. Send a number"),
        ("amount", True, "bool", "double. Send a number"),
        ("items", 2.0, "double", "int. Send a whole number"),
        ("items", 1 << 63, "int", "int. Send a whole number of at most 64 bits"),
        ("gift", "yes", "string", "bool. Send true or false"),
        ("lines", {}, "map", "list. Send a list"),
        ("address", [], "list", "map. Send an object"),
    ],
    ids=str,
)
@pytest.mark.parametrize("type_", ["order.placed", "OrderPlaced"])
def test_an_event_with_a_property_of_another_type_is_refused(
    shop: Caller, type_: str, field: str, value: Any, found: str, allowed: str
) -> None:
    ((status, code, reason),) = shop.send(event(type_, "account=V-5", **{field: value}))
    assert (status, code) == ("REJECTED", "PROPERTY_INVALID")
    assert reason.startswith(f"properties.{field}: is of type {found}, but event 'order.placed' declares it as")
    assert allowed in reason
    assert SECRET not in reason


def test_what_is_absent_null_or_not_declared_says_nothing_wrong(shop: Caller) -> None:
    whole = event(
        "order.placed", "account=V-6", number="77", amount=1, items=-2, gift=False, lines=[], address={"a": 1}, more=[1]
    )
    assert shop.statuses(
        whole,
        event("order.placed", "account=V-6"),
        event("order.placed", "account=V-6", number=None, amount=None),
        event("order.viewed", "account=V-6", number=77),
        event("unheard.of", "account=V-6", number=77),
    ) == ["ACCEPTED"] * 5  # fmt: skip


# The other doors.


def test_a_cloud_event_with_a_wrong_value_is_refused(hub: RunningHub) -> None:
    def sent(**event: Any) -> tuple[int, dict[str, str]]:
        whole = {"id": "1", "source": "test", "subject": "account=V-7", **event}
        request = urllib.request.Request(
            f"{hub.http}/v1/events", json.dumps(whole).encode(), {"Authorization": f"Bearer {hub.key('shop')}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return response.status, json.load(response)["results"][0]
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)["results"][0]

    status, result = sent(type="orders", kind="trait", data={"value": "7"})
    assert (status, result["code"]) == (422, "TRAIT_INVALID")
    status, result = sent(type="order.placed", data={"amount": "7"})
    assert (status, result["code"]) == (422, "PROPERTY_INVALID")
    assert sent(type="orders", kind="trait", data={"value": 7})[0] == 200


def test_an_import_rejects_the_rows_with_wrong_values_with_the_hubs_reason(
    hub: RunningHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiers.csv").write_text("who,tier,orders\nA-1,high,1\nA-2,hihg,2\nA-3,low,3\n", encoding="utf-8")
    mapping = """
source: tiers
native_id: [who]
identifiers: {account: {column: who}}
facts:
  - {trait: value_tier, value: {column: tier}, at: {template: "2026-05-04T10:00:00Z"}}
  - {trait: orders, value: {column: orders%s}, at: {template: "2026-05-04T10:00:00Z"}}
"""
    shop = Command.of(hub, "shop")
    Path("tiers.yaml").write_text(mapping % "", encoding="utf-8")
    done = shop.json("import", "tiers.csv", "--mapping", "tiers.yaml")
    assert (done["rows"], done["kept"], done["rejected_rows"]) == (3, 0, 3)
    Path("tiers.yaml").write_text(mapping % ", as: int", encoding="utf-8")
    done = shop.json("import", "tiers.csv", "--mapping", "tiers.yaml")
    assert (done["rows"], done["kept"], done["rejected_rows"]) == (3, 2, 1)
    (line,) = Path("tiers.csv.rejects.jsonl").read_text(encoding="utf-8").splitlines()
    reject = json.loads(line)
    assert reject["row"] == 2
    assert "Did you mean 'high'?" in reject["reason"]
    assert "TRAIT_INVALID" in reject["cure"]


def test_a_fact_sent_by_hand_is_told_how_to_be_written(hub: RunningHub) -> None:
    shop = Command.of(hub, "shop")
    error = shop.fails(1, "events", "send", "order.placed", "account=V-8", "-p", "number=77")
    assert "Send a text" in error
    assert "PROPERTY_INVALID" in error
    shop.ok("events", "send", "order.placed", "account=V-8", "-p", 'number="77"')


# A plan that says what no trait can keep to.


@pytest.mark.parametrize(
    ("body", "message"),
    [("{type: int, one_of: ['1', '2']}", "of type int"), ("{type: string, one_of: []}", "is empty")],
)
def test_a_trait_that_could_have_no_value_is_refused_by_the_checker(body: str, message: str) -> None:
    checked = check_plan({"vocabulary.yaml": f"traits:\n  a: {{type: int}}\n  b: {body}\n"})
    (problem,) = checked.problems
    assert not checked.ok
    assert (problem.field, problem.line) == ("traits.b.one_of", 3)
    assert message in problem.message
    assert problem.cure
