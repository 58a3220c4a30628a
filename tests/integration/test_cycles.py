"""What a hub's interpreter leaves behind in cycles: nothing stays for ever, and nobody waits for the search."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest
from segue_hub.cli import cycles


class Node:
    """In a cycle with itself."""

    def __init__(self) -> None:
        self.own = self


@pytest.fixture(autouse=True)
def settings() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.callbacks.remove(cycles._out_of_sight)
    gc.set_threshold(*before)
    gc.unfreeze()


def test_a_cycle_that_was_in_use_when_the_young_were_searched_goes_with_the_next_search_among_all() -> None:
    cycles.seek_among_the_young()
    node = Node()
    gone = weakref.ref(node)
    gc.collect(0)
    del node
    gc.collect()
    assert gone() is not None, "it was put out of sight while it was in use"
    assert cycles.seek_among_all() > 0
    assert gone() is None
    assert gc.get_freeze_count() > 10_000, "what lives long is out of sight again"


@pytest.mark.parametrize(("free_after", "patience"), [(5, 60.0), (1_000_000, 0.02)])
def test_the_search_among_all_waits_for_a_moment_at_which_nobody_waits_and_not_for_ever(
    monkeypatch: pytest.MonkeyPatch, free_after: int, patience: float
) -> None:
    cycles.seek_among_the_young()
    asked = 0

    def busy() -> bool:
        nonlocal asked
        asked += 1
        return asked <= free_after

    async def until_sought() -> int:
        sought: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        monkeypatch.setattr(cycles, "seek_among_all", lambda: sought.done() or sought.set_result(asked) or 0)
        task = asyncio.create_task(cycles.seek_rarely(busy, 0.0, patience))
        try:
            return await asyncio.wait_for(sought, 10)
        finally:
            task.cancel()

    monkeypatch.setattr(cycles, "LOOK_EVERY", 0.001)
    looks = asyncio.run(until_sought())
    assert looks == 6 if free_after == 5 else 1 <= looks < free_after
