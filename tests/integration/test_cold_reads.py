"""Cold reads: what is stored is spliced into the answer, byte for byte what the live context would say; many at once.

Each hub is stopped and started on its file in between, so that nobody is in its memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from segue.domain.fact import Fact
from segue.domain.identifier import parse_identifier
from segue.v1 import context_pb2
from segue.wire import identifier_to_wire
from segue_hub.limits import Limits
from segue_hub.services.thrift import EAGER
from segue_hub.testing import RunningHub, run_hub

from tests.building import document
from tests.calling import Caller, calling, event, refusal
from tests.streaming import streaming

EVERY = [
    "identity", "traits", "consents", "subscriptions", "timeline", "activity", "interactions", "journeys",
    "decisions", "actions", "audiences", "claims",
]  # fmt: skip
PLAN = {
    "audiences": {"on_the_web": {"when": 'seen("web")'}, "of_value": {"when": "count(\"a.b\", \"7d\") >= 1"}},
    "touchpoints": {
        name: {"channel": "web", "writes": ["*"], "reads": {"service": sections}}
        for name, sections in {
            "teller": [], "full": EVERY, "timeline": ["timeline"], "consents": ["consents"], "outcomes": ["audiences"],
            "activity": ["activity", "journeys"],
        }.items()
    },
}  # fmt: skip
READERS = ("full", "timeline", "consents", "outcomes", "activity", "teller")


def lives() -> list[Fact]:
    """Customers of all sorts: one with everything, one who was two, one of whom an identifier began anew, one bare."""
    whole, other = "account=C-1", "account=C-2"
    return [
        event("transfer.failed", whole, channel="web", transfer_id="T-1", amount=12.5, text="Grüße \u2028 \u0001"),
        event("tier", whole, kind="trait", value="high"), event("limits", whole, kind="trait", value=[1, 2.0, "x"]),
        event("marketing", whole, kind="consent", state="denied"),
        event("marketing", "email=c@example.org", kind="consent", state="granted"),
        event("news", whole, kind="subscription", state="opted_in", channel="email"),
        event("loan", whole, kind="decision", value="yes", reason="RULE"),
        event("offer.loan", whole, kind="action", status="completed"),
        event("help.viewed", "cookie=k-2", channel="web"), event("a.b", other, "cookie=k-2", channel="app"),
        event("a.c", other, "email=c2@example.org"), event("a.d", "account=C-3"),
    ]  # fmt: skip


NAMES = ("account=C-1", "account=C-2", "cookie=k-2", "email=c2@example.org", "email=c@example.org", "account=C-3")


def keep_all(hub: RunningHub) -> None:
    """Has every context written to the store, and nobody left in memory."""
    contexts = hub.hub.contexts

    async def let_go() -> None:
        await hub.hub.sweep.idle()
        contexts._heads.clear()
        limit, contexts._limit, contexts._thrift = contexts._limit, 0, EAGER
        for customer in list(contexts.customers()):
            contexts.read(customer)
        contexts._limit = limit
        contexts._heads.clear()

        def write(unit: Any, position: int) -> int:
            for customer, checkpoint in contexts.checkpoints():
                unit.checkpoint(customer, checkpoint)
            return position

        await hub.hub.ingest.exclusively(write)

    hub.call(let_go())


@contextmanager
def hub_with(facts: Sequence[Fact], path: Path | None, limits: Limits | None = None) -> Iterator[RunningHub]:
    """A hub that has these facts on disk, and nobody in memory."""
    with run_hub(store=path, limits=limits) as running:
        running.call(running.hub.plans.push(document(PLAN), {}, "test", ""))
        with calling(running.address, running.key("teller")) as caller:
            for fact in facts:
                assert caller.statuses(fact) == ["ACCEPTED"]
        keep_all(running)
        yield running


def ask(caller: Caller, *names: str) -> list[context_pb2.ContextAnswer]:
    request = context_pb2.GetContextsRequest(identifiers=[identifier_to_wire(parse_identifier(name)) for name in names])
    return list(caller.contexts.GetContexts(request, timeout=20, metadata=caller.metadata).answers)


@pytest.mark.parametrize("on_disk", [True, False], ids=["sqlite", "memory"])
@pytest.mark.parametrize("reader", READERS)
def test_what_is_spliced_is_byte_for_byte_what_is_live(tmp_path: Path, reader: str, on_disk: bool) -> None:
    path = tmp_path / "segue.db" if on_disk else None
    with hub_with(lives(), path) as hub, calling(hub.address, hub.key(reader)) as caller:
        counts, before = hub.hub.contexts.counts, dict(hub.hub.contexts.counts)
        cold = [caller.context(name) for name in NAMES]
        many = [answer.context for answer in ask(caller, *NAMES)]
        spliced = counts["splices"] - before["splices"]
        # Who may see no audience's inputs is told its outcome, which is made of a content.
        assert spliced == (0 if reader == "outcomes" else 2 * len(NAMES))
        with streaming(caller, hub=hub) as stream:
            for number, name in enumerate(NAMES, 1):
                stream.subscribe(number, name)
            streamed = [stream.frame(number).context for number in range(1, len(NAMES) + 1)]
        assert counts["splices"] - before["splices"] >= spliced * 3 // 2
        for name in NAMES:
            known = hub.hub.contexts.find(parse_identifier(name))
            assert known is not None
            hub.hub.contexts.read(known.customer)  # from here on live
        splices = counts["splices"]
        live = [caller.context(name) for name in NAMES]
        assert counts["splices"] == splices
    if reader == "outcomes":  # told from the moment of the call on
        cold, many, streamed, live = ([context.customer for context in side] for side in (cold, many, streamed, live))
    assert cold == live == many == streamed


def test_facts_after_the_checkpoint_are_read(tmp_path: Path) -> None:
    with hub_with(lives(), tmp_path / "segue.db") as hub, calling(hub.address, hub.key("full")) as caller:
        before, contexts = caller.context("account=C-1"), hub.hub.contexts
        with calling(hub.address, hub.key("teller")) as teller:
            assert teller.statuses(event("z.z", "email=c@example.org")) == ["ACCEPTED"]
            assert teller.statuses(event("z.y", "account=C-3", at=1_000_000)) == ["ACCEPTED"]  # late, and of another
        hub.call(_forget(contexts))
        assert caller.context("email=c@example.org").version > 0
        assert b"z.z" in caller.context("email=c@example.org").SerializeToString()
        assert b"z.y" in caller.context("account=C-3").SerializeToString()
        assert caller.context("account=C-1") == before


async def _forget(contexts: Any) -> None:
    contexts._heads.clear()


def test_a_merge_after_the_checkpoint_is_seen(tmp_path: Path) -> None:
    with hub_with(lives(), tmp_path / "segue.db") as hub, calling(hub.address, hub.key("full")) as caller:
        apart = caller.context("account=C-1")
        with calling(hub.address, hub.key("teller")) as teller:
            assert teller.statuses(event("login", "account=C-1", "email=c@example.org")) == ["ACCEPTED"]
        hub.call(_forget(hub.hub.contexts))
        together = caller.context("email=c@example.org")
        assert together == caller.context("account=C-1")
        assert together.customer == apart.customer
        assert together.version > apart.version


def test_a_context_by_another_plan_is_not_spliced(tmp_path: Path) -> None:
    with hub_with(lives(), tmp_path / "segue.db") as hub, calling(hub.address, hub.key("full")) as caller:
        stored, _ = hub.call(hub.hub.plans.push(document({**PLAN, "timeline": 2}), {}, "test", ""))
        context = caller.context("account=C-1")
        assert context.plan == stored.digest
        (timeline,) = [section.data for section in context.sections if section.name == "timeline"]
        assert timeline.count(b'"web"') <= 2


def test_each_of_many_is_answered_for_itself_in_order(tmp_path: Path) -> None:
    with hub_with(lives(), tmp_path / "segue.db") as hub, calling(hub.address, hub.key("full")) as caller:
        nobody, somebody, again, empty = ask(caller, "account=X-9", "account=C-1", "account=C-1", "unheard=of")
        assert (nobody.code, nobody.HasField("context")) == ("NOT_FOUND", False)
        assert "account=X-9" in nobody.message
        assert somebody.context == again.context == caller.context("account=C-1")
        assert not somebody.code
        assert empty.code == "NOT_FOUND"
        assert ask(caller) == []


def test_one_context_that_cannot_be_shown_does_not_take_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hub_with(lives(), tmp_path / "segue.db") as hub, calling(hub.address, hub.key("full")) as caller:
        whole = caller.context("account=C-3")
        known = hub.hub.contexts.find(parse_identifier("account=C-1"))
        assert known is not None
        read = hub.hub.contexts.stored

        def torn(customer: int) -> Any:
            if customer == known.customer:
                raise ValueError("torn")
            return read(customer)

        monkeypatch.setattr(hub.hub.contexts, "stored", torn)
        broken, other = ask(caller, "account=C-1", "account=C-3")
        assert (broken.code, other.context) == ("CONTEXT_BROKEN", whole)


def test_more_than_the_limit_are_refused_and_a_full_answer_says_so(tmp_path: Path) -> None:
    facts = [event("a.b", f"account=F-{n}", text="x" * 3000) for n in range(3) for _ in range(8)]
    limits = Limits(lookups=4, message_bytes=64 * 1024, queue_bytes=1024 * 1024)
    with hub_with(facts, tmp_path / "segue.db", limits) as hub, calling(hub.address, hub.key("full")) as caller:
        with pytest.raises(grpc.RpcError) as caught:
            ask(caller, *["account=F-0"] * 5)
        assert refusal(caught.value) == ("INVALID_ARGUMENT", "BATCH_TOO_LARGE")
        answers = ask(caller, "account=F-0", "account=F-1", "account=F-2", "account=F-9")
        assert [answer.code for answer in answers] == ["", "", "ANSWER_FULL", "ANSWER_FULL"]
        assert sum(answer.ByteSize() for answer in answers) <= limits.message_bytes
        assert [answer.code for answer in ask(caller, "account=F-2", "account=F-9")] == ["", "NOT_FOUND"]
