"""What survives a restart without a hub: the last good plan, its workspace, and contexts where the team asked for it.

Owns three files in the state folder. Plan and workspace are public texts; contexts hold customers' data and are written
only with `persist_contexts`. A file that cannot be read is as good as none.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

from .clock import now
from .domain.identifier import Identifier
from .domain.plan import WAITING, Plan, canonical
from .domain.projection import Origin, Projected, receive
from .domain.section import Section
from .domain.workspace import QUIET, Workspace, workspace_bytes, workspace_of
from .errors import PlanError
from .fork import unforked
from .replica import Held

log = logging.getLogger("segue")
_ORIGIN: Final = "origin"
"""Beside the sections: of which history of the hub, and which version of it, a context is."""


class Persistence:
    """The files of a touchpoint.

    Args:
        folder: where they are.
        touchpoint: whose they are.
        contexts: whether contexts are kept.
    """

    def __init__(self, folder: Path, touchpoint: str, *, contexts: bool) -> None:
        self._plan_path = folder / f"{touchpoint}.plan.json"
        self._workspace_path = folder / f"{touchpoint}.workspace.json"
        self._contexts_path = folder / f"{touchpoint}.contexts"
        self._wanted = contexts
        self._connection: sqlite3.Connection | None = None
        self._kept: dict[tuple[Identifier, str], int] = {}
        self._written: dict[Path, str] = {}

    def plan(self) -> Plan | None:
        """The last good plan, with the last workspace."""
        try:
            plan = Plan(json.loads(self._plan_path.read_bytes()))
        except (OSError, ValueError, PlanError):
            return None
        return plan.on(self._workspace())

    def _workspace(self) -> Workspace:
        try:
            return workspace_of(json.loads(self._workspace_path.read_bytes()))
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return QUIET

    def keep_plan(self, plan: Plan) -> None:
        """Keeps a plan and its workspace, each in one step, as far as they changed."""
        if plan.digest == WAITING.digest:
            return  # a workspace came before the first plan: it is kept with it
        if self._written.get(self._plan_path) != plan.digest:
            self._write(self._plan_path, plan.digest, canonical(plan.document))
        if self._written.get(self._workspace_path) != plan.workspace.digest:
            self._write(self._workspace_path, plan.workspace.digest, workspace_bytes(plan.workspace))

    def _write(self, path: Path, name: str, text: bytes) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_name(f"{path.name}.{os.getpid()}")
            fresh.write_bytes(text)
            fresh.replace(path)
            self._written[path] = name
        except OSError as error:
            log.warning("segue: %s cannot be kept on disk: %s", path.name, error)

    def _open(self) -> sqlite3.Connection | None:
        if not self._wanted:
            return None
        if self._connection is None:
            try:
                self._contexts_path.parent.mkdir(parents=True, exist_ok=True)
                connection = sqlite3.connect(
                    self._contexts_path, timeout=0.05, isolation_level=None, check_same_thread=False
                )
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS contexts (kind TEXT, value TEXT, purpose TEXT, heard INTEGER,"
                    " plan TEXT, sections BLOB, PRIMARY KEY (kind, value, purpose))"
                )
                self._connection = connection
            except (OSError, sqlite3.Error) as error:
                log.warning("segue: contexts cannot be kept on disk: %s", error)
                self._wanted = False
        return self._connection

    def context(self, identifier: Identifier, purpose: str, plan: str) -> tuple[Projected, int] | None:
        """A context kept of this plan (VE3), and when the hub was last heard (our clock, microseconds)."""
        return self._read(identifier, purpose, plan) if self._wanted else None

    @unforked
    def _read(self, identifier: Identifier, purpose: str, plan: str) -> tuple[Projected, int] | None:
        connection = self._open()
        if connection is None:
            return None
        try:
            row = connection.execute(
                "SELECT sections, heard FROM contexts WHERE kind = ? AND value = ? AND purpose = ? AND plan = ?",
                (*identifier, purpose, plan),
            ).fetchone()
            if row is None:
                return None
            texts = dict(json.loads(row[0]))
            incarnation, version = json.loads(texts.pop(_ORIGIN, '["", 0]'))
            origin = Origin(incarnation, version, plan)
            projected = receive([Section(name, text.encode()) for name, text in texts.items()])
            return replace(projected, origin=origin), row[1]
        except (sqlite3.Error, ValueError, KeyError, TypeError) as error:
            log.warning("segue: a kept context cannot be read: %s", error)
            return None

    @unforked
    def keep(self, held: Iterable[Held]) -> None:
        """Keeps what changed since it was last kept; whom the hub knows no more is removed."""
        connection = self._open()
        if connection is None:
            return
        changed = [h for h in held if self._kept.get((h.identifier, h.purpose)) != h.version]
        try:
            for one in changed:
                self._kept[one.identifier, one.purpose] = one.version
                if not one.version:
                    connection.execute(
                        "DELETE FROM contexts WHERE kind = ? AND value = ? AND purpose = ?",
                        (*one.identifier, one.purpose),
                    )
                    continue
                origin = one.shown.origin
                texts = [[section.name, section.data.decode()] for section in one.sections]
                text = json.dumps([[_ORIGIN, json.dumps([origin.incarnation, origin.version])], *texts])
                row = (*one.identifier, one.purpose, one.heard_at or now(), one.plan, text)
                connection.execute("INSERT OR REPLACE INTO contexts VALUES (?, ?, ?, ?, ?, ?)", row)
        except sqlite3.Error as error:
            log.warning("segue: contexts cannot be kept on disk: %s", error)

    @unforked
    def close(self) -> None:
        """Lets go of the files."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
