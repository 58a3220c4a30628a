"""Types with named parts, told to Google's checker: what `incident(...)`, `calendar(...)` and `claim(...)` give.

Owns their declaration as messages of a descriptor pool, so that a misspelt part and a comparison of the wrong type are
found like any other mistake. Nothing is ever sent as such a message.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, timestamp_pb2
from segue.domain.coordination_binding import CLAIM_FIELDS
from segue.domain.workspace_binding import CALENDAR_FIELDS, INCIDENT_FIELDS

COMPOUND: Final = {
    "incident": ("segue.Incident", INCIDENT_FIELDS), "calendar": ("segue.Calendar", CALENDAR_FIELDS),
    "claim": ("segue.Claim", CLAIM_FIELDS),
}  # fmt: skip
"""By type in the words of bindings: its message, and its parts with their types."""
_FILE: Final = "segue_plan_types.proto"


@lru_cache(maxsize=1)
def pool() -> Any:
    """The descriptors of the compound types, and of the instants in them."""
    made = descriptor_pool.DescriptorPool()
    made.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(
        name=_FILE, package="segue", syntax="proto3", dependency=[timestamp_pb2.DESCRIPTOR.name]
    )
    field_type = descriptor_pb2.FieldDescriptorProto
    for name, fields in COMPOUND.values():
        message = file.message_type.add(name=name.rpartition(".")[2])
        for number, (part, type_) in enumerate(fields.items(), 1):
            field = message.field.add(name=part, number=number, label=field_type.LABEL_OPTIONAL)
            if type_ == "timestamp":
                field.type, field.type_name = field_type.TYPE_MESSAGE, ".google.protobuf.Timestamp"
            else:
                field.type = {"bool": field_type.TYPE_BOOL, "string": field_type.TYPE_STRING}[type_]
    made.AddSerializedFile(file.SerializeToString())
    return made
