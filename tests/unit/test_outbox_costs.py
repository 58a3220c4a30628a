"""What an outbox costs its process does not grow with what waits in it: a day without a hub fills it, and each commit
beyond its limit lets go of as much as it takes. Counted in SQLite's own instructions, so that no clock is asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from segue.journal import Journal
from segue.offered import Offered
from segue.ordinals import Reservation

LITTLE, MUCH = 2_000, 20_000


def filled(path: Path, rows: int) -> Journal:
    """A journal in which so many facts wait, of either lane."""
    journal = Journal(path)
    facts = [Offered(number.to_bytes(16, "big"), b"a fact", number % 2) for number in range(1, rows + 1)]
    for fact in facts:
        fact.producer, fact.ordinal = "app.1", int.from_bytes(fact.id, "big")
    journal.write(facts, [Reservation("app.1", rows, rows)], [])
    return journal


def steps(journal: Journal, what: Callable[[], object]) -> int:
    """Hundreds of SQLite's instructions that something takes."""
    counted = 0

    def count() -> int:
        nonlocal counted
        counted += 1
        return 0

    journal._run.set_progress_handler(count, 100)
    what()
    journal._run.set_progress_handler(None, 100)
    return counted


@pytest.mark.parametrize("what", ["drop", "expire", "forget", "take"])
def test_what_is_let_go_of_costs_the_same_however_much_waits(tmp_path: Path, what: str) -> None:
    """Regression (found by F14, a day of ten million facts): the whole lane was read and sorted with every commit."""
    costs = []
    for rows in (LITTLE, MUCH):
        journal = filled(tmp_path / f"{rows}.outbox", rows)
        call = {
            "drop": lambda journal=journal: journal.drop(100, [1, 2], "outbox_full"),
            "expire": lambda journal=journal: journal.drop(100, [1, 2], "outbox_age", 1.0, 2.0),
            "forget": journal.forget,
            "take": lambda journal=journal: journal.take(100, 1 << 20),
        }[what]
        costs.append(steps(journal, call))
        journal.close()
    little, much = costs
    assert much <= little * 1.5 + 5


def test_the_oldest_of_the_last_lane_go_first_and_of_the_other_when_that_is_empty(tmp_path: Path) -> None:
    journal = filled(tmp_path / "app.outbox", 10)
    try:
        assert journal.drop(3, [2], "outbox_full") == 3  # of lane 1 are the odd ones; 2 is on its way
        assert [row.ordinal for row in journal.take(100, 1 << 20)] == [2, 4, 6, 8, 10, 7, 9]
        assert journal.drop(4, [2], "outbox_full") == 4
        assert [row.ordinal for row in journal.take(100, 1 << 20)] == [2, 8, 10]
        assert journal.drop(9, [2], "outbox_full") == 2
    finally:
        journal.close()
