"""`journeys`: what became of them, against their targets."""

from __future__ import annotations

import json
from typing import Any

import click
from segue.v1 import admin_service_pb2 as pb

from .client import Client, hub_options
from .output import answering, console, json_option, print_heading, print_json, print_table


@click.group()
def journeys() -> None:
    """Reports by journey map."""


@journeys.command()
@click.argument("map", default="")
@json_option
@hub_options()
def report(client: Client, map: str, as_json: bool) -> None:
    """Per MAP (or all): started, running, stalled, completed, failed, abandoned, time to goal, funnel, targets."""
    with answering(client.address):
        document = client.admin.ReportJourneys(pb.ReportJourneysRequest(map=map), timeout=600.0).document
    plain = json.loads(document)
    if as_json:
        print_json(plain)
        return
    columns = ["map", "customers", "started", "running", "stalled", "completed", "failed", "abandoned", "dropped",
               "time to goal", "assisted"]  # fmt: skip
    rows = [
        [name, *(r[c] for c in columns[1:9]), _time(r["mean_time_to_goal_s"]), _percent(r["assisted_share"])]
        for name, r in plain["maps"].items()
    ]
    print_table(f"journeys at {plain['at']}, plan {plain['plan']}", columns, rows)
    for name, found in plain["maps"].items():
        _details(name, found)


def _details(name: str, found: dict[str, Any]) -> None:
    if not found["started"]:
        return
    console.print()
    print_heading(name, f"  {found['title']} ({found['status']}, {found['owner'] or 'nobody owns it'})")
    for stage, count in found["funnel"].items():
        share = count / found["started"]
        console.print(f"  {stage:<16} {'█' * round(share * 30):<30} {count:>7}  {share:.0%}", markup=False)
    for target, values in found["targets"].items():
        met = {True: "met", False: "MISSED", None: "unknown"}[values["met"]]
        console.print(f"  target {target}: {values['target']}, actual {values['actual']}: {met}", markup=False)


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share:.0%}"
