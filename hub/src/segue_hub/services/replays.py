"""Replays: the moments of the past at which a touchpoint decided, or would be asked, customer by customer (VE8).

Owns which moments are looked at, and the walk over the log and its customers. Decides nothing: whoever asks runs its
own function. Works in slices, a few at once; memory is bounded by the largest customer, and eight bytes for every leaf
that has something to look at.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Final

from segue.domain.fact import DECISION, EVENT, Fact
from segue.domain.grant import SERVICE
from segue.domain.instant import NEVER, SECOND
from segue.domain.plan import Plan
from segue.domain.vocabulary import did_you_mean

from ..storage.ports import CUT, Store
from .contexts import Contexts
from .failure import Refusal, overloaded
from .hindsight import SECTION, Asking, Hindsight
from .plan_archive import PlanArchive
from .plans import Plans
from .recollection import Entry, Recollection

AT_ONCE: Final = 4
"""Replays of one hub at once."""
STALLED: Final = 30 * SECOND
"""Microseconds without a step, after which a replay that nobody reads makes room for others that wait."""
WINDOW: Final = 4096
"""Positions of the log that are searched in one go."""
LEAVES: Final = 100_000
"""Leaves found between two looks for those that were found twice."""
NOW: Final = "now"
"""Names the plan in force."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which moments. Instants in microseconds.

    Attributes:
        decision: a question, for its recorded decisions.
        kind, type: of facts at which to ask instead.
        since, until: half-open.
        purpose: of the read, for facts.
        plan: digest or its beginning; NOW; empty for that of each decision, for facts the one in force.
    """

    decision: str = ""
    kind: str = ""
    type: str = ""
    since: int = 0
    until: int = NEVER
    purpose: str = SERVICE
    plan: str = ""


@dataclass(frozen=True, slots=True)
class Searched:
    """Through which position the log was searched."""

    position: int


@dataclass(frozen=True, slots=True)
class Looked:
    """How many leaves were looked at, of how many."""

    done: int
    of: int


Walk = Generator["Asking | Searched | Looked | None", None, None]
"""Moments, how far it is, and None where others may have their turn."""


class Replays:
    """Begins replays.

    Args:
        store: the log.
        plans: the plan in force, and the history.
        contexts: how far the log is folded.
        decode: a fact as the store keeps it.
        clock: the hub's time in microseconds.
    """

    def __init__(
        self, store: Store, plans: Plans, contexts: Contexts, decode: Callable[[bytes], Fact], clock: Callable[[], int]
    ) -> None:
        self._store = store
        self._plans = plans
        self._contexts = contexts
        self._decode = decode
        self._clock = clock
        self._under_way: set[Lookback] = set()

    def begin(self, wanted: Wanted, touchpoint: str) -> Lookback:
        """A replay for a touchpoint; to be ended with `end`.

        Raises:
            Refusal: INPUT_INVALID, NAME_UNKNOWN, NOT_FOUND (no such plan), OVERLOADED.
        """
        if bool(wanted.decision) == bool(wanted.type):
            raise Refusal("INPUT_INVALID", "decision: name a question, or facts to ask at (ask_at), and not both")
        if not 0 <= wanted.since < wanted.until <= NEVER:
            raise Refusal("INPUT_INVALID", "until: is not after since. Give a later instant, or none")
        self._make_room()
        archive = PlanArchive(self._store, self._plans, self._decode)
        plan = archive.current if wanted.plan == NOW or wanted.type else None
        if wanted.plan not in ("", NOW):
            plan = archive.plan(self._plans.find(wanted.plan).digest)
        if wanted.type:
            assert plan is not None, "facts are asked at by one plan"
            wanted, plan = _named(wanted, touchpoint, plan), plan.on(archive.current.workspace)
        through = self._contexts.position
        hindsight = Hindsight(self._store, archive, self._decode, touchpoint, through, plan)
        replay = Lookback(self._store, archive, self._decode, hindsight, wanted, touchpoint, through)
        self.stepped(replay)
        self._under_way.add(replay)
        return replay

    def _make_room(self) -> None:
        if len(self._under_way) < AT_ONCE:
            return
        slowest = min(self._under_way, key=lambda replay: replay.stepped_at)
        if self._clock() - slowest.stepped_at < STALLED:
            raise overloaded(f"{AT_ONCE} replays are under way", 1000)
        slowest.given_up = True
        self.end(slowest)

    def stepped(self, replay: Lookback) -> None:
        """It goes on: somebody reads.

        Raises:
            Refusal: OVERLOADED, where it had to make room because nobody did.
        """
        if replay.given_up:
            raise overloaded(f"nobody read this replay for {STALLED // SECOND} s, and another one waited", 1000)
        replay.stepped_at = self._clock()

    def end(self, replay: Lookback) -> None:
        """Makes room for another."""
        self._under_way.discard(replay)


def _named(wanted: Wanted, touchpoint: str, plan: Plan) -> Wanted:
    """With the event's canonical name."""
    if wanted.kind not in SECTION:
        kinds = ", ".join(SECTION)
        raise Refusal("INPUT_INVALID", f"ask_at: {wanted.kind!r} is no kind of fact to ask at. One of {kinds}")
    if wanted.kind != EVENT:
        return wanted
    vocabulary = plan.vocabulary
    type_ = vocabulary.canonical(wanted.type, touchpoint, plan.grant(touchpoint).channel)
    if vocabulary.events and not vocabulary.knows_event(type_):
        hint = did_you_mean(type_, vocabulary.events)
        raise Refusal("NAME_UNKNOWN", f"ask_at: no event is called {type_!r}. {hint}".rstrip())
    return replace(wanted, type=type_)


