"""Fan-out: which stream has to hear of which customer.

Owns subscriptions by identifier, their resolution to customers, and each stream's dirty set: what changed since it
was last told, conflated, never queued. Memory is bounded by subscriptions, not by traffic. What a client shows already
waits a little for more of the same (ADR 0018).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from segue.domain.content import Content
from segue.domain.fact import EVENT, Fact, Order
from segue.domain.identifier import Identifier
from segue.domain.instant import NEVER
from segue.domain.projection import foreseen

from ..storage.ports import Known
from .contexts import Contexts
from .entry import Entry
from .head import Head
from .plans import News, Plans
from .resolved import Resolved

OWN_TOLD: Final = 1000
"""Ids of own facts that one frame lists at most, besides those asked for; an SDK shows no more than 256."""
ECHO: Final = 0.25
"""Seconds that a context waits at most where its client shows all that is new of it: most of what a client tells comes
back to it as whole contexts, and it needs none of them."""
ECHO_STEP: Final = 0.02
"""Seconds: echoes that fall due so close to each other are sent together."""
ECHOED: Final = 128
"""Own facts that wait so at most; a client shows 256 over one context, and drops the oldest quarter beyond."""
FORESEEN: Final = 10_000
"""Touchpoints and purposes remembered at most, with whether they see all that their own events change."""
ID_BYTES: Final = 16
"""Of a fact's id."""
_Name = TypeVar("_Name", int, Identifier)


@dataclass(slots=True, eq=False)
class Subscription:
    """One identifier that one stream wants to know of.

    Attributes:
        customer: what it resolves to; 0 while nobody is known by it.
        known: what the store said of the identifier then; None while nobody is known by it.
        version, view: what the client holds.
        pending: ids of the client's own facts that it shows but does not know to be included.
        own: ids of its touchpoint's facts since the last frame: a publication may overtake what the stream says.
        last: the number of facts, and the last of them, in what the client shows for certain; None where nobody knows.
        failed: why it cannot be served, if so.
    """

    number: int
    identifier: Identifier
    purpose: str
    stream: Stream
    customer: int = 0
    known: Known | None = None
    version: int = 0
    view: str = ""
    holds: str = ""
    pending: set[bytes] = field(default_factory=set)
    own: list[bytes] = field(default_factory=list)
    last: tuple[int, Order | None] | None = None
    answered: bool = False

    def expect(self, ids: Iterable[bytes], most: int) -> bool:
        """Adds ids to `pending`, unless the whole stream would ask about more than so many; returns whether it did."""
        fresh = set(ids) - self.pending
        if self.stream.pending + len(fresh) > most or any(len(id_) != ID_BYTES for id_ in fresh):
            return False
        self.pending |= fresh
        self.stream.pending += len(fresh)
        return True

    def told(self, head: object) -> None:
        """Notes what a frame was made of."""
        self.last = (head.content.facts, head.content.through) if isinstance(head, Head) else None

    def shows(self, facts: Sequence[Fact], content: Content | None) -> bool:
        """Whether the client shows a content already, being told of nothing: all that is new of it are these facts,
        own events that it laid over what it was told in the order in which they stand there (VE4, VE6).
        """
        if content is None or self.last is None or len(self.pending) > ECHOED:
            return False
        count, through = self.last
        for fact in facts:
            if fact.kind != EVENT or len(fact.identifiers) != 1 or fact.id not in self.pending:
                return False
            if through is not None and fact.order <= through:
                return False
            count, through = count + 1, fact.order
        if (count, through) != (content.facts, content.through):
            return False
        self.last = count, through
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
        echoes: subscriptions whose news the client shows already, with when they are to be answered at the latest, the
            first of them first.
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
        self.echoes: dict[Subscription, float] = {}
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
        if self.echoes.pop(subscription, None) is not None or subscription in self.dirty:
            self.conflated += 1
        self.dirty[subscription] = None
        self.wake.set()

    def echo(self, subscription: Subscription, now: float) -> None:
        """It changed as the client shows it already."""
        if subscription in self.dirty or subscription in self.echoes:
            self.conflated += 1
            return
        if not self.echoes:
            self.wake.set()  # so that somebody asks when it is due
        self.echoes[subscription] = math.ceil((now + ECHO) / ECHO_STEP) * ECHO_STEP

    def fall_due(self, now: float) -> None:
        """Marks the echoes that are to be answered now."""
        while self.echo_due <= now:
            subscription = next(iter(self.echoes))
            del self.echoes[subscription]
            self.dirty[subscription] = None

    @property
    def echo_due(self) -> float:
        """When the next echo is to be answered."""
        return next(iter(self.echoes.values()), math.inf)

    @property
    def behind(self) -> int:
        """How many subscriptions were not told all yet."""
        return len(self.dirty) + len(self.echoes)


