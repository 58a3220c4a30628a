"""The client's side of Sync as a state machine: no I/O, no clock, no threads.

Owns what is subscribed, what is held, what is pending, and what to send next. Fed with what was received; says what
to send. Knows no protobuf: `wire` translates its messages.

    state         event                     sends                                   becomes
    DOWN          connected                 Hello, Subscribe for every subscription  OPEN
    OPEN          Welcome                   -                                        READY
    READY         subscribe                 Subscribe                                READY
    READY         Context(s)/unchanged/gone -                                        READY (held, overlay drops by id)
    READY         Plan                      PlanReport                               READY (plan kept, or refused)
    READY         Workspace                 -                                        READY (the plan is read with it)
    READY         Audience                  -                                        READY (hosts are told)
    READY         heard by a host           AudienceHeard                            READY (until then it is told again)
    any           a hole in `seq`           -                                        GAPPED (nothing is taken in)
    any           disconnected              -                                        DOWN (what is held stays)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from .domain.fact import Fact
from .domain.identifier import Identifier
from .domain.plan import EMPTY, Plan
from .domain.projection import Origin, receive, without_plan
from .domain.section import Section
from .domain.workspace import Workspace, workspace_of
from .errors import PlanError
from .replica import Held, Replica

DOWN: Final = "DOWN"
OPEN: Final = "OPEN"
READY: Final = "READY"
GAPPED: Final = "GAPPED"
"""A message never came: the stream has to be given up, and all that is held stated on the next."""
_NO_WORKSPACE: Final = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
_NO_PLAN: Final = (PlanError, *_NO_WORKSPACE)
PENDING_SHOWN: Final = 256
"""Own facts shown over one context at most; older ones wait unseen for the hub."""
PENDING_OF: Final = 256
"""Customers of whom one message says what is pending at most: 1.2 MB where all that may be shown is."""
SAMPLES: Final = 8
"""Times of the hub's clock looked at together: what is said waits on its way, and one that waited longest is furthest
behind, so the greatest difference of several is the nearest to the truth."""
SET_BACK: Final = 5_000_000
"""Microseconds: what lies further behind the others did not wait, the hub's clock was set."""
SHOWN_UNSAID: Final = 10_000
"""Own facts shown that the hub was not told of, noted one by one; of more, all that is shown is stated."""
_NEARLY: Final = SHOWN_UNSAID - 100
"""From here on one may be pushed out: several threads note at a time, without a lock."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to send: `hello`, `subscribe`, `unsubscribe`, `pending`, `pending_of_several`, `plan_report`, `status`,
    `watch_audience`, `audience_heard`.
    """

    kind: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message received: `welcome`, `plan`, `workspace`, `context`, `contexts`, `bookmark`, `goodbye`, `audience`,
    `error`.

    `seq` counts a stream's messages; None where it came by no stream, or as a part of `contexts`. `kind` is empty where
    it is not known.
    """

    kind: str
    fields: dict[str, Any]
    seq: int | None = None


def prepare(message: Incoming) -> Incoming:
    """Does the long work of a message (reading sections, compiling a plan) before anybody waits for a lock.

    Returns:
        The message; in place of a context that cannot be read, an error of its subscription: what is held stays, and
        the stream of all others goes on.
    """
    if message.kind == "context" and message.fields["sections"]:
        try:
            message.fields["projected"] = receive(message.fields["sections"])
        except Exception as error:  # noqa: BLE001  # whatever it is made of, it is one customer's
            return unreadable(message.seq, message.fields["subscription"], error)
    elif message.kind == "contexts":
        message.fields["parts"] = [prepare(part) for part in message.fields["parts"]]
    elif message.kind == "plan":
        try:
            message.fields["plan"] = Plan(message.fields["document"])
        except _NO_PLAN:
            message.fields["plan"] = None  # the machine finds the same, and reports it
    elif message.kind == "workspace":
        try:
            message.fields["workspace"] = workspace_of(message.fields["document"])
        except _NO_WORKSPACE:
            message.fields["workspace"] = None  # as above
    return message


def unreadable(seq: int | None, subscription: int, error: Exception) -> Incoming:
    """What stands for a message that cannot be read; it counts, so there is no hole."""
    told = f"a message of the hub cannot be read: {type(error).__name__}: {error}"
    return Incoming("error", {"subscription": subscription, "code": "FRAME_UNREADABLE", "message": told[:500]}, seq)


@dataclass(slots=True)
class Watch:
    """An audience that is watched.

    Attributes:
        tell: hears of members and a reset; where there is a cursor, of tellings and the mark to give to `heard`.
        cursor: names a place in the hub's ledger; empty where the members come anew.
        taken: everything through this number came, and waits for the host or was heard.
        heard: everything through this number was heard.
        cuts: how often the hub's history was cut; numbers of before mean nothing after it.
        refused: whether the hub could not serve it; asked again with the next plan.
    """

    number: int
    audience: str
    purpose: str
    tell: Callable[[Any, Any], None]
    cursor: str = ""
    taken: int = 0
    heard: int = 0
    cuts: int = 0
    refused: bool = False


@dataclass(slots=True)
class Machine:
    """The session machine of one SDK process.

    Attributes:
        instance: names the process.
        keeps: whether contexts are kept on disk, and so the sections that they came in.
        replica: what is held.
        plan: the last good plan.
        refused: digest of a plan that cannot be run here, with the reason.
        offset: hub's clock minus ours, microseconds.
        several: whether the hub takes what is pending of several customers in one message.
        incarnation: of the hub's store, as last heard.
        told: what hosts that watch audiences are to hear; whoever runs the machine calls them, outside any lock.
        reincarnated: whether the hub's history was cut since it was last heard.
    """

    instance: str
    sdk: str
    keeps: bool = False
    replica: Replica = field(default_factory=Replica)
    plan: Plan = EMPTY
    plan_known: bool = False
    refused: tuple[str, str] = ("", "")
    offset: int = 0
    incarnation: str = ""
    reincarnated: bool = False
    state: str = DOWN
    touchpoint: str = ""
    several: bool = False
    goodbye_ms: int = 0
    errors: list[str] = field(default_factory=list)
    told: list[Callable[[], None]] = field(default_factory=list)
    _watches: dict[int, Watch] = field(default_factory=dict)
    _shown: deque[tuple[Held, bytes]] = field(default_factory=lambda: deque(maxlen=SHOWN_UNSAID))
    _overflowed: bool = False
    _offsets: deque[int] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    _next: int = 1
    _seq: int = 0

    def connected(self) -> list[Outgoing]:
        """A stream was opened: says who we are and everything we hold."""
        self.state, self._seq, self.goodbye_ms, self.several = OPEN, 0, 0, False
        hello = {"instance": self.instance, "plan": self.plan.digest if self.plan_known else "",
                 "incarnation": self.incarnation, "sdk": self.sdk,
                 "workspace": self.plan.workspace.digest, "several": True}  # fmt: skip
        subscribes = [self._subscribe(held) for held in self.replica.all()]
        watches = [self._watch(watch) for watch in self._watches.values()]
        return [Outgoing("hello", hello), *subscribes, *watches]

    def disconnected(self) -> None:
        """The stream ended; what is held stays."""
        self.state = DOWN
        self._shown.clear()  # a new stream states what is pending with each subscription

    def subscribe(self, identifier: Identifier, purpose: str) -> tuple[Held, list[Outgoing]]:
        """Begins to hold a customer, or finds what is held already."""
        held = self.replica.find(identifier, purpose)
        if held is not None:
            return held, []
        held = self.replica.add(self._number(), identifier, purpose)
        return held, [self._subscribe(held)] if self.state != DOWN else []

    def unsubscribe(self, held: Held) -> list[Outgoing]:
        """Lets go of a customer."""
        self.replica.remove(held)
        return [Outgoing("unsubscribe", {"subscription": held.number})] if self.state != DOWN else []

    def own(self, held: Held, fact: Fact) -> None:
        """Shows an own fact at once, until a frame includes it; `shown` says so to the hub. On any thread, at any time:
        what comes just when a stream is opened is told twice, which says no more than once.
        """
        held.show(fact, self.plan, PENDING_SHOWN)
        if self.state != DOWN:
            self._overflowed = self._overflowed or len(self._shown) >= _NEARLY
            self._shown.append((held, fact.id))

    def shown(self) -> list[Outgoing]:
        """Tells the hub which own facts are shown; before they are published, so that frames say what they include."""
        told: dict[int, list[bytes]] = {}
        if self._overflowed:  # what was pushed out would be shown for ever, over a context that has it
            self._overflowed = False
            self._shown.clear()
            told = {held.number: list(held.pending) for held in self.replica.all() if held.pending}
        while self._shown:
            held, id_ = self._shown.popleft()
            if id_ in held.pending and self.replica.numbered(held.number) is held:
                told.setdefault(held.number, []).append(id_)
        pending = [{"subscription": number, "facts": ids} for number, ids in told.items()]
        if not self.several or len(pending) < 2:
            return [Outgoing("pending", fields) for fields in pending]
        parts = [pending[place : place + PENDING_OF] for place in range(0, len(pending), PENDING_OF)]
        return [Outgoing("pending_of_several", {"pending": part}) for part in parts]

    def rejected(self, ids: Iterable[bytes]) -> None:
        """The hub will never take these: they leave the overlay."""
        for held in self.replica.all():
            held.drop(ids, self.plan)

    def watch(self, audience: str, purpose: str, tell: Any, cursor: str = "") -> tuple[Watch, list[Outgoing]]:
        """Begins to watch an audience."""
        watch = Watch(self._number(), audience, purpose, tell, cursor)
        self._watches[watch.number] = watch
        return watch, [self._watch(watch)] if self.state != DOWN else []

    def watches(self, audience: str, cursor: str) -> bool:
        """Whether an audience is watched by a cursor."""
        return any((watch.audience, watch.cursor) == (audience, cursor) for watch in self._watches.values())

    def heard(self, watch: Watch, mark: tuple[int, int]) -> list[Outgoing]:
        """The host heard everything through a mark."""
        cuts, through = mark
        if cuts != watch.cuts or through <= watch.heard:
            return []
        watch.heard = through
        return self._acknowledge(watch) if self.state != DOWN else []

    def _acknowledge(self, watch: Watch) -> list[Outgoing]:
        return [Outgoing("audience_heard", {"subscription": watch.number, "through": watch.heard})]

    def received(self, message: Incoming, at: int) -> list[Outgoing]:
        """Takes a message in; `at` is our own clock in microseconds. After a hole the state is GAPPED."""
        if message.seq is not None:
            self._seq += 1
            if self.state != GAPPED and message.seq != self._seq:
                self.state = GAPPED
                self._note("SEQUENCE_GAP", f"message {message.seq} came where {self._seq} follows")
        if self.state == GAPPED or not message.kind:
            return []
        handler: Callable[[dict[str, Any], int], list[Outgoing]] = getattr(self, f"_on_{message.kind}")
        return handler(message.fields, at)

    def _number(self) -> int:
        self._next += 1
        return self._next - 1

    def _subscribe(self, held: Held) -> Outgoing:
        fields = {
            "subscription": held.number, "identifier": held.identifier, "purpose": held.purpose,
            "version": held.version, "view": held.view, "customer": held.customer, "pending": list(held.pending),
        }  # fmt: skip
        return Outgoing("subscribe", fields)

    def _watch(self, watch: Watch) -> Outgoing:
        watch.refused = False
        fields = {
            "subscription": watch.number, "audience": watch.audience, "purpose": watch.purpose,
            "cursor": watch.cursor, "heard": watch.heard,
        }  # fmt: skip
        return Outgoing("watch_audience", fields)

    def _on_welcome(self, fields: dict[str, Any], at: int) -> list[Outgoing]:
        self.state = READY
        self._told_time(fields["server_time"] - at)
        self.touchpoint, self.several = fields["touchpoint"], fields["several"]
        if self.incarnation and self.incarnation != fields["incarnation"]:
            self.reincarnated = True
            for held in self.replica.all():
                held.version = 0
            for watch in self._watches.values():
                watch.taken, watch.heard, watch.cuts = 0, 0, watch.cuts + 1
        self.incarnation = fields["incarnation"]
        return []

    def _told_time(self, offset: int) -> None:
        """The hub said what time it has: facts told one after another must not step back for a message that waited."""
        if self._offsets and offset < max(self._offsets) - SET_BACK:
            self._offsets.clear()
        self._offsets.append(offset)
        self.offset = max(self._offsets)

    def _on_plan(self, fields: dict[str, Any], at: int) -> list[Outgoing]:
        digest = fields["digest"]
        try:
            plan = fields.get("plan") or Plan(fields["document"])
            if plan.digest != digest:
                raise PlanError(f"the document's digest is {plan.digest}, announced was {digest}")
        except _NO_PLAN as error:
            self.refused = (digest, str(error))
            return [Outgoing("plan_report", {"plan": digest, "refused": str(error)})]
        self.plan, self.plan_known, self.refused = plan.on(self.plan.workspace), True, ("", "")
        again = [self._watch(watch) for watch in self._watches.values() if watch.refused]
        return [Outgoing("plan_report", {"plan": digest, "refused": ""}), *again]

    def _on_workspace(self, fields: dict[str, Any], at: int) -> list[Outgoing]:
        try:
            workspace: Workspace = fields.get("workspace") or workspace_of(fields["document"])
        except _NO_WORKSPACE as error:
            return self._on_error({"code": "WORKSPACE_INVALID", "message": repr(error)}, at)
        self.plan = self.plan.on(workspace)
        return []

    def _on_context(self, fields: dict[str, Any], at: int) -> list[Outgoing]:
        held = self.replica.numbered(fields["subscription"])
        if held is None:
            return []
        included: list[bytes] = fields["included"]
        if fields["gone"]:
            held.gone(included, self.plan, at)
        elif fields["unchanged"]:
            held.drop(included, self.plan)
            held.heard(at)
        else:
            sections: list[Section] = fields["sections"]
            held.sections, held.plan = sections if self.keeps else (), fields["plan"]
            received = fields.get("projected") or receive(sections)
            readable = fields["plan"] == self.plan.digest
            origin = Origin(self.incarnation, fields["version"], fields["plan"], readable)
            projected = replace(received if readable else without_plan(received), origin=origin)
            held.take(projected, (fields["version"], fields["view"], fields["customer"]), included, self.plan, at)
        return []

    def _on_contexts(self, fields: dict[str, Any], at: int) -> list[Outgoing]:
        return [outgoing for part in fields["parts"] for outgoing in self.received(part, at)]

    def _on_bookmark(self, fields: dict[str, Any], at: int) -> list[Outgoing]:
        self._told_time(fields["server_time"] - at)
        for held in self.replica.all():
            held.heard(at)
        expected = self.replica.digest()
        if fields["digest"] == expected and fields["subscriptions"] == len(self.replica):
            return []
        # What the hub keeps for us and what we hold differ: state all of it again, the hub answers every one.
        return [self._subscribe(held) for held in self.replica.all()]

    def _on_goodbye(self, fields: dict[str, Any], at: int) -> list[Outgoing]:
        self.goodbye_ms = max(1, fields["reconnect_after_ms"])
        return []

    def _on_audience(self, fields: dict[str, Any], at: int) -> list[Outgoing]:
        watch = self._watches.get(fields["subscription"])
        if watch is None:
            return []
        tell = watch.tell
        if not watch.cursor:
            members, reset = fields["members"], fields["reset"]
            self.told.append(lambda: tell(members, reset))
            return []
        through = fields["through"]
        fresh = [telling for number, telling in fields["tellings"] if number > watch.taken]
        if fresh:
            watch.taken, mark = through, (watch.cuts, through)
            self.told.append(lambda: tell(fresh, mark))
        return self._acknowledge(watch) if watch.heard >= through else []

    def _on_error(self, fields: dict[str, Any], at: int) -> list[Outgoing]:
        watch = self._watches.get(fields.get("subscription", 0))
        if watch is not None:
            watch.refused = True
        self._note(fields["code"], fields["message"])
        return []

    def _note(self, code: str, message: str) -> None:
        self.errors.append(f"{code}: {message}")
        del self.errors[:-20]
