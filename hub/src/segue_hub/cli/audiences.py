"""`audience`: who is in them."""

from __future__ import annotations

import csv
import json
import sys
from typing import IO

import click
from segue.domain.instant import instant_text
from segue.v1 import admin_service_pb2 as pb
from segue.v1 import ledger_service_pb2

from .client import TIMEOUT, Client, hub_options
from .output import answering, errors, json_option, print_json, print_table

_SCAN = 600.0


@click.group()
def audience() -> None:
    """Count, list and export audiences."""


@audience.command("list")
@json_option
@hub_options()
def list_(client: Client, as_json: bool) -> None:
    """All audiences with their members now."""
    with answering(client.address):
        found = client.admin.ListAudiences(pb.ListAudiencesRequest(), timeout=_SCAN).audiences
    if as_json:
        print_json([
            {"name": a.name, "title": a.title, "owner": a.owner, "members": a.members, "when": a.expression}
            for a in found
        ])  # fmt: skip
        return
    print_table("", ["audience", "members", "owner", "title"], [[a.name, a.members, a.owner, a.title] for a in found])


@audience.command()
@json_option
@hub_options()
def cursors(client: Client, as_json: bool) -> None:
    """Who watches audiences by a cursor: how far it heard, and what waits."""
    with answering(client.address):
        found = client.ledger.ListCursors(ledger_service_pb2.ListCursorsRequest(), timeout=TIMEOUT).cursors
    if as_json:
        print_json([
            {
                "touchpoint": c.touchpoint, "cursor": c.name, "audience": c.audience, "told": c.told,
                "waiting": c.waiting, "heard_at": instant_text(c.heard_at), "instances": list(c.instances),
            }
            for c in found
        ])  # fmt: skip
        return
    rows = [
        [c.touchpoint, c.name, c.audience, c.waiting, instant_text(c.heard_at), ", ".join(c.instances) or "nobody"]
        for c in found
    ]
    print_table("", ["touchpoint", "cursor", "audience", "waiting", "heard last", "connected"], rows)


@audience.command()
@click.argument("touchpoint_name", metavar="TOUCHPOINT")
@click.argument("cursor")
@click.argument("name", metavar="AUDIENCE")
@hub_options()
def forget(client: Client, touchpoint_name: str, cursor: str, name: str) -> None:
    """Ends a cursor that nobody needs any more: nothing is kept for it, and its name begins anew."""
    request = ledger_service_pb2.ForgetCursorRequest(touchpoint=touchpoint_name, name=cursor, audience=name)
    with answering(client.address):
        client.ledger.ForgetCursor(request, timeout=TIMEOUT)
    click.echo(f"forgot the cursor {cursor} of {touchpoint_name} on {name}")


@audience.command()
@click.argument("name")
@json_option
@hub_options()
def members(client: Client, name: str, as_json: bool) -> None:
    """The members of an audience now, one a line."""
    with answering(client.address):
        for member in client.admin.ListMembers(pb.ListMembersRequest(audience=name), timeout=_SCAN):
            names = [f"{i.kind}={i.value}" for i in member.identifiers]
            click.echo(json.dumps({"customer": names[0], "identifiers": names}) if as_json else "  ".join(names))


@audience.command()
@click.argument("name")
@click.option("-o", "--output", type=click.File("w"), default="-", help="Where; standard output where not given.")
@click.option("--format", "form", type=click.Choice(["csv", "jsonl"]), default="csv", show_default=True)
@hub_options()
def export(client: Client, name: str, output: IO[str], form: str) -> None:
    """Writes the members of an audience: the customer, then one identifier of each kind."""
    count = 0
    with answering(client.address):
        found = list(client.admin.ListMembers(pb.ListMembersRequest(audience=name), timeout=_SCAN))
        kinds = sorted({i.kind for member in found for i in member.identifiers})
        writer = csv.writer(output) if form == "csv" else None
        if writer is not None:
            writer.writerow(["customer", *kinds])
        for member in found:
            values: dict[str, str] = {}
            for identifier in member.identifiers:
                values.setdefault(identifier.kind, identifier.value)
            customer = f"{member.customer.kind}={member.customer.value}"
            if writer is not None:
                writer.writerow([customer, *(values.get(kind, "") for kind in kinds)])
            else:
                output.write(json.dumps({"customer": customer, **values}) + "\n")
            count += 1
    if output is not sys.stdout:
        errors.print(f"{count} members of {name}")
