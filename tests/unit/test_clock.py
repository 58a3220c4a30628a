"""The hub's clock under a machine's clock that is set on and back: it never runs backwards and never stands still."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from segue_hub.clock import SystemClock

from tests.unit.logs import law

SECOND = 1_000_000


class Machine:
    """A machine's two clocks, in microseconds."""

    def __init__(self) -> None:
        self.wall, self.ticks = 10**15, 0

    def passes(self, by: int) -> None:
        self.wall += by
        self.ticks += by

    def time_ns(self) -> int:
        return self.wall * 1000

    def monotonic_ns(self) -> int:
        return self.ticks * 1000


def test_set_back_an_hour_a_minute_stays_a_minute_or_little_more_and_it_is_right_again_after_ten_hours() -> None:
    machine = Machine()
    hub = SystemClock(machine.time_ns, machine.monotonic_ns)
    before = hub()
    machine.wall -= 3600 * SECOND
    assert hub() == before
    machine.passes(60 * SECOND)
    assert 54 * SECOND <= hub() - before <= 60 * SECOND
    for _ in range(11 * 60):
        machine.passes(60 * SECOND)
        hub()
    assert hub() == machine.wall


def test_set_back_and_asked_every_microsecond_it_goes_on_all_the_same() -> None:
    """Found by simulation: what was due in a moment was waited for in steps of a microsecond, for ever."""
    machine = Machine()
    hub = SystemClock(machine.time_ns, machine.monotonic_ns)
    before = hub()
    machine.wall -= SECOND
    for _ in range(1000):
        machine.passes(1)
        hub()
    assert hub() - before == 900


def test_set_on_it_follows_at_once() -> None:
    machine = Machine()
    hub = SystemClock(machine.time_ns, machine.monotonic_ns)
    hub()
    machine.wall += 3600 * SECOND
    assert hub() == machine.wall


@law(300)
@given(st.lists(st.tuples(st.integers(1, 100 * SECOND), st.integers(-1000 * SECOND, 1000 * SECOND)), max_size=20))
def test_whatever_is_done_to_the_machines_clock_the_hubs_goes_on(steps: list[tuple[int, int]]) -> None:
    machine = Machine()
    hub = SystemClock(machine.time_ns, machine.monotonic_ns)
    before = hub()
    for passed, set_by in steps:
        machine.wall += set_by
        machine.passes(passed)
        now = hub()
        assert now - before >= int(passed * 0.9)
        assert now >= machine.wall
        before = now
