"""`import`: files into the hub."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from segue.errors import InputError

from ..importing.mapping import Mapper, MappingInvalid, Tally, load_mapping
from ..importing.reader import rows
from ..importing.run import HubAway, Import
from .client import Client, hub_options
from .output import answering, console, errors, fail, json_option, print_json


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
    try:
        mapper = Mapper(load_mapping(mapping))
    except MappingInvalid as error:
        for problem in error.problems:
            errors.print(f"{mapping.parent}/{problem}", markup=False)
        raise SystemExit(2) from None
    rejects = rejects or Path(f"{file.name}.rejects.jsonl")
    stat = file.stat()
    key = f"{mapper.digest}:{file.name}:{stat.st_size}"
    with rejects.open("a", encoding="utf-8") as out:
        run = Import(mapper, client.events.PublishEvents, Path(f"{file.name}.import"), out, patience, key)
        skip = 0 if dry_run else run.done_before()
        if skip:
            errors.print(f"going on after row {skip}")
        try:
            if dry_run:
                tally = _explained(file, mapper, run.tally)
            else:
                with _Shown(quiet=as_json) as shown, answering(client.address):
                    tally = run.run(rows(file, **_reading(mapper)), skip, shown)
                run.forget()
        except HubAway as error:
            fail(f"the hub at {client.address} is away ({error}); run the same command again to go on", 3)
            return
        except InputError as error:
            fail(str(error), 2)
            return
    if rejects.stat().st_size == 0:
        rejects.unlink()
    _told(tally, rejects, as_json)


def _reading(mapper: Mapper) -> dict[str, str]:
    reads = mapper.reads
    return {
        "form": reads.get("format", ""),
        "delimiter": reads.get("delimiter", ","),
        "encoding": reads.get("encoding", "utf-8"),
    }


def _explained(file: Path, mapper: Mapper, tally: Tally) -> Tally:
    for number, row in rows(file, **_reading(mapper)):
        outcome = mapper.outcome(number, row)
        tally.rows += 1
        if outcome.reject is not None:
            tally.rejected[outcome.reject.reason] += 1
            errors.print(f"row {number}: {outcome.reject.reason}. {outcome.reject.cure}", markup=False)
        elif outcome.skipped:
            tally.skipped[outcome.skipped] += 1
        else:
            tally.kept += 1
            tally.facts += len(outcome.facts)
    return tally


def _told(tally: Tally, rejects: Path, as_json: bool) -> None:
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
    if tally.rejected:
        console.print(f"rejects are in {rejects}")


class _Shown:
    """A progress bar on a terminal, a line now and then elsewhere, nothing with --json."""

    def __init__(self, *, quiet: bool) -> None:
        self._progress = Progress(
            TextColumn("importing"), BarColumn(), MofNCompleteColumn(), TextColumn("rows, {task.fields[facts]} facts"),
            TimeElapsedColumn(), console=errors, disable=quiet or not errors.is_terminal,
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
