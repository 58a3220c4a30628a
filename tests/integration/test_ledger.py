"""The ledger: every cursor hears exactly the differences, each with its own instant, whatever happened (TI2)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from segue.domain.fact import EVENT, Fact
from segue.domain.plan import Plan
from segue_hub.services import cursors, ledger_listeners, ledger_recovery
from segue_hub.services.failure import Refusal
from segue_hub.services.kept_audiences import Key
from segue_hub.storage.memory import MemoryStore
from segue_hub.storage.ports import Store
from segue_hub.storage.sqlite import SqliteStore

from tests.building import BEGIN, DAY, HOUR, MINUTE, document, fact, incident, who
from tests.ledgering import Host, Parts, numbers, run

SECOND = 1_000_000
SKETCH: dict[str, Any] = {
    "identifiers": {"account": {"priority": 1, "per_customer": 1}, "cookie": {"priority": 9}},
    "events": {"device.bought": {}, "device.activated": {}, "page.seen": {}},
    "channels": {"web": {}, "app": {}},
    "maps": {
        "activation": {
            "starts": 'event.type == "device.bought"', "key": "event.properties.device",
            "reaches_goal": 'event.type == "device.activated"', "stages": {},
            "stalls": {"after": "3d"}, "abandons": {"after": "60d"}, "title": "Activate it",
        }
    },
    "audiences": {
        "stalled": {"when": "journey.activation.stalled"},
        "about": {"when": 'seen("app", "1h")'},
        "warned": {"when": 'seen("web", "1h") && incident("IOS-1").open'},
    },
    "guardrails": {},
}  # fmt: skip


def plan_with(**changed: Any) -> Plan:
    return Plan(document({**SKETCH, **changed}))


PLAN = plan_with()


def bought(at: int | str, *names: str, device: str = "d1", **more: Any) -> Fact:
    return fact("device.bought", at, *names, device=device, **more)


def activated(at: int | str, *names: str, device: str = "d1", **more: Any) -> Fact:
    return fact("device.activated", at, *names, device=device, **more)


Act = Callable[[Callable[..., Parts]], Coroutine[Any, Any, None]]


@pytest.fixture(params=["memory", "sqlite"])
def playing(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Act], None]:
    """Plays an act, which opens hubs one after the other on one store."""

    def play(act: Act) -> None:
        opened: list[Store] = []

        def hub(now: int = BEGIN, plan: Plan = PLAN) -> Parts:
            if request.param == "memory":
                opened[:] = opened or [MemoryStore()]
                return Parts(opened[0], now, plan)
            for store in opened:
                store.close()
            opened[:] = [SqliteStore(tmp_path / "segue.db")]
            return Parts(opened[0], now, plan)

        try:
            run(lambda: act(hub))
            assert [fault for store in opened for fault in store.check()] == []
        finally:
            for store in opened:
                store.close()

    return play


# Silence.


def test_a_silence_is_told_at_its_instant_and_taken_back_by_a_late_fact_as_retracted(playing: Any) -> None:
    async def act(hub: Any) -> None:
        parts, crm = hub(), Host
        host = crm(parts)
        await parts.listen(host, "stalled")
        await parts.tell(bought(BEGIN, "account=A-1"))
        await parts.advance(3 * DAY - 1)
        assert host.heard == []
        await parts.advance(1)
        one = parts.customer(*who("account=A-1"))
        assert numbers(host.heard) == [(one, False, BEGIN + 3 * DAY, "")]
        await parts.advance(2 * DAY)
        await parts.tell(activated(BEGIN + 3 * DAY - 1, "account=A-1"))
        assert numbers(host.heard)[1:] == [(one, True, BEGIN + 5 * DAY, "retracted")]
        await parts.close()

    playing(act)


@pytest.mark.parametrize(
    ("after", "reason"),
    [(-1, "retracted"), (0, ""), (1, ""), (HOUR, "")],
    ids=["just before the deadline", "at the deadline", "just after it", "an hour after it"],
)
def test_only_what_happened_before_the_deadline_retracts_the_stall(playing: Any, after: int, reason: str) -> None:
    async def act(hub: Any) -> None:
        parts = hub()
        host = Host(parts)
        await parts.listen(host, "stalled")
        await parts.tell(bought(BEGIN, "account=A-1"))
        await parts.advance(3 * DAY + 2 * HOUR)
        await parts.tell(activated(BEGIN + 3 * DAY + after, "account=A-1"))
        assert [(t.left, t.reason) for t in host.heard] == [(False, ""), (True, reason)]
        await parts.close()

    playing(act)


def test_a_membership_that_ends_by_time_is_not_retracted_by_a_fact_that_changes_nothing_of_it(playing: Any) -> None:
    async def act(hub: Any) -> None:
        parts = hub()
        host = Host(parts)
        await parts.listen(host, "about")
        await parts.tell(fact("page.seen", BEGIN, "account=A-1", channel="app"))
        await parts.tell(fact("page.seen", BEGIN - 30 * MINUTE, "account=A-1", channel="web"))
        await parts.advance(2 * HOUR)
        assert [(t.left, t.at - BEGIN, t.reason) for t in host.heard] == [(False, 0, ""), (True, HOUR, "")]
        await parts.close()

    playing(act)


def test_a_hub_that_slept_replays_each_flip_at_its_own_instant_in_order(playing: Any) -> None:
    """A joins and leaves, B joins, all while nothing runs (TI8)."""

    async def act(hub: Any) -> None:
        parts = hub()
        host = Host(parts)
        await parts.listen(host, "stalled")
        await parts.tell(bought(BEGIN, "account=A-1"), bought(BEGIN + 0, "account=A-2", device="d2"))
        await parts.advance(DAY)
        await parts.tell(bought(BEGIN + DAY, "account=A-3", device="d3"))
        one, two, three = (parts.customer(*who(f"account=A-{n}")) for n in (1, 2, 3))
        await parts.kill()
        again = hub(BEGIN + 100 * DAY)
        later = Host(again)
        await again.listen(later, "stalled")
        assert numbers(later.heard) == [
            (one, False, BEGIN + 3 * DAY, ""), (two, False, BEGIN + 3 * DAY, ""),
            (three, False, BEGIN + 4 * DAY, ""),
            (one, True, BEGIN + 60 * DAY, ""), (two, True, BEGIN + 60 * DAY, ""), (three, True, BEGIN + 61 * DAY, ""),
        ]  # fmt: skip
        assert again.contexts.counts["loads"] < 20
        await again.close()

    playing(act)


def test_a_fact_that_comes_before_what_fell_due_was_asked_loses_neither(playing: Any) -> None:
    """The hub is behind: a customer's stall is due, not asked yet, and her activation arrives."""

    async def act(hub: Any) -> None:
        parts = hub()
        host = Host(parts)
        await parts.listen(host, "stalled")
        await parts.tell(bought(BEGIN, "account=A-1"))
        parts.now += 3 * DAY + 5
        await parts.tell(activated(BEGIN + 3 * DAY + 5, "account=A-1"))
        assert [(t.left, t.at - BEGIN - 3 * DAY, t.reason) for t in host.heard] == [(False, 0, ""), (True, 5, "")]
        await parts.close()

    playing(act)


