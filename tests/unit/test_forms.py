"""Forms: an event told like one before is the event that the long way makes, and is refused where that refuses it."""

from __future__ import annotations

import json
import threading
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from segue import Touchpoint
from segue.domain.fact import MAX_PROPERTIES, Fact, check, properties_bytes
from segue.domain.told import Form, Told, like
from segue.errors import FactError
from segue.session import Session
from segue.testing import FakeHub

from tests.building import BEGIN, fact, realistic
from tests.unit.logs import law

CHECKED = fact("call.started", BEGIN)
FORM = Form(CHECKED)
ID = bytes(range(16))
VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.text(st.characters(categories=["Cs", "L"]))
    | st.lists(st.integers(), max_size=2) | st.just(10**5000) | st.just("\x00\\\"") | st.binary(max_size=2)
)  # fmt: skip
NAMES: Any = st.text() | st.integers(0, 3)


class Channel(StrEnum):
    """As hosts name their channels."""

    IVR = "ivr"


def _typed(value: object) -> object:
    """A value with its types and the order of its keys: True is not 1, and 0.0 is not -0.0."""
    if isinstance(value, dict):
        return [(name, _typed(part)) for name, part in value.items()]
    return (type(value), repr(value))


def _long_way(at: int, properties: dict[str, Any]) -> Fact | None:
    try:
        made = Fact(
            ID, CHECKED.kind, CHECKED.type, at, 7, CHECKED.identifiers, CHECKED.channel, CHECKED.touchpoint,
            CHECKED.interaction, properties_bytes(properties),
        )  # fmt: skip
        made.written_from(properties)
        check(made)
    except Exception:  # noqa: BLE001  # as where a session tells it
        return None
    return made


@law(500)
@given(st.dictionaries(NAMES, VALUES, max_size=5), st.sampled_from((BEGIN, 1, 0, -5, (1 << 62) - 1, 1 << 62)))
def test_what_is_told_by_a_form_is_what_the_long_way_makes(properties: dict[Any, Any], at: int) -> None:
    try:
        short = like(FORM, ID, at, 7, properties)
    except Exception:  # noqa: BLE001  # as in a session: the long way is asked
        return
    if short is None:
        return
    made = _long_way(at, properties)
    assert made is not None, "the long way refuses what the short one takes"
    assert short.content() == made.content()
    assert _typed(short.properties) == _typed(made.properties) == _typed(json.loads(made.raw))


@law(300)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(["a", "b", "ü", "\ud800", Channel.IVR, 1]), VALUES, max_size=4), max_size=6
    )
)
def test_names_of_before_change_nothing_of_what_is_told(told: list[dict[Any, Any]]) -> None:
    def made(form: Form, properties: dict[Any, Any]) -> object:
        try:
            short = like(form, ID, BEGIN, 7, properties)
        except ValueError as error:
            return type(error)
        return short and (short.content(), _typed(short.properties))

    form = Form(CHECKED)
    assert [made(form, one) for one in told] == [made(Form(CHECKED), one) for one in told]


def test_plain_details_do_go_the_short_way() -> None:
    assert like(FORM, ID, BEGIN, 7, {"number": 3, "what": "ü", "yes": True, "none": None, "part": 0.5}) is not None
    assert like(FORM, ID, BEGIN, 7, {"channel": Channel.IVR}) is None
    assert like(FORM, ID, BEGIN, 7, {"text": "x" * MAX_PROPERTIES}) is None


def _told() -> tuple[FakeHub, Session, Touchpoint]:
    hub = FakeHub(realistic())
    app = hub.touchpoint(Touchpoint("app"))
    session = app.session(account="A-1")
    session.track("call.started", number=1)
    return hub, session, app


@pytest.mark.parametrize("bad", [{"x": float("nan")}, {"x": "\ud800"}, {"x": object()}, {"x": "y" * MAX_PROPERTIES}])
def test_bad_details_are_refused_at_once_after_good_ones(bad: dict[str, Any]) -> None:
    hub, session, app = _told()
    with pytest.raises((FactError, TypeError, ValueError)):  # strict: the fake's
        session.track("call.started", bad)
    with pytest.raises((FactError, TypeError, ValueError)):
        session.track("call.started", 5)  # type: ignore[arg-type]  # what a host may do
    assert app.refused == {"event:call.started": 2}
    assert len(hub.facts) == 1


