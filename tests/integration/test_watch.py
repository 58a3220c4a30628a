"""Watching an audience by a cursor, between a real SDK and a real hub: nothing missed, nothing twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import segue
from segue import listening
from segue_hub.testing import RunningHub, run_hub

from tests.calling import Caller, calling, event
from tests.joining import joined
from tests.serving import free_port
from tests.waiting import eventually

TOUCHPOINTS = (
    "crm: {owner: o, channel: web, writes: ['*', 'trait:*'], reads: {service: [identity, audiences, activity]}}\n"
    "ads: {owner: o, channel: web, writes: [], reads: {marketing: [audiences]}}\n"
    "app: {owner: o, channel: web, writes: ['*', 'trait:*'], reads: {}}\n"
)
PLAN = {
    "vocabulary.yaml": "traits: {inside: {type: bool}}\nidentifiers: {account: {priority: 1}}\n"
    "channels: {web: {}}\nevents: {x: {}}\n",
    "audiences.yaml": "insiders: {owner: o, title: t, when: 'trait.inside'}\n",
    "touchpoints.yaml": TOUCHPOINTS,
}


class Ears:
    """A host's listener: what it heard, call by call."""

    def __init__(self) -> None:
        self.calls: list[list[segue.Telling]] = []
        self.fails = 0
        self.go_on = threading.Event()
        self.go_on.set()

    def __call__(self, tellings: list[segue.Telling]) -> None:
        self.calls.append(tellings)
        self.go_on.wait(10)
        if self.fails:
            self.fails -= 1
            raise ConnectionError("the CRM does not answer")

    @property
    def heard(self) -> list[segue.Telling]:
        return [telling for call in list(self.calls) for telling in call]

    @property
    def told(self) -> list[tuple[str, bool]]:
        return [(telling.identifiers[0].value, telling.left) for telling in self.heard]


@pytest.fixture
def hub() -> Iterator[RunningHub]:
    with run_hub(PLAN) as running:
        yield running


@pytest.fixture
def app(hub: RunningHub) -> Iterator[Caller]:
    with calling(hub.address, hub.key("app")) as caller:
        yield caller


def put(app: Caller, **inside: bool) -> None:
    """Customers join and leave."""
    facts = [event("inside", f"account={name}", kind="trait", value=value) for name, value in inside.items()]
    assert set(app.statuses(*facts)) == {"ACCEPTED"}


def waiting(hub: RunningHub) -> dict[str, Any]:
    (cursor,) = hub.hub.ledger.cursors()
    return dict(cursor)


def test_a_joiner_and_a_leaver_are_told_with_all_that_is_known_of_them_and_acknowledged(
    hub: RunningHub, app: Caller, tmp_path: Path
) -> None:
    with joined(hub, "crm", tmp_path) as crm:
        ears = Ears()
        put(app, a=True)
        crm.watch("insiders", ears, cursor="export")
        eventually(lambda: len(ears.heard) == 1)
        put(app, a=False, b=True)
        eventually(lambda: len(ears.heard) == 3)
        first, second, third = ears.heard
        assert (first.audience, first.joined, first.left, first.reason) == ("insiders", True, False, "")
        assert first.identifiers == (segue.Identifier("account", "a"),)
        assert {(t.identifiers[0].value, t.left) for t in (second, third)} == {("a", True), ("b", False)}
        assert first.at.tzinfo is not None
        assert len({t.id for t in ears.heard}) == 3
        eventually(lambda: waiting(hub)["waiting"] == 0)
        assert waiting(hub)["told"] == 3
        assert waiting(hub)["instances"] == [crm.runtime().machine.instance]


def test_a_listener_that_raises_is_told_the_same_again_and_no_other_waits_for_it(
    hub: RunningHub, app: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "FIRST", 0.01)
    with joined(hub, "crm", tmp_path) as crm:
        broken, whole = Ears(), Ears()
        broken.fails = 4
        crm.watch("insiders", broken, cursor="broken")
        crm.watch("insiders", whole, cursor="whole")
        put(app, a=True)
        eventually(lambda: len(whole.calls) == 1)
        eventually(lambda: len(broken.calls) == 5)
        assert len({tuple(t.id for t in call) for call in broken.calls}) == 1
        put(app, b=True)
        eventually(lambda: len(broken.calls) == 6)
        assert [t.identifiers[0].value for t in broken.calls[-1]] == ["b"]
        assert crm.status()["connection"] == "READY"


