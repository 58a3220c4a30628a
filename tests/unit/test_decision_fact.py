"""What a decision's fact says: everything that asking again needs, little that it does not, and always something that
can be written."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import segue
from segue.domain.context import Context
from segue.domain.decision import Question, decide
from segue.domain.decision_fact import Basis, answer_of, basis_from, basis_of, details_of, json_text
from segue.domain.fact import Fact, check
from segue.domain.grant import SERVICE
from segue.domain.overlay import overlaid
from segue.domain.projection import NOBODY, Origin, Projected
from segue.testing import FakeHub

from tests.building import fact, moment, plan, who

PLAN = plan()


def made_of(projected: Projected, question: Question) -> dict[str, Any]:
    """The details of a decision, as they are read again."""
    context = Context(projected, PLAN, moment("1h"))
    decision = decide(question, context, "chat")
    raw = details_of(decision, answer_of(decision), basis_of(context, SERVICE))[1]
    check(Fact(bytes(16), "decision", "chat.route", 1, 0, who("account=A-1"), raw=raw))
    details: dict[str, Any] = json.loads(raw)
    return details


def test_what_is_as_usual_is_not_written() -> None:
    assert Basis().plain() == {"version": 0}
    assert set(Basis(7, "4f3a").plain()) == {"version", "hub"}


@pytest.mark.parametrize(
    "basis",
    [
        Basis(),
        Basis(7, "4f3a01c2", "abc", True, 17, (bytes(16), b"\x07" * 16), "marketing", "def"),
    ],
)
def test_a_basis_is_read_as_it_was_written(basis: Basis) -> None:
    assert basis_from(json.loads(json.dumps(basis.plain()))) == basis


def test_the_basis_is_that_of_what_was_read_own_facts_included() -> None:
    origin = Origin("4f3a01c2deadbeef", 42, PLAN.digest)
    base = Projected(NOBODY.content.fork(), origin=origin)
    own = [fact("transfer.failed", f"{n}m", "account=A-1", seq=n, transfer_id="T") for n in (1, 2)]
    shown = overlaid(overlaid(base, PLAN, own[:1]), PLAN, own[1:])
    basis = basis_from(made_of(shown, Question("chat.route", lambda c: "x")))
    assert (basis.version, basis.hub, basis.folded) == (42, "4f3a01c2", "")
    assert basis.overlay == (own[0].id, own[1].id)


VALUES: list[Any] = [
    {1: "a", "b": 2}, float("nan"), float("inf"), {"x": float("nan")}, "plain", {"b": [1, 2.5, None]}, {1, 2},
    {"\ud800": 1}, object,
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_an_answer_of_whatever_kind_can_be_written_and_taken(value: Any) -> None:
    """Regression: a mapping with keys of two kinds, or a number beyond JSON's, lost the whole record."""
    details = made_of(NOBODY, Question("chat.route", lambda c: value))
    assert details["value"] == json_text(value)


def test_the_record_is_of_the_decision_as_it_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: what a session wrote down later showed what became of the decision in between."""
    fake = FakeHub(PLAN)
    chat = segue.Touchpoint("desk")
    question = Question("chat.route", lambda c: segue.Action("help.tip", channel="chat"), "none")
    waiting: list[Callable[[], Fact]] = []
    fake.customer(account="A-1").event("call.started", channel="ivr")
    with fake.touchpoint(chat).session(account="A-1") as customer:
        monkeypatch.setattr(chat.runtime(), "record", waiting.append)
        made = customer.decide(question)
        made.refused([])  # as where a place under a strict cap is not to be had
        assert made.reason == "HELD_BACK"
        assert waiting[0]().properties["reason"] == "RULE"
