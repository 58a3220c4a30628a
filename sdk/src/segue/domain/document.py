"""Documents: the shape that a plan's document must have before it is compiled.

Owns what every key may hold, and the place of what does not fit. Expressions' trees are the compiler's. A key that is
not known here is left alone: a newer hub may say more.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from ..errors import PlanError
from .cap import BY
from .expression import ExpressionError
from .expression.calendar import zone
from .instant import parse_instant, span
from .property import PROPERTY_TYPES, type_of
from .quiet_hours import CALENDAR
from .trait import TYPES
from .vocabulary import did_you_mean

Rule = Callable[[Any, str], None]
"""Holds a value at a place against what it must be; raises `PlanError`."""

MALFORMED: Final = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
"""What Python raises on a tree that no checker made."""
_CLOCK: Final = re.compile(r"([01]?\d|2[0-3]):[0-5]\d")


def check_document(document: Any) -> None:
    """Holds a whole document against its shape.

    Raises:
        PlanError: names the place, what stands there and what must.
    """
    _DOCUMENT(document, "")


@contextmanager
def placed(field: str) -> Iterator[None]:
    """Whatever a malformed document makes Python raise is said with its place.

    Raises:
        PlanError: in the place of it.
    """
    try:
        yield
    except MALFORMED as error:
        raise PlanError(f"cannot be compiled ({error!r:.200})", field=field) from None


def _misfit(value: Any, place: str, wanted: str) -> PlanError:
    return PlanError(f"is of type {type_of(value)}, and must be {wanted}", field=place or "plan")


def _text(value: Any, place: str) -> None:
    if type(value) is not str:
        raise _misfit(value, place, "a text")


def _flag(value: Any, place: str) -> None:
    if type(value) is not bool:
        raise _misfit(value, place, "true or false")


def _number(value: Any, place: str) -> None:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise _misfit(value, place, "a number")


def _whole(least: int) -> Rule:
    def rule(value: Any, place: str) -> None:
        if type(value) is not int or not least <= value < 1 << 31:
            raise PlanError(f"must be a whole number, {least} at least", field=place)

    return rule


def _one_of(*names: str) -> Rule:
    def rule(value: Any, place: str) -> None:
        _text(value, place)
        if value not in names:
            raise PlanError(f"{value!r:.80} is not known here", field=place, cure=did_you_mean(value, names))

    return rule


def _span(value: Any, place: str) -> None:
    _text(value, place)
    try:
        span(value)
    except ValueError as error:
        raise PlanError(str(error), field=place) from None


def _window(value: Any, place: str) -> None:
    """A span, or a part of the calendar."""
    if value not in CALENDAR:
        _span(value, place)


def _instant(value: Any, place: str) -> None:
    _text(value, place)
    try:
        parse_instant(value)
    except ValueError as error:
        raise PlanError(str(error), field=place, cure='Write "2026-05-04T10:42:00Z"') from None


def _share(value: Any, place: str) -> None:
    _number(value, place)
    if not 0 <= value <= 1:
        raise PlanError("must be a share from 0 to 1", field=place)


def _clock(value: Any, place: str) -> None:
    _text(value, place)
    if not _CLOCK.fullmatch(value):
        raise PlanError(f"{value!r:.80} is no time of day", field=place, cure='Write "21:00"')


def _zone(value: Any, place: str) -> None:
    _text(value, place)
    try:
        zone(value)
    except ExpressionError as error:
        raise PlanError(str(error), field=place, cure="Write an IANA name, e.g. Europe/Berlin") from None


def _zone_or_customer(value: Any, place: str) -> None:
    if value != "customer":
        _zone(value, place)


def _list(value: Any, place: str) -> None:
    """Of texts."""
    if not isinstance(value, list | tuple):
        raise _misfit(value, place, "a list")
    for index, item in enumerate(value):
        _text(item, f"{place}.{index}")


def _mapping(value: Any, place: str) -> None:
    if not isinstance(value, Mapping):
        raise _misfit(value, place, "a mapping")
    for name in value:
        if type(name) is not str:
            raise PlanError(f"the key {name!r:.80} is no text", field=place or "plan")


def _each(rule: Rule) -> Rule:
    """Names, each with the same sort of value."""

    def each(value: Any, place: str) -> None:
        _mapping(value, place)
        for name, item in value.items():
            rule(item, f"{place}.{name}")

    return each


def _object(needed: tuple[str, ...] = (), /, **rules: Rule) -> Rule:
    """Known keys, each with its own sort of value."""

    def rule(value: Any, place: str) -> None:
        _mapping(value, place)
        for name in needed:
            if name not in value:
                raise PlanError("is missing", field=f"{place}.{name}".strip("."))
        for name, held in rules.items():
            if name in value:
                held(value[name], f"{place}.{name}".strip("."))

    return rule


def _or_nothing(rule: Rule) -> Rule:
    def optional(value: Any, place: str) -> None:
        if value is not None:
            rule(value, place)

    return optional


def _tree(value: Any, place: str) -> None:
    if not isinstance(value, list) or not value:
        raise _misfit(value, place, "a checked tree")


_WITHIN: Final = _object(within=_span)
_AFTER: Final = _object(after=_span)
_MONEY: Final = _object(amount=_number, currency=_text)
_NEEDED: Final = _object(("source", "tree"), source=_text, tree=_tree)
_EXPRESSION: Final = _or_nothing(_NEEDED)
_STAGE: Final = _object(
    ("reached",), reached=_NEEDED, position=_whole(0), expect=_WITHIN, moment_of_truth=_flag
)  # fmt: skip
_MAP: Final = _object(
    position=_whole(0), title=_text, goal=_text, owner=_text, status=_text, parent=_text, starts=_EXPRESSION,
    key=_EXPRESSION, reaches_goal=_EXPRESSION, fails=_EXPRESSION, stages=_each(_STAGE), touches=_list, stalls=_AFTER,
    abandons=_AFTER, settles=_WITHIN, running=_whole(1), value=_each(_MONEY), targets=_each(_number), outranks=_flag,
)  # fmt: skip
_GUARDRAIL: Final = _object(
    position=_whole(0), reason=_text, owner=_text, mode=_one_of("enforce", "observe"), applies_to=_EXPRESSION,
    suppress_when=_EXPRESSION, requires_consent=_text, requires_subscription=_text,
    cap=_or_nothing(
        _object(
            ("limit", "window"), limit=_whole(1), window=_window, per=_one_of(*BY),
            exactness=_one_of("optimistic", "strict"), hold=_span, on_expiry=_one_of("spent", "free"),
            on_unreachable=_one_of("block", "allow"),
        )
    ),
    exempt=_list, valid=_object(**{"from": _instant, "until": _instant}), claim=_text,
    holdout=_or_nothing(_object(("share",), share=_share, salt=_text)),
    effort_budget=_or_nothing(_object(("most",), most=_whole(0), deescalating=_list)),
    yields=_or_nothing(_object(("to", "within"), to=_list, within=_span)),
    quiet_hours=_or_nothing(_object(("from", "to"), **{"from": _clock, "to": _clock, "zone": _zone_or_customer})),
    on_stale=_one_of("enforce", "block", "allow"), on_missing=_one_of("default", "block", "allow"),
)  # fmt: skip
_DOCUMENT: Final = _object(
    timeline=_whole(1), time_zone=_zone, purposes=_list, blocked=_list,
    unknown_events=_one_of("accept", "quarantine", "reject"), identifiers_per_customer=_whole(0),
    channels=_each(_object(assisted=_flag, direction=_text, cost=_MONEY)),
    identifiers=_each(
        _object(
            priority=_whole(0), normalise=_text, region=_text, unique=_flag, per_customer=_whole(0), partners=_whole(0)
        )
    ),
    traits=_each(_object(type=_one_of(*TYPES), one_of=_list, owner=_text, label=_text)),
    events=_each(_object(owner=_text, properties=_each(_one_of(*PROPERTY_TYPES)), aliases=_each(_list))),
    calendars=_each(_mapping),
    effort=_object(window=_span, within=_span, weights=_each(_whole(0))),
    action_priorities=_each(_whole(-(1 << 31))),
    choices=_object(exempt=_list),
    maps=_each(_MAP),
    audiences=_each(_object(("when",), when=_NEEDED, position=_whole(0), owner=_text, title=_text)),
    guardrails=_each(_GUARDRAIL),
    touchpoints=_each(_object(channel=_text, owner=_text, writes=_list, reads=_each(_list))),
)  # fmt: skip
