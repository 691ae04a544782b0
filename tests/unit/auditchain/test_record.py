"""What stands for a record: nothing that two records share, and nothing that another program cannot make."""

import hashlib
import struct
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditchain.checkpoint import Checkpoint
from auditchain.codec import checkpoint_from_proto, checkpoint_to_proto, record_from_proto, record_to_proto
from auditchain.lines import read_line, write_line
from auditchain.record import AuditRecord, canonical, genesis, link
from auditchain.times import EARLIEST, LATEST, from_text, to_datetime, to_microseconds, to_text
from epm.access.v1 import audit_pb2

RECORD = AuditRecord(
    sequence=7,
    recorded=1_795_348_800_000_001,
    actor="user:alice",
    source="ipv4:10.0.0.1",
    action="role_updated",
    target_kind="Role",
    target="Führung",
    before='{"rights":[]}',
    after="",
    reason="because",
    request_id="r-1",
    decision_id="d-1",
    details={"b": "2", "a": "1"},
    revision=3,
    hash=bytes(range(32)),
)
texts = st.text(st.characters(codec="utf-8"), max_size=8)
numbers = st.integers(0, 2**63 - 1)
times = st.integers(EARLIEST, LATEST)
records = st.builds(
    AuditRecord,
    sequence=numbers,
    recorded=times,
    **dict.fromkeys(
        (
            "actor",
            "source",
            "action",
            "target_kind",
            "target",
            "before",
            "after",
            "reason",
            "request_id",
            "decision_id",
        ),
        texts,
    ),
    details=st.dictionaries(texts, texts, max_size=3),
    revision=numbers,
    hash=st.binary(max_size=33),
)
checkpoints = st.builds(
    Checkpoint,
    sequence=numbers,
    hash=st.binary(max_size=33),
    signed=times,
    pruned_through=numbers,
    anchor_hash=st.binary(max_size=33),
    key_id=texts,
    signature=st.binary(max_size=65),
)


def test_the_form_is_what_the_module_says() -> None:
    def text(value: str) -> bytes:
        return struct.pack(">I", len(value.encode())) + value.encode()

    own = (RECORD.actor, RECORD.source, RECORD.action, RECORD.target_kind, RECORD.target, RECORD.before, RECORD.after)
    expected = struct.pack(">qq", 7, RECORD.recorded) + b"".join(map(text, (*own, "because", "r-1", "d-1")))
    expected += struct.pack(">q", 2) + text("a") + text("1") + text("b") + text("2") + struct.pack(">q", 3)
    assert canonical(RECORD) == expected
    assert link(b"p" * 32, RECORD) == hashlib.sha256(b"openepm-audit-v1\0" + b"p" * 32 + expected).digest()
    assert genesis("rbac") == hashlib.sha256(b"openepm-audit-v1\0rbac").digest()


def test_the_form_never_changes() -> None:
    assert link(genesis("rbac"), RECORD).hex() == "c58904eb3c5b2c42de8b1a842ffc6881151054b4176d972916ce931412d79553"


@given(records, records)
def test_no_two_records_have_the_same_form(one: AuditRecord, other: AuditRecord) -> None:
    assert (canonical(one) == canonical(other)) == (replace(one, hash=b"") == replace(other, hash=b""))


@given(records, st.data())
def test_every_field_counts_but_the_hash(record: AuditRecord, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([field.name for field in fields(AuditRecord)]))
    value: Any = getattr(data.draw(records), name)
    other = replace(record, **{name: value})
    assert (canonical(other) == canonical(record)) == (name == "hash" or value == getattr(record, name))


@given(records)
def test_a_record_survives_the_contract_and_the_line(record: AuditRecord) -> None:
    sent = audit_pb2.AuditRecord.FromString(record_to_proto(record).SerializeToString())
    assert record_from_proto(sent) == record
    line = read_line(write_line("rbac", record))
    assert (line.service, line.part) == ("rbac", record)


@given(checkpoints)
def test_a_checkpoint_survives_the_contract_and_the_line(checkpoint: Checkpoint) -> None:
    sent = audit_pb2.AuditCheckpoint.FromString(checkpoint_to_proto(checkpoint).SerializeToString())
    assert checkpoint_from_proto(sent) == checkpoint
    assert read_line(write_line("rbac", checkpoint)).part == checkpoint


def test_numbers_and_times_of_a_hostile_server_become_others() -> None:
    message = audit_pb2.AuditRecord(sequence=2**64 - 1, revision=2**64 - 1)
    message.recorded.seconds = 2**62
    record = record_from_proto(message)
    assert (record.sequence, record.revision, record.recorded) == (2**63 - 1, 2**63 - 1, LATEST)
    assert len(canonical(record)) > 0


@given(times)
def test_times_are_exact_to_the_microsecond(microseconds: int) -> None:
    assert to_microseconds(to_datetime(microseconds)) == from_text(to_text(microseconds)) == microseconds


def test_a_time_of_another_zone_is_the_same_time() -> None:
    there = datetime(2026, 11, 23, 13, 0, 0, 1, tzinfo=timezone(timedelta(hours=1)))
    assert to_text(to_microseconds(there)) == "2026-11-23T12:00:00.000001Z"
    assert to_datetime(to_microseconds(there)) == datetime(2026, 11, 23, 12, 0, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "2026-11-23T12:00:00Z", "2026-11-23T12:00:00.1Z", "2026-11-23 12:00:00.000000Z"])
def test_other_spellings_of_times_are_no_line_of_ours(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_text(text)
