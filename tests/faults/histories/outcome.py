"""What is left of a run: all that its clients were told, and what is in the store in the end.

Owns `Outcome` and the reading of the store. Judges nothing: see `checks`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segue.domain.fact import Fact
from segue.wire import fact_from_bytes

from tests.faults.histories.history import History
from tests.faults.histories.teller import Teller
from tests.faults.histories.trouble import Trouble
from tests.faults.watcher import Truth, Watcher


@dataclass(frozen=True)
class Heard:
    """A telling, as somebody heard it: who waits, since when, and when it was heard by the machine's clock."""

    id: str
    name: str
    left: bool
    at: int
    wall: int
    life: int


@dataclass
class Outcome:
    """Of one run.

    Attributes:
        tellers: with all that they offered.
        administered: facts that an administrator told, by id.
        hosts: what each told, a line each.
        listeners: what each heard, by who it was; one that never died, and one that did.
        watchers: with the histories of their streams; `truth` is what each had to hold in the end.
        final: what a cold read gave in the end, by identifier: (version, number of facts, ids).
        store: its file.
    """

    history: History
    trouble: Trouble
    store: Path
    tellers: Sequence[Teller]
    administered: dict[bytes, Fact]
    hosts: list[list[dict[str, Any]]] = field(default_factory=list)
    listeners: dict[str, list[Heard]] = field(default_factory=dict)
    watchers: list[Watcher] = field(default_factory=list)
    truth: Truth = field(default_factory=dict)
    final: dict[str, dict[str, Any]] = field(default_factory=dict)
    narrow: str = ""

    def log(self) -> tuple[list[tuple[int, Fact]], set[int]]:
        """All facts with their positions, and the positions at which units end."""
        with closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)) as connection:
            rows = connection.execute("SELECT position, received_at, body FROM facts").fetchall()
            rows += connection.execute("SELECT position, 0, body FROM workspace_facts").fetchall()
            others = connection.execute("SELECT position, kind, detail FROM changes").fetchall()
        ends: dict[int, int] = {}
        for position, received_at, _ in rows:
            ends[received_at] = max(position, ends.get(received_at, 0))
        ends.pop(0, None)
        alone = {position for position, _, _ in others}
        return [(position, fact_from_bytes(body)) for position, _, body in sorted(rows)], alone | set(ends.values())

    @property
    def deadlines(self) -> dict[str, tuple[bytes, int]]:
        """Of all errands, by name: the id of the fact, and the instant."""
        return {name: errand for teller in self.tellers for name, errand in teller.deadlines.items()}

    @property
    def acknowledged(self) -> dict[bytes, float]:
        """When each fact was acknowledged to whom told it."""
        return {id_: at for teller in self.tellers for id_, at in teller.acknowledged.items()}
