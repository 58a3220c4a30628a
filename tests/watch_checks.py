"""Six checks on recorded histories of Sync, as etcd's robustness tests have them for watches.

Owns `History` (what one stream was told, in order) and the checks: ordered, unique, reliable, atomic, resumable,
bookmarked. Each gives the anomalies it found, in words; none means that the history holds. They look at recorded
messages and at the log, never into the hub, so that any fault test can use them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from segue.domain.fact import Fact
from segue.domain.identifier import Identifier
from segue.v1 import sync_pb2

Log = Sequence[tuple[int, Fact]]
"""(position, fact), rising."""
Whose = Callable[[Identifier, int], Sequence[Fact]]
"""The facts of whoever is known by an identifier, as of a position."""


@dataclass
class History:
    """What one stream was told.

    Attributes:
        identifiers: by subscription number.
        held: what was stated to be held at the start, by subscription: (version, view, customer).
        messages: in the order received.
    """

    identifiers: dict[int, Identifier] = field(default_factory=dict)
    held: dict[int, tuple[int, str, str]] = field(default_factory=dict)
    messages: list[sync_pb2.SyncResponse] = field(default_factory=list)

    def frames(self, subscription: int = 0) -> list[sync_pb2.ContextUpdate]:
        """Context updates, of one subscription where named."""
        found = [frame for message in self.messages for frame in updates(message)]
        return [frame for frame in found if subscription in (0, frame.subscription)]

    def last(self, subscription: int) -> tuple[int, str, str]:
        """What the client holds at the end: (version, view, customer)."""
        held = self.held.get(subscription, (0, "", ""))
        for frame in self.frames(subscription):
            if frame.gone:
                held = (0, "", "")
            elif frame.HasField("context"):
                held = (frame.context.version, frame.context.view, frame.context.customer)
        return held


def updates(message: sync_pb2.SyncResponse) -> list[sync_pb2.ContextUpdate]:
    """What a message says of contexts: of one, of several, or of none."""
    kind = message.WhichOneof("body")
    return [message.context] if kind == "context" else list(message.contexts.updates) if kind == "contexts" else []


def sections(frame: sync_pb2.ContextUpdate) -> dict[str, object]:
    """The sections of a frame, decoded."""
    return {section.name: json.loads(section.data) for section in frame.context.sections}


def ordered(history: History) -> list[str]:
    """Messages are counted without gaps; versions of a subscription rise."""
    wrong = [
        f"message {place} has seq {message.seq}"
        for place, message in enumerate(history.messages, 1)
        if message.seq != place
    ]
    for number in history.identifiers:
        version = history.held.get(number, (0, "", ""))[0]
        for frame in history.frames(number):
            if frame.HasField("context"):
                if frame.context.version < version:
                    wrong.append(f"subscription {number} went from version {version} back to {frame.context.version}")
                version = frame.context.version
    return wrong


def unique(history: History) -> list[str]:
    """Nothing is told twice; outcomes aside, which begin at the moment they are told."""
    wrong = []
    for number in history.identifiers:
        seen: set[tuple[object, ...]] = set()
        for frame in history.frames(number):
            if frame.HasField("context"):
                told = lasting(frame)
                if told in seen:
                    wrong.append(f"subscription {number} was told version {frame.context.version} twice")
                seen.add(told)
    return wrong


def lasting(frame: sync_pb2.ContextUpdate) -> tuple[object, ...]:
    """All of a context that does not depend on the moment it is sent."""
    context = frame.context
    parts = tuple((section.name, section.data) for section in context.sections if section.name != "outcomes")
    return (context.customer, context.version, context.view, context.plan, parts)


def reliable(history: History, truth: Mapping[int, tuple[int, str, str]]) -> list[str]:
    """Once all is quiet the client holds what a cold read gives: no change was dropped."""
    return [
        f"subscription {number} holds {history.last(number)}, the store says {wanted}"
        for number, wanted in truth.items()
        if history.last(number) != wanted
    ]


def atomic(history: History, log: Log, whose: Whose | None = None) -> list[str]:
    """A context of a version has every fact of its customer up to that version and none after: never half a change.

    Args:
        history: what was told.
        log: all facts.
        whose: the facts that are folded of whoever is known by an identifier as of a position; where it is not given,
            those that name one another.
    """
    whose = whose or (lambda identifier, through: facts_of(identifier, log, through))
    wrong = []
    for number, identifier in history.identifiers.items():
        for frame in history.frames(number):
            if not frame.HasField("context"):
                continue
            version = frame.context.version
            told = sections(frame)["envelope"][2]  # type: ignore[index]
            wanted = len(whose(identifier, version))
            if told != wanted:
                wrong.append(f"subscription {number} at version {version} has {told} facts, the log {wanted}")
    return wrong


def facts_of(identifier: Identifier, log: Log, through: int) -> list[Fact]:
    """The facts of whoever is known by an identifier, as of a position."""
    facts = [fact for position, fact in log if position <= through]
    names = {identifier}
    while True:
        more = {i for fact in facts if names & set(fact.identifiers) for i in fact.identifiers}
        if more <= names:
            return [fact for fact in facts if names & set(fact.identifiers)]
        names |= more


def resumable(history: History, truth: Mapping[int, tuple[int, str, str]]) -> list[str]:
    """What was stated to be held is answered, always: unchanged where it is current, whole where it is not."""
    wrong = []
    for number, held in history.held.items():
        frames = history.frames(number)
        if not frames:
            wrong.append(f"subscription {number} was never answered")
        elif frames[0].unchanged and held[0] > truth[number][0]:
            wrong.append(f"subscription {number} was told that version {held[0]} is current, it is {truth[number][0]}")
        elif frames[0].unchanged and held != truth[number] and len(frames) == 1:
            wrong.append(f"subscription {number} was told unchanged, but held {held} and not {truth[number]}")
        elif frames[0].HasField("context") and frames[0].context.version < held[0]:
            wrong.append(f"subscription {number} held version {held[0]} and got the older {frames[0].context.version}")
    return wrong


def digest(history: History) -> str:
    """The digest of what the client holds at the end, as a bookmark gives it."""
    found = hashlib.sha256()
    for number in sorted(history.identifiers):
        version, view, _ = history.last(number)
        found.update(f"{number}:{version}:{view};".encode())
    return found.hexdigest()[:16]


def bookmarked(history: History) -> list[str]:
    """The newest bookmark, with nothing told after it, names exactly what the client holds."""
    bookmarks = [place for place, m in enumerate(history.messages) if m.WhichOneof("body") == "bookmark"]
    if not bookmarks:
        return ["no bookmark came"]
    bookmark = history.messages[bookmarks[-1]].bookmark
    wrong = []
    if bookmark.subscriptions != len(history.identifiers):
        wrong.append(f"the bookmark counts {bookmark.subscriptions} subscriptions of {len(history.identifiers)}")
    if bookmark.digest != digest(history):
        wrong.append(f"the bookmark says {bookmark.digest}, held is {digest(history)}")
    return wrong
