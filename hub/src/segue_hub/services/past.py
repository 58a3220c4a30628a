"""The past: a customer as it was at an instant, folded anew from the facts of that time (VE8).

Owns which facts make a context as of a moment. The same fold, identity rule and derivation as for now, on fewer facts;
nothing is kept. And what of it a touchpoint may be shown: a wrong merge that was undone shows nobody's facts again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from segue.domain.content import Content
from segue.domain.fact import Fact
from segue.domain.fold import advance
from segue.domain.identifier import Identifier
from segue.domain.instant import NEVER, instant_text

from ..storage.ports import Store
from .differences import difference
from .failure import Refusal, not_found
from .head import head_of
from .identities import Held, Identities
from .moments import Moment
from .portrait import Plain, portrait


@dataclass(frozen=True, slots=True)
class AsOf:
    """A customer at a moment.

    Attributes:
        content: folded through the moment, and advanced to it.
        position: of the newest fact in it.
    """

    held: Held
    content: Content
    position: int

    @property
    def plain(self) -> Plain:
        """The portrait, with what it was asked as."""
        moment = self.held.moment
        names = [str(name) for name in self.held.names]
        known = moment.position if moment.position < NEVER else None
        found = portrait(self.content, moment.plan, moment.at, names, self.position)
        return found | {"as_of": instant_text(moment.at), "known_position": known}


class Past:
    """Reads customers as they were.

    Args:
        store: facts.
        identities: who was who.
        decode: a fact as the store keeps it.
    """

    def __init__(self, store: Store, identities: Identities, decode: Callable[[bytes], Fact]) -> None:
        self._store = store
        self._identities = identities
        self._decode = decode

    def as_of(self, identifier: Identifier, moment: Moment, *, hers_now: bool = False) -> AsOf:
        """A customer at a moment.

        Args:
            identifier: who is asked for.
            moment: which facts, by which plan.
            hers_now: only what is of the same customer by all that is known now: for touchpoints. Others see what was
                known then, right or wrong.

        Raises:
            Refusal: NOT_FOUND, where nobody was known by that identifier.
        """
        with self._store.snapshot():
            number = self._identities.number(identifier, moment)
            held = self._identities.held(number, moment)
            if hers_now:
                held = replace(held, spans=self._identities.still(number, held))
            rows = self._store.facts(held.leaves)
        facts = [(row.position, self._decode(row.body)) for row in rows if row.position <= moment.position]
        if not facts and not _is_named(held):
            raise not_found(f"nobody was known by {identifier} at {instant_text(moment.at)}")
        head = head_of(moment.plan, facts, held.eras)
        advance(head.content, moment.plan, moment.at)
        return AsOf(held, head.content, head.position)

    def diff(self, identifier: Identifier, earlier: Moment, later: Moment) -> Plain:
        """What changed between two moments; before a customer was known, there was nothing.

        Raises:
            Refusal: NOT_FOUND, where nobody was known by that identifier at the later one.
        """
        after = self.as_of(identifier, later)
        try:
            before = self.as_of(identifier, earlier).plain
        except Refusal:
            content = Content()
            advance(content, earlier.plan, earlier.at)
            before = portrait(content, earlier.plan, earlier.at, [str(identifier)], 0) | {"identifiers": []}
        return difference(before, after.plain)


def _is_named(held: Held) -> bool:
    """Whether a fact of the time named the identifier, though it is another one's fact."""
    at = held.moment.at
    return bool(held.part.links) or any(said.at <= at for said in held.part.statements.values())
