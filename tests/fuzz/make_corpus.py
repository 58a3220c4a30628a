"""Writes the corpus anew: small, real inputs of every door. `python -m tests.fuzz.make_corpus`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from segue.outbox import Offered, Outbox
from segue.v1 import event_service_pb2, fact_pb2, sync_pb2
from segue.wire import fact_to_wire

from tests.calling import event
from tests.fuzz.targets import AT, plan
from tests.joining import EXAMPLE
from tests.offering import offer

HERE = Path(__file__).with_name("corpus")
EXPRESSIONS = (
    'seen("app", "1h") && trait.value_tier == "high"', "journey.money_transfer.active", 'row.a == "1" ? 1 : 2',
    '[1, 2, 3].all(x, x > 0) && {"a": 1.5}["a"] < 2.0', 'timestamp("2024-01-01T00:00:00Z") + duration("1h") > now',
    'row.b.matches("t.*t") || size(row.b) == 4u', 'b"\\xff" + b"a" == bytes(row.b)', "9223372036854775807 + 1 == 0",
    'row["a"].startsWith("1") && string(1.0 / 0.0) != ""', 'int("12") % 5 == -2 && !has(row.zz)',
)  # fmt: skip


def put(target: str, name: str, data: bytes) -> None:
    """Writes one input."""
    (HERE / target).mkdir(parents=True, exist_ok=True)
    (HERE / target / name).write_bytes(data)


def facts() -> None:
    """Batches of facts and tallies."""
    several = [event("transfer.failed", "account=A-1", "phone=+41791234567", at=AT + n, transfer_id="T", error="E42",
                     id_=bytes([n]) * 16) for n in range(3)]  # fmt: skip
    tally = event_service_pb2.Tally(producer="app.1", carried=[{"first": 1, "last": 3}], settled=0, handed_out=3)
    request = event_service_pb2.PublishEventsRequest(facts=[fact_to_wire(f) for f in several], tallies=[tally])
    put("facts", "events", request.SerializeToString())
    trait = event("value_tier", "account=A-1", at=AT, kind="trait", value="high", id_=b"t" * 16)
    put("facts", "trait", event_service_pb2.PublishEventsRequest(facts=[fact_to_wire(trait)]).SerializeToString())
    bare = fact_pb2.Fact(id=b"f" * 16, occurred_at=AT)
    put("facts", "bare", event_service_pb2.PublishEventsRequest(facts=[bare], sent_at=AT).SerializeToString())


def streams() -> None:
    """Both sides of a stream."""
    welcome = sync_pb2.SyncResponse(
        welcome=sync_pb2.Welcome(incarnation="i", server_time=AT, touchpoint="chat", several=True)
    )
    from segue.domain.plan import canonical

    update = sync_pb2.PlanUpdate(digest=plan().digest, document=canonical(plan().document))
    context = sync_pb2.ContextUpdate(subscription=1)
    context.context.version, context.context.view, context.context.customer = 7, "v", "c1"
    context.context.plan = plan().digest
    for name, data in (("envelope", b"[1,null,3,9]"), ("traits", b'{"value_tier":["high",1,"crm"]}')):
        section = context.context.sections.add()
        section.name, section.data = name, data
    gone = sync_pb2.ContextUpdate(subscription=1, gone="NOT_FOUND", included=[b"x" * 16])
    audience = sync_pb2.AudienceChange(subscription=2, audience="in_trouble", through=4, reset=True)
    audience.members.add(customer="c1", number=4, at=AT, reason="joined")
    mark = sync_pb2.Bookmark(server_time=AT, subscriptions=1, digest="0")
    parts = [
        welcome, sync_pb2.SyncResponse(plan=update), sync_pb2.SyncResponse(context=context),
        sync_pb2.SyncResponse(context=gone), sync_pb2.SyncResponse(audience=audience),
        sync_pb2.SyncResponse(bookmark=mark),
        sync_pb2.SyncResponse(goodbye=sync_pb2.Goodbye(reason="r", reconnect_after_ms=5)),
        sync_pb2.SyncResponse(error=sync_pb2.SyncError(subscription=2, code="C", message="m")),
        sync_pb2.SyncResponse(workspace=sync_pb2.WorkspaceUpdate(digest="d", document=b'{"incidents":[]}')),
        sync_pb2.SyncResponse(contexts=sync_pb2.ContextUpdates(updates=[context, gone, context])),
    ]  # fmt: skip
    put("frames", "all", b"\xff\xfe\xfd".join(part.SerializeToString() for part in parts))
    for number, part in enumerate(parts):
        if number != 1:
            put("frames", f"one-{number}", part.SerializeToString())
    subscribe = sync_pb2.Subscribe(subscription=1, identifier={"kind": "phone", "value": "+41 79 123 45 67"})
    put("requests", "subscribe", sync_pb2.SyncRequest(seq=1, subscribe=subscribe).SerializeToString())


def texts() -> None:
    """Expressions, plans, mappings and rows."""
    for number, source in enumerate(EXPRESSIONS):
        put("expressions", f"e{number}", source.encode())
    root = Path(EXAMPLE)
    (a_map, *_) = sorted((root / "maps").glob("*.yaml"))
    files = [a_map, root / "audiences.yaml", root / "guardrails.yaml", root / "touchpoints.yaml"]
    put("plans", "example", b"\x00".join(file.read_bytes() for file in files))
    put("plans", "map", a_map.read_bytes())
    put("plans", "anchors", b"a: &a [1, 2]\nb: *a\nc: !!binary aGk=\n? [x]\n: y\n")
    for name in ("bank", "incidents"):
        put("mappings", name, (root.parent / "imports" / name / "mapping.yaml").read_bytes())
    put("imports", "csv", b'\x00a,time\n1,2024-01-01\n2,"x\ny"\n3\n')
    put("imports", "jsonl", b'\x01{"a": 1, "t": {"x": [1, 2]}}\n[]\n{"a": 1e999}\n')
    put("imports", "xes", b'\x02<log><trace><string key="concept:name" value="1"/><event><date key="time:timestamp"'
        b' value="2024-01-01T00:00:00Z"/></event></trace></log>')  # fmt: skip


def journals() -> None:
    """An outbox's file, whole and cut; `torn-schema` beside them was found by fuzzing, and is kept as it is."""
    with tempfile.TemporaryDirectory() as folder:
        outbox = Outbox(Path(folder), "app", 100, 100_000)
        outbox.open()
        offer(outbox, Offered(b"a" * 16, b"body", 0))
        outbox.journal()
        outbox.close()
        (path,) = Path(folder).glob("*.outbox")
        put("journals", "whole", path.read_bytes())
        put("journals", "cut", path.read_bytes()[:5000])
        put("journals", "no-database", b"nothing of ours")


