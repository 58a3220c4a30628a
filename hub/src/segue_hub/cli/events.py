"""`events`: send one, follow all."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import click
from segue.domain.fact import EVENT, KINDS, Fact, derived_id, properties_bytes
from segue.domain.identifier import Identifier
from segue.domain.instant import instant_text, parse_instant
from segue.domain.interaction import InteractionRef
from segue.v1 import admin_service_pb2, event_service_pb2
from segue.wire import fact_from_wire, fact_to_wire, identifier_to_wire

from ..services.portrait import fact_plain
from .client import TIMEOUT, Client, hub_options, identifier_argument
from .output import answering, console, fail, json_option, print_json


@click.group()
def events() -> None:
    """Send facts by hand, and follow the log."""


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


@events.command()
@click.argument("type")
@click.argument("identifiers", nargs=-1, required=True)
@click.option(
    "--property",
    "-p",
    "properties",
    multiple=True,
    help="""name=value; JSON values are taken as such (a text of digits: name='"77"').""",
)
@click.option("--channel", default="", help="Where it happened; the touchpoint's own where not given.")
@click.option("--kind", type=click.Choice(KINDS), default=EVENT, show_default=True)
@click.option("--at", "moment", default="", help="RFC 3339; now where not given.")
@click.option("--interaction", default="", help="The call, chat or visit it belongs to.")
@click.option("--as", "touchpoint", default="", help="Sends in the name of a touchpoint, with the admin's key.")
@click.option("--id", "native", default="", help="Own id, so that sending it twice is one fact.")
@json_option
@hub_options("SEGUE_KEY")
def send(
    client: Client, type: str, identifiers: tuple[str, ...], properties: tuple[str, ...], channel: str, kind: str,
    moment: str, interaction: str, touchpoint: str, native: str, as_json: bool,
) -> None:  # fmt: skip
    """Sends one fact with a touchpoint's key (SEGUE_KEY), or --as a touchpoint with the admin's (SEGUE_ADMIN_KEY).

    \b
    segue-hub events send transfer.failed account=A-1009 -p transfer_id=T-1 --as app
    segue-hub events send value_tier account=A-1009 --kind trait -p value=high --as crm
    """
    now = time.time_ns() // 1000
    try:
        at = parse_instant(moment) if moment else now
    except ValueError as error:
        fail(f"--at: {error}", 2)
        return
    pairs = [text.partition("=") for text in properties]
    names: tuple[Identifier, ...] = tuple(identifier_argument(text) for text in identifiers)
    # Without a time of its own, the first arrival of an id counts, as for events over HTTP.
    foreign = bool(native) and not moment
    fact = Fact(
        derived_id(0 if foreign else at, "cli", native or uuid.uuid4().hex), kind, type, at, 0, names, channel, "",
        InteractionRef(interaction) if interaction else None,
        properties_bytes({name: _value(value) for name, _, value in pairs}),
    )  # fmt: skip
    with answering(client.address):
        sent_at = now if foreign else 0
        request = event_service_pb2.PublishEventsRequest(facts=[fact_to_wire(fact)], sent_at=sent_at)
        metadata = [("segue-touchpoint", touchpoint)] if touchpoint else []
        (result,) = client.events.PublishEvents(request, timeout=TIMEOUT, metadata=metadata).results
    status = event_service_pb2.FactStatus.Name(result.status).removeprefix("FACT_STATUS_")
    if as_json:
        print_json({"id": fact.id.hex(), "status": status, "code": result.code, "reason": result.reason})
    elif status != "REJECTED":
        console.print(f"{status.lower()}: {fact.type} at {instant_text(at)}, id {fact.id.hex()}")
    if status == "REJECTED":
        fail(f"{result.reason} [{result.code}]")


@events.command()
@click.argument("identifiers", nargs=-1)
@click.option(
    "--after",
    default=0,
    help="A position of the change log to begin behind; -1 for the whole log; from now on where not given.",
)
@click.option("--count", default=0, help="Ends after so many facts.")
@json_option
@hub_options()
def tail(client: Client, identifiers: tuple[str, ...], after: int, count: int, as_json: bool) -> None:
    """Follows the log; of customers with one of these IDENTIFIERS where given. Ctrl-C ends it."""
    names = [identifier_to_wire(identifier_argument(text)) for text in identifiers]
    seen = 0
    with answering(client.address):
        request = admin_service_pb2.TailFactsRequest(after=after, identifiers=names)
        for response in client.admin.TailFacts(request):
            if not response.HasField("fact"):
                continue
            plain = fact_plain(fact_from_wire(response.fact)) | {"position": response.position}
            if as_json:
                click.echo(json.dumps(plain))
            else:
                console.print(
                    f"{plain['position']:>8}  {plain['occurred_at']}  {plain['touchpoint']:<8} {plain['kind']:<9}"
                    f" {plain['type']:<24} {' '.join(plain.get('identifiers', ()))}  {json.dumps(plain['properties'])}",
                    markup=False,
                )  # fmt: skip
            seen += 1
            if count and seen >= count:
                return
