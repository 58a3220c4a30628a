"""The six watch checks themselves: a good history passes, and each fault is caught by the check named after it.

A check that cannot fail is no check: every history here but the first is broken on purpose.
"""

from __future__ import annotations

import json

from segue.domain.identifier import Identifier
from segue.v1 import context_pb2, sync_pb2

from tests import watch_checks
from tests.building import fact
from tests.watch_checks import History

ANN = Identifier("account", "A-1")
LOG = [(2, fact("call.started", "1s")), (3, fact("call.started", "2s")), (5, fact("call.started", "3s"))]
TRUTH = {1: (5, "view", "ann")}


def context(version: int, facts: int) -> sync_pb2.SyncResponse:
    section = context_pb2.Section(name="envelope", data=json.dumps([0, None, facts, 0]).encode())
    made = context_pb2.Context(customer="ann", version=version, view="view", sections=[section])
    return sync_pb2.SyncResponse(context=sync_pb2.ContextUpdate(subscription=1, context=made))


def told(*messages: sync_pb2.SyncResponse, held: tuple[int, str, str] | None = None) -> History:
    history = History({1: ANN}, {1: held} if held else {}, [])
    for seq, message in enumerate(messages, 1):
        message.seq = seq
        history.messages.append(message)
    return history


def bookmark(history: History, subscriptions: int = 1, digest: str = "") -> History:
    made = sync_pb2.Bookmark(subscriptions=subscriptions, digest=digest or watch_checks.digest(history))
    history.messages.append(sync_pb2.SyncResponse(seq=len(history.messages) + 1, bookmark=made))
    return history


def test_a_good_history_passes_all_six() -> None:
    history = bookmark(told(context(2, 1), context(5, 3)))
    assert watch_checks.ordered(history) == watch_checks.unique(history) == []
    assert watch_checks.reliable(history, TRUTH) == watch_checks.atomic(history, LOG) == []
    assert watch_checks.resumable(told(context(5, 3), held=(3, "view", "ann")), TRUTH) == []
    assert watch_checks.bookmarked(history) == []


def test_versions_that_fall_are_not_ordered() -> None:
    assert watch_checks.ordered(told(context(5, 3), context(3, 2)))
    assert watch_checks.ordered(told(context(3, 2), held=(5, "view", "ann")))


def test_a_skipped_message_is_not_ordered() -> None:
    history = told(context(2, 1), context(3, 2), context(5, 3))
    del history.messages[1]
    assert watch_checks.ordered(history)


def test_a_context_told_twice_is_not_unique() -> None:
    assert watch_checks.unique(told(context(2, 1), context(2, 1)))


def test_a_last_change_that_was_dropped_is_not_reliable() -> None:
    assert watch_checks.reliable(told(context(2, 1), context(3, 2)), TRUTH)


def test_half_a_change_and_a_change_too_early_are_not_atomic() -> None:
    assert watch_checks.atomic(told(context(5, 2)), LOG)
    assert watch_checks.atomic(told(context(3, 3)), LOG)


def test_a_resume_that_is_not_answered_or_stays_behind_is_not_resumable() -> None:
    unchanged = sync_pb2.SyncResponse(context=sync_pb2.ContextUpdate(subscription=1, unchanged=True))
    assert watch_checks.resumable(told(held=(3, "view", "ann")), TRUTH)
    assert watch_checks.resumable(told(unchanged, held=(3, "view", "ann")), TRUTH)
    assert watch_checks.resumable(told(context(2, 1), held=(3, "view", "ann")), TRUTH)
    assert not watch_checks.resumable(told(unchanged, held=TRUTH[1]), TRUTH)


def test_a_bookmark_of_something_else_and_none_at_all_are_not_bookmarked() -> None:
    history = told(context(2, 1), context(5, 3))
    assert watch_checks.bookmarked(history)
    assert watch_checks.bookmarked(bookmark(told(context(5, 3)), digest="0123456789abcdef"))
    assert watch_checks.bookmarked(bookmark(told(context(5, 3)), subscriptions=2))
