"""Looking back shows no more than looking did; what cannot be made again as it was is told, not guessed (VE6, VE8)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
import pytest
import segue
from segue.domain.decision import Question
from segue.domain.fact import DECISION, TRAIT, properties_bytes
from segue.domain.freshness import PERSISTED
from segue.domain.instant import NEVER
from segue.domain.replay import asked_again
from segue.transport import StreamBroken
from segue.v1 import replay_service_pb2, replay_service_pb2_grpc
from segue.wire import fact_from_bytes
from segue.wire_replay import Asked
from segue_hub.checking.plan_check import read_directory
from segue_hub.server import replay_service
from segue_hub.services.failure import Refusal
from segue_hub.services.plan_archive import PlanArchive
from segue_hub.services.replays import AT_ONCE, STALLED, Wanted
from segue_hub.testing import RunningHub, run_hub

from tests.building import small
from tests.calling import calling, event, now, refusal
from tests.joining import EXAMPLE, joined
from tests.replaying import moments, replayed, unlike
from tests.serving import free_port
from tests.waiting import eventually

CALL = Asked(kind="event", type="call.started")
DAY = 86_400_000_000


@pytest.fixture
def hub() -> Iterator[RunningHub]:
    with run_hub(EXAMPLE) as running:
        yield running


def calls(hub: RunningHub, touchpoint: str = "ivr") -> None:
    """A call of one customer, after a transfer that failed in the app."""
    with calling(hub.address, hub.key("app")) as app, calling(hub.address, hub.key(touchpoint)) as caller:
        failed = event("transfer.failed", "account=A-1", at=now() - 2_000_000, transfer_id="T", amount=3.5)
        assert app.statuses(failed) == ["ACCEPTED"]
        assert caller.statuses(event("call.started", "account=A-1", "phone=123")) == ["ACCEPTED"]


def recorded(hub: RunningHub, details: Mapping[str, Any]) -> None:
    """A decision of chat's, as a program of its own might tell of it."""
    told = {
        "at": now(),
        "plan": hub.hub.plans.current.digest,
        "version": 1,
        "freshness": "LIVE",
        "value": "x",
    } | details
    fact = event("chat.route", "account=A-1", kind=DECISION)
    fact.raw = properties_bytes(told)
    with calling(hub.address, hub.key("chat")) as chat:
        assert chat.statuses(fact) == ["ACCEPTED"]


def gaps(hub: RunningHub) -> list[str]:
    return [moment.gap for moment in moments(hub.address, hub.key("chat"), Asked("chat.route"))]


# Facts of the log.


def test_an_own_fact_lies_over_the_context_and_that_of_another_is_in_it(hub: RunningHub) -> None:
    calls(hub)
    (own,) = moments(hub.address, hub.key("ivr"), CALL)
    assert [fact.type for fact in own.overlay] == ["call.started"]
    assert "call.started" not in own.projected.content.activity
    (others,) = moments(hub.address, hub.key("chat"), CALL)
    assert others.overlay == ()
    assert "call.started" in others.projected.content.activity
    asks = Question("seen", lambda c: [c.seen("call.started"), c.journey("money_transfer").active])
    for moment in (own, others):
        assert asked_again(asks, moment)[0].details["value"] == [True, True]


def test_nothing_that_came_later_is_known(hub: RunningHub) -> None:
    calls(hub)
    with calling(hub.address, hub.key("app")) as app:
        assert app.statuses(event("transfer.completed", "account=A-1", transfer_id="T")) == ["ACCEPTED"]
    (moment,) = moments(hub.address, hub.key("chat"), CALL)
    assert [(key, journey.outcome) for (_, key), journey in moment.projected.content.journeys.items()] == [("T", "")]
    assert moment.at == moment.fact.occurred_at


def test_who_may_not_read_what_others_tell_is_not_told_of_it(hub: RunningHub) -> None:
    calls(hub)
    with pytest.raises(StreamBroken, match="may not read 'timeline' for 'service'"):
        list(moments(hub.address, hub.key("email"), CALL))


