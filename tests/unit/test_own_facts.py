"""Own facts on the host's thread: details that need no decoding."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from segue.domain.fact import decoded, properties_bytes

from tests.unit.logs import law

VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers(), max_size=2)


def _typed(value: object) -> object:
    """A value with its types and the order of its keys: True is not 1, and 0.0 is not -0.0."""
    if isinstance(value, dict):
        return [(name, _typed(part)) for name, part in value.items()]
    return (type(value), repr(value))


@law(500)
@given(st.dictionaries(st.text(), VALUES, max_size=6))
def test_details_that_need_no_decoding_are_what_decoding_gives(properties: dict[str, Any]) -> None:
    try:
        raw = properties_bytes(properties)
    except UnicodeEncodeError:
        return  # a lone surrogate: no fact
    found = decoded(properties)
    if any(isinstance(value, list) for value in properties.values()):
        assert found is None
    else:
        assert _typed(found) == _typed(json.loads(raw))


def test_details_of_other_types_are_decoded() -> None:
    class Text(str):
        pass

    assert decoded({"a": Text("x")}) is None
    assert decoded({Text("a"): 1}) is None
    assert decoded({"a": (1, 2)}) is None
    assert decoded({1: 2}) is None  # type: ignore[dict-item]  # what a host may do
