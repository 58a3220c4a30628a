"""The doors that are fuzzed: each takes any bytes, and refuses what it cannot read with its own error or not at all.

Owns which exceptions are an answer; whatever else is raised is a finding. Knows no fuzzer: `python -m tests.fuzz` runs
these under atheris, `test_corpus` replays what is kept.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

from google.protobuf.message import DecodeError
from segue.config import load
from segue.domain.expression import ExpressionError
from segue.domain.fold import fold
from segue.domain.grant import everything
from segue.domain.identifier import parse_identifier
from segue.domain.instant import span
from segue.domain.plan import Plan
from segue.domain.tally import Tally
from segue.errors import ConfigError, FactError
from segue.outbox import Offered, Outbox
from segue.retry_hint import asked_pause
from segue.sync import Machine, prepare
from segue.v1 import event_service_pb2, sync_pb2
from segue.wire import fact_from_bytes, fact_from_wire, fact_to_bytes, identifier_from_wire, identifier_to_wire, stamped
from segue.wire_sync import incoming_from_wire, outgoing_to_wire
from segue_hub.checking.expression import Checker, ExpressionFlawed, check_row_expression
from segue_hub.checking.plan_check import check_plan, read_directory
from segue_hub.importing.mapping import Mapper
from segue_hub.importing.mapping_check import MappingInvalid, load_mapping
from segue_hub.importing.reader import Unreadable, rows
from segue_hub.importing.value import RowScope, compiled
from segue_hub.server.gate import bearer
from segue_hub.services.admission import Admission
from segue_hub.services.failure import Refusal
from segue_hub.services.sequences import checked
from segue_hub.services.touchpoints import Touchpoints
from segue_hub.storage.memory import MemoryStore

from tests.joining import EXAMPLE
from tests.offering import offer

AT: Final = 1_780_000_000_000_000
_MAPPING: Final = Path(__file__).parents[2] / "examples" / "imports" / "bank" / "mapping.yaml"


@cache
def plan() -> Plan:
    document = check_plan(read_directory(Path(EXAMPLE))).document
    assert document is not None
    return Plan(document)


def frames(data: bytes) -> None:
    """What a hub says on a stream, read by the SDK: bytes that are no message end the stream, nothing else does."""
    machine = Machine("fuzz", "fuzz")
    machine.connected()
    machine.subscribe(next(iter(_NAMES)), "service")
    machine.watch("in_trouble", "service", lambda *_: None)
    for number, part in enumerate(data.split(b"\xff\xfe\xfd"), 1):
        try:
            response = sync_pb2.SyncResponse.FromString(part)
        except DecodeError:
            return
        response.seq = number
        message = prepare(incoming_from_wire(response))
        for count, outgoing in enumerate(machine.received(message, AT), 1):
            outgoing_to_wire(outgoing, count)
        for held in machine.replica.all():
            held.drop([b"x"], machine.plan)
    machine.told.clear()


def facts(data: bytes) -> None:
    """What a producer publishes, up to its place in the log, and folded."""
    try:
        request = event_service_pb2.PublishEventsRequest.FromString(data)
    except DecodeError:
        return
    admission, taken = Admission(), []
    with contextlib.suppress(Refusal):
        checked([_tally(message) for message in request.tallies])
    for message in list(request.facts)[:50]:
        try:
            fact = fact_from_wire(message)
        except FactError:
            continue
        if admission.admit(fact, everything("app"), plan(), AT, request.sent_at) is None:
            stored = fact_from_bytes(stamped(message, fact))
            assert fact_from_bytes(fact_to_bytes(stored)) == stored
            taken.append(stored)
    taken.sort(key=lambda fact: (fact.occurred_at, fact.seq, fact.id))
    fold(plan(), taken)


def _tally(message: Any) -> Tally:
    return Tally(
        message.producer, tuple((run.first, run.last) for run in message.carried), message.settled,
        tuple((run.first, run.last, run.reason) for run in message.lost), message.handed_out, message.at_most,
        message.ended,
    )  # fmt: skip


@cache
def _checker() -> Checker:
    return Checker(plan().vocabulary, tuple(plan().document.get("maps", {})))


def expressions(data: bytes) -> None:
    """An expression of a plan and of a mapping: checked, compiled, and asked."""
    source = data.decode("utf-8", "replace")
    for place in ("map", "guardrail"):
        with contextlib.suppress(ExpressionFlawed):
            _checker().check(source, place, "any")
    try:
        tree = check_row_expression(source, "any")
    except ExpressionFlawed:
        return
    expression = compiled({"source": source, "tree": tree})
    scope: Any = RowScope({"a": "1", "b": "text", "c": 2.5})
    with contextlib.suppress(ExpressionError):
        expression.value(scope)
    expression.holds(scope)


def plans(data: bytes) -> None:
    """Files of a plan: `name NUL text` one after the other, beside the example's vocabulary."""
    files = dict(_vocabulary())
    names = ("maps/fuzz.yaml", "audiences.yaml", "guardrails.yaml", "touchpoints.yaml", "vocabulary.yaml")
    for name, part in zip(names, data.split(b"\x00"), strict=False):
        if part:
            files[name] = part.decode("utf-8", "replace")
    checked_plan = check_plan(files)
    for problem in checked_plan.problems:
        str(problem)
    if checked_plan.document is not None:
        Plan(checked_plan.document)


