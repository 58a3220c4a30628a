"""`Decide`: a channel that is not Python asks the hub, over HTTP and gRPC (L5)."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from segue.domain.fact import CONSENT
from segue.domain.identifier import Identifier, parse_identifier
from segue.errors import ConfigError
from segue.v1 import decision_service_pb2, decision_service_pb2_grpc, replay_service_pb2, replay_service_pb2_grpc
from segue.wire import fact_from_wire, identifier_to_wire
from segue_hub.services import function_pool
from segue_hub.services.question_book import load_book
from segue_hub.testing import RunningHub, run_hub
from structlog.testing import capture_logs

from tests.calling import calling, event, refusal
from tests.joining import EXAMPLE
from tests.serving import Serving, environment, free_port
from tests.waiting import eventually

LOGIC = """
import threading
import segue

chat = segue.Touchpoint("chat")
email = segue.Touchpoint("email")
gate = threading.Event()


@chat.decision("chat.route", default="bot")
def route(c: segue.Context) -> str:
    if c.journey("money_transfer").active:
        return "priority_agent"
    return "bot"


@chat.decision("chat.always", default="bot", record="always")
def always(c: segue.Context) -> str:
    return "same"


@chat.decision("chat.never", record="never")
def never(c: segue.Context) -> str:
    return "unrecorded"


@chat.decision("chat.fails", default="the default")
def fails(c: segue.Context) -> str:
    raise ValueError("no such route")


@chat.decision("chat.waits", default="the default")
def waits(c: segue.Context) -> str:
    gate.wait(30)
    return "late"


@email.decision("email.upsell")
def upsell(c: segue.Context) -> list[segue.Action]:
    return [
        segue.Action("offer.upsell", topic="bandwidth", purpose="marketing", properties={"price": 12.5}),
        segue.Action("news.tip", topic="transfers"),
    ]
