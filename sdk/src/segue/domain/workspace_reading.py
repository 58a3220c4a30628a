"""Incidents and calendars as a decision function reads them, at the context's moment.

Owns what `context.incident("IOS-481")` and `context.calendar("support")` answer. They belong to no customer, so no
grant hides them. What was asked is remembered in the context.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from .expression.value import NEVER
from .incident import IncidentState
from .instant import to_datetime

if TYPE_CHECKING:
    from .context import Context


class IncidentReading:
    """One incident. One that nobody has told of is not open.

    Attributes:
        id: for example `IOS-481`.
    """

    __slots__ = ("_context", "_state", "id")

    def __init__(self, context: Context, id_: str) -> None:
        self._context = context
        self._state: IncidentState = context.plan.workspace.state(id_, context.at)
        self.id = id_

    def _asked(self, part: str, value: Any) -> Any:
        self._context.asked.append((f"incident({{!r}}).{part}", self.id, None, value))
        return value

    @property
    def open(self) -> bool:
        """Whether it is open."""
        return bool(self._asked("open", self._state.open))

    @property
    def title(self) -> str:
        """What is broken, for people."""
        return str(self._asked("title", self._state.title))

    @property
    def workaround(self) -> str:
        """What to do meanwhile, for people."""
        return str(self._asked("workaround", self._state.workaround))

    @property
    def opened_at(self) -> datetime | None:
        """Since when it is open, or was last."""
        at: datetime | None = self._asked("opened_at", _moment(self._state.opened_at))
        return at

    @property
    def fixed_at(self) -> datetime | None:
        """When it was last fixed."""
        at: datetime | None = self._asked("fixed_at", _moment(self._state.fixed_at))
        return at


class CalendarReading:
    """One calendar of the plan."""

    __slots__ = ("_context", "_found", "name")

    def __init__(self, context: Context, name: str) -> None:
        self._context = context
        self._found = context.plan.calendars[name].open_until(context.at)
        self.name = name

    @property
    def open(self) -> bool:
        """Whether it is open."""
        value = self._found[0]
        self._context.asked.append(("calendar({!r}).open", self.name, None, value))
        return value

    @property
    def changes_at(self) -> datetime | None:
        """When it opens next, or closes; None where it never does."""
        value = to_datetime(self._found[1]) if self._found[1] < NEVER else None
        self._context.asked.append(("calendar({!r}).changes_at", self.name, None, value))
        return value


def _moment(at: int) -> datetime | None:
    return to_datetime(at) if at else None
