"""Phone numbers in their normal form, E.164.

Owns the one rule by which two spellings of a number are the same. The hub always has the `phonenumbers` library, which
knows every country's rules; a host that embeds only the SDK may not, and then numbers that do not begin with `+` stay
as they are given: the hub brings them to their form, and decides who is who.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

_SPACING = str.maketrans("", "", " ()-./\u00a0")


@lru_cache(maxsize=1)
def _library() -> Any:
    try:
        import phonenumbers
    except ImportError:  # the SDK has almost no dependencies
        return None
    return phonenumbers


@lru_cache(maxsize=4096)
def e164(value: str, region: str = "") -> str:
    """A number as E.164, e.g. `+4930123456`; what is no number stays as it is, without spaces around it.

    Args:
        value: as dialled or written.
        region: whose rules a number without `+` follows, e.g. `DE`.
    """
    library = _library()
    given = value.strip()
    if library is not None:
        try:
            number = library.parse(given, region or None)
        except library.NumberParseException:
            return given
        if not library.is_possible_number(number):
            return given
        return str(library.format_number(number, library.PhoneNumberFormat.E164))
    return given.translate(_SPACING) if given.startswith("+") else given
