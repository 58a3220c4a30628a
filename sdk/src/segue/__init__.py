"""Segue: local decisions on shared customer-journey context.

    import segue

    chat = segue.Touchpoint("chat")

    @chat.decision("chat.route", default="bot")
    def route(c: segue.Context) -> str: ...

    with chat.session(account="A-1009") as customer:
        print(customer.decide(route).explain())

This is the whole public face; a test holds it still.
"""

from typing import TYPE_CHECKING

from .domain.action import Action
from .domain.brief import Brief
from .domain.context import Context
from .domain.decision import Decision
from .domain.freshness import Freshness
from .domain.guardrail import Verdict
from .domain.identifier import Identifier
from .domain.telling import Telling
from .errors import ConfigError, HeldBack, InputError, NameUnknown, NotCovered, NotGranted, SegueError
from .session import Session
from .touchpoint import Touchpoint
from .version import VERSION as __version__  # noqa: N811  # the name that Python asks for

if TYPE_CHECKING:
    from .aio import AsyncSession, AsyncTouchpoint

__all__ = [
    "Action",
    "AsyncSession",
    "AsyncTouchpoint",
    "Brief",
    "ConfigError",
    "Context",
    "Decision",
    "Freshness",
    "HeldBack",
    "Identifier",
    "InputError",
    "NameUnknown",
    "NotCovered",
    "NotGranted",
    "SegueError",
    "Session",
    "Telling",
    "Touchpoint",
    "Verdict",
    "__version__",
]


def __getattr__(name: str) -> object:
    """The asynchronous face: who does not use it does not pay for asyncio."""
    if name in ("AsyncSession", "AsyncTouchpoint"):
        from . import aio

        globals().update(AsyncSession=aio.AsyncSession, AsyncTouchpoint=aio.AsyncTouchpoint)
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
