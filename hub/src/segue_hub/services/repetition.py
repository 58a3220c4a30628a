"""Repetition: a fact that is offered again, and another one under the same id (FA1).

Owns what "the same fact" means. Knows nothing of units or of who else is told.
"""

from __future__ import annotations

from collections.abc import Mapping

from segue.domain.fact import Fact
from segue.domain.vocabulary import Vocabulary

from ..storage.ports import Row
from .admission import DUPLICATE, rejected
from .entry import Decode, Entry


def deduplicated(
    entries: list[Entry], stored: Mapping[bytes, Row], decode: Decode, vocabulary: Vocabulary
) -> list[Entry]:
    """Those whose id is new; the others' results say what they are.

    Args:
        entries: in their order; the first of an id counts.
        stored: the facts among them that the store has, by id.
        decode: a fact as the store keeps it.
        vocabulary: of the plan in force.
    """
    seen: dict[bytes, Entry] = {}
    fresh = []
    for entry in entries:
        id_ = entry.fact.id
        first = seen.get(id_)
        body = first.body if first is not None else stored[id_].body if id_ in stored else None
        if body is None:
            seen[id_] = entry
            fresh.append(entry)
        elif body == entry.body or _same(decode(body), entry, vocabulary):
            entry.result = DUPLICATE
        else:
            entry.result = rejected("ID_CONFLICT", f"id: {id_.hex()} names another fact. Use a new id", "id")
    return fresh


def _same(stored: Fact, entry: Entry, vocabulary: Vocabulary) -> bool:
    """Whether a fact offered again is the stored one; foreign clocks were corrected on first sight."""
    if entry.foreign:
        entry.fact.occurred_at = stored.occurred_at
    if entry.fact.id[6] >> 4 == 8:
        # Made from source and native id (FA1): in a re-sorted file only the row's number differs.
        entry.fact.seq = stored.seq
    fact = entry.fact
    if stored.content() == fact.content():
        return True
    # A plan pushed in between may have renamed the type, filled in the channel or normalised identifiers.
    return (
        (stored.kind, stored.occurred_at, stored.seq, stored.touchpoint, stored.interaction, stored.raw)
        == (fact.kind, fact.occurred_at, fact.seq, fact.touchpoint, fact.interaction, fact.raw)
        and vocabulary.canonical(stored.type, stored.touchpoint, stored.channel) == fact.type
        and not set(stored.identifiers).isdisjoint(fact.identifiers)
    )
