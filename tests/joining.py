"""Touchpoints on a hub under test: real SDK, real threads, state in the test's own folder.

Owns `joined`: a touchpoint that has the plan, closed when its block ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import segue
from segue_hub.testing import RunningHub

EXAMPLE = Path(__file__).parents[1] / "examples" / "plan"


@contextmanager
def joined(hub: RunningHub, name: str, folder: Path, **more: Any) -> Iterator[segue.Touchpoint]:
    """A touchpoint of a hub, ready."""
    more = {"hub": hub.address, "key": hub.key(name), "state": folder / name} | more
    touchpoint = segue.Touchpoint(name, **more)
    try:
        assert touchpoint.wait_ready(10), touchpoint.status()
        yield touchpoint
    finally:
        touchpoint.close()
