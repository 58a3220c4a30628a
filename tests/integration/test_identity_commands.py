"""Identity and the past over the wire: commands, services and the SDK against a real hub."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from segue.domain.fact import RETRACTION, Fact
from segue.domain.identifier import Identifier, parse_identifier
from segue.domain.statement import statement_fact
from segue.v1 import context_pb2, identity_service_pb2
from segue.wire import fact_to_wire, identifier_to_wire
from segue_hub.testing import RunningHub, run_hub

from tests.building import BEGIN, DAY, HOUR, MINUTE, document
from tests.calling import calling, event, refusal
from tests.commanding import Command
from tests.joining import joined
from tests.waiting import eventually

READS = [
    "identity", "traits.business", "consents", "timeline", "activity", "journeys", "decisions", "actions", "audiences"
]  # fmt: skip
SKETCH: dict[str, Any] = {
    "identifiers": {
        "account": {"priority": 1, "unique": True}, "email": {"priority": 2}, "phone": {"priority": 3},
        "cookie": {"priority": 9, "partners": 2},
    },
    "traits": {
        "value_tier": {"type": "string", "label": "business"}, "in_arrears": {"type": "bool", "label": "financial"}
    },
    "maps": {
        "transfer": {
            "starts": 'event.type == "transfer.started"', "key": "event.properties.id",
            "reaches_goal": 'event.type == "transfer.completed"', "abandons": {"after": "3d"},
            "stalls": {"after": "1h"},
        }
    },
    "audiences": {"stuck": {"when": "journey.transfer.stalled"}},
    "touchpoints": {
        "app": {"channel": "app", "writes": ["*"], "reads": {"service": READS}},
        "desk": {"channel": "voice", "writes": ["call.*", "retraction:*"], "reads": {"service": READS}},
        "narrow": {"channel": "web", "writes": ["*"], "reads": {"service": ["activity"]}},
    },
}  # fmt: skip
T = "2026-03-02T{}:00Z".format


class Hub:
    """A hub whose clock is told, and who speaks to it."""

    def __init__(self, running: RunningHub, clock: list[int]) -> None:
        self.running = running
        self.clock = clock
        self.command = Command.of(running)

    def push(self, sketch: dict[str, Any]) -> None:
        self.running.call(self.running.hub.plans.push(document(sketch), {}, "test", ""))

    def tell(self, *facts: Fact) -> None:
        with calling(self.running.address, self.running.key("app")) as app:
            assert set(app.statuses(*facts)) == {"ACCEPTED"}

    def context(self, touchpoint: str, name: str, as_of: int = 0, known_at: int = 0) -> context_pb2.GetContextResponse:
        with calling(self.running.address, self.running.key(touchpoint)) as caller:
            request = context_pb2.GetContextRequest(
                identifier=identifier_to_wire(parse_identifier(name)), as_of=as_of, known_at=known_at
            )
            found: context_pb2.GetContextResponse = caller.contexts.GetContext(request, metadata=caller.metadata)
            return found


@pytest.fixture
def hub() -> Iterator[Hub]:
    clock = [BEGIN + DAY]
    with run_hub(clock=lambda: clock[0]) as running:
        made = Hub(running, clock)
        made.push(SKETCH)
        yield made


def section(context: context_pb2.Context, name: str) -> Any:
    return next((json.loads(s.data) for s in context.sections if s.name == name), None)


def wrong_merge(hub: Hub) -> None:
    """Two people and the phone that both were called on."""
    hub.tell(event("transfer.started", "account=A-1", "phone=p", at=BEGIN, id="T1"))
    hub.tell(event("marketing", "email=ben", at=BEGIN + MINUTE, kind="consent", state="withdrawn"))
    hub.tell(event("value_tier", "account=A-1", at=BEGIN + 2 * MINUTE, kind="trait", value="high"))
    hub.clock[0] += MINUTE
    hub.tell(event("call.started", "email=ben", "phone=p", at=BEGIN + HOUR))


# Commands.


def test_a_wrong_merge_is_explained_tried_out_undone_and_remembered(hub: Hub) -> None:
    wrong_merge(hub)
    command = hub.command
    plain = command.json("customer", "identity", "email=ben", "--explain")
    assert plain["customer"] == "account=A-1"
    assert [(link["weak"], link["holds"]) for link in plain["links"]] == [("phone=p", True), ("phone=p", True)]
    preview = command.json("identity", "preview", "retract", "email=ben", "phone=p")
    assert [one["customer"] for one in preview["before"]] == ["account=A-1"]
    assert [one["customer"] for one in preview["after"]] == ["account=A-1", "email=ben"]
    assert preview["before"][0]["consents"] == {"marketing": "withdrawn"}
    assert preview["after"][0]["consents"] == {}
    assert command.json("customer", "show", "email=ben")["customer"] == "account=A-1", "nothing was written"

    hub.clock[0] += HOUR
    done = command.json(
        "identity", "retract", "email=ben", "phone=p", "--reason", "two people, one phone", "--id", "r1"
    )
    assert (done["status"], done["changes"]) == ("ACCEPTED", True)
    assert done["after"] == preview["after"]
    again = command.json(
        "identity", "retract", "email=ben", "phone=p", "--reason", "two people, one phone", "--id", "r1"
    )
    assert (again["status"], again["changes"], again["id"]) == ("DUPLICATE", False, done["id"])

    text = command.ok("customer", "identity", "email=ben", "--explain")
    assert "RETRACTED" in text
    assert "two people, one phone" in text
    assert "@admin" in text
    assert command.json("customer", "show", "email=ben")["identifiers"] == ["email=ben"]
    # As known before it was undone, and as it is known now to have been then.
    then = command.json("customer", "show", "email=ben", "--known-at", "2026-03-03T09:01:00Z")
    assert then["identifiers"] == ["account=A-1", "email=ben", "phone=p"]
    assert command.json("customer", "show", "email=ben", "--as-of", T("10:30"))["identifiers"] == ["email=ben"]


def test_saying_it_shows_people_who_is_who(hub: Hub) -> None:
    wrong_merge(hub)
    text = hub.command.ok("identity", "separate", "account=A-1", "email=ben", "--id", "s1")
    assert text.startswith("accepted: separation of account=A-1 and email=ben, id ")
    before, _, after = text.partition("these customers are")
    assert "account=A-1  email=ben  phone=p" in before
    assert "account=A-1  phone=p" in after
    again = hub.command.ok("identity", "separate", "account=A-1", "email=ben", "--id", "s1")
    assert again.startswith("duplicate: ")
    assert "nobody is another" in again
    hub.command.ok("identity", "link", "account=A-1", "email=ben")
    assert hub.command.json("customer", "show", "email=ben")["customer"] == "email=ben", "a veto outlives links"
    (told,) = hub.command.json("customer", "identity", "email=ben", "--explain")["statements"][:1]
    hub.command.ok("identity", "retract", "account=A-1", "email=ben", "--fact", told["fact"])
    assert hub.command.json("customer", "show", "email=ben")["customer"] == "account=A-1"


def test_a_recycled_number_ends_and_begins_anew(hub: Hub) -> None:
    wrong_merge(hub)
    ended = hub.command.json("identity", "end", "account=A-1", "phone=p", "--at", T("09:30"))
    assert [one["customer"] for one in ended["after"]] == ["account=A-1", "email=ben"]
    assert ended["after"][0]["identifiers"][1]["until"] == T("09:30")
    assert "(until 2026-03-02T09:30:00Z)" in hub.command.ok("customer", "identity", "account=A-1", "--explain")
    assert hub.command.json("customer", "show", "phone=p")["customer"] == "email=ben"
    assert hub.command.json("customer", "show", "phone=p", "--as-of", T("09:29"))["customer"] == "account=A-1"


def test_what_cannot_be_said_is_refused_and_says_why(hub: Hub) -> None:
    wrong_merge(hub)
    command = hub.command
    assert "Name the two" in command.fails(1, "identity", "separate", "account=A-1", "account=A-1")
    assert "Name the two" in command.fails(1, "identity", "preview", "separate", "account=A-1", "cookie=null")
    assert "kind=value" in command.fails(2, "identity", "link", "A-1", "email=ben")
    assert "--fact" in command.fails(2, "identity", "retract", "account=A-1", "phone=p", "--fact", "xyz")
    assert "--at" in command.fails(2, "identity", "end", "account=A-1", "phone=p", "--at", "yesterday")
    assert "TOO_FAR_AHEAD" in command.fails(
        1, "identity", "end", "account=A-1", "phone=p", "--at", "2027-01-01T00:00:00Z"
    )
    assert "512" in command.fails(1, "identity", "link", "account=A-1", "phone=p", "--reason", "x" * 513)
    conflict = ("identity", "end", "account=A-1", "phone=p", "--id", "e1", "--at")
    command.ok(*conflict, T("09:30"))
    assert command.json(*conflict, T("09:30"))["status"] == "DUPLICATE"
    for shown in ("--explain", "--affected"):
        assert "nobody is known by account=x" in command.fails(1, "customer", "identity", "account=x", shown)
    assert "NOT_FOUND" in command.fails(1, "customer", "show", "account=A-1", "--as-of", "2026-03-01T00:00:00Z")
    assert "no plan has a digest" in command.fails(1, "customer", "show", "account=A-1", "--plan", "zz")
    assert "before" in command.fails(1, "customer", "diff", "account=A-1", T("10:00"), T("09:00"))
    nobody = hub.command.json("customer", "identity", "cookie=anonymous", "--explain")
    assert nobody["customer"] is None
    assert "stands for nobody" in hub.command.ok("customer", "identity", "cookie=anonymous", "--explain")


def test_an_admin_says_only_what_is_about_identity(hub: Hub) -> None:
    with calling(hub.running.address, hub.running.admin_key) as admin:
        request = identity_service_pb2.ChangeIdentityRequest(facts=[fact_to_wire(event("x", "account=A-1"))])
        for call in (admin.identities.ChangeIdentity, admin.identities.PreviewIdentity):
            with pytest.raises(grpc.RpcError) as caught:
                call(request, metadata=admin.metadata)
            assert refusal(caught.value) == ("INVALID_ARGUMENT", "FACT_INVALID")
        many = statement_fact(b"", RETRACTION, [Identifier("account", "a"), Identifier("cookie", "c")], 0, 0)
        request = identity_service_pb2.ChangeIdentityRequest(facts=[fact_to_wire(many)] * 101)
        with pytest.raises(grpc.RpcError) as caught:
            admin.identities.ChangeIdentity(request, metadata=admin.metadata)
        assert refusal(caught.value) == ("INVALID_ARGUMENT", "BATCH_TOO_LARGE")


def test_a_diff_says_what_changed_in_words_and_as_data(hub: Hub) -> None:
    wrong_merge(hub)
    hub.tell(
        event("value_tier", "account=A-1", at=BEGIN + 4 * HOUR, kind="trait", value="low"),
        event("transfer.completed", "account=A-1", at=BEGIN + 5 * HOUR, id="T1"),
    )
    found = hub.command.json("customer", "diff", "account=A-1", T("09:30"), T("12:00"))
    assert found["identifiers"] == {"joined": ["email=ben"], "left": []}
    assert found["consents"] == {"marketing": {"from": None, "to": "withdrawn"}}
    assert found["audiences"] == {"joined": ["stuck"], "left": []}
    (journey,) = found["journeys"]
    assert (journey["from"]["state"], journey["to"]["state"]) == ("running", "stalled")
    found = hub.command.json("customer", "diff", "account=A-1", T("12:00"), T("15:00"))
    assert found["traits"] == {"value_tier": {"from": "high", "to": "low"}}
    assert found["words"] == [
        "trait value_tier: 'high' -> 'low'", "journey transfer T1: stalled -> completed", "left audience stuck",
        "seen: app +1, transfer.completed +1",
    ]  # fmt: skip
    text = hub.command.ok("customer", "diff", "account=A-1", T("12:00"), T("15:00"))
    assert "journey transfer T1: stalled -> completed" in text
    assert "nothing changed" in hub.command.ok("customer", "diff", "account=A-1", T("12:00"), T("12:00"))
    assert "known by account=A-1 now" in hub.command.ok("customer", "diff", "account=A-1", T("08:00"), T("12:00"))


def test_a_customer_of_the_past_is_folded_by_the_plan_that_is_asked_for(hub: Hub) -> None:
    hub.tell(event("transfer.started", "account=A-1", at=BEGIN, id="T1"))
    first = hub.command.json("plan", "list")[0]["digest"]
    hub.clock[0] += MINUTE
    hub.push({**SKETCH, "maps": {}, "audiences": {}})
    assert hub.command.json("customer", "show", "account=A-1", "--as-of", T("10:00"))["journeys"] == []
    shown = hub.command.json("customer", "show", "account=A-1", "--as-of", T("10:00"), "--plan", first[:6])
    assert [journey["state"] for journey in shown["journeys"]] == ["stalled"]
    # As known before the new plan: by the plan of then.
    shown = hub.command.json(
        "customer", "show", "account=A-1", "--as-of", T("09:10"), "--known-at", "2026-03-03T09:00:30Z"
    )
    assert (shown["plan"], [journey["state"] for journey in shown["journeys"]]) == (first, ["running"])
    assert ", as of 2026-03-02T09:10:00Z" in hub.command.ok("customer", "show", "account=A-1", "--as-of", T("09:10"))


def test_refused_links_are_counted_where_operators_look(hub: Hub) -> None:
    hub.tell(event("x", "account=A-1", "phone=p", at=BEGIN), event("x", "account=A-2", "phone=p", at=BEGIN))
    hub.tell(*(event("x", f"email=e{n}", "cookie=kiosk", at=BEGIN) for n in range(3)))
    status = hub.command.json("status")
    assert status["links_refused"] == {"PER_CUSTOMER:account": 1, "PARTNERS": 3}
    assert "PARTNERS 3" in hub.command.ok("status")
    with urllib.request.urlopen(f"{hub.running.http}/metrics") as response:
        text = response.read().decode()
    assert 'segue_links_refused{verdict="PARTNERS"} 3.0' in text
    assert hub.command.json("customer", "identity", "phone=p", "--explain")["refused"] == {"PER_CUSTOMER:account": 1}


def test_what_stands_for_nobody_is_counted_where_refused_links_are(hub: Hub) -> None:
    """Regression: a link that a blocked value refused was explained, and counted nowhere."""
    hub.tell(event("x", "account=A-1", "cookie=null", at=BEGIN), event("x", "account=A-2", "cookie= NULL ", at=BEGIN))
    hub.tell(event("x", "account=A-3", "email=anonymous", "cookie=null", at=BEGIN))
    with calling(hub.running.address, hub.running.key("app")) as app:
        assert [result[1] for result in app.send(event("x", "cookie=null", at=BEGIN))] == ["BLOCKED_VALUE"]
    assert hub.command.json("status")["blocked_since_start"] == {
        "links": 4,
        "identifiers": [
            {"touchpoint": "app", "kind": "cookie", "value": "null", "count": 4},
            {"touchpoint": "app", "kind": "email", "value": "anonymous", "count": 1},
        ],
    }
    assert "cookie='null' by app 4, email='anonymous' by app 1; 4 links refused so" in hub.command.ok("status")
    with urllib.request.urlopen(f"{hub.running.http}/metrics") as response:
        text = response.read().decode()
    assert 'segue_identifiers_blocked_total{kind="cookie",touchpoint="app",value="null"} 4.0' in text
    assert "segue_links_blocked_total 4.0" in text
    plain = hub.command.json("customer", "identity", "cookie=Null", "--explain")
    assert (plain["refused"], plain["links"]) == ({"BLOCKED": 4}, [])
    assert "named it since the hub started: 4" in hub.command.ok("customer", "identity", "cookie=null", "--explain")
    assert hub.command.json("status")["store"]["customers"] == 3


def test_a_value_with_nothing_left_in_its_normal_form_stands_for_nobody(hub: Hub) -> None:
    """Regression: `n/a` and `--` have no digits, so all who gave such a phone number were one customer."""
    kinds = {**SKETCH["identifiers"], "phone": {"priority": 3, "normalise": "digits"}}
    hub.push({**SKETCH, "identifiers": kinds, "blocked": ["none"]})
    for number, phone in enumerate(("n/a", "--", "unbekannt")):
        hub.tell(event("x", f"account=B-{number}", f"phone={phone}", at=BEGIN))
    assert hub.command.json("status")["store"]["customers"] == 3
    assert hub.command.json("status")["blocked_since_start"]["links"] == 3
    with calling(hub.running.address, hub.running.key("app")) as app:
        assert [result[1] for result in app.send(event("x", "phone=n/a", at=BEGIN))] == ["BLOCKED_VALUE"]


# Reads of touchpoints.


def test_a_context_as_of_an_instant_is_what_the_fold_of_then_gives(hub: Hub) -> None:
    wrong_merge(hub)
    answer = hub.context("app", "phone=p", as_of=BEGIN + 30 * MINUTE)
    assert answer.as_of == BEGIN + 30 * MINUTE
    assert [name for _, name, _ in section(answer.context, "identity")] == ["A-1", "p"]
    assert section(answer.context, "envelope")[0] == BEGIN + 30 * MINUTE
    assert section(answer.context, "consents") == {}
    now = hub.context("app", "phone=p", as_of=hub.clock[0]).context
    current = hub.context("app", "phone=p").context
    assert {s.name: s.data for s in now.sections if s.name not in ("envelope", "outcomes")} == {
        s.name: s.data for s in current.sections if s.name not in ("envelope", "outcomes")
    }
    assert (now.view, now.plan) == (current.view, current.plan)
    before = hub.context("app", "email=ben", as_of=hub.clock[0], known_at=BEGIN + DAY).context
    assert [name for _, name, _ in section(before, "identity")] == ["ben"], "the call had not arrived"
    assert before.version < current.version


def test_looking_back_shows_nobody_more_than_looking(hub: Hub) -> None:
    hub.push({**SKETCH, "traits": {**SKETCH["traits"], "in_arrears": {"type": "bool", "label": "business"}}})
    hub.tell(event("in_arrears", "account=A-1", at=BEGIN, kind="trait", value=True))
    hub.clock[0] += MINUTE
    then = hub.context("app", "account=A-1", as_of=BEGIN + MINUTE).context
    assert "in_arrears" in section(then, "traits.business")
    hub.push(SKETCH)  # it is financial now, which the app is not granted
    for known_at in (0, hub.clock[0] - 1):
        found = hub.context("app", "account=A-1", as_of=BEGIN + MINUTE, known_at=known_at).context
        assert b"in_arrears" not in b"".join(s.data for s in found.sections if s.name != "outcomes")
        assert "traits.financial" not in {s.name for s in found.sections}
    narrow = hub.context("narrow", "account=A-1", as_of=BEGIN + MINUTE).context
    assert {s.name for s in narrow.sections} == {"activity", "envelope", "outcomes"}


def test_what_was_known_before_a_wrong_merge_was_undone_shows_no_stranger_to_a_touchpoint(hub: Hub) -> None:
    """Regression: the key of a touchpoint read another person's traits and journeys by looking back."""
    wrong_merge(hub)
    hub.clock[0] += MINUTE
    merged = hub.clock[0]
    assert "A-1" in {name for _, name, _ in section(hub.context("app", "email=ben").context, "identity")}
    hub.clock[0] += MINUTE
    hub.command.ok("identity", "retract", "email=ben", "phone=p")
    hub.clock[0] += MINUTE
    for as_of in (merged, hub.clock[0]):
        ben = hub.context("app", "email=ben", as_of=as_of, known_at=merged).context
        assert [name for _, name, _ in section(ben, "identity")] == ["ben"]
        assert section(ben, "traits.business") is None
        assert not (section(ben, "journeys") or [[]])[0]
        assert list(section(ben, "consents")) == ["marketing"], "his own is there"
        assert section(ben, "envelope")[2] == 2
        ann = hub.context("app", "phone=p", as_of=as_of, known_at=merged).context
        assert [name for _, name, _ in section(ann, "identity")] == ["A-1", "p"]
        assert (section(ann, "consents") or {}, list(section(ann, "traits.business"))) == ({}, ["value_tier"])
        assert ann.customer != ben.customer
    # An operator sees what was held to be so: that is what is asked for.
    shown = hub.command.json("customer", "show", "email=ben", "--known-at", "5")
    assert set(shown["identifiers"]) == {"account=A-1", "phone=p", "email=ben"}
    assert list(shown["traits"]) == ["value_tier"]


