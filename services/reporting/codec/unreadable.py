"""Read what comes from a device so that one event that is no message, or whose texts are no UTF-8, does not block all others.

A library of messages takes a request as a whole or not at all; refused, the device would send the same for ever. So a request
that is refused is taken apart, and each event that can be read is. Of one that cannot, the bytes stay with its entry as a
field that the contract does not have; they go to the dead letters.

INVARIANT: only so many fields are looked at one by one. A message may hold millions, and all streams would wait meanwhile.
"""

from collections.abc import Iterable, Iterator

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError

from epm.reporting.v1 import agent_pb2

REASON = "the event is no message, or holds a text that is not UTF-8"
_KEPT_AS = 15
"""Number of the field that keeps bytes."""

MOST_IN_BATCH = 2500
"""Fields of a batch; no device may have as many entries in flight."""

MOST_IN_ENTRY = 16
"""Fields of an entry; it has two."""

_NUMBER, _LENGTH = 0, 2
"""Wire types of numbers, and of texts, bytes and messages."""

_WIDTHS = {1: 8, 5: 4}
"""Bytes of the numbers that always have as many, by their wire types."""

_CONTINUED = 0x80
"""Marks a byte of a number that is not its last."""


def request_from_bytes(content: bytes) -> agent_pb2.StreamEventsRequest:
    """Read a request. Raises DecodeError where not even its batch, the journal's name and the entries' numbers can be read."""
    try:
        return agent_pb2.StreamEventsRequest.FromString(content)
    except DecodeError:
        batch = agent_pb2.StreamEventsRequest.BATCH_FIELD_NUMBER
        parts = list(_fields(content, MOST_IN_ENTRY))
        if not parts or any(number != batch or not isinstance(value, bytes) for number, value in parts):
            raise
        return agent_pb2.StreamEventsRequest(batch=_batch(b"".join(_contents(parts))))


def entry_of(seq: int, content: bytes) -> agent_pb2.JournalEntry:
    """Return the entry of an event that is given as bytes, whether or not it can be read."""
    return _entry(
        _written(agent_pb2.JournalEntry.SEQ_FIELD_NUMBER, seq)
        + _written(agent_pb2.JournalEntry.EVENT_FIELD_NUMBER, content)
    )


def bytes_of(entry: agent_pb2.JournalEntry) -> bytes | None:
    """Return the bytes of an event that could not be read; None where it could, or there is none."""
    if entry.HasField("event"):
        return None
    try:
        kept = list(
            _contents(field for field in _fields(entry.SerializeToString(), MOST_IN_ENTRY) if field[0] == _KEPT_AS)
        )
    except DecodeError:
        return None
    return kept[-1] if kept else None


def _batch(content: bytes) -> agent_pb2.EventBatch:
    entries = agent_pb2.EventBatch.ENTRIES_FIELD_NUMBER
    others, found = bytearray(), list[agent_pb2.JournalEntry]()
    for number, value in _fields(content, MOST_IN_BATCH):
        if number == entries and isinstance(value, bytes):
            found.append(_entry(value))
        else:
            others += _written(number, value)
    batch = agent_pb2.EventBatch.FromString(bytes(others))
    batch.entries.extend(found)
    return batch


def _entry(content: bytes) -> agent_pb2.JournalEntry:
    event = agent_pb2.JournalEntry.EVENT_FIELD_NUMBER
    try:
        return agent_pb2.JournalEntry.FromString(content)
    except DecodeError:
        fields = list(_fields(content, MOST_IN_ENTRY))
        unread = b"".join(_contents(field for field in fields if field[0] == event))
        rest = b"".join(_written(*field) for field in fields if field[0] != event)
        return agent_pb2.JournalEntry.FromString(rest + _written(_KEPT_AS, unread))


def _fields(content: bytes, most: int) -> Iterator[tuple[int, int | bytes]]:
    """Yield the fields of a message, whatever they mean. Raises DecodeError for one that is none, or has more, or a group."""
    Empty.FromString(content)  # to one that knows no field all are unknown: so it is well formed
    place = 0
    for _ in range(most):
        if place == len(content):
            return
        tag, place = _read(content, place)
        wire_type, size = tag % 8, _WIDTHS.get(tag % 8, 0)
        if wire_type in {_NUMBER, _LENGTH}:
            size, place = _read(content, place)
        if wire_type == _NUMBER:
            yield tag >> 3, size
            continue
        if wire_type != _LENGTH and not size:
            break
        value, place = content[place : place + size], place + size
        # Numbers of a fixed width mean nothing to the contract, and nothing is lost where they are left out.
        if wire_type == _LENGTH:
            yield tag >> 3, value
    if place < len(content):
        raise DecodeError("the message holds more fields than any of a device, or a group")


def _read(content: bytes, place: int) -> tuple[int, int]:
    """Return the number at a place, and the place behind it."""
    value = shift = 0
    while content[place] >= _CONTINUED:
        value |= (content[place] - _CONTINUED) << shift
        shift, place = shift + 7, place + 1
    return (value | content[place] << shift) % 2**64, place + 1


def _contents(fields: Iterable[tuple[int, int | bytes]]) -> Iterator[bytes]:
    return (value for _, value in fields if isinstance(value, bytes))


def _written(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | _LENGTH) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    found = bytearray()
    while value >= _CONTINUED:
        found.append(value % _CONTINUED | _CONTINUED)
        value >>= 7
    found.append(value)
    return bytes(found)
