"""Messages of the event stream written byte by byte, as no library of messages would: what a foreign agent may send."""

from collections.abc import Iterable

BATCH, JOURNAL_ID, ENTRIES, SEQ, EVENT = 2, 1, 2, 1, 2
VARINT, LENGTH = 0, 2
CONTINUED = 0x80


def number(field: int, value: int) -> bytes:
    """Write a field that holds a number."""
    return _varint(field << 3 | VARINT) + _varint(value)


def content(field: int, value: bytes) -> bytes:
    """Write a field that holds bytes: a text, or a message."""
    return _varint(field << 3 | LENGTH) + _varint(len(value)) + value


def entry(seq: int, event: bytes) -> bytes:
    """Write an event at its place in the journal."""
    return number(SEQ, seq) + content(EVENT, event)


def request(entries: Iterable[bytes], *, journal: bytes = b"journal-1") -> bytes:
    """Write a batch of entries."""
    return content(BATCH, content(JOURNAL_ID, journal) + b"".join(content(ENTRIES, one) for one in entries))


def _varint(value: int) -> bytes:
    found = bytearray()
    while value >= CONTINUED:
        found.append(value % CONTINUED | CONTINUED)
        value >>= 7
    found.append(value)
    return bytes(found)
