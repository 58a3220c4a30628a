"""Workspace facts through a real hub (FA5): taken once, kept, with the plan at every SDK, and read at once.

S4 and "stop marketing while it is broken": an incident opens, guardrails hold back and audiences dissolve everywhere,
also where the hub is down; it is fixed, and all goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
import segue
from segue.domain.fact import Fact
from segue.domain.grant import everything
from segue.domain.incident import FIXED, OPENED, incident_fact
from segue.domain.instant import SECOND, parse_instant
from segue.domain.plan import Plan
from segue.v1 import admin_service_pb2, sync_pb2
from segue.wire import fact_from_bytes, fact_to_bytes
from segue_hub.app import Hub
from segue_hub.services.failure import Refusal
from segue_hub.services.plans import News, Plans
from segue_hub.services.thrift import EAGER
from segue_hub.services.workspace import WorkspaceLog
from segue_hub.settings import Settings
from segue_hub.storage.memory import MemoryStore
from segue_hub.storage.ports import StoreBroken, StoreFull
from segue_hub.testing import RunningHub, run_hub

from tests.building import incident
from tests.calling import Caller, calling, event, now, refusal
from tests.joining import joined
from tests.streaming import Stream, streaming
from tests.waiting import eventually
from tests.watch_checks import sections

PLAN = {
    "guardrails.yaml": """
broken_uploads:
  applies_to: 'action.purpose == "marketing"'
  suppress_when: 'incident("IOS-1").open'
  reason: Uploads are broken.
""",
    "audiences.yaml": """
invited:
  when: 'seen("browsed") && !incident("IOS-2").open'
lately:
  when: 'seen("browsed", "1h")'
""",
    "maps/upload.yaml": """
map: upload
starts: 'event.type == "upload.failed" && incident("IOS-3").open'
key: 'event.properties.n'
reaches_goal: 'event.type == "upload.done"'
""",
    "touchpoints.yaml": """
