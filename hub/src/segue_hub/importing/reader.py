"""Readers: files as rows. CSV, JSONL, Parquet and XES, plain, gzipped, or alone in a zip.

Owns the formats. A row is a flat mapping of column to text, number, bool or None, with its number in the file from 1.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

import pyarrow.parquet
from defusedxml import ElementTree
from segue.errors import InputError

Row = dict[str, Any]
FORMATS: Final = ("csv", "jsonl", "parquet", "xes")
_ENDINGS: Final = {".csv": "csv", ".tsv": "csv", ".txt": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl",
                   ".parquet": "parquet", ".xes": "xes"}  # fmt: skip


class Unreadable(InputError):
    """A file that cannot be read as rows."""

    code = "FILE_UNREADABLE"


class BrokenRow:
    """A row that is no row: told, not dropped."""

    def __init__(self, cause: str) -> None:
        self.cause = cause


def format_of(path: Path) -> str:
    """The format by the file's ending.

    Raises:
        Unreadable: no known ending.
    """
    for suffix in reversed(path.suffixes):
        if suffix.lower() in _ENDINGS:
            return _ENDINGS[suffix.lower()]
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            names = [Path(name) for name in archive.namelist() if not name.endswith("/")]
        if len(names) == 1:
            return format_of(names[0])
    raise Unreadable(
        f"{path.name} has no known ending",
        field="reads.format",
        cure="Write reads: {format: csv} (or jsonl, parquet, xes)",
    )


def _opened(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return gzip.open(path, "rb")  # type: ignore[return-value]  # a binary stream by its mode
    if path.suffix == ".zip":
        archive = zipfile.ZipFile(path)
        names = [name for name in archive.namelist() if not name.endswith("/")]
        if len(names) != 1:
            raise Unreadable(f"{path.name} holds {len(names)} files", cure="Unpack it and import one by one")
        return archive.open(names[0])
    return path.open("rb")


def rows(
    path: Path, form: str = "", delimiter: str = ",", encoding: str = "utf-8"
) -> Iterator[tuple[int, Row | BrokenRow]]:
    """The rows of a file, each with its number from 1.

    Raises:
        Unreadable: the file is not of this format.
    """
    form = form or format_of(path)
    try:
        yield from _READERS[form](path, delimiter, encoding)
    except (OSError, UnicodeDecodeError, csv.Error, ElementTree.ParseError, pyarrow.ArrowException, zipfile.BadZipFile,
            EOFError) as error:  # fmt: skip
        raise Unreadable(f"{path.name} cannot be read as {form}: {error}") from None


def _csv(path: Path, delimiter: str, encoding: str) -> Iterator[tuple[int, Row | BrokenRow]]:
    with _opened(path) as binary, io.TextIOWrapper(binary, encoding=encoding, newline="") as text:
        reader = csv.reader(text, delimiter=delimiter)
        header = [name.strip() for name in next(reader, [])]
        if not header:
            raise Unreadable(f"{path.name} is empty", cure="The first line names the columns")
        for number, cells in enumerate((cells for cells in reader if cells), 1):
            # A trailing delimiter on every line is common; a missing or extra value is a broken row.
            if len(cells) == len(header) + 1 and cells[-1] == "":
                cells = cells[:-1]
            if len(cells) != len(header):
                yield number, BrokenRow(f"{len(cells)} values for {len(header)} columns")
            else:
                yield number, dict(zip(header, (cell.strip() for cell in cells), strict=True))


def _jsonl(path: Path, delimiter: str, encoding: str) -> Iterator[tuple[int, Row | BrokenRow]]:
    with _opened(path) as binary, io.TextIOWrapper(binary, encoding=encoding) as text:
        for number, line in enumerate((line for line in text if line.strip()), 1):
            try:
                found = json.loads(line)
            except ValueError as error:
                yield number, BrokenRow(f"no JSON: {error}")
                continue
            yield number, _flat(found) if isinstance(found, dict) else BrokenRow("no JSON object")


def _flat(found: dict[str, Any], prefix: str = "") -> Row:
    """Nested objects become dotted columns; lists stay JSON texts."""
    row: Row = {}
    for name, value in found.items():
        if isinstance(value, dict):
            row |= _flat(value, f"{prefix}{name}.")
        else:
            row[prefix + name] = json.dumps(value) if isinstance(value, list) else value
    return row


def _parquet(path: Path, delimiter: str, encoding: str) -> Iterator[tuple[int, Row | BrokenRow]]:
    with _opened(path) as binary:
        source = io.BytesIO(binary.read()) if path.suffix in (".gz", ".zip") else binary
        number = 0
        for batch in pyarrow.parquet.ParquetFile(source).iter_batches(batch_size=5000):
            for found in batch.to_pylist():
                number += 1
                yield number, {name: value if _is_plain(value) else str(value) for name, value in found.items()}


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _xes(path: Path, delimiter: str, encoding: str) -> Iterator[tuple[int, Row | BrokenRow]]:
    """Events with their own attributes, and those of their trace under `trace.`."""
    number = 0
    with _opened(path) as binary:
        trace: Row = {}
        depth_of_event = False
        for moment, element in ElementTree.iterparse(binary, events=("start", "end")):
            name = element.tag.rpartition("}")[2]
            if moment == "start":
                if name == "trace":
                    trace = {}
                depth_of_event = depth_of_event or name == "event"
                continue
            if name == "event":
                number += 1
                depth_of_event = False
                yield number, trace | _attributes(element)
                element.clear()
            elif name == "trace":
                element.clear()
            elif not depth_of_event and "key" in element.attrib and "value" in element.attrib:
                trace[f"trace.{element.attrib['key']}"] = element.attrib["value"]


def _attributes(element: Any) -> Row:
    return {child.attrib["key"]: child.attrib["value"] for child in element if "key" in child.attrib}


_READERS: Final = {"csv": _csv, "jsonl": _jsonl, "parquet": _parquet, "xes": _xes}
