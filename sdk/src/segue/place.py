"""A place under strict caps, from the touchpoint's side: asked for once, in bounded time, before acting (AC2).

Owns the one question to the hub that a host waits for, because it acts, and what is done where no answer comes: each
cap says so. Knows no session.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .domain.content import Content
from .domain.fact import Fact
from .domain.guardrail import Guardrail
from .domain.identifier import Identifier
from .domain.plan import Plan
from .domain.scope import Scope
from .domain.verdict import BLOCK, ENFORCE, Verdict

if TYPE_CHECKING:
    from .transport import Transport

log = logging.getLogger("segue")

DEADLINE: Final = 0.15
"""Seconds that a host waits for an answer, before the behaviour that the cap states."""
HUB_UNREACHABLE: Final = "HUB_UNREACHABLE"


@dataclass(frozen=True, slots=True)
class Place:
    """What came of asking.

    Attributes:
        granted: whether the action may be carried out.
        id: of the reservation; empty where none was needed, or where nobody could be asked.
        expires_at: until when the hub holds it, microseconds; 0 where it holds none.
        verdicts: of the guardrails, as the hub sees them.
        error: `HUB_UNREACHABLE`, or the hub's own reason; empty where it answered.
    """

    granted: bool
    id: bytes = b""
    expires_at: int = 0
    verdicts: Sequence[Verdict] = ()
    error: str = ""

    @property
    def refusal(self) -> Verdict:
        """The verdict that refused it: who holds the place, why and until when."""
        binding = [verdict for verdict in self.verdicts if verdict.binds]
        return max(binding, key=lambda v: v.severity, default=Verdict(kind=BLOCK, guardrail="", reason=self.error))


UNNEEDED: Final = Place(granted=True)


def strict_caps(plan: Plan, action: Mapping[str, Any], at: int) -> list[Guardrail]:
    """The guardrails under which an action needs a place at a moment (microseconds)."""
    return [
        guardrail
        for guardrail in plan.capping
        if guardrail.cap is not None and guardrail.cap.strict and guardrail.mode == ENFORCE
        and guardrail.in_force(at) and guardrail.applies(Scope(Content(), at, plan, action=action))
    ]  # fmt: skip


def ask(
    transport: Transport, id_: bytes, names: Sequence[Identifier], action: Mapping[str, Any], pending: Sequence[Fact],
    caps: Sequence[Guardrail],
) -> Place:  # fmt: skip
    """Asks for a place; blocks for at most `DEADLINE`.

    Args:
        transport: to the hub.
        id_: of the reservation: ours, 16 bytes.
        names: the customer's identifiers.
        action: kind, topic, purpose, channel, advances.
        pending: own facts about the customer that the hub may not have.
        caps: those of `strict_caps`.
    """
    try:
        granted, expires_at, verdicts = transport.reserve(id_, names, action, pending, DEADLINE)
    except Exception as error:  # noqa: BLE001  # whatever it is, there is no answer: the caps say what is done then
        # Perhaps it was granted and only the answer is lost: it is given back, since nothing will be done with it.
        transport.release(id_, names)
        return unreachable(caps, str(error))
    return Place(granted, id_ if granted else b"", expires_at, verdicts)


def unreachable(caps: Sequence[Guardrail], why: str) -> Place:
    """The place of one who could not ask."""
    log.warning("segue: no place could be reserved: %s", why)
    blocking = [
        guardrail for guardrail in caps if guardrail.cap is not None and guardrail.cap.on_unreachable != "allow"
    ]
    verdicts = [
        Verdict(
            kind=BLOCK, guardrail=guardrail.name, owner=guardrail.owner,
            reason=f"{guardrail.reason.rstrip('.')} ({HUB_UNREACHABLE}: nobody knows whether there is a place)",
        )
        for guardrail in blocking
    ]  # fmt: skip
    return Place(granted=not blocking, verdicts=verdicts, error=HUB_UNREACHABLE)
