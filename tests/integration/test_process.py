"""A touchpoint's process among others: killed hubs, killed hosts, forks, and what importing it brings along."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import segue
from segue.domain.fact import Fact
from segue_hub.storage.sqlite import SqliteStore
from segue_hub.testing import RunningHub, run_hub

from tests.joining import EXAMPLE
from tests.serving import Serving, environment, serving
from tests.waiting import eventually


@pytest.fixture(scope="module")
def hub() -> Iterator[RunningHub]:
    with run_hub(EXAMPLE) as running:
        yield running


def script(text: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs a text in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", text, *arguments], capture_output=True, text=True, timeout=60, env=environment(**env),
        check=False,
    )  # fmt: skip


def ids_in(store: Path) -> list[str]:
    """All facts of a store's file by id, in their order of arrival; no hub may serve it."""
    from segue.wire import fact_from_bytes

    opened = SqliteStore(store)
    try:
        assert list(opened.check()) == []
        return [fact_from_bytes(body).id.hex() for _, body in opened.log(0, 1_000_000) if body is not None]
    finally:
        opened.close()


def test_a_hub_that_is_killed_takes_nothing_with_it_and_its_touchpoints_go_on(tmp_path: Path) -> None:
    ledger: list[str] = []
    with serving(tmp_path) as hub:
        app = segue.Touchpoint("app", hub=hub.address, key=hub.key("app"), state=tmp_path / "app")
        app.listeners.append(lambda fact: ledger.append(fact.id.hex()))
        question = app.decision("app.count", record="never")(lambda c: c.count("transfer.failed"))
        try:
            session = app.session(account="P-1", wait=5)
            for _ in range(20):
                session.track("transfer.failed", transfer_id="T")
            eventually(lambda: session.context().version)
            hub.kill()
            eventually(lambda: app.status()["connection"] == "DOWN")
            for _ in range(20):
                session.track("transfer.failed", transfer_id="T")
            decision = session.decide(question)
            assert decision.value == 40
            assert decision.freshness.state == "LIVE"
            assert decision.freshness.age > 0
            clock = app.runtime().clock
            app.runtime().clock = lambda: clock() + 40_000_000
            assert session.decide(question).freshness.state == "STALE"
            app.runtime().clock = clock
            hub.start()
            assert app.flush(30)
            eventually(lambda: app.status()["connection"] == "READY", 30)
            held = app.runtime().machine.replica.all()[0]
            eventually(lambda: not held.pending)
            assert session.decide(question).value == 40
            assert app.status()["losses"] == {}
        finally:
            app.close()
        assert hub.stop() == 0
        assert sorted(ids_in(hub.store)) == sorted(ledger)
        assert len(ledger) == 40


_DIES = """
import os, sys, segue
app = segue.Touchpoint("app", hub=sys.argv[1], key="k", state=sys.argv[2])
session = app.session(account="P-2", wait=0)
ids = []
app.listeners.append(lambda fact: ids.append(fact.id.hex()))
for _ in range(24):
    session.track("transfer.failed", transfer_id="T")
session.track("transfer.failed", transfer_id="T", durable=True)
print(" ".join(ids), flush=True)
os._exit(9)
"""


def test_what_a_host_that_died_had_journalled_is_delivered_by_the_next_one(hub: RunningHub, tmp_path: Path) -> None:
    died = script(_DIES, "127.0.0.1:1", str(tmp_path))
    assert died.returncode == 9, died.stderr
    ids = died.stdout.split()
    assert len(ids) == 25
    app = segue.Touchpoint("app", hub=hub.address, key=hub.key("app"), state=tmp_path)
    with app.session(account="P-2", wait=5) as session:
        eventually(lambda: session.context().count("transfer.failed") == 25)
        assert app.flush(10)
    positions = hub.hub.store.find([bytes.fromhex(id_) for id_ in ids])
    assert len(positions) == 25
    app.close()
    assert list(tmp_path.glob("*.outbox")) == []


def test_two_living_processes_leave_each_others_outboxes_alone(tmp_path: Path) -> None:
    first = segue.Touchpoint("app", hub="", state=tmp_path)
    with first.session(account="P-3") as session:
        session.track("transfer.failed", transfer_id="T", durable=True)
    second = segue.Touchpoint("app", hub="", state=tmp_path)
    with second.session(account="P-3") as session:
        session.track("transfer.failed", transfer_id="T", durable=True)
        assert second.status()["waiting"] == first.status()["waiting"] == 1
    first.close()
    second.close()