def test_while_a_listener_is_slow_contexts_and_hosts_go_on(hub: RunningHub, app: Caller, tmp_path: Path) -> None:
    with joined(hub, "crm", tmp_path) as crm, crm.session(account="s", wait=5) as session:
        ears = Ears()
        ears.go_on.clear()
        try:
            crm.watch("insiders", ears, cursor="export")
            put(app, a=True)
            eventually(lambda: ears.calls)
            app.send(event("x", "account=s"))
            eventually(lambda: session.context().count("x") == 1)
            assert waiting(hub)["told"] == 0, "what is being told was not heard yet"
        finally:
            ears.go_on.set()
        eventually(lambda: waiting(hub)["told"] == 1)


def test_without_a_watch_by_cursor_there_is_no_third_thread(hub: RunningHub, tmp_path: Path) -> None:
    with joined(hub, "crm", tmp_path) as crm:
        crm.watch_audience("insiders", lambda members, reset: None)
        assert sum(thread.name == "segue-listeners" for thread in threading.enumerate()) == 0
        crm.watch("insiders", Ears(), cursor="export")
        assert sum(thread.name == "segue-listeners" for thread in threading.enumerate()) == 1
    eventually(lambda: not any(thread.name == "segue-listeners" for thread in threading.enumerate()))


def test_after_a_restart_of_the_hub_the_host_hears_what_it_missed_and_nothing_twice(tmp_path: Path) -> None:
    port, store = free_port(), tmp_path / "segue.db"
    ears = Ears()
    with run_hub(PLAN, store=store, port=port) as hub:
        key, app_key = hub.key("crm"), hub.key("app")
        crm = segue.Touchpoint("crm", hub=hub.address, key=key, state=tmp_path / "crm")
        crm.watch("insiders", ears, cursor="export")
        with calling(hub.address, app_key) as app:
            put(app, a=True, b=True)
        eventually(lambda: len(ears.heard) == 2)
    with run_hub(store=store, port=port) as hub:
        with calling(hub.address, app_key) as app:
            put(app, a=False, c=True)
        eventually(lambda: len(ears.heard) == 4, 20)
        assert sorted(ears.told) == [("a", False), ("a", True), ("b", False), ("c", False)]
        assert len({t.id for t in ears.heard}) == 4
        crm.close()
        with calling(hub.address, app_key) as app:
            put(app, b=False)  # nobody is there
    later = Ears()
    with run_hub(store=store, port=port) as hub, joined(hub, "crm", tmp_path, key=key) as crm:
        crm.watch("insiders", later, cursor="export")
        eventually(lambda: later.told == [("b", True)])


def test_what_was_told_and_not_heard_is_told_to_the_next_process_with_the_same_ids(
    hub: RunningHub, app: Caller, tmp_path: Path
) -> None:
    first, second = Ears(), Ears()
    first.fails = 10**6
    with joined(hub, "crm", tmp_path) as crm:
        crm.watch("insiders", first, cursor="export")
        put(app, a=True)
        eventually(lambda: first.calls)
    with joined(hub, "crm", tmp_path) as crm:
        crm.watch("insiders", second, cursor="export")
        eventually(lambda: second.calls)
    assert [t.id for t in second.heard] == [t.id for t in first.calls[0]]


def test_of_two_processes_one_hears_and_the_other_takes_over(hub: RunningHub, app: Caller, tmp_path: Path) -> None:
    first, second = Ears(), Ears()
    with joined(hub, "crm", tmp_path / "2") as standing_by:
        with joined(hub, "crm", tmp_path / "1") as hearing:
            hearing.watch("insiders", first, cursor="export")
            eventually(lambda: len(hub.hub.ledger.cursors()) == 1 and waiting(hub)["instances"])
            standing_by.watch("insiders", second, cursor="export")
            eventually(lambda: len(waiting(hub)["instances"]) == 2)
            put(app, a=True)
            eventually(lambda: first.told == [("a", False)])
            eventually(lambda: waiting(hub)["told"] == 1)
        put(app, b=True)
        eventually(lambda: second.told == [("b", False)])
        assert first.told == [("a", False)]


