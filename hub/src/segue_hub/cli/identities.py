"""`identity`: say who is one with whom, try it out first, and see why.

Owns the commands that write links and statements in the admin's name, and how reasons and previews are printed.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import click
from segue.domain.fact import ENDING, LINK, RETRACTION, SEPARATION, derived_id
from segue.domain.statement import statement_fact
from segue.v1 import event_service_pb2
from segue.v1 import identity_service_pb2 as pb
from segue.wire import fact_to_wire, identifier_to_wire

from .client import TIMEOUT, Client, hub_options, identifier_argument
from .instants import instant, now
from .output import answering, console, fail, json_option, print_heading, print_json, print_table

_AT = click.option("--at", "moment", default="", help="RFC 3339, or how long ago; now where not given.")
_REASON = click.option("--reason", default="", help="Why, for people.")
_ID = click.option("--id", "native", default="", help="Own id, so that saying it twice is one fact.")


@click.group()
def identity() -> None:
    """Say that two identifiers are one customer, or are not. Nothing is lost: what was said can be taken back.

    `segue-hub identity preview` shows what would come of it; `segue-hub customer identity ID --explain` says why it is
    as it is.
    """


@identity.group()
def preview() -> None:
    """What would come of it: the customers concerned, before and after. Nothing is written."""


Say = Callable[..., None]


def _verb(name: str, kind: str, does: str, *options: Callable[[Say], Say]) -> None:
    """Adds a verb to `identity` and to `identity preview`."""

    def make(dry: bool) -> click.Command:
        def said(client: Client, one: str, other: str, as_json: bool, **told: Any) -> None:
            _say(client, kind, (one, other), as_json, dry=dry, **told)

        command: Any = hub_options()(said)
        shared = (_AT, _REASON) if dry else (_AT, _REASON, _ID)
        arguments = (click.argument("one", metavar="A"), click.argument("other", metavar="B"))
        for decorate in (json_option, *reversed((*options, *shared)), *reversed(arguments)):
            command = decorate(command)
        made: click.Command = click.command(name, help=f"{does}\n\n\b\nsegue-hub identity {'preview ' if dry else ''}"
                                            f"{name} account=A-1009 cookie=c-77")(command)  # fmt: skip
        return made

    identity.add_command(make(dry=False))
    preview.add_command(make(dry=True))


_verb("link", LINK, "A and B are one customer.")
_verb(
    "retract", RETRACTION,
    "A and B never were one customer: takes back the links of the two until --at, or what one fact said of them.",
    click.option("--fact", "target", default="", help="The id of the one fact to take back."),
)  # fmt: skip
_verb("end", ENDING, "A and B are one customer no longer, from --at on: the weaker of both begins anew.")
_verb("separate", SEPARATION, "A and B are never one customer, whatever links them, now or later.")


def _say(
    client: Client, kind: str, names: Sequence[str], as_json: bool, *, dry: bool, moment: str, reason: str,
    native: str = "", target: str = "",
) -> None:  # fmt: skip
    at = instant(moment, "--at") if moment else 0
    found = [identifier_argument(name) for name in names]
    try:
        taken_back = bytes.fromhex(target)
    except ValueError:
        fail(f"--fact: {target!r} is no id of a fact. It has 32 hex digits; --explain shows it", 2)
        return
    # Without a time of its own, the first arrival of an id counts, as for events.
    own = f"{kind}\0{names[0]}\0{names[1]}\0{native}" if native else uuid.uuid4().hex
    id_ = derived_id(0 if native and not moment else at or now(), "identity", own)
    fact = fact_to_wire(statement_fact(id_, kind, found, at, 0, target=taken_back, reason=reason))
    if dry:
        with answering(client.address):
            answer = client.identities.PreviewIdentity(pb.PreviewIdentityRequest(facts=[fact]), timeout=TIMEOUT)
        _print_change(json.loads(answer.document), as_json, "would be")
        return
    with answering(client.address):
        changed = client.identities.ChangeIdentity(pb.ChangeIdentityRequest(facts=[fact]), timeout=TIMEOUT)
    (result,) = changed.results
    status = event_service_pb2.FactStatus.Name(result.status).removeprefix("FACT_STATUS_")
    if status == "REJECTED":
        fail(f"{result.reason} [{result.code}]")
    plain = json.loads(changed.document)
    if as_json:
        print_json({"id": id_.hex(), "status": status, **plain})
        return
    console.print(f"{status.lower()}: {kind} of {names[0]} and {names[1]}, id {id_.hex()}\n", markup=False)
    _print_change(plain, False, "are")


def _print_change(plain: dict[str, Any], as_json: bool, verb: str) -> None:
    if as_json:
        print_json(plain)
        return
    for name in plain.get("unknown", ()):
        console.print(f"nobody is known by {name} yet", markup=False)
    if not plain["changes"]:
        console.print(f"nobody {'is' if verb == 'are' else 'would be'} another than before:")
        _print_customers("", plain["after"], plain["customers_after"])
        return
    _print_customers("before", plain["before"], plain["customers_before"])
    console.print()
    _print_customers(f"these customers {verb}", plain["after"], plain["customers_after"])


def _print_customers(title: str, customers: Sequence[dict[str, Any]], count: int) -> None:
    rows = [
        [
            "  ".join(_era(own) for own in one["identifiers"]), one["facts"],
            _listed([f"{j['map']} {j['key']} {j['state']}".replace("  ", " ") for j in one["journeys"]]),
            len(one["ended"]), _listed([f"{purpose} {state}" for purpose, state in one["consents"].items()]),
            _listed([f"{name} {value!r}" for name, value in one["traits"].items()]), _listed(one["audiences"]),
            one["decisions"] + one["actions"],
        ]
        for one in customers
    ]  # fmt: skip
    columns = ["customer", "facts", "journeys", "ended", "consents", "traits", "audiences", "decisions, actions"]
    print_table(title, columns, rows)
    if count > len(customers):
        console.print(f"... and {count - len(customers)} more")


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words)


def _era(own: dict[str, Any]) -> str:
    since = f" since {own['since']}" if own["since"] else ""
    until = f" until {own['until']}" if own["until"] else ""
    return f"{own['identifier']}{f' ({(since + until).strip()})' if since or until else ''}"


def print_reasons(client: Client, identifier: str, as_json: bool) -> None:
    """Why a customer is who she is."""
    request = pb.ExplainIdentityRequest(identifier=identifier_to_wire(identifier_argument(identifier)))
    with answering(client.address):
        plain = json.loads(client.identities.ExplainIdentity(request, timeout=TIMEOUT).document)
    if as_json:
        print_json(plain)
        return
    if plain["customer"] is None:
        console.print(f"{plain['asked']}: {plain['blocked']}", markup=False)
        return
    count = len(plain["identifiers"])
    print_heading(plain["customer"], f"  known by {count} identifier{'s' if count > 1 else ''}")
    for own in plain["identifiers"]:
        console.print(f"{'*' if own['identifier'] == plain['customer'] else ' '} {_era(own)}", markup=False)
    for title, holds in (("held together by", True), ("linked, and not held together", False)):
        rows = [_link_row(link) for link in plain["links"] if link["holds"] is holds]
        if rows:
            console.print()
            print_table(title, ["link", "first", "said by", *([] if holds else ["verdict", "why"])], rows)
    if plain["statements"]:
        console.print()
        rows = [
            [s["kind"], f"{s['strong']}  {s['weak']}", s["at"], s["effect"], s.get("touchpoint"), s.get("reason"),
             s["fact"]]
            for s in plain["statements"]
        ]  # fmt: skip
        print_table("said about it", ["what", "about", "at", "effect", "by", "reason", "fact"], rows)
    if plain["more_links"]:
        console.print("\nthere are more links than are shown here")


def _link_row(link: dict[str, Any]) -> list[Any]:
    row = [f"{link['strong']}  {link['weak']}", link["at"], f"{link.get('type')} by {link.get('touchpoint')}"]
    if link["holds"]:
        return row
    other = link.get("other")
    others = f" ({other['customer']} is {' '.join(other['identifiers'])})" if other and other["count"] > 1 else ""
    return [*row, link["verdict"], link["why"] + others]


def print_affected(client: Client, identifier: str, limit: int, as_json: bool) -> None:
    """What was decided on another identity."""
    asked = identifier_to_wire(identifier_argument(identifier))
    with answering(client.address):
        answer = client.identities.ListAffected(pb.ListAffectedRequest(identifier=asked, limit=limit), timeout=TIMEOUT)
    plain = json.loads(answer.document)
    if as_json:
        print_json(plain)
        return
    rows = [
        [one["at"], one["touchpoint"], one["name"], one["value"], " ".join(one["held"]), " ".join(one["now"])]
        for one in plain["affected"]
    ]
    if rows:
        print_table("", ["at", "touchpoint", "what", "outcome", "who she was held to be", "who she is now"], rows)
    else:
        console.print(f"{plain['looked_at']} decisions and actions, none of them on another identity than is held now")
    if plain["unknown"]:
        console.print(f"{plain['unknown']} more were made on another hub's history: nothing is known of those")
    if not plain["whole"]:
        console.print("not all were looked at: there are more")