mail: {channel: email, writes: ["browsed", "upload.*"], reads: {service: [activity, journeys, audiences, identity]}}
ops: {channel: web, writes: ["incident:*"], reads: {}}
""",
}


@pytest.fixture
def hub() -> Iterator[RunningHub]:
    with run_hub(PLAN) as running:
        yield running


@pytest.fixture
def ops(hub: RunningHub) -> Iterator[Caller]:
    with calling(hub.address, hub.key("ops")) as caller:
        yield caller


@pytest.fixture
def mail(hub: RunningHub) -> Iterator[Caller]:
    with calling(hub.address, hub.key("mail")) as caller:
        yield caller


def told(id: str, state: str, at: int = 0, *, seq: int | None = None, id_: bytes = b"", title: str = "") -> Fact:
    """A workspace fact of now; each call makes another one unless `id_` says which."""
    at = at or now()
    made = event("made", "account=A", at=at)
    return incident_fact(id_ or made.id, id, state, at, now() if seq is None else seq, title=title)


def offer(touchpoint: segue.Touchpoint) -> Any:
    """A question that proposes marketing."""
    return touchpoint.decision("offer", record="never")(lambda c: segue.Action("offer.plan", purpose="marketing"))


def journeys(frame: sync_pb2.ContextUpdate) -> list[str]:
    return [journey[1] for journey in sections(frame)["journeys"][0]]


# At every SDK, at once.


def test_an_incident_holds_marketing_back_in_a_connected_sdk_within_a_second_until_it_is_fixed(
    hub: RunningHub, ops: Caller, tmp_path: Path
) -> None:
    with joined(hub, "mail", tmp_path) as touchpoint, touchpoint.session(account="A-1", wait=5) as session:
        question = offer(touchpoint)
        eventually(lambda: session.decide(question).allowed)
        assert ops.statuses(told("IOS-1", OPENED, title="Uploads fail")) == ["ACCEPTED"]
        eventually(lambda: not session.decide(question).allowed, 1.0)
        assert "Uploads are broken" in session.decide(question).explain()
        assert session.context().incident("IOS-1").title == "Uploads fail"
        assert ops.statuses(told("IOS-1", FIXED)) == ["ACCEPTED"]
        eventually(lambda: session.decide(question).allowed, 1.0)


def test_a_touchpoint_tells_of_an_incident_and_another_one_knows(hub: RunningHub, tmp_path: Path) -> None:
    with joined(hub, "ops", tmp_path) as ops, joined(hub, "mail", tmp_path) as mail:
        with mail.session(account="A-2", wait=5) as session:
            ops.open_incident("IOS-1", title="Uploads fail", workaround="Use the web")
            eventually(lambda: session.context().incident("IOS-1").open)
            assert session.context().incident("IOS-1").workaround == "Use the web"
            ops.fix_incident("IOS-1")
            eventually(lambda: not session.context().incident("IOS-1").open)
        assert ops.flush()
        assert ops.status()["losses"] == {}


def test_what_a_host_gives_wrongly_is_counted_and_never_raised(hub: RunningHub, tmp_path: Path) -> None:
    with joined(hub, "ops", tmp_path, strict=False) as ops:
        ops.open_incident(None)  # type: ignore[arg-type]
        ops.open_incident("IOS-1", title=7)  # type: ignore[arg-type]
        ops.open_incident("IOS-1", occurred_at=datetime(2026, 1, 1))  # without a zone, on purpose
        assert ops.status()["refused_here"] == {"incident:NoneType": 1, "incident:IOS-1": 2}


def test_with_the_hub_down_it_is_still_known_and_an_announced_end_still_comes(tmp_path: Path) -> None:
    with run_hub(PLAN) as hub, calling(hub.address, hub.key("ops")) as ops:
        touchpoint = segue.Touchpoint("mail", hub=hub.address, key=hub.key("mail"), state=tmp_path)
        session = touchpoint.session(account="A-3", wait=5)
        question = offer(touchpoint)
        begin = now()
        ops.send(told("IOS-1", OPENED, begin), told("IOS-1", FIXED, begin + 3600 * SECOND))
        eventually(lambda: not session.decide(question).allowed)
    runtime = touchpoint.runtime()
    eventually(lambda: touchpoint.status()["connection"] == "DOWN")
    assert not session.decide(question).allowed
    runtime.clock = lambda: begin + 3600 * SECOND - runtime.machine.offset + SECOND
    assert session.decide(question).allowed
    session.close()
    touchpoint.close()

    # The next process of the team finds the hub gone, and knows it from disk.
    again = segue.Touchpoint("mail", hub="127.0.0.1:1", key="k", state=tmp_path)
    try:
        with again.session(account="A-3", wait=0) as session:
            assert again.runtime().plan.digest == runtime.plan.digest
            assert session.context().incident("IOS-1").open
            assert not session.decide(offer(again)).allowed
    finally:
        again.close()


def test_a_damaged_file_on_disk_is_as_good_as_none(hub: RunningHub, ops: Caller, tmp_path: Path) -> None:
    ops.send(told("IOS-1", OPENED))
    path = tmp_path / "mail" / "mail.workspace.json"
    with joined(hub, "mail", tmp_path):
        eventually(lambda: path.is_file() and "IOS-1" in path.read_text())
    for text in (
        '{"incidents": {"IOS-1": 7}}',
        "[]",
        '{"incidents": {"IOS-1": [["now", true, 3, 4, "", ""]]}}',
        "no JSON",
    ):
        path.write_text(text)
        alone = segue.Touchpoint("mail", hub="127.0.0.1:1", key="k", state=tmp_path / "mail")
        with alone.session(account="A", wait=0) as session:
            assert session.context().incident("IOS-1").open is False
        alone.close()
    with joined(hub, "mail", tmp_path) as mail, mail.session(account="A", wait=5) as session:
        eventually(lambda: session.context().incident("IOS-1").open)


def test_an_sdk_that_comes_later_knows_with_its_first_context(hub: RunningHub, ops: Caller, tmp_path: Path) -> None:
    ops.send(told("IOS-1", OPENED))
    touchpoint = segue.Touchpoint("mail", hub=hub.address, key=hub.key("mail"), state=tmp_path)
    try:
        with touchpoint.session(account="A-4", wait=5) as session:
            assert session.context().incident("IOS-1").open
    finally:
        touchpoint.close()


def test_the_workspace_comes_before_the_plan_and_is_not_sent_to_who_holds_it(
    hub: RunningHub, ops: Caller, mail: Caller
) -> None:
    ops.send(told("IOS-1", OPENED), told("OTHER-9", OPENED, title="t"))
    mail.send(event("browsed", "account=A-5"))
    with streaming(mail, hub=hub) as stream:
        stream.subscribe(1, "account=A-5")
        stream.frame(1)
        kinds = [message.WhichOneof("body") for message in stream.history.messages]
        assert kinds == ["welcome", "workspace", "plan", "context"]
        digest = stream.heard("workspace")[0].digest
    with streaming(mail, hub=hub, hello=False) as stream:
        stream.say(hello=sync_pb2.Hello(instance="bare", sdk="test", workspace=digest))
        stream.subscribe(1, "account=A-5")
        stream.frame(1)
        assert stream.heard("workspace") == []


def test_an_incident_that_the_plan_does_not_read_reaches_everybody_and_sends_no_context_again(
    hub: RunningHub, ops: Caller, mail: Caller
) -> None:
    mail.send(event("browsed", "account=A-6"))
    with streaming(mail, hub=hub) as stream:
        stream.subscribe(1, "account=A-6")
        version = stream.frame(1).context.version
        ops.send(told("OTHER-1", OPENED))
        eventually(lambda: len(stream.heard("workspace")) == 1)
        ops.send(told("IOS-1", OPENED))
        frame = stream.frame(1, lambda f: f.context.version > version)
        assert [m.WhichOneof("body") for m in stream.history.messages][-3:] == ["workspace", "workspace", "context"]
        assert frame.context.version == hub.hub.store.head()[0]


# Taken once, and kept.


def test_the_same_id_is_one_fact_and_another_one_under_it_is_refused(ops: Caller, mail: Caller) -> None:
    first = told("IOS-1", OPENED, title="a")
    again = told("IOS-1", OPENED, first.occurred_at, seq=first.seq, id_=first.id, title="a")
    other = told("IOS-1", FIXED, first.occurred_at, id_=first.id)
    assert ops.statuses(first, again) == ["ACCEPTED", "DUPLICATE"]
    assert ops.statuses(again) == ["DUPLICATE"]
    assert [result[:2] for result in ops.send(other)] == [("REJECTED", "ID_CONFLICT")]
    customers = event("browsed", "account=A-7")
    assert mail.statuses(customers) == ["ACCEPTED"]
    assert [result[1] for result in ops.send(told("IOS-1", FIXED, id_=customers.id))] == ["ID_CONFLICT"]


def test_without_a_clock_of_its_own_the_first_arrival_of_an_id_counts(hub: RunningHub, ops: Caller) -> None:
    slow = now() - 3600 * SECOND
    first = told("IOS-1", OPENED, slow, seq=0)
    assert ops.statuses(first, sent_at=slow) == ["ACCEPTED"]
    opened = hub.hub.plans.current.workspace.state("IOS-1", now() + SECOND).opened_at
    assert abs(opened - now()) < 60 * SECOND, "a skew of an hour was taken out"
    later = told("IOS-1", OPENED, slow + SECOND, seq=0, id_=first.id)
    assert ops.statuses(later, sent_at=slow + SECOND) == ["DUPLICATE"]


def test_a_batch_may_hold_both_sorts_and_is_answered_in_its_order(hub: RunningHub, tmp_path: Path) -> None:
    with calling(hub.address, hub.admin_key) as admin:
        admin.metadata = (*admin.metadata, ("segue-touchpoint", "ops"))
        results = admin.send(told("IOS-1", OPENED), event("browsed", "account=A-8"), told("IOS-1", "mended"))
        assert [result[:2] for result in results] == [
            ("ACCEPTED", ""), ("REJECTED", "NOT_GRANTED"), ("REJECTED", "FACT_INVALID")
        ]  # fmt: skip


def test_only_who_was_granted_it_tells_of_an_incident_and_the_admin_always(hub: RunningHub, mail: Caller) -> None:
    (result,) = mail.send(told("IOS-1", OPENED))
    assert result[:2] == ("REJECTED", "NOT_GRANTED")
    assert 'Add "incident:IOS-1" or "incident:*"' in result[2]
    with calling(hub.address, hub.admin_key) as admin:
        assert admin.statuses(told("IOS-1", OPENED)) == ["ACCEPTED"]
        with pytest.raises(grpc.RpcError) as caught:
            admin.send(told("IOS-1", FIXED), event("browsed", "account=A-9"))
        assert refusal(caught.value) == ("PERMISSION_DENIED", "NOT_GRANTED")
    assert hub.hub.plans.current.workspace.state("IOS-1", now() + SECOND).open


def test_what_is_announced_too_far_ahead_is_refused_and_next_month_is_not(ops: Caller) -> None:
    assert ops.send(told("IOS-1", OPENED, now() + 400 * 86_400 * SECOND))[0][1] == "TOO_FAR_AHEAD"
    assert ops.statuses(told("IOS-1", OPENED, now() + 30 * 86_400 * SECOND)) == ["ACCEPTED"]


def test_who_fixes_what_was_never_opened_is_told_what_may_be_meant(ops: Caller) -> None:
    ops.send(told("IOS-481", OPENED))
    (result,) = ops.send(told("IOS-48l", FIXED))
    assert result == ("ACCEPTED", "INCIDENT_UNKNOWN", "IOS-48l was never opened. Did you mean 'IOS-481'?")
    assert ops.send(told("IOS-481", FIXED)) == [("ACCEPTED", "", "")]


def test_the_log_has_no_gap_and_is_followed_at_once(hub: RunningHub, ops: Caller, mail: Caller) -> None:
    mail.send(event("browsed", "account=A-10"))
    with calling(hub.address, hub.admin_key) as admin:
        tail = admin.admin.TailFacts(admin_service_pb2.TailFactsRequest(after=-1), metadata=admin.metadata, timeout=10)
        try:
            ops.send(told("IOS-1", OPENED), told("IOS-1", FIXED))
            mail.send(event("browsed", "account=A-10"))
            heard = [next(tail) for _ in range(5)]
        finally:
            tail.cancel()
    assert [(m.position, m.fact.WhichOneof("body")) for m in heard] == [
        (1, None), (2, "event"), (3, "incident"), (4, "incident"), (5, "event")
    ]  # fmt: skip
    assert heard[2].fact.touchpoint == "ops"
    assert list(hub.hub.store.check()) == []


def test_an_idle_hubs_log_is_followed_too(hub: RunningHub, ops: Caller) -> None:
    ops.send(told("IOS-1", OPENED))
    with calling(hub.address, hub.admin_key) as admin:
        tail = admin.admin.TailFacts(admin_service_pb2.TailFactsRequest(after=1), metadata=admin.metadata, timeout=10)
        assert next(iter(tail)).fact.type == "IOS-1"
        tail.cancel()


def test_a_restart_keeps_all_of_it_and_no_version_falls(tmp_path: Path) -> None:
    store = tmp_path / "segue.db"
    with (
        run_hub(PLAN, store=store) as hub,
        calling(hub.address, hub.key("ops")) as ops,
        calling(hub.address, hub.key("mail")) as mail,
    ):
        mail.send(event("browsed", "account=A-11"))
        ops.send(told("IOS-1", OPENED, title="Uploads fail"), told("OTHER-1", OPENED))
        version, before = mail.context("account=A-11").version, hub.hub.plans.current.workspace
    with run_hub(store=store) as hub, calling(hub.address, hub.key("mail")) as mail:
        assert hub.hub.plans.current.workspace == before
        assert hub.hub.plans.told()[0] == before.digest
        assert mail.context("account=A-11").version == version == 3
        with calling(hub.address, hub.key("ops")) as ops:
            assert ops.statuses(told("IOS-1", FIXED)) == ["ACCEPTED"]
        assert hub.hub.store.head()[0] == 5
        assert list(hub.hub.store.check()) == []


def test_a_new_plan_and_a_rollback_are_read_with_the_incidents_there_are(hub: RunningHub, ops: Caller) -> None:
    ops.send(told("IOS-1", OPENED), told("NEW-1", OPENED))
    hub.push(PLAN | {"audiences.yaml": "hit:\n  when: 'incident(\"NEW-1\").open'\n"})
    assert hub.hub.plans.current.incidents >= {"NEW-1"}
    assert hub.hub.plans.current.workspace.open_incidents(now() + SECOND) == ["IOS-1", "NEW-1"]
    hub.call(hub.hub.plans.roll_back("", "test"))
    assert hub.hub.plans.current.workspace.open_incidents(now() + SECOND) == ["IOS-1", "NEW-1"]


def test_a_plan_that_reads_an_old_incident_brings_it_to_connected_sdks(
    hub: RunningHub, ops: Caller, mail: Caller
) -> None:
    long_ago = now() - 90 * 86_400 * SECOND
    ops.send(told("OLD-1", OPENED, long_ago), told("OLD-1", FIXED, long_ago + SECOND))
    with streaming(mail, hub=hub) as stream:
        eventually(lambda: stream.heard("plan"))
        assert stream.heard("workspace") == [], "what is over for more than 30 days is not told"
        hub.push(PLAN | {"audiences.yaml": "hit:\n  when: 'incident(\"OLD-1\").fixed_at > timestamp(0)'\n"})
        eventually(lambda: len(stream.heard("plan")) == 2)
        kinds = [message.WhichOneof("body") for message in stream.history.messages]
        assert kinds == ["welcome", "plan", "workspace", "plan"]
        assert b"OLD-1" in stream.heard("workspace")[0].document


# Maps: the past is folded again, and only the past that changed.


def test_a_late_telling_folds_again_what_it_changes(hub: RunningHub, ops: Caller, mail: Caller) -> None:
    hour = 3600 * SECOND
    begin = now() - 10 * hour
    facts = [event("upload.failed", "account=A-12", at=begin + n * hour, n=str(n)) for n in range(4)]
    mail.send(*facts[::-1])
    with streaming(mail, hub=hub) as stream:
        stream.subscribe(1, "account=A-12")
        assert journeys(stream.frame(1)) == []
        ops.send(told("IOS-3", OPENED, begin + hour))
        stream.frame(1, lambda f: journeys(f) == ["1", "2", "3"])
        ops.send(told("IOS-3", FIXED, begin + 3 * hour))
        stream.frame(1, lambda f: journeys(f) == ["1", "2"])
        ops.send(told("IOS-3", OPENED, begin))
        stream.frame(1, lambda f: journeys(f) == ["0", "1", "2"])
        versions = [frame.context.version for frame in stream.frames(1)]
        assert versions == sorted(set(versions))


def test_what_an_incident_does_not_change_is_not_folded_again(hub: RunningHub, ops: Caller, mail: Caller) -> None:
    hour = 3600 * SECOND
    mail.send(*(event("upload.failed", f"account=B-{n}", at=now() - n * hour, n="x") for n in (1, 5)))
    for n in (1, 5):
        mail.context(f"account=B-{n}")
    counts = dict(hub.hub.contexts.counts)
    ops.send(told("IOS-1", OPENED), told("IOS-2", OPENED), told("OTHER", OPENED), told("IOS-3", OPENED))
    for n in (1, 5):
        mail.context(f"account=B-{n}")
    assert hub.hub.contexts.counts == counts, "no map reads these, or nothing was folded since"
    ops.send(told("IOS-3", OPENED, now() - 3 * hour))
    for n in (1, 5):
        mail.context(f"account=B-{n}")
    assert hub.hub.contexts.counts["loads"] == counts["loads"] + 1


def test_a_checkpoint_outlives_what_is_told_later_and_not_what_changes_its_past(tmp_path: Path) -> None:
    hour, begin = 3600 * SECOND, now() - 100 * 3600 * SECOND
    with run_hub(PLAN, store=tmp_path / "segue.db") as hub, calling(hub.address, hub.key("mail")) as mail:
        contexts = hub.hub.contexts
        contexts._limit, contexts._thrift = 1, EAGER

        def read(name: str) -> list[str]:
            found = mail.context(name)
            import json

            (section,) = [s for s in found.sections if s.name == "journeys"]
            return [journey[1] for journey in json.loads(section.data)[0]]

        with calling(hub.address, hub.key("ops")) as ops:
            ops.send(told("IOS-3", OPENED, begin - hour))
            mail.send(*(event("upload.failed", "account=C-1", at=begin + n * hour, n=str(n)) for n in range(30)))
            # Others push it out; the next unit takes its checkpoint along.
            for n in range(3):
                mail.send(event("browsed", f"account=C-o{n}"))
            eventually(lambda: hub.hub.store.counts()["checkpoints"] > 0)
            refolds = contexts.counts["refolds"]
            ops.send(told("IOS-3", FIXED))
            assert len(read("account=C-1")) == 16
            assert contexts.counts["refolds"] == refolds, "the checkpoint stands"
            read("account=C-o0")
            ops.send(told("IOS-3", FIXED, begin + 5 * hour - 1))
            assert read("account=C-1") == ["0", "1", "2", "3", "4"]
            assert contexts.counts["refolds"] == refolds + 1


# Audiences.


def heard_of(stream: Stream) -> list[tuple[int, bool]]:
    """(how many members, whether they left) of every change after the snapshot."""
    return [(len(m.members), m.members[0].left) for m in stream.heard("audience") if m.members and not m.snapshot_ends]


def watching(stream: Stream, number: int, audience: str) -> None:
    stream.say(watch_audience=sync_pb2.WatchAudience(subscription=number, audience=audience))
    eventually(lambda: any(m.snapshot_ends and m.subscription == number for m in stream.heard("audience")))


def test_members_leave_when_an_incident_opens_and_come_back_when_it_is_fixed(
    hub: RunningHub, ops: Caller, mail: Caller
) -> None:
    mail.send(*(event("browsed", f"account=D-{n}") for n in range(3)))
    with streaming(mail, hub=hub) as stream:
        watching(stream, 1, "invited")

        def left() -> int:
            return sum(count if gone else -count for count, gone in heard_of(stream))

        ops.send(told("IOS-2", OPENED))
        eventually(lambda: left() == 3, 1.0)
        ops.send(told("IOS-2", FIXED))
        eventually(lambda: left() == 0, 1.0)
        before = len(stream.heard("audience"))
        ops.send(told("OTHER-1", OPENED))
        eventually(lambda: stream.heard("workspace"))
        assert len(stream.heard("audience")) == before


def test_members_leave_at_the_instant_that_was_announced(tmp_path: Path) -> None:
    clock = [parse_instant("2026-03-02T09:00:00Z")]
    with (
        run_hub(PLAN, clock=lambda: clock[0]) as hub,
        calling(hub.address, hub.key("ops")) as ops,
        calling(hub.address, hub.key("mail")) as mail,
    ):
        mail.send(event("browsed", "account=E-1", at=clock[0]))
        with streaming(mail, hub=hub) as stream:
            watching(stream, 1, "invited")
            ops.send(told("IOS-2", OPENED, clock[0] + 3600 * SECOND))
            eventually(lambda: hub.hub.timers.pending)
            assert heard_of(stream) == []
            clock[0] += 3600 * SECOND
            hub.call(kick(hub))
            eventually(lambda: heard_of(stream) == [(1, True)])
            (gone,) = [m for m in stream.heard("audience") if m.members and m.members[0].left]
            assert gone.members[0].at == clock[0]


async def kick(hub: RunningHub) -> None:
    """The clock was moved by hand: the sleeper looks anew."""
    hub.hub.timers._changed.set()


def test_a_second_audience_that_is_watched_does_not_silence_the_first(tmp_path: Path) -> None:
    """Regression: the scan of a new watch armed each customer's wake-up for the flips of that audience alone."""
    clock = [parse_instant("2026-03-02T09:00:00Z")]
    with run_hub(PLAN, clock=lambda: clock[0]) as hub, calling(hub.address, hub.key("mail")) as mail:
        mail.send(event("browsed", "account=E-2", at=clock[0]))
        with streaming(mail, hub=hub) as stream:
            watching(stream, 1, "lately")
            watching(stream, 2, "invited")
            clock[0] += 3600 * SECOND
            hub.call(kick(hub))
            eventually(lambda: heard_of(stream) == [(1, True)])