def test_an_audience_that_comes_with_a_later_plan_is_watched_from_then_on(
    hub: RunningHub, app: Caller, tmp_path: Path
) -> None:
    with joined(hub, "crm", tmp_path) as crm:
        ears = Ears()
        crm.watch("outsiders", ears, cursor="export")
        eventually(lambda: any("Did you mean 'insiders'?" in error for error in crm.status()["errors"]))
        put(app, a=False)
        more = PLAN["audiences.yaml"] + "outsiders: {owner: o, title: t, when: '!trait.inside'}\n"
        hub.push({**PLAN, "audiences.yaml": more})
        eventually(lambda: ears.told == [("a", False)])


def test_a_touchpoint_hears_what_it_is_granted_and_what_waits_meanwhile_when_it_is_granted_again(
    hub: RunningHub, app: Caller, tmp_path: Path
) -> None:
    with joined(hub, "ads", tmp_path) as ads:
        refused, ears = Ears(), Ears()
        ads.watch("insiders", refused, cursor="service")
        eventually(lambda: any(error.startswith("NOT_GRANTED") for error in ads.status()["errors"]))
        ads.watch("insiders", ears, cursor="ads", purpose="marketing")
        put(app, a=True)
        eventually(lambda: len(ears.heard) == 1)
        assert ears.heard[0].identifiers == ()
        assert ears.heard[0].customer
        hub.push({**PLAN, "touchpoints.yaml": TOUCHPOINTS.replace("marketing: [audiences]", "marketing: [activity]")})
        eventually(lambda: ads.runtime().plan.digest == hub.hub.plans.current.digest)
        put(app, b=True)
        eventually(lambda: waiting(hub)["waiting"] == 1)
        hub.push(PLAN)
        eventually(lambda: len(ears.heard) == 2)
        assert refused.calls == []


def test_a_cursor_without_a_name_and_one_that_is_used_twice_are_refused_at_once(
    hub: RunningHub, tmp_path: Path
) -> None:
    with joined(hub, "crm", tmp_path) as crm:
        for name in ("", "x" * 101, "two\nlines"):
            with pytest.raises(segue.ConfigError, match="1 to 100 printable characters"):
                crm.watch("insiders", Ears(), cursor=name)
        crm.watch("insiders", Ears(), cursor="export")
        with pytest.raises(segue.ConfigError, match="already: give another name"):
            crm.watch("insiders", Ears(), cursor="export")


def test_a_listener_may_close_its_touchpoint(hub: RunningHub, app: Caller, tmp_path: Path) -> None:
    crm = segue.Touchpoint("crm", hub=hub.address, key=hub.key("crm"), state=tmp_path)
    closed = threading.Event()

    def tell(tellings: list[segue.Telling]) -> None:
        crm.close()
        closed.set()

    crm.watch("insiders", tell, cursor="export")
    put(app, a=True)
    assert closed.wait(10)


def test_another_history_is_heard_from_its_beginning(tmp_path: Path, app: Caller) -> None:
    """A hub with another store: what was heard of the first one says nothing of this one."""
    port, ears = free_port(), Ears()
    crm: segue.Touchpoint | None = None
    for turn in range(2):
        with run_hub(PLAN, store=tmp_path / f"{turn}.db", port=port) as hub:
            hub.call(hub.hub.touchpoints.issue("crm"))
            key = hub.key("crm")
            if crm is None:
                crm = segue.Touchpoint("crm", hub=hub.address, key=key, state=tmp_path / "crm")
                crm.watch("insiders", ears, cursor="export")
            else:
                assert crm.runtime()._transport is not None
                crm.runtime()._transport._metadata = (("authorization", f"Bearer {key}"),)
            with calling(hub.address, hub.key("app")) as caller:
                put(caller, **{f"{turn}{letter}": True for letter in "abc"})
            expected = 3 * (turn + 1)
            eventually(lambda n=expected: len(ears.heard) == n, 20)
    assert crm is not None
    crm.close()
    assert len({t.id for t in ears.heard}) == 6
