"""Who listens to the ledger: cursors are made, found and forgotten here.

Owns the refusal of a cursor that cannot be, and what is written where one begins or ends. Derives nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from ..storage.ports import Unit
from .audiences import require_audience
from .cursors import Cursor
from .failure import Refusal, not_found, overloaded
from .kept_audiences import KeptAudiences, Key
from .memberships import Memberships
from .plans import Plans

CURSORS: Final = 100
"""Cursors of one touchpoint at most."""
NAME: Final = 100
"""Characters of a cursor's name at most."""
POSITION: Final = "ledger.position"
"""The note of the position and instant through which all is derived."""


class LedgerListeners:
    """Finds cursors for those who listen.

    Args:
        kept: the registry.
        plans: the plan in force.
        memberships: forgets what nobody listens to any more.
        clock: the hub's time in microseconds.
        order: has a unit take something along.
        begin: called where nobody listened before; gives the note of the position.
        find: called where an audience is new: its members are to be found.
    """

    def __init__(
        self, kept: KeptAudiences, plans: Plans, memberships: Memberships, clock: Callable[[], int],
        order: Callable[[Any], None], begin: Callable[[], str], find: Callable[[], None],
    ) -> None:  # fmt: skip
        self._kept = kept
        self._plans = plans
        self._memberships = memberships
        self._clock = clock
        self._order = order
        self._begin = begin
        self._find = find
        self._making = asyncio.Lock()

    async def listen(self, key: Key) -> Cursor:
        """A cursor, which is made where there is none by that name.

        Raises:
            Refusal: NAME_UNKNOWN, INPUT_INVALID, OVERLOADED; NOT_FOUND where it was forgotten in this moment.
        """
        async with self._making:
            if key not in self._kept.cursors:
                await self._make(key)
            cursor = self._kept.cursors.get(key)
        if cursor is None:
            raise not_found(f"the cursor {key.name!r} was forgotten just now. Watch again to begin anew")
        return cursor

    async def _make(self, key: Key) -> None:
        require_audience(self._plans.current, key.audience)
        if not 0 < len(key.name) <= NAME or not key.name.isprintable():
            raise Refusal("INPUT_INVALID", f"cursor: {key.name!r} is no name. Give 1 to {NAME} printable characters")
        if sum(other.touchpoint == key.touchpoint for other in self._kept.cursors) >= CURSORS:
            raise overloaded(f"a touchpoint has at most {CURSORS} cursors; `segue-hub audience forget` ends one", 1000)
        begun = "" if self._kept else self._begin()
        before = self._kept.get(key.audience)
        audience = before or self._kept.keep(key.audience, "")
        cursor = self._kept.new_cursor(key, audience.number, self._clock())
        made = asyncio.Event()

        def write(unit: Unit) -> None:
            if before is None:
                unit.ledger.keep_audience(audience)
            unit.ledger.keep_cursor(cursor)
            if begun:
                unit.note(POSITION, begun)

        def then() -> None:
            self._kept.add_cursor(cursor.number)
            made.set()

        self._order((write, then))
        if before is None:
            self._find()
        await made.wait()

    async def forget(self, key: Key) -> None:
        """Ends a cursor: nothing is kept for it any more.

        Raises:
            Refusal: NOT_FOUND, or IN_USE where somebody listens.
        """
        async with self._making:
            cursor = self._kept.cursors.get(key)
            if cursor is None:
                raise not_found(f"touchpoint {key.touchpoint!r} has no cursor {key.name!r} of {key.audience!r}")
            if cursor.connected:
                who = ", ".join(cursor.connected)
                raise Refusal("IN_USE", f"{who} listens at the cursor {key.name!r}. Let it stop first")
            dropped = self._kept.drop(key)
            done, last = asyncio.Event(), not self._kept
            if dropped is not None:
                self._memberships.drop_audience(dropped.number, last=last)
                self._memberships.numbers = self._kept.numbers

            def write(unit: Unit) -> None:
                unit.ledger.drop_cursor(cursor.number)
                if dropped is not None:
                    unit.ledger.drop_audience(dropped.number)
                if last:
                    unit.ledger.drop_wake_ups()

            self._order((write, done.set))
            await done.wait()
