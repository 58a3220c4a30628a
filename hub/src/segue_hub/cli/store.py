"""`store`: copies of a store while the hub serves it; checking and restoring its file while none does."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich import progress
from segue.v1 import store_service_pb2 as pb
from segue.wire import fact_from_bytes

from ..services.verification import verify
from ..storage.ports import StoreBroken
from ..storage.sqlite import SqliteStore, StoreInUse, restore_store
from .client import Client, hub_options
from .output import answering, console, errors, fail, json_option, print_json


@click.group()
def store() -> None:
    """Back up a store while the hub serves; check or restore its file while no hub does."""


@store.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--quick", is_flag=True, help="Leaves out what has to be folded again.")
@json_option
def check(path: Path, quick: bool, as_json: bool) -> None:
    """Verifies a file: SQLite's own pages, the change log without holes, every fact with a leaf; then that who is one
    follows from the links, and every kept context from its facts.

    Exits with 1 on faults.
    """
    try:
        opened = SqliteStore(path)
    except (StoreInUse, StoreBroken) as error:
        fail(str(error))
        return
    try:
        faults, counts = list(opened.check()), opened.counts()
        if not quick and not faults:
            with _checking(counts["customers"] + counts["linked"], quiet=as_json) as shown:
                faults = list(verify(opened, fact_from_bytes, shown))
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


@contextmanager
def _checking(of: int, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    bar = progress.Progress(
        progress.TextColumn("checking"), progress.BarColumn(), progress.MofNCompleteColumn(), console=errors,
        disable=quiet or not errors.is_terminal,
    )  # fmt: skip
    with bar:
        task = bar.add_task("customers", total=of)
        yield lambda done: bar.update(task, completed=done)


@store.command()
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False))
@json_option
@hub_options()
def backup(client: Client, path: Path, as_json: bool) -> None:
    """Copies the store of a hub that serves, as it is at one moment, to PATH."""
    coming = path.with_name(f"{path.name}.part")
    digest, told = hashlib.sha256(), pb.BackUpStoreResponse()
    bar = progress.Progress(
        progress.TextColumn("backing up"), progress.BarColumn(), progress.DownloadColumn(), console=errors,
        disable=as_json or not errors.is_terminal,
    )  # fmt: skip
    with answering(client.address), bar, coming.open("wb") as file:
        task = bar.add_task("bytes", total=None)
        for told in client.stores.BackUpStore(pb.BackUpStoreRequest()):
            file.write(told.data)
            digest.update(told.data)
            bar.update(task, total=told.size, completed=file.tell())
        file.flush()
        os.fsync(file.fileno())
    if digest.digest() != told.sha256:
        coming.unlink()
        fail("the copy did not arrive whole: try again")
    coming.replace(path)
    if as_json:
        print_json({"path": str(path), "bytes": told.size, "position": told.position, "sha256": told.sha256.hex()})
    else:
        console.print(f"{path}: {told.size / 1e6:.1f} MB, through position {told.position}", markup=False)


@store.command()
@click.argument("backup_path", metavar="BACKUP", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False))
@json_option
def restore(backup_path: Path, path: Path, as_json: bool) -> None:
    """Puts BACKUP in the place of the store at PATH, which no hub may serve; what was there is kept beside it.

    The store gets a new incarnation: every SDK that comes back knows that history was cut, and offers again what it
    kept of the last 24 hours.
    """
    try:
        former, incarnation = restore_store(backup_path, path)
    except (StoreInUse, StoreBroken) as error:
        fail(str(error))
        return
    if as_json:
        print_json({"path": str(path), "former": str(former) if former else None, "incarnation": incarnation})
        return
    console.print(f"{path} is restored, incarnation {incarnation}", markup=False)
    if former is not None:
        console.print(f"the former store is in {former}", markup=False)
