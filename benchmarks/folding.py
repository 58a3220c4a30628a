"""The pure core alone, in a process of its own: what a step, a checkpoint, a stored fact and a function's reads cost.

Run by `workers.Worker("folding", path=...)`, once as it is and once compiled: which, it says itself. Owns the work and
its digest, by which both are shown to have done the same.
"""

from __future__ import annotations

import gc
import hashlib
import random
import time
from collections.abc import Callable
from typing import Any

from segue.domain import fold as folding
from segue.domain.content import Content
from segue.domain.context import Context
from segue.domain.fact import Fact
from segue.domain.fold import fold, step
from segue.domain.plan import Plan
from segue.domain.projection import Projected
from segue.domain.section import decode, encode
from segue.wire import fact_from_bytes, fact_to_bytes

from . import load
from .workers import serve

BEGAN = 1_800_000_000_000_000


class Bench:
    """The same facts each time, and what is done with them."""

    def __init__(self) -> None:
        self._plan = Plan({})
        self._encoded: list[bytes] = []
        self._lives: list[list[Fact]] = []

    def open(self, document: Any, customers: int, each: int) -> dict[str, str]:
        """Makes the facts; says whether the core is compiled."""
        chance = random.Random(17)
        self._plan = Plan(document)
        for customer in range(1, customers + 1):
            made = [load.fact(chance, customer, n + 1, BEGAN + n * 60_000_000 + customer) for n in range(each)]
            for number, message in enumerate(made):
                message.id = hashlib.sha256(b"%d-%d" % (customer, number)).digest()[:16]  # the same in both processes
            self._lives.append([fact_from_bytes(message.SerializeToString()) for message in made])
        self._encoded = [fact_to_bytes(fact) for life in self._lives for fact in life]
        gc.freeze()
        gc.disable()  # as in the hub, whose thresholds leave contexts alone
        return {"core": "compiled" if not str(folding.__file__).endswith(".py") else "interpreted"}

    def digest(self) -> str:
        """Of all contents, as checkpoints keep them: what both processes must agree on, byte for byte."""
        found = hashlib.sha256()
        for life in self._lives:
            kept = encode(fold(self._plan, life), self._plan)
            if encode(decode(kept), self._plan) != kept:
                raise RuntimeError("a checkpoint does not come back as it went")
            found.update(kept)
        return found.hexdigest()

    def measure(self) -> dict[str, float]:
        """Microseconds of each."""
        plan, lives = self._plan, self._lives
        contents = [fold(plan, life) for life in lives]
        kept = [encode(content, plan) for content in contents]
        everything, at = Projected(contents[0]), BEGAN + 10_000_000_000
        facts = sum(map(len, lives))

        def steps() -> None:
            for life in lives:
                content = Content()
                for fact in life:
                    step(content, plan, fact)

        def reads() -> None:
            for _ in range(5_000):
                _route(Context(everything, plan, at))

        return {
            "step": _micros(steps, facts),
            "fact from bytes": _micros(lambda: [fact_from_bytes(data) for data in self._encoded], facts),
            "encode": _micros(lambda: [encode(content, plan) for content in contents], len(contents)),
            "decode": _micros(lambda: [decode(data) for data in kept], len(kept)),
            "reads": _micros(reads, 5_000),
        }


def _route(customer: Any) -> Any:
    """P1's three conditions, on a context made for it."""
    active = customer.journey("money_transfer").active
    return active, customer.seen("ivr", within="1h"), customer.trait("value_tier") == "high"


def _micros(work: Callable[[], Any], count: int) -> float:
    """Processor time of this thread: other processes of the machine are not in it."""
    began = time.thread_time()
    work()
    return (time.thread_time() - began) / count * 1e6


if __name__ == "__main__":
    bench = Bench()
    serve({"open": bench.open, "digest": bench.digest, "measure": bench.measure})
