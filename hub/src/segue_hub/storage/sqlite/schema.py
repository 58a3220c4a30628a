"""The schema of the SQLite store: named queries and numbered migrations.

Owns `queries.sql`, `migrations/` and the upgrade of an older file. Fresh and migrated schemas are equal (a test holds
it), since a fresh one is made by running the migrations.
"""

from __future__ import annotations

from importlib.resources import files

import apsw


def queries() -> dict[str, str]:
    """The statements of `queries.sql`, by name."""
    text = (files(__package__) / "queries.sql").read_text(encoding="utf-8")
    blocks = [block.partition("\n") for block in text.split("-- name: ")[1:]]
    return {name.strip(): body.strip() for name, _, body in blocks}


def migrations() -> list[tuple[int, str]]:
    """(number, SQL) of every migration, rising."""
    folder = files(__package__) / "migrations"
    found = sorted((entry.name, entry.read_text(encoding="utf-8")) for entry in folder.iterdir())
    return [(int(name[:4]), text) for name, text in found if name.endswith(".sql")]


def migrate(connection: apsw.Connection) -> None:
    """Brings a file to the newest schema, one transaction a step.

    Raises:
        ValueError: the file is of a newer version than this hub.
    """
    (version,) = next(connection.execute("PRAGMA user_version"))
    known = migrations()
    if version > known[-1][0]:
        raise ValueError(f"the store has schema {version}, this hub knows up to {known[-1][0]}: upgrade the hub")
    for number, text in known:
        if number > version:
            with connection:
                connection.execute(text)
                connection.execute(f"PRAGMA user_version = {number}")
