"""Files as facts: every format gives the same facts, unreadable ones are told, bad mappings name their places."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from click.testing import CliRunner
from segue.domain.fact import Fact
from segue.domain.instant import instant_text
from segue_hub.cli import main
from segue_hub.importing.mapping import Mapper, Outcome
from segue_hub.importing.mapping_check import MappingInvalid, load_mapping
from segue_hub.importing.reader import Unreadable, rows

MAPPING = """
source: shop
zone: Europe/Berlin
nulls: ["", "?"]
native_id: [id]
identifiers:
  account: {column: customer.account}
  email: {column: customer.mail, nulls: ["0"]}
interaction: {id: {template: "visit-{visit}"}, direction: inbound}
facts:
  - event: {template: "page.{what}", normalise: slug}
    at: {column: when}
    channel: web
    properties: {price: {column: price, as: double}, note: {column: note}, new: {column: new, as: bool}}
"""
ROWS: list[dict[str, Any]] = [
    {"id": 1, "when": "2026-05-04T10:42:00Z", "customer.account": "A-1", "customer.mail": "ann@x.com", "visit": 7,
     "what": "Seen Twice", "price": 12.5, "note": 'says "hi", and; goes', "new": True},
    {"id": 2, "when": "2026-05-04T10:43:00+02:00", "customer.account": "A-2", "customer.mail": 0, "visit": 8,
     "what": "bought", "price": 5.0, "note": None, "new": False},
    {"id": 3, "when": "2026-05-04T10:44:00.25Z", "customer.account": None, "customer.mail": "bo@x.com", "visit": None,
     "what": "left", "price": None, "note": "ü — ☎", "new": None},
]  # fmt: skip
COLUMNS = list(ROWS[0])


def text(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def as_csv(delimiter: str, *, end: str = "", mark: str = "") -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator=f"{end}\r\n")
    writer.writerows([COLUMNS, *([text(value) for value in row.values()] for row in ROWS)])
    return (mark + out.getvalue()).encode()


def nested(row: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"customer": {}}
    for name, value in row.items():
        head, _, rest = name.partition(".")
        if rest:
            found[head][rest] = value
        else:
            found[name] = value
    return found


def as_jsonl() -> bytes:
    return "\n\n".join(json.dumps(nested(row), ensure_ascii=False) for row in ROWS).encode()


def as_parquet(*, deep: bool) -> bytes:
    found = [nested(row) if deep else row for row in ROWS]
    if not deep:
        found = [row | {"when": datetime.fromisoformat(row["when"])} for row in found]
        # The mail is a text or the number 0: a column of a table has one type.
        found = [row | {"customer.mail": text(row["customer.mail"])} for row in found]
    else:
        for row in found:
            row["customer"]["mail"] = text(row["customer"]["mail"])
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(found), out)
    return out.getvalue()


def as_xes() -> bytes:
    def attribute(name: str, value: Any) -> str:
        value = text(value).replace("&", "&amp;").replace('"', "&quot;")
        return f'<string key="{name}" value="{value}"/>'

    traces = "".join(
        f'<trace><string key="concept:name" value="t{row["id"]}"/><event>'
        + "".join(attribute(name, value) for name, value in row.items() if value is not None)
        + "</event></trace>"
        for row in ROWS
    )
    return f'<log xmlns="http://www.xes-standard.org/"><string key="a" value="b"/>{traces}</log>'.encode()


def zipped(content: bytes, name: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(name, content)
    return out.getvalue()


FORMATS: dict[str, tuple[str, bytes, str]] = {
    "comma": ("log.csv", as_csv(","), ""),
    "tab": ("log.tsv", as_csv("\t"), ""),
    "semicolon": ("log.csv", as_csv(";"), 'reads: {delimiter: ";"}'),
    "trailing delimiter": ("log.csv", as_csv("|", end="|"), 'reads: {delimiter: "|"}'),
    "byte order mark": ("log.csv", as_csv(",", mark="\ufeff"), ""),
    "utf-16": ("log.csv", as_csv(",").decode().encode("utf-16"), "reads: {encoding: utf-16}"),
    "no ending": ("log", as_csv(","), "reads: {format: csv}"),
    "jsonl": ("log.jsonl", as_jsonl(), ""),
    "jsonl with a byte order mark": ("log.ndjson", b"\xef\xbb\xbf" + as_jsonl(), ""),
    "parquet": ("log.parquet", as_parquet(deep=False), ""),
    "nested parquet": ("log.parquet", as_parquet(deep=True), ""),
    "xes": ("log.xes", as_xes(), ""),
    "csv.gz": ("log.csv.gz", gzip.compress(as_csv(",")), ""),
    "jsonl.zip": ("log.zip", zipped(as_jsonl(), "deep/log.jsonl"), ""),
    "parquet.gz": ("log.parquet.gz", gzip.compress(as_parquet(deep=True)), ""),
    "xes.zip": ("log.xes.ZIP", zipped(as_xes(), "log.xes"), ""),
}


@pytest.fixture
def mapper(tmp_path: Path) -> Callable[[str], Mapper]:
    def make(mapping: str) -> Mapper:
        path = tmp_path / "mapping.yaml"
        path.write_text(mapping, encoding="utf-8")
        return Mapper(load_mapping(path))

    return make


def outcomes(mapper: Mapper, path: Path) -> list[Outcome]:
    reads = mapper.reads
    found = rows(path, reads.get("format", ""), reads.get("delimiter", ""), reads.get("encoding", "utf-8"))
    return [mapper.outcome(number, row) for number, row in found]


def facts(mapper: Mapper, path: Path) -> list[Fact]:
    found = outcomes(mapper, path)
    assert all(outcome.reject is None for outcome in found), [outcome.reject for outcome in found]
    return [fact for outcome in found for fact in outcome.facts]


def one(mapper: Mapper, **row: Any) -> Outcome:
    return mapper.outcome(1, row)


# One log in every format.


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_the_same_facts(form: str, mapper: Callable[[str], Mapper], tmp_path: Path) -> None:
    plain = tmp_path / "plain.csv"
    plain.write_bytes(as_csv(","))
    expected = [fact.content() for fact in facts(mapper(MAPPING), plain)]
    name, content, reads = FORMATS[form]
    path = tmp_path / name
    path.write_bytes(content)
    assert [fact.content() for fact in facts(mapper(MAPPING + reads), path)] == expected


def test_the_facts_are_those_that_the_mapping_says(mapper: Callable[[str], Mapper], tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(as_csv(","))
    first, second, third = facts(mapper(MAPPING), path)
    assert [fact.type for fact in (first, second, third)] == ["page.seen_twice", "page.bought", "page.left"]
    assert [str(name) for name in first.identifiers] == ["account=A-1", "email=ann@x.com"]
    assert [str(name) for name in second.identifiers] == ["account=A-2"]  # the mail "0" is null
    assert first.properties == {"price": 12.5, "note": 'says "hi", and; goes', "new": True}
    assert (second.properties, third.properties) == ({"price": 5.0, "new": False}, {"note": "ü — ☎"})
    assert [fact.interaction.id if fact.interaction else "" for fact in (first, second, third)] == [
        "visit-7", "visit-8", ""
    ]  # fmt: skip
    assert [instant_text(fact.occurred_at) for fact in (first, second, third)] == [
        "2026-05-04T10:42:00Z", "2026-05-04T08:43:00Z", "2026-05-04T10:44:00.250Z"
    ]  # fmt: skip
    assert [fact.seq for fact in (first, second, third)] == [64, 128, 192]


def test_what_belongs_to_a_trace_is_read_as_its_events_columns(tmp_path: Path) -> None:
    path = tmp_path / "log.xes"
    path.write_bytes(as_xes())
    assert [row["trace.concept:name"] for _, row in rows(path) if isinstance(row, dict)] == ["t1", "t2", "t3"]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("log.csv", b"", "is empty"),
        ("log.csv", b"a,b,a\n1,2,3\n", "two columns 'a'"),
        ("log.csv", b"a,b\n1,\xff\n", "cannot be read as csv"),
        ("log.parquet", b"no parquet", "cannot be read as parquet"),
        ("log.xes", b"<log><trace>", "cannot be read as xes"),
        ("log.csv.gz", b"no gzip", "cannot be read as csv"),
        ("log.zip", b"no zip", "cannot be read as zip"),
        ("log.doc", b"", "no known ending"),
        ("log.csv", b'a,b\n1,"never closed\n' + b"x" * 200_000, "near line"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(name: str, content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(Unreadable, match=told):
        list(rows(path))


# Other facts than events.

CRM = """
source: crm
native_id: [id]
identifiers: {account: {column: id}}
facts:
  - {trait: value_tier, value: {column: tier, replace: {"1": high, "": low}}, at: {column: at}}
  - {trait: balance, value: {column: balance, as: double}, at: {column: at}}
  - {consent: marketing, value: {expression: 'row.mail == "y" ? "granted" : "denied"'}, at: {column: at}}
  - {subscription: offers, value: {column: offers, nulls: ["-"]}, channel: email, at: {column: at}}