def test_so_it_is_where_her_context_is_not_in_memory(playing: Any) -> None:
    async def act(hub: Any) -> None:
        parts = hub()
        host = Host(parts)
        await parts.listen(host, "stalled")
        await parts.tell(bought(BEGIN, "account=A-1"))
        parts.contexts._heads.clear()
        parts.now += 3 * DAY + 5
        await parts.tell(activated(BEGIN + 3 * DAY + 5, "account=A-1"))
        assert [(t.left, t.at - BEGIN - 3 * DAY) for t in host.heard] == [(False, 0), (True, 5)]
        await parts.close()

    playing(act)


def test_a_fact_that_lies_ahead_tells_nobody_a_time_that_is_still_to_come(playing: Any) -> None:
    async def act(hub: Any) -> None:
        parts = hub()
        host = Host(parts)
        await parts.listen(host, "about")
        await parts.tell(fact("page.seen", BEGIN + MINUTE, "account=A-1", channel="app"))
        await parts.advance(HOUR)
        assert [(t.left, t.at - BEGIN) for t in host.heard] == [(False, 0)]
        await parts.advance(MINUTE)
        assert [(t.left, t.at - BEGIN) for t in host.heard[1:]] == [(True, HOUR + MINUTE)]
        await parts.close()

    playing(act)


