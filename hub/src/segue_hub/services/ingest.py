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
from contextlib import suppress
from typing import Any, Final

from segue.domain.fact import STATEMENTS, Fact
from segue.domain.grant import Grant
from segue.domain.tally import Tally

from ..limits import Limits
from ..storage.ports import Checkpoint, IdTaken, Store, StoreBroken, StoreFull, Unit
from .admission import ACCEPTED, Admission, Result
from .edge import Edge
from .entry import Alone, Batch, Decode, Encode, Stamp, Written
from .failure import Refusal, store_refuses
from .ingest_queue import BATCH_COST, IngestQueue
from .listener import Listener
from .plans import Plans
from .pressure import Pressure
from .refusals import Refusals
from .repetition import deduplicated
from .resolution import Resolution
from .resolved import Memory, Resolved
from .room import Room
from .sequences import Sequences

UNIT: Final = 1024
"""Facts per unit of writing at most: while one is written, another is folded and the next is read."""
SLICE: Final = 256
"""Facts folded before the event loop gets its turn."""


class Ingest:
    """Takes facts in.

    Args:
        store: where they go.
        plans: the plan in force.
        clock: the hub's time in microseconds.
        encode, decode: a fact as the store keeps it.
        on_broken: called once where the store cannot promise durability any more.
        stamp: a fact as the store keeps it, made of the message that it came in.
        limits: how much may wait for the writer.
        pressure: counts what is refused.
    """

    def __init__(
        self, store: Store, plans: Plans, clock: Callable[[], int], encode: Encode, decode: Decode,
        on_broken: Callable[[str], None], stamp: Stamp | None = None, limits: Limits | None = None,
        pressure: Pressure | None = None,
    ) -> None:  # fmt: skip
        self._store = store
        self._plans = plans
        self._clock = clock
        self._decode = decode
        self._on_broken = on_broken
        self.queue = IngestQueue(limits or Limits(), pressure or Pressure())
        self._alone: deque[Alone] = deque()
        self._under_way: list[Batch] = []
        self._waiting = asyncio.Event()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="segue-writer")
        self._position, self._number = store.head()
        self._memory = Memory()
        self._kinds = plans.current.kinds
        self._hopeful = True
        self._listener: Listener | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._stopped = ""
        self.admission = Admission()
        self._edge = Edge(self.admission, plans, clock, encode, decode, stamp)
        self.refusals = Refusals(clock)
        self.room = Room(self.exclusively)
        self.sequences = Sequences(store)
        self.counts = {"ACCEPTED": 0, "DUPLICATE": 0, "REJECTED": 0}
        self.beside: Callable[[Unit, Resolved, int], None] | None = None

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
        for batch in [*self._under_way, *self.queue.all()]:
            if not batch.done.done():
                batch.done.set_exception(Refusal("STORE_BROKEN", self._stopped, retry_after_ms=1000))
        for alone in self._alone:
            if not alone.done.done():
                alone.done.set_exception(StoreBroken(self._stopped))

    @property
    def accepting(self) -> bool:
        """Whether the store takes facts."""
        return not (self._stopped or self._closing or self.room.lacking)

    async def publish(
        self, facts: Sequence[Fact | Result], grant: Grant, sent_at: int = 0, tallies: Sequence[Tally] = (),
        messages: Sequence[Any] | None = None,
    ) -> list[Result]:  # fmt: skip
        """Stores a batch.

        Args:
            facts: as read from the wire; a `Result` stands for one that could not be read.
            grant: of the touchpoint.
            sent_at: the producer's clock, microseconds; 0 where it keeps none.
            tallies: what producers say of their ordinals; booked when the facts are durable.
            messages: those that the facts were read from, for `stamp`.

        Returns:
            One result per fact, in order; ACCEPTED and DUPLICATE are durable.

        Raises:
            Refusal: OVERLOADED, STORE_FULL or STORE_BROKEN: nothing of the batch is acknowledged.
        """
        if self._stopped or self._closing:
            raise Refusal("STORE_BROKEN", self._stopped or "the hub is stopping", retry_after_ms=1000)
        refusal = self.queue.refusal()
        if refusal is not None:
            raise refusal
        verdicts, entries = self._edge.entries(facts, grant, sent_at, messages)
        if entries or tallies:
            size = sum([len(entry.body) for entry in entries]) + BATCH_COST
            refusal = self.queue.refusal(size)
            if refusal is not None:
                raise refusal
            told = [(grant.touchpoint, tally) for tally in tallies]
            batch = Batch(entries, asyncio.get_running_loop().create_future(), size, told)
            self.queue.put(batch)
            self._waiting.set()
            await batch.done
        written = [entry.result for entry in entries]
        if len(written) == len(verdicts):
            answer = written
        else:
            in_turn = iter(written)
            answer = [next(in_turn) if verdict is None else verdict for verdict in verdicts]
        accepted = answer.count(ACCEPTED)
        self.counts["ACCEPTED"] += accepted
        if accepted < len(answer):
            for result in answer:
                if result.status != "ACCEPTED":
                    self.counts[result.status] += 1
                if result.status == "REJECTED":
                    self.refusals.note(grant.touchpoint, result)
        return answer

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        assert self._listener is not None
        folding: asyncio.Task[None] | None = None
        while True:
            if self._alone:
                await self._write_alone(self._alone.popleft(), folding)
                folding = None
                continue
            if not self.queue:
                self._waiting.clear()
                if folding is not None:
                    await folding
                    folding = None
                    continue
                if self._closing:
                    return
                await self._waiting.wait()
                continue
            batches = self.queue.take(UNIT)
            if not batches:
                continue
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
            # The fold stands in line before the streams that hear of them: nobody is shown without the facts.
            folding = asyncio.create_task(self._fold(written), name="fold")
            try:
                self._listener.resolved(written.resolved)
            except BaseException:  # also where writing ends: nobody would wait for this fold
                folding.cancel()
                raise

    async def _write_alone(self, alone: Alone, folding: asyncio.Task[None] | None) -> None:
        """What it changes for everybody is changed at its place in the log: no version may pass a fact that is older
        and not folded yet, and none that is newer may be folded before.
        """
        try:
            position = await self._written_alone(alone.write)
            if folding is not None:
                await folding
            alone.then()
        except Exception as error:  # noqa: BLE001  # whoever asked for it is told; others are not held up
            if not alone.done.done():
                alone.done.set_exception(error)
        else:
            if not alone.done.done():
                alone.done.set_result(position)

    def _fail(self, batches: list[Batch], error: StoreFull | StoreBroken) -> None:
        self._note(error)
        for batch in batches:
            if not batch.done.done():
                batch.done.set_exception(store_refuses(error))

    def _note(self, error: StoreFull | StoreBroken) -> None:
        if isinstance(error, StoreFull):
            self.room.ran_out(str(error))
        else:
            self._stopped = str(error)
            self._on_broken(self._stopped)

    async def _fold(self, written: Written) -> None:
        """Folds batch by batch; each is acknowledged as soon as its own facts, and those before it, are folded."""
        listener = self._listener
        assert listener is not None
        for batch in written.batches:
            fresh = [entry for entry in batch.entries if entry.result is ACCEPTED]
            for start in range(0, len(fresh), SLICE):
                if start:
                    await asyncio.sleep(0)
                listener.accepted(fresh[start : start + SLICE])
            if fresh:
                listener.settled(fresh[-1].position)
            if not batch.done.done():
                batch.done.set_result(None)
            await asyncio.sleep(0)
        listener.settled(written.position)

    def _write(self, batches: list[Batch], checkpoints: list[tuple[int, Checkpoint]]) -> Written:
        """In the writer thread: appends what is new, once.

        Nearly all facts are offered once, so a unit is first written as if all were; the store refuses it where one is
        not, and then each is looked up. Where facts come again now, they are looked up at once.
        """
        if self._hopeful:
            with suppress(IdTaken):
                return self._write_unit(batches, checkpoints, hopeful=True)
        return self._write_unit(batches, checkpoints, hopeful=False)

    def _write_unit(self, batches: list[Batch], checkpoints: list[tuple[int, Checkpoint]], *, hopeful: bool) -> Written:
        """Dedupes unless hopeful, resolves, appends, commits."""
        written = Written(batches)
        entries = [entry for batch in batches for entry in batch.entries]
        received_at, kinds = self._clock(), self._plans.current.kinds
        if kinds is not self._kinds:
            self._memory.forget()
            self._kinds = kinds
        position = self._position
        with self._store.unit() as unit:
            for customer, checkpoint in checkpoints:
                unit.checkpoint(customer, checkpoint)
            if not hopeful:
                stored = unit.find([entry.fact.id for entry in entries])
                entries = deduplicated(entries, stored, self._decode, self._plans.current.vocabulary)
            names = [identifier for entry in entries for identifier in entry.fact.identifiers]
            names += [name for batch in batches for fact, _ in batch.sighted for name in fact.identifiers]
            resolution = Resolution(unit, kinds, self._number, names, self._memory, self._decode)
            linked = []
            for entry in entries:
                fact = entry.fact
                position += 1
                leaf = resolution.link(fact, position)
                entry.position = position
                order = (fact.occurred_at, fact.seq)
                unit.append(position, fact.id, leaf.number, leaf.bucket, order, received_at, entry.body)
                linked.append((entry, leaf))
            again = [number for batch in batches for number in batch.decide]
            for fact, seen_at in (sighted for batch in batches for sighted in batch.sighted):
                resolution.link(fact, seen_at)
            if again:
                position += 1
                unit.append_change(position, "identity", f"{len(again)} identifiers decided anew")
                resolution.recompute(again)
            written.resolved = resolution.settle(position)
            if self.beside is not None:
                self.beside(unit, written.resolved, received_at)
            for entry, leaf in linked:
                fact = entry.fact
                entry.customer = resolution.customer(leaf, fact.occurred_at)
                if len(fact.identifiers) > 1 and fact.kind not in STATEMENTS:
                    entry.apart = resolution.apart(fact, entry.customer)
            staged = self.sequences.stage((told for batch in batches for told in batch.tallies), unit, received_at)
        resolution.remember(written.resolved)
        self.sequences.keep(staged)
        self._position, self._number = position, resolution.last_number
        self._hopeful = hopeful or len(entries) == sum([len(batch.entries) for batch in batches])
        written.accepted, written.position = entries, position
        return written

    @property
    def busy(self) -> bool:
        """Whether facts wait to be written."""
        return bool(self.queue)

    def tidy(self) -> None:
        """Checkpoints wait, and perhaps no facts come: a unit of their own takes them along."""
        if self._task is not None and self.accepting and not self.queue:
            batch = Batch([], asyncio.get_running_loop().create_future(), 0)
            batch.done.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody else asks
            self.queue.put(batch)
            self._waiting.set()

    async def decide_again(self, numbers: Sequence[int] = (), sighted: Sequence[tuple[Fact, int]] = ()) -> None:
        """Decides anew who identifiers are, in order with all facts: the rules changed, or links were not kept.

        Args:
            numbers: of the identifiers.
            sighted: stored facts, with their positions, whose links are looked at again.

        Raises:
            Refusal: STORE_FULL or STORE_BROKEN: nothing was changed.
        """
        if self._stopped or self._closing:
            raise Refusal("STORE_BROKEN", self._stopped or "the hub is stopping", retry_after_ms=1000)
        batch = Batch([], asyncio.get_running_loop().create_future(), 0, decide=numbers, sighted=sighted)
        self.queue.put(batch)
        self._waiting.set()
        await batch.done

    async def exclusively(self, write: Callable[[Unit, int], int], then: Callable[[], None] | None = None) -> int:
        """Writes something that is no customer's fact in a unit of its own, in order with all others.

        Args:
            write: gets the unit and the last position; returns the new last position.
            then: called once that is durable and all before it is folded, before anything after it is; also where
                whoever asked for it hung up meanwhile.
        """
        if then is None:
            return await self._written_alone(write)
        if self._task is None:  # nothing is folded yet
            position = await self._written_alone(write)
            then()
            return position
        if self._stopped or self._closing:
            raise StoreBroken(self._stopped or "the hub is stopping")
        alone = Alone(write, then, asyncio.get_running_loop().create_future())
        self._alone.append(alone)
        self._waiting.set()
        return await alone.done

    async def _written_alone(self, write: Callable[[Unit, int], int]) -> int:
        def work() -> int:
            with self._store.unit() as unit:
                position = write(unit, self._position)
            self._position = position
            return position

        try:
            return await asyncio.get_running_loop().run_in_executor(self._writer, work)
        except (StoreFull, StoreBroken) as error:
            self._note(error)
            raise

    async def asked(self, write: Callable[[Unit, int], int], then: Callable[[], None] | None = None) -> int:
        """As `exclusively`, for a caller.

        Raises:
            Refusal: STORE_FULL or STORE_BROKEN: nothing was written.
        """
        try:
            return await self.exclusively(write, then)
        except (StoreFull, StoreBroken) as error:
            raise store_refuses(error) from None

    async def close(self) -> None:
        """Writes what is queued, acknowledges it, and stops."""
        self._closing = True
        self._waiting.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)  # a failure was told by `_ended`
        await self.room.close()
        self._writer.shutdown(wait=True)
