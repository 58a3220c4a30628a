"""The overview: how the hub, its store and its instances are, as plain data.

Owns what `segue-hub status` shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from segue.domain.instant import SECOND, instant_text

from ..storage.ports import Store
from .admission import UnknownNames
from .contexts import Contexts
from .counted import Counted
from .fan_out import FanOut
from .ingest import Ingest
from .plans import Plans
from .sweep import Sweep
from .timers import Timers
from .touchpoints import Touchpoints


class Overview:
    """Looks at all services; changes none."""

    def __init__(
        self, store: Store, plans: Plans, ingest: Ingest, contexts: Contexts, fan_out: FanOut, timers: Timers,
        touchpoints: Touchpoints, sweep: Sweep, clock: Callable[[], int],
    ) -> None:  # fmt: skip
        self._store = store
        self._plans = plans
        self._ingest = ingest
        self._contexts = contexts
        self._fan_out = fan_out
        self._timers = timers
        self._touchpoints = touchpoints
        self._sweep = sweep
        self._clock = clock
        self._counted = Counted(store)
        self._started = clock()
        self.decisions: Callable[[], dict[str, Any]] = dict
        self.limits: Callable[[], dict[str, Any]] = dict
        self.ledger: Callable[[], dict[str, Any]] = dict

    def now(self) -> int:
        """The hub's clock, in microseconds."""
        return self._clock()

    def plain(self) -> dict[str, Any]:
        """Everything, as JSON."""
        now, plan = self._clock(), self._plans.current
        admission = self._ingest.admission
        position = self._store.head()[0]
        return {
            "serving": self._ingest.accepting,
            "at": instant_text(now),
            "up_s": round((now - self._started) / SECOND, 1),
            "incarnation": self._store.incarnation,
            "store": self._counted.plain(),
            "position": position,
            "folded": self._contexts.position,
            "facts_since_start": dict(self._ingest.counts),
            "refused_since_start": [
                {**kind._asdict(), "count": count} for kind, count in self._ingest.refusals.counts.most_common(50)
            ],
            "folds": dict(self._contexts.counts),
            "sequences": self._ingest.sequences.plain(),
            "plan": {"digest": plan.digest, "versions": len(self._plans.history)},
            "sweep": self._sweep.progress,
            "decisions": self.decisions(),
            "links_refused": self._store.verdicts(),
            "blocked_since_start": {"links": admission.blocked.links, "identifiers": admission.blocked.plain()},
            "incidents_open": plan.workspace.open_incidents(now),
            "touchpoints": self._touchpoints.names,
            "subscriptions": self._fan_out.subscriptions,
            "audiences": {"resets": self._fan_out.audience_resets, "dropped": self._fan_out.audience_dropped},
            "limits": self.limits(),
            "ledger": self.ledger(),
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
                    "behind": stream.behind,
                    "conflated": stream.conflated,
                    "audience_resets": stream.audience_resets,
                    **stream.status,
                }
                for stream in sorted(self._fan_out.streams, key=lambda s: (s.touchpoint, s.instance))
            ],
            "unknown_events": _unknown(admission.unknown, "type"),
            "unknown_traits": _unknown(admission.unknown_traits, "name"),
        }


def _unknown(names: UnknownNames, label: str) -> list[dict[str, Any]]:
    return [
        {label: name, "count": count, "nearest": names.nearest.get(name, "")}
        for name, count in names.counts.most_common(50)
    ]
