"""A month of a bank's calls whose facts arrive in any order: every figure is that of SQL over the file as it is.

Not only rows but single facts are shuffled, so that a call's end comes before its beginning, and links between line and
customer after what they explain. An eighth of them come twice, in batches of any size. A quarter of the month, or all
of it where `SEGUE_LONG` is set.
"""

from __future__ import annotations

import gzip
import os
import random
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import duckdb
import pytest
from segue.domain.fact import Fact
from segue.v1 import event_service_pb2 as pb
from segue.wire import fact_to_wire
from segue_hub.importing.mapping import Mapper
from segue_hub.importing.mapping_check import load_mapping
from segue_hub.importing.reader import rows

from tests.calling import calling

from . import bank_sql
from .real_log import IMPORTS, LogHub, assert_same_figures, real

pytestmark = [pytest.mark.data, pytest.mark.timeout(300)]


ROWS = 0 if os.environ.get("SEGUE_LONG") else 8_000


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    whole = real("anonymous_bank_ivr_1999_02/data_anonymous_bank_february.txt.gz")
    if not ROWS:
        return whole
    part = tmp_path_factory.mktemp("bank") / "part.txt.gz"
    with gzip.open(whole, "rb") as lines, gzip.open(part, "wb", compresslevel=1) as out:
        out.writelines(islice(lines, ROWS + 1))
    return part


@pytest.fixture(scope="module")
def db(file: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with bank_sql.read(file) as found:
        yield found


def unfolded(file: Path) -> list[Fact]:
    """All facts of the file, by the mapping."""
    mapper = Mapper(load_mapping(IMPORTS / "bank" / "mapping.yaml"))
    return [
        fact
        for number, row in rows(file, mapper.reads.get("format", ""), mapper.reads.get("delimiter", ""))
        for fact in mapper.outcome(number, row).facts
    ]  # fmt: skip


def delivered(hub: LogHub, facts: list[Fact], chance: random.Random) -> Counter[int]:
    """Publishes in batches of any size, a few at once; how often each answer came."""
    answers: Counter[int] = Counter()
    with calling(hub.address, hub.key) as caller:
        calls, rest = [], facts
        while rest or calls:
            if rest and len(calls) < 4:
                size = chance.choice((1, 40, 500, 900))
                request = pb.PublishEventsRequest(facts=[fact_to_wire(fact) for fact in rest[:size]])
                calls.append(caller.events.PublishEvents.future(request, metadata=caller.metadata, timeout=60))
                rest = rest[size:]
            else:
                answers.update(result.status for result in calls.pop(0).result().results)
    return answers


def test_facts_of_a_month_in_any_order_make_the_journeys_that_sql_finds(
    file: Path, db: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    seed = int(os.environ.get("SEGUE_SEED") or 1999)
    print(f"SEGUE_SEED={seed}")
    chance = random.Random(seed)
    facts = unfolded(file)
    count = len(facts)
    facts += chance.sample(facts, count // 8)
    chance.shuffle(facts)
    hub = LogHub(tmp_path, "bank")
    try:
        answers = delivered(hub, facts, chance)
        assert answers == {pb.FACT_STATUS_ACCEPTED: count, pb.FACT_STATUS_DUPLICATE: count // 8}
        found = db.execute("select count(*) from facts").fetchone()
        assert found == (count,)
        assert hub.fact_types() == dict(db.execute("select type, count(*) from facts group by 1").fetchall())
        assert_same_figures(hub.report(), bank_sql.report(db))
        customers = db.execute("select count(distinct customer) from calls").fetchone()
        assert (hub.report()["call"]["customers"],) == customers
    finally:
        hub.stop()
