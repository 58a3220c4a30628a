"""Hindsight: what a touchpoint could know at a moment of the past, so that it can be asked again as then (VE8).

Owns the step from a recorded decision, or from a fact of the log, to the context that was seen, or would have been;
and that nobody sees more by looking back than by looking: the projection is the caller's own, by its grant of then as
far as it still has it. What cannot be made again as it was is told, with the reason, and never guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from segue.domain.decision_fact import Basis, basis_from, is_from
from segue.domain.fact import ACTION, CONSENT, EVENT, SUBSCRIPTION, TRAIT, Fact
from segue.domain.freshness import PERSISTED
from segue.domain.grant import Grant
from segue.domain.identifier import Identifier
from segue.domain.plan import Plan
from segue.domain.projection import hidden_sections, project
from segue.domain.section import Section
from segue.domain.tree_reading import trait_section

from ..storage.ports import Store
from .failure import Refusal
from .moments import Moment
from .plan_archive import PlanArchive
from .recollection import Entry, Reach, Recollection
from .stored_content import dumps

SECTION: Final = {EVENT: "timeline", CONSENT: "consents", SUBSCRIPTION: "subscriptions", ACTION: "actions", TRAIT: ""}
"""By kind of fact, the section that a touchpoint has to be granted to be told of those of others."""

INCOMPLETE: Final = "INCOMPLETE"
HISTORY_CUT: Final = "HISTORY_CUT"
PLAN_UNKNOWN: Final = "PLAN_UNKNOWN"
WORKSPACE_UNKNOWN: Final = "WORKSPACE_UNKNOWN"
OWN_FACT_UNKNOWN: Final = "OWN_FACT_UNKNOWN"
VERSION_UNKNOWN: Final = "VERSION_UNKNOWN"


@dataclass(slots=True)
class Asking:
    """One moment with what could be known at it. Proto: `segue.v1.ReplayMoment`.

    Attributes:
        fact: the recorded decision, or the fact at which is asked, as far as the caller may see it.
        customer: today, by number.
        at: the moment, in microseconds.
        plan: to read by, with the workspace as the caller was told of it.
        sections: of the context; none where nobody was known.
        overlay: own facts over it.
        version: of the context.
        gap: why it cannot be asked again as then; then nothing else is told.
        late, merged_late: what had happened by then and was not known; see `Recollection.unheard`.
        narrowed: whether the caller may read less now than it could then.
    """

    fact: Fact
    customer: int
    at: int
    plan: Plan
    sections: list[Section] = field(default_factory=list)
    overlay: list[Fact] = field(default_factory=list)
    version: int = 0
    gap: str = ""
    late: int = 0
    merged_late: bool = False
    narrowed: bool = False


class _Gap(Exception):
    """It cannot be asked again as then."""


Askings = Generator["Asking | None", None, None]
"""Moments, and None where others may have their turn."""


class Hindsight:
    """What one touchpoint could know. Made for one replay.

    Args:
        store: the log.
        archive: plans as they were.
        decode: a fact as the store keeps it.
        touchpoint: who asks.
        through: the last position that is looked at.
        plan: to be used in place of that of each decision; None for theirs.
    """

    def __init__(
        self, store: Store, archive: PlanArchive, decode: Callable[[bytes], Fact], touchpoint: str, through: int,
        plan: Plan | None,
    ) -> None:  # fmt: skip
        self._store = store
        self._archive = archive
        self._decode = decode
        self._touchpoint = touchpoint
        self._through = through
        self._plan = plan
        self._now = archive.current.grant(touchpoint)
        self._grants: dict[tuple[str, str], tuple[Grant, bool]] = {}

    # -- recorded decisions --------------------------------------------------------------------------------------------

    def at_decisions(self, past: Recollection, customer: int, decisions: Sequence[Entry]) -> Askings:
        """What was known at decisions of the touchpoint about one customer."""
        told = [(_basis(entry.fact), entry) for entry in decisions]
        own = {entry.fact.id: entry.fact for entry in past.entries}
        for basis, entry in sorted(told, key=lambda t: (t[0].version if t[0] is not None else 0, t[1].position)):
            asking = Asking(entry.fact, customer, 0, self._plan or self._archive.current)
            try:
                yield from self._remember(asking, basis, entry, past, own)
            except _Gap as gap:
                asking.gap, asking.sections, asking.overlay = str(gap), [], []
            yield asking

    def _remember(
        self, asking: Asking, basis: Basis | None, entry: Entry, past: Recollection, own: dict[bytes, Fact]
    ) -> Generator[None, None, None]:
        details: dict[str, Any] = asking.fact.properties
        if basis is None or not isinstance(details.get("at"), int) or not isinstance(details.get("plan"), str):
            raise _Gap(INCOMPLETE)
        asking.at, asking.version = details["at"], basis.version
        asking.plan = self._read_by(details["plan"], basis, entry)
        asking.overlay = [self._own_fact(id_, own) for id_ in basis.overlay]
        if not basis.version:
            if details.get("freshness") == PERSISTED:
                raise _Gap(VERSION_UNKNOWN)
            self._look_around(asking, asking.fact.identifiers, entry, past)  # nobody was known
            return
        if basis.version > self._through or not is_from(self._store.incarnation, basis):
            raise _Gap(HISTORY_CUT)
        digest = self._plan.digest if self._plan is not None else basis.folded or details["plan"]
        plan = self._archive.known(digest, basis.version)
        if plan is None:
            raise _Gap(PLAN_UNKNOWN)
        in_force = self._archive.in_force(basis.version)
        # Who was known by name only, by what was said of her links, had a context too: an empty one.
        cluster, count = yield from past.of(asking.fact.identifiers[0], Reach(basis.version), in_force)
        yield from cluster.fold(plan, count)
        grant, asking.narrowed = self._granted(self._plan or in_force, basis.purpose)
        moment = basis.outcomes_at or asking.at
        asking.sections, _ = project(cluster.content, plan, grant, basis.purpose, moment, dumps)
        self._look_around(asking, cluster.names, entry, past)

    @staticmethod
    def _look_around(asking: Asking, names: Collection[Identifier], entry: Entry, past: Recollection) -> None:
        moment = Moment(asking.at, asking.version, asking.plan)
        heard = {asking.fact.id, *(fact.id for fact in asking.overlay)}
        asking.late, asking.merged_late = past.unheard(names, moment, entry.position, heard)

    def _read_by(self, digest: str, basis: Basis, entry: Entry) -> Plan:
        """The plan that a decision was made by, with the workspace that the touchpoint had been told of."""
        plan = self._archive.plan(self._plan.digest if self._plan is not None else digest)
        if plan is None:
            raise _Gap(PLAN_UNKNOWN)
        if not basis.workspace:
            return plan
        in_force = self._archive.plan(digest) or plan
        told = self._archive.told(in_force, basis.workspace, entry.position, entry.fact.occurred_at)
        if told is None:
            raise _Gap(WORKSPACE_UNKNOWN)
        return plan.on(told)

    def _own_fact(self, id_: bytes, own: dict[bytes, Fact]) -> Fact:
        """A fact that lay over the context; of another touchpoint's, nothing is told by way of an id."""
        fact = own.get(id_)
        if fact is None:
            position = self._store.find([id_]).get(id_, 0)
            body = self._store.log(position - 1, 1)[0][1] if position else None
            fact = self._decode(body) if body is not None else None
        if fact is None or fact.touchpoint != self._touchpoint:
            raise _Gap(OWN_FACT_UNKNOWN)
        return fact

    # -- facts of the log ----------------------------------------------------------------------------------------------

    def at_facts(self, past: Recollection, customer: int, facts: Sequence[Entry], purpose: str) -> Askings:
        """What had happened by each of these facts of one customer, the fact itself included.

        One of the touchpoint's own lies over the context, as it does when somebody tells of it and asks at once. One
        that another told of is in it, as it is once it has come.

        Raises:
            Refusal: NOT_GRANTED, where the touchpoint may not be told of such facts.
        """
        plan = self._plan or self._archive.current
        grant, narrowed = self._granted(plan, purpose)
        for entry in facts:
            fact = entry.fact
            own = fact.touchpoint == self._touchpoint
            if not own:
                self._check_told(fact, plan, grant, purpose)
            shown = fact if own else _seen(fact, grant, purpose)
            asking = Asking(shown, customer, fact.occurred_at, plan, narrowed=narrowed)
            asking.overlay = [fact] if own else []
            reach = Reach(self._through, fact.order, before=own)
            cluster, count = yield from past.of(plan.kinds.strongest(fact.identifiers), reach, plan)
            if count:
                yield from cluster.fold(plan, count)
                asking.version = entry.position
                asking.sections, _ = project(cluster.content, plan, grant, purpose, asking.at, dumps)
            yield asking

    def _check_told(self, fact: Fact, plan: Plan, grant: Grant, purpose: str) -> None:
        section = SECTION[fact.kind] or trait_section(fact.type, plan.vocabulary)
        if not grant.may_read(section, purpose):
            raise Refusal(
                "NOT_GRANTED",
                f"ask_at: touchpoint {self._touchpoint!r} may not read {section!r} for {purpose!r}, and others told of"
                f" {fact.type!r}. Add it under `reads` in touchpoints.yaml, or ask at facts of its own",
            )

    # -- grants --------------------------------------------------------------------------------------------------------

    def _granted(self, then: Plan, purpose: str) -> tuple[Grant, bool]:
        """The grant of then, as far as the touchpoint still has it; and whether that is less."""
        key = (then.digest, purpose)
        if key not in self._grants:
            grant = then.grant(self._touchpoint)
            hidden = hidden_sections(then, grant, purpose)
            withheld = hidden_sections(then, self._now, purpose) - hidden
            if withheld:
                every = hidden_sections(then, Grant(touchpoint=self._touchpoint), purpose)
                reads = {purpose: tuple(sorted(every - hidden - withheld))}
                grant = Grant(touchpoint=self._touchpoint, channel=grant.channel, reads=reads)
            self._grants[key] = grant, bool(withheld)
        return self._grants[key]


def _basis(fact: Fact) -> Basis | None:
    try:
        return basis_from(fact.properties)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _seen(fact: Fact, grant: Grant, purpose: str) -> Fact:
    """A fact that somebody else told of, as far as its section tells of it."""
    identifiers = fact.identifiers if grant.may_read("identity", purpose) else ()
    interaction = fact.interaction if grant.may_read("timeline", purpose) else None
    return Fact(
        fact.id, fact.kind, fact.type, fact.occurred_at, fact.seq, identifiers, fact.channel, fact.touchpoint,
        interaction, fact.raw,
    )  # fmt: skip
