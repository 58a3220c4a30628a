"""The client of P6: cold reads over the raw stub, one process, one connection; each customer asked for once.

Run by `workers.Worker("reader")`. What comes back is checked outside of what is timed: the customer's own identifier,
all of her facts, and a version.
"""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

import grpc
from segue.v1 import context_pb2, context_pb2_grpc, fact_pb2, sync_pb2, sync_pb2_grpc

from .measure import percentile
from .workers import serve

TIMEOUT: Final = 30


def identifier(customer: int) -> fact_pb2.Identifier:
    """Of a customer of the store."""
    return fact_pb2.Identifier(kind="account", value=f"A-{customer:07d}")


class Reader:
    """One connection, and the ways to read over it."""

    def __init__(self) -> None:
        self._contexts: Any = None
        self._sync: Any = None
        self._metadata: Any = None
        self._each = 0
        self._asked: queue.SimpleQueue[sync_pb2.SyncRequest | None] = queue.SimpleQueue()
        self._answers: Iterator[sync_pb2.SyncResponse] = iter(())
        self._bare: Any = None
        self._seq = 0
        self._number = 0

    def connect(self, address: str, key: str, each: int) -> str:
        """Opens the channel; every customer has `each` facts or more."""
        channel = grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        grpc.channel_ready_future(channel).result(20)
        self._contexts = context_pb2_grpc.ContextServiceStub(channel)
        self._sync = sync_pb2_grpc.SyncServiceStub(channel)
        self._metadata, self._each = (("authorization", f"Bearer {key}"),), each
        return "connected"

    def _check(self, customers: Sequence[int], contexts: Sequence[context_pb2.Context]) -> int:
        """Each is who was asked for, and whole; returns the bytes of all."""
        assert len(customers) == len(contexts), (len(customers), len(contexts))
        for customer, context in zip(customers, contexts, strict=True):
            sections = {section.name: json.loads(section.data) for section in context.sections}
            assert sections["identity"] == [["account", f"A-{customer:07d}", 0]], sections["identity"]
            assert min(sections["envelope"][2], len(sections["timeline"])) >= self._each, sections["envelope"]
            assert context.version > 0
            assert context.view
        return sum(context.ByteSize() for context in contexts)

    def unary(self, customers: Sequence[int]) -> dict[str, float]:
        """One GetContext after the other."""
        took, found = [], []
        get, metadata = self._contexts.GetContext, self._metadata
        for customer in customers:
            request = context_pb2.GetContextRequest(identifier=identifier(customer))
            began = time.perf_counter()
            response = get(request, timeout=TIMEOUT, metadata=metadata)
            took.append(time.perf_counter() - began)
            found.append(response.context)
        return _figures(took, self._check(customers, found) / len(found))

    def at_once(self, customers: Sequence[int], size: int) -> dict[str, float]:
        """So many in one GetContexts, one call after the other."""
        took, found = [], []
        for start in range(0, len(customers), size):
            names = [identifier(customer) for customer in customers[start : start + size]]
            request = context_pb2.GetContextsRequest(identifiers=names)
            began = time.perf_counter()
            response = self._contexts.GetContexts(request, timeout=TIMEOUT, metadata=self._metadata)
            took.append(time.perf_counter() - began)
            assert not any(answer.code for answer in response.answers), response.answers[0]
            found += [answer.context for answer in response.answers]
        self._check(customers, found)
        return {**_figures(took, 0), "per_second": len(customers) / sum(took)}

    def connect_bare(self, port: int) -> str:
        """A channel to a server that only answers."""
        channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)])
        grpc.channel_ready_future(channel).result(20)
        self._bare = channel.unary_unary("/bench.Bare/Answer")
        return "connected"

    def bare(self, count: int, size: int) -> dict[str, float]:
        """So many bare answers of so many bytes, one after the other: what gRPC takes by itself."""
        took, asked = [], str(size).encode()
        for _ in range(count):
            began = time.perf_counter()
            found = self._bare(asked, timeout=TIMEOUT, metadata=self._metadata)
            took.append(time.perf_counter() - began)
            assert len(found) == size
        return _figures(took, size)

    def open_stream(self) -> str:
        """Says hello, and reads what comes before any context."""
        self._answers = iter(self._sync.Sync(iter(self._asked.get, None), metadata=self._metadata))
        self._ask(hello=sync_pb2.Hello(instance="reader", sdk="bench"))
        while next(self._answers).WhichOneof("body") != "plan":
            pass
        return "open"

    def _ask(self, **body: Any) -> None:
        self._seq += 1
        self._asked.put(sync_pb2.SyncRequest(seq=self._seq, **body))

    def stream(self, customers: Sequence[int]) -> dict[str, float]:
        """One subscription after the other, each answered before the next; let go of outside of what is timed."""
        took, found = [], []
        for customer in customers:
            self._number += 1
            asked = sync_pb2.Subscribe(subscription=self._number, identifier=identifier(customer))
            began = time.perf_counter()
            self._ask(subscribe=asked)
            for answer in self._answers:
                if answer.WhichOneof("body") == "context":
                    break
            took.append(time.perf_counter() - began)
            assert answer.context.subscription == self._number, answer
            found.append(answer.context.context)
            self._ask(unsubscribe=sync_pb2.Unsubscribe(subscription=self._number))
        self._check(customers, found)
        return _figures(took, 0)

    def close(self) -> str:
        """Ends the stream."""
        self._asked.put(None)
        return "closed"


def _figures(took: list[float], size: float) -> dict[str, float]:
    return {"p50_us": percentile(took, 0.5) * 1e6, "p99_us": percentile(took, 0.99) * 1e6, "bytes": size}


if __name__ == "__main__":
    reader = Reader()
    serve(
        {
            "connect": reader.connect,
            "unary": reader.unary,
            "at_once": reader.at_once,
            "open_stream": reader.open_stream,
            "stream": reader.stream,
            "connect_bare": reader.connect_bare,
            "bare": reader.bare,
            "close": reader.close,
        }
    )