"""


@pytest.fixture(scope="module")
def logic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("logic") / "central_logic.py"
    path.write_text(LOGIC, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def hub(logic: Path) -> Iterator[RunningHub]:
    with run_hub(EXAMPLE, decisions=[str(logic)]) as running:
        yield running


def post(url: str, body: Any, key: str) -> tuple[int, dict[str, Any]]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}/v1/decide", data=data, headers={"Authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def decisions(hub: RunningHub, name: str) -> list[dict[str, Any]]:
    """What is recorded of a customer, oldest first."""

    async def read() -> list[dict[str, Any]]:
        known = hub.hub.contexts.find(parse_identifier(name))
        facts = hub.hub.contexts.facts(known.customer) if known is not None else []
        return [{"type": f.type, "touchpoint": f.touchpoint, **f.properties} for f in facts if f.kind == "decision"]

    found: list[dict[str, Any]] = hub.call(read())
    return found


def test_anything_that_speaks_http_asks(hub: RunningHub) -> None:
    with calling(hub.address, hub.key("app")) as app:
        assert app.statuses(event("transfer.started", "account=H-1", transfer_id="T-1")) == ["ACCEPTED"]
    status, answer = post(hub.http, {"decision": "chat.route", "identifiers": {"account": "H-1"}}, hub.key("chat"))
    assert (status, answer["value"], answer["reason"]) == (200, "priority_agent", "RULE")
    assert answer["explain"].startswith("chat.route = 'priority_agent' (RULE); because journey('money_transfer')")
    assert (answer["allowed"], answer["action"], answer["freshness"]) == (False, None, "LIVE")
    (recorded,) = decisions(hub, "account=H-1")
    assert (recorded["touchpoint"], recorded["value"], recorded["decided_by"]) == ("chat", "priority_agent", "hub")
    assert recorded["version"] == answer["version"] > 0
    assert recorded["plan"] == answer["plan"]
    assert len(recorded["function"]) == 12


def test_it_is_recorded_when_the_answer_changed_and_names_stay_linked(hub: RunningHub) -> None:
    key, who = hub.key("chat"), {"account": "H-2", "device": "d-2"}
    ids = [post(hub.http, {"decision": "chat.route", "identifiers": who}, key)[1]["id"] for _ in range(3)]
    assert ids[0] is not None
    assert ids[1:] == [None, None]
    with calling(hub.address, hub.key("app")) as app:
        app.statuses(event("transfer.started", "device=d-2", transfer_id="T-2"))
    changed = post(hub.http, {"decision": "chat.route", "identifiers": who}, key)[1]
    assert (changed["value"], changed["id"] is not None) == ("priority_agent", True)
    assert [found["value"] for found in decisions(hub, "device=d-2")] == ["bot", "priority_agent"]


def test_record_always_and_never(hub: RunningHub) -> None:
    key = hub.key("chat")
    for name, expected in (("chat.always", 2), ("chat.never", 0)):
        for _ in range(2):
            post(hub.http, {"decision": name, "identifiers": ["account=H-3"]}, key)
        assert len([d for d in decisions(hub, "account=H-3") if d["type"] == name]) == expected


def test_candidates_meet_guardrails_and_the_first_admissible_wins(hub: RunningHub) -> None:
    key = hub.key("email")
    body = {"decision": "email.upsell", "identifiers": {"account": "H-4"}, "purpose": "marketing"}
    _, held = post(hub.http, body, key)
    assert (held["value"], held["allowed"], held["action"]["kind"]) == ("news.tip", True, "news.tip")
    with calling(hub.address, hub.key("app")) as app:
        app.statuses(event("marketing", "account=H-4", kind=CONSENT, state="granted"))
    _, allowed = post(hub.http, body, key)
    assert (allowed["value"], allowed["allowed"]) == ("offer.upsell", True)
    assert allowed["action"]["properties"] == {"price": 12.5}
    first, second = [d["candidates"] for d in decisions(hub, "account=H-4")]
    assert [candidate["kind"] for candidate in first] == ["offer.upsell", "news.tip"]
    assert any(v["kind"] == "BLOCK" and v["guardrail"] == "consent" for v in first[0]["verdicts"])
    assert "verdicts" not in second[1], "the first one was taken: nobody asked about the second"


def test_a_function_that_raises_gives_the_default(hub: RunningHub) -> None:
    status, answer = post(hub.http, {"decision": "chat.fails", "identifiers": ["account=H-5"]}, hub.key("chat"))
    assert (status, answer["value"], answer["reason"]) == (200, "the default", "FUNCTION_FAILED")
    assert answer["error"] == "ValueError: no such route"
    assert decisions(hub, "account=H-5")[0]["error"] == "ValueError: no such route"


def test_a_function_that_does_not_come_back_gives_the_default_and_blocks_nobody(hub: RunningHub) -> None:
    key = hub.key("chat")
    module = next(m for name, m in sys.modules.items() if name.endswith("_central_logic"))
    began = time.monotonic()
    waiting = threading.Thread(
        target=post,
        args=(hub.http, {"decision": "chat.waits", "identifiers": ["account=H-7"], "deadline_ms": 9000}, key),
    )
    waiting.start()
    eventually(lambda: hub.hub.decisions.pool._running, 5)
    assert post(hub.http, {"decision": "chat.route", "identifiers": ["account=H-6"]}, key)[1]["value"] == "bot"
    _, answer = post(hub.http, {"decision": "chat.waits", "identifiers": ["account=H-6"], "deadline_ms": 50}, key)
    assert (answer["value"], answer["reason"]) == ("the default", "FUNCTION_FAILED")
    assert answer["error"] == "Overdue: no answer within 50 ms"
    assert time.monotonic() - began < 8, "nobody waited for the first one"
    assert hub.hub.decisions.plain()["overdue_now"] == ["chat.waits"]
    with capture_logs() as said:
        hub.hub.decisions.pool.look()
    (line,) = [line for line in said if line["event"] == "a decision function does not come back"]
    assert (line["decision"], line["at"].partition(":")[0]) == ("chat.waits", "waits, central_logic.py")
    module.gate.set()
    waiting.join(10)
    module.gate.clear()
    eventually(lambda: not hub.hub.decisions.pool.overdue, 5)


def test_all_threads_busy_is_said_at_once(hub: RunningHub, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = function_pool.FunctionPool(threads=1)
    monkeypatch.setattr(hub.hub.decisions, "pool", pool)
    key = hub.key("chat")
    module = next(m for name, m in sys.modules.items() if name.endswith("_central_logic"))
    body = {"decision": "chat.waits", "identifiers": ["account=H-8"], "deadline_ms": 30}
    assert post(hub.http, body, key)[1]["reason"] == "FUNCTION_FAILED"
    status, answer = post(hub.http, body, key)
    assert (status, answer["error"]["code"]) == (429, "OVERLOADED")
    assert "overdue: chat.waits" in answer["error"]["message"]
    module.gate.set()
    eventually(lambda: not pool.overdue, 5)
    module.gate.clear()
    assert post(hub.http, {"decision": "chat.route", "identifiers": ["account=H-8"]}, key)[1]["value"] == "bot"
    assert pool.counts == {"answered": 1, "overdue": 1, "refused": 1}


@pytest.mark.parametrize(
    ("body", "status", "code", "said"),
    [
        (b"{", 400, "INPUT_INVALID", "no JSON"),
        ([], 400, "INPUT_INVALID", "no JSON object. Send {"),
        ({"identifiers": {"account": "A"}}, 400, "INPUT_INVALID", "decision: names no question"),
        ({"decision": "chat.route"}, 400, "FACT_INVALID", "identifiers: nobody is named"),
        ({"decision": "chat.route", "identifiers": ["A-1"]}, 400, "FACT_INVALID", "kind=value"),
        ({"decision": "chat.route", "identifiers": {"account": 7}}, 400, "FACT_INVALID", "is no text"),
        ({"decision": "chat.route", "identifiers": ["account=A"], "deadline_ms": "1s"}, 400, "INPUT_INVALID", "whole"),
        ({"decision": "chat.route", "identifiers": ["account=A"], "deadline_ms": 99999}, 400, "INPUT_INVALID", "10000"),
        ({"decision": "chat.route", "identifiers": ["account=A"], "purpse": "x"}, 400, "INPUT_INVALID", "purpse"),
        ({"decision": "chat.rout", "identifiers": ["account=A"]}, 404, "NAME_UNKNOWN", "Did you mean 'chat.route'?"),
        ({"decision": "email.upsell", "identifiers": ["account=A"]}, 404, "NAME_UNKNOWN", "for 'chat'"),
        ({"decision": "chat.route", "identifiers": ["account=A"], "interaction": 5}, 400, "INPUT_INVALID", "interact"),
    ],
)
def test_a_wrong_question_is_refused_with_its_cure(
    hub: RunningHub, body: Any, status: int, code: str, said: str
) -> None:
    found, answer = post(hub.http, body, hub.key("chat"))
    assert (found, answer["error"]["code"]) == (status, code)
    assert said in answer["error"]["message"]


def test_without_a_touchpoints_key_nothing_is_answered(hub: RunningHub) -> None:
    body = {"decision": "chat.route", "identifiers": ["account=A"]}
    for key in ("", "wrong", hub.admin_key):
        assert post(hub.http, body, key)[0] == 401


def test_over_grpc_with_the_same_codes(hub: RunningHub) -> None:
    with calling(hub.address, hub.key("chat")) as caller:
        stub = decision_service_pb2_grpc.DecisionServiceStub(caller.channel)
        who = [identifier_to_wire(Identifier("account", "H-9"))]
        answer = stub.Decide(
            decision_service_pb2.DecideRequest(decision="chat.always", identifiers=who), metadata=caller.metadata
        )
        assert (json.loads(answer.value), answer.reason, len(answer.id)) == ("same", "RULE", 16)
        with pytest.raises(grpc.RpcError) as refused:
            stub.Decide(decision_service_pb2.DecideRequest(decision="x", identifiers=who), metadata=caller.metadata)
        assert refusal(refused.value) == ("INVALID_ARGUMENT", "NAME_UNKNOWN")
        with pytest.raises(grpc.RpcError) as nobody:
            stub.Decide(decision_service_pb2.DecideRequest(decision="chat.always"), metadata=caller.metadata)
        assert refusal(nobody.value) == ("INVALID_ARGUMENT", "FACT_INVALID")


def test_the_hub_never_starts_what_the_module_makes(hub: RunningHub) -> None:
    post(hub.http, {"decision": "chat.route", "identifiers": ["account=H-10"]}, hub.key("chat"))
    module = next(m for name, m in sys.modules.items() if name.endswith("_central_logic"))
    assert not module.chat.started
    assert not [t for t in threading.enumerate() if t.name in ("segue-worker", "segue-stream")]


def test_metrics_and_status_tell_of_it(hub: RunningHub) -> None:
    post(hub.http, {"decision": "chat.route", "identifiers": ["account=H-11"]}, hub.key("chat"))

    async def status() -> dict[str, Any]:
        return hub.hub.overview.plain()

    plain = hub.call(status())["decisions"]
    assert plain["functions"]["email"] == ["email.upsell"]
    assert plain["asked"] >= plain["recorded"] >= 1
    with urllib.request.urlopen(f"{hub.http}/metrics", timeout=10) as response:
        assert b'segue_decisions_total{result="answered"}' in response.read()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\n", "holds no decision functions"),
        ("import segue\nchat = segue.Touchpoint('chat')\n", "holds no decision functions"),
        ("raise ValueError('no')\n", "cannot be imported: ValueError: no"),
        ("import not_there_at_all\n", "cannot be imported"),
        (
            "import segue\na = segue.Touchpoint('chat')\nb = segue.Touchpoint('chat')\n"
            "a.decision('q')(lambda c: 1)\nb.decision('q')(lambda c: 2)\n",
            "two functions answer 'q' for touchpoint 'chat'",
        ),
        (
            "import segue\na = segue.Touchpoint('chat', hub='')\na.decision('q')(lambda c: 1)\n"
            "s = a.session(account='A-1', wait=0)\n",
            "begins to work while its module is imported",
        ),
    ],
)
def test_a_module_that_cannot_be_run_is_refused(
    tmp_path: Path, text: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGUE_STATE", str(tmp_path / "state"))
    path = tmp_path / "team.py"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        load_book([str(path)])


def test_an_object_of_a_module_alone(logic: Path) -> None:
    assert load_book([f"{logic}:email"]).plain() == {"email": ["email.upsell"]}
    with pytest.raises(ConfigError, match="Did you mean 'email'"):
        load_book([f"{logic}:emial"])
    with pytest.raises(ConfigError, match="gate is of type Event"):
        load_book([f"{logic}:gate"])
    with pytest.raises(ConfigError, match="there is no file"):
        load_book(["nowhere.py"])
    with pytest.raises(ConfigError, match="there is no module 'nowhere_at_all'"):
        load_book(["nowhere_at_all"])


def test_one_file_serves_the_hub_and_the_sdk_in_processes_of_their_own(logic: Path, tmp_path: Path) -> None:
    """Moving a decision is one line: who asks. The same file, a hub's process, an SDK's process: one answer."""
    served = Serving(tmp_path, decisions=[str(logic)], http_port=free_port())
    served.start()
    try:
        served.push()
        with calling(served.address, served.key("app")) as app:
            assert app.statuses(event("transfer.started", "account=P-1", transfer_id="T-1")) == ["ACCEPTED"]
        key = served.key("chat")
        script = tmp_path / "host.py"
        script.write_text(
            "from central_logic import chat, route\n"
            "with chat.session(account='P-1', wait='10s') as customer:\n"
            "    d = customer.decide(route)\n"
            "    print(d.value, d.explain(), sep='|')\n",
            encoding="utf-8",
        )
        env = environment(
            SEGUE_HUB=served.address, SEGUE_KEY=key, SEGUE_STATE=str(tmp_path / "state"), PYTHONPATH=str(logic.parent)
        )
        done = subprocess.run([sys.executable, str(script)], env=env, capture_output=True, text=True, timeout=60,
                              check=True)  # fmt: skip
        local = done.stdout.strip().split("|")
        body = {"decision": "chat.route", "identifiers": {"account": "P-1"}}
        status, central = post(served.http, body, key)
        assert (status, [central["value"], central["explain"]]) == (200, local)
        curl = subprocess.run(
            ["curl", "-sS", f"{served.http}/v1/decide", "-H", f"Authorization: Bearer {key}", "-d", json.dumps(body)],
            capture_output=True, text=True, timeout=30, check=True,
        )  # fmt: skip
        assert json.loads(curl.stdout)["value"] == local[0]
    finally:
        assert served.stop() == 0


def test_a_hub_that_cannot_load_its_decisions_says_so_and_does_not_start(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "segue_hub", "serve", "--store", str(tmp_path / "s.db"), "--insecure", "--port", "0",
         "--http-port", "0", "--decisions", "nowhere.py"],
        env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "--decisions nowhere.py: there is no file nowhere.py" in done.stderr
    assert "Traceback" not in done.stderr


def test_it_is_what_a_record_says_that_is_replayed(hub: RunningHub) -> None:
    """A decision of the hub names its basis, as an SDK's does: the replay finds it."""
    post(hub.http, {"decision": "chat.always", "identifiers": ["account=H-12"]}, hub.key("chat"))
    post(hub.http, {"decision": "chat.always", "identifiers": ["account=H-12"]}, hub.key("chat"))
    with calling(hub.address, hub.key("chat")) as caller:
        stub = replay_service_pb2_grpc.ReplayServiceStub(caller.channel)
        found = [
            moment
            for response in stub.Replay(
                replay_service_pb2.ReplayRequest(decision="chat.always"), metadata=caller.metadata
            )
            for moment in response.moments
            if fact_from_wire(moment.fact).identifiers[0].value == "H-12"
        ]
    assert [moment.gap for moment in found] == ["", ""]
    assert found[1].version > 0
