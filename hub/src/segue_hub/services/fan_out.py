"""Fan-out: which stream has to hear of which customer.

Owns subscriptions by identifier, their resolution to customers, and each stream's dirty set: what changed since it
was last told, conflated, never queued. Memory is bounded by subscriptions, not by traffic.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from segue.domain.identifier import Identifier

from .contexts import Contexts
from .entry import Entry
from .plans import News
from .resolved import Resolved

OWN_TOLD: Final = 1000
"""Ids of own facts that one frame lists at most, besides those asked for; an SDK shows no more than 256."""
ID_BYTES: Final = 16
"""Of a fact's id."""
_Name = TypeVar("_Name", int, Identifier)


@dataclass(slots=True, eq=False)
class Subscription:
    """One identifier that one stream wants to know of.

    Attributes:
        customer: what it resolves to; 0 while nobody is known by it.
        moved: at which position it came to that; a context that is not folded so far is somebody else's.
        version, view: what the client holds.
        pending: ids of the client's own facts that it shows but does not know to be included.
        own: ids of its touchpoint's facts since the last frame: a publication may overtake what the stream says.
        failed: why it cannot be served, if so.
    """

    number: int
    identifier: Identifier
    purpose: str
    stream: Stream
    customer: int = 0
    moved: int = 0
    version: int = 0
    view: str = ""
    holds: str = ""
    pending: set[bytes] = field(default_factory=set)
    own: list[bytes] = field(default_factory=list)
    answered: bool = False

    def expect(self, ids: Iterable[bytes], most: int) -> bool:
        """Adds ids to `pending`, unless the whole stream would ask about more than so many; returns whether it did."""
        fresh = set(ids) - self.pending
        if self.stream.pending + len(fresh) > most or any(len(id_) != ID_BYTES for id_ in fresh):
            return False
        self.pending |= fresh
        self.stream.pending += len(fresh)
        return True

    def settle(self, ids: Iterable[bytes]) -> None:
        """Takes ids out of `pending`."""
        before = len(self.pending)
        self.pending.difference_update(ids)
        self.stream.pending -= before - len(self.pending)


class Stream:
    """One SDK process as the hub sees it.

    Attributes:
        workspace: digest of the workspace that it was last told; None before it said what it holds.
        dirty: subscriptions to answer, in the order they became so.
        wake: set when there is something to send.
        audience_resets: how often it was given an audience's members anew, since it did not read.
        roused: whether keys changed since it was looked whether its own is valid.
        asked: whether it subscribed since it was last told: whoever asks is answered at once, and does not conflate.
        pending: how many own facts all its subscriptions ask about.
    """

    def __init__(self, touchpoint: str) -> None:
        self.touchpoint = touchpoint
        self.instance = ""
        self.sdk = ""
        self.plan = ""
        self.workspace: str | None = None
        self.refused = ""
        self.since = 0
        self.status: dict[str, object] = {}
        self.subscriptions: dict[int, Subscription] = {}
        self.dirty: dict[Subscription, None] = {}
        self.wake = asyncio.Event()
        self.plan_due = False
        self.roused = True
        self.asked = False
        self.closing = ""
        self.conflated = 0
        self.audience_resets = 0
        self.pending = 0

    def mark(self, subscription: Subscription) -> None:
        """Something of it changed."""
        if subscription in self.dirty:
            self.conflated += 1
        self.dirty[subscription] = None
        self.wake.set()


