"""What waits too long goes, and is counted; a clock that is set says nothing of how long anything waits (FA6)."""

from __future__ import annotations

from pathlib import Path

import pytest
from segue.clock import System
from segue.outbox import MUST, Offered, Outbox

from tests.offering import offer

DAY = 24 * 3600.0
BEGAN = 1_772_000_000.0


class Times:
    """A wall clock and a running time, in seconds."""

    def __init__(self) -> None:
        self.wall, self.ran = BEGAN, 0.0
        self.system = System(now=lambda: int(self.wall * 1e6), ticks=lambda: self.ran)

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.ran += seconds


@pytest.fixture
def times() -> Times:
    return Times()


def opened(folder: Path, times: Times) -> Outbox:
    outbox = Outbox(folder, "app", 1_000_000, 10**9, 30 * DAY, times.system)
    outbox.open()
    return outbox


def tell(outbox: Outbox, *numbers: int) -> None:
    for number in numbers:
        offer(outbox, Offered(number.to_bytes(16, "big"), b"body", MUST))
    outbox.journal()


def test_what_waits_longer_than_the_limit_goes_and_is_told_by_ordinal(tmp_path: Path, times: Times) -> None:
    outbox = opened(tmp_path, times)
    tell(outbox, 1, 2, 3)
    times.pass_by(20 * DAY)
    tell(outbox, 4)
    outbox.forget()
    assert outbox.waiting == 4
    times.pass_by(10 * DAY + 1)
    outbox.forget()
    assert (outbox.waiting, outbox.losses, outbox.offered) == (1, {"outbox_age": 3}, 4)
    statement = outbox.statement()
    assert statement is not None
    assert statement.tallies[0].lost == ((1, 3, "outbox_age"),)
    outbox.close()


@pytest.mark.parametrize("step", [400 * DAY, -400 * DAY])
def test_a_clock_that_is_set_costs_nothing(step: float, tmp_path: Path, times: Times) -> None:
    outbox = opened(tmp_path, times)
    tell(outbox, 1, 2, 3)
    times.wall += step
    times.pass_by(1.0)
    outbox.forget()
    assert (outbox.waiting, outbox.losses) == (3, {})
    outbox.close()


def test_what_was_kept_before_the_clock_was_set_is_adopted_and_stays(tmp_path: Path, times: Times) -> None:
    """A machine that thinks it is 1970 until it has a network: the next process cannot know how old they are."""
    times.wall = 1000.0
    first = opened(tmp_path, times)
    tell(first, 1, 2)
    first.close()
    times.wall = BEGAN
    second = opened(tmp_path, times)
    second.forget()
    assert (second.waiting, second.losses) == (2, {})
    second.close()


def test_what_is_under_way_to_the_hub_is_not_taken_away(tmp_path: Path, times: Times) -> None:
    outbox = opened(tmp_path, times)
    tell(outbox, 1, 2)
    assert len(outbox.take(1, 10**6)) == 1
    times.pass_by(31 * DAY)
    outbox.forget()
    assert (outbox.waiting, outbox.losses) == (1, {"outbox_age": 1})
    outbox.close()
