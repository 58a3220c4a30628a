"""The hub's book of a producer's ordinals, held to a plain set: any order, any repetition, bounded."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from segue.domain.tally import Tally, runs
from segue_hub.services.ordinal_book import ENDED, RUNS, Book, book_of

numbers = st.sets(st.integers(1, 40), max_size=20)


def carried(*ordinals: int, **more: Any) -> Tally:
    return Tally("p", runs(ordinals), **more)


def ended(handed_out: int, at_most: int = 0) -> Tally:
    return Tally("p", handed_out=handed_out, at_most=at_most or handed_out, ended=True)


def book(*told: Tally) -> Book:
    made = Book()
    for at, tally in enumerate(told):
        made = made.after(tally, at)
    return made


def test_what_comes_in_order_leaves_nothing_missing() -> None:
    made = book(carried(1, 2, 3), carried(4, 5))
    assert (made.arrived, made.missing, made.lost, made.doubtful, made.gaps) == (5, 0, {}, 0, [])


def test_an_ordinal_is_missing_once_a_later_one_came_and_no_more_when_it_comes() -> None:
    made = book(carried(1, 2, 5))
    assert (made.missing, made.gaps, made.lost) == (2, [(3, 4)], {})
    assert book(carried(1, 2, 5), carried(3, 4)).missing == 0


def test_what_is_missing_is_lost_only_when_the_producer_ended() -> None:
    made = book(carried(1, 2, 5), ended(7, 20))
    assert (made.missing, made.lost, made.doubtful) == (0, {ENDED: 4}, 13)
    assert made.gaps == [(3, 4), (6, 7)]


def test_what_arrives_after_all_is_lost_no_more() -> None:
    made = book(carried(1, 5), ended(5), carried(2, 3))
    assert (made.arrived, made.lost) == (4, {ENDED: 1})


def test_what_is_reported_lost_is_no_gap_and_counted_once_by_reason() -> None:
    lost = Tally("p", lost=((2, 3, "outbox_full"), (5, 5, "unwritable")))
    made = book(carried(1, 6), lost, lost)
    assert (made.missing, made.gaps, made.lost) == (1, [(4, 4)], {"outbox_full": 2, "unwritable": 1})


def test_what_had_arrived_is_not_lost_whatever_is_said() -> None:
    made = book(carried(1, 2, 3), Tally("p", lost=((2, 4, "outbox_full"),)))
    assert (made.arrived, made.lost) == (3, {"outbox_full": 1})


def test_a_book_that_begins_later_misses_nothing_before_and_counts_what_comes_again() -> None:
    made = Book(begins=101).after(carried(101, 103), 1).after(carried(50), 2)
    assert (made.arrived, made.missing, made.gaps) == (3, 1, [(102, 102)])


def test_a_producer_that_was_killed_before_it_handed_anything_out_is_in_doubt_only() -> None:
    made = book(ended(0, 16))
    assert (made.missing, made.lost, made.doubtful) == (0, {}, 16)


@given(st.lists(st.tuples(st.sampled_from(["carried", "lost"]), numbers), max_size=12), st.integers(0, 45),
       st.booleans(), st.randoms(use_true_random=False))  # fmt: skip
def test_a_book_says_what_a_set_says_in_any_order_and_told_any_number_of_times(
    said: list[tuple[str, set[int]]], handed_out: int, ends: bool, chance: random.Random
) -> None:
    told = [
        Tally("p", runs(of)) if kind == "carried" else Tally("p", lost=tuple((*run, "r") for run in runs(of)))
        for kind, of in said
    ]
    told += [ended(handed_out)] if ends else []
    made, everything = book(*told), {n for _, of in said for n in of}
    top = max([*everything, handed_out if ends else 0, 0])
    never = set(range(1, top + 1)) - everything
    assert [n for first, last in made.gaps for n in range(first, last + 1)] == sorted(never)
    assert made.missing + made.lost.get(ENDED, 0) == len(never)
    assert made.arrived + made.lost.get("r", 0) == len(everything)
    again = told * 2
    chance.shuffle(again)
    other = book(*again)
    assert (other.gaps, other.missing, other.heard) == (made.gaps, made.missing, made.heard)
    assert book_of(made.plain()) == made


def test_a_book_is_bounded_and_says_what_it_does_not_track_any_more() -> None:
    made = book(*(carried(2 * n) for n in range(1, RUNS + 11)))  # every odd one is missing
    assert len(made.heard) == RUNS
    assert (made.missing, made.untracked) == (RUNS, 10)
    assert made.missing + made.untracked == RUNS + 10
