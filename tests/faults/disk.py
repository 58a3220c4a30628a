"""A disk that may lose power: what was synced stays, and of all else any part.

Owns the model that the trials of power failures rest on, and is stricter than most file systems are: a file's sync
keeps its content and not its name, a name is kept by a sync of its folder, writes that were not synced are kept in
part, in any order, torn at 512 or 4,096 bytes; only the names of one folder change in order. Knows no databases.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from tests.faults.trace import Step

SECTORS = (512, 4096)


@dataclass(slots=True, eq=False)
class _File:
    """A file, whatever its name is; a folder is one too."""

    kept: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)
    """(offset, data), or (size, None) where it was cut."""
    size: int = 0
    syncing: dict[str, int] = field(default_factory=dict)


class Disk:
    """What is on it, and what would be if power failed now."""

    def __init__(self) -> None:
        self._names: dict[str, _File] = {}
        self._kept_names: dict[str, _File] = {}
        self._changes: dict[str, list[tuple[str, _File | None]]] = {}
        self._syncing: dict[tuple[str, str], int] = {}

    def take(self, step: Step) -> None:
        """Something is done to it."""
        getattr(self, f"_{step.what}")(step)

    # -- names ---------------------------------------------------------------------------------------------------------

    def _name(self, path: str, file: _File | None) -> None:
        if file is None:
            self._names.pop(path, None)
        else:
            self._names[path] = file
        self._changes.setdefault(str(PurePosixPath(path).parent), []).append((path, file))

    def _create(self, step: Step) -> None:
        if step.path not in self._names:
            self._name(step.path, _File())

    _folder = _create

    def _remove(self, step: Step) -> None:
        self._name(step.path, None)

    def _rename(self, step: Step) -> None:
        file = self._names[step.path]
        self._name(step.other, file)
        self._name(step.path, None)

    # -- content -------------------------------------------------------------------------------------------------------

    def _write(self, step: Step) -> None:
        file = self._names.get(step.path)
        if file is None:
            return  # opened before the trace began, or removed
        offset = file.size if step.offset < 0 else step.offset
        file.pending.append((offset, step.data))
        file.size = max(file.size, offset + len(step.data))

    def _cut(self, step: Step) -> None:
        file = self._names.get(step.path)
        if file is not None:
            file.pending.append((step.offset, None))
            file.size = step.offset

    def _sync(self, step: Step) -> None:
        if file := self._names.get(step.path):
            file.syncing[step.thread] = len(file.pending)
        self._syncing[step.path, step.thread] = len(self._changes.get(step.path, ()))

    def _synced(self, step: Step) -> None:
        if file := self._names.get(step.path):
            count = file.syncing.pop(step.thread, 0)
            for change in file.pending[:count]:
                _apply(file.kept, *change)
            del file.pending[:count]
            for thread in file.syncing:
                file.syncing[thread] = max(0, file.syncing[thread] - count)
        changes = self._changes.get(step.path, [])
        count = self._syncing.pop((step.path, step.thread), 0)
        _rename_all(self._kept_names, changes[:count])
        del changes[:count]

    # -- the failure ---------------------------------------------------------------------------------------------------

    def after_failure(self, chance: random.Random) -> dict[str, bytes]:
        """One of the states that a power failure at this moment may leave: the files by path."""
        names = dict(self._kept_names)
        dice = chance.choice((0.0, 0.5, 1.0))
        for changes in self._changes.values():
            kept = len(changes) if chance.random() < dice else chance.randint(0, len(changes))
            _rename_all(names, changes[: 0 if dice == 0.0 else kept])
        share = chance.choice((0.0, 0.1, 0.5, 0.9, 1.0))
        sector = chance.choice((*SECTORS, 0))
        contents: dict[int, bytes] = {}
        found = {}
        for path, file in sorted(names.items()):
            if not _reachable(path, names, self._names):
                continue
            if id(file) not in contents:
                contents[id(file)] = _torn(file, chance, share, sector)
            found[path] = contents[id(file)]
        return found


def _rename_all(names: dict[str, _File], changes: Iterable[tuple[str, _File | None]]) -> None:
    for path, file in changes:
        if file is None:
            names.pop(path, None)
        else:
            names[path] = file


def _reachable(path: str, names: dict[str, _File], known: dict[str, _File]) -> bool:
    """Whether every folder above, as far as it was made in the trace, has its name."""
    return all(str(above) in names or str(above) not in known for above in PurePosixPath(path).parents)


def _torn(file: _File, chance: random.Random, share: float, sector: int) -> bytes:
    content = bytearray(file.kept)
    for offset, data in file.pending:
        if data is None:
            if chance.random() < share:
                _apply(content, offset, None)
            continue
        if share == 1.0:
            _apply(content, offset, data)
            continue
        at = offset
        while at < offset + len(data):
            end = min(offset + len(data), (at // sector + 1) * sector) if sector else offset + len(data)
            if chance.random() < share:
                _apply(content, at, data[at - offset : end - offset])
            at = end
    return bytes(content)


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    if data is None:
        del content[offset:]
    else:
        content[offset : offset + len(data)] = data
