"""The running journeys of one map as a decision function reads them: any active, any stalled, the latest progressed.

Owns what `context.journey("money_transfer")` answers. What was asked is remembered in the context.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from .binding import completed_at, journey_state, running
from .instant import to_datetime
from .journey import Journey

if TYPE_CHECKING:
    from .context import Context
    from .snapshot import Turning


class JourneyReading:
    """The running journeys of one map, read together; made by `Context.journey`, which sets what it is made of."""

    __slots__ = ("_context", "_name", "_turning")

    _context: Context
    _name: str
    _turning: Turning

    @property
    def active(self) -> bool:
        """Whether one runs."""
        context, (until, yes, no) = self._context, self._turning
        if context.at < until:
            context.asked.append(yes)
            return True
        context.asked.append(no)
        return False

    @property
    def stalled(self) -> bool:
        """Whether a running one waits longer than its map expects."""
        context, name = self._context, self._name
        value = bool(journey_state(context._scope(), name, "stalled")[0]) if context.content.journeys else False
        context.asked.append(("journey({!r}).stalled", name, None, value))
        return value

    @property
    def latest(self) -> Journey | None:
        """The one that progressed last, of those that run."""
        journey = self._latest()
        self._asked("latest", _told(journey) if journey else None)
        return journey

    @property
    def stage(self) -> str:
        """The stage it is at; empty at the start, or where none runs."""
        journey = self._latest()
        return str(self._asked("stage", journey.stage if journey else ""))

    @property
    def started_at(self) -> datetime | None:
        """When it began."""
        journey = self._latest()
        at: datetime | None = self._asked("started_at", to_datetime(journey.started_at) if journey else None)
        return at

    @property
    def progress_at(self) -> datetime | None:
        """When it last progressed."""
        journey = self._latest()
        at: datetime | None = self._asked("progress_at", to_datetime(journey.progress_at) if journey else None)
        return at

    @property
    def completed_at(self) -> datetime | None:
        """When one was last completed."""
        ended = completed_at(self._context._scope(), self._name)
        at: datetime | None = self._asked("completed_at", to_datetime(ended) if ended else None)
        return at

    def _latest(self) -> Journey | None:
        if not self._context.content.journeys:
            return None
        found = [journey for journey, _ in running(self._context._scope(), self._name)]
        return max(found, key=lambda journey: (journey.progress_at, journey.key), default=None)

    def _asked(self, part: str, value: Any) -> Any:
        self._context.asked.append((f"journey({{!r}}).{part}", self._name, None, value))
        return value


def _told(journey: Journey) -> str:
    """A journey as a decision tells that it read it: its key and where it is."""
    return f"{journey.key or journey.map} at {journey.stage or 'its start'}"