def test_nobody_was_known_then(hub: Hub) -> None:
    wrong_merge(hub)
    for asked in ({"as_of": BEGIN - 1}, {"as_of": BEGIN, "known_at": 1}, {"known_at": 1}):
        with pytest.raises(grpc.RpcError) as caught:
            hub.context("app", "account=A-1", **asked)
        assert refusal(caught.value) == ("NOT_FOUND", "NOT_FOUND")
    for asked in ({"as_of": -1}, {"as_of": 1 << 62}, {"as_of": BEGIN, "known_at": -5}):
        with pytest.raises(grpc.RpcError) as caught:
            hub.context("app", "account=A-1", **asked)
        assert refusal(caught.value) == ("INVALID_ARGUMENT", "INPUT_INVALID")


# The SDK.


def test_an_agent_undoes_a_wrong_merge_at_the_desk_and_her_context_follows(tmp_path: Path) -> None:
    with run_hub() as running:
        running.call(running.hub.plans.push(document(SKETCH), {}, "test", ""))
        with calling(running.address, running.key("app")) as app:
            app.send(event("transfer.started", "account=A-1", "phone=p", id="T1"), event("x", "email=ben", "phone=p"))
        with joined(running, "desk", tmp_path, strict=False) as desk, desk.session(email="ben", wait=5) as ben:
            assert eventually(lambda: ben.context().journey("transfer").active)
            desk.retract("email=ben", Identifier("phone", "p"), reason="two people")
            desk.separate("email=ben", "account=A-1")  # not granted
            assert desk.flush()
            assert eventually(lambda: not ben.context().journey("transfer").active)
            assert eventually(lambda: desk.status()["losses"])
            desk.retract("ben", "phone=p")
            desk.retract("email=ben", "phone=p", fact="xyz")
            assert desk.status()["refused_here"] == {"retraction:retraction": 2}
        command = Command.of(running)
        (said,) = command.json("customer", "identity", "email=ben", "--explain")["statements"]
        assert (said["kind"], said["touchpoint"], said["reason"]) == ("retraction", "desk", "two people")
