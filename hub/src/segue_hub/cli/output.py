"""Output: for people on a terminal, JSON with --json, no colours when piped.

Owns how answers and errors are printed, and the exit codes: 0 done, 1 refused or not found, 2 used wrongly, 3 the hub
cannot be reached.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
import grpc
import orjson
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from rich import progress as bar
from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDE = 180
"""Columns where there is no terminal to measure."""
# No markup anywhere: what teams write is printed as it is. Styles are given as `Text`.
console = Console(soft_wrap=True, highlight=False, markup=False, width=None if sys.stdout.isatty() else _WIDE)
errors = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --json."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(function)


def print_json(plain: Any) -> None:
    """JSON on standard output, as it is."""
    try:
        text = orjson.dumps(plain, option=orjson.OPT_INDENT_2).decode()
    except TypeError:  # numbers of more than 64 bits, or very deep
        text = json.dumps(plain, indent=2, ensure_ascii=False)
    sys.stdout.write(text + "\n")


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table; `-` where there is nothing."""
    table = Table(*columns, title=title or None, title_justify="left", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text("-" if cell is None or cell == "" else str(cell)) for cell in row))
    console.print(table)


def print_heading(name: str, rest: str) -> None:
    """A line that begins with a name in bold."""
    console.print(Text.assemble((name, "bold"), rest))


def fail(message: str, code: int = 1) -> None:
    """Says what is wrong and ends."""
    errors.print(Text.assemble(("error:", "red"), f" {message}"))
    raise SystemExit(code)


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error, where that is a terminal: `advance(done, of)`."""
    shown = bar.Progress(
        bar.TextColumn(what), bar.BarColumn(), bar.MofNCompleteColumn(), bar.TimeRemainingColumn(), console=errors,
        transient=True, disable=not sys.stderr.isatty(),
    )  # fmt: skip
    with shown:
        task = shown.add_task(what, total=None)
        yield lambda done, of: shown.update(task, completed=done, total=of or None)


def reason_of(error: grpc.RpcError) -> str:
    """The stable code of a refusal; empty where there is none."""
    status = rpc_status.from_call(error)
    for detail in status.details if status is not None else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return str(info.reason)
    return ""


@contextmanager
def answering(address: str) -> Iterator[None]:
    """Turns what a hub refuses into an error for people."""
    try:
        yield
    except grpc.RpcError as error:
        code = error.code()
        reason = reason_of(error)
        if code == grpc.StatusCode.UNAVAILABLE and not reason:
            fail(f"no hub answers at {address}. Is it running? `segue-hub serve`, or set SEGUE_HUB", 3)
        if code == grpc.StatusCode.DEADLINE_EXCEEDED:
            fail(f"the hub at {address} did not answer in time", 3)
        fail(f"{error.details()}" + (f" [{reason}]" if reason else ""))
