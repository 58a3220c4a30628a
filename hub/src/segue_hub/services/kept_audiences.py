"""Kept audiences and their cursors: which audiences somebody listens to by name, and which are to be found anew.

Owns the registry, as the store has it. Derives nobody.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..storage.ledger_ports import KeptAudience, LedgerReads, StoredCursor
from .basis import basis
from .cursors import Cursor
from .plans import Plans

GONE = "gone"
"""The basis of an audience that the plan does not have any more."""


class Key(NamedTuple):
    """Names a cursor."""

    touchpoint: str
    name: str
    audience: str


class Pending(NamedTuple):
    """An audience whose members are to be found anew: by what, and why, as those who join or leave are told."""

    basis: str
    reason: str


class KeptAudiences:
    """All of them.

    Args:
        stored: where they are kept.
        plans: the plan in force.

    Attributes:
        cursors: by key.
        pending: by number, those to be found anew.
    """

    def __init__(self, stored: LedgerReads, plans: Plans) -> None:
        self._stored = stored
        self._plans = plans
        self._audiences = {audience.name: audience for audience in stored.kept_audiences()}
        self.pending: dict[int, Pending] = {}
        names = {audience.number: audience.name for audience in self._audiences.values()}
        cursors = [Cursor(found, names[found.audience], stored) for found in stored.cursors()]
        self.cursors = {Key(found.touchpoint, found.name, found.audience): found for found in cursors}
        self._last = max([0, *names]), max([0, *(cursor.number for cursor in cursors)])

    def __bool__(self) -> bool:
        return bool(self._audiences)

    @property
    def numbers(self) -> dict[str, int]:
        """Those that the plan in force has, by name."""
        known = self._plans.current.audiences
        return {name: audience.number for name, audience in self._audiences.items() if name in known}

    def named(self, number: int) -> str:
        """The name of one; empty where it is not kept any more."""
        return next((name for name, audience in self._audiences.items() if audience.number == number), "")

    def compare(self, reason: str) -> None:
        """Finds those whose members were derived by something else than what is in force."""
        plan = self._plans.current
        for name, audience in self._audiences.items():
            wanted = basis(plan, name) if name in plan.audiences else GONE
            if audience.basis == wanted:
                self.pending.pop(audience.number, None)
            elif audience.number not in self.pending or self.pending[audience.number].basis != wanted:
                self.pending[audience.number] = Pending(wanted, reason)

    def keep(self, name: str, found: str) -> KeptAudience:
        """An audience by name, as kept from now on with a basis."""
        before = self._audiences.get(name)
        if before is None:
            self._last = self._last[0] + 1, self._last[1]
            before = KeptAudience(self._last[0], name)
        self._audiences[name] = before._replace(basis=found)
        return self._audiences[name]

    def get(self, name: str) -> KeptAudience | None:
        """An audience by name."""
        return self._audiences.get(name)

    def new_cursor(self, key: Key, audience: int, at: int) -> StoredCursor:
        """A cursor that is not stored yet; its number is no forgotten one's, since tellings are known by it."""
        self._last = self._last[0], max(self._last[1] + 1, at)
        return StoredCursor(self._last[1], key.touchpoint, key.name, audience, 1, at)

    def add_cursor(self, number: int) -> None:
        """A cursor is stored: it is told from now on."""
        stored = next(found for found in self._stored.cursors() if found.number == number)
        name = self.named(stored.audience)
        self.cursors[Key(stored.touchpoint, stored.name, name)] = Cursor(stored, name, self._stored)

    def drop(self, key: Key) -> KeptAudience | None:
        """Forgets a cursor; returns its audience where nobody listens to that any more."""
        del self.cursors[key]
        if any(other.audience == key.audience for other in self.cursors):
            return None
        dropped = self._audiences.pop(key.audience)
        self.pending.pop(dropped.number, None)
        return dropped

    def listed(self) -> list[dict[str, Any]]:
        """All cursors, as plain data."""
        return [
            {
                **key._asdict(), "told": cursor.acknowledged, "heard_at": cursor.heard_at,
                "waiting": cursor.waiting, "instances": cursor.connected,
            }
            for key, cursor in sorted(self.cursors.items())
        ]  # fmt: skip

    def plain(self) -> dict[str, Any]:
        """How they are, as JSON."""
        return {
            "audiences": sorted(self._audiences),
            "being_found": sorted(self.named(number) for number in self.pending),
            "cursors": len(self.cursors),
            **self._stored.ledger_counts(),
        }
