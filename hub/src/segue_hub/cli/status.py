"""`status`: how the hub and its instances are."""

from __future__ import annotations

import json

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
    console.print(f"store: {store['facts']} facts, {store['customers']} customers, {store['identifiers']} identifiers,"
                  f" {store['bytes'] / 1e6:.1f} MB; incarnation {plain['incarnation']}")  # fmt: skip
    console.print(f"since start: {json.dumps(plain['facts_since_start'])}", markup=False)
    rows = [
        [i["touchpoint"], i["instance"], f"{i['connected_s']:.0f} s",
         i["plan"] + ("" if i["plan_current"] else " (old)"), i["subscriptions"], i["behind"],
         i.get("waiting"), sum(i.get("losses", {}).values()), i["plan_refused"]]
        for i in plain["instances"]
    ]  # fmt: skip
    columns = ["touchpoint", "instance", "connected", "plan", "held", "behind", "outbox", "lost", "plan refused"]
    console.print()
    print_table("instances", columns, rows)
    if plain["unknown_events"]:
        console.print()
        rows = [[e["type"], e["count"], e["nearest"]] for e in plain["unknown_events"]]
        print_table("event types that the vocabulary does not know", ["type", "count", "did they mean"], rows)