# The service itself.


def log_of(store: MemoryStore, plans: Plans | None = None) -> WorkspaceLog:
    return WorkspaceLog(store, plans or Plans(store, now), now, fact_to_bytes, fact_from_bytes)


def test_where_the_store_cannot_write_nothing_is_acknowledged_and_nobody_hears() -> None:
    store = MemoryStore()
    plans = Plans(store, now)
    log, heard = log_of(store, plans), list[News]()
    log.listeners.append(heard.append)

    async def run(error: Exception, code: str) -> None:
        async def write(*_: Any) -> int:
            raise error

        log.write = write
        with pytest.raises(Refusal) as caught:
            await log.publish([told("X", OPENED)], everything("ops"))
        assert caught.value.code == code

    asyncio.run(run(StoreFull("no space"), "STORE_FULL"))
    asyncio.run(run(StoreBroken("gone"), "STORE_BROKEN"))
    assert heard == []
    assert plans.current.workspace.incidents == {}


def test_a_store_that_breaks_while_an_incident_is_written_stops_the_hub() -> None:
    """Regression: only a unit of customers' facts ended a hub whose store cannot promise durability any more."""

    @contextmanager
    def broken() -> Iterator[Any]:
        raise StoreBroken("the fsync failed, on purpose")
        yield

    async def run() -> None:
        hub = Hub(Settings(insecure=True, port=0))
        hub.store.unit = broken  # type: ignore[method-assign]
        with pytest.raises(Refusal) as caught:
            await hub.workspace.publish([told("X", OPENED)], everything("ops"))
        assert caught.value.code == "STORE_BROKEN"
        assert "on purpose" in await asyncio.wait_for(hub.wait(), 1)
        assert not hub.ingest.accepting
        await hub.ingest.close()

    asyncio.run(run())


