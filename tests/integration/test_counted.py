"""What the store holds is told without the hub waiting for it to be counted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from segue_hub.services import counted
from segue_hub.services.counted import Counted
from segue_hub.testing import run_hub

from tests.calling import calling, event
from tests.commanding import Command
from tests.waiting import eventually


class Slow:
    """A store of many facts, which are counted once somebody lets it."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.asked = 0

    def head(self) -> tuple[int, int]:
        return counted.AT_ONCE + 1, 1

    def counts(self) -> dict[str, int]:
        self.asked += 1
        assert self.go.wait(10)
        return {"facts": self.asked}


@contextmanager
def slow() -> Iterator[Slow]:
    store = Slow()
    try:
        yield store
    finally:
        store.go.set()


def test_nobody_waits_for_a_large_store_and_it_is_counted_once_at_a_time() -> None:
    with slow() as store:
        counts = Counted(store)  # type: ignore[arg-type]  # all that it asks of a store
        assert [counts.plain() for _ in range(3)] == [{}, {}, {}]
        store.go.set()
        assert eventually(counts.plain) == {"facts": 1}
        assert counts.plain() == {"facts": 1}
        assert store.asked == 1, "it rests"


def test_a_hub_tells_that_it_counts_and_then_what_it_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counted, "AT_ONCE", 2)
    with run_hub(store=tmp_path / "segue.db") as hub, calling(hub.address, hub.key("web")) as web:
        web.send(*(event("page.viewed", f"account=A-{n}") for n in range(4)))
        command, go, counts = Command.of(hub), threading.Event(), hub.hub.store.counts
        monkeypatch.setattr(hub.hub.store, "counts", lambda: counts() if go.wait(10) else {})
        assert "store: is being counted" in command.ok("status")
        go.set()
        assert eventually(lambda: command.json("status")["store"])["facts"] == 4
        assert "store: 4 facts, 4 customers" in command.ok("status")
