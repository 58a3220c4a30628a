"""Recovery of the ledger: whose facts were durable when the hub ended, and not derived yet.

Owns the reading of the change log behind the ledger's position. Customers who became one or came apart there have a
wake-up of the unit that did it; all others are named by their facts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Final

from segue.domain.fact import Fact

from ..storage.ports import Known, Store
from .memberships import News

PAGE: Final = 1_000
"""Changes of the log looked at in one go."""


def changed_after(
    store: Store, decode: Callable[[bytes], Fact], position: int, last: int
) -> tuple[dict[int, News], int]:
    """Reads a page of the change log behind a position.

    Args:
        store: where it is.
        decode: a fact as the store keeps it.
        position: through which it was read.
        last: through which it is to be read.

    Returns:
        By customer, what changed of her there; and the position through which it was read now.
    """
    rows, changed = store.log(position, PAGE), defaultdict[int, News](News)
    for fact in (decode(body) for _, body in rows if body is not None):
        known = [found for found in map(store.resolve, fact.identifiers) if found is not None]
        moved = any(own.moved > position for own in known)
        for customer in {number for own in known for number in _ever(store, own)}:
            changed[customer].join(News(moved, fact.occurred_at))
    return changed, rows[-1][0] if rows else last


def _ever(store: Store, known: Known) -> set[int]:
    """Whoever is, or was, known by an identifier: also those whom a weaker one of the same fact named before."""
    return {known.number, known.customer, *(era.customer for era in store.eras(known.number))}
