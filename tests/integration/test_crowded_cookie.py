"""A kiosk: ten thousand accounts on one cookie. Nobody is glued to anybody, whatever the order, and no fact costs more.

What a fact costs is counted in reads of links, not in time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from segue.domain.fact import Fact
from segue.domain.identifier import Identifier
from segue_hub.storage.ports import LinkRow
from segue_hub.storage.sqlite.link_reader import LinkReader

from tests.building import MINUTE, SKETCH, document
from tests.linking import Telling
from tests.restarting import restarting

MANY = 10_000
KIOSK = Identifier("cookie", "kiosk")
PLAN = document({
    **SKETCH, "identifiers": {"account": {"priority": 1, "unique": True}, "cookie": {"priority": 9, "partners": 20}},
})  # fmt: skip


def crowd(telling: Telling) -> list[Fact]:
    return [telling.event(n * MINUTE // 100, Identifier("account", f"A-{n}"), KIOSK) for n in range(MANY)]


def _counting(method: Callable[..., list[LinkRow]], read: list[int]) -> Callable[..., list[LinkRow]]:
    def counted(*asked: Any) -> list[LinkRow]:
        found = method(*asked)
        read[0] += len(found)
        return found

    return counted


def test_ten_thousand_accounts_on_one_cookie_are_ten_thousand_customers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts, read = crowd(Telling("kiosk")), [0]
    for name in ("links", "held"):
        monkeypatch.setattr(LinkReader, name, _counting(getattr(LinkReader, name), read))
    with restarting(PLAN, tmp_path / "segue.db") as hub:
        took = []
        for start in range(0, MANY - 100, 900):
            began = time.perf_counter()
            hub.publish([facts[start : start + 900]])
            took.append(time.perf_counter() - began)
        live, read[0] = read[0], 0
        hub.restart()  # nothing of the crowd is remembered
        for fact in facts[-100:]:
            hub.publish([[fact]])
        rate, parts = (MANY - 100) / sum(took), f"{took[0]:.2f} and {took[-1]:.2f} s"
        print(f"{MANY} accounts on one cookie: {rate:,.0f} facts/s, the first and the last 900 in {parts};", end=" ")
        print(f"links read: {live}, of 100 more after a restart {read[0]}")
        assert live <= MANY
        assert 0 < read[0] <= 100 * 50, "fifty for each fact, of ten thousand"
        customers = hub.customers()
        assert len(customers) == MANY + 1, "and the cookie"
        assert all(len(names) == 1 for names in customers)
        assert hub.hub.store.verdicts() == {"PARTNERS": MANY}
