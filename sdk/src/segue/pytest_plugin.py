"""The pytest plugin: misspelt names raise, state goes to a temporary folder, and `fake_hub` is a fixture.

Owns what a channel team's tests get by installing `segue`. Imports the SDK only when a test asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .testing import FakeHub


@pytest.fixture(autouse=True)
def _segue_in_tests(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every touchpoint made in a test is strict, unless the test says otherwise."""
    monkeypatch.setenv("SEGUE_STRICT", "1")


@pytest.fixture
def fake_hub() -> FakeHub:
    """A hub in the test's own process, without a plan; `fake_hub.push(document)` gives it one."""
    from .testing import FakeHub

    return FakeHub()
