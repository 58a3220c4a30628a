"""A decision run by the hub is the one that the SDK would make on what the caller may see (L5, VE6).

Random customers and random functions, over the real wire: what `GetContext` gives a touchpoint, decided on here,
against what `Decide` answers there.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
import segue
from hypothesis import given
from hypothesis import strategies as st
from segue.domain.context import Context
from segue.domain.decision import Question, decide
from segue.domain.decision_fact import value_of
from segue.domain.fact import TRAIT, Fact
from segue.domain.identifier import Identifier
from segue.domain.plan import Plan
from segue.domain.projection import receive
from segue.v1 import context_pb2, context_pb2_grpc, decision_service_pb2, decision_service_pb2_grpc
from segue.wire import identifier_to_wire, sections_from_wire, verdict_from_wire
from segue_hub.services.question_book import QuestionBook
from segue_hub.testing import RunningHub, run_hub

from tests.building import BEGIN, document, fact
from tests.calling import Caller, calling
from tests.coordinating import COORDINATED, as_told
from tests.unit.logs import delays, functions, law, logs

PLAN = Plan(document(COORDINATED))
_examples = itertools.count(1)
PURPOSES = {"desk": "service", "mailer": "marketing", "kiosk": "service"}


class Time:
    """The hub's clock, set forward by the examples."""

    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> int:
        return self.now


class Central:
    """A hub that the examples share, and a caller for each touchpoint."""

    def __init__(self, running: RunningHub, time: Time) -> None:
        self.running = running
        self.time = time
        self.callers: dict[str, Caller] = {}

    def tell(self, facts: list[Fact], delay: int) -> list[Identifier]:
        """The facts as several touchpoints would tell them, under names of their own and from now on; time passes."""
        begin = self.time.now
        mine = as_told(facts, str(next(_examples)), begin - BEGIN)
        self.time.now = max([begin, *(one.occurred_at for one in mine)]) + delay + 1
        hub = self.running.hub
        for name in sorted({one.touchpoint for one in mine}):
            told = [one for one in mine if one.touchpoint == name]
            results = self.running.call(hub.ingest.publish(told, hub.plans.current.grant(name)))
            assert {result.status for result in results} == {"ACCEPTED"}
        return [name for one in mine for name in one.identifiers]


@pytest.fixture(scope="module")
def central() -> Iterator[Central]:
    time = Time()
    with run_hub(clock=time) as running:
        running.call(running.hub.plans.push(document(COORDINATED), {}, "test", ""))
        found = Central(running, time)
        for name in PURPOSES:
            found.callers[name] = Caller(running.address, running.key(name))
        yield found
        for caller in found.callers.values():
            caller.close()


@law(120)
@given(facts=logs(1), delay=delays, function=functions(), touchpoint=st.sampled_from(sorted(PURPOSES)),
       chance=st.integers(0, 99))  # fmt: skip
def test_hub_and_sdk_answer_alike(
    central: Central, facts: list[Fact], delay: int, function: Any, touchpoint: str, chance: int
) -> None:
    names = central.tell(facts, delay)
    if not names:
        return
    name = random.Random(chance).choice(names)
    team = segue.Touchpoint(touchpoint, hub="")
    question = Question("some.question", function, "the default", "never")
    team.questions["some.question"] = question
    central.running.hub.decisions.book = QuestionBook([team])
    caller, purpose = central.callers[touchpoint], PURPOSES[touchpoint]

    seen = context_pb2_grpc.ContextServiceStub(caller.channel).GetContext(
        context_pb2.GetContextRequest(identifier=identifier_to_wire(name), purpose=purpose), metadata=caller.metadata
    )
    answer = decision_service_pb2_grpc.DecisionServiceStub(caller.channel).Decide(
        decision_service_pb2.DecideRequest(
            decision="some.question", identifiers=[identifier_to_wire(name)], purpose=purpose, deadline_ms=5000
        ),
        metadata=caller.metadata,
    )  # fmt: skip

    here = central.running.hub.plans.current
    projected = receive(sections_from_wire(seen.context.sections))
    context = Context(projected, here, answer.at, version=seen.context.version)
    expected = decide(question, context, team.channel_by(here), touchpoint)
    assert (answer.reason, answer.error) == (expected.reason, expected.error)
    assert json.loads(answer.value) == json.loads(json.dumps(value_of(expected)))
    assert answer.allowed == expected.allowed
    assert answer.explain == expected.explain()
    assert answer.version == seen.context.version
    told = [verdict_from_wire(verdict) for verdict in answer.verdicts]
    for there, own in zip(told, expected.verdicts, strict=True):
        assert (there.guardrail, there.kind, there.until, there.reason, there.mode, there.holder) == (
            own.guardrail, own.kind, own.until, own.reason, own.mode, own.holder,
        )  # fmt: skip
    assert not team.started


def test_the_caller_is_the_one_whose_key_it_is(central: Central) -> None:
    (name, *_) = central.tell([_trait("in_arrears", True)], 0)
    teams = []
    for touchpoint in ("desk", "kiosk"):
        team = segue.Touchpoint(touchpoint, hub="")
        team.decision("arrears", default="unknown")(lambda c: c.trait("in_arrears"))
        teams.append(team)
    central.running.hub.decisions.book = QuestionBook(teams)
    answers = {}
    for touchpoint in ("desk", "kiosk"):
        caller = central.callers[touchpoint]
        answers[touchpoint] = decision_service_pb2_grpc.DecisionServiceStub(caller.channel).Decide(
            decision_service_pb2.DecideRequest(decision="arrears", identifiers=[identifier_to_wire(name)]),
            metadata=caller.metadata,
        )  # fmt: skip
    assert json.loads(answers["desk"].value) is True
    assert (json.loads(answers["kiosk"].value), answers["kiosk"].reason) == ("unknown", "NOT_GRANTED")
    with calling(central.running.address, central.running.admin_key) as admin:
        answer = decision_service_pb2_grpc.DecisionServiceStub(admin.channel).Decide(
            decision_service_pb2.DecideRequest(decision="arrears", identifiers=[identifier_to_wire(name)]),
            metadata=(*admin.metadata, ("segue-touchpoint", "kiosk")),
        )  # fmt: skip
    assert answer.reason == "NOT_GRANTED", "the admin's key acts in a touchpoint's name, with its eyes"


def _trait(name: str, value: Any) -> Fact:
    return fact(name, "0s", kind=TRAIT, touchpoint="desk", value=value)
