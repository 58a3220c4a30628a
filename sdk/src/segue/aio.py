"""The asynchronous facade: for asyncio hosts. Decisions do no I/O, so only waits are awaitable.

Owns nothing: the runtime and its threads are the same as for `Touchpoint`, and no gRPC runs on the host's loop.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

from .domain.grant import SERVICE
from .domain.instant import SECOND, span
from .session import Session
from .touchpoint import Touchpoint


class AsyncTouchpoint(Touchpoint):
    """As `Touchpoint`, with waits that can be awaited."""

    def open(
        self, *, wait: str | float = "150ms", purpose: str = SERVICE, keep: str = "5m", **identifiers: str
    ) -> AsyncSession:
        """`async with touchpoint.open(account="A-1009") as customer:`; see `Touchpoint.session`."""
        timeout = float(wait) if isinstance(wait, int | float) else span(wait) / SECOND
        return AsyncSession(self.session(wait=0, purpose=purpose, keep=keep, **identifiers), timeout)

    async def ready(self, timeout: float = 5.0) -> bool:  # noqa: ASYNC109  # a bound, not a cancellation
        """Awaits the plan; returns whether the hub answered in time."""
        return await asyncio.to_thread(self.wait_ready, timeout)

    async def flushed(self, timeout: float = 5.0) -> bool:  # noqa: ASYNC109  # a bound, not a cancellation
        """Awaits that all facts were acknowledged; returns whether they were."""
        return await asyncio.to_thread(self.flush, timeout)


class AsyncSession:
    """Opens a session without blocking the loop; inside, it is a `Session`."""

    def __init__(self, session: Session, timeout: float) -> None:
        self._session = session
        self._timeout = timeout

    async def __aenter__(self) -> Session:
        if self._timeout > 0:
            await asyncio.to_thread(self._session.wait, self._timeout)
        return self._session

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()
