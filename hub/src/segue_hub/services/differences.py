"""Differences: what changed about a customer between two portraits, as data and in words.

Owns which changes are told and how they are said. Two portraits of the same moment differ in nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from .portrait import Plain

_TOLD: Final = ("consents", "subscriptions", "choices", "arms")
_TELLING: Final = (
    "identifiers", "traits", *_TOLD, "claims", "journeys", "audiences", "activity", "decisions", "actions",
)  # fmt: skip


def difference(before: Plain, after: Plain) -> Plain:
    """What changed from one portrait to another.

    Returns:
        `customer`, `from`, `to`, one entry for each sort of change, the number of `facts` that came, and `words`:
        all changes in sentences, none where nothing changed.
    """
    changes: Plain = {
        "identifiers": _comings(before["identifiers"], after["identifiers"]),
        "traits": _turns(_values(before["traits"]), _values(after["traits"])),
        **{name: _turns(before[name], after[name]) for name in _TOLD},
        "claims": _turns(_holders(before["claims"]), _holders(after["claims"])),
        "journeys": _journeys(before, after),
        "audiences": _comings(before["audiences"], after["audiences"]),
        "activity": _turns(_totals(before["activity"]), _totals(after["activity"])),
        **{name: _fresh(before[name], after[name]) for name in ("decisions", "actions")},
    }
    return {
        "customer": after["customer"],
        "was": before["customer"],
        "from": before["at"],
        "to": after["at"],
        "plan": after["plan"],
        "facts": after["facts"] - before["facts"],
        **changes,
        "words": [sentence for name in _TELLING for sentence in _words(name, changes[name])],
    }


def _values(traits: Mapping[str, Plain]) -> Plain:
    return {name: trait["value"] for name, trait in traits.items()}


def _holders(claims: Mapping[str, Plain]) -> Plain:
    return {scope: claim["holder"] for scope, claim in claims.items()}


def _totals(activity: Mapping[str, Plain]) -> Plain:
    return {name: seen["total"] for name, seen in activity.items()}


def _comings(before: Iterable[str], after: Iterable[str]) -> Plain:
    was, now = list(before), list(after)
    came, went = [name for name in now if name not in was], [name for name in was if name not in now]
    return {"joined": came, "left": went} if came or went else {}


def _turns(before: Plain, after: Plain) -> Plain:
    """By name, what it was and is; None where there was or is nothing."""
    return {
        name: {"from": before.get(name), "to": after.get(name)}
        for name in sorted({*before, *after})
        if (name in before, before.get(name)) != (name in after, after.get(name))
    }


def _fresh(before: Iterable[Plain], after: Iterable[Plain]) -> list[Plain]:
    known = {fact["id"] for fact in before}
    return [fact for fact in after if fact["id"] not in known]


def _journeys(before: Plain, after: Plain) -> list[Plain]:
    was, now = _standings(before), _standings(after)
    found = []
    for journey in sorted({*was, *now}):
        standing = was.get(journey), now.get(journey)
        # Only so many ended journeys are kept: one that is not told of any more has not changed.
        forgotten = standing[1] is None and standing[0] is not None and standing[0]["ended"]
        if standing[0] != standing[1] and not forgotten:
            map_, key, started_at = journey
            found.append({"map": map_, "key": key, "started_at": started_at, "from": standing[0], "to": standing[1]})
    return found


def _standings(portrait: Plain) -> dict[tuple[str, str, str], Plain]:
    return {
        (journey["map"], journey["key"], journey["started_at"]): {
            "state": journey["state"], "stage": journey["stage"], "ended": bool(journey["ended_at"])
        }
        for journey in (*portrait["journeys"], *portrait["ended"])
    }  # fmt: skip


def _words(name: str, change: Any) -> list[str]:
    if name == "identifiers":
        return [f"known by {i} now" for i in change.get("joined", ())] + [
            f"known by {i} no longer" for i in change.get("left", ())
        ]
    if name == "audiences":
        return [f"joined audience {a}" for a in change.get("joined", ())] + [
            f"left audience {a}" for a in change.get("left", ())
        ]
    if name == "journeys":
        return [_journey_words(journey) for journey in change]
    if name == "decisions":
        return [f"{f['touchpoint']} decided {f['type']} = {f['properties'].get('value')!r}" for f in change]
    if name == "actions":
        return [f"{f['touchpoint']} did {f['type']} ({f['properties'].get('status')})" for f in change]
    if name == "activity":
        counts = [f"{what} {_count(turn)}" for what, turn in change.items()]
        return [f"seen: {', '.join(counts)}"] if counts else []
    return [f"{name.rstrip('s')} {what}: {_turn_words(turn)}" for what, turn in change.items()]


def _count(turn: Plain) -> str:
    return f"{(turn['to'] or 0) - (turn['from'] or 0):+d}"


def _turn_words(turn: Plain) -> str:
    was, now = turn["from"], turn["to"]
    return f"{now!r}, not told of before" if was is None else f"{was!r} -> {now!r}" if now is not None else "gone"


def _journey_words(journey: Plain) -> str:
    name = f"journey {journey['map']}" + (f" {journey['key']}" if journey["key"] else "")
    was, now = journey["from"], journey["to"]
    if was is None:
        return f"{name} began: {_standing_words(now)}"
    if now is None:
        return f"{name} is no longer told of: it was {_standing_words(was)}"
    return f"{name}: {_standing_words(was)} -> {_standing_words(now)}"


def _standing_words(standing: Plain) -> str:
    return f"{standing['state']} at {standing['stage']}" if standing["stage"] else str(standing["state"])