class FanOut:
    """All streams and what they subscribe to.

    Args:
        contexts: resolves identifiers.
        plans: the plan in force.

    Attributes:
        audience_resets: how often a stream that does not read was given an audience's members anew.
        audience_dropped: joiners and leavers that were dropped for that.
    """

    def __init__(self, contexts: Contexts, plans: Plans) -> None:
        self._contexts = contexts
        self._plans = plans
        self._foreseen: dict[tuple[str, str], bool] = {}
        self.streams: dict[Stream, None] = {}  # in the order they came
        self.audience_resets = 0
        self.audience_dropped = 0
        self._by_customer: dict[int, dict[Subscription, None]] = {}
        self._unknown: dict[Identifier, dict[Subscription, None]] = {}
        self._waiting: dict[Subscription, None] = {}

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
        self._place(subscription, self._contexts.find(subscription.identifier))
        stream.asked = True
        stream.mark(subscription)

    def unsubscribe(self, stream: Stream, number: int) -> None:
        """Forgets a subscription."""
        subscription = stream.subscriptions.pop(number, None)
        if subscription is None:
            return
        stream.dirty.pop(subscription, None)
        stream.echoes.pop(subscription, None)
        self._waiting.pop(subscription, None)
        stream.pending -= len(subscription.pending)
        if subscription.customer:
            _remove(self._by_customer, subscription.customer, subscription)
        else:
            _remove(self._unknown, subscription.identifier, subscription)

    def _place(self, subscription: Subscription, known: Known | None) -> None:
        subscription.known = known
        subscription.customer = known.customer if known is not None else 0
        if known is not None:
            self._by_customer.setdefault(known.customer, {})[subscription] = None
        else:
            self._unknown.setdefault(subscription.identifier, {})[subscription] = None

    def may_show(self, subscription: Subscription) -> bool:
        """Whether what its identifier came to its customer with is folded; if not, it is answered once that is."""
        folded = self._is_folded(subscription)
        if not folded:
            self._waiting[subscription] = None
        return folded

    def _is_folded(self, subscription: Subscription) -> bool:
        return subscription.known is None or self._contexts.horizon.has(subscription.known)

    def settled(self) -> None:
        """More is folded: who waited for it is answered."""
        for subscription in [waiting for waiting in self._waiting if self._is_folded(waiting)]:
            del self._waiting[subscription]
            subscription.stream.mark(subscription)

    def resolved(self, resolved: Resolved) -> None:
        """Identifiers appeared or resolve to others: who subscribed hears of it in one frame (ID3)."""
        for identifier in resolved.appeared:
            for subscription in self._unknown.pop(identifier, ()):
                self._place(subscription, self._contexts.find(identifier))
                subscription.stream.mark(subscription)
        for customer in resolved.changed:
            for subscription in list(self._by_customer.get(customer, ())):
                known = self._contexts.find(subscription.identifier)
                if known is not None and known.customer != customer:
                    _remove(self._by_customer, customer, subscription)
                    self._place(subscription, known)
                subscription.stream.mark(subscription)

    def accepted(self, entries: Sequence[Entry]) -> None:
        """Customers changed."""
        if not self._by_customer:
            return
        news: dict[int, list[Fact]] = {}
        for entry in entries:
            if entry.customer in self._by_customer:
                news.setdefault(entry.customer, []).append(entry.fact)
        now = asyncio.get_running_loop().time() if news else 0.0
        for customer, facts in news.items():
            content = self._contexts.live(customer, NEVER)
            for subscription in self._by_customer[customer]:
                stream = subscription.stream
                own = [fact.id for fact in facts if fact.touchpoint == stream.touchpoint]
                if own:
                    subscription.own += own
                    del subscription.own[:-OWN_TOLD]
                if len(own) == len(facts) and subscription.shows(facts, content) and self._foresees(subscription):
                    stream.echo(subscription, now)
                else:
                    stream.mark(subscription)

    def _foresees(self, subscription: Subscription) -> bool:
        """Whether a client makes of its own events all that the hub makes of them: it runs the plan in force, on the
        workspace in force, and sees all that they change something by.
        """
        stream, plan = subscription.stream, self._plans.current
        if stream.plan != plan.digest or stream.refused or stream.workspace != self._plans.told()[0]:
            return False
        name = stream.touchpoint, subscription.purpose
        found = self._foreseen.get(name)
        if found is None:
            if len(self._foreseen) >= FORESEEN:
                self._foreseen.clear()
            found = self._foreseen[name] = foreseen(plan, plan.grant(stream.touchpoint), subscription.purpose)
        return found

    def everything(self, streams: Iterable[Stream] | None = None) -> None:
        """A new plan: every subscription is answered again, after the plan."""
        self._foreseen.clear()
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
