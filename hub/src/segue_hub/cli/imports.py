"""`import`: files into the hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Final

import click
from rich import progress as bar
from segue.errors import InputError

from ..importing.mapping import Mapper, Tally
from ..importing.mapping_check import MappingInvalid, check_columns, load_mapping
from ..importing.progress import Progress, keep_rejects
from ..importing.reader import UNIFORM, BrokenRow, Row, format_of, rows
from ..importing.run import HubAway, Import, StoreReplaced, incarnation_of
from .client import Client, hub_options
from .output import answering, console, errors, fail, json_option, print_json

Rows = Iterator[tuple[int, Row | BrokenRow]]
MOST_BROKEN: Final = 100
"""Broken rows at the beginning of a table that are looked through for its columns."""


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--mapping",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="How rows become facts (YAML).",
)
@click.option(
    "--rejects",
    type=click.Path(path_type=Path),
    help="Where rejects go; FILE.rejects.jsonl in the working directory where not given.",
)
@click.option("--patience", default=60.0, show_default=True, help="Seconds to wait for a hub that is away.")
@click.option("--dry-run", is_flag=True, help="Reads and explains every row, sends nothing.")
@json_option
@hub_options("SEGUE_KEY")
def import_(
    client: Client, file: Path, mapping: Path, rejects: Path | None, patience: float, dry_run: bool, as_json: bool
) -> None:
    """Imports a CSV, JSONL, Parquet or XES file (also .gz, .zip) with a touchpoint's key (SEGUE_KEY).

    Every row is explained: kept, skipped with the mapping's reason, or rejected with reason and cure. A second run adds
    nothing; one that was interrupted goes on where it was.
    """
    rejects = rejects or Path(f"{file.name}.rejects.jsonl")
    try:
        mapper = Mapper(load_mapping(mapping))
        found = _checked_columns(file, mapping, mapper)
        if dry_run:
            tally = _explained(found, mapper)
        else:
            tally = _imported(client, file, mapper, found, rejects, patience, as_json)
    except MappingInvalid as error:
        for problem in error.problems:
            errors.print(f"{mapping.parent}/{problem}", markup=False)
        raise SystemExit(2) from None
    except InputError as error:
        fail(str(error), 2)
        return
    except HubAway as error:
        fail(f"the hub at {client.address} is away ({error}); run the same command again to go on", 3)
        return
    except StoreReplaced:
        fail(f"the hub at {client.address} has another store than when this began; run the same command again", 3)
        return
    _told(tally, rejects, as_json, dry_run=dry_run)


def _checked_columns(file: Path, mapping: Path, mapper: Mapper) -> Rows:
    """The rows of the file, once its columns are held against the mapping's: all rows of a table have the same."""
    reads = mapper.reads
    form = reads.get("format", "") or format_of(file)
    found = rows(file, form, reads.get("delimiter", ""), reads.get("encoding", "utf-8"))
    if form not in UNIFORM:
        return found
    first = list(islice(found, 1))
    while first and isinstance(first[-1][1], BrokenRow) and len(first) < MOST_BROKEN:
        first += islice(found, 1)
    if first and not isinstance(first[-1][1], BrokenRow):
        check_columns(mapping, first[-1][1])
    return chain(first, found)


def _imported(
    client: Client, file: Path, mapper: Mapper, found: Rows, rejects: Path, patience: float, as_json: bool
) -> Tally:
    stat = file.stat()
    with answering(client.address):
        store = incarnation_of(client.sync.Sync, patience)
    # Another file, another mapping or another store begins anew; what is there already is a duplicate then.
    key = f"{mapper.digest}:{store}:{file.resolve()}:{stat.st_size}:{stat.st_mtime_ns}"
    progress = Progress(Path(f"{file.name}.import"), key)
    skip = progress.rows()
    if skip:
        errors.print(f"going on after row {skip}")
    keep_rejects(rejects, skip)
    with rejects.open("a", encoding="utf-8") as out, _Shown(quiet=as_json) as shown, answering(client.address):
        tally = Import(mapper, client.events.PublishEvents, progress, out, patience).run(found, skip, shown)
        if incarnation_of(client.sync.Sync, patience) != store:
            raise StoreReplaced
    progress.forget()
    if rejects.stat().st_size == 0:
        rejects.unlink()
    return tally


def _explained(found: Rows, mapper: Mapper) -> Tally:
    tally = Tally()
    for number, row in found:
        outcome = mapper.outcome(number, row)
        tally.count(outcome)
        if outcome.reject is not None:
            errors.print(f"row {number}: {outcome.reject.reason}. {outcome.reject.cure}", markup=False)
    return tally


def _told(tally: Tally, rejects: Path, as_json: bool, *, dry_run: bool) -> None:
    if as_json:
        print_json(tally.plain())
        return
    console.print(
        f"{tally.rows} rows: {tally.kept} kept, {sum(tally.skipped.values())} skipped,"
        f" {sum(tally.rejected.values())} rejected"
    )
    for reason, count in tally.skipped.most_common():
        console.print(f"  skipped  {count:>8}  {reason}", markup=False)
    for reason, count in tally.rejected.most_common(10):
        console.print(f"  rejected {count:>8}  {reason}", markup=False)
    results = ", ".join(f"{count} {status.lower()}" for status, count in sorted(tally.results.items()))
    console.print(f"{tally.facts} facts{': ' + results if results else ''}")
    if tally.rejected and not dry_run:
        console.print(f"rejects are in {rejects}")


class _Shown:
    """A progress bar on a terminal, a line now and then elsewhere, nothing with --json."""

    def __init__(self, *, quiet: bool) -> None:
        self._progress = bar.Progress(
            bar.TextColumn("importing"), bar.BarColumn(), bar.MofNCompleteColumn(),
            bar.TextColumn("rows, {task.fields[facts]} facts"), bar.TimeElapsedColumn(), console=errors,
            disable=quiet or not errors.is_terminal,
        )  # fmt: skip
        self._task = self._progress.add_task("rows", total=None, facts=0)
        self._quiet = quiet or errors.is_terminal
        self._next = 10_000

    def __enter__(self) -> Callable[[Tally], None]:
        self._progress.start()
        return self._tell

    def __exit__(self, *details: object) -> None:
        self._progress.stop()

    def _tell(self, tally: Tally) -> None:
        self._progress.update(self._task, completed=tally.rows, facts=tally.facts)
        if not self._quiet and tally.rows >= self._next:
            errors.print(f"{tally.rows} rows, {tally.facts} facts")
            self._next += 10_000
