"""What an audience expression plainly means: each word of it once more, over the bare list of facts.

Owns pairs of a text and its meaning, from which tests/conformance/test_moving_time.py builds random expressions.
Knows nothing of flips, and takes from the domain only journeys and spans.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from segue.domain.fact import EVENT, Fact
from segue.domain.instant import span

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE


class FailedError(Exception):
    """The plain reading's error value."""


@dataclass
class World:
    """What a plain reading sees: the bare facts and the journeys that the fold made of them."""

    facts: list[Fact]
    journeys: list[tuple[Any, dict[str, int]]]
    """Each running journey with its instants: `stalls` and `abandons`."""

    def instants(self, name: str) -> list[int]:
        return [f.occurred_at for f in self.facts if f.kind == EVENT and name in (f.type, f.channel)]

    def running(self, name: str, at: int) -> list[tuple[Any, dict[str, int]]]:
        return [(j, due) for j, due in self.journeys if j.map == name and at < due["abandons"]]


Reading = Callable[[World, int], Any]


@dataclass(frozen=True)
class Sketch:
    """An expression as text, and what it plainly means."""

    text: str
    means: Reading


COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip


def compared(left: Sketch, sign: str, right: Sketch) -> Sketch:
    return Sketch(
        f"{left.text} {sign} {right.text}", lambda w, t: COMPARISONS[sign](left.means(w, t), right.means(w, t))
    )


def whole(number: int) -> Sketch:
    return Sketch(str(number), lambda w, t: number)


def length(text: str) -> Sketch:
    sign = -1 if text.startswith("-") else 1
    return Sketch(f'duration("{text}")', lambda w, t: sign * span(text.lstrip("-")))


def seen(name: str, window: str) -> Sketch:
    if not window:
        return Sketch(f'seen("{name}")', lambda w, t: bool(w.instants(name)))
    return Sketch(f'seen("{name}", "{window}")', lambda w, t: any(i > t - span(window) for i in w.instants(name)))


def count(name: str, window: str) -> Sketch:
    if not window:
        return Sketch(f'count("{name}")', lambda w, t: len(w.instants(name)))
    return Sketch(f'count("{name}", "{window}")', lambda w, t: sum(i > t - span(window) for i in w.instants(name)))


def last(name: str) -> Sketch:
    return Sketch(f'last("{name}")', lambda w, t: max(w.instants(name), default=0))


NOW = Sketch("now", lambda w, t: t)


def plus(left: Sketch, right: Sketch) -> Sketch:
    return Sketch(f"({left.text} + {right.text})", lambda w, t: left.means(w, t) + right.means(w, t))


def minus(left: Sketch, right: Sketch) -> Sketch:
    return Sketch(f"({left.text} - {right.text})", lambda w, t: left.means(w, t) - right.means(w, t))


def divided(number: int, by: Sketch) -> Sketch:
    def means(world: World, at: int) -> int:
        divisor = by.means(world, at)
        if divisor == 0:
            raise FailedError
        return number // divisor

    return Sketch(f"{number} / {by.text}", means)


def clock(moment: Sketch, part: str, zone: Sketch) -> Sketch:
    def means(world: World, at: int) -> int:
        name = zone.means(world, at)
        tz: Any = UTC if name == "-03:30" else ZoneInfo(name)
        local = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment.means(world, at))
        local = local - timedelta(hours=3, minutes=30) if name == "-03:30" else local.astimezone(tz)
        return {
            "getHours": local.hour, "getMinutes": local.minute, "getSeconds": local.second,
            "getDayOfWeek": local.isoweekday() % 7, "getDate": local.day, "getMonth": local.month - 1,
            "getDayOfYear": local.timetuple().tm_yday - 1, "getFullYear": local.year,
            "getMilliseconds": local.microsecond // 1000,
        }[part]  # fmt: skip

    return Sketch(f"{moment.text}.{part}({zone.text})", means)


SPAN_UNITS = {"getHours": HOUR, "getMinutes": MINUTE, "getSeconds": SECOND}


def taken_apart(length_: Sketch, part: str) -> Sketch:
    def means(world: World, at: int) -> int:
        micros = length_.means(world, at)
        size = abs(micros) // 1000 % 1000 if part == "getMilliseconds" else abs(micros) // SPAN_UNITS[part]
        return -size if micros < 0 else size

    return Sketch(f"{length_.text}.{part}()", means)


def journey(name: str, field: str) -> Sketch:
    def means(world: World, at: int) -> Any:
        running = world.running(name, at)
        if field == "active":
            return bool(running)
        if field == "stalled":
            return any(at >= due["stalls"] for _, due in running)
        latest = max((j for j, _ in running), key=lambda j: (j.progress_at, j.key), default=None)
        return ("" if field == "stage" else 0) if latest is None else getattr(latest, field)

    return Sketch(f"journey.{name}.{field}", means)


def journeys(name: str, macro: str, text: str, test: Callable[[Any, dict[str, int], int], bool]) -> Sketch:
    def means(world: World, at: int) -> bool:
        answers = [test(j, due, at) for j, due in world.running(name, at)]
        return {"exists": any(answers), "all": all(answers), "exists_one": sum(answers) == 1}[macro]

    return Sketch(f'journeys("{name}").{macro}(j, {text})', means)


def how_many_stalled(name: str) -> Sketch:
    return Sketch(
        f'journeys("{name}").filter(j, j.stalled).size()',
        lambda w, t: sum(t >= due["stalls"] for _, due in w.running(name, t)),
    )


def negated(one: Sketch) -> Sketch:
    return Sketch(f"!({one.text})", lambda w, t: not one.means(w, t))


def joined(left: Sketch, sign: str, right: Sketch) -> Sketch:
    decides = sign == "||"

    def means(world: World, at: int) -> bool:
        answers = []
        for side in (left, right):
            try:
                answers.append(side.means(world, at))
            except FailedError:
                answers.append(None)
        if decides in answers:
            return decides
        if None in answers:
            raise FailedError
        return not decides

    return Sketch(f"({left.text} {sign} {right.text})", means)


def chosen(test: Sketch, yes: Sketch, no: Sketch) -> Sketch:
    return Sketch(
        f"({test.text} ? {yes.text} : {no.text})", lambda w, t: yes.means(w, t) if test.means(w, t) else no.means(w, t)
    )


def counted_among(numbers: list[int], macro: str, of: Sketch) -> Sketch:
    def means(world: World, at: int) -> bool:
        answers = [of.means(world, at) >= number for number in numbers]
        return any(answers) if macro == "exists" else all(answers)

    return Sketch(f"{numbers}.{macro}(n, {of.text} >= n)", means)
