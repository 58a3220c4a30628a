"""The audiences that one stream watches: live ones with a snapshot, and those with a cursor, from the ledger.

Owns the messages about audiences, and which of them a stream may see. The order among all messages is the session's.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from segue.domain.grant import SERVICE
from segue.v1 import fact_pb2
from segue.v1 import sync_pb2 as pb
from segue.wire import identifier_to_wire

from ..services.audiences import Audiences
from ..services.contexts import Contexts
from ..services.failure import Refusal
from ..services.fan_out import FanOut, Stream
from ..services.kept_audiences import Key
from ..services.ledger import Ledger
from ..services.plans import Plans
from ..storage.ports import Store
from .audience_feed import AudienceFeed, CursorFeed
from .context_service import Projections

WATCHES: Final = 100
"""Audiences that one stream watches at most."""
PARTS: Final = 8
"""Messages about one audience in a row at most: then contexts get their turn."""


@dataclass(frozen=True, slots=True)
class Watching:
    """What all streams share."""

    audiences: Audiences
    ledger: Ledger
    contexts: Contexts
    projections: Projections
    plans: Plans
    fan_out: FanOut
    store: Store


def _to_nobody(watch: int, code: str, reason: str) -> None:
    """Stands where a stream has ended."""


class AudienceWatches:
    """One stream's watches.

    Args:
        hub: what is watched.
        stream: who watches.
        refuse: says why something cannot be watched, by subscription, code and message.

    Attributes:
        resumes: whether the client knows this history; if not, its numbers are those of another one.
    """

    def __init__(self, hub: Watching, stream: Stream, refuse: Callable[[int, str, str], None]) -> None:
        self._hub = hub
        self._stream = stream
        self._refuse = refuse
        self.resumes = False
        self._feeds: dict[int, AudienceFeed | CursorFeed] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def watch(self, asked: pb.WatchAudience) -> None:
        """Begins to watch, in place of what was watched under that number."""
        number, purpose = asked.subscription, asked.purpose or SERVICE
        self._unwatch(number)
        if not self._may_read("audiences", purpose):
            self._refuse(number, "NOT_GRANTED", "this touchpoint may not read audiences for this purpose")
            return
        if len(self._feeds) >= WATCHES:
            self._refuse(number, "OVERLOADED", f"a stream watches at most {WATCHES} audiences")
            return
        wake = self._stream.wake.set
        feed: AudienceFeed | CursorFeed
        if asked.cursor:
            feed = CursorFeed(asked.audience, purpose, self._stream.instance, wake)
            work = self._listen(number, feed, asked.cursor, asked.heard if self.resumes else 0)
        else:
            feed = AudienceFeed(asked.audience, purpose, wake, self._dropped)
            work = self._watch(number, feed)
        self._feeds[number] = feed
        task = asyncio.create_task(work, name="watch-audience")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def heard(self, told: pb.AudienceHeard) -> None:
        """A cursor's tellings through a number were heard."""
        feed = self._feeds.get(told.subscription)
        if isinstance(feed, CursorFeed) and feed.cursor is not None:
            self._hub.ledger.heard(feed.cursor, told.through)

    async def _watch(self, number: int, feed: AudienceFeed) -> None:
        audiences = self._hub.audiences
        try:
            await audiences.watch(feed.audience, feed.tell)
        except Refusal as error:
            self._refused(number, feed, error)
            return
        if self._feeds.get(number) is feed:
            feed.open(partial(audiences.watched, feed.audience))
        else:  # meanwhile the client asked for another one under this number
            audiences.unwatch(feed.audience, feed.tell)

    async def _listen(self, number: int, feed: CursorFeed, name: str, heard: int) -> None:
        key = Key(self._stream.touchpoint, name, feed.audience)
        try:
            feed.cursor = await self._hub.ledger.listen(key, feed, heard)
        except Refusal as error:
            self._refused(number, feed, error)
            return
        if self._feeds.get(number) is not feed:
            feed.close()
        feed.wake()

    def _refused(self, number: int, feed: AudienceFeed | CursorFeed, error: Refusal) -> None:
        if self._feeds.get(number) is feed:
            del self._feeds[number]
            self._refuse(number, error.code, str(error))

    def _unwatch(self, number: int) -> None:
        feed = self._feeds.pop(number, None)
        if isinstance(feed, CursorFeed):
            feed.close()
        elif feed is not None:
            self._hub.audiences.unwatch(feed.audience, feed.tell)

    @property
    def due(self) -> bool:
        """Whether there is something to say."""
        return any(feed.due and self._is_open(feed) for feed in self._feeds.values())

    def _is_open(self, feed: AudienceFeed | CursorFeed) -> bool:
        """What a cursor is to hear waits for a grant that was taken away; a live feed goes on without it."""
        return isinstance(feed, AudienceFeed) or self._may_read("audiences", feed.purpose)

    def messages(self) -> Iterator[pb.AudienceChange]:
        """What is to be said now."""
        for number, feed in list(self._feeds.items()):
            told = self._cursor(number, feed) if isinstance(feed, CursorFeed) else self._live(number, feed)
            for _, message in zip(range(PARTS), told, strict=False):
                yield message

    def _live(self, number: int, feed: AudienceFeed) -> Iterator[pb.AudienceChange]:
        while (part := feed.part()) is not None:
            if self._may_read("audiences", feed.purpose):  # else the grant was taken away meanwhile
                members = [
                    pb.AudienceMember(
                        customer=self._hub.projections.opaque(change.customer),
                        identifiers=self._names(change.customer, feed.purpose), left=change.left, at=change.at,
                    )
                    for change in part.changes
                ]  # fmt: skip
                yield pb.AudienceChange(
                    subscription=number, audience=feed.audience, reset=part.reset, members=members,
                    snapshot_ends=part.ends,
                )  # fmt: skip

    def _cursor(self, number: int, feed: CursorFeed) -> Iterator[pb.AudienceChange]:
        while self._is_open(feed) and feed.cursor is not None and (tellings := feed.part()):
            place = hashlib.sha256(f"{self._hub.store.incarnation}:{feed.cursor.number}".encode()).hexdigest()[:12]
            members = [
                pb.AudienceMember(
                    customer=self._hub.projections.opaque(told.customer),
                    identifiers=self._names(told.customer, feed.purpose), left=told.left, at=told.at,
                    id=f"{place}-{told.number}", reason=told.reason, number=told.number,
                )
                for told in tellings
            ]  # fmt: skip
            yield pb.AudienceChange(
                subscription=number, audience=feed.audience, members=members, through=tellings[-1].number
            )

    def _names(self, customer: int, purpose: str) -> list[fact_pb2.Identifier]:
        """A customer's identifiers; of one who is no more, the one that named her."""
        if not self._may_read("identity", purpose):
            return []
        names = self._hub.contexts.identifiers(customer) or self._hub.store.names([customer]).values()
        return [identifier_to_wire(name) for name in names]

    def _may_read(self, section: str, purpose: str) -> bool:
        return self._hub.plans.current.grant(self._stream.touchpoint).may_read(section, purpose)

    def _dropped(self, changes: int) -> None:
        """A stream that does not read missed changes: it gets the members anew when it does."""
        self._stream.audience_resets += 1
        self._hub.fan_out.audience_resets += 1
        self._hub.fan_out.audience_dropped += changes

    async def close(self) -> None:
        """The stream ended. Nothing of it is referred to any more: the hub never seeks cycles among what is old."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for number in list(self._feeds):
            self._unwatch(number)
        self._refuse = _to_nobody