# Those who were told.


def test_who_was_told_is_told_of_the_retraction_after_hub_and_host_were_killed(playing: Any) -> None:
    async def act(hub: Any) -> None:
        parts = hub()
        host = Host(parts)
        await parts.listen(host, "stalled")
        await parts.tell(bought(BEGIN, "account=A-1"))
        await parts.advance(3 * DAY)
        assert len(host.heard) == 1
        await parts.advance(SECOND)
        await parts.kill()
        again = hub(BEGIN + 4 * DAY)
        await again.tell(activated(BEGIN + DAY, "account=A-1"))  # nobody is connected
        later = Host(again)
        await again.listen(later, "stalled", heard=0)
        assert [(t.left, t.reason) for t in later.heard if t.number > 1] == [(True, "retracted")]
        await again.close()

    playing(act)


def test_a_hub_killed_between_a_fact_and_its_telling_tells_it_when_it_is_back_as_of_then(playing: Any) -> None:
    async def act(hub: Any) -> None:
        parts = hub()
        host = Host(parts)
        await parts.listen(host, "stalled")
        await parts.tell(bought(BEGIN, "account=A-0", device="d0"))
        ledger_task = parts.ledger._task
        assert ledger_task is not None
        ledger_task.cancel()  # from here on nothing is derived: as if killed just after the commit
        facts = [bought(BEGIN + n, f"account=A-{n}", device=f"d{n}") for n in range(1, 30)]
        parts.now += SECOND
        for one in facts:
            await parts.ingest.publish([one], _everything())
        await parts.kill()
        again = hub(BEGIN + 90 * DAY)
        later = Host(again)
        await again.listen(later, "stalled")
        assert [(t.left, t.at - BEGIN) for t in later.heard] == [
            *((False, 3 * DAY + n) for n in range(30)), *((True, 60 * DAY + n) for n in range(30))
        ]  # fmt: skip
        await again.close()

    playing(act)


def _everything() -> Any:
    from segue.domain.grant import everything

    return everything("test")


def test_what_was_told_and_not_acknowledged_is_told_again_with_the_same_number_and_the_rest_not(playing: Any) -> None:
    async def act(hub: Any) -> None:
        parts = hub()
        host = Host(parts, acknowledges=False)
        await parts.listen(host, "about")
        for number in range(6):
            await parts.tell(fact("page.seen", BEGIN, f"account=A-{number}", channel="app"))
        assert host.cursor is not None
        parts.ledger.heard(host.cursor, 4)
        await parts.tell(fact("page.seen", BEGIN, "account=A-9", channel="web"))
        await parts.close()
        again = hub()
        later = Host(again)
        await again.listen(later, "about")
        assert later.heard == host.heard[4:]
        await again.close()

    playing(act)


def test_who_says_how_far_it_heard_hears_only_what_is_behind(playing: Any) -> None:
    async def act(hub: Any) -> None:
        parts = hub()
        host = Host(parts, acknowledges=False)
        await parts.listen(host, "about")
        for number in range(4):
            await parts.tell(fact("page.seen", BEGIN, f"account=A-{number}", channel="app"))
        again = Host(parts)
        await parts.listen(again, "about", heard=3)
        assert host.cursor is None, "the same process listens at its new stream"
        assert again.heard == host.heard[3:]
        await parts.listen(again, "about", heard=10**9)
        await parts.tell(fact("page.seen", BEGIN, "account=A-5", channel="app"))
        assert len(again.heard) == 2, "nothing that was not told yet counts as heard"
        await parts.close()

    playing(act)


