"""`status`: how the hub and its instances are."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import click
from segue.v1 import admin_service_pb2 as pb

from .client import TIMEOUT, Client, hub_options
from .output import answering, console, json_option, print_json, print_table


@click.command()
@json_option
@hub_options()
def status(client: Client, as_json: bool) -> None:
    """Store, plan, instances with the plan each runs, how far behind they are, what they lost, unknown names."""
    with answering(client.address):
        plain = json.loads(client.admin.GetStatus(pb.GetStatusRequest(), timeout=TIMEOUT).document)
    if as_json:
        print_json(plain)
        return
    store = plain["store"]
    serving = "serving" if plain["serving"] else "NOT SERVING"
    console.print(f"{serving} for {plain['up_s']:.0f} s, position {plain['position']}"
                  f" (folded {plain['folded']}), plan {plain['plan']['digest']}")  # fmt: skip
    held = "is being counted" if not store else (
        f"{store['facts']} facts, {store['customers']} customers, {store['identifiers']} identifiers,"
        f" {store['bytes'] / 1e6:.1f} MB"
    )  # fmt: skip
    console.print(f"store: {held}; incarnation {plain['incarnation']}")
    console.print(f"since start: {json.dumps(plain['facts_since_start'])}", markup=False)
    if plain["incidents_open"]:
        console.print(f"incidents open: {', '.join(plain['incidents_open'])}", markup=False)
    sweep = plain["sweep"]
    if sweep["state"] != "idle":
        what = {"links": "links of the log", "identity": "who is one"}.get(sweep["state"], "contexts")
        console.print(f"plan {sweep['plan']} on history: {what}, {sweep['done']} of {sweep['of']}", markup=False)
    if plain["links_refused"]:
        refused = ", ".join(f"{verdict} {count}" for verdict, count in sorted(plain["links_refused"].items()))
        console.print(f"links refused: {refused}", markup=False)
    blocked = plain["blocked_since_start"]
    if blocked["identifiers"]:
        names = ", ".join(
            f"{b['kind']}={b['value']!r} by {b['touchpoint']} {b['count']}" for b in blocked["identifiers"][:10]
        )
        console.print(f"stood for nobody since start: {names}; {blocked['links']} links refused so", markup=False)
    rows = [
        [i["touchpoint"], i["instance"], f"{i['connected_s']:.0f} s",
         i["plan"] + ("" if i["plan_current"] else " (old)"), i["subscriptions"], i["behind"],
         i.get("waiting"), sum(i.get("losses", {}).values()), i["plan_refused"]]
        for i in plain["instances"]
    ]  # fmt: skip
    columns = ["touchpoint", "instance", "connected", "plan", "held", "behind", "outbox", "lost", "plan refused"]
    console.print()
    print_table("instances", columns, rows)
    _print_sequences(plain["sequences"])
    if plain["refused_since_start"]:
        console.print()
        rows = [[r["touchpoint"], r["code"], r["field"], r["count"]] for r in plain["refused_since_start"]]
        print_table("facts refused since start", ["touchpoint", "code", "field", "count"], rows)
    if plain["unknown_events"]:
        console.print()
        rows = [[e["type"], e["count"], e["nearest"]] for e in plain["unknown_events"]]
        print_table("event types that the vocabulary does not know", ["type", "count", "did they mean"], rows)
    if plain["unknown_traits"]:
        console.print()
        rows = [[t["name"], t["count"], t["nearest"]] for t in plain["unknown_traits"]]
        print_table("traits that the vocabulary does not know", ["name", "count", "did they mean"], rows)


def _print_sequences(sequences: dict[str, Any]) -> None:
    """Whether all that was offered arrived, producer by producer where not."""
    sums = sequences["touchpoints"].values()
    if not sums:
        return
    lost: Counter[str] = Counter()
    for one in sums:
        lost.update(one["lost"])
    reasons = ", ".join(f"{reason} {count}" for reason, count in lost.most_common())
    missing, doubtful, untracked = (sum(one[name] for one in sums) for name in ("missing", "doubtful", "untracked"))
    parts = [f"{sum(one['producers'] for one in sums)} producers", f"{missing} missing",
             f"{lost.total()} lost" + (f" ({reasons})" if reasons else ""),
             *([f"at most {doubtful} more in doubt"] if doubtful else []),
             *([f"{untracked} in gaps not tracked any more"] if untracked else [])]  # fmt: skip
    forgotten = sum(one["forgotten"].get("producers", 0) for one in sums)
    if forgotten:
        gone = sum(one["forgotten"][name] for one in sums for name in ("missing", "lost") if one["forgotten"])
        parts.append(f"{forgotten} producers forgotten, with {gone} missing or lost")
    console.print()
    console.print("ordinals: " + ", ".join(parts), markup=False)
    rows = [
        [p["touchpoint"], p["producer"], p["arrived"], p["missing"], sum(p["lost"].values()), p["doubtful"],
         ", ".join(f"{first}" if first == last else f"{first} to {last}" for first, last in p["gaps"][:5]),
         "ended" if p["ended"] else "", p["heard_at"]]
        for p in sequences["producers"]
    ]  # fmt: skip
    if rows:
        columns = ["touchpoint", "producer", "arrived", "missing", "lost", "in doubt", "gaps", "", "last heard"]
        print_table("producers with facts missing, lost or in doubt", columns, rows)