class FanOut:
    """All streams and what they subscribe to.

    Args:
        contexts: resolves identifiers.

    Attributes:
        audience_resets: how often a stream that does not read was given an audience's members anew.
        audience_dropped: joiners and leavers that were dropped for that.
    """

    def __init__(self, contexts: Contexts) -> None:
        self._contexts = contexts
        self.streams: dict[Stream, None] = {}  # in the order they came
        self.audience_resets = 0
        self.audience_dropped = 0
        self._by_customer: dict[int, dict[Subscription, None]] = {}
        self._unknown: dict[Identifier, dict[Subscription, None]] = {}

    def open(self, touchpoint: str) -> Stream:
        """A stream connected."""
        stream = Stream(touchpoint)
        self.streams[stream] = None
        return stream

    def close(self, stream: Stream) -> None:
        """A stream ended."""
        self.streams.pop(stream, None)
        for number in list(stream.subscriptions):
            self.unsubscribe(stream, number)

    def subscribe(self, subscription: Subscription) -> None:
        """Resolves a subscription and has it answered."""
        stream = subscription.stream
        self.unsubscribe(stream, subscription.number)
        stream.subscriptions[subscription.number] = subscription
        known = self._contexts.find(subscription.identifier)
        self._place(subscription, known.customer if known is not None else 0, known.moved if known is not None else 0)
        stream.asked = True
        stream.mark(subscription)

    def unsubscribe(self, stream: Stream, number: int) -> None:
        """Forgets a subscription."""
        subscription = stream.subscriptions.pop(number, None)
        if subscription is None:
            return
        stream.dirty.pop(subscription, None)
        stream.pending -= len(subscription.pending)
        if subscription.customer:
            _remove(self._by_customer, subscription.customer, subscription)
        else:
            _remove(self._unknown, subscription.identifier, subscription)

    def _place(self, subscription: Subscription, customer: int, moved: int = 0) -> None:
        subscription.customer, subscription.moved = customer, moved
        if customer:
            self._by_customer.setdefault(customer, {})[subscription] = None
        else:
            self._unknown.setdefault(subscription.identifier, {})[subscription] = None

    def resolved(self, resolved: Resolved) -> None:
        """Identifiers appeared or resolve to others: who subscribed hears of it in one frame (ID3)."""
        for identifier, customer in resolved.appeared.items():
            for subscription in self._unknown.pop(identifier, ()):
                self._place(subscription, customer)
                subscription.stream.mark(subscription)
        for customer in resolved.changed:
            for subscription in list(self._by_customer.get(customer, ())):
                known = self._contexts.find(subscription.identifier)
                if known is not None and known.customer != customer:
                    _remove(self._by_customer, customer, subscription)
                    self._place(subscription, known.customer, known.moved)
                subscription.stream.mark(subscription)

    def accepted(self, entries: Sequence[Entry]) -> None:
        """Customers changed."""
        if not self._by_customer:
            return
        for entry in entries:
            for subscription in self._by_customer.get(entry.customer, ()):
                if subscription.stream.touchpoint == entry.fact.touchpoint:
                    subscription.own.append(entry.fact.id)
                    del subscription.own[:-OWN_TOLD]
        for customer in {entry.customer for entry in entries}:
            for subscription in self._by_customer.get(customer, ()):
                subscription.stream.mark(subscription)

    def everything(self, streams: Iterable[Stream] | None = None) -> None:
        """A new plan: every subscription is answered again, after the plan."""
        for stream in self.streams if streams is None else streams:
            stream.plan_due = True
            for subscription in stream.subscriptions.values():
                stream.mark(subscription)
            stream.wake.set()

    def informed(self, news: News) -> None:
        """Incidents are others than they were: every stream hears of it, and of contexts where the plan reads them."""
        for stream in self.streams:
            if news.read:
                for subscription in stream.subscriptions.values():
                    stream.mark(subscription)
            stream.wake.set()

    def rouse(self) -> None:
        """Keys changed: every stream looks now whether its own is still valid."""
        for stream in self.streams:
            stream.roused = True
            stream.wake.set()

    @property
    def subscriptions(self) -> int:
        """How many there are."""
        return sum(len(stream.subscriptions) for stream in self.streams)


def _remove(table: dict[_Name, dict[Subscription, None]], name: _Name, subscription: Subscription) -> None:
    found = table.get(name)
    if found is not None:
        found.pop(subscription, None)
        if not found:
            del table[name]