"""


def test_a_row_of_a_crm_becomes_traits_a_consent_and_a_subscription(mapper: Callable[[str], Mapper]) -> None:
    made = mapper(CRM)
    row = {"id": "A-1", "tier": "1", "balance": "12.5", "mail": "y", "offers": "opted_in", "at": "2026-05-04T00:00:00Z"}
    found = one(made, **row).facts
    assert [(fact.kind, fact.type, fact.channel) for fact in found] == [
        ("trait", "value_tier", ""), ("trait", "balance", ""), ("consent", "marketing", ""),
        ("subscription", "offers", "email"),
    ]  # fmt: skip
    assert [fact.properties.get("value", fact.properties.get("state")) for fact in found] == [
        "high", 12.5, "granted", "opted_in"
    ]  # fmt: skip
    assert len({fact.id for fact in found}) == 4
    fewer = one(made, **row | {"balance": "", "offers": "-", "mail": "n"}).facts
    assert [(fact.type, fact.properties.get("state")) for fact in fewer] == [
        ("value_tier", None), ("marketing", "denied")
    ]  # fmt: skip
    wrong = one(made, **row | {"offers": "maybe"}).reject
    assert wrong is not None
    assert wrong.reason == "subscription.state: 'maybe' is not known. One of opted_in, opted_out"


def test_nulls_are_null_whatever_their_type(mapper: Callable[[str], Mapper]) -> None:
    made = mapper(
        'source: s\nnulls: ["0", "n/a"]\nnative_id: [t]\nidentifiers: {account: {column: who}}\n'
        "facts: [{event: e, at: {column: t}, properties: {a: {column: a}, b: {template: '{a}-{c}'}}}]\n"
    )
    for null in ("0", 0, 0.0, "n/a", None):
        found = one(made, t="2026-05-04T00:00:00Z", who="A", a=null, c="x").facts
        assert found[0].properties == {}
        nobody = one(made, t="2026-05-04T00:00:00Z", who=null, a="1", c="x").reject
        assert nobody is not None
        assert nobody.reason == "e: names nobody"
    assert one(made, t="2026-05-04T00:00:00Z", who="A", a=False, c="x").facts[0].properties == {
        "a": False,
        "b": "false-x",
    }


def test_a_row_is_the_same_row_however_its_numbers_are_written(mapper: Callable[[str], Mapper]) -> None:
    made = mapper(
        "source: s\nnative_id: [n]\nidentifiers: {account: {column: n}}\nfacts: [{event: e, at: {column: t}}]\n"
    )
    ids = {one(made, n=n, t="2026-05-04T00:00:00Z").facts[0].id for n in ("5", 5, 5.0)}
    assert len(ids) == 1
    assert datetime.fromtimestamp(int.from_bytes(next(iter(ids))[:6]) / 1000, UTC).year == 2026


# Bad mappings.

GOOD = """source: s
native_id: [id]
identifiers: {account: {column: who}}
facts:
  - event: e
    at: {column: t}
