"""`customer`: what is known of one customer."""

from __future__ import annotations

import json
from typing import Any

import click
from segue.v1 import admin_service_pb2 as pb
from segue.wire import fact_from_wire, identifier_to_wire

from ..services.portrait import fact_plain
from .client import TIMEOUT, Client, hub_options, identifier_argument
from .identities import print_affected, print_reasons
from .instants import instant, known
from .output import answering, console, json_option, print_heading, print_json, print_table


@click.group()
def customer() -> None:
    """Look at one customer by any identifier, e.g. account=A-1009."""


_KNOWN = click.option(
    "--known-at", default="", help="By what the hub knew at this instant, or through this position of its log."
)
_PLAN = click.option("--plan", "digest", default="", help="Folded by this plan; the one in force where not given.")


def _shown(client: Client, identifier: str, as_of: int = 0, known_at: str = "", plan: str = "") -> dict[str, Any]:
    request = pb.ShowCustomerRequest(
        identifier=identifier_to_wire(identifier_argument(identifier)), as_of=as_of, known=known(known_at), plan=plan
    )
    with answering(client.address):
        return dict(json.loads(client.admin.ShowCustomer(request, timeout=TIMEOUT).document))


def facts_of(client: Client, identifier: str, kind: str, limit: int) -> list[dict[str, Any]]:
    """The newest facts of a customer, of one kind where named, newest first."""
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
@click.option("--as-of", default="", help="As it was at this instant: RFC 3339, or how long ago, e.g. 1h.")
@_KNOWN
@_PLAN
@json_option
@hub_options()
def show(client: Client, identifier: str, as_of: str, known_at: str, digest: str, as_json: bool) -> None:
    """The whole context: who she is, where on which journey, what was decided and done.

    \b
    segue-hub customer show account=A-1009
    segue-hub customer show account=A-1009 --as-of 2026-03-03T10:00:00Z
    segue-hub customer show account=A-1009 --as-of 1d --known-at 1d
    """
    at = instant(as_of, "--as-of") if as_of else 0
    plain = _shown(client, identifier, at, known_at, digest)
    if as_json:
        print_json(plain)
        return
    then = f", as of {plain['as_of']}" if "as_of" in plain else ""
    rest = f"  version {plain['version']}, {plain['facts']} facts, plan {plain['plan']}{then}"
    print_heading(plain["customer"], rest)
    console.print(f"  {plain['brief']}\n", markup=False)
    console.print(f"known by   {'  '.join(plain['identifiers'])}", markup=False)
    for name, trait in plain["traits"].items():
        console.print(f"trait      {name} = {trait['value']!r} (by {trait['source']}, {trait['at']})", markup=False)
    for word in ("consents", "subscriptions"):
        for name, state in plain[word].items():
            console.print(f"{word[:-1]:<10} {name}: {state}", markup=False)
    for about, choice in plain["choices"].items():
        console.print(f"chose      {about} = {choice}", markup=False)
    for scope, claim in plain["claims"].items():
        offered = f", offered to {claim['offered_to']}" if claim["offered_to"] else ""
        console.print(f"with       {claim['holder']} until {claim['until']} ({scope}{offered})", markup=False)
    for name, arm in plain["arms"].items():
        console.print(f"arm        {name}: {arm}", markup=False)
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
    held = ", held back" if properties.get("reason") == "HELD_BACK" else ""
    return f"{properties.get('value', properties.get('status', ''))}{held}"


@customer.command()
@click.argument("identifier")
@click.option("--language", type=click.Choice(["en", "zh"]), default="en", show_default=True)
@click.option("--as-of", default="", help="As it was at this instant: RFC 3339, or how long ago, e.g. 1h.")
@json_option
@hub_options()
def brief(client: Client, identifier: str, language: str, as_of: str, as_json: bool) -> None:
    """The hand-over summary: what she wants, tried, where it failed, what was said, what it cost her."""
    plain = _shown(client, identifier, instant(as_of, "--as-of") if as_of else 0)
    sentences = plain["handover"]["sentences"] if language == "en" else plain["handover_zh"]
    if as_json:
        print_json(plain["handover"] | {"language": language, "sentences": sentences})
        return
    for sentence in sentences:
        console.print(sentence, markup=False)


@customer.command()
@click.argument("identifier")
@click.option("--limit", default=50, show_default=True)
@click.option("--kind", default="", help="One kind of facts only, e.g. event.")
@json_option
@hub_options()
def timeline(client: Client, identifier: str, limit: int, kind: str, as_json: bool) -> None:
    """All facts, newest first."""
    facts = facts_of(client, identifier, kind, limit)
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
@click.argument("since", metavar="FROM")
@click.argument("until", metavar="TO", default="now")
@_KNOWN
@_PLAN
@json_option
@hub_options()
def diff(
    client: Client, identifier: str, since: str, until: str, known_at: str, digest: str, as_json: bool
) -> None:  # fmt: skip
    """What changed between two instants: who she is, traits, consents, journeys, audiences, what was decided.

    \b
    segue-hub customer diff account=A-1009 2026-03-03T10:00:00Z 2026-03-04T10:00:00Z
    segue-hub customer diff account=A-1009 1d now
    """
    request = pb.DiffCustomerRequest(
        identifier=identifier_to_wire(identifier_argument(identifier)), since=instant(since, "FROM"),
        until=instant(until, "TO"), known=known(known_at), plan=digest,
    )  # fmt: skip
    with answering(client.address):
        plain = json.loads(client.admin.DiffCustomer(request, timeout=TIMEOUT).document)
    if as_json:
        print_json(plain)
        return
    print_heading(plain["customer"], f"  from {plain['from']} to {plain['to']}, {plain['facts']:+d} facts")
    for sentence in plain["words"] or ["nothing changed"]:
        console.print(f"  {sentence}", markup=False)


@customer.command()
@click.argument("identifier")
@click.option("--explain", is_flag=True, help="Which links hold her identifiers together, which do not, and why.")
@click.option("--affected", is_flag=True, help="What was decided while she was held to be somebody else.")
@click.option("--limit", default=100, show_default=True, help="Of --affected.")
@json_option
@hub_options()
def identity(client: Client, identifier: str, explain: bool, affected: bool, limit: int, as_json: bool) -> None:
    """Who she is: all identifiers, strongest first."""
    if explain:
        print_reasons(client, identifier, as_json)
        return
    if affected:
        print_affected(client, identifier, limit, as_json)
        return
    plain = _shown(client, identifier)
    if as_json:
        print_json({"customer": plain["customer"], "identifiers": plain["identifiers"]})
        return
    for name in plain["identifiers"]:
        console.print(f"{'*' if name == plain['customer'] else ' '} {name}", markup=False)