def test_one_of_several_processes_hears_and_the_next_goes_on_where_it_stopped(playing: Any) -> None:
    async def act(hub: Any) -> None:
        parts = hub()
        first, second, third = (Host(parts, name) for name in ("one", "two", "three"))
        for host in (first, second, third):
            await parts.listen(host, "about")
        await parts.tell(fact("page.seen", BEGIN, "account=A-1", channel="app"))
        assert first.cursor is not None
        first.cursor.leave(first)
        await parts.tell(fact("page.seen", BEGIN, "account=A-2", channel="app"))
        assert second.cursor is not None
        second.cursor.leave(third)
        second.cursor.leave(second)
        await parts.tell(fact("page.seen", BEGIN, "account=A-3", channel="app"))
        assert [len(host.heard) for host in (first, second, third)] == [1, 1, 0]
        fourth = Host(parts, "four")
        await parts.listen(fourth, "about")
        assert len(fourth.heard) == 1
        await parts.close()

    playing(act)


def test_cursors_hear_each_on_their_own_and_a_new_one_begins_with_all_who_are_members(playing: Any) -> None:
    async def act(hub: Any) -> None:
        parts = hub()
        first = Host(parts)
        await parts.tell(fact("page.seen", BEGIN, "account=A-1", channel="app"))
        await parts.listen(first, "about", "export")
        assert len(first.heard) == 1
        await parts.advance(10 * MINUTE)
        await parts.tell(fact("page.seen", BEGIN + 10 * MINUTE, "account=A-2", channel="app"))
        scans = parts.contexts.counts["loads"]
        second = Host(parts)
        await parts.listen(second, "about", "ads")
        assert parts.contexts.counts["loads"] == scans, "nobody is derived for a second cursor"
        assert [(t.customer, t.at) for t in second.heard] == [(t.customer, t.at) for t in first.heard]
        await parts.advance(55 * MINUTE)
        assert first.members == second.members == parts.scanned("about")
        await parts.close()

    playing(act)


# Who is one customer.


def test_after_a_merge_who_is_no_more_leaves_and_the_other_joins_and_a_split_brings_both_back(playing: Any) -> None:
    async def act(hub: Any) -> None:
        parts = hub()
        host = Host(parts)
        await parts.listen(host, "stalled")
        await parts.tell(bought(BEGIN, "cookie=c1"))
        await parts.advance(3 * DAY)
        cookie = parts.customer(*who("cookie=c1"))
        linking = fact("page.seen", BEGIN + 3 * DAY, "account=A-1", "cookie=c1")
        await parts.tell(linking)
        account = parts.customer(*who("account=A-1"))
        assert numbers(host.heard)[1:] == [
            (cookie, True, BEGIN + 3 * DAY, "identity"), (account, False, BEGIN + 3 * DAY, "identity")
        ]  # fmt: skip
        await parts.advance(HOUR)
        await parts.tell(
            fact("link", BEGIN + 3 * DAY, "account=A-1", "cookie=c1", kind="retraction", fact=linking.id.hex())
        )
        assert parts.customer(*who("cookie=c1")) == cookie
        assert host.members == parts.scanned("stalled") == {cookie}
        assert [(t.customer, t.left, t.reason) for t in host.heard[3:]] == [
            (account, True, "retracted"), (cookie, False, "identity")
        ]  # fmt: skip
        await parts.close()

    playing(act)