def test_a_customer_is_named_to_those_who_may_read_identity(hub: RunningHub) -> None:
    calls(hub)
    (web,) = moments(hub.address, hub.key("web"), CALL)
    assert web.fact.identifiers == ()
    assert web.customer
    (chat,) = moments(hub.address, hub.key("chat"), CALL)
    assert [str(name) for name in chat.fact.identifiers] == ["account=A-1", "phone=123"]


def test_an_alias_is_as_good_as_its_event(hub: RunningHub) -> None:
    calls(hub)
    (moment,) = moments(hub.address, hub.key("app"), Asked(kind="event", type="TransferError"))
    assert moment.fact.type == "transfer.failed"


def test_facts_of_other_kinds_are_asked_at_too(hub: RunningHub) -> None:
    with calling(hub.address, hub.key("crm")) as crm:
        assert crm.statuses(event("value_tier", "account=A-1", kind=TRAIT, value="high")) == ["ACCEPTED"]
    (moment,) = moments(hub.address, hub.key("chat"), Asked(kind="trait", type="value_tier"))
    assert moment.projected.content.traits["value_tier"].value == "high"


# What is refused.


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (Asked(), "name a question"),
        (Asked("chat.route", "event", "call.started"), "not both"),
        (Asked(kind="event", type="call.begun"), "no event is called 'call.begun'"),
        (Asked(kind="mood", type="x"), "'mood' is no kind of fact"),
        (Asked("chat.route", since=20, until=10), "until: is not after since"),
        (Asked("chat.route", plan="beef"), "no plan has a digest that begins with 'beef'"),
    ],
)
def test_what_makes_no_sense_is_refused(hub: RunningHub, asked: Asked, said: str) -> None:
    with pytest.raises(StreamBroken, match=said):
        list(moments(hub.address, hub.key("chat"), asked))


def test_the_admin_has_no_eyes_of_a_touchpoint_and_nobody_comes_without_a_key(hub: RunningHub) -> None:
    request = replay_service_pb2.ReplayRequest(decision="chat.route")
    for key, code in ((hub.admin_key, "NOT_GRANTED"), ("", "KEY_MISSING"), ("guess", "KEY_INVALID")):
        with calling(hub.address, key) as caller:
            stub = replay_service_pb2_grpc.ReplayServiceStub(caller.channel)
            with pytest.raises(grpc.RpcError) as refused:
                list(stub.Replay(request, metadata=caller.metadata))
            assert refusal(refused.value)[1] == code


def test_only_so_many_are_under_way_at_once(hub: RunningHub) -> None:
    replays, wanted = hub.hub.replays, Wanted("chat.route")
    begun = [replays.begin(wanted, "chat") for _ in range(AT_ONCE)]
    with pytest.raises(Refusal, match="are under way"):
        replays.begin(wanted, "chat")
    replays.end(begun[0])
    begun[0] = replays.begin(wanted, "chat")
    # One that nobody reads makes room.
    begun[1].stepped_at -= STALLED
    replays.begin(wanted, "chat")
    with pytest.raises(Refusal, match="nobody read this replay for 30 s"):
        replays.stepped(begun[1])
    replays.stepped(begun[0])


def test_one_that_is_given_up_leaves_nothing_behind(hub: RunningHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_service, "BATCH", 1)
    with calling(hub.address, hub.key("ivr")) as ivr:
        started = [event("call.started", f"account=A-{n}", note="x" * 5_000) for n in range(400)]
        assert set(ivr.statuses(*started)) == {"ACCEPTED"}
    running = hub.hub.replays._under_way
    asked = moments(hub.address, hub.key("chat"), CALL)
    assert next(asked).fact.type == "call.started"
    assert len(running) == 1, "two megabytes wait for a reader"
    asked.close()
    eventually(lambda: not running)


