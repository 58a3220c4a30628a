"""Ordinals at the SDK: blocks are on disk before a number is used, lanes keep their order, none is used twice."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from segue import outbox as outbox_module
from segue.domain.tally import runs
from segue.ordinals import BLOCK_LEAST, BLOCK_MOST, Ordinals
from segue.outbox import ANALYTICS, MUST, Offered, Outbox
from segue.publisher import tallies

from tests.offering import offer


def offered(number: int, lane: int = ANALYTICS) -> Offered:
    return Offered(number.to_bytes(16, "big"), b"body %d" % number, lane)


def tell(outbox: Outbox, *numbers: int, lane: int = ANALYTICS) -> list[Offered]:
    facts = [offered(number, lane) for number in numbers]
    for fact in facts:
        assert offer(outbox, fact)
    return facts


def handed(outbox: Outbox) -> list[int]:
    """The numbers that were handed out with what waits for the worker."""
    return [ordinal for *_, ordinal in outbox._fresh]


def on_disk(outbox: Outbox) -> dict[str, tuple[int, int]]:
    """(handed out, reserved) by lane, as another process reads it."""
    other = sqlite3.connect(outbox.path)
    try:
        rows = other.execute("SELECT name, handed_out, reserved FROM producers").fetchall()
        return {name.rpartition(".")[2]: (handed_out, reserved) for name, handed_out, reserved in rows}
    finally:
        other.close()


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    made = Outbox(tmp_path, "app", 1_000_000, 10**9)
    made.open()
    yield made
    made.close()


def test_no_number_is_handed_out_that_is_not_reserved_on_disk(outbox: Outbox) -> None:
    first = tell(outbox, 1, 2, 3)
    assert handed(outbox) == [0, 0, 0]  # nothing is reserved yet: they wait for the worker
    outbox.journal()
    assert [fact.ordinal for fact in first] == [1, 2, 3]
    assert on_disk(outbox) == {"analytics": (3, 3 + BLOCK_LEAST)}
    many = tell(outbox, *range(10, 10 + BLOCK_LEAST + 5))
    assert handed(outbox) == [*range(4, 4 + BLOCK_LEAST), 0, 0, 0, 0, 0]
    assert max(handed(outbox)) <= on_disk(outbox)["analytics"][1]
    outbox.journal()
    assert [fact.ordinal for fact in many] == list(range(4, 4 + len(many)))


def test_each_lane_is_a_producer_with_ordinals_of_its_own_and_one_that_nobody_uses_reserves_nothing(
    outbox: Outbox,
) -> None:
    tell(outbox, 1, 2)
    outbox.journal()
    assert set(on_disk(outbox)) == {"analytics"}
    (must,) = tell(outbox, 3, lane=MUST)
    outbox.journal()
    assert (must.ordinal, must.producer) == (1, f"{outbox.name}.must")
    assert on_disk(outbox)["must"] == (1, 1 + BLOCK_LEAST)


def test_a_batch_says_which_ordinals_it_carries_and_where_its_producers_wait(outbox: Outbox) -> None:
    tell(outbox, 1, 2, 3)
    tell(outbox, 4, 5, lane=MUST)
    outbox.journal()
    first = outbox.take(3, 10**6)
    assert [(t.producer.rpartition(".")[2], t.carried, t.settled) for t in tallies(first)] == [
        ("analytics", ((1, 1),), 0), ("must", ((1, 2),), 0),
    ]  # fmt: skip
    outbox.settle(first, [])
    assert [(t.carried, t.settled) for t in tallies(outbox.take(3, 10**6))] == [(((2, 3),), 1)]


def test_what_is_offered_again_to_a_hub_whose_history_was_cut_has_the_numbers_it_had(outbox: Outbox) -> None:
    tell(outbox, 1, 2, 3)
    outbox.journal()
    outbox.settle(outbox.take(10, 10**6), [])
    tell(outbox, 4)
    outbox.journal()
    assert [(t.carried, t.settled) for t in tallies(outbox.take(10, 10**6))] == [(((4, 4),), 3)]
    assert outbox.offer_again() == 3
    assert [(t.carried, t.settled) for t in tallies(outbox.take(10, 10**6))] == [(((1, 4),), 0)]


def test_a_fact_that_cannot_be_written_down_keeps_its_number_and_the_hub_is_told(outbox: Outbox) -> None:
    def broken() -> tuple[bytes, bytes]:
        raise ValueError("no")

    tell(outbox, 1)
    assert offer(outbox, Offered(b"", b"", ANALYTICS, source=broken))
    assert offer(outbox, Offered(b"", b"", ANALYTICS, source=broken))
    tell(outbox, 2)
    outbox.journal()
    assert outbox.losses == {"unwritable": 2}
    statement = outbox.statement()
    assert statement is not None
    (tally,) = statement.tallies
    assert (tally.lost, tally.settled, tally.ended) == (((2, 3, "unwritable"),), 0, False)
    assert tallies(outbox.take(10, 10**6))[0].carried == ((1, 1), (4, 4))
    outbox.told(statement)
    assert not outbox.untold
    assert outbox.statement() is None


def test_what_a_full_outbox_drops_is_told_by_ordinal_in_one_run(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, "app", 10, 10**9)
    outbox.open()
    for number in range(1, 41):
        tell(outbox, number)
        outbox.journal()
    assert outbox.losses == {"outbox_full": 30}
    statement = outbox.statement()
    assert statement is not None
    assert statement.tallies[0].lost == ((1, 30, "outbox_full"),)
    assert statement.tallies[0].settled == 30
    outbox.close()


def test_what_is_lost_without_a_disk_is_told_by_ordinal_once_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "MEMORY_ROWS", 4)
    folder = tmp_path / "state"
    folder.write_text("a file where the folder should be")
    outbox = Outbox(folder, "app", 100, 10**9)
    outbox.open()
    tell(outbox, *range(1, 11))
    outbox.journal()
    assert outbox.losses == {"disk": 6}
    assert not outbox.untold  # nobody could say later whether it was told
    folder.unlink()
    outbox.reopen()
    outbox.journal()
    statement = outbox.statement()
    assert statement is not None
    assert statement.tallies[0].lost == ((1, 6, "disk"),)
    assert tallies(outbox.take(10, 10**6))[0].carried == ((7, 10),)
    assert outbox.waiting + sum(outbox.losses.values()) == outbox.offered == 10
    outbox.close()


def test_a_lane_that_rests_gives_back_what_it_reserved(outbox: Outbox) -> None:
    tell(outbox, 1, 2, 3)
    outbox.journal()
    outbox.rest()
    assert on_disk(outbox)["analytics"] == (3, 3 + BLOCK_LEAST)  # it was not idle since the last time
    outbox.rest()
    assert on_disk(outbox)["analytics"] == (3, 3)
    (late,) = tell(outbox, 4)
    assert late.ordinal == 0
    outbox.journal()
    assert late.ordinal == 4
    assert on_disk(outbox)["analytics"] == (4, 4 + BLOCK_LEAST)


def test_an_outbox_that_ends_in_good_order_leaves_no_doubt_about_what_it_handed_out(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, "app", 100, 10**9)
    outbox.open()
    tell(outbox, 1, 2, 3)
    outbox.journal()
    outbox.close()
    assert on_disk(outbox) == {"analytics": (3, 3)}


def test_the_next_process_has_a_name_of_its_own_and_goes_on_with_nobodys_numbers(tmp_path: Path) -> None:
    names = {Outbox(tmp_path, "app", 100, 10**9).name for _ in range(50)}
    assert len(names) == 50


def test_a_reservation_that_could_not_be_written_is_not_used(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise sqlite3.OperationalError("database or disk is full")

    assert outbox._journal is not None
    with monkeypatch.context() as broken:
        broken.setattr(outbox._journal, "write", full)
        first = tell(outbox, 1, 2)
        outbox.journal()
        assert tell(outbox, 3)[0].ordinal == 0
    outbox.journal()
    assert [fact.ordinal for fact in first] == [1, 2]
    assert [row.ordinal for row in outbox.take(10, 10**6)] == [1, 2, 3]
    assert outbox.waiting == outbox.offered == 3


@given(st.lists(st.tuples(st.sampled_from(["take", "commit", "fail", "rest", "kill"]), st.integers(1, 40))))
def test_whatever_happens_numbers_rise_without_gaps_and_a_kill_finds_all_that_were_taken_within_the_block(
    steps: list[tuple[str, int]],
) -> None:
    """Hosts take, the worker numbers the rest and commits, or fails to; at any moment the disk covers every number
    that a host was given."""
    ordinals, disk = Ordinals("p"), 0
    given_out: list[int] = []
    waiting: list[int] = []
    for step, count in steps:
        if step == "take":
            for _ in range(count):
                ordinal = ordinals.take()
                waiting.append(ordinal)
                assert ordinal <= disk
        elif step in ("commit", "fail"):
            numbered = [ordinal or ordinals.number() for ordinal in waiting]
            ordinals.numbered()
            given_out += numbered
            waiting = []
            wanted = ordinals.needs(len(numbered))
            assert wanted - ordinals.handed_out <= BLOCK_MOST
            if step == "commit":
                disk = max(disk, wanted)
                ordinals.grant(wanted)
        elif step == "rest" and not waiting and ordinals.idle():
            ordinals.give_back()
            disk = ordinals.reserved
    given_out += [ordinal or ordinals.number() for ordinal in waiting]
    assert given_out == list(range(1, len(given_out) + 1))


@given(st.sets(st.integers(1, 60)))
def test_runs_are_the_numbers_and_as_few_as_can_be(numbers: set[int]) -> None:
    found = runs(numbers)
    assert [n for first, last in found for n in range(first, last + 1)] == sorted(numbers)
    assert all(before[1] + 1 < after[0] for before, after in pairwise(found))
