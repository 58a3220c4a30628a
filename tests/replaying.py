"""Replays as tests run them: the SDK's own reading and asking, without the command line around it.

Owns `replayed`: every moment of a replay with what was answered then and what is answered now.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from segue.config import Config
from segue.domain.decision import Question
from segue.domain.replay import Answer, Moment, asked_again
from segue.transport import Transport
from segue.wire_replay import Asked, Reader

Again = tuple[Moment, Answer, str]


def moments(address: str, key: str, asked: Asked) -> Iterator[Moment]:
    """The moments of a replay, as they come."""
    reader = Reader()
    with closing(Transport(Config(touchpoint="", hub=address, key=key))) as transport:
        for response in transport.replay(asked.to_wire()):
            yield from reader.read(response)[1]


def replayed(address: str, key: str, question: Question, asked: Asked | None = None) -> list[Again]:
    """A question, asked again at all its recorded decisions: the moment, the answer, and why it is none."""
    found = []
    for moment in moments(address, key, asked or Asked(question.name)):
        assert not moment.gap, (moment.gap, moment.fact.properties)
        found.append((moment, *asked_again(question, moment)))
    return found


def unlike(again: list[Again]) -> list[tuple[str, bytes, bytes]]:
    """Those whose answer is not the recorded one, byte for byte."""
    return [(str(m.fact.identifiers[0]), m.fact.raw, now.raw) for m, now, _ in again if m.fact.raw != now.raw]