_FORKS = """
import os, sys, segue
app = segue.Touchpoint("app", hub=sys.argv[1], key=sys.argv[2], state=sys.argv[3])
with app.session(account="P-4", wait=5) as session:
    session.track("transfer.failed", transfer_id="parent")
    assert app.flush(10)
    children = []
    for number in range(3):
        child = os.fork()
        if child == 0:
            try:
                with app.session(account="P-4", wait=5) as own:
                    own.track("transfer.failed", transfer_id=f"child {number}")
                    code = 0 if app.flush(10) and own.context().freshness.state == "LIVE" else 3
                app.close()
            except BaseException as error:
                print(error, file=sys.stderr)
                code = 4
            os._exit(code)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    session.track("transfer.failed", transfer_id="parent again")
    assert app.flush(10)
    print(codes, flush=True)
app.close()
"""


def test_forked_children_have_a_life_of_their_own_and_the_parent_keeps_its(hub: RunningHub, tmp_path: Path) -> None:
    done = script(_FORKS, hub.address, hub.key("app"), str(tmp_path))
    assert done.stdout.strip() == "[0, 0, 0]", done.stderr

    async def count() -> int:
        return int(hub.hub.reports.customer(segue.Identifier("account", "P-4"))["facts"])

    assert hub.call(count()) == 5


_INHERITS = """
import os, sys, segue
app = segue.Touchpoint("app", hub=sys.argv[1], key=sys.argv[2], state=sys.argv[3])
session = app.session(account="P-5", wait=5)
assert app.flush(10)
child = os.fork()
if child == 0:
    session.track("transfer.failed", transfer_id="from a session that was opened before the fork")
    sent = app.flush(10)
    seen = session.context().count("transfer.failed")
    app.close()
    os._exit(0 if sent and seen == 1 else 3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
app.close()
"""


def test_a_session_that_a_child_inherits_tells_through_the_child(hub: RunningHub, tmp_path: Path) -> None:
    done = script(_INHERITS, hub.address, hub.key("app"), str(tmp_path))
    assert done.stdout.strip() == "0", done.stderr

    async def count() -> int:
        return int(hub.hub.reports.customer(segue.Identifier("account", "P-5"))["facts"])

    assert hub.call(count()) == 1


_IMPORTS = """
import json, sys, threading
before = set(sys.modules)
import segue
print(json.dumps({"modules": sorted(set(sys.modules) - before), "threads": threading.active_count()}))
"""


def test_importing_the_sdk_brings_no_hub_no_parser_and_no_thread(tmp_path: Path) -> None:
    done = script(_IMPORTS)
    found = json.loads(done.stdout)
    roots = {name.partition(".")[0] for name in found["modules"]}
    assert not roots & {
        "segue_hub", "yaml", "apsw", "structlog", "aiohttp", "click", "rich", "cel", "cel_expr_python", "orjson",
        "sqlite_utils", "prometheus_client", "pytest", "hypothesis", "requests", "numpy", "pandas",
    }  # fmt: skip
    assert "segue.testing" not in found["modules"]
    assert found["threads"] == 1


def test_a_touchpoint_closes_with_its_process_and_leaves_nothing_behind(hub: RunningHub, tmp_path: Path) -> None:
    text = """
import sys, segue
app = segue.Touchpoint("app", hub=sys.argv[1], key=sys.argv[2], state=sys.argv[3])
with app.session(account="P-6", wait=5) as session:
    session.track("transfer.failed", transfer_id="T")
assert app.flush(10)
"""
    done = script(text, hub.address, hub.key("app"), str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    kept = (".plan.json", ".workspace.json")  # for the next process, which may find no hub
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(kept)] == []


def test_the_ledger_is_what_a_touchpoint_tells_fact_by_fact(tmp_path: Path) -> None:
    told: list[Fact] = []
    app = segue.Touchpoint("app", hub="", state=tmp_path)
    app.listeners.append(told.append)
    with app.session(account="P-7") as session:
        session.track("transfer.failed", transfer_id="T")
        session.set_trait("value_tier", "high")
        session.identify(email="p@x.org")
    app.close()
    assert [fact.kind for fact in told] == ["event", "trait", "link"]
    assert [str(identifier) for identifier in told[-1].identifiers] == ["account=P-7", "email=p@x.org"]


def test_a_served_store_is_used_by_nobody_else(tmp_path: Path) -> None:
    hub = Serving(tmp_path)
    hub.start()
    try:
        done = script(
            "import sys; from pathlib import Path; from segue_hub.storage.sqlite import SqliteStore, StoreInUse\n"
            "try: SqliteStore(Path(sys.argv[1]))\nexcept StoreInUse as error: print(error)",
            str(hub.store),
        )  # fmt: skip
        assert "in use by another process" in done.stdout
    finally:
        assert hub.stop() == 0
