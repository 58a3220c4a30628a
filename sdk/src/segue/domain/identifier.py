"""Identifiers: (kind, value), how strong a kind is, and which values mean nobody.

Owns normalisation, blocked values and the choice of a fact's leaf (semantics FA2, ID1). Knows nothing of facts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from ..errors import FactError
from .phone import e164

MAX_LENGTH: Final = 512
"""Characters of a kind or value; longer ones are refused."""


class Identifier(NamedTuple):
    """One name of a customer, e.g. `("email", "ann@example.com")`. Proto: `segue.v1.Identifier`."""

    kind: str
    value: str

    def __str__(self) -> str:
        return f"{self.kind}={self.value}"


def identifier_of(kind: str, value: object) -> Identifier:
    """An identifier from what a host gives: texts and whole numbers.

    Raises:
        FactError: the value is neither.
    """
    if isinstance(value, str):
        return Identifier(kind, value)
    if isinstance(value, int) and not isinstance(value, bool):
        return Identifier(kind, str(value))
    raise FactError(f"{kind} is of type {type(value).__name__}", field="identifiers", cure="Give a text")


def parse_identifier(text: str) -> Identifier:
    """Reads `kind=value`.

    Raises:
        FactError: there is no `=`.
    """
    kind, equals, value = text.partition("=")
    if not equals or not kind:
        raise FactError(f"{text!r} is no identifier", field="identifier", cure="Write kind=value, e.g. account=A-1009")
    return Identifier(kind, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentifierKind:
    """What the plan says of a kind of identifier.

    Attributes:
        priority: 1 is the strongest.
        normalise: `""`, `email`, `lower`, `digits` or `e164` (a phone number as E.164).
        region: of phone numbers without a country code, e.g. `DE` (ISO 3166).
        per_customer: how many one customer may have; 0 for no limit.
        partners: how many of its own strength or stronger one may be linked with; one with more links nobody. 0 for the
            default.
    """

    priority: int
    normalise: str = ""
    region: str = ""
    per_customer: int = 0
    partners: int = 0


DEFAULT_KINDS: Final[Mapping[str, IdentifierKind]] = {
    "account": IdentifierKind(priority=1),
    "customer": IdentifierKind(priority=2),
    "email": IdentifierKind(priority=3, normalise="email"),
    "phone": IdentifierKind(priority=4, normalise="digits"),
    "device": IdentifierKind(priority=8),
    "cookie": IdentifierKind(priority=9),
}
"""Kinds where no plan names any."""
PARTNERS: Final = 20
"""Partners of an identifier, unless its kind says otherwise: a household's phone has fewer, a kiosk's cookie more."""
MOST_IDENTIFIERS: Final = 256
"""Identifiers of one customer, unless the plan says otherwise."""
DEFAULT_BLOCKED: Final = ("", "null", "none", "anonymous", "0", "-1", "unknown")
_WEAKEST: Final = 1_000


class IdentifierKinds:
    """The kinds and blocked values of a plan."""

    __slots__ = ("_blocked", "_kinds", "_rank", "most")

    def __init__(
        self, kinds: Mapping[str, IdentifierKind] = DEFAULT_KINDS, blocked: Iterable[str] = DEFAULT_BLOCKED,
        most: int = MOST_IDENTIFIERS,
    ) -> None:  # fmt: skip
        self.most = most
        self._kinds = dict(kinds)
        self._blocked = frozenset(value.lower() for value in blocked)
        self._rank = {name: kind.priority for name, kind in kinds.items()}

    @property
    def names(self) -> list[str]:
        """The declared kinds, strongest first."""
        return sorted(self._kinds, key=lambda name: (self._rank[name], name))

    def reads_numbers(self, kind: str) -> bool:
        """Whether values of a kind are read as phone numbers, as far as the library for them is there."""
        rule = self._kinds.get(kind)
        return rule is not None and rule.normalise == "e164"

    def normal(self, identifier: Identifier) -> Identifier:
        """The identifier with its value in the kind's normal form.

        Raises:
            FactError: the kind is empty, or one of both is too long or no UTF-8.
        """
        kind, value = identifier
        try:
            kind.encode()
            value.encode()
        except UnicodeEncodeError as error:
            raise FactError(f"{kind!r} is no UTF-8: {error.reason}", field="identifiers") from None
        if not kind or len(kind) > MAX_LENGTH or len(value) > MAX_LENGTH:
            raise FactError(
                f"identifier {kind!r}={value[:40]!r} is empty or longer than {MAX_LENGTH} characters",
                field="identifiers",
            )
        rule = self._kinds.get(kind)
        if rule is None or not rule.normalise:
            return identifier
        if rule.normalise == "e164":
            return Identifier(kind, e164(value, rule.region))
        if rule.normalise == "digits":
            return Identifier(kind, "".join(c for c in value if c.isdigit() or c == "+"))
        return Identifier(kind, value.strip().lower())

    def is_blocked(self, identifier: Identifier) -> bool:
        """Whether the value stands for nobody (`null`, `0`, ...): it never links and never owns."""
        value = identifier.value.strip().lower()
        return not value or value in self._blocked

    def priority(self, kind: str) -> int:
        """How strong a kind is: 1 is the strongest; a kind that the plan does not name is the weakest."""
        return self._rank.get(kind, _WEAKEST)

    def per_customer(self, kind: str) -> int:
        """How many identifiers of a kind one customer may have; 0 for no limit."""
        rule = self._kinds.get(kind)
        return rule.per_customer if rule is not None else 0

    def partners(self, kind: str) -> int:
        """How many of its own strength or stronger one identifier of a kind may be linked with."""
        rule = self._kinds.get(kind)
        return (rule.partners if rule is not None else 0) or PARTNERS

    def limits(self) -> tuple[object, ...]:
        """All that decides which links hold: two plans with the same limits make the same customers."""
        rules = sorted(
            (name, kind.priority, kind.per_customer, self.partners(name)) for name, kind in self._kinds.items()
        )
        return (self.most, *sorted(self._blocked), *rules)

    def strength(self, identifier: Identifier) -> tuple[int, str, str]:
        """Sort key: the strongest identifier is the smallest."""
        return (self._rank.get(identifier.kind, _WEAKEST), identifier.kind, identifier.value)

    def strongest(self, identifiers: Iterable[Identifier]) -> Identifier:
        """The leaf among identifiers of one fact, or the name of a customer among its leaves."""
        return min(identifiers, key=self.strength)
