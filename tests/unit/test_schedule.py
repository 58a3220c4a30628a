"""A schedule: as a plain table would have it, in room that does not grow with how often instants are replaced."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from segue_hub.services.schedule import SPARE, Schedule

CUSTOMERS, INSTANTS = st.integers(1, 6), st.integers(0, 20)
PUT = st.tuples(st.just("put"), CUSTOMERS, INSTANTS)
DROP = st.tuples(st.just("drop"), CUSTOMERS, st.just(0))
TAKE = st.tuples(st.just("take"), st.just(0), st.just(0))


@given(st.lists(st.one_of(PUT, PUT, DROP, TAKE), max_size=300))
def test_whose_falls_due_first_is_whose_instant_is_the_earliest_of_those_that_hold(
    steps: list[tuple[str, int, int]],
) -> None:
    schedule, plain = Schedule(), dict[int, int]()
    for kind, customer, at in steps:
        if kind == "put":
            schedule.put(customer, at)
            plain[customer] = at
            assert len(schedule._order) <= 2 * len(plain) + SPARE + 1
        elif kind == "drop":
            schedule.drop(customer)
            plain.pop(customer, None)
        elif (first := schedule.first()) is not None:
            schedule.drop(first[1])
            del plain[first[1]]
        entries = sorted((due, who) for who, due in plain.items())
        assert schedule.first() == (entries[0] if entries else None)
        assert schedule.nearest(3) == entries[:3]
        assert len(schedule) == len(plain)
        assert [schedule.of(who) for who in range(1, 7)] == [plain.get(who) for who in range(1, 7)]


def test_of_one_that_is_made_of_entries_the_earliest_comes_first() -> None:
    assert Schedule([(30, 1), (10, 2), (20, 3)]).nearest(2) == [(10, 2), (20, 3)]
