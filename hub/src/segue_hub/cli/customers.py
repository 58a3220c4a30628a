"""`customer` and `decision`: what is known of one customer, and why something was decided."""

from __future__ import annotations

import json
from typing import Any

import click
from segue.v1 import admin_service_pb2 as pb
from segue.wire import fact_from_wire, identifier_to_wire

from ..services.reports import fact_plain
from .client import TIMEOUT, Client, hub_options, identifier_argument
from .output import answering, console, fail, json_option, print_heading, print_json, print_table


@click.group()
def customer() -> None:
    """Look at one customer by any identifier, e.g. account=A-1009."""


@click.group()
def decision() -> None:
    """Look at decisions."""


def _shown(client: Client, identifier: str) -> dict[str, Any]:
    request = pb.ShowCustomerRequest(identifier=identifier_to_wire(identifier_argument(identifier)))
    with answering(client.address):
        return dict(json.loads(client.admin.ShowCustomer(request, timeout=TIMEOUT).document))


def _facts(client: Client, identifier: str, kind: str, limit: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    token = ""
    with answering(client.address):
        while len(found) < limit:
            request = pb.ListFactsRequest(
                identifier=identifier_to_wire(identifier_argument(identifier)), kind=kind, page_token=token,
                page_size=min(1000, limit - len(found)),
            )  # fmt: skip
            page = client.admin.ListFacts(request, timeout=TIMEOUT)
            found += [fact_plain(fact_from_wire(fact)) for fact in page.facts]
            token = page.next_page_token
            if not token:
                break
    return found


@customer.command()
@click.argument("identifier")
@json_option
@hub_options()
def show(client: Client, identifier: str, as_json: bool) -> None:
    """The whole context: who she is, where on which journey, what was decided and done."""
    plain = _shown(client, identifier)
    if as_json:
        print_json(plain)
        return
    rest = f"  version {plain['version']}, {plain['facts']} facts, plan {plain['plan']}"
    print_heading(plain["customer"], rest)
    console.print(f"  {plain['brief']}\n", markup=False)
    console.print(f"known by   {'  '.join(plain['identifiers'])}", markup=False)
    for name, trait in plain["traits"].items():
        console.print(f"trait      {name} = {trait['value']!r} (by {trait['source']}, {trait['at']})", markup=False)
    for word in ("consents", "subscriptions"):
        for name, state in plain[word].items():
            console.print(f"{word[:-1]:<10} {name}: {state}", markup=False)
    for word in plain["audiences"]:
        console.print(f"audience   {word}", markup=False)
    rows = [
        [j["map"], j["key"], j["state"], j["stage"], j["started_at"], j["progress_at"], _counts(j["interactions"])]
        for j in [*plain["journeys"], *plain["ended"]]
    ]
    if rows:
        console.print()
        print_table("journeys", ["map", "key", "state", "stage", "started", "progress", "interactions"], rows)
    for word in ("decisions", "actions"):
        if plain[word]:
            console.print()
            rows = [[f["occurred_at"], f["touchpoint"], f["type"], _outcome(f)] for f in plain[word][-8:]]
            print_table(word, ["at", "touchpoint", "what", "outcome"], rows)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _outcome(fact: dict[str, Any]) -> str:
    properties = fact["properties"]
    return str(properties.get("value", properties.get("status", "")))


@customer.command()
@click.argument("identifier")
@click.option("--limit", default=50, show_default=True)
@click.option("--kind", default="", help="One kind of facts only, e.g. event.")
@json_option
@hub_options()
def timeline(client: Client, identifier: str, limit: int, kind: str, as_json: bool) -> None:
    """All facts, newest first."""
    facts = _facts(client, identifier, kind, limit)
    if as_json:
        print_json(facts)
        return
    rows = [
        [f["occurred_at"], f["channel"], f["touchpoint"], f["kind"], f["type"], json.dumps(f["properties"])[:100]]
        for f in facts
    ]
    print_table("", ["at", "channel", "touchpoint", "kind", "type", "properties"], rows)


@customer.command()
@click.argument("identifier")
@json_option
@hub_options()
def identity(client: Client, identifier: str, as_json: bool) -> None:
    """Who she is: all identifiers, strongest first."""
    plain = _shown(client, identifier)
    if as_json:
        print_json({"customer": plain["customer"], "identifiers": plain["identifiers"]})
        return
    for name in plain["identifiers"]:
        console.print(f"{'*' if name == plain['customer'] else ' '} {name}", markup=False)


@decision.command()
@click.argument("identifier")
@click.argument("name", default="")
@click.option("--limit", default=5, show_default=True)
@json_option
@hub_options()
def explain(client: Client, identifier: str, name: str, limit: int, as_json: bool) -> None:
    """Why the newest decisions (of one NAME) came out as they did: what was read, what guardrails said."""
    facts = [f for f in _facts(client, identifier, "decision", 10_000) if name in ("", f["type"])][:limit]
    if as_json:
        print_json(facts)
        return
    if not facts:
        fail(f"no decision{f' {name!r}' if name else ''} is recorded for {identifier}")
    for fact in facts:
        properties = fact["properties"]
        rest = f" = {properties.get('value')!r}  at {fact['occurred_at']} by {fact['touchpoint']}"
        print_heading(fact["type"], rest)
        console.print(f"  {properties.get('explain', properties.get('reason', ''))}", markup=False)
        console.print(
            f"  plan {properties.get('plan')}, context version {properties.get('version')}, id {fact['id']}",
            markup=False,
        )
