"""What tests under fire share: the six watch checks over a stream's whole history, and memory.

Owns `anomalies`, `caught_up`, `log_in`, `resident`. Figures are told by `trial`.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from segue.domain.identifier import Identifier
from segue.wire import fact_from_bytes
from segue_hub.storage.sqlite import SqliteStore

from tests.calling import Caller, calling
from tests.streaming import Stream
from tests.waiting import eventually
from tests.watch_checks import (
    History,
    Log,
    atomic,
    bookmarked,
    digest,
    ordered,
    reliable,
    resumable,
    unique,
)

Truth = dict[int, tuple[int, str, str]]


def log_in(store: Path) -> Log:
    """The whole log of a store that no hub serves."""
    opened = SqliteStore(store)
    try:
        return [(place, fact_from_bytes(body)) for place, body in opened.log(0, 10_000_000) if body is not None]
    finally:
        opened.close()


def truth_of(caller: Caller, identifiers: dict[int, Identifier]) -> Truth:
    """What a cold read gives now, by subscription."""
    found = {number: caller.context(identifier) for number, identifier in identifiers.items()}
    return {number: (context.version, context.view, context.customer) for number, context in found.items()}


def anomalies(history: History, truth: Truth, log: Log, *, whole: bool = True) -> list[str]:
    """All six checks; of a stream that was cut short (not `whole`) those that hold at every moment.

    A stream in whose time no bookmark came is not asked for one.
    """
    wrong = ordered(history) + unique(history) + atomic(history, log)
    if not whole:
        return wrong
    wrong += reliable(history, truth) + resumable(history, truth)
    if any(message.WhichOneof("body") == "bookmark" for message in history.messages):
        wrong += bookmarked(history)
    return wrong


def caught_up(stream: Stream, address: str, key: str) -> Truth:
    """What a cold read gives, once the stream was told it too, or had time enough: the checks say what is wrong."""
    history = stream.history
    with calling(address, key) as reader:
        truth = truth_of(reader, history.identifiers)

    def level() -> bool:
        if any(history.last(number) != wanted for number, wanted in truth.items()):
            return False
        if not all(history.frames(number) for number in history.held):
            return False  # what was stated to be held is answered, also where it is true
        marks = stream.heard("bookmark")
        return not marks or marks[-1].digest == digest(history)

    with suppress(AssertionError):
        eventually(level, 30)
    return truth


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
