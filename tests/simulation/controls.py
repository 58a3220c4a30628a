"""Which simulation: the plain one, ten years of deadlines, and the negative controls, which have to be found.

Owns, by name, what a simulation is given in place of its usual parts. Were what is broken on purpose not found, the
checks would be worth nothing.
"""

from __future__ import annotations

from typing import Any

from tests.simulation.actors import SkippingWatcher
from tests.simulation.disk import Drowsy, Undeduplicated, Unsynced
from tests.simulation.years import Years

KINDS: dict[str, dict[str, Any]] = {
    "": {},
    "counts-twice": {"disk": Undeduplicated},
    "acknowledges-early": {"disk": Unsynced},
    "skips": {"watcher": SkippingWatcher},
    "years": {"kind": Years},
    "forgets-deadlines": {"kind": Years, "disk": Drowsy},
}
"""A store that takes the same fact twice; one that says durable before it is; a watcher that does not take all in; one
that forgets what was to fall due. And, with nothing broken, ten years instead of a bad quarter of a minute."""
