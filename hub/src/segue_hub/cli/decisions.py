"""`decision`: why something was decided, and why not something else."""

from __future__ import annotations

import json
from typing import Any

import click
from segue.domain.explanation import recorded, why_not
from segue.v1 import decision_service_pb2 as pb

from .client import Client, hub_options
from .customers import facts_of
from .instants import instant
from .output import answering, console, fail, json_option, print_heading, print_json, print_table

LONG = 600.0
"""Seconds that a look through the whole log may take."""
LOOKED_THROUGH = 10_000
"""Decisions of one customer that are looked through at most."""


@click.group()
def decision() -> None:
    """Look at decisions."""


@decision.command()
@click.argument("identifier")
@click.argument("name", default="")
@click.option("--why-not", "value", default="", help="The first thing that stood in this answer's way, in one line.")
@click.option("--id", "id_", default="", help="The decision with this id, or one that begins so.")
@click.option("--limit", default=5, show_default=True)
@json_option
@hub_options()
def explain(client: Client, identifier: str, name: str, value: str, id_: str, limit: int, as_json: bool) -> None:
    """Why the newest decisions (of one NAME) came out as they did: what was read, what guardrails said.

    \b
    segue-hub decision explain account=A-1009
    segue-hub decision explain account=A-1009 chat.route --why-not priority_agent
    """
    facts = [
        fact
        for fact in facts_of(client, identifier, "decision", LOOKED_THROUGH)
        if name in ("", fact["type"]) and fact["id"].startswith(id_.lower())
    ]
    if as_json and not value:
        print_json(facts[:limit])
        return
    if not facts:
        which = f" {name!r}" if name else ""
        which += f" with id {id_}" if id_ else ""
        fail(f"no decision{which} is recorded for {identifier}")
    if value:
        _print_why_not(facts[0], value, as_json)
        return
    for fact in facts[:limit]:
        _print(fact)


@decision.command()
@click.argument("name")
@click.option("--since", default="", help="Pairs from this instant on: RFC 3339, or how long ago, e.g. 7d.")
@json_option
@hub_options()
def compare(client: Client, name: str, since: str, as_json: bool) -> None:
    """How a new version of a decision function (its shadow) answered beside the one that acts.

    \b
    segue-hub decision compare chat.route --since 7d
    """
    request = pb.CompareDecisionsRequest(decision=name, since=instant(since, "--since") if since else 0)
    with answering(client.address):
        plain = json.loads(client.decisions.CompareDecisions(request, timeout=LONG).document)
    if as_json:
        print_json(plain)
        return
    if not plain["pairs"]:
        fail(
            f"no pair of answers is recorded for {name!r}: give it a shadow, touchpoint.shadow({name!r}, new_function)"
        )
    print_heading(name, f"  {plain['agreement']:.1%} of {plain['pairs']} pairs agree ({plain['customers']} customers)")
    for side, word in (("was", "acts"), ("now", "shadow")):
        versions = ", ".join(f"{version or '-'} ({count})" for version, count in plain["functions"][side].items())
        console.print(f"  {word}: function {versions}", markup=False)
    if plain["failed"]:
        console.print(f"  the shadow failed {plain['failed']} times", markup=False)
    rows = [
        [
            d["was"],
            d["now"],
            d["count"],
            d["customers"],
            "; ".join(r["what"] for r in d["read"]),
            ", ".join(d["examples"]),
        ]
        for d in plain["differences"]
    ]
    if rows:
        columns = ["acts", "shadow", "pairs", "customers", "the shadow read", "for example"]
        print_table("differences", columns, rows)


def _print(fact: dict[str, Any]) -> None:
    properties = fact["properties"]
    held = ", held back" if properties.get("reason") == "HELD_BACK" else ""
    rest = f" = {properties.get('value')!r}{held}  at {fact['occurred_at']} by {fact['touchpoint']}"
    print_heading(fact["type"], rest)
    console.print(f"  {properties.get('explain', properties.get('reason', ''))}", markup=False)
    for number, candidate in enumerate(properties.get("candidates", ()), 1):
        console.print(f"  {number}. {_candidate(candidate)}", markup=False)
    where = f", run by the {properties['decided_by']}" if "decided_by" in properties else ""
    function = f", function {properties['function']}" if "function" in properties else ""
    console.print(
        f"  plan {properties.get('plan')}{function}, context version {properties.get('version')}"
        f" ({properties.get('freshness')}){where}, id {fact['id']}",
        markup=False,
    )


def _candidate(candidate: dict[str, Any]) -> str:
    """One candidate action: what decided its place, and what held it back."""
    about = f" about {candidate['topic']}" if candidate.get("topic") else ""
    parts = [f"{name} {candidate[name]:g}" for name in ("score", "priority") if candidate.get(name)]
    parts += ["outranks"] if candidate.get("outranks") else []
    parts += [f"{v['kind']} by {v['guardrail']}" for v in candidate.get("verdicts", ()) if v["kind"] != "ALLOW"]
    parts += [candidate["error"]] if candidate.get("error") else []
    return f"{candidate['kind']}{about}" + (f": {', '.join(parts)}" if parts else "")


def _print_why_not(fact: dict[str, Any], value: str, as_json: bool) -> None:
    told = recorded(fact["type"], fact["properties"])
    line = why_not(told, _typed(value, told.value))
    if as_json:
        print_json({"decision": fact["type"], "id": fact["id"], "why_not": value, "because": line})
    else:
        console.print(line, markup=False)


def _typed(text: str, answer: Any) -> Any:
    """What somebody typed, as a value of the answer's kind where it is no text: `--why-not true`."""
    if isinstance(answer, str):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
