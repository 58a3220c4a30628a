"""The workspace: what is so for everybody, told by facts that belong to no customer (FA5).

Owns all incidents together: their plain form and its digest, how much of them SDKs are told, and from which instant on
two workspaces differ. It comes with the plan: `plan.workspace` is what maps, audiences and guardrails read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from .expression.value import NEVER
from .fact import Fact
from .incident import UNHEARD, Incident, IncidentState, incident_of
from .instant import SECOND
from .once import once

REMEMBERED: Final = 30 * 86_400 * SECOND
"""How long (microseconds) SDKs are told of what is over."""


@dataclass(frozen=True)
class Workspace:
    """What workspace facts say. Immutable.

    Attributes:
        incidents: by id.
    """

    incidents: Mapping[str, Incident] = field(default_factory=dict)

    def state(self, incident: str, at: int) -> IncidentState:
        """How an incident is at a moment; one that nobody has told of is not open."""
        found = self.incidents.get(incident)
        return found.at(at) if found is not None else UNHEARD

    def open_incidents(self, at: int) -> list[str]:
        """The ids of those that are open at a moment, the one that was opened first at the front."""
        found = [(name, incident.at(at)) for name, incident in self.incidents.items()]
        return [name for name, state in sorted(found, key=lambda f: (f[1].opened_at, f[0])) if state.open]

    def telling(self, facts: Mapping[str, Iterable[Fact]]) -> Workspace:
        """With what is now known of some incidents, from all facts about each."""
        return Workspace({**self.incidents, **{name: incident_of(name, about) for name, about in facts.items()}})

    @once
    def document(self) -> dict[str, Any]:
        """The plain (JSON) form, as SDKs get it."""
        incidents = {name: [state.parts for state in found.states] for name, found in sorted(self.incidents.items())}
        return {"incidents": incidents}

    @once
    def digest(self) -> str:
        """The name of what is said: the first 16 hex digits of a SHA-256."""
        return hashlib.sha256(workspace_bytes(self)).hexdigest()[:16]

    def told(self, named: frozenset[str], at: int) -> Workspace:
        """What SDKs are told at a moment: what was over 30 days before is left out.

        Args:
            named: incidents that the plan reads: they are always told of.
            at: now, in microseconds.
        """
        incidents = {}
        for name, incident in self.incidents.items():
            states = [s for s, end in _spans(incident) if end > at - REMEMBERED]
            if name in named or len(states) > 1 or states[0].open or states[0].since > at - REMEMBERED:
                incidents[name] = Incident(name, tuple(states))
        return Workspace(incidents)

    def history(self, named: Iterable[str], at: int) -> str:
        """A digest of how these incidents were until a moment: what a fold through it may have read."""
        states = [
            [name, *(state.parts for state in self.incidents[name].states if state.since <= at)]
            for name in sorted(named)
            if name in self.incidents
        ]
        return hashlib.sha256(json.dumps([s for s in states if len(s) > 1]).encode()).hexdigest()[:16]

    def differs_from(self, other: Workspace, named: Iterable[str]) -> int:
        """The first instant (microseconds) at which one of these incidents is another; NEVER where none ever is."""
        return min((_first_difference(self._states(n), other._states(n)) for n in named), default=NEVER)

    def _states(self, incident: str) -> tuple[IncidentState, ...]:
        found = self.incidents.get(incident)
        return tuple(found.states) if found is not None else ()


def _spans(incident: Incident) -> Iterable[tuple[IncidentState, int]]:
    """Each state with its end."""
    ends = [state.since for state in incident.states[1:]]
    return zip(incident.states, [*ends, NEVER], strict=True)


def _first_difference(left: tuple[IncidentState, ...], right: tuple[IncidentState, ...]) -> int:
    for one, other in zip(left, right, strict=False):
        if one != other:
            return min(one.since, other.since)
    longer = left if len(left) > len(right) else right
    rest = longer[min(len(left), len(right)) :]
    return rest[0].since if rest else NEVER


def workspace_bytes(workspace: Workspace) -> bytes:
    """A workspace as bytes: canonical JSON."""
    return json.dumps(workspace.document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def workspace_of(document: Mapping[str, Any]) -> Workspace:
    """The workspace of a document. What it holds more than is known here is left out: a newer hub may say more.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: it is none.
    """
    incidents = document["incidents"].items()
    return Workspace({name: Incident(name, tuple(map(_state_of, states))) for name, states in incidents})


def _state_of(plain: Sequence[Any]) -> IncidentState:
    told = plain[: len(_STATE)]
    if [type(value) for value in told] != _STATE:
        raise ValueError(f"{plain!r:.80} is no state of an incident")
    return IncidentState(*told)


_STATE: Final = [int, bool, int, int, str, str]
"""The types of a state's parts, in their order."""
QUIET: Final = Workspace()
"""A workspace of which nothing was told."""
