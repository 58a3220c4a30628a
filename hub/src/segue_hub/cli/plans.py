"""`plan`: the life of a plan."""

from __future__ import annotations

import difflib
import getpass
import json
from pathlib import Path
from typing import Any

import click
from segue.domain.instant import instant_text
from segue.domain.plan import canonical, digest_of
from segue.v1 import plan_service_pb2 as pb

from ..checking.plan_check import check_plan, read_directory
from ..checking.shape import schema
from .client import TIMEOUT, Client, hub_options
from .instants import instant
from .output import answering, console, errors, fail, json_option, print_json, print_table, progress_bar
from .simulation_text import print_simulation

FOLDER = click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))


@click.group()
def plan() -> None:
    """Check, push, compare and roll back plans."""


def _files(folder: Path) -> list[pb.PlanFile]:
    return [pb.PlanFile(path=path, content=text.encode()) for path, text in read_directory(folder).items()]


def _version(version: Any) -> dict[str, Any]:
    return {
        "number": version.number, "digest": version.digest, "pushed_at": instant_text(version.pushed_at),
        "author": version.author, "note": version.note, "current": version.current,
    }  # fmt: skip


@plan.command()
@FOLDER
@json_option
def check(folder: Path, as_json: bool) -> None:
    """Checks the files of a plan; needs no hub. Exits with 1 where a problem is an error."""
    checked = check_plan(read_directory(folder))
    if as_json:
        digest = digest_of(checked.document) if checked.document is not None else ""
        print_json({"ok": checked.ok, "digest": digest, "problems": [p.plain() for p in checked.problems]})
    else:
        for problem in checked.problems:
            errors.print(f"{folder}/{problem}", markup=False)
        if checked.document is not None:
            parts = ", ".join(f"{len(checked.document.get(k, {}))} {k}" for k in ("maps", "audiences", "guardrails"))
            console.print(f"ok: {parts}; digest {digest_of(checked.document)}")
    if not checked.ok:
        raise SystemExit(1)


@plan.command()
@FOLDER
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Where the document goes.")
def compile(folder: Path, output: Path) -> None:
    """Writes the checked document that SDKs run, e.g. for tests with FakeHub."""
    checked = check_plan(read_directory(folder))
    if checked.document is None:
        fail("\n".join(str(problem) for problem in checked.problems))
        return
    output.write_bytes(canonical(checked.document))
    console.print(f"{output}: plan {digest_of(checked.document)}")


@plan.command("schema")
def print_schema() -> None:
    """Prints the JSON Schema of plan files, for editors."""
    print_json(schema())


@plan.command()
@FOLDER
@click.option("--note", default="", help="Why, for people.")
@json_option
@hub_options()
def push(client: Client, folder: Path, note: str, as_json: bool) -> None:
    """Checks a plan in the hub and puts it in force for everybody."""
    with answering(client.address):
        response = client.plans.PushPlan(
            pb.PushPlanRequest(files=_files(folder), author=getpass.getuser(), note=note), timeout=TIMEOUT
        )
    problems = [
        f"{p.file}:{p.line}:{p.column}: {p.severity}: {p.field}: {p.message}. {p.cure}" for p in response.problems
    ]
    for problem in problems:
        errors.print(f"{folder}/{problem}", markup=False)
    if not response.HasField("version"):
        fail("the plan was not pushed; the last good one stays")
    if as_json:
        print_json(_version(response.version) | {"unchanged": response.unchanged})
    else:
        word = "is in force already" if response.unchanged else "is in force"
        console.print(f"plan {response.version.digest} {word} (number {response.version.number})")


@plan.command("list")
@json_option
@hub_options()
def list_(client: Client, as_json: bool) -> None:
    """The history of plans, newest first."""
    with answering(client.address):
        versions = [_version(v) for v in client.plans.ListPlans(pb.ListPlansRequest(), timeout=TIMEOUT).versions]
    if as_json:
        print_json(versions)
        return
    rows = [["*" if v["current"] else " ", *(v[k] for k in ("number", "digest", "pushed_at", "author", "note"))]
            for v in versions]  # fmt: skip
    print_table("", ["", "number", "digest", "pushed at", "author", "note"], rows)


@plan.command()
@FOLDER
@click.option("--against", default="", help="Digest of another plan than the current one.")
@hub_options()
def diff(client: Client, folder: Path, against: str) -> None:
    """What pushing a directory would change, file by file. Exits with 1 where anything would."""
    with answering(client.address):
        response = client.plans.GetPlan(pb.GetPlanRequest(digest=against), timeout=TIMEOUT)
    before = {file.path: file.content.decode() for file in response.files}
    after = read_directory(folder)
    changed = False
    for path in sorted({*before, *after}):
        lines = difflib.unified_diff(
            before.get(path, "").splitlines(), after.get(path, "").splitlines(),
            f"{response.version.digest}/{path}", f"{folder}/{path}", lineterm="",
        )  # fmt: skip
        for line in lines:
            changed = True
            style = "green" if line.startswith("+") else "red" if line.startswith("-") else None
            console.print(line, style=style, markup=False)
    if changed:
        raise SystemExit(1)
    console.print(f"no difference to {response.version.digest}")


@plan.command()
@FOLDER
@click.option("--since", default="", help="Judge actions from this instant on: RFC 3339, or how long ago, e.g. 30d.")
@json_option
@hub_options()
def simulate(client: Client, folder: Path, since: str, as_json: bool) -> None:
    """What a plan would have made of what really happened, beside the plan in force. Nothing is written.

    \b
    segue-hub plan simulate examples/plan --since 30d
    """
    request = pb.SimulatePlanRequest(files=_files(folder), since=instant(since, "--since") if since else 0)
    document = b""
    with answering(client.address), progress_bar("customers") as advance:
        for response in client.plans.SimulatePlan(request):
            for p in response.problems:
                said = f"{folder}/{p.file}:{p.line}:{p.column}: {p.severity}: {p.field}: {p.message}. {p.cure}"
                errors.print(said, markup=False)
            advance(response.done, response.of)
            document = response.document or document
    if not document:
        fail("the plan has errors: nothing was simulated")
    plain = json.loads(document)
    if as_json:
        print_json(plain)
    else:
        print_simulation(plain)


@plan.command()
@click.argument("digest", default="")
@json_option
@hub_options()
def rollback(client: Client, digest: str, as_json: bool) -> None:
    """Puts an earlier plan in force again; the one before the current where no DIGEST is given."""
    with answering(client.address):
        response = client.plans.RollbackPlan(
            pb.RollbackPlanRequest(digest=digest, author=getpass.getuser()), timeout=TIMEOUT
        )
    if as_json:
        print_json(_version(response.version))
    else:
        console.print(f"plan {response.version.digest} is in force again (number {response.version.number})")
