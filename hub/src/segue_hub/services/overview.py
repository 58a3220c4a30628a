"""The overview: how the hub, its store and its instances are, as plain data.

Owns what `segue-hub status` shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from segue.domain.instant import SECOND, instant_text

from ..storage.ports import Store
from .contexts import Contexts
from .fan_out import FanOut
from .ingest import Ingest
from .plans import Plans
from .timers import Timers
from .touchpoints import Touchpoints


class Overview:
    """Looks at all services; changes none."""

    def __init__(
        self, store: Store, plans: Plans, ingest: Ingest, contexts: Contexts, fan_out: FanOut, timers: Timers,
        touchpoints: Touchpoints, clock: Callable[[], int],
    ) -> None:  # fmt: skip
        self._store = store
        self._plans = plans
        self._ingest = ingest
        self._contexts = contexts
        self._fan_out = fan_out
        self._timers = timers
        self._touchpoints = touchpoints
        self._clock = clock
        self._started = clock()

    def now(self) -> int:
        """The hub's clock, in microseconds."""
        return self._clock()

    def plain(self) -> dict[str, Any]:
        """Everything, as JSON."""
        now, plan = self._clock(), self._plans.current
        unknown = self._ingest.admission.unknown
        position = self._store.head()[0]
        return {
            "serving": self._ingest.accepting,
            "at": instant_text(now),
            "up_s": round((now - self._started) / SECOND, 1),
            "incarnation": self._store.incarnation,
            "store": self._store.counts(),
            "position": position,
            "folded": self._contexts.position,
            "facts_since_start": dict(self._ingest.counts),
            "folds": dict(self._contexts.counts),
            "plan": {"digest": plan.digest, "versions": len(self._plans.history)},
            "touchpoints": self._touchpoints.names,
            "subscriptions": self._fan_out.subscriptions,
            "timers": {"pending": self._timers.pending, "fired": self._timers.fired},
            "instances": [
                {
                    "touchpoint": stream.touchpoint,
                    "instance": stream.instance,
                    "sdk": stream.sdk,
                    "connected_s": round((now - stream.since) / SECOND, 1),
                    "plan": stream.plan,
                    "plan_current": stream.plan == plan.digest,
                    "plan_refused": stream.refused,
                    "subscriptions": len(stream.subscriptions),
                    "behind": len(stream.dirty),
                    "conflated": stream.conflated,
                    **stream.status,
                }
                for stream in sorted(self._fan_out.streams, key=lambda s: (s.touchpoint, s.instance))
            ],
            "unknown_events": [
                {"type": name, "count": count, "nearest": unknown.nearest.get(name, "")}
                for name, count in unknown.counts.most_common(50)
            ],
        }
