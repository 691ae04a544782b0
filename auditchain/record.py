"""One record of an audit log, the bytes that stand for it, and the hash that hangs it onto the record before.

The hash of a record is SHA-256 over `openepm-audit-v1`, a zero byte, the hash of the record before, and the canonical bytes
of the record. Before the first record of a service stands SHA-256 over `openepm-audit-v1`, a zero byte, and its name.
"""

import hashlib
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

CHAIN_TAG = b"openepm-audit-v1\0"
HASH_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """Hold one record: every column of the log, and its hash.

    `recorded` counts microseconds since 1970 in UTC. `before` and `after` are canonical JSON; empty where there is no state.
    """

    sequence: int
    recorded: int
    actor: str
    source: str
    action: str
    target_kind: str
    target: str
    before: str
    after: str
    reason: str
    request_id: str
    decision_id: str
    details: Mapping[str, str] = field(default_factory=dict)
    revision: int
    hash: bytes = b""


def genesis(service: str) -> bytes:
    """Return what stands before the first record of a service: no record of another service fits onto it."""
    return hashlib.sha256(CHAIN_TAG + service.encode()).digest()


def link(previous: bytes, record: AuditRecord) -> bytes:
    """Return the hash that the record has if it follows the one whose hash is `previous`."""
    return hashlib.sha256(CHAIN_TAG + previous + canonical(record)).digest()


def canonical(record: AuditRecord) -> bytes:
    """Return the bytes that stand for everything in the record but its hash; no two records have the same.

    Numbers are eight bytes, signed, the highest first; texts are UTF-8 with their length in bytes, as four bytes, before
    them. In this order: sequence, recorded, actor, source, action, target_kind, target, before, after, reason, request_id,
    decision_id, the number of details and each with its key, sorted by the bytes of their keys, and the revision.
    """
    texts = (
        record.actor,
        record.source,
        record.action,
        record.target_kind,
        record.target,
        record.before,
        record.after,
        record.reason,
        record.request_id,
        record.decision_id,
    )
    parts = [number_bytes(record.sequence), number_bytes(record.recorded), *map(text_bytes, texts)]
    parts += [number_bytes(len(record.details)), *_details(record.details), number_bytes(record.revision)]
    return b"".join(parts)


def text_bytes(text: str) -> bytes:
    """Return a text with its length before it."""
    # A text with half of a surrogate pair comes from a file that somebody made up; it has bytes too, which fit no hash.
    encoded = text.encode("utf-8", "surrogatepass")
    return struct.pack(">I", len(encoded)) + encoded


def number_bytes(number: int) -> bytes:
    """Return a number as eight bytes."""
    return number.to_bytes(8, "big", signed=True)


def _details(details: Mapping[str, str]) -> Iterator[bytes]:
    for key in sorted(details, key=lambda key: key.encode("utf-8", "surrogatepass")):
        yield text_bytes(key)
        yield text_bytes(details[key])