@cache
def _vocabulary() -> tuple[tuple[str, str], ...]:
    files = read_directory(Path(EXAMPLE))
    return (("vocabulary.yaml", files["vocabulary.yaml"]),)


def mappings(data: bytes) -> None:
    """A mapping of an import."""
    with tempfile.TemporaryDirectory(prefix="segue-fuzz-") as folder:
        path = Path(folder) / "mapping.yaml"
        path.write_bytes(data)
        try:
            Mapper(load_mapping(path)).outcome(1, {"a": "1", "time": "2024-01-01T00:00:00Z"})
        except MappingInvalid as error:
            str(error)


@cache
def _mapper() -> Mapper:
    return Mapper(load_mapping(_MAPPING))


def imports(data: bytes) -> None:
    """Rows of a file: the first byte says of which format."""
    form = ("csv", "jsonl", "xes", "csv")[data[0] % 4] if data else "csv"
    with tempfile.TemporaryDirectory(prefix="segue-fuzz-") as folder:
        path = Path(folder) / f"rows.{form}"
        path.write_bytes(data[1:])
        mapper = _mapper()
        try:
            for number, row in rows(path, form):
                mapper.outcome(number, row)
                if number > 200:
                    break
        except Unreadable as error:
            str(error)


def journals(data: bytes) -> None:
    """An outbox's file that a dead process left: it is adopted, or laid aside, and the host goes on."""
    with tempfile.TemporaryDirectory(prefix="segue-fuzz-") as folder:
        (Path(folder) / "app.1.aaaaaaaaaaaaaaaa.outbox").write_bytes(data)
        outbox = Outbox(Path(folder), "app", 1000, 1_000_000)
        outbox.open()
        try:
            offer(outbox, Offered(b"0123456789abcdef", b"body", 0))
            assert outbox.journal() == 1
            taken = outbox.take(100, 1_000_000)
            assert b"0123456789abcdef" in {row.id for row in taken}
            outbox.settle(taken, [])
            outbox.forget()
        finally:
            outbox.close()


def hints(data: bytes) -> None:
    """The details of a status, as the SDK reads them."""
    assert asked_pause(data) >= 0


def requests(data: bytes) -> None:
    """What an SDK says on a stream: identifiers of subscriptions, as the hub reads them."""
    try:
        request = sync_pb2.SyncRequest.FromString(data)
    except DecodeError:
        return
    if request.WhichOneof("body") == "subscribe":
        with contextlib.suppress(FactError):
            plan().kinds.normal(identifier_from_wire(request.subscribe.identifier))


@cache
def _touchpoints() -> Touchpoints:
    return Touchpoints(MemoryStore(), lambda: AT)


def keys(data: bytes) -> None:
    """What a caller says who it is, as gRPC and HTTP read the bytes of a header: nobody, where no key is issued."""
    for text in (data.decode("latin-1"), data.decode("utf-8", "surrogateescape"), data.decode("utf-8", "replace")):
        assert _touchpoints().owner(bearer((("authorization", text),))) is None
        assert _touchpoints().owner(text.removeprefix("Bearer ")) is None
        with contextlib.suppress(ConfigError):
            load("app", hub="hub:1", key=text)


def names(data: bytes) -> None:
    """Who somebody is, as people and hosts write it: `kind=value`, and by the plan's kinds."""
    text = data.decode("utf-8", "surrogateescape")
    with contextlib.suppress(FactError):
        name = plan().kinds.normal(parse_identifier(text))
        assert plan().kinds.normal(name) == name, "what is normal stays as it is"
        assert identifier_from_wire(identifier_to_wire(name)) == name
    with contextlib.suppress(ValueError):  # no duration
        span(text)


_NAMES: Final = {identifier_from_wire(sync_pb2.Subscribe(identifier={"kind": "account", "value": "A-1"}).identifier)}
TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "frames": frames, "facts": facts, "expressions": expressions, "plans": plans, "mappings": mappings,
    "imports": imports, "journals": journals, "hints": hints, "requests": requests,
    "keys": keys, "names": names,
}  # fmt: skip