# What cannot be made again.


@pytest.mark.parametrize(
    ("details", "gap"),
    [
        ({"version": 10_000}, "HISTORY_CUT"),
        ({"hub": "0badcafe"}, "HISTORY_CUT"),
        ({"plan": "0badcafe"}, "PLAN_UNKNOWN"),
        ({"folded": "0badcafe"}, "PLAN_UNKNOWN"),
        ({"workspace": "0badcafe"}, "WORKSPACE_UNKNOWN"),
        ({"overlay": ["00" * 16]}, "OWN_FACT_UNKNOWN"),
        ({"version": 0, "freshness": PERSISTED}, "VERSION_UNKNOWN"),
        ({"at": "yesterday"}, "INCOMPLETE"),
        ({"version": "new"}, "INCOMPLETE"),
        ({"overlay": [7]}, "INCOMPLETE"),
    ],
)
def test_what_cannot_be_made_again_as_it_was_is_told(hub: RunningHub, details: Mapping[str, Any], gap: str) -> None:
    calls(hub)
    recorded(hub, details)
    assert gaps(hub) == [gap]


def test_the_id_of_anothers_fact_does_not_show_it(hub: RunningHub) -> None:
    calls(hub)
    body = hub.hub.store.log(1, 1)[0][1]
    assert body is not None
    recorded(hub, {"overlay": [fact_from_bytes(body).id.hex()]})
    assert gaps(hub) == ["OWN_FACT_UNKNOWN"]


def test_decisions_of_another_history_of_the_hub_are_told_so(tmp_path: Path) -> None:
    store = tmp_path / "hub" / "segue.db"
    question = Question("chat.route", lambda c: len(c.timeline()))
    with run_hub(EXAMPLE, store=store) as hub:
        calls(hub)
        with joined(hub, "chat", tmp_path) as chat, chat.session(account="A-1", wait=10) as customer:
            assert customer.decide(question).value == 2
            assert chat.flush(10)
        assert unlike(replayed(hub.address, hub.key("chat"), question)) == []
    with sqlite3.connect(store) as db:  # as after a restore from a backup
        db.execute("UPDATE meta SET value = 'another' WHERE name = 'incarnation'")
    db.close()
    with run_hub(store=store) as hub:
        assert gaps(hub) == ["HISTORY_CUT"]


# What was known where.


def test_a_decision_on_a_context_from_disk_is_asked_again_on_the_same(tmp_path: Path) -> None:
    question = Question("chat.route", lambda c: [len(c.timeline()), c.freshness.state])
    store, port, state = tmp_path / "hub" / "segue.db", free_port(), tmp_path / "state"
    with run_hub(EXAMPLE, store=store, port=port) as hub:
        calls(hub)
        key = hub.key("chat")
        config: dict[str, Any] = {"key": key, "state": state, "persist_contexts": True}
        with joined(hub, "chat", tmp_path, **config) as chat:
            with chat.session(account="A-1", wait=10) as customer:
                assert customer.decide(question).value == [2, "LIVE"]
            assert chat.flush(10)
    alone = segue.Touchpoint("chat", hub=f"127.0.0.1:{port}", **config)
    with alone.session(account="A-1", wait=0) as customer:
        decision = customer.decide(question)
        assert decision.value == [2, PERSISTED]
    with run_hub(store=store, port=port) as hub:
        assert alone.flush(20)
        alone.close()
        again = replayed(hub.address, key, question)
        assert [moment.freshness.state for moment, _, _ in again] == ["LIVE", PERSISTED]
        assert unlike(again) == []


def plan_files(**more: str) -> dict[str, str]:
    """The example plan, with other files in place of its own."""
    return dict(read_directory(EXAMPLE)) | more


_FAILED = """
map: failed
starts: 'event.type == "transfer.failed"'
reaches_goal: 'false'
"""


