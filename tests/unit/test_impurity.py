"""What a function reads besides its context is named, however it was imported; what it does not read is not."""

from __future__ import annotations

import datetime
import os
import random
import secrets
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date
from datetime import datetime as renamed
from random import choice
from time import perf_counter, sleep
from time import time as clock
from typing import Any

import pytest
from segue.impurity import CHANCE, CLOCK, Impurities


def read(function: Callable[[Any], Any]) -> set[tuple[str, str]]:
    """What a function reads, by sort and name."""
    impurities = Impurities()
    watched = impurities.watched(function)
    with impurities.watching():
        watched(None)
    return {(found.sort, found.what) for found in impurities.found}


CLOCKS: list[Callable[[], Any]] = [
    clock, time.time, time.time_ns, time.monotonic, perf_counter, renamed.now, lambda: renamed.now(UTC),
    datetime.datetime.today, date.today,
    # These may be told a time instead: they are noticed by way of their module.
    lambda: time.localtime(), lambda: time.gmtime(), lambda: time.ctime(), lambda: time.strftime("%H"),
    lambda: datetime.datetime.now(tz=UTC),
]  # fmt: skip
DRAWS: list[Callable[[], Any]] = [
    random.random, lambda: random.randint(1, 6), lambda: choice("ab"), lambda: random.gauss(0, 1), uuid.uuid4,
    uuid.uuid1, lambda: secrets.token_hex(4), lambda: os.urandom(4), lambda: random.SystemRandom().random(),
    lambda: random.Random().random(), lambda: hash("a text"), lambda: random.shuffle([1, 2, 3]),
]  # fmt: skip
PURE: list[Callable[[], Any]] = [
    lambda: random.Random(7).random(), lambda: random.Random("seed").sample(range(9), 3), lambda: time.gmtime(0),
    lambda: time.strftime("%H", (2026, 1, 1, 1, 1, 1, 1, 1, 1)), lambda: renamed.fromtimestamp(0, UTC),
    lambda: renamed(2026, 1, 1, tzinfo=UTC).isoformat(), lambda: uuid.uuid5(uuid.NAMESPACE_DNS, "a"),
    lambda: uuid.UUID(int=1), lambda: sleep(0), lambda: sorted([3, 1, 2]), lambda: {"now": 1}.get("now"),
]  # fmt: skip


@pytest.mark.parametrize("function", CLOCKS)
def test_the_clock_is_noticed(function: Callable[[], Any]) -> None:
    found = read(lambda _: function())
    assert {sort for sort, _ in found} == {CLOCK}, found


@pytest.mark.parametrize("function", DRAWS)
def test_chance_is_noticed(function: Callable[[], Any]) -> None:
    found = read(lambda _: function())
    assert CHANCE in {sort for sort, _ in found}, found


@pytest.mark.parametrize("function", PURE)
def test_what_gives_the_same_again_is_not(function: Callable[[], Any]) -> None:
    assert read(lambda _: function()) == set()


@dataclass(frozen=True)
class Hashed:
    text: str


def test_hashes_that_python_asks_for_itself_are_not() -> None:
    assert read(lambda _: {Hashed("a"): 1}[Hashed("a")]) == set()


def lucky() -> float:
    return random.random()


def test_the_place_is_that_of_the_function_that_read_it() -> None:
    impurities = Impurities()
    impurities.watched(lambda _: lucky())(None)
    ((found, count),) = impurities.found.items()
    assert (found.what, found.function, found.line, count) == (
        "random.random", "lucky", lucky.__code__.co_firstlineno + 1, 1
    )  # fmt: skip
    assert found.file == __file__


def test_library_calls_are_named_by_what_the_team_called() -> None:
    assert read(lambda _: random.randint(1, 6)) == {(CHANCE, "random.Random.randint")}
    assert read(lambda _: secrets.token_hex(4)) == {(CHANCE, "secrets.token_hex")}
    assert read(lambda _: uuid.uuid4()) == {(CHANCE, "uuid.uuid4")}


def test_runs_are_counted_and_not_calls() -> None:
    impurities = Impurities()
    watched = impurities.watched(lambda often: [clock() for _ in range(often)])
    for often in (3, 0, 1):
        watched(often)
    assert list(impurities.found.values()) == [2]
    assert impurities.runs == 2


def test_a_function_that_fails_does_so_as_before_and_leaves_nothing_behind() -> None:
    impurities = Impurities()

    def fails(context: Any) -> None:
        clock()
        raise LookupError("on purpose")

    watched = impurities.watched(fails)
    before = sys.getprofile(), time.strftime
    with impurities.watching(), pytest.raises(LookupError, match="on purpose"):
        watched(None)
    assert (sys.getprofile(), time.strftime) == before
    assert sum(impurities.found.values()) == 1
    assert impurities.failed_at == (f"{fails.__qualname__}, test_impurity.py:{fails.__code__.co_firstlineno + 2}")
