"""The edge: what one call published becomes entries that may be written, or verdicts.

Owns the form in which a fact goes on: the bytes that the producer wrote where they can stay, and made anew where the
store keeps fields. Which facts may pass is `admission`'s; nothing is stored here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from segue.domain.fact import ACTION, CONSENT, SUBSCRIPTION, TRAIT, Fact
from segue.domain.grant import Grant

from .admission import Admission, Result
from .entry import Decode, Encode, Entry, Stamp
from .plans import Plans

_REMADE: Final = (TRAIT, CONSENT, SUBSCRIPTION, ACTION)
"""Kinds whose properties the store keeps as fields, not as the bytes that the producer wrote."""


class Edge:
    """Admits what calls bring.

    Args:
        admission: tells which facts may pass.
        plans: the plan in force.
        clock: the hub's time in microseconds.
        encode, decode: a fact as the store keeps it.
        stamp: the same, made of the message that a fact came in.
    """

    def __init__(
        self, admission: Admission, plans: Plans, clock: Callable[[], int], encode: Encode, decode: Decode,
        stamp: Stamp | None,
    ) -> None:  # fmt: skip
        self._admission = admission
        self._plans = plans
        self._clock = clock
        self._encode = encode
        self._decode = decode
        self._stamp = stamp

    def entries(
        self, facts: Sequence[Fact | Result], grant: Grant, sent_at: int, messages: Sequence[Any] | None
    ) -> tuple[list[Result | None], list[Entry]]:
        """The verdicts, None for facts that may go on, and these.

        Args:
            facts: as read from the wire; a `Result` stands for one that could not be read.
            grant: of the touchpoint.
            sent_at: the producer's clock, microseconds; 0 where it keeps none.
            messages: those that the facts were read from, for `stamp`.
        """
        now, plan, admit = self._clock(), self._plans.current, self._admission.admit
        stamp = self._stamp if messages is not None else None
        foreign = bool(sent_at)
        verdicts: list[Result | None] = []
        entries = []
        for fact, message in zip(facts, messages if messages is not None else facts, strict=True):
            if isinstance(fact, Result):
                verdicts.append(fact)
                continue
            named = fact.identifiers
            verdict = admit(fact, grant, plan, now, sent_at)
            verdicts.append(verdict)
            if verdict is not None:
                continue
            if stamp is not None and fact.identifiers == named:
                entries.append(Entry(fact, stamp(message, fact), foreign))
                continue
            body = self._encode(fact)
            # What came by another door than gRPC is folded as it will be read again, so that live is replay.
            entries.append(Entry(self._decode(body) if fact.kind in _REMADE else fact, body, foreign))
        return verdicts, entries
