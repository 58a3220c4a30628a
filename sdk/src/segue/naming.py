"""Naming: a customer's identifiers as a host gives them, brought to their normal form on the host's thread.

Owns that no fork comes between where phone numbers are read: their library imports what it knows of a country when it
meets the first number of it, and a child that was forked in the midst of that would wait for that module for ever.
"""

from __future__ import annotations

from .domain.identifier import Identifier, IdentifierKinds
from .fork import unforked


def normal(kinds: IdentifierKinds, identifier: Identifier) -> Identifier:
    """The identifier in its normal form.

    Raises:
        FactError: it can be none.
    """
    if not kinds.reads_numbers(identifier.kind):
        return kinds.normal(identifier)
    with unforked:
        return kinds.normal(identifier)
