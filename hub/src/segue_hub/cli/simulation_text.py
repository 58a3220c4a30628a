"""What `plan simulate` prints for people."""

from __future__ import annotations

from typing import Any

from .output import console, print_heading, print_table

_JOURNEYS = ("started", "running", "stalled", "completed", "failed", "abandoned")


def print_simulation(plain: dict[str, Any]) -> None:
    """Actions by guardrail and touchpoint, audiences and journeys that differ, under both plans."""
    plans, actions = plain["plans"], plain["actions"]
    print_heading(f"plan {plans['new']}", f" beside {plans['in_force']}, which is in force")
    console.print(
        f"  {plain['customers']} customers, {plain['facts']} facts; actions since {plain['since']}\n"
        f"  {actions['judged']} actions were wanted: {actions['held_back']['in_force']} are held back by the plan in "
        f"force, {actions['held_back']['new']} by the new one "
        f"({actions['newly_held_back']} newly held back, {actions['newly_allowed']} newly allowed)",
        markup=False,
    )
    _actions(actions)
    _audiences(plain["audiences"])
    _maps(plain["journeys"])


def _actions(actions: dict[str, Any]) -> None:
    rows = [
        [r["guardrail"], r["owner"], r["touchpoint"], r["touchpoint_owner"], r["in_force"], r["new"],
         f"{r['new'] - r['in_force']:+d}"]
        for r in actions["by_guardrail"]
    ]  # fmt: skip
    if rows:
        console.print()
        columns = ["guardrail", "owner", "holds back", "whose", "in force", "new", "change"]
        print_table("actions held back", columns, rows)
    for found in actions["examples"]:
        console.print(
            f"  {found['at']} {found['customer']}: {found['action']} by {found['touchpoint']},"
            f" {found['verdict']} by {found['guardrail']}: {found['reason']}",
            markup=False,
        )


def _audiences(audiences: dict[str, Any]) -> None:
    rows = [
        [name, a["in_force"], a["new"], f"+{a['joiners']}", f"-{a['leavers']}", _examples(a["examples"])]
        for name, a in audiences.items()
        if a["joiners"] or a["leavers"] or a["in_force"] is None or a["new"] is None
    ]
    console.print()
    if rows:
        columns = ["audience", "in force", "new", "join", "leave", "for example"]
        print_table("audiences that change", columns, rows)
    else:
        console.print("no audience changes", markup=False)


def _examples(examples: dict[str, list[str]]) -> str:
    return ", ".join([f"+{name}" for name in examples["join"][:3]] + [f"-{name}" for name in examples["leave"][:3]])


def _maps(maps: dict[str, Any]) -> None:
    rows = []
    for name, found in maps.items():
        counts = [_change(found, column) for column in _JOURNEYS]
        if found["in_force"] is None or found["new"] is None or any("→" in count for count in counts):
            rows.append([name, *counts])
    console.print()
    if rows:
        print_table("journeys that change", ["map", *_JOURNEYS], rows)
    else:
        console.print("no journey changes", markup=False)


def _change(found: dict[str, Any], column: str) -> str:
    was, now = ("-" if found[side] is None else str(found[side][column]) for side in ("in_force", "new"))
    return was if was == now else f"{was} → {now}"
