"""What is asked of both sides of `reserve`: places for many customers, then one place that a crowd wants.

Owns the load and its clocks; knows nothing of who grants.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

Id = TypeVar("Id")


async def measured(
    reserve: Callable[[str], Awaitable[Id | None]], confirm: Callable[[str, Id], Awaitable[None]], *, tag: str,
    customers: int, at_once: int, crowds: int, crowd: int,
) -> dict[str, float]:  # fmt: skip
    """One round.

    Args:
        reserve: asks for a customer's only place; returns its id where it is granted.
        confirm: says that it was used.
        tag: makes this round's customers others than all before.
        customers, at_once: how many, each with a place of its own, and how many calls are under way.
        crowds, crowd: how many customers, one after the other, each wanted by so many calls at once.
    """
    waits: list[float] = []
    granted = 0

    async def ask(account: str) -> Id | None:
        began = time.perf_counter()
        id_ = await reserve(account)
        waits.append((time.perf_counter() - began) * 1000)
        return id_

    async def take(numbers: range, start: int) -> None:
        nonlocal granted
        for number in numbers[start::at_once]:
            account = f"{tag}-{number}"
            id_ = await ask(account)
            if id_ is not None:
                granted += 1
                await confirm(account, id_)

    began = time.perf_counter()
    await asyncio.gather(*(take(range(customers), start) for start in range(at_once)))
    many, found = time.perf_counter() - began, sorted(waits)
    crowd_waits, lasts, took = [], [], 0.0
    for number in range(crowds):
        waits.clear()
        account, began = f"{tag}-crowd-{number}", time.perf_counter()
        ids = await asyncio.gather(*(ask(account) for _ in range(crowd)))
        took += time.perf_counter() - began
        crowd_waits += waits
        lasts.append(max(waits))
        for id_ in ids:
            if id_ is not None:
                granted += 1
                await confirm(account, id_)
    crowd_waits.sort()
    lasts.sort()
    return {
        "granted": granted,
        "many_per_second": customers / many,
        "many_p50_ms": found[len(found) // 2],
        "many_p99_ms": found[int(len(found) * 0.99)],
        "crowd_per_second": crowds * crowd / took,
        "crowd_p50_ms": crowd_waits[len(crowd_waits) // 2],
        "crowd_last_ms": lasts[len(lasts) // 2],
    }
