"""Facts: what is refused, so that everything that was taken can be folded, stored and sent for ever."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from segue.domain.fact import EVENT, TRAIT, Fact, check, derived_id
from segue.domain.fold import fold
from segue.domain.identifier import Identifier
from segue.domain.section import decode, encode
from segue.errors import FactError

from tests.building import BEGIN, plan, who
from tests.unit.logs import law

PLAN = plan()


def raw_fact(raw: bytes, kind: str = TRAIT) -> Fact:
    return Fact(derived_id(BEGIN, "test", "1"), kind, "value_tier", BEGIN, 0, who("account=A-1"), raw=raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"nothing", b"[]", b'"text"', b"\xff", '{"value": 1}'.encode("utf-16"), b'{"value": "\xed\xa0\x80"}',
        b'{"value": "\\ud800"}', b'{"value": NaN}', b'{"value": -Infinity}', b'{"value": ' + b"[" * 30_000,
        b'{"value": "' + b"a" * 65_536 + b'"}',
    ],
    ids=[
        "no JSON", "a list", "a text", "no UTF-8", "UTF-16", "a surrogate in bytes", "a lone surrogate", "not a number",
        "infinite", "too deep", "too large",
    ],
)  # fmt: skip
def test_properties_that_could_not_be_written_again_are_refused(raw: bytes) -> None:
    """Counterexamples: UTF-16 and lone surrogates were taken, and the context could never be encoded again."""
    with pytest.raises(FactError) as refused:
        check(raw_fact(raw))
    assert refused.value.field == "properties"


@pytest.mark.parametrize("raw", [b'{"value": "\\u00e9"}', b'{"value": "\\ud83d\\ude00"}', b'{"value": "NaN"}'])
def test_escapes_of_real_characters_are_fine(raw: bytes) -> None:
    check(raw_fact(raw))


@law()
@given(
    st.binary(max_size=20) | st.text(max_size=20).map(lambda text: f'{{"value": "{text}"}}'.encode("utf-8", "ignore"))
)
def test_what_is_taken_can_be_folded_stored_and_read(raw: bytes) -> None:
    given_ = raw_fact(raw)
    try:
        check(given_)
    except FactError:
        return
    content = fold(PLAN, [given_, raw_fact(raw, EVENT)])
    data = encode(content, PLAN)
    assert encode(decode(data), PLAN) == data


def test_an_imported_id_is_that_of_its_time_and_source() -> None:
    """FA1: importing twice adds nothing; ids sort by time; they are UUIDv8."""
    first, again = (derived_id(BEGIN, "crm.csv", "row 7") for _ in range(2))
    assert first == again
    assert len({first, derived_id(BEGIN, "crm.csv", "row 8"), derived_id(BEGIN, "erp.csv", "row 7")}) == 3
    assert first < derived_id(BEGIN + 1000, "crm.csv", "row 1")
    assert (first[6] >> 4, first[8] >> 6) == (8, 2)


def test_a_kind_of_identifier_that_is_no_text_is_refused_as_a_value_is() -> None:
    """Regression (found by fuzzing): it passed, and could not be written to the wire."""
    for name in (Identifier("kind\udca0", "1"), Identifier("account", "1\udca0")):
        with pytest.raises(FactError, match="no UTF-8"):
            PLAN.kinds.normal(name)
