"""One touchpoint in its host: reading its own writes, working alone, never in the way."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import segue
from hypothesis import given
from hypothesis import strategies as st
from segue_hub.testing import RunningHub, run_hub

from tests.joining import EXAMPLE, joined
from tests.serving import free_port
from tests.unit.logs import law
from tests.waiting import eventually


@pytest.fixture(scope="module")
def hub() -> Iterator[RunningHub]:
    with run_hub(EXAMPLE) as running:
        yield running


@pytest.fixture
def app(hub: RunningHub, tmp_path: Path) -> Iterator[segue.Touchpoint]:
    with joined(hub, "app", tmp_path) as touchpoint:
        yield touchpoint


def alone(folder: Path, **more: Any) -> segue.Touchpoint:
    return segue.Touchpoint("app", hub="", state=folder, **more)


# Reading its own writes.


def test_what_was_told_is_seen_in_the_next_line(app: segue.Touchpoint) -> None:
    with app.session(account="T-1", wait=5) as session:
        for number in range(1, 6):
            session.track("transfer.failed", transfer_id="T")
            assert session.context().count("transfer.failed") == number


def test_while_frames_arrive_nothing_is_missed_and_nothing_counted_twice(
    app: segue.Touchpoint, hub: RunningHub
) -> None:
    with app.session(account="T-2", wait=5) as session:
        told, wrong, done = [0], [], threading.Event()

        def look() -> None:
            while not done.is_set():
                low = told[0]
                seen = session.context().count("transfer.started")
                high = told[0] + 1
                if not low <= seen <= high:
                    wrong.append((low, seen, high))

        reader = threading.Thread(target=look)
        reader.start()
        for number in range(200):
            session.track("transfer.started", transfer_id=f"T{number % 5}")
            told[0] = number + 1
        assert app.flush(20)
        held = app.runtime().machine.replica.all()[0]
        eventually(lambda: not held.pending)
        done.set()
        reader.join(10)
        assert wrong == []
        assert session.context().count("transfer.started") == 200
    assert hub.hub.store.counts()["facts"] >= 200


def test_a_fact_that_the_hub_refuses_leaves_what_is_seen_and_is_counted(app: segue.Touchpoint) -> None:
    with app.session(account="T-3", wait=5) as session:
        session.track("transfer.failed", transfer_id="T")
        session.track("call.started")
        assert session.context().count("call.started") == 1
        eventually(lambda: session.context().count("call.started") == 0)
        assert session.context().count("transfer.failed") == 1
        eventually(lambda: app.status()["losses"] == {"rejected:NOT_GRANTED": 1})
        assert [code for _, code, _ in app.runtime().outbox.dead()] == ["NOT_GRANTED"]


def test_a_decision_and_what_was_done_become_facts_that_others_see(hub: RunningHub, tmp_path: Path) -> None:
    with joined(hub, "app", tmp_path) as app, joined(hub, "chat", tmp_path) as chat:

        @app.decision("app.offer")
        def offer(c: segue.Context) -> segue.Action:
            return segue.Action(kind="help.call", purpose="service")

        @app.decision("app.greeting", default="hello")
        def greeting(c: segue.Context) -> str:
            return "again"

        with app.session(account="T-4", wait=5) as session, chat.session(account="T-4", wait=5) as other:
            for _ in range(5):
                session.decide(greeting)
            decision = session.decide(offer)
            with decision.act():
                pass
            (action,) = eventually(lambda: other.context().actions("help.call"))
            assert action.properties["status"] == "completed"
            assert action.properties["decision_id"] == decision.id.hex()
            assert app.flush()
            eventually(lambda: len(other.context().decisions("app.greeting")) == 1)


def test_an_interaction_holds_what_is_told_inside_together(hub: RunningHub, tmp_path: Path) -> None:
    with (
        joined(hub, "app", tmp_path) as app,
        joined(hub, "chat", tmp_path) as chat,
        app.session(account="T-5", wait=5) as session,
        chat.session(account="T-5", wait=5) as other,
    ):
        with session.interaction("visit-1", outcome="resolved"):
            session.track("transfer.started", transfer_id="T")
        with pytest.raises(ZeroDivisionError), session.interaction("visit-2"):
            raise ZeroDivisionError

        def ended() -> list[tuple[str, str, str]]:
            return [(i.id, i.outcome, i.direction) for i in other.context().interactions()]

        eventually(lambda: ended() == [("visit-1", "resolved", "inbound"), ("visit-2", "abandoned", "inbound")])


def test_a_customer_held_once_is_shared_by_all_sessions_and_let_go_after_its_lease(app: segue.Touchpoint) -> None:
    first, second = app.session(account="T-6", wait=5), app.session(account="T-6")
    first.track("transfer.failed", transfer_id="T")
    assert second.context().count("transfer.failed") == 1
    assert app.status()["held"] == 1
    for session in (first, second):
        session.close()
    assert app.status()["held"] == 1
    with app.session(account="T-7", keep="1s"):
        pass
    runtime = app.runtime()
    clock = runtime.clock
    runtime.clock = lambda: clock() + 6 * 60_000_000
    runtime._errands.append(runtime._housekeep)  # the outbox is its worker's own: nobody else may touch it
    eventually(lambda: app.status()["held"] == 0)


# Alone.


def test_without_a_hub_it_decides_on_what_it_saw_itself_and_says_so(tmp_path: Path) -> None:
    app = alone(tmp_path)

    @app.decision("app.next", default="nothing")
    def next_step(c: segue.Context) -> str:
        return "help" if c.count("transfer.failed") else "nothing"

    with app.session(account="T-10") as session:
        assert session.decide(next_step).value == "nothing"
        session.track("transfer.failed")
        decision = session.decide(next_step)
        assert (decision.value, decision.freshness.state, decision.version) == ("help", "MISSING", 0)
    app.close()


def test_opening_waits_no_longer_than_asked_where_nobody_answers(tmp_path: Path) -> None:
    app = segue.Touchpoint("app", hub=f"127.0.0.1:{free_port()}", key="k", state=tmp_path)
    for wait, most in (("150ms", 0.6), (0, 0.25)):
        began = time.monotonic()
        session = app.session(account=f"T-{wait}", wait=wait)
        assert time.monotonic() - began < most
        assert session.context().freshness.state == "MISSING"
    assert not app.flush(0.05) or app.status()["waiting"] == 0
    app.close()


def test_making_a_touchpoint_starts_and_opens_nothing(tmp_path: Path) -> None:
    before = threading.active_count()
    app = segue.Touchpoint("app", hub="127.0.0.1:1", state=tmp_path / "state")
    assert threading.active_count() == before
    assert not (tmp_path / "state").exists()
    app.close()


def test_nothing_durable_is_lost_where_the_process_ends_in_good_order(tmp_path: Path) -> None:
    first = alone(tmp_path)
    with first.session(account="T-11") as session:
        for _ in range(10):
            session.track("transfer.failed", transfer_id="T")
    first.close()
    second = alone(tmp_path)
    eventually(lambda: second.status()["waiting"] == 10)
    assert len(list(tmp_path.glob("app.*.outbox"))) == 1
    second.close()


def test_a_durable_fact_is_on_disk_when_track_returns(tmp_path: Path) -> None:
    app = alone(tmp_path)
    with app.session(account="T-12") as session:
        session.track("transfer.failed", transfer_id="T", durable=True)
        assert app.runtime().outbox.waiting == 1
    app.close()


def test_where_the_disk_cannot_be_written_facts_wait_in_memory_and_are_delivered(
    hub: RunningHub, tmp_path: Path
) -> None:
    blocked = tmp_path / "state"
    blocked.write_text("a file where the folder should be")
    app = segue.Touchpoint("app", hub=hub.address, key=hub.key("app"), state=blocked)
    with app.session(account="T-13", wait=5) as session:
        session.track("transfer.failed", transfer_id="T")
        assert session.context().count("transfer.failed") == 1
        eventually(lambda: app.status()["trouble"])
        assert app.status()["waiting"] == 1
    app.close()


# Restarts with the hub down.


def test_a_restart_without_a_hub_has_the_plan_and_where_asked_the_contexts(hub: RunningHub, tmp_path: Path) -> None:
    with joined(hub, "app", tmp_path, persist_contexts=True) as app:
        with app.session(account="T-20", wait=5) as session:
            session.track("transfer.failed", transfer_id="T")
            assert app.flush()
            eventually(lambda: session.context().version)
        plan = app.status()["plan"]
    nobody = f"127.0.0.1:{free_port()}"
    again = segue.Touchpoint("app", hub=nobody, key="k", state=tmp_path / "app", persist_contexts=True)
    with again.session(account="T-20", wait=0) as session:
        context = session.context()
        assert again.status()["plan"] == plan
        assert context.freshness.state == "PERSISTED"
        assert context.freshness.age > 0
        assert context.journey("money_transfer").active
        session.track("transfer.failed", transfer_id="T")
        assert session.context().count("transfer.failed") == 2
    with again.session(account="T-21-nobody", wait=0) as other:
        assert other.context().freshness.state == "MISSING"
    again.close()


def test_contexts_are_not_written_to_disk_unless_asked(hub: RunningHub, tmp_path: Path) -> None:
    with joined(hub, "app", tmp_path) as app, app.session(account="T-22-secret", wait=5) as session:
        session.track("transfer.failed", transfer_id="T")
        assert app.flush()
        eventually(lambda: session.context().version)
    left = [path for path in (tmp_path / "app").iterdir() if b"T-22-secret" in path.read_bytes()]
    assert left == []


# Never in the way.

ODD: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(), max_size=20),
        st.binary(max_size=8),
        st.builds(object), st.just({1, 2}), st.just(float("nan")), st.just("\ud800"), st.just(10**400),
        st.just(Exception("x")), st.datetimes(), st.decimals(allow_nan=True),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(st.text(max_size=5), st.integers()), inner, max_size=3),
        st.tuples(inner),
    ),
    max_leaves=6,
)  # fmt: skip


class Hostile:
    """A value that can be neither shown, compared nor hashed."""

    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no")

    __hash__ = None  # type: ignore[assignment]


def deep() -> list[Any]:
    made: list[Any] = []
    for _ in range(sys.getrecursionlimit() * 2):
        made = [made]
    return made


def circle() -> list[Any]:
    made: list[Any] = []
    made.append(made)
    return made


@pytest.fixture(scope="module")
def loner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[segue.Touchpoint]:
    touchpoint = alone(tmp_path_factory.mktemp("loner"), strict=False)
    yield touchpoint
    touchpoint.close()


@law(150)
@given(st.one_of(st.text(max_size=20), ODD), st.dictionaries(st.text(max_size=8), ODD, max_size=4), ODD, ODD)
def test_nothing_that_is_told_or_answered_raises_into_the_host(
    loner: segue.Touchpoint, type_: Any, properties: dict[str, Any], answer: Any, name: Any
) -> None:
    question = loner.decision("odd", default="x")(lambda c: answer)
    before = loner.status()
    with loner.session(account="T-30", wait=0) as session:
        session.track(type_, properties)
        session.track("odd", {"value": answer})
        session.set_trait("odd", answer)
        session.consent("marketing", answer)
        session.subscription("news", answer)
        session.identify(email=name)
        session.track("still.works")
        session.decide(question).explain()
    eventually(lambda: loner.status()["offered"] > before["offered"])


@pytest.mark.parametrize(
    "answer", [Hostile(), deep(), circle(), "\ud800", float("nan"), b"\xff"], ids=lambda v: type(v).__name__
)
def test_an_answer_that_nobody_can_write_down_is_given_and_its_fact_is_not_lost_in_silence(
    tmp_path: Path, answer: Any
) -> None:
    app = alone(tmp_path, strict=False)
    question = app.decision("odd", default="x")(lambda c: answer)
    with app.session(account="T-31", wait=0) as session:
        assert session.decide(question).value is answer
        session.decide(question)
        session.track("odd", {"value": answer})
        session.track("fine")

        def told() -> int:
            status = app.status()
            return int(status["waiting"] + sum(status["refused_here"].values()) + sum(status["losses"].values()))

        eventually(lambda: told() == 3)
        assert app.status()["last_error"] == ""
    app.close()


def test_a_name_that_cannot_be_one_spoils_no_later_fact(tmp_path: Path) -> None:
    app = alone(tmp_path, strict=False)
    with app.session(account="T-32", wait=0) as session:
        session.identify(email=None)  # type: ignore[arg-type]
        session.identify(email="\ud800")
        session.identify(email="x" * 5000)
        session.identify(email=["a"])  # type: ignore[arg-type]
        refused = sum(app.status()["refused_here"].values())
        assert refused == 4
        session.track("transfer.failed", transfer_id="T", durable=True)
        assert app.status()["waiting"] == 1
        assert sum(app.status()["refused_here"].values()) == refused
    app.close()


def test_a_customer_whose_name_cannot_be_sent_spoils_nobody_elses_stream(hub: RunningHub, tmp_path: Path) -> None:
    app = segue.Touchpoint("app", hub=hub.address, key=hub.key("app"), state=tmp_path, strict=False)
    try:
        for name in ("\ud800", "", "null"):
            with contextlib.suppress(segue.SegueError):  # said at once, by name: fine
                app.session(account=name, wait=0).track("transfer.failed", transfer_id="T")
        with app.session(account="T-33", wait=5) as session:
            assert session.context().freshness.state == "LIVE"
            session.track("transfer.failed", transfer_id="T")
            eventually(lambda: session.context().version > 0)
    finally:
        app.close()


def test_a_function_that_fails_gives_the_default_and_the_reason(tmp_path: Path) -> None:
    app = alone(tmp_path, strict=False)
    failing = app.decision("app.fails", default="safe")(lambda c: 1 // 0)
    with app.session(account="T-34", wait=0) as session:
        decision = session.decide(failing)
        assert (decision.value, decision.reason) == ("safe", "FUNCTION_FAILED")
        assert "ZeroDivisionError" in decision.explain()
    app.close()


# asyncio.


def test_an_asyncio_host_waits_without_blocking_its_loop(hub: RunningHub, tmp_path: Path) -> None:
    async def host() -> int:
        app = segue.AsyncTouchpoint("app", hub=hub.address, key=hub.key("app"), state=tmp_path)
        assert await app.ready(10)
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        async with app.open(account="T-40", wait=5) as session:
            session.track("transfer.failed", transfer_id="T")
            assert await app.flushed(10)
            seen = session.context().count("transfer.failed")
        ticking.cancel()
        assert ticks > 10
        await asyncio.to_thread(app.close)
        return seen

    assert asyncio.run(host()) == 1
