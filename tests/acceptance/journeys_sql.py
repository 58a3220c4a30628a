"""Journeys recognised in SQL, as an oracle: rules TI1, TI3 and TI4 once more, over a plain table, fact by fact.

Owns the walk. Takes a table of facts and leaves a table of journeys; nothing of Segue is used here, and no bound of
its memory (ended journeys kept, interactions remembered) is repeated, so that a figure that such a bound bends shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import duckdb


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlMap:
    """A map with a key, said in SQL over the columns of `facts`. Durations in microseconds, 0 for never.

    Attributes:
        stages: by name, in the plan's order.
        belongs: which facts of the key are seen at all: those the map knows the type of.
    """

    name: str
    starts: str
    goal: str = "false"
    fails: str = "false"
    stages: dict[str, str]
    belongs: str = "true"
    settles: int = 300_000_000
    abandons: int = 0


_WALK = """
create or replace table {name}_facts as
select customer, key, instant, seq, channel_bit, {starts} as starts, {goal} as goal, {fails} as fails,
       {stages} as stages,
       row_number() over (partition by customer, key order by instant, seq) as n
from facts where {belongs};

create or replace table {name}_walk as
with recursive walk as (
  select customer, key, 0::bigint as n, 0::bigint as instant, 0::bigint as seq,
         false as running, false as start_seen, 0::bigint as began_at, 0::bigint as began_seq, 0::bigint as progress_at,
         0::integer as stages, 0::integer as channels, null::bigint as completed_at, null::bigint as goal_at,
         false as gave_up, ''::varchar as outcome, false as orphan, 0::bigint as journey
  from (select distinct customer, key from {name}_facts)
  union all
  select customer, key, n, instant, seq,
         runs and not ends, start_seen, began_at, began_seq, progress_at, reached, channels_now,
         case when runs and goal then instant else completed_at end,
         case when (runs and goal) or alone then instant else goal_at end,
         gave_up, case when not runs then '' when goal then 'completed' when fails then 'failed' else '' end, alone,
         journey + fresh::integer
  from (
    select *, ran or fresh as runs, goal or fails as ends,
           case when fresh then starts else start_seen_before or starts end as start_seen,
           case when fresh then instant else began_before end as began_at,
           case when fresh then seq else began_seq_before end as began_seq,
           case when fresh or (ran and (stages & ~stages_before) <> 0) or (ran and starts and not start_seen_before)
                then instant else progress_before end as progress_at,
           case when fresh then stages else stages_before | stages end as reached,
           case when fresh then channel_bit else channels_before | channel_bit end as channels_now,
           not ran and not opens and goal and not echo as alone
    from (
      select *, not ran and opens and not echo as fresh
      from (
        select f.*, f.starts or f.stages <> 0 as opens,
               w.running and not ({abandons} > 0 and f.instant >= w.progress_at + {abandons}) as ran,
               w.running and {abandons} > 0 and f.instant >= w.progress_at + {abandons} as gave_up,
               coalesce(f.instant < {settles} + case when f.starts or f.stages <> 0 then w.goal_at
                                                     else w.completed_at end, false) as echo,
               w.start_seen as start_seen_before, w.began_at as began_before, w.began_seq as began_seq_before,
               w.progress_at as progress_before, w.stages as stages_before, w.channels as channels_before,
               w.completed_at, w.goal_at, w.journey
        from walk w join {name}_facts f on f.customer = w.customer and f.key = w.key and f.n = w.n + 1
      )
    )
  )
)
select * from walk where n > 0;

create or replace table {name}_journeys as
select customer, key, journey, min(began_at) as began_at, min(began_seq) as began_seq,
       max(instant) filter (outcome <> '') as ended_at, arg_max(seq, n) filter (outcome <> '') as ended_seq,
       coalesce(max(outcome) filter (outcome <> ''), case when {abandons} > 0 then 'abandoned' else 'running' end)
         as outcome,
       max(stages) as stages, max(channels) as channels
from (
  -- A step belongs to a journey while that runs, and the step that ends it as well.
  select *, row_number() over (partition by customer, key, journey order by n) as step,
         count(*) filter (outcome <> '') over (partition by customer, key, journey order by n
                                               rows between unbounded preceding and 1 preceding) as ended_before
  from {name}_walk where journey > 0
) where ended_before = 0
group by customer, key, journey;
"""


def walk(db: duckdb.DuckDBPyConnection, map_: SqlMap) -> None:
    """Makes `<map>_journeys` and `<map>_walk` of the table `facts`.

    `facts` has: customer, key, instant (microseconds), seq, channel_bit, and whatever the map's conditions name.
    """
    bits = [f"(case when {condition} then {1 << n} else 0 end)" for n, condition in enumerate(map_.stages.values())]
    db.execute(
        _WALK.format(
            name=map_.name,
            starts=map_.starts,
            goal=map_.goal,
            fails=map_.fails,
            belongs=map_.belongs,
            settles=map_.settles,
            abandons=map_.abandons,
            stages=f"({' + '.join(bits)})::integer" if bits else "0",
        )
    )


def figures(db: duckdb.DuckDBPyConnection, map_: SqlMap, channels: dict[str, bool]) -> dict[str, Any]:
    """What a report says of the map.

    Args:
        channels: by name, in the order of their bits, whether a person serves there.
    """
    name = map_.name

    def one(query: str) -> Any:
        found = db.execute(query).fetchone()
        assert found is not None
        return found[0]

    outcomes = dict(db.execute(f"select outcome, count(*) from {name}_journeys group by 1").fetchall())
    started, completed = sum(outcomes.values()), outcomes.get("completed", 0)
    goal_time = one(f"select sum(ended_at - began_at)::hugeint from {name}_journeys where outcome = 'completed'")
    assisted = sum(1 << n for n, serves in enumerate(channels.values()) if serves)
    taken = {
        channel: one(f"select count(*) from {name}_journeys where channels & {1 << n} <> 0")
        for n, channel in enumerate(channels)
    }
    return {
        "customers": one(
            f"select count(distinct customer) from (select customer from {name}_journeys"
            f" union all select customer from {name}_walk where orphan)"
        ),
        "started": started,
        "running": outcomes.get("running", 0),
        "stalled": 0,
        "completed": completed,
        "failed": outcomes.get("failed", 0),
        "abandoned": outcomes.get("abandoned", 0),
        "dropped": 0,
        "orphan_goals": one(f"select count(*) from {name}_walk where orphan"),
        "goal_time": int(goal_time or 0),
        "mean_time_to_goal_s": round(int(goal_time) / completed / 1_000_000, 6) if completed else None,
        "funnel": {
            stage: one(f"select count(*) from {name}_journeys where stages & {1 << n} <> 0")
            for n, stage in enumerate(map_.stages)
        },
        "interactions": dict(sorted((channel, count) for channel, count in taken.items() if count)),
        "assisted_share": round(
            one(f"select count(*) from {name}_journeys where channels & {assisted} <> 0") / started, 4
        ),
    }