"""


@pytest.mark.parametrize(
    ("mapping", "told"),
    [
        (
            GOOD.replace("native_id:", "nativ_id:"),
            "m.yaml:2:1: error: nativ_id: unknown key 'nativ_id'. Did you mean 'native_id'?",
        ),
        (
            GOOD.replace("[id]", "[ident]"),
            "m.yaml:2:13: error: native_id.0: the file has no column 'ident'. ",
        ),
        (
            GOOD.replace("[id]", "[idd]"),
            "m.yaml:2:13: error: native_id.0: the file has no column 'idd'. Did you mean 'id'?",
        ),
        (
            GOOD.replace("column: t", 'template: "{day} {t}"'),
            "m.yaml:6:20: error: facts.0.at.template: the file has no column 'day'",
        ),
        (
            GOOD + "    when: row.id == 1\n",
            "m.yaml:7:11: error: facts.0.when: an expression without quotes. Expressions are quoted",
        ),
        (GOOD + "    when: 'row.id === 1'\n", "m.yaml:7:"),
        (
            GOOD + "    when: 'row.id'\n    trait: x\n",
            "m.yaml:5:5: error: facts.0: says 2 sorts of fact. Give one of event",
        ),
        (
            GOOD.replace("event: e", "trait: e"),
            "m.yaml:5:5: error: facts.0: trait without a value. Give one of event",
        ),
        (GOOD + "    value: x\n", "m.yaml:5:5: error: facts.0: event with a value. "),
        (
            GOOD.replace("column: t", "format: '%Y'"),
            "m.yaml:6:9: error: facts.0.at: says no time, or two. Give either",
        ),
        (GOOD + "zone: Europe/Berln\n", "m.yaml:7:7: error: zone: "),
        (
            GOOD + "reads: {delimiter: ', '}\n",
            "m.yaml:7:20: error: reads.delimiter: ', ' is no delimiter. One character",
        ),
        (
            GOOD + "reads: {encoding: utf-9}\n",
            "m.yaml:7:19: error: reads.encoding: 'utf-9' is no encoding. For example utf-8",
        ),
        (GOOD + "reads: {format: xls}\n", "m.yaml:7:17: error: reads.format: 'xls' is not known. "),
        (
            GOOD.partition("facts")[0] + "facts: []\n",
            "m.yaml:4:8: error: facts: is empty. Name at least one",
        ),
        (
            GOOD + "source: again\n",
            "m.yaml:7:1: error: source: 'source' stands twice. Keep one of them",
        ),
        ("a: [", "m.yaml:"),
        ("", "m.yaml:1:1: error: "),
    ],
)  # fmt: skip
def test_a_bad_mapping_is_told_with_place_cause_and_cure(mapping: str, told: str, tmp_path: Path) -> None:
    path, file = tmp_path / "m.yaml", tmp_path / "log.csv"
    path.write_text(mapping, encoding="utf-8")
    file.write_text("id,who,t\n1,A,2026-05-04T00:00:00Z\n", encoding="utf-8")
    done = CliRunner().invoke(main, ["import", str(file), "--mapping", str(path), "--dry-run"])
    assert done.exit_code == 2, done.output
    assert "Traceback" not in done.stderr
    joined = done.stderr.replace("\n", "")
    assert f"{tmp_path}/{told}".replace("\n", "") in joined, done.stderr


def test_a_flaw_within_an_expression_has_the_place_of_the_flaw(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(GOOD + "    when: 'row.id == 1 && nope'\n", encoding="utf-8")
    with pytest.raises(MappingInvalid) as caught:
        load_mapping(path)
    (problem,) = caught.value.problems
    assert (problem.line, problem.column, problem.field) == (7, 12 + len("row.id == 1 && "), "facts.0.when")
    assert problem.cure