class Lookback:
    """One replay, looking back. Made by `Replays.begin`.

    Attributes:
        touchpoint: whose it is.
        channel: of the touchpoint, by the plan in force.
        positions: how many the log has that are looked at.
        stepped_at: when it last went on.
        given_up: whether it had to make room.
    """

    def __init__(
        self, store: Store, archive: PlanArchive, decode: Callable[[bytes], Fact], hindsight: Hindsight,
        wanted: Wanted, touchpoint: str, through: int,
    ) -> None:  # fmt: skip
        self._store = store
        self._archive = archive
        self._decode = decode
        self._hindsight = hindsight
        self._wanted = wanted
        self._refused = bool(store.verdicts())
        self._leaves = array("q")
        self._done = bytearray()
        self.touchpoint = touchpoint
        self.channel = archive.current.grant(touchpoint).channel or touchpoint
        self.positions = through
        self.stepped_at = 0
        self.given_up = False

    def walk(self) -> Walk:
        """Everything, once."""
        yield from self._search()
        self._done = bytearray(len(self._leaves))
        for index, leaf in enumerate(self._leaves):
            if not self._done[index]:
                yield from self._look(leaf)
                self._done[index] = 1
            yield Looked(index + 1, len(self._leaves))

    def _search(self) -> Walk:
        """Finds the leaves that have something to look at."""
        wanted, leaves, room = self._wanted, self._leaves, LEAVES
        text = (wanted.decision or wanted.type).encode()
        for after in range(0, self.positions, WINDOW):
            upto = min(after + WINDOW, self.positions)
            leaves.extend(self._store.holding(after, upto, wanted.since, wanted.until, text))
            if len(leaves) >= room:
                leaves = array("q", sorted(set(leaves)))
                room = 2 * len(leaves) + LEAVES
            yield Searched(upto)
        self._leaves = array("q", sorted(set(leaves)))

    def _look(self, leaf: int) -> Walk:
        """All customers who have facts of a leaf; and all of their leaves that are theirs alone."""
        store, hindsight, wanted = self._store, self._hindsight, self._wanted
        with store.snapshot():
            name = store.names([leaf])[leaf]
            known = store.resolve(name)
            assert known is not None, "a leaf is an identifier"
            own = store.eras(leaf) if known.stated == CUT else [known]
        for customer in dict.fromkeys(era.customer for era in own):
            past = Recollection(store, self._decode, customer, self.positions)
            yield from past.read(self._archive.current, by_order=bool(wanted.type), refused=self._refused)
            entries = [e for e in past.entries if e.leaf in (past.whole | {leaf}) and self._is_wanted(e)]
            if wanted.decision:
                yield from hindsight.at_decisions(past, customer, entries)
            else:
                yield from hindsight.at_facts(past, customer, entries, wanted.purpose)
            for index in map(self._index, past.whole - {leaf}):
                if index is not None:
                    self._done[index] = 1

    def _is_wanted(self, entry: Entry) -> bool:
        fact, wanted = entry.fact, self._wanted
        if not wanted.since <= fact.occurred_at < wanted.until:
            return False
        if wanted.decision:
            if fact.kind != DECISION or fact.type != wanted.decision or fact.touchpoint != self.touchpoint:
                return False
        elif fact.kind != wanted.kind or fact.type != wanted.type:
            return False
        index = self._index(entry.leaf)
        return index is not None and not self._done[index]

    def _index(self, leaf: int) -> int | None:
        index = bisect_left(self._leaves, leaf)
        return index if index < len(self._leaves) and self._leaves[index] == leaf else None