def test_each_has_its_own_id_instant_and_details() -> None:
    hub, session, _ = _told()
    details = {"b": 1, "a": [1]}
    session.track("call.started", details, number=2)
    session.track("call.started", {"b": 1, "a": 2}, number=3)
    details["b"] = 9
    assert [one.properties for one in hub.facts] == [
        {"number": 1}, {"a": [1], "b": 1, "number": 2}, {"a": 2, "b": 1, "number": 3}
    ]  # fmt: skip
    assert len({one.id for one in hub.facts}) == 3
    assert [one.seq for one in hub.facts] == sorted({one.seq for one in hub.facts})


def test_a_form_goes_with_the_interaction_the_identifiers_and_the_plan() -> None:
    hub, session, _ = _told()
    with session.interaction("C-1"):
        session.track("call.started", number=2)
        session.track("call.started", number=3)
    session.track("call.started", number=4)
    session.identify(email="ann@example.com")
    session.track("call.started", number=5)
    hub.push(realistic())
    session.track("call.started", number=6)
    calls = [one for one in hub.facts if one.type == "call.started"]
    assert [one.properties["number"] for one in calls] == [1, 2, 3, 4, 5, 6]
    assert [one.interaction.id if one.interaction else "" for one in calls] == ["", "C-1", "C-1", "", "", ""]
    assert [len(one.identifiers) for one in calls] == [1, 1, 1, 1, 2, 2]


def test_a_team_s_own_word_is_read_by_the_plan_of_the_moment() -> None:
    hub, session, app = _told()
    session.track("anruf", number=2)
    document = json.loads(json.dumps(realistic().document))
    document["events"]["call.started"].setdefault("aliases", {})["app"] = ["anruf"]
    hub.push(document)
    session.track("anruf", number=3)
    session.track("anruf", number=4)
    assert [one.type for one in hub.facts] == ["call.started", "anruf", "call.started", "call.started"]
    assert app.refused == {}


def test_details_are_written_when_somebody_asks_and_whoever_comes_first() -> None:
    details: dict[str, Any] = {"number": 3, "what": "x", "part": 0.5, "yes": True, "none": None}
    told = like(FORM, ID, BEGIN, 7, details)
    assert isinstance(told, Told)
    details["number"] = 4  # what a host changes afterwards
    assert told.raw == b'{"none":null,"number":3,"part":0.5,"what":"x","yes":true}'
    other = like(FORM, ID, BEGIN, 7, {"number": 3})
    assert other is not None
    other.forget()
    assert (other._properties, other.raw, other.properties) == (None, b'{"number":3}', {"number": 3})
    assert other == like(FORM, ID, BEGIN, 7, {"number": 3})


def test_what_threads_write_down_at_once_is_the_same() -> None:
    for number in range(200):
        told = like(FORM, ID, BEGIN, 7, {"number": number, "text": "x" * 200})
        assert told is not None
        found: list[bytes] = []
        threads = [threading.Thread(target=work, args=(told, found)) for work in (_read, _let_go, _read)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [properties_bytes({"number": number, "text": "x" * 200})] * 3


def _read(told: Fact, found: list[bytes]) -> None:
    found.append(told.raw)


def _let_go(told: Fact, found: list[bytes]) -> None:
    told.forget()
    found.append(told.raw)


def test_what_may_not_be_writable_is_known_at_once() -> None:
    with pytest.raises(UnicodeEncodeError):
        like(FORM, ID, BEGIN, 7, {"text": "\ud800"})
    with pytest.raises(UnicodeEncodeError):
        like(FORM, ID, BEGIN, 7, {"\ud800": 1})
    for bad in (float("nan"), float("inf"), 10**5000, 1 << 63, "\x00" * (MAX_PROPERTIES // 6)):
        assert like(FORM, ID, BEGIN, 7, {"x": bad}) is None
