"""Records and checkpoints between the model and the contract."""

from google.protobuf.timestamp_pb2 import Timestamp

from auditchain.checkpoint import Checkpoint
from auditchain.record import AuditRecord
from auditchain.times import EARLIEST, LATEST
from epm.access.v1 import audit_pb2

_LARGEST = 2**63 - 1


def record_to_proto(record: AuditRecord) -> audit_pb2.AuditRecord:
    """Encode a record."""
    return audit_pb2.AuditRecord(
        sequence=record.sequence,
        recorded=_timestamp(record.recorded),
        actor=record.actor,
        source=record.source,
        action=record.action,
        target_kind=record.target_kind,
        target=record.target,
        before=record.before,
        after=record.after,
        reason=record.reason,
        request_id=record.request_id,
        decision_id=record.decision_id,
        details=record.details,
        revision=record.revision,
        hash=record.hash,
    )


def record_from_proto(message: audit_pb2.AuditRecord) -> AuditRecord:
    """Decode a record; numbers that no server of ours sends become others, which fit no hash."""
    return AuditRecord(
        sequence=min(message.sequence, _LARGEST),
        recorded=time_from_proto(message.recorded),
        actor=message.actor,
        source=message.source,
        action=message.action,
        target_kind=message.target_kind,
        target=message.target,
        before=message.before,
        after=message.after,
        reason=message.reason,
        request_id=message.request_id,
        decision_id=message.decision_id,
        details=dict(message.details),
        revision=min(message.revision, _LARGEST),
        hash=message.hash,
    )


def checkpoint_to_proto(checkpoint: Checkpoint) -> audit_pb2.AuditCheckpoint:
    """Encode a checkpoint."""
    return audit_pb2.AuditCheckpoint(
        sequence=checkpoint.sequence,
        hash=checkpoint.hash,
        signed=_timestamp(checkpoint.signed),
        key_id=checkpoint.key_id,
        signature=checkpoint.signature,
        pruned_through=checkpoint.pruned_through,
        anchor_hash=checkpoint.anchor_hash,
    )


def checkpoint_from_proto(message: audit_pb2.AuditCheckpoint) -> Checkpoint:
    """Decode a checkpoint."""
    return Checkpoint(
        sequence=min(message.sequence, _LARGEST),
        hash=message.hash,
        signed=time_from_proto(message.signed),
        key_id=message.key_id,
        signature=message.signature,
        pruned_through=min(message.pruned_through, _LARGEST),
        anchor_hash=message.anchor_hash,
    )


def time_from_proto(stamp: Timestamp) -> int:
    """Decode a time; one that no calendar has becomes the nearest that is in one."""
    return min(max(stamp.seconds * 1_000_000 + stamp.nanos // 1000, EARLIEST), LATEST)


def _timestamp(microseconds: int) -> Timestamp:
    stamp = Timestamp()
    stamp.FromMicroseconds(microseconds)
    return stamp
