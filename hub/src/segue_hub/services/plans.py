"""The plan in force, its history, and the workspace that it is read with.

Owns pushing and rolling back. The documents come checked from `checking`; a push of what is already in force changes
nothing. Which workspace facts there are is `workspace`'s.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from segue.domain.plan import EMPTY, Plan, canonical
from segue.domain.workspace import Workspace, workspace_bytes

from ..storage.ports import PlanEntry, Store, StoredPlan
from .failure import not_found

Files = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class News:
    """Workspace facts came, at positions `first` to `last` of the change log.

    Attributes:
        incidents: which are others than they were; none where nothing new was told.
        read: whether the plan in force reads one of them.
        refold_from: from which instant (microseconds) on its maps read a difference; NEVER where they read none.
    """

    incidents: frozenset[str]
    read: bool
    refold_from: int
    first: int
    last: int


class Plans:
    """The plans of a workspace.

    Args:
        store: where the history is.
        clock: the hub's time in microseconds.
    """

    def __init__(self, store: Store, clock: Callable[[], int]) -> None:
        self._store = store
        self._clock = clock
        self._history = store.plans()
        self.current: Plan = self.plan(self._history[-1]) if self._history else EMPTY
        self.position: int = self._history[-1].position if self._history else 0
        self.listeners: list[Callable[[], None]] = []
        self.write: Callable[..., Any] | None = None
        self._told: tuple[Plan, str, bytes] | None = None

    def inform(self, workspace: Workspace, position: int) -> None:
        """The plan in force is read with this workspace from now on.

        Args:
            workspace: all that is known.
            position: the change that made it so, where the plan reads it: contexts differ visibly from there on. All
                before it has to be folded, since no context's version is below it.
        """
        self.current = self.current.on(workspace)
        self.position = max(self.position, position)

    def told(self) -> tuple[str, bytes]:
        """The digest and the document of the workspace, as SDKs get it with the plan in force."""
        plan = self.current
        if self._told is None or self._told[0] is not plan:
            told = plan.workspace.told(plan.incidents, self._clock())
            self._told = (plan, told.digest, workspace_bytes(told))
        return self._told[1:]

    @property
    def history(self) -> list[PlanEntry]:
        """All plans ever in force, oldest first."""
        return list(self._history)

    def stored(self, entry: PlanEntry) -> StoredPlan:
        """An entry of the history with what it says: read from the store, as there may be many."""
        return self._store.plan(entry.number)

    def plan(self, entry: PlanEntry) -> Plan:
        """The plan of an entry of the history, with nothing told."""
        return Plan(json.loads(self.stored(entry).document))

    def find(self, digest: str) -> PlanEntry:
        """The newest plan whose digest begins so; the current one for the empty text.

        Raises:
            Refusal: NOT_FOUND.
        """
        for entry in reversed(self._history):
            if entry.digest.startswith(digest):
                return entry
        raise not_found(f"no plan has a digest that begins with {digest!r}" if digest else "no plan was pushed yet")

    async def push(self, document: Mapping[str, Any], files: Files, author: str, note: str) -> tuple[PlanEntry, bool]:
        """Makes a checked document the plan in force.

        Returns:
            The entry of the history, and whether anything changed.
        """
        plan = Plan(document)
        if self._history and self._history[-1].digest == plan.digest:
            return self._history[-1], False
        return await self._enact(plan, json.dumps(dict(files), sort_keys=True).encode(), author, note), True

    async def roll_back(self, digest: str, author: str) -> PlanEntry:
        """Puts an earlier plan in force again; the one before the current where no digest is given.

        Raises:
            Refusal: NOT_FOUND.
        """
        earlier = [entry for entry in self._history if entry.digest != self.current.digest]
        if not digest:
            if not earlier:
                raise not_found("there is no earlier plan")
            target = earlier[-1]
        else:
            target = self.find(digest)
        stored = self.stored(target)
        return await self._enact(
            Plan(json.loads(stored.document)), stored.files, author, f"rollback to {target.digest}"
        )

    async def _enact(self, plan: Plan, files: bytes, author: str, note: str) -> PlanEntry:
        assert self.write is not None, "wired by the composition root"
        made: list[PlanEntry] = []

        def write(unit: Any, position: int) -> int:
            stored = StoredPlan(
                len(self._history) + 1, plan.digest, position + 1, self._clock(), author, note,
                canonical(plan.document), files,
            )  # fmt: skip
            unit.append_change(position + 1, "plan", plan.digest)
            unit.add_plan(stored)
            made.append(stored.entry)
            return position + 1

        def enacted() -> None:
            self._history.append(made[0])
            self.current, self.position = plan.on(self.current.workspace), made[0].position
            for listener in self.listeners:
                listener()

        await self.write(write, enacted)
        return made[0]
