"""Take the events of attempts apart: what comes again and again among them is read once.

An event is first read by a contract that knows little of it: what differs from one attempt to the next is read, the file is left
as its bytes, and so is all the rest of what was decided. Events whose bytes are the same there are alike: those bytes are read
once for all of them.

INVARIANT: what is read is what reading each event whole gives. Events are kept as the server wrote them, so that a field that an
event has once stands in its bytes once, and alike is written alike.
"""

from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from operator import attrgetter, methodcaller
from typing import TypeVar, cast

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

from epm.elevation.v1 import event_pb2
from services.reporting.reportexport.fields import Field
from services.reporting.reportexport.parts import Part, part_of, raw_of

_OWN = ("user", "arguments", "justification")
"""What differs from one attempt to the next."""
_FILE = "file"
_NAMES = (*_OWN, _FILE)
_PACKAGE = "epm.reporting.sketch"

Key = TypeVar("Key", bound=Hashable)


def decided_part(field: Field, bodies: Sequence[bytes]) -> Part:
    """Read what was decided in each of these events."""
    # All at once: a message of its own costs as much as all that is read of it.
    events = _EVENTS(_SKETCHES.FromString(_HELD(events=bodies).SerializeToString()))
    decided: list[Message] = list(map(attrgetter("decided"), events))
    own = {name: list(map(attrgetter(name), decided)) for name in _OWN}
    # Lists of their own, most of them empty: those of a message go with what is cleared of it.
    own["arguments"] = [list(some) if some else () for some in own["arguments"]]
    told = zip(map(attrgetter(_FILE), decided), decided, strict=True)
    files, file_indices = _alike(file if file or one.HasField(_FILE) else None for file, one in told)
    for name in _NAMES:
        deque(map(methodcaller("ClearField", name), decided), maxlen=0)
    rests, rest_indices = _alike(map(methodcaller("SerializeToString"), decided))
    facts = [None if one is None else event_pb2.FileFacts.FromString(one) for one in files]
    shared = [one for one in field.fields if one.name not in _NAMES]
    rest = raw_of(shared, [event_pb2.Decided.FromString(one) for one in rests])

    def part(one: Field) -> Part:
        if one.name in own:
            return part_of(one, own[one.name])
        return part_of(one, facts, file_indices) if one.name == _FILE else part_of(one, rest[one.name], rest_indices)

    return Part(field, [True] * len(bodies), tuple(map(part, field.fields)))


class _Known(dict[Hashable, int]):
    """Number what there is, from 0 on."""

    def __missing__(self, key: Hashable) -> int:
        """Give a new one the next number."""
        number = self[key] = len(self)
        return number


def _alike(keys: Iterable[Key]) -> tuple[Sequence[Key], Sequence[int]]:
    """Return what there is, each once, and the index of each key in that."""
    known = _Known()
    indices = list(map(known.__getitem__, keys))
    return cast("Sequence[Key]", list(known)), indices


def _sketch() -> tuple[type[Message], type[Message]]:
    """Return what holds the bytes of many events, and what reads of each no more than is told apart."""
    whole = event_pb2.Decided.DESCRIPTOR.fields_by_name
    file = descriptor_pb2.FileDescriptorProto(name="sketch.proto", package=_PACKAGE, syntax="proto3")
    decided = file.message_type.add(name="Decided")
    for name in _NAMES:
        known = whole[name]
        label = _MANY if known.is_repeated else _ONE
        kind = known.type if known.message_type is None else _Proto.TYPE_BYTES
        added = decided.field.add(name=name, number=known.number, label=label, type=kind)
        if known.message_type is not None:
            decided.oneof_decl.add(name=f"_{name}")
            added.proto3_optional, added.oneof_index = True, len(decided.oneof_decl) - 1
    number = event_pb2.ElevationEvent.DESCRIPTOR.fields_by_name["decided"].number
    for message, name, at, label, inner in (
        ("Event", "decided", number, _ONE, "Decided"),
        ("Events", "events", 1, _MANY, "Event"),
    ):
        field = file.message_type.add(name=message).field.add(name=name, number=at, label=label)
        field.type, field.type_name = _Proto.TYPE_MESSAGE, f".{_PACKAGE}.{inner}"
    file.message_type.add(name="Held").field.add(name="events", number=1, label=_MANY, type=_Proto.TYPE_BYTES)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    held, events = (pool.FindMessageTypeByName(f"{_PACKAGE}.{name}") for name in ("Held", "Events"))
    return message_factory.GetMessageClass(held), message_factory.GetMessageClass(events)


_Proto = descriptor_pb2.FieldDescriptorProto
_ONE, _MANY = _Proto.LABEL_OPTIONAL, _Proto.LABEL_REPEATED
_HELD, _SKETCHES = _sketch()
_EVENTS = attrgetter("events")
