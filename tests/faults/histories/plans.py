"""The plans that are in force in turn while a history is made.

Owns their text, and who may be whom: lists (`account=L-n`, one identifier each), people who merge and come apart
(`account`, `email`, `phone`, `cookie`), holders of places under a strict cap (`card`, `tag`), errands (`account=T-n`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

LIMIT: Final = 2
"""Places under the strict cap."""
STALLS: Final = 3_000_000
"""Microseconds until an errand waits."""
LATER: Final = "cookie=blocked-later"
"""Stands for nobody while the second plan is in force."""
LISTS: Final = [f"account=L-{number}" for number in range(4)]
PEOPLE: Final = [f"{kind}={kind[0]}{number}" for kind in ("account", "email", "phone", "cookie") for number in range(4)]
HOLDERS: Final = [*(f"card=k{number}" for number in range(3)), *(f"tag=t{number}" for number in range(3))]

_VOCABULARY = """
channels: {web: {}, email: {}, desk: {assisted: true}}
identifiers:
  account: {priority: 1, per_customer: 1}
  card: {priority: 2, partners: 1000}
  email: {priority: 3, per_customer: 2}
  phone: {priority: 4, partners: 3}
  cookie: {priority: 9, partners: 4}
  tag: {priority: 10, partners: 1000}
identifiers_per_customer: 12
events: {noted: {properties: {number: int}}, began: {properties: {number: string}}}
timeline: 200
blocked: ["null"BLOCKED]
"""
_MAP = """
map: errand
owner: o
starts: 'event.type == "began"'
key: 'event.properties.number'
reaches_goal: 'false'
stalls: {after: "3s"}
"""
_WAITING = "waiting: {owner: o, title: t, when: 'journey.errand.stalled'}\n"
_BUSY = 'busy: {owner: o, title: t, when: \'count("noted", "1h") >= 3\'}\n'
_CAP = f"""
pressure:
  applies_to: 'action.purpose == "marketing"'
  cap: {{limit: {LIMIT}, window: "1d", exactness: strict, hold: "2s"}}
  reason: REASON
  owner: crm
  on_missing: allow
"""
_ALL = "[identity, timeline, activity, journeys, actions, audiences, decisions]"
_TOUCHPOINTS = f"""
teller: {{channel: web, writes: ["*"], reads: {{service: []}}}}
host: {{channel: web, writes: ["*"], reads: {{service: {_ALL}}}}}
asker: {{channel: email, writes: ["*"], reads: {{service: [actions]}}}}
reader: {{channel: desk, writes: ["*"], reads: {{service: {_ALL}}}}}
desk: {{channel: desk, writes: [], reads: {{service: [identity, audiences]}}}}
eye: {{channel: desk, writes: [], reads: {{service: EYE}}}}
"""

NARROW: Final = frozenset({"envelope", "identity", "audiences", "outcomes"})
"""Sections that `eye` may be told while the second plan is in force."""


def write(folder: Path) -> list[Path]:
    """Three plans, each in a folder of its own."""
    made = []
    for number, (blocked, audiences, reason, eye) in enumerate(
        (
            ("", _WAITING, "Not too often.", _ALL),
            (', "blocked-later"', _WAITING + _BUSY, "Not too often.", "[identity, audiences]"),
            ("", _BUSY + _WAITING, "Seldom.", _ALL),
        )
    ):
        plan = folder / f"plan{number}"
        texts = {
            "vocabulary.yaml": _VOCABULARY.replace("BLOCKED", blocked), "maps/errand.yaml": _MAP,
            "audiences.yaml": audiences, "guardrails.yaml": _CAP.replace("REASON", reason),
            "touchpoints.yaml": _TOUCHPOINTS.replace("EYE", eye),
        }  # fmt: skip
        for name, text in texts.items():
            (plan / name).parent.mkdir(parents=True, exist_ok=True)
            (plan / name).write_text(text)
        made.append(plan)
    return made
