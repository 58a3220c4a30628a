"""Verification: whether what a store keeps beside the log is what follows from the log.

Owns the comparison: who is one against the set of links, checkpoints against a fold from the first fact. Changes
nothing; reads one customer at a time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from segue.domain import section
from segue.domain.fact import Fact
from segue.domain.plan import EMPTY, Plan

from ..storage.ports import Leaf, Store
from .head import Head, head_of
from .linkage import Linkage
from .stored_content import dumps, unstored

PAGE = 500


def verify(
    store: Store, decode: Callable[[bytes], Fact], progress: Callable[[int], None] = lambda done: None
) -> Iterator[str]:
    """Every difference found, in words; nothing where all follows from the log.

    Args:
        store: not served by anybody.
        decode: a fact as the store keeps it.
        progress: told how many customers and identifiers were looked at.
    """
    history = store.plans()[-8:]
    plans = {entry.digest: Plan(json.loads(store.plan(entry.number).document)) for entry in history}
    current = plans[history[-1].digest] if history else EMPTY  # one that was rolled back to is there twice
    done = 0
    for customer in _pages(store.customers):
        done += 1
        progress(done)
        members = store.members(customer)
        checkpoint = store.read_checkpoint(customer)
        if checkpoint is None or checkpoint.plan not in plans:
            continue  # of an older plan: it is folded again before anybody sees it
        leaves = [Leaf(known.number, known.bucket, known.since, known.until) for _, known in members]
        rows = [row for row in store.facts(leaves) if row.position <= checkpoint.position]
        plan = plans[checkpoint.plan]
        facts = [(row.position, decode(row.body)) for row in rows]
        head = head_of(plan, facts, [(name, known.since) for name, known in members])
        fault = _fault(checkpoint.data, head, plan)
        if fault:
            name = min((name for name, _ in members), key=current.kinds.strength)
            yield f"the checkpoint of {name} through position {checkpoint.position} {fault}"
    kinds, decided = current.kinds, set[int]()
    linkage = Linkage(store, kinds)
    for number in _pages(store.linked):
        done += 1
        progress(done)
        if number in decided:
            continue
        part = linkage.part([number])
        decided |= part.names.keys()
        numbers = {name: number for number, name in part.names.items()}
        for cluster in part.divided(kinds).clusters:
            wanted = {(numbers[node.identifier], node.since) for node in cluster}
            first = cluster[0]
            eras = store.eras(numbers[first.identifier])
            whole = store.resolve(first.identifier)
            own = next((era for era in eras if era.since == first.since), None if eras else whole)
            found = {(k.number, k.since) for _, k in store.members(own.customer)} if own is not None else set()
            if found != wanted:
                yield f"{first.identifier} is not one with whom its links say"


def _pages(page: Callable[[int, int], list[int]]) -> Iterator[int]:
    after = 0
    while found := page(after, PAGE):
        yield from found
        after = found[-1]


def _fault(data: bytes, head: Head, plan: Plan) -> str:
    """What is wrong with a checkpoint that should be this head's; empty where nothing is."""
    try:
        kept = unstored(data)
    except ValueError:
        return "cannot be read"
    same = dumps(section.plain(kept, plan)) == dumps(section.plain(head.content, plan))
    return "" if same else "is not the fold of its facts"