def test_a_hub_killed_just_after_a_merge_tells_of_it_when_it_is_back(playing: Any) -> None:
    async def act(hub: Any) -> None:
        parts = hub()
        host = Host(parts)
        await parts.listen(host, "stalled")
        await parts.tell(bought(BEGIN, "cookie=c1"))
        await parts.advance(3 * DAY)
        await parts.advance(SECOND)
        assert parts.ledger._task is not None
        parts.ledger._task.cancel()
        linking = fact("page.seen", BEGIN + 3 * DAY, "account=A-1", "cookie=c1")
        await parts.ingest.publish([linking], _everything())
        await parts.kill()
        again = hub(BEGIN + 4 * DAY)
        later = Host(again)
        await again.listen(later, "stalled", heard=1)
        assert [(t.left, t.reason) for t in later.heard] == [(True, "identity"), (False, "identity")]
        assert {t.customer for t in later.heard if not t.left} == again.scanned("stalled")
        await again.close()

    playing(act)


def test_customers_whom_other_limits_part_are_told_apart_also_by_a_hub_killed_in_that_moment(playing: Any) -> None:
    """No fact names them: only the unit that decided anew who is one knows."""

    async def act(hub: Any) -> None:
        strict = plan_with(identifiers_per_customer=1)
        parts = hub()
        host = Host(parts)
        await parts.listen(host, "stalled")
        await parts.tell(bought(BEGIN, "cookie=c1"), fact("page.seen", BEGIN, "account=A-1", "cookie=c1"))
        await parts.advance(3 * DAY)
        assert len(host.members) == 1
        await parts.plans.push(strict.document, {}, "t", "")
        await parts.quiet()
        assert parts.ledger._task is not None
        parts.ledger._task.cancel()
        await parts.ingest.decide_again(parts.store.linked(0, 100))
        await parts.kill()
        again = hub(BEGIN + 4 * DAY, strict)
        later = Host(again)
        await again.listen(later, "stalled", heard=host.heard[-1].number)
        told = host.members ^ {t.customer for t in later.heard}
        assert {t.left for t in later.heard} == {True, False}
        assert told == again.scanned("stalled") == {again.customer(*who("cookie=c1"))}
        await again.close()

    playing(act)


# Plans and incidents.


def test_a_plan_that_changes_what_a_map_means_tells_the_difference_and_one_that_does_not_asks_nobody(
    playing: Any,
) -> None:
    async def act(hub: Any) -> None:
        parts = hub()
        host = Host(parts)
        await parts.listen(host, "stalled")
        await parts.tell(bought(BEGIN, "account=A-1"))
        await parts.advance(4 * DAY)
        patient = {"activation": SKETCH["maps"]["activation"] | {"stalls": {"after": "5d"}}}
        await parts.plans.push(document({**SKETCH, "maps": patient}), {}, "t", "")
        await parts.quiet()
        assert [(t.left, t.at - BEGIN, t.reason) for t in host.heard[1:]] == [(True, 4 * DAY, "plan")]
        await parts.advance(DAY)
        assert [(t.left, t.at - BEGIN, t.reason) for t in host.heard[2:]] == [(False, 5 * DAY, "")]
        renamed = {"activation": patient["activation"] | {"title": "Make it work", "owner": "shop"}}
        other = {**SKETCH["audiences"], "stalled": {**SKETCH["audiences"]["stalled"], "title": "Waits"}}
        asked = []
        glance = parts.contexts.glance
        parts.contexts.glance = lambda customer: asked.append(customer) or glance(customer)
        await parts.plans.push(document({**SKETCH, "maps": renamed, "audiences": other}), {}, "t", "")
        await parts.quiet()
        assert asked == []
        assert len(host.heard) == 3
        await parts.close()

    playing(act)