def names() -> None:
    """Keys and identifiers; `no-text` and `kind-no-text` were found by fuzzing."""
    put("keys", "one", b"Bearer segue_app_A_Q4gOcQxJgEcj6VKFtEE6hq4aRB3AlN4JaaOCGFcyw")
    put("keys", "no-text", b"Bearer \xff\xfe")
    put("keys", "none", b"Basic YTpi")
    for number, text in enumerate(
        ("account=A-1009", "phone=+41 (0)79 123 45 67", "email=Ann@Example.COM", "phone=00417912345", "cookie=",
         "=x", "2h", "1.5d", "phone=\u0661\u0662\u0663", "email=\u0130@x")
    ):  # fmt: skip
        put("names", f"n{number}", text.encode())
    put("names", "kind-no-text", b"\xa0hone=|")


def hints() -> None:
    """A status with all its details."""
    status = status_pb2.Status(code=8, message="full")
    delay = duration_pb2.Duration(seconds=1, nanos=5_000_000)
    information = error_details_pb2.ErrorInfo(reason="OVERLOADED", domain="segue")
    for detail in (information, error_details_pb2.RetryInfo(retry_delay=delay)):
        wrapped = any_pb2.Any()
        wrapped.Pack(detail)
        status.details.append(wrapped)
    put("hints", "status", status.SerializeToString())


if __name__ == "__main__":
    for write in (facts, streams, texts, journals, hints, names):
        write()
