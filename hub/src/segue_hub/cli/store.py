"""`store`: commands that open the file itself, while no hub serves it."""

from __future__ import annotations

from pathlib import Path

import click

from ..storage.ports import StoreBroken
from ..storage.sqlite import SqliteStore, StoreInUse
from .output import console, errors, fail, json_option, print_json


@click.group()
def store() -> None:
    """Check a store's file; the hub must not run."""


@store.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@json_option
def check(path: Path, as_json: bool) -> None:
    """Verifies a file: SQLite's own pages, the change log without holes, every fact with a leaf.

    Exits with 1 on faults.
    """
    try:
        opened = SqliteStore(path)
    except (StoreInUse, StoreBroken) as error:
        fail(str(error))
        return
    try:
        faults, counts = list(opened.check()), opened.counts()
    finally:
        opened.close()
    if as_json:
        print_json({"ok": not faults, "faults": faults, **counts})
    else:
        for fault in faults:
            errors.print(fault, markup=False)
        if not faults:
            console.print(
                f"sound: {counts['facts']} facts, {counts['customers']} customers, {counts['bytes'] / 1e6:.1f} MB"
            )
    if faults:
        raise SystemExit(1)
