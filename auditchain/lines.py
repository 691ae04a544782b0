"""An exported log as lines of JSON, and the lines of checkpoint files: written here, read back strictly.

Each line is one object: its service, and one of `publicKeys` (PEM), `record` or `checkpoint`. Hashes and signatures are in
hex, times RFC 3339 to the microsecond.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from auditchain.checkpoint import Checkpoint
from auditchain.record import AuditRecord
from auditchain.times import from_text, to_text

LARGEST_NUMBER: Final = 2**63 - 1
Part = AuditRecord | Checkpoint | str
"""What a line holds; a text holds public keys."""

_TEXTS: Final = {
    "actor": "actor",
    "source": "source",
    "action": "action",
    "targetKind": "target_kind",
    "target": "target",
    "before": "before",
    "after": "after",
    "reason": "reason",
    "requestId": "request_id",
    "decisionId": "decision_id",
}
_RECORD: Final = frozenset({"sequence", "recorded", *_TEXTS, "details", "revision", "hash"})
_CHECKPOINT: Final = frozenset({"sequence", "hash", "signed", "keyId", "signature", "prunedThrough", "anchorHash"})


@dataclass(frozen=True, slots=True)
class Line:
    """Hold one line: a part of the log of a service."""

    service: str
    part: Part


def write_line(service: str, part: Part) -> str:
    """Return the line, without its end."""
    match part:
        case AuditRecord():
            value: dict[str, object] = {"record": record_fields(part)}
        case Checkpoint():
            value = {"checkpoint": checkpoint_fields(part)}
        case _:
            value = {"publicKeys": part}
    return json.dumps({"service": service, **value}, ensure_ascii=False, separators=(",", ":"))


def read_line(text: str) -> Line:
    """Read a line. Raises ValueError with what is wrong with it."""
    try:
        value = json.loads(text, object_pairs_hook=_once)
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error
    service = value.pop("service", None) if isinstance(value, dict) else None
    if not isinstance(service, str) or len(value) != 1:
        raise ValueError("must be an object with a service and one of record, checkpoint and publicKeys")
    ((kind, part),) = value.items()
    if kind == "publicKeys" and isinstance(part, str):
        return Line(service, part)
    if kind == "record":
        return Line(service, _record(_object(part, _RECORD)))
    if kind == "checkpoint":
        return Line(service, _checkpoint(_object(part, _CHECKPOINT)))
    raise ValueError("must hold one of record, checkpoint and publicKeys")


def record_fields(record: AuditRecord) -> dict[str, object]:
    """Return the JSON form of a record."""
    return {
        "sequence": record.sequence,
        "recorded": to_text(record.recorded),
        **{key: getattr(record, name) for key, name in _TEXTS.items()},
        "details": {key: record.details[key] for key in sorted(record.details)},
        "revision": record.revision,
        "hash": record.hash.hex(),
    }


def checkpoint_fields(checkpoint: Checkpoint) -> dict[str, object]:
    """Return the JSON form of a checkpoint."""
    return {
        "sequence": checkpoint.sequence,
        "hash": checkpoint.hash.hex(),
        "signed": to_text(checkpoint.signed),
        "keyId": checkpoint.key_id,
        "signature": checkpoint.signature.hex(),
        "prunedThrough": checkpoint.pruned_through,
        "anchorHash": checkpoint.anchor_hash.hex(),
    }


def _record(value: Mapping[str, object]) -> AuditRecord:
    details = value["details"]
    if not isinstance(details, dict):
        raise ValueError("details must be an object")  # noqa: TRY004 - all that is wrong with a line is a ValueError
    return AuditRecord(
        sequence=_number(value, "sequence"),
        recorded=from_text(_text(value, "recorded")),
        **{name: _text(value, key) for key, name in _TEXTS.items()},
        details={key: _text(details, key) for key in details},
        revision=_number(value, "revision"),
        hash=bytes.fromhex(_text(value, "hash")),
    )


def _checkpoint(value: Mapping[str, object]) -> Checkpoint:
    return Checkpoint(
        sequence=_number(value, "sequence"),
        hash=bytes.fromhex(_text(value, "hash")),
        signed=from_text(_text(value, "signed")),
        key_id=_text(value, "keyId"),
        signature=bytes.fromhex(_text(value, "signature")),
        pruned_through=_number(value, "prunedThrough"),
        anchor_hash=bytes.fromhex(_text(value, "anchorHash")),
    )


def _object(value: object, known: frozenset[str]) -> Mapping[str, object]:
    if not isinstance(value, dict) or value.keys() != known:
        raise ValueError(f"must hold exactly {', '.join(sorted(known))}")
    return value


def _text(value: Mapping[str, object], key: str) -> str:
    text = value[key]
    if not isinstance(text, str):
        raise ValueError(f"{key} must be a text")  # noqa: TRY004 - as above
    return text


def _number(value: Mapping[str, object], key: str) -> int:
    number = value[key]
    if type(number) is not int or not 0 <= number <= LARGEST_NUMBER:
        raise ValueError(f"{key} must be a whole number from 0")
    return number


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("names a key twice")
    return found
