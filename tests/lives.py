"""Random lives: customers who share identifiers, what they do, and what is said about who is one with whom.

Owns a hypothesis strategy of such logs, and `Lives`: a store that took facts in, with the services that read it, as the
hub puts them together but without a network. Limits are low, so that every refusal happens.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st
from segue.domain.content import Content
from segue.domain.fact import CONSENT, EVENT, LINK, TRAIT, Fact, check, derived_id, properties_bytes
from segue.domain.fold import advance
from segue.domain.identifier import Identifier
from segue.domain.plan import Plan
from segue.domain.section import encode
from segue.wire import fact_from_bytes, fact_to_bytes, facts_from_bytes
from segue_hub.services.affected import Affected
from segue_hub.services.blocked_values import BlockedValues
from segue_hub.services.contexts import Contexts
from segue_hub.services.explanations import Explanations
from segue_hub.services.identities import Identities
from segue_hub.services.moments import Moments
from segue_hub.services.past import Past
from segue_hub.services.plans import Plans
from segue_hub.services.previews import Previews
from segue_hub.services.resolution import Resolution
from segue_hub.services.resolved import Memory
from segue_hub.storage.memory import MemoryStore
from segue_hub.storage.ports import Store

from tests.building import BEGIN, MINUTE, SKETCH, document

PLAN = Plan(document({
    **{name: SKETCH[name] for name in ("time_zone", "timeline", "channels", "traits", "events", "maps", "audiences")},
    "identifiers": {
        "account": {"priority": 1, "unique": True}, "email": {"priority": 2, "per_customer": 2},
        "phone": {"priority": 3, "partners": 2}, "cookie": {"priority": 9, "partners": 3},
    },
    "identifiers_per_customer": 7,
}))  # fmt: skip
POOL = [Identifier(kind, f"{kind[0]}{n}") for kind in ("account", "email", "phone", "cookie") for n in range(3)]
_HAPPENS = (
    (EVENT, "transfer.started", {"transfer_id": "T1"}), (EVENT, "transfer.completed", {"transfer_id": "T1"}),
    (EVENT, "help.searched", {}), (TRAIT, "value_tier", {"value": "low"}), (TRAIT, "value_tier", {"value": "high"}),
    (CONSENT, "marketing", {"state": "granted"}), (CONSENT, "marketing", {"state": "withdrawn"}), (LINK, "link", {}),
)  # fmt: skip


@st.composite
def statements(draw: st.DrawFn, facts: Sequence[Fact], number: int, at: int) -> Fact:
    """A retraction, ending or separation; a retraction often of one of the facts."""
    kind = draw(st.sampled_from(["retraction", "ending", "separation"]))
    names = draw(st.lists(st.sampled_from(POOL), min_size=2, max_size=2, unique=True))
    raw = b"{}"
    linking = [fact for fact in facts if len(fact.identifiers) > 1]
    if linking and draw(st.booleans()):
        other = draw(st.sampled_from(linking))
        names = list(other.identifiers)[:2]
        if kind == "retraction" and draw(st.booleans()):
            raw = properties_bytes({"fact": other.id.hex()})
    return Fact(derived_id(at, "lives", f"{number}"), kind, kind, at, number, tuple(names), raw=raw)


@st.composite
def lives(draw: st.DrawFn, most: int = 14) -> list[Fact]:
    """Facts in the order of arrival, which is not that of their times."""
    facts: list[Fact] = []
    for number in range(draw(st.integers(1, most))):
        at = BEGIN + draw(st.integers(0, 12)) * 5 * MINUTE
        if draw(st.integers(0, 9)) < 3:
            facts.append(draw(statements(facts, number, at)))
            continue
        kind, type_, properties = draw(st.sampled_from(_HAPPENS))
        size = draw(st.sampled_from([1, 2, 2, 2, 3]))
        names = draw(st.lists(st.sampled_from(POOL), min_size=size, max_size=size, unique=True))
        id_ = derived_id(at, "lives", f"{number}")
        facts.append(
            Fact(id_, kind, type_, at, number, tuple(names), "web", "test", None, properties_bytes(properties))
        )
    for fact in facts:
        check(fact)
    return facts


class Lives:
    """A store, and who reads it. Each unit is received a second after the one before."""

    def __init__(self, store: Store | None = None, plan: Plan = PLAN) -> None:
        self.store = store or MemoryStore()
        self.now = BEGIN
        self.plans = Plans(self.store, self.clock)
        self.plans.current = plan
        self.contexts = Contexts(self.store, self.plans, facts_from_bytes)
        self.moments = Moments(self.store, self.plans, self.clock, fact_from_bytes)
        self.identities = Identities(self.store)
        self.past = Past(self.store, self.identities, fact_from_bytes)
        self.previews = Previews(self.store, self.plans, self.clock, fact_from_bytes)
        self.explanations = Explanations(self.store, self.identities, self.moments, fact_from_bytes, BlockedValues())
        self.affected = Affected(self.store, self.plans, self.identities, self.moments, fact_from_bytes)
        self._memory = Memory()

    def clock(self) -> int:
        return self.now

    def take(self, facts: Sequence[Fact]) -> None:
        """One unit of writing."""
        self.now += 1_000_000
        position, number = self.store.head()
        with self.store.unit() as unit:
            names = [name for fact in facts for name in fact.identifiers]
            resolution = Resolution(unit, self.plans.current.kinds, number, names, self._memory, fact_from_bytes)
            for fact in facts:
                position += 1
                leaf = resolution.link(fact, position)
                order = fact.occurred_at, fact.seq
                unit.append(position, fact.id, leaf.number, leaf.bucket, order, self.now, fact_to_bytes(fact))
            resolved = resolution.settle(position)
        resolution.remember(resolved)
        self.contexts.resolved(resolved)
        for customer in list(self.contexts.customers()):
            self.contexts._heads.pop(customer, None)

    def everybody(self) -> set[frozenset[tuple[Identifier, int, int]]]:
        """Every customer, by its identifiers and their eras."""
        customers = (self.store.members(customer) for customer in self.contexts.customers())
        return {frozenset((name, own.since, own.until) for name, own in members) for members in customers}

    def read(self, name: Identifier, at: int) -> bytes | None:
        """The complete content of whom an identifier resolves to now, advanced to an instant."""
        known = self.contexts.find(name)
        if known is None:
            return None
        content = self.contexts.read(known.customer).content.fork()
        advance(content, self.plans.current, at)
        return self.bytes_of(content)

    def bytes_of(self, content: Content) -> bytes:
        """A content as bytes."""
        return encode(content, self.plans.current)
