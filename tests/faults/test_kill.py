"""F1 and F8: hubs and hosts killed at random instants, and replies that never arrive.

Promises 1 (acknowledged is kept), 2 (once), 3 (ordered: watchers' histories pass the six checks of
`tests.watch_checks`) and 6 (never silent). Each test prints one line: cycles, lost, doubled. The instants come from a
seed that is printed and can be set (`SEGUE_SEED`). The last tests are negative controls: the same reckoning over a log
from which a fact was taken, or in which one stands twice, must fail.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import grpc
import pytest
import segue
from segue.v1 import event_service_pb2, event_service_pb2_grpc
from segue.wire import fact_from_bytes, fact_to_wire
from segue_hub.storage.sqlite import SqliteStore

from tests.calling import calling, event
from tests.faults.ledgers import Ledger, Writer
from tests.faults.trial import Trial
from tests.faults.watcher import Watcher
from tests.serving import Serving, environment, serving
from tests.waiting import eventually

pytestmark = [pytest.mark.fault, pytest.mark.trial]


def in_log(store: Path) -> list[str]:
    opened = SqliteStore(store)
    try:
        return [fact_from_bytes(body).id.hex() for _, body in opened.log(0, 10_000_000) if body is not None]
    finally:
        opened.close()


def reckon(log: list[str], ledgers: list[Ledger]) -> tuple[list[str], list[str], list[str]]:
    """(lost, doubled, strangers): journalled but not in the log, in it twice, in it though nobody told it."""
    counted = Counter(log)
    told = {id_ for ledger in ledgers for id_ in ledger.told}
    lost = [id_ for ledger in ledgers for id_ in ledger.kept if id_ not in counted]
    return lost, [id_ for id_, count in counted.items() if count > 1], [id_ for id_ in counted if id_ not in told]


def sound(store: Path) -> bool:
    done = subprocess.run(
        [sys.executable, "-m", "segue_hub", "store", "check", str(store)], capture_output=True, env=environment(),
        check=False,
    )  # fmt: skip
    return done.returncode == 0 and b"sound" in done.stdout


def counted(hub: Serving, customer: str) -> int:
    with hub.admin() as admin:
        import json

        from segue.v1 import admin_service_pb2
        from segue.wire import identifier_to_wire

        request = admin_service_pb2.ShowCustomerRequest(
            identifier=identifier_to_wire(segue.Identifier("account", customer))
        )
        plain = json.loads(admin.admin.ShowCustomer(request, metadata=admin.metadata).document)
        return int(plain["activity"]["transfer.started"]["total"])


def test_f1_hubs_and_hosts_killed_again_and_again_lose_and_double_nothing_and_watchers_see_it_right(
    tmp_path: Path,
) -> None:
    trial = Trial("F1 hub and hosts killed", small=4, ci=100, long=10_000)
    chance, slowest = trial.chance, 0.0
    with serving(tmp_path) as hub:
        writers, watchers = [], []
        app, chat = hub.key("app"), hub.key("chat")
        for number in range(1, 5):
            folder = tmp_path / f"host{number}"
            folder.mkdir()
            writers.append(Writer(hub.address, app, folder, f"W-{number}", pause=0.02))
        names = [f"account={writer.customer}" for writer in writers]
        try:
            for writer in writers:
                writer.start()
            watchers = [Watcher(hub.address, chat, names) for _ in range(4)]
            for watcher in watchers:
                watcher.start()
            eventually(lambda: all(writer.lines() > 20 for writer in writers), 30)
            for cycle in range(trial.size):
                time.sleep(chance.uniform(0.02, 0.5))  # the instant of the kill: chance, no wait for anything
                hub.kill()
                if cycle % 3 == 2:
                    host = chance.choice(writers)
                    host.kill()
                    host.start()
                began = time.monotonic()
                hub.start()
                slowest = max(slowest, time.monotonic() - began)
        finally:
            for writer in writers:
                writer.ask_to_stop()
            for writer in writers:
                writer.stop()
        ledgers = [writer.ledger() for writer in writers]
        # The last process of each host adopted what its predecessors left, and delivered it.
        assert all(ledger.ended[-1] == (0, 0) for ledger in ledgers), [ledger.ended for ledger in ledgers]
        totals = [counted(hub, writer.customer) for writer in writers]
        with calling(hub.address, chat) as reader:
            reads = [reader.context(name) for name in names]
        truth = {number: (read.version, read.view, read.customer) for number, read in enumerate(reads, 1)}
        with ThreadPoolExecutor(len(watchers)) as together:
            list(together.map(lambda watcher: watcher.finish(truth), watchers))
        assert hub.stop() == 0
        with closing(SqliteStore(hub.store)) as opened:
            log = [(at, fact_from_bytes(body)) for at, body in opened.log(0, 10_000_000) if body is not None]
        ids = [fact.id.hex() for _, fact in log]
        lost, doubled, strangers = reckon(ids, ledgers)
        anomalies = [wrong for watcher in watchers for wrong in watcher.anomalies(log, truth)]
        frames = sum(len(history.frames()) for watcher in watchers for history in watcher.histories)
        trial.report(
            cycles=trial.size, facts=len(log), lost=len(lost), doubled=len(doubled), strangers=len(strangers),
            streams=sum(len(watcher.histories) for watcher in watchers), frames=frames, anomalies=len(anomalies),
            slowest_restart_s=round(slowest, 2),
        )  # fmt: skip
        assert (lost, doubled, strangers) == ([], [], [])
        assert anomalies == []
        assert frames > 4 * trial.size
        assert totals == [sum(id_ in set(ledger.told) for id_ in ids) for ledger in ledgers]
        assert sound(hub.store)


def test_f1_what_was_acknowledged_to_a_bare_client_is_there_after_each_kill(tmp_path: Path) -> None:
    trial = Trial("F1 bare client", small=4, ci=30, long=1_000)
    chance, cycles = trial.chance, trial.size
    acknowledged: list[str] = []
    with serving(tmp_path) as hub:
        key = hub.key("app")
        for _ in range(cycles):
            deadline = time.monotonic() + chance.uniform(0.05, 0.3)
            with calling(hub.address, key) as app:
                stop = subprocess.Popen(
                    ["sh", "-c", f"sleep {deadline - time.monotonic():.3f}; kill -9 {hub.process.pid}"]
                )  # type: ignore[union-attr]
                try:
                    while True:
                        facts = [event("transfer.started", "account=K-1", transfer_id="T") for _ in range(20)]
                        statuses = app.statuses(*facts)
                        acknowledged += [f.id.hex() for f, s in zip(facts, statuses, strict=True) if s == "ACCEPTED"]
                except grpc.RpcError:
                    pass
                stop.wait(10)
            hub.process.wait(10)  # type: ignore[union-attr]
            hub.start()
        assert hub.stop() == 0
        log = Counter(in_log(hub.store))
        lost = [id_ for id_ in acknowledged if log[id_] == 0]
        doubled = [id_ for id_, count in log.items() if count > 1]
        trial.report(cycles=cycles, acknowledged=len(acknowledged), lost=len(lost), doubled=len(doubled))
        assert (lost, doubled) == ([], [])
        assert len(acknowledged) > 20
        assert sound(hub.store)


def test_f1_a_hub_killed_with_many_facts_serves_again_with_all_of_them(tmp_path: Path) -> None:
    trial = Trial("F1 killed with many facts", small=5_000, ci=100_000, long=1_000_000)
    customers = max(10, trial.size // 100)
    with serving(tmp_path) as hub:
        with calling(hub.address, hub.key("app")) as app:
            for first in range(0, trial.size, 1_000):
                names = [f"account=M-{number % customers}" for number in range(first, first + 1_000)]
                facts = [event("transfer.started", name, transfer_id="T") for name in names]
                assert set(app.statuses(*facts)) == {"ACCEPTED"}
        hub.kill()
        began = time.monotonic()
        hub.start()
        serves = time.monotonic() - began
        status = hub.status()
        trial.report(facts=status["store"]["facts"], customers=customers, serving_after_s=round(serves, 2))
        assert status["store"]["facts"] == trial.size
        chosen = trial.chance.randrange(customers)
        assert counted(hub, f"M-{chosen}") == len(range(chosen, trial.size, customers))


class _DropsReplies(grpc.GenericRpcHandler):
    """Between a touchpoint and the hub: hands every batch on, and drops the first answer to it."""

    def __init__(self, hub: str) -> None:
        self.channel = grpc.insecure_channel(hub)
        self.stub = event_service_pb2_grpc.EventServiceStub(self.channel)
        self.answered: set[bytes] = set()
        self.dropped = 0

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if not handler_call_details.method.endswith("/PublishEvents"):
            return None
        key = [(n, v) for n, v in handler_call_details.invocation_metadata if n == "authorization"]

        def publish(
            request: event_service_pb2.PublishEventsRequest, context: grpc.ServicerContext
        ) -> event_service_pb2.PublishEventsResponse:
            response = self.stub.PublishEvents(request, metadata=key, timeout=10)
            ids = {fact.id for fact in request.facts}
            if not ids <= self.answered:
                self.answered |= ids
                self.dropped += 1
                context.abort(grpc.StatusCode.UNAVAILABLE, "the connection was cut on the way back")
            return response

        return grpc.unary_unary_rpc_method_handler(
            publish, event_service_pb2.PublishEventsRequest.FromString,
            event_service_pb2.PublishEventsResponse.SerializeToString,
        )  # fmt: skip


def test_f8_a_reply_that_is_lost_after_the_commit_doubles_nothing(tmp_path: Path) -> None:
    trial = Trial("F8 replies dropped", small=1_000, ci=20_000, long=100_000)
    with serving(tmp_path) as hub:
        proxy = _DropsReplies(hub.address)
        server = grpc.server(ThreadPoolExecutor(4), handlers=[proxy])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        app = segue.Touchpoint("app", hub=f"127.0.0.1:{port}", key=hub.key("app"), state=tmp_path / "app")
        told: list[str] = []
        app.listeners.append(lambda fact: told.append(fact.id.hex()))
        session = app.session(account="R-1", wait=0)
        for _ in range(trial.size // 200):
            for _ in range(200):
                session.track("transfer.started", transfer_id="T")
            assert app.flush(30)
        assert app.status()["delivered"] == trial.size
        app.close()
        server.stop(0).wait()
        proxy.channel.close()
        assert counted(hub, "R-1") == trial.size
        assert hub.status()["facts_since_start"]["DUPLICATE"] >= proxy.dropped
        assert hub.stop() == 0
        log = Counter(in_log(hub.store))
        doubled = sum(count - 1 for count in log.values())
        lost = sum(log[id_] == 0 for id_ in told)
        trial.report(facts=len(told), dropped=proxy.dropped, lost=lost, doubled=doubled)
        assert (lost, doubled) == (0, 0)
        assert proxy.dropped >= trial.size // 500


def test_f8_the_same_batch_sent_by_two_connections_at_once_counts_once(tmp_path: Path) -> None:
    with serving(tmp_path) as hub:
        key = hub.key("app")
        facts = [event("transfer.started", "account=R-2", transfer_id="T") for _ in range(500)]
        request = event_service_pb2.PublishEventsRequest(facts=[fact_to_wire(fact) for fact in facts])
        with calling(hub.address, key) as one, calling(hub.address, key) as two:
            calls = [c.events.PublishEvents.future(request, metadata=c.metadata, timeout=20) for c in (one, two) * 3]
            statuses = Counter(result.status for call in calls for result in call.result().results)
        assert statuses == {event_service_pb2.FACT_STATUS_ACCEPTED: 500, event_service_pb2.FACT_STATUS_DUPLICATE: 2500}
        assert counted(hub, "R-2") == 500


def test_control_a_fact_taken_from_the_log_is_found_missing_and_one_put_in_twice_is_found() -> None:
    ledger = Ledger(["a", "b", "c"], {"a", "b"}, [(0, 0)])
    assert reckon(["a", "b", "c"], [ledger]) == ([], [], [])
    assert reckon(["a", "c"], [ledger])[0] == ["b"]
    assert reckon(["a", "b", "b"], [ledger])[1] == ["b"]
    assert reckon(["a", "b", "x"], [ledger])[2] == ["x"]


def test_control_a_store_that_acknowledges_before_it_writes_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same reckoning over a hub's store whose last committed page images are thrown away, as a lying disk would."""
    with serving(tmp_path) as hub:
        key = hub.key("app")
        with calling(hub.address, key) as app:
            facts = [event("transfer.started", "account=C-1", transfer_id="T") for _ in range(50)]
            assert set(app.statuses(*facts)) == {"ACCEPTED"}
        hub.kill()
        hub.store.with_name(f"{hub.store.name}-wal").unlink()
        log = in_log(hub.store)
        ledger = Ledger([f.id.hex() for f in facts], {f.id.hex() for f in facts}, [])
        lost, _, _ = reckon(log, [ledger])
        print(f"control: {len(lost)} of 50 found missing")
        assert lost
