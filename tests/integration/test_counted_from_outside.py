"""What a hub says that it did, against what a caller counted and what stands in the file.

The caller knows the wire contract only and no code of the SDK; the hub's word is its Prometheus page.
"""

from __future__ import annotations

import random
import re
import sqlite3
import time
import urllib.request
from collections import Counter
from pathlib import Path

import grpc
from segue.v1 import event_service_pb2 as pb
from segue_hub.testing import run_hub

from benchmarks import load

BATCH = 50


def _told(hub: str, name: str, label: str) -> dict[str, int]:
    with urllib.request.urlopen(f"{hub}/metrics", timeout=30) as answer:
        page = answer.read().decode()
    return {
        key: int(float(value)) for key, value in re.findall(rf'^{name}{{{label}="(\w+)"}} (\S+)$', page, re.MULTILINE)
    }


def test_the_hubs_counters_are_what_the_caller_counted_and_what_is_stored(tmp_path: Path) -> None:
    chance, path = random.Random(6), tmp_path / "hub" / "segue.db"
    began = time.time_ns() // 1000
    facts = [load.fact(chance, chance.randint(1, 40), number, began + number) for number in range(600)]
    again, wrong = facts[100:250], [load.fact(chance, 1, 700 + number, began) for number in range(30)]
    for fact in wrong:
        del fact.identifiers[:]
    sent = [*facts, *again, *wrong]
    counted: Counter[str] = Counter()
    with run_hub(store=path) as hub, grpc.insecure_channel(hub.address) as channel:
        publish = channel.unary_unary("/segue.v1.EventService/PublishEvents")
        before = _told(hub.http, "segue_facts_total", "result")
        stored_before = _told(hub.http, "segue_store", "sort")["facts"]
        for start in range(0, len(sent), BATCH):
            request = pb.PublishEventsRequest(facts=sent[start : start + BATCH]).SerializeToString()
            answer = publish(request, timeout=30, metadata=[("authorization", f"Bearer {hub.key('app')}")])
            results = pb.PublishEventsResponse.FromString(answer).results
            assert len(results) == len(sent[start : start + BATCH])
            names = (pb.FactStatus.Name(result.status).removeprefix("FACT_STATUS_").lower() for result in results)
            counted.update(names)
        assert counted == {"accepted": 600, "duplicate": 150, "rejected": 30}
        after = _told(hub.http, "segue_facts_total", "result")
        assert {name: after[name] - before.get(name, 0) for name in counted} == counted
        assert _told(hub.http, "segue_store", "sort")["facts"] - stored_before == counted["accepted"]
    with sqlite3.connect(path) as file:
        ids = {bytes(row[0]) for row in file.execute("SELECT id FROM facts")}
    file.close()
    assert {fact.id for fact in facts} <= ids
    assert len(ids) == stored_before + 600
