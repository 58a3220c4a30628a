"""Ingest: facts into the log, durably, once, many per fsync.

Owns the queue, the unit of writing and the order write -> fold -> acknowledge. One writer thread commits what queued
while the last commit ran; meanwhile the event loop folds what was committed. A fact is acknowledged when it is durable
and every later read includes it (VE7).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, Protocol

from segue.domain.fact import ACTION, CONSENT, SUBSCRIPTION, TRAIT, Fact
from segue.domain.grant import Grant
from segue.domain.identifier import Identifier

from ..storage.ports import Checkpoint, Known, Store, StoreBroken, StoreFull, Unit
from .admission import ACCEPTED, DUPLICATE, Admission, Result, rejected
from .failure import Refusal, overloaded
from .plans import Plans
from .resolution import Resolution, Resolved

UNIT: Final = 2048
"""Facts per unit of writing at most."""
SLICE: Final = 256
"""Facts folded before the event loop gets its turn."""
QUEUE_BYTES: Final = 64 * 1024 * 1024
"""Bytes of facts that may wait; beyond, publishers are asked to come back."""
_REMADE: Final = (TRAIT, CONSENT, SUBSCRIPTION, ACTION)
"""Kinds whose properties the store keeps as fields, not as the bytes that the producer wrote."""

Encode = Callable[[Fact], bytes]
Decode = Callable[[bytes], Fact]


@dataclass(slots=True)
class Entry:
    """A fact on its way: admitted, then written."""

    fact: Fact
    body: bytes
    foreign: bool = False
    result: Result = ACCEPTED
    position: int = 0
    customer: int = 0


@dataclass(slots=True)
class Batch:
    """What one call published, and the promise of an answer."""

    entries: list[Entry]
    done: asyncio.Future[None]
    size: int


@dataclass(slots=True)
class Written:
    """A unit that is durable: what the rest of the hub has to know of it."""

    batches: list[Batch]
    accepted: list[Entry] = field(default_factory=list)
    resolved: Resolved = field(default_factory=Resolved)
    position: int = 0


class Listener(Protocol):
    """Who folds and tells: called on the event loop, unit by unit, in order."""

    def resolved(self, resolved: Resolved) -> None:
        """Identifiers appeared or moved."""

    def accepted(self, entries: Sequence[Entry]) -> None:
        """Facts became durable; at most `SLICE` at a time."""

    def settled(self, position: int) -> None:
        """Everything up to a position is folded."""

    def checkpoints(self) -> list[tuple[int, Checkpoint]]:
        """Folded contexts worth keeping, taken along by the next unit."""


class Ingest:
    """Takes facts in.

    Args:
        store: where they go.
        plans: the plan in force.
        clock: the hub's time in microseconds.
        encode, decode: a fact as the store keeps it.
        on_broken: called once where the store cannot promise durability any more.
    """

    def __init__(
        self, store: Store, plans: Plans, clock: Callable[[], int], encode: Encode, decode: Decode,
        on_broken: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._store = store
        self._plans = plans
        self._clock = clock
        self._encode = encode
        self._decode = decode
        self._on_broken = on_broken
        self._queue: deque[Batch] = deque()
        self._queued_bytes = 0
        self._under_way: list[Batch] = []
        self._waiting = asyncio.Event()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="segue-writer")
        self._position, self._number = store.head()
        self._remembered: dict[Identifier, Known] = {}
        self._listener: Listener | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._stopped = ""
        self.admission = Admission()
        self.counts = {"ACCEPTED": 0, "DUPLICATE": 0, "REJECTED": 0}

    def start(self, listener: Listener) -> None:
        """Begins to write."""
        self._listener = listener
        self._task = asyncio.create_task(self._run(), name="ingest")
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Whatever ends the writing loop but `close` ends the hub: it must not seem to serve."""
        error = None if task.cancelled() else task.exception()
        if error is None or self._stopped:
            return
        self._stopped = f"writing failed: {type(error).__name__}: {error}"
        self._on_broken(self._stopped)
        for batch in [*self._under_way, *self._queue]:
            if not batch.done.done():
                batch.done.set_exception(Refusal("STORE_BROKEN", self._stopped, retry_after_ms=1000))

    @property
    def accepting(self) -> bool:
        """Whether the store takes facts."""
        return not self._stopped and not self._closing

    async def publish(self, facts: Sequence[Fact | Result], grant: Grant, sent_at: int = 0) -> list[Result]:
        """Stores a batch.

        Args:
            facts: as read from the wire; a `Result` stands for one that could not be read.
            grant: of the touchpoint.
            sent_at: the producer's clock, microseconds; 0 where it keeps none.

        Returns:
            One result per fact, in order; ACCEPTED and DUPLICATE are durable.

        Raises:
            Refusal: OVERLOADED, STORE_FULL or STORE_BROKEN: nothing of the batch is acknowledged.
        """
        if self._stopped or self._closing:
            raise Refusal("STORE_BROKEN", self._stopped or "the hub is stopping", retry_after_ms=1000)
        if self._queued_bytes > QUEUE_BYTES:
            raise overloaded(f"{self._queued_bytes} bytes wait to be written", 250)
        now, plan = self._clock(), self._plans.current
        results: list[Result | None] = []
        entries = []
        for fact in facts:
            verdict = fact if isinstance(fact, Result) else self.admission.admit(fact, grant, plan, now, sent_at)
            results.append(verdict)
            if verdict is None:
                assert isinstance(fact, Fact)
                body = self._encode(fact)
                # What came by another door than gRPC is folded as it will be read again, so that live is replay.
                entries.append(Entry(self._decode(body) if fact.kind in _REMADE else fact, body, bool(sent_at)))
        if entries:
            size = sum(len(entry.body) for entry in entries)
            batch = Batch(entries, asyncio.get_running_loop().create_future(), size)
            self._queue.append(batch)
            self._queued_bytes += size
            self._waiting.set()
            await batch.done
        written = iter(entries)
        answer = [next(written).result if result is None else result for result in results]
        for result in answer:
            self.counts[result.status] += 1
        return answer

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        assert self._listener is not None
        folding: asyncio.Task[None] | None = None
        while True:
            if not self._queue:
                self._waiting.clear()
                if folding is not None:
                    await folding
                    folding = None
                    continue
                if self._closing:
                    return
                await self._waiting.wait()
                continue
            batches = self._take()
            self._under_way = [batch for batch in self._under_way if not batch.done.done()] + batches
            checkpoints = self._listener.checkpoints()
            try:
                written = await loop.run_in_executor(self._writer, self._write, batches, checkpoints)
            except (StoreFull, StoreBroken) as error:
                if folding is not None:
                    await folding
                    folding = None
                self._fail(batches, error)
                continue
            if folding is not None:
                await folding
            # Merges are known before the next checkpoints are taken: one of a customer as it was would outlive them.
            self._listener.resolved(written.resolved)
            folding = asyncio.create_task(self._fold(written), name="fold")

    def _take(self) -> list[Batch]:
        batches, count = [], 0
        while self._queue and count < UNIT:
            batch = self._queue.popleft()
            self._queued_bytes -= batch.size
            batches.append(batch)
            count += len(batch.entries)
        return batches

    def _fail(self, batches: list[Batch], error: StoreFull | StoreBroken) -> None:
        if isinstance(error, StoreBroken):
            self._stopped = str(error)
            self._on_broken(self._stopped)
        code = "STORE_FULL" if isinstance(error, StoreFull) else "STORE_BROKEN"
        for batch in batches:
            if not batch.done.done():
                batch.done.set_exception(Refusal(code, str(error), retry_after_ms=1000))

    async def _fold(self, written: Written) -> None:
        listener = self._listener
        assert listener is not None
        for start in range(0, len(written.accepted), SLICE):
            listener.accepted(written.accepted[start : start + SLICE])
            await asyncio.sleep(0)
        listener.settled(written.position)
        for batch in written.batches:
            if not batch.done.done():
                batch.done.set_result(None)

    def _write(self, batches: list[Batch], checkpoints: list[tuple[int, Checkpoint]]) -> Written:
        """In the writer thread: dedupes, resolves, appends, commits."""
        written = Written(batches)
        received_at, kinds = self._clock(), self._plans.current.kinds
        position = self._position
        with self._store.unit() as unit:
            for customer, checkpoint in checkpoints:
                unit.checkpoint(customer, checkpoint)
            entries = self._deduplicated([entry for batch in batches for entry in batch.entries], unit)
            names = [identifier for entry in entries for identifier in entry.fact.identifiers]
            resolution = Resolution(unit, kinds, self._number, names, self._remembered)
            linked = []
            for entry in entries:
                fact = entry.fact
                leaf, handle = resolution.link(fact.identifiers)
                position += 1
                entry.position = position
                order = (fact.occurred_at, fact.seq)
                unit.append(position, fact.id, leaf.number, leaf.bucket, order, received_at, entry.body)
                linked.append((entry, handle))
            written.resolved = resolution.settle()
            for entry, handle in linked:
                entry.customer = resolution.customer(handle)
        resolution.remember(written.resolved)
        self._position, self._number = position, resolution.last_number
        written.accepted, written.position = entries, position
        return written

    def _deduplicated(self, entries: list[Entry], unit: Unit) -> list[Entry]:
        stored = unit.find([entry.fact.id for entry in entries])
        seen: dict[bytes, Entry] = {}
        fresh = []
        for entry in entries:
            id_ = entry.fact.id
            first = seen.get(id_)
            body = first.body if first is not None else stored[id_].body if id_ in stored else None
            if body is None:
                seen[id_] = entry
                fresh.append(entry)
            elif body == entry.body or self._same(self._decode(body), entry):
                entry.result = DUPLICATE
            else:
                entry.result = rejected("ID_CONFLICT", f"id: {id_.hex()} names another fact. Use a new id")
        return fresh

    def _same(self, stored: Fact, entry: Entry) -> bool:
        """Whether a fact offered again is the stored one; foreign clocks were corrected on first sight."""
        if entry.foreign:
            entry.fact.occurred_at = stored.occurred_at
        if entry.fact.id[6] >> 4 == 8:
            # Made from source and native id (FA1): in a re-sorted file only the row's number differs.
            entry.fact.seq = stored.seq
        fact, vocabulary = entry.fact, self._plans.current.vocabulary
        if stored.content() == fact.content():
            return True
        # A plan pushed in between may have renamed the type, filled in the channel or normalised identifiers.
        return (
            (stored.kind, stored.occurred_at, stored.seq, stored.touchpoint, stored.interaction, stored.raw)
            == (fact.kind, fact.occurred_at, fact.seq, fact.touchpoint, fact.interaction, fact.raw)
            and vocabulary.canonical(stored.type, stored.touchpoint, stored.channel) == fact.type
            and not set(stored.identifiers).isdisjoint(fact.identifiers)
        )

    async def exclusively(self, write: Callable[[Unit, int], int]) -> int:
        """Writes something that is no fact in a unit of its own, in order with all others.

        Args:
            write: gets the unit and the last position; returns the new last position.
        """

        def work() -> int:
            with self._store.unit() as unit:
                position = write(unit, self._position)
            self._position = position
            return position

        return await asyncio.get_running_loop().run_in_executor(self._writer, work)

    async def close(self) -> None:
        """Writes what is queued, acknowledges it, and stops."""
        self._closing = True
        self._waiting.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)  # a failure was told by `_ended`
        self._writer.shutdown(wait=True)