def test_an_audience_that_the_plan_drops_is_left_by_all_and_joined_again_when_it_is_back(playing: Any) -> None:
    async def act(hub: Any) -> None:
        parts = hub()
        host = Host(parts)
        await parts.listen(host, "about")
        await parts.tell(fact("page.seen", BEGIN, "account=A-1", channel="app"))
        without = {name: body for name, body in SKETCH["audiences"].items() if name != "about"}
        await parts.plans.push(document({**SKETCH, "audiences": without}), {}, "t", "")
        await parts.quiet()
        assert [(t.left, t.reason) for t in host.heard] == [(False, ""), (True, "plan")]
        await parts.plans.push(document(SKETCH), {}, "t", "")
        await parts.quiet()
        assert [(t.left, t.reason) for t in host.heard[2:]] == [(False, "plan")]
        await parts.close()

    playing(act)


def test_a_scan_that_was_killed_is_begun_again_and_tells_nobody_twice(playing: Any) -> None:
    async def act(hub: Any) -> None:
        parts = hub()
        await parts.tell(*(fact("page.seen", BEGIN, f"account=A-{n}", channel="app") for n in range(300)))
        host = Host(parts, acknowledges=False)
        host.cursor = await parts.ledger.listen(Key("crm", "export", "about"), host, 0)
        await parts.kill()
        again = hub()
        later = Host(again)
        await again.listen(later, "about")
        assert later.members == again.scanned("about")
        assert len(later.heard) == 300
        await again.close()
        third = hub()
        asked: list[int] = []
        glance = third.contexts.glance
        third.contexts.glance = lambda customer: asked.append(customer) or glance(customer)
        last = Host(third)
        await third.listen(last, "about")
        assert (last.heard, asked) == ([], []), "what was found is found: no start and no listener scans"
        await third.close()

    playing(act)


def test_an_incident_that_opens_lets_join_and_one_that_ends_by_its_announcement_lets_leave(playing: Any) -> None:
    async def act(hub: Any) -> None:
        parts = hub()
        host = Host(parts)
        await parts.listen(host, "warned")
        await parts.tell(fact("page.seen", BEGIN, "account=A-1"))
        await parts.workspace.publish([incident("IOS-1", "opened", BEGIN)], _everything())
        await parts.quiet()
        assert [t.left for t in host.heard] == [False]
        await parts.workspace.publish([incident("IOS-1", "fixed", BEGIN + 10 * MINUTE)], _everything())
        await parts.quiet()
        await parts.advance(20 * MINUTE)
        assert [(t.left, t.at - BEGIN) for t in host.heard[1:]] == [(True, 10 * MINUTE)]
        await parts.close()

    playing(act)


# Bounds, names, ends.


def test_of_what_waits_for_long_only_the_difference_stays(playing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cursors, "BACKLOG", 40)
    monkeypatch.setattr(cursors, "WINDOW", 5)

    async def act(hub: Any) -> None:
        parts = hub()
        host = Host(parts, acknowledges=False)
        await parts.listen(host, "about")
        for number in range(80):
            await parts.tell(fact("page.seen", parts.now, f"account=A-{number % 4}", channel="app"))
            await parts.advance(2 * HOUR)
        await parts.tell(fact("page.seen", parts.now, "account=A-77", channel="app"))
        assert len(host.heard) == 5
        (cursor,) = parts.ledger.cursors()
        assert cursor["waiting"] < 90
        assert host.cursor is not None
        host.acknowledges = True
        parts.ledger.heard(host.cursor, 5)
        host.wake()
        await parts.quiet()
        assert host.members == parts.scanned("about") == {parts.customer(*who("account=A-77"))}
        assert len(host.heard) < 90
        await parts.close()

    playing(act)


def test_a_name_that_is_none_an_unknown_audience_and_too_many_cursors_are_refused(
    playing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_listeners, "CURSORS", 2)

    async def act(hub: Any) -> None:
        parts = hub()
        codes = []
        for name, audience in [("", "about"), ("x" * 101, "about"), ("a\n", "about"), ("ok", "abuot"),
                               ("one", "about"), ("two", "about"), ("three", "about")]:  # fmt: skip
            try:
                await parts.ledger.listen(Key("crm", name, audience), Host(parts), 0)
            except Refusal as error:
                codes.append((name[:3], error.code))
        assert codes == [
            ("", "INPUT_INVALID"), ("xxx", "INPUT_INVALID"), ("a\n", "INPUT_INVALID"), ("ok", "NAME_UNKNOWN"),
            ("thr", "OVERLOADED"),
        ]  # fmt: skip
        await parts.ledger.listen(Key("ads", "one", "about"), Host(parts), 0)
        await parts.close()

    playing(act)


