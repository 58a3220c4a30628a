"""What every test shares: that `tests` is importable from wherever pytest is started, that a hub under test logs to
standard error, as one that is served does, and that every stream of the SDK is held against the six watch checks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

_ROOT = str(Path(__file__).resolve().parent.parent)
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))

from tests import observing  # noqa: E402  # importable from here on

observing.install()


@pytest.fixture(autouse=True)
def _watched(request: pytest.FixtureRequest) -> Iterator[None]:
    """The six checks on every stream of the SDK in this process, once the test is through."""
    yield
    wrong, excused = observing.found(), request.node.get_closest_marker("unwatched")
    assert excused is not None or not wrong, wrong
