"""Bookmarks: what the store says that a stream's client should hold.

Owns what a bookmark tells, and that telling it stops nobody: who is not live is not folded for it, and of many
subscriptions some are looked at at a time. When one is due is the session's.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Final

from segue.domain.grant import Grant
from segue.domain.plan import Plan
from segue.v1 import sync_pb2 as pb

from ..services.contexts import Contexts
from ..services.earlier_plans import EarlierPlans
from ..services.fan_out import Stream, Subscription
from ..services.plans import Plans
from ..storage.ports import Store
from .context_service import Projections

SLICE: Final = 32
"""Subscriptions looked at before others get their turn."""


class Bookmarks:
    """Makes them.

    Args:
        store: what stands in it.
        contexts: who of it is live.
        projections: by which view it is seen.
        plans: the one in force.
        earlier: and that of an instance which refused it.
        clock: the time that a bookmark tells.
    """

    def __init__(
        self, store: Store, contexts: Contexts, projections: Projections, plans: Plans, earlier: EarlierPlans,
        clock: Callable[[], int],
    ) -> None:  # fmt: skip
        self._store = store
        self._contexts = contexts
        self._projections = projections
        self._plans = plans
        self._earlier = earlier
        self._clock = clock

    async def of(self, stream: Stream) -> pb.Bookmark:
        """A stream's, to be sent before any other message of it: what is on its way at this place is not in it."""
        texts: dict[Subscription, str] = {}
        subscriptions = list(stream.subscriptions.values())
        for start in range(0, len(subscriptions), SLICE):
            if start:
                await asyncio.sleep(0)
            plan, grant = self._earlier.plan_of(stream), self._plans.current.grant(stream.touchpoint)
            with self._store.snapshot():  # so that the file is locked once, and not for each
                for subscription in subscriptions[start : start + SLICE]:
                    texts[subscription] = self._text(stream, subscription, plan, grant)
        numbers = sorted(stream.subscriptions)  # others may have come meanwhile: theirs is on its way
        told = [texts.get(found) or _held(found) for found in map(stream.subscriptions.__getitem__, numbers)]
        digest = hashlib.sha256("".join(told).encode()).hexdigest()[:16]
        return pb.Bookmark(server_time=self._clock(), subscriptions=len(numbers), digest=digest)

    def _text(self, stream: Stream, subscription: Subscription, plan: Plan, grant: Grant) -> str:
        """What the store says of one; what was told where the news of it is on its way. What was missed is told now."""
        if subscription in stream.dirty or subscription in stream.echoes:
            return _held(subscription)
        known = self._contexts.find(subscription.identifier)
        if known is not None and not self._contexts.horizon.has(known):  # committed, and not folded yet: that marks it
            return _held(subscription)
        version, view = 0, ""
        if known is not None:
            version = self._contexts.newest_version(known.customer)
            view = self._projections.view(grant, subscription.purpose, plan)
        if version > self._contexts.position:  # committed, and not folded yet: that marks it
            return _held(subscription)
        if (version, view) != (subscription.version, subscription.view):
            stream.mark(subscription)
        return f"{subscription.number}:{version}:{view};"


def _held(subscription: Subscription) -> str:
    return f"{subscription.number}:{subscription.version}:{subscription.view};"