def test_a_cursor_that_is_forgotten_keeps_nothing_and_the_same_name_begins_anew_with_other_ids(playing: Any) -> None:
    async def act(hub: Any) -> None:
        parts = hub()
        host = Host(parts)
        await parts.listen(host, "stalled")
        await parts.tell(bought(BEGIN, "account=A-1"))
        await parts.advance(3 * DAY)
        first = host.cursor
        assert first is not None
        with pytest.raises(Refusal, match="one listens at the cursor 'export'"):
            await parts.ledger.forget(Key("crm", "export", "stalled"))
        first.leave(host)
        await parts.ledger.forget(Key("crm", "export", "stalled"))
        assert parts.store.ledger.ledger_counts() == {"members": 0, "tellings": 0, "wake_ups": 0}
        assert parts.ledger.cursors() == parts.ledger.plain()["audiences"] == []
        with pytest.raises(Refusal, match="no cursor 'export'"):
            await parts.ledger.forget(Key("crm", "export", "stalled"))
        await parts.advance(DAY)
        again = Host(parts)
        await parts.listen(again, "stalled")
        assert again.cursor is not None
        assert again.cursor.number != first.number
        assert again.members == parts.scanned("stalled") != set()
        await parts.advance(60 * DAY)
        assert again.members == set()
        await parts.close()

    playing(act)


def test_wake_ups_are_written_when_they_become_earlier_and_not_when_they_move_on(playing: Any) -> None:
    async def act(hub: Any) -> None:
        parts = hub()
        host = Host(parts)
        await parts.listen(host, "about")
        written: list[tuple[int, int]] = []
        take = parts.ledger._memberships.wake_ups.take

        def watched(without: Any) -> Any:
            taken = take(without)
            written.extend(taken.items())
            return taken

        parts.ledger._memberships.wake_ups.take = watched
        for _ in range(50):
            await parts.tell(fact("page.seen", parts.now, "account=A-1", channel="app"))
            await parts.advance(MINUTE)
        one = parts.customer(*who("account=A-1"))
        assert written == [(one, BEGIN + HOUR)]
        await parts.advance(2 * HOUR)
        assert [(t.left, t.at - BEGIN) for t in host.heard] == [(False, 0), (True, 49 * MINUTE + HOUR)]
        await parts.close()

    playing(act)


def test_where_nobody_listens_nothing_is_kept(playing: Any) -> None:
    async def act(hub: Any) -> None:
        parts = hub()
        await parts.tell(bought(BEGIN, "account=A-1"))
        await parts.advance(10 * DAY)
        assert parts.store.ledger.ledger_counts() == {"members": 0, "tellings": 0, "wake_ups": 0}
        assert parts.ledger._memberships.wake_ups.fired == 0
        await parts.close()

    playing(act)


def test_a_recovery_in_many_pages_finds_everybody(playing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_recovery, "PAGE", 7)

    async def act(hub: Any) -> None:
        parts = hub()
        await parts.listen(Host(parts), "about")
        assert parts.ledger._task is not None
        parts.ledger._task.cancel()
        for number in range(40):
            one = fact("page.seen", BEGIN, f"account=A-{number}", channel="app", kind=EVENT)
            await parts.ingest.publish([one], _everything())
        await parts.kill()
        again = hub(BEGIN + SECOND)
        later = Host(again)
        await again.listen(later, "about")
        assert later.members == again.scanned("about")
        assert len(later.members) == 40
        await again.close()

    playing(act)
