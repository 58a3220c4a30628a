"""The bank's calls in SQL: what the raw file says of facts, journeys, repeats and routes. Nothing of Segue in it.

Owns the meaning of the file's columns, once more, beside the mapping.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb

from .journeys_sql import SqlMap, figures, walk

DAY = 86_400_000_000
CHANNELS = {"ivr": False, "voice": True}
_SERVED = "type = 'agent.ended' and outcome = 'AGENT'"
CALL = SqlMap(
    name="call",
    starts="type = 'call.started'",
    goal=_SERVED,
    fails="type = 'call.abandoned'",
    stages={"heard": "type = 'ivr.exited'", "queued": "type = 'queue.joined'", "connected": "type = 'agent.connected'"},
    abandons=DAY,
)
REPEAT_CALL = SqlMap(
    name="repeat_call",
    starts=f"type = 'call.started' and instant - call_before < {DAY}",
    goal=_SERVED,
    stages={},
    settles=1000,
    abandons=DAY,
)

_CALLS = """
create table raw as
select row_number() over () as number, * from read_csv($file, delim='\t', header=true, all_varchar=true, quote='');

-- Only differences of times matter, and Israel kept one clock in February 1999: the zone may be left out.
create macro moment(day, clock) as epoch_us(strptime(day || ' ' || clock, '%y%m%d %H:%M:%S'));
create macro after(day, clock, entry) as
  moment(day, clock) + case when moment(day, clock) < moment(day, entry) - 43200000000 then 86400000000 else 0 end;

create table calls as
select number, "vru+line" || '/' || call_id || '/' || date as call,
       case when customer_id = '0' then "vru+line" || '/' || call_id || '/' || date else 'customer ' || customer_id end
         as customer,
       outcome, moment(date, vru_entry) as entered, after(date, vru_exit, vru_entry) as left_menu,
       q_start <> '0:00:00' or q_exit <> '0:00:00' as queued, q_exit <> '0:00:00' as queue_left,
       after(date, q_start, vru_entry) as joined, after(date, q_exit, vru_entry) as left_queue,
       ser_start <> '0:00:00' as served, after(date, ser_start, vru_entry) as answered,
       after(date, ser_exit, vru_entry) as ended
from raw where outcome <> 'PHANTOM';

create table unfolded as
select customer, call as key, number, outcome, unnest([
  {'type': 'call.started', 'instant': entered, 'nth': 0, 'channel': 'ivr', 'there': true},
  {'type': 'ivr.exited', 'instant': left_menu, 'nth': 1, 'channel': 'ivr', 'there': true},
  {'type': 'queue.joined', 'instant': joined, 'nth': 2, 'channel': 'voice', 'there': queued},
  {'type': 'queue.left', 'instant': left_queue, 'nth': 3, 'channel': 'voice', 'there': queued},
  {'type': 'agent.connected', 'instant': answered, 'nth': 4, 'channel': 'voice', 'there': served},
  {'type': 'agent.ended', 'instant': ended, 'nth': 5, 'channel': 'voice', 'there': served},
  {'type': 'call.abandoned', 'instant': ended, 'nth': 6, 'channel': 'ivr',
   'there': outcome = 'HANG' and served},
  {'type': 'call.abandoned', 'instant': left_queue, 'nth': 7, 'channel': 'ivr',
   'there': outcome = 'HANG' and not served and queue_left},
  {'type': 'call.abandoned', 'instant': left_menu, 'nth': 8, 'channel': 'ivr',
   'there': outcome = 'HANG' and not served and not queue_left}
], recursive := true) from calls;

create table facts as
select customer, key, type, instant, number * 64 + nth as seq, outcome, channel,
       if(channel = 'ivr', 1, 2) as channel_bit,
       -- The newest call that began before this fact, and the newest that was abandoned before it.
       max(instant) filter (type = 'call.started') over earlier as call_before,
       max(instant) filter (type = 'call.abandoned') over earlier as abandoned_before
from unfolded where there
window earlier as (partition by customer order by instant, number * 64 + nth
                   rows between unbounded preceding and 1 preceding);
"""


def read(file: Path) -> duckdb.DuckDBPyConnection:
    """The file as tables, and the journeys of both maps."""
    db = duckdb.connect()
    for statement in _CALLS.split(";\n"):
        if statement.strip():
            db.execute(statement, {"file": str(file)} if "$file" in statement else None)
    walk(db, CALL)
    walk(db, REPEAT_CALL)
    return db


def report(db: duckdb.DuckDBPyConnection) -> dict[str, dict[str, Any]]:
    """By map, what a report has to say."""
    return {map_.name: figures(db, map_, CHANNELS) for map_ in (CALL, REPEAT_CALL)}


# What `examples/imports/bank/route.py` answers, at every call. A repeat call runs to its goal, at most a day.
ROUTES = f"""
select f.key, case
  when f.instant - f.abandoned_before < {DAY} then 'callback'
  when exists (
    select 1 from repeat_call_journeys j
    where j.customer = f.customer and (j.began_at, j.began_seq) <= (f.instant, f.seq)
      and (case when j.outcome = 'completed' then (j.ended_at, j.ended_seq) > (f.instant, f.seq)
                else f.instant < j.began_at + {DAY} end)
  ) then 'agent'
  else 'menu' end as route
from facts f where f.type = 'call.started'
"""