def test_what_became_durable_is_known_although_the_caller_hung_up_meanwhile() -> None:
    store = MemoryStore()
    plans = Plans(store, now)
    fact = told("X", OPENED)

    async def run() -> None:
        log, under_way, go_on = log_of(store, plans), asyncio.Event(), asyncio.Event()

        async def write(change: Any, then: Any) -> int:
            under_way.set()
            await go_on.wait()
            with store.unit() as unit:
                position = int(change(unit, 0))
            then()
            return position

        log.write = write
        call = asyncio.create_task(log.publish([fact], everything("ops")))
        await under_way.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        go_on.set()
        again = told("X", OPENED, fact.occurred_at, seq=fact.seq, id_=fact.id)
        (result,) = await log.publish([again], everything("ops"))
        assert result.status == "DUPLICATE"

    asyncio.run(run())
    assert plans.current.workspace.state("X", now() + SECOND).open
    assert len(store.workspace_facts()) == 1


def test_the_plans_of_a_hub_are_read_with_what_its_store_holds() -> None:
    store = MemoryStore()
    with store.unit() as unit:
        for position, fact in enumerate((incident("A", OPENED, "0s"), incident("B", OPENED, "0s")), 1):
            unit.append_change(position, "incident", fact.type)
            unit.add_workspace_fact(position, fact.id, fact_to_bytes(fact))
    plans = Plans(store, now)
    plans.current = Plan({"audiences": {"a": {"when": {
        "source": 'incident("A").open', "tree": ["select", ["call", "incident", [["string", "A"]]], "open"]
    }}}})  # fmt: skip
    log_of(store, plans)
    assert set(plans.current.workspace.incidents) == {"A", "B"}
    assert plans.position == 1, "the newest that the plan reads: no version falls behind it"
