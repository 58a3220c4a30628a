"""A reader: reads customers cold, and notes what it was told with the version.

Owns `Reader`. What a read must have is judged by `checks`.
"""

from __future__ import annotations

import json

from segue.domain.identifier import parse_identifier
from segue.v1 import context_pb2
from segue.wire import identifier_to_wire

from tests.faults.histories.client import PATIENCE, Client
from tests.faults.histories.plans import LISTS, PEOPLE


class Reader(Client):
    """One of them."""

    def act(self) -> None:
        name = self.chance.choice([*LISTS, *LISTS, *LISTS, *PEOPLE])
        with self.history.operation(self.name, "read", name=name) as done:
            request = context_pb2.GetContextRequest(
                identifier=identifier_to_wire(parse_identifier(name)), purpose="service"
            )
            line = self.line()
            context = line.contexts.GetContext(request, timeout=PATIENCE, metadata=line.metadata).context
            sections = {section.name: json.loads(section.data) for section in context.sections}
            done.answer = {
                "version": context.version, "facts": sections["envelope"][2],
                "ids": [fact[0] for fact in sections["timeline"]],
            }  # fmt: skip
        self.settled(done)
