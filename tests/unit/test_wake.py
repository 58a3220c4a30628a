"""A wake is never lost, whoever sets it, and setting it twice wakes once."""

from __future__ import annotations

import threading

from segue.clock import FactIds, System
from segue.wake import Latch, Wake


def test_set_before_or_while_waiting_wakes_once() -> None:
    wake = Wake()
    wake.set()
    wake.set()
    assert wake.wait(10)
    assert not wake.wait(0)


def test_nothing_that_was_said_is_missed() -> None:
    wake, said, done, count = Wake(), [0], [0], 2_000
    gate = threading.Lock()

    def say() -> None:
        for _ in range(count):
            with gate:
                said[0] += 1
            wake.set()

    threads = [threading.Thread(target=say) for _ in range(3)]
    for thread in threads:
        thread.start()
    while done[0] < 3 * count:
        assert wake.wait(30), "said, and never woken"
        done[0] = said[0]
    for thread in threads:
        thread.join()
    assert done[0] == 3 * count


def test_a_latch_lets_all_through_who_wait_and_whoever_comes_later() -> None:
    latch, through = Latch(), [0]
    gate = threading.Lock()
    assert not latch.wait(0)
    assert not latch.wait(-1)
    assert not latch.is_set()

    def come() -> None:
        if latch.wait(30):
            with gate:
                through[0] += 1

    threads = [threading.Thread(target=come) for _ in range(8)]
    openers = [threading.Thread(target=latch.set) for _ in range(4)]
    for thread in threads + openers:
        thread.start()
    for thread in threads + openers:
        thread.join()
    assert through[0] == len(threads)
    assert latch.is_set()
    assert latch.wait(0)


def test_ids_are_versioned_rise_and_never_repeat_even_where_the_clock_stands() -> None:
    asked: list[int] = []

    def chance(size: int) -> bytes:
        asked.append(size)
        return bytes(range(size))

    ids = FactIds(System(now=lambda: 1_700_000_000_000_000, chance=chance))
    made = [ids.next() for _ in range(10_000)]
    assert made == sorted(made)
    assert len({id_[8:] for id_ in made}) == len(made)
    assert {(len(id_), id_[6] >> 4, id_[8] >> 6) for id_ in made} == {(16, 7, 2)}
    assert asked == [32]  # the operating system is asked once


def test_two_processes_draw_different_ids() -> None:
    one, other = (FactIds(System(now=lambda: 1_700_000_000_000_000)) for _ in range(2))
    assert not {one.next() for _ in range(1_000)} & {other.next() for _ in range(1_000)}


def test_what_is_said_while_the_waiter_rests_is_found_after_it() -> None:
    wake = Wake(rest=0.01)
    wake.set()
    assert wake.wait(10)
    wake.set()
    assert wake.wait(0), "said before the rest, and missed"
    assert not wake.wait(0)


def test_who_hurries_is_not_kept_waiting_by_a_rest() -> None:
    wake, woken = Wake(rest=3600), threading.Event()
    wake.set()
    assert wake.wait(10)

    def wait() -> None:
        assert wake.wait(10)
        woken.set()

    waiter = threading.Thread(target=wait, daemon=True)
    waiter.start()
    wake.hurry()
    wake.hurry()
    assert woken.wait(30), "it rests"
    waiter.join()
