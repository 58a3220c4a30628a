"""The virtual disk: what a hub's store survives with, and what goes wrong with it.

Owns `Disk` (the reference store, durable at commit; it can be full, fail, or have its process crash around a commit)
and the stores of the negative controls: one that acknowledges before it is durable, one that takes the same fact
twice, one that forgets deadlines. The SDK keeps its own files, real SQLite in a folder of the machine's memory.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from segue_hub.storage.memory import MemoryStore
from segue_hub.storage.memory_unit import MemoryUnit
from segue_hub.storage.ports import StoreBroken, StoreFull

from tests.simulation.loop import Crashed

CRASH_BEFORE, CRASH_AFTER, BROKEN = "crash before", "crash after", "broken"


class Disk(MemoryStore):
    """A store on the virtual disk.

    Attributes:
        full: whether there is no space now.
        fault: asked at every commit: what goes wrong with it, if anything.
        ends: the last positions of all units.
    """

    def __init__(self, incarnation: str) -> None:
        super().__init__()
        self.incarnation = incarnation
        self.full = False
        self.fault: Callable[[], str] = str
        self.ends: list[int] = []

    @contextmanager
    def unit(self) -> Iterator[MemoryUnit]:
        fault = self.fault()
        with super().unit() as unit:
            yield unit
            if self.full:
                raise StoreFull("no space on the virtual disk")
            if fault == BROKEN:
                raise StoreBroken("fsync failed on the virtual disk")
            if fault == CRASH_BEFORE:
                raise Crashed
        self.ends.append(self.head()[0])
        self.committed()
        if fault == CRASH_AFTER:
            raise Crashed

    def committed(self) -> None:
        """A unit was written."""

    def crashed(self) -> None:
        """The process is gone: what was not synced is lost."""


class Unsynced(Disk):
    """A negative control: it says that a unit is durable before it is, as `synchronous = OFF` would."""

    EVERY = 6
    """Units between two syncs."""

    def __init__(self, incarnation: str) -> None:
        super().__init__(incarnation)
        self._since = 0
        self._synced = b""

    def committed(self) -> None:
        self._since += 1
        if not self._synced or self._since % self.EVERY == 0:
            self._synced = pickle.dumps(self._state())

    def _state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        apart = ("_lock", "ledger", "fault", "_synced", "_since")
        ledger = {name: value for name, value in vars(self.ledger).items() if name != "_lock"}
        return {name: value for name, value in vars(self).items() if name not in apart}, ledger

    def crashed(self) -> None:
        if self._synced:
            own, ledger = pickle.loads(self._synced)
            vars(self).update(own)
            vars(self.ledger).update(ledger)


class Drowsy(Disk):
    """A negative control: whoever was to be asked again is forgotten with the process."""

    def crashed(self) -> None:
        self.ledger._wakes.clear()


class _Forgetful(MemoryUnit):
    """Finds nothing, and refuses nothing."""

    def find(self, ids: Any) -> dict[bytes, Any]:
        return {}

    def append(self, position: int, id_: bytes, *more: Any) -> None:
        super().append(position, id_ + position.to_bytes(4, "big"), *more)


class Undeduplicated(Disk):
    """A negative control: the same fact again is another one."""

    @contextmanager
    def unit(self) -> Iterator[MemoryUnit]:
        unit = _Forgetful(self)
        yield unit
        for change in unit.changes:
            change()
        self.ends.append(self.head()[0])

    def find(self, ids: Any) -> dict[bytes, int]:
        newest = {id_[:16]: position for id_, position in self._ids.items()}
        return {id_: newest[id_] for id_ in ids if id_ in newest}
