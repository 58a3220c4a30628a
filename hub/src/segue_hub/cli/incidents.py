"""`incident`: what is broken, for everybody."""

from __future__ import annotations

import time
import uuid
from typing import Any

import click
from segue.domain.fact import derived_id
from segue.domain.incident import FIXED, OPENED, incident_fact
from segue.domain.instant import instant_text, parse_instant
from segue.v1 import admin_service_pb2, event_service_pb2
from segue.wire import fact_to_wire

from .client import TIMEOUT, Client, hub_options
from .output import answering, console, errors, fail, json_option, print_json, print_table

_AT = click.option("--at", "moment", default="", help="RFC 3339, also one to come; now where not given.")
_ID = click.option("--id", "native", default="", help="Own id, so that telling it twice is one fact.")
_AS = click.option("--as", "touchpoint", default="", help="Tells in the name of a touchpoint.")


@click.group()
def incident() -> None:
    """Tell everybody that something is broken, and that it is fixed.

    Maps, audiences and guardrails read it, in the hub and in every SDK: incident("IOS-481").open
    """


@incident.command("open")
@click.argument("incident_id", metavar="ID")
@click.option("--title", default="", help="What is broken, for people.")
@click.option("--workaround", default="", help="What to do meanwhile, for people.")
@_AT
@_ID
@_AS
@json_option
@hub_options()
def open_(
    client: Client, incident_id: str, title: str, workaround: str, moment: str, native: str, touchpoint: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Opens an incident, or tells more of an open one.

    \b
    segue-hub incident open IOS-481 --title "Uploads fail in 4.2" --workaround "Use the website"
    segue-hub incident open NIGHT-7 --title "Maintenance" --at 2026-03-01T02:00:00Z
    """
    _tell(client, incident_id, OPENED, moment, native, touchpoint, as_json, title=title, workaround=workaround)


@incident.command()
@click.argument("incident_id", metavar="ID")
@_AT
@_ID
@_AS
@json_option
@hub_options()
def fix(client: Client, incident_id: str, moment: str, native: str, touchpoint: str, as_json: bool) -> None:
    """Says that an incident is fixed, or will be at a moment."""
    _tell(client, incident_id, FIXED, moment, native, touchpoint, as_json)


def _tell(
    client: Client, incident_id: str, state: str, moment: str, native: str, touchpoint: str, as_json: bool,
    title: str = "", workaround: str = "",
) -> None:  # fmt: skip
    now = time.time_ns() // 1000
    try:
        at = parse_instant(moment) if moment else now
    except ValueError as error:
        fail(f"--at: {error}", 2)
        return
    # Without a time of its own, the first arrival of an id counts, as for events.
    foreign = bool(native) and not moment
    own = f"{incident_id}\0{state}\0{native}" if native else uuid.uuid4().hex
    id_ = derived_id(0 if foreign else at, "incident", own)
    # Of two that are told for one instant, the one told last holds.
    fact = incident_fact(id_, incident_id, state, at, 0 if native else now, title=title, workaround=workaround)
    with answering(client.address):
        request = event_service_pb2.PublishEventsRequest(facts=[fact_to_wire(fact)], sent_at=0 if moment else now)
        metadata = [("segue-touchpoint", touchpoint)] if touchpoint else []
        (result,) = client.events.PublishEvents(request, timeout=TIMEOUT, metadata=metadata).results
    status = event_service_pb2.FactStatus.Name(result.status).removeprefix("FACT_STATUS_")
    if as_json:
        plain = {"incident": incident_id, "state": state, "id": fact.id.hex(), "status": status}
        print_json(plain | {"code": result.code, "reason": result.reason})
    elif status != "REJECTED":
        console.print(f"{status.lower()}: {incident_id} {state} at {instant_text(at)}", markup=False)
    if status == "REJECTED":
        fail(f"{result.reason} [{result.code}]")
    if result.reason:
        errors.print(f"note: {result.reason} [{result.code}]", markup=False)


@incident.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that are fixed.")
@json_option
@hub_options()
def list_(client: Client, everything: bool, as_json: bool) -> None:
    """The incidents that are open or announced; all with --all."""
    with answering(client.address):
        request = admin_service_pb2.ListIncidentsRequest()
        told = client.admin.ListIncidents(request, timeout=TIMEOUT).incidents
    found = [_plain(one) for one in told if everything or one.open or one.turns_at]
    if as_json:
        print_json(found)
        return
    columns = ["incident", "state", "opened", "fixed", "turns", "title", "workaround"]
    names = ["incident", "state", "opened_at", "fixed_at", "turns_at", "title", "workaround"]
    print_table("", columns, [[one[name] for name in names] for one in found])


def _plain(one: Any) -> dict[str, Any]:
    state = "open" if one.open else "fixed" if one.opened_at or one.fixed_at else "announced"
    moments = {n: instant_text(at) if (at := getattr(one, n)) else None for n in ("opened_at", "fixed_at", "turns_at")}
    return {"incident": one.incident, "state": state, "title": one.title, "workaround": one.workaround, **moments}