def test_by_the_plan_of_now_a_new_map_has_seen_the_past(hub: RunningHub) -> None:
    calls(hub)
    question = Question("chat.route", lambda c: c.seen("transfer.failed"))
    with joined_chat(hub) as customer:
        customer.decide(question)
    hub.push(plan_files(**{"maps/failed.yaml": _FAILED}))
    new = Question("chat.route", lambda c: c.journey("failed").active)
    ((then, _, error),) = replayed(hub.address, hub.key("chat"), new)
    assert "no journey map is called 'failed'" in error
    ((now_, answer, _),) = replayed(hub.address, hub.key("chat"), new, Asked("chat.route", plan="now"))
    assert answer.details["value"] is True
    assert (then.plan.digest == now_.plan.digest, now_.plan.digest) == (False, hub.hub.plans.current.digest)


@contextmanager
def joined_chat(hub: RunningHub) -> Iterator[segue.Session]:
    """A session of chat's with the one who called; what it decides is at the hub when it ends."""
    with TemporaryDirectory() as folder, joined(hub, "chat", Path(folder), strict=False) as chat:
        with chat.session(account="A-1", wait=10) as customer:
            yield customer
        assert chat.flush(10)


def test_what_may_not_be_read_any_more_is_not_shown_of_the_past(hub: RunningHub) -> None:
    calls(hub)
    with calling(hub.address, hub.key("crm")) as crm:
        assert crm.statuses(event("value_tier", "account=A-1", kind=TRAIT, value="high")) == ["ACCEPTED"]
    question = Question("chat.route", lambda c: c.trait("value_tier"))
    with joined_chat(hub) as customer:
        assert customer.decide(question).value == "high"
    assert unlike(replayed(hub.address, hub.key("chat"), question)) == []
    touchpoints = (EXAMPLE / "touchpoints.yaml").read_text(encoding="utf-8")
    chat = "reads: {service: [identity, traits.business, journeys, activity, timeline, interactions, decisions, actions"
    assert chat in touchpoints
    hub.push(plan_files(**{"touchpoints.yaml": touchpoints.replace(chat, chat.replace("traits.business, ", ""), 1)}))
    ((moment, answer, _),) = replayed(hub.address, hub.key("chat"), question)
    assert moment.narrowed
    assert moment.projected.content.traits == {}
    assert answer.details["reason"] == "NOT_GRANTED"


def test_a_workspace_is_found_by_its_digest_however_much_of_it_was_still_told(hub: RunningHub) -> None:
    """An SDK is told of what is over for thirty days; which days those were, only the digest knows."""
    plan = small()
    with joined_ops(hub) as ops:
        for name in ("OLD-1", "NEW-2"):
            ops.open_incident(name)
            ops.fix_incident(name)
        assert ops.flush(10)
    archive = PlanArchive(hub.hub.store, hub.hub.plans, fact_from_bytes)
    whole = hub.hub.plans.current.workspace
    assert set(whole.incidents) == {"OLD-1", "NEW-2"}
    instants = sorted(state.since for incident in whole.incidents.values() for state in incident.states)
    forms = {whole.told(plan.incidents, at).digest for at in (at + 30 * DAY + d for at in instants for d in (0, 1))}
    assert len(forms) > 1
    for digest in forms:
        told = archive.told(plan, digest, NEVER, instants[-1] + 365 * DAY)
        assert told is not None
        assert told.digest == digest
    assert archive.told(plan, "0badcafe", NEVER, NEVER - 1) is None


@contextmanager
def joined_ops(hub: RunningHub) -> Iterator[segue.Touchpoint]:
    """A touchpoint that may tell of incidents."""
    ops = plan_files()["touchpoints.yaml"] + 'ops: {channel: web, writes: ["incident:*"], reads: {}}\n'
    hub.push(plan_files(**{"touchpoints.yaml": ops}))
    with TemporaryDirectory() as folder, joined(hub, "ops", Path(folder)) as found:
        yield found
