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
from datetime import date, datetime
from pathlib import Path
from typing import IO, Any, Final

import pyarrow
import pyarrow.parquet
from defusedxml import ElementTree
from segue.errors import InputError

Row = dict[str, Any]
UNIFORM: Final = ("csv", "parquet")
"""Formats in which every row has the same columns."""
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
    ending = _ending(path)
    if ending:
        return _ENDINGS[ending]
    cure = "Write reads: {format: csv} (or jsonl, parquet, xes)"
    raise Unreadable(f"{path.name} has no known ending", field="reads.format", cure=cure)


def _ending(path: Path) -> str:
    for suffix in reversed(path.suffixes):
        if suffix.lower() in _ENDINGS:
            return suffix.lower()
    if path.suffix.lower() == ".zip":
        try:
            return _ending(Path(_only_name(path)))
        except (OSError, zipfile.BadZipFile) as error:
            raise Unreadable(f"{path.name} cannot be read as zip: {error}") from None
    return ""


def _only_name(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
    if len(names) != 1:
        raise Unreadable(f"{path.name} holds {len(names)} files", cure="Unpack it and import one by one")
    return names[0]


def _opened(path: Path) -> IO[bytes]:
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rb")  # type: ignore[return-value]  # a binary stream by its mode
    if path.suffix.lower() == ".zip":
        name = _only_name(path)
        with zipfile.ZipFile(path) as archive:
            return archive.open(name)  # keeps the file open by itself
    return path.open("rb")


def rows(
    path: Path, form: str = "", delimiter: str = "", encoding: str = "utf-8"
) -> Iterator[tuple[int, Row | BrokenRow]]:
    """The rows of a file, each with its number from 1.

    Args:
        path: the file.
        form: `csv`, `jsonl`, `parquet` or `xes`; by the file's ending where empty.
        delimiter: of CSV; a comma where empty, a tab in .tsv.
        encoding: of texts. A byte order mark is no part of them.

    Raises:
        Unreadable: the file is not of this format.
    """
    form = form or format_of(path)
    if not delimiter:
        delimiter = "\t" if form == "csv" and _ending(path) == ".tsv" else ","
    if encoding.lower().replace("_", "-") in ("utf-8", "utf8"):
        encoding = "utf-8-sig"
    try:
        yield from _READERS[form](path, delimiter, encoding)
    except (OSError, ValueError, csv.Error, ElementTree.ParseError, pyarrow.ArrowException, zipfile.BadZipFile,
            EOFError) as error:  # fmt: skip
        if isinstance(error, Unreadable):
            raise
        raise Unreadable(f"{path.name} cannot be read as {form}: {error}") from None


def _csv(path: Path, delimiter: str, encoding: str) -> Iterator[tuple[int, Row | BrokenRow]]:
    with _opened(path) as binary, io.TextIOWrapper(binary, encoding=encoding, newline="") as text:
        reader = csv.reader(text, delimiter=delimiter)
        header = [name.strip() for name in next(reader, [])]
        if not header:
            raise Unreadable(f"{path.name} is empty", cure="The first line names the columns")
        if header[-1] == "":
            header.pop()  # a trailing delimiter, as on the lines below
        twice = next((name for index, name in enumerate(header) if name in header[:index]), None)
        if twice is not None:
            raise Unreadable(f"{path.name} has two columns {twice!r}", cure="Name every column once in the first line")
        width = len(header)
        try:
            for number, cells in enumerate((cells for cells in reader if cells), 1):
                # A trailing delimiter on every line is common; a missing or extra value is a broken row.
                if len(cells) == width + 1 and cells[-1] == "":
                    cells = cells[:-1]
                if len(cells) == width:
                    yield number, dict(zip(header, map(str.strip, cells), strict=True))
                else:
                    yield number, BrokenRow(f"{len(cells)} values for {width} columns")
        except csv.Error as error:
            raise Unreadable(
                f"{path.name}, near line {reader.line_num}: {error}", cure="Look for a quote that is never closed"
            ) from None


def _jsonl(path: Path, delimiter: str, encoding: str) -> Iterator[tuple[int, Row | BrokenRow]]:
    with _opened(path) as binary, io.TextIOWrapper(binary, encoding=encoding) as text:
        for number, line in enumerate((line for line in text if line.strip()), 1):
            try:
                found = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield number, BrokenRow(f"no JSON: {error}")
                continue
            yield number, _flat(found) if isinstance(found, dict) else BrokenRow("no JSON object")


def _flat(found: dict[str, Any], prefix: str = "") -> Row:
    """Nested objects become dotted columns; lists stay JSON texts, and what JSON does not have becomes text."""
    row: Row = {}
    for name, value in found.items():
        if isinstance(value, dict):
            row |= _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            row[prefix + name] = json.dumps(value, default=_plain, ensure_ascii=False)
        else:
            row[prefix + name] = _plain(value)
    return row


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _parquet(path: Path, delimiter: str, encoding: str) -> Iterator[tuple[int, Row | BrokenRow]]:
    with _opened(path) as binary:
        source = io.BytesIO(binary.read()) if path.suffix.lower() in (".gz", ".zip") else binary
        number = 0
        for batch in pyarrow.parquet.ParquetFile(source).iter_batches(batch_size=5000):
            for found in _microseconds(batch).to_pylist():
                number += 1
                yield number, _flat(found)


def _microseconds(batch: pyarrow.RecordBatch) -> pyarrow.RecordBatch:
    """Times to the microsecond: Python has no finer ones."""
    fields = [
        field.with_type(pyarrow.timestamp("us", field.type.tz))
        if pyarrow.types.is_timestamp(field.type) and field.type.unit == "ns"
        else field
        for field in batch.schema
    ]
    schema = pyarrow.schema(fields)
    return batch if schema == batch.schema else batch.cast(schema, safe=False)


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
    return {child.attrib["key"]: child.attrib.get("value") for child in element if "key" in child.attrib}


_READERS: Final = {"csv": _csv, "jsonl": _jsonl, "parquet": _parquet, "xes": _xes}
