"""What tests under fire share: the six watch checks over a stream's whole history, memory, and the line that is told.

Owns `sound`, `log_of`, `resident`, `told`. A line goes to standard output for people; where `SEGUE_FAULTS_JSON` names a
file, the figures are appended to it as JSON, a line each.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from segue.domain.identifier import Identifier
from segue.wire import fact_from_bytes
from segue_hub.testing import RunningHub

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


def log_of(hub: RunningHub) -> Log:
    """The whole log of a hub in this process."""
    return [(place, fact_from_bytes(body)) for place, body in hub.hub.store.log(0, 10_000_000) if body is not None]


def truth_of(caller: Caller, identifiers: dict[int, Identifier]) -> Truth:
    """What a cold read gives now, by subscription."""
    found = {number: caller.context(identifier) for number, identifier in identifiers.items()}
    return {number: (context.version, context.view, context.customer) for number, context in found.items()}


def anomalies(history: History, truth: Truth, log: Log) -> list[str]:
    """All six checks; a stream in whose time no bookmark came is not asked for one."""
    wrong = ordered(history) + unique(history) + reliable(history, truth) + atomic(history, log)
    wrong += resumable(history, truth)
    if any(message.WhichOneof("body") == "bookmark" for message in history.messages):
        wrong += bookmarked(history)
    return wrong


def sound(hub: RunningHub, stream: Stream, key: str, log: Log) -> list[str]:
    """The anomalies of a stream once it caught up: what holds then must hold of all that it was told."""
    with calling(hub.address, key) as reader:
        truth = truth_of(reader, stream.history.identifiers)
    history = stream.history

    def caught_up() -> bool:
        if any(history.last(number) != wanted for number, wanted in truth.items()):
            return False
        marks = stream.heard("bookmark")
        return not marks or marks[-1].digest == digest(history)

    try:
        eventually(caught_up, 30)
    except AssertionError:
        pass  # the checks say what is wrong
    return anomalies(history, truth, log)


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def told(test: str, **figures: object) -> None:
    """One line for people, and one for programs."""
    print(f"{test}: " + ", ".join(f"{name} {value}" for name, value in figures.items()))
    path = os.environ.get("SEGUE_FAULTS_JSON")
    if path:
        with Path(path).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"test": test, **figures}) + "\n")
