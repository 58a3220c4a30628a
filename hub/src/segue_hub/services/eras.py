"""Eras: the time in which an identifier that began anew was whose, one era after the other.

Owns where an era ends, and which customers' facts change hands when that moves. Which eras there are is decided by
`segue.domain.identity`; nothing is read or written here.
"""

from __future__ import annotations

from collections.abc import Iterable

from segue.domain.instant import NEVER

from ..storage.ports import Known


def in_turn(before: Iterable[Known], eras: Iterable[Known], position: int) -> tuple[list[Known], set[int]]:
    """The eras of one identifier, each until the next begins.

    Args:
        before: as they were.
        eras: as they are now, with their customers; in any order.
        position: of the change log, at which that is so.

    Returns:
        The eras, and the customers whose facts are others now because an era was cut, grew or is no more.
    """
    was = {known.since: known for known in before}
    rising = sorted(eras, key=lambda known: known.since)
    found, changed = [], set()
    for known, end in zip(rising, [*(known.since for known in rising[1:]), NEVER], strict=True):
        old = was.pop(known.since, None)
        if old is not None and old.until != end:
            changed.add(known.customer)
            found.append(known._replace(until=end, moved=position))
        else:
            found.append(known._replace(until=end))
    return found, changed | {gone.customer for gone in was.values()}
