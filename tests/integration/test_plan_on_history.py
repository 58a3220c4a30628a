"""A new plan sees history: its maps show last month's journeys, its limits decide who is one, a rollback restores."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import apsw
import pytest
from segue.domain.fact import EVENT, Fact, derived_id, properties_bytes
from segue.domain.identifier import Identifier
from segue_hub.testing import RunningHub, run_hub

from tests.building import SKETCH, document
from tests.waiting import eventually

DAY = 86_400_000_000
START = 1_772_442_000_000_000


def event(type_: str, at: int, *names: Identifier, **properties: Any) -> Fact:
    """An event long ago."""
    id_ = derived_id(at, type_, str(names))
    return Fact(id_, EVENT, type_, at, 0, names, raw=properties_bytes(properties))


def account(number: int) -> Identifier:
    return Identifier("account", f"A-{number}")


def publish(hub: RunningHub, facts: list[Fact]) -> None:
    grant = hub.hub.plans.current.grant("desk")
    results = hub.call(hub.hub.ingest.publish(facts, grant))
    assert {result.status for result in results} == {"ACCEPTED"}


def push(hub: RunningHub, plan: dict[str, Any]) -> str:
    stored, _ = hub.call(hub.hub.plans.push(plan, {}, "test", ""))
    hub.call(hub.hub.sweep.idle())
    return str(stored.digest)


def content(hub: RunningHub, name: Identifier) -> Any:
    async def read() -> Any:
        known = hub.hub.contexts.find(name)
        assert known is not None
        return hub.hub.contexts.read(known.customer).content

    return hub.call(read())


def without_maps() -> dict[str, Any]:
    plan = document(SKETCH)
    return {**plan, "maps": {}, "audiences": {}, "guardrails": {}}


@pytest.mark.parametrize("kept", [100_000, 4])
def test_a_map_added_today_shows_last_months_journeys_and_a_rollback_takes_them_away(tmp_path: Path, kept: int) -> None:
    with run_hub(store=tmp_path / "segue.db") as hub:
        hub.hub.contexts._limit = kept
        before = push(hub, without_maps())
        publish(hub, [event("transfer.failed", START + n, account(n), transfer_id="T") for n in range(40)])
        publish(hub, [event("help.searched", START + DAY + n, account(n)) for n in range(40)])
        assert content(hub, account(7)).journeys == {}
        after = push(hub, document(SKETCH))
        assert ("money_transfer", "T") in content(hub, account(7)).journeys
        assert hub.hub.store.outdated(after) == 0, "what was kept by the earlier plan is made anew"
        hub.call(hub.hub.plans.roll_back(before, "test"))
        hub.call(hub.hub.sweep.idle())
        assert content(hub, account(7)).journeys == {}
        assert hub.hub.store.outdated(before) == 0
        assert content(hub, account(7)).facts == 2


def test_new_limits_decide_anew_who_is_one_and_old_ones_again(tmp_path: Path) -> None:
    strict, loose = document(SKETCH), document(SKETCH)
    strict["identifiers"]["account"] |= {"per_customer": 1}
    loose["identifiers"]["account"] = {"priority": loose["identifiers"]["account"]["priority"]}
    mail = [Identifier("email", f"m{n}@x.org") for n in range(30)]
    with run_hub(store=tmp_path / "segue.db") as hub:
        push(hub, loose)
        for n in range(30):
            publish(hub, [event("page.viewed", START + n, account(n), mail[n])])
            publish(hub, [event("page.viewed", START + DAY + n, account(100 + n), mail[n])])

        def customers() -> int:
            return int(hub.hub.store.counts()["customers"])

        assert customers() == 30
        loosely = content(hub, account(3)).facts
        push(hub, strict)
        assert customers() == 60
        assert content(hub, account(3)).facts == 1
        assert content(hub, account(103)).facts == 1
        assert hub.hub.store.verdicts() == {"PER_CUSTOMER:account": 30}
        push(hub, loose)
        assert customers() == 30
        assert content(hub, account(3)).facts == loosely == 2
        assert hub.hub.store.verdicts() == {}


def test_a_value_that_a_new_plan_blocks_holds_nobody_together_and_an_earlier_plan_holds_again(tmp_path: Path) -> None:
    """Everybody who gave the shop's own number had become one; the plan that blocks it takes all of them apart."""
    shop, plan = Identifier("phone", "+49301234567"), document(SKETCH)
    with run_hub(store=tmp_path / "segue.db") as hub:
        before = push(hub, plan)
        publish(hub, [event("transfer.failed", START + n, account(n), shop, transfer_id="T") for n in range(3)])

        def apart() -> int:
            return len({hub.hub.contexts.find(account(n)).customer for n in range(3)})  # type: ignore[union-attr]  # there

        assert apart() == 1
        push(hub, {**plan, "blocked": [*plan.get("blocked", []), shop.value]})
        assert apart() == 3
        assert len(content(hub, account(1)).timeline) == 1
        assert list(hub.hub.store.check()) == []
        hub.call(hub.hub.plans.roll_back(before, "test"))
        hub.call(hub.hub.sweep.idle())
        assert apart() == 1


def test_a_sweep_that_was_cut_off_is_done_at_the_next_start(tmp_path: Path) -> None:
    strict, loose = document(SKETCH), document(SKETCH)
    strict["identifiers"]["account"] |= {"per_customer": 1}
    loose["identifiers"]["account"] = {"priority": loose["identifiers"]["account"]["priority"]}
    mail = Identifier("email", "m@x.org")
    with run_hub(store=tmp_path / "segue.db") as hub:
        push(hub, loose)
        publish(hub, [event("page.viewed", START, account(1), mail), event("page.viewed", START + 1, account(2), mail)])
        hub.call(hub.hub.sweep.close())
        hub.call(hub.hub.plans.push(strict, {}, "test", ""))
        assert hub.hub.store.counts()["customers"] == 1
    with run_hub(store=tmp_path / "segue.db") as hub:
        eventually(lambda: hub.hub.store.counts()["customers"] == 2)


def test_links_of_a_store_from_before_they_were_kept_are_found_in_the_log(tmp_path: Path) -> None:
    mail = Identifier("email", "m@x.org")
    with run_hub(store=tmp_path / "segue.db") as hub:
        push(hub, document(SKETCH))
        publish(hub, [event("page.viewed", START, account(1), mail)])
    with contextlib.closing(apsw.Connection(str(tmp_path / "segue.db"))) as file:
        file.execute("DELETE FROM links; DELETE FROM meta WHERE name = 'identity.links'")
    with run_hub(store=tmp_path / "segue.db") as hub:
        hub.call(hub.hub.sweep.idle())
        number = hub.hub.store.resolve(mail).number
        assert [(row.at, row.verdict) for row in hub.hub.store.links(number)] == [(START, "")]
