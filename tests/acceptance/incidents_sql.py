"""The incident log in SQL: what the raw file says of incidents, reopenings and callers. Nothing of Segue in it.

Owns the meaning of the file's columns, once more, beside the mapping.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb

from .journeys_sql import SqlMap, figures, walk

CHANNELS = {"direct_opening": True, "email": True, "ivr": False, "phone": True, "self_service": False}
INCIDENT = SqlMap(
    name="incident",
    starts="state = 'New'",
    goal="state = 'Closed'",
    stages={
        "active": "state = 'Active'",
        "awaiting": "state like 'Awaiting %'",
        "resolved": "state = 'Resolved'",
        "reopened": "reopened > 0",
    },
)
REOPENING = SqlMap(name="reopening", starts="reopened > 0", stages={})

_FACTS = """
create table raw as
select row_number() over () as number_of_row, * from read_csv($file, delim=',', header=true, all_varchar=true);

create table facts as
select caller_id as customer, number as key, incident_state as state, contact_type as channel,
       case incident_state when '-100' then 'incident.unknown'
            else 'incident.' || replace(lower(incident_state), ' ', '_') end as type,
       epoch_us(strptime(sys_updated_at, '%d/%m/%Y %H:%M')) as instant, number_of_row * 64 as seq,
       reopen_count::integer as reopened,
       (case contact_type when 'Direct opening' then 1 when 'Email' then 2 when 'IVR' then 4 when 'Phone' then 8
                          when 'Self service' then 16 end)::integer as channel_bit
from raw where caller_id <> '?';
"""

# A caller fights on several fronts at a fact while an incident of another number runs: as journeys were before it.
_SEVERAL = """
create table several as
select f.customer, f.key, f.channel_bit, f.instant, f.seq
from facts f
where exists (
  select 1 from incident_journeys j
  where j.customer = f.customer and j.key <> f.key and (j.began_at, j.began_seq) < (f.instant, f.seq)
    and (j.ended_at is null or (j.ended_at, j.ended_seq) > (f.instant, f.seq))
);
"""


def read(file: Path) -> duckdb.DuckDBPyConnection:
    """The file, unpacked, as tables, and the journeys of the maps."""
    db = duckdb.connect()
    for statement in _FACTS.split(";\n"):
        if statement.strip():
            db.execute(statement, {"file": str(file)} if "$file" in statement else None)
    walk(db, INCIDENT)
    walk(db, REOPENING)
    db.execute(_SEVERAL)
    return db


def report(db: duckdb.DuckDBPyConnection) -> dict[str, dict[str, Any]]:
    """By map with a key, what a report has to say."""
    return {map_.name: figures(db, map_, CHANNELS) for map_ in (INCIDENT, REOPENING)}
