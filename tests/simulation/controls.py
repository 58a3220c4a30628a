"""Negative controls: what has to be found, or the checks are worth nothing.

Owns the parts that are broken on purpose, by name: what a simulation is given in place of the right one.
"""

from __future__ import annotations

from typing import Any

from tests.simulation.actors import SkippingWatcher
from tests.simulation.disk import Undeduplicated, Unsynced

BROKEN_ON_PURPOSE: dict[str, dict[str, Any]] = {
    "": {},
    "counts-twice": {"disk": Undeduplicated},
    "acknowledges-early": {"disk": Unsynced},
    "skips": {"watcher": SkippingWatcher},
}
"""A store that takes the same fact twice; one that says durable before it is; a watcher that does not take all in."""
