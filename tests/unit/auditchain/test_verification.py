"""What is said of a log, by the records and checkpoints that whoever verifies it is given."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from auditchain.checkpoint import Checkpoint, by_id, signed_by
from auditchain.record import AuditRecord, genesis, link
from auditchain.verification import ChainVerifier, Fault
from tests.unit.auditchain.test_record import RECORD

KEY = ed25519.Ed25519PrivateKey.generate()
Found = list[tuple[Fault, int, int]]


def chained(count: int, *, service: str = "rbac") -> list[AuditRecord]:
    records: list[AuditRecord] = []
    previous = genesis(service)
    for sequence in range(1, count + 1):
        unlinked = replace(RECORD, sequence=sequence)
        records.append(replace(unlinked, hash=link(previous, unlinked)))
        previous = records[-1].hash
    return records


def signed(record: AuditRecord, *, pruned: AuditRecord | None = None, service: str = "rbac") -> Checkpoint:
    checkpoint = Checkpoint(
        sequence=record.sequence,
        hash=record.hash,
        signed=RECORD.recorded,
        pruned_through=pruned.sequence if pruned else 0,
        anchor_hash=pruned.hash if pruned else b"",
    )
    return signed_by(KEY, service, checkpoint)


def found(records: Sequence[AuditRecord], *checkpoints: Checkpoint, service: str = "rbac") -> Found:
    verifier = ChainVerifier(service)
    for record in records:
        verifier.add(record)
    verdict = verifier.verdict(checkpoints, by_id([KEY.public_key()]))
    assert verdict.whole == (not verdict.findings)
    return [(each.fault, each.first, each.last) for each in verdict.findings]


def test_a_chain_with_its_checkpoint_is_whole() -> None:
    records = chained(4)
    assert found(records, signed(records[1]), signed(records[3])) == []


def test_records_behind_the_newest_checkpoint_are_held_by_the_chain() -> None:
    records = chained(4)
    records[3] = replace(records[3], actor="user:x")
    assert found(records, signed(records[1])) == [(Fault.ALTERED, 4, 4)]


def test_the_chain_of_another_service_does_not_pass() -> None:
    records = chained(2, service="device")
    assert found(records, signed(records[1], service="device")) == [
        (Fault.ALTERED, 1, 1),
        (Fault.CHECKPOINT, 2, 2),
        (Fault.UNVOUCHED, 2, 2),
    ]


def test_what_retention_deleted_is_not_missed() -> None:
    records = chained(6)
    assert found(records[3:], signed(records[5], pruned=records[2])) == []


def test_what_is_missing_behind_the_anchor_is_missed() -> None:
    records = chained(6)
    assert found(records[4:], signed(records[5], pruned=records[2])) == [(Fault.MISSING, 4, 4)]


def test_a_log_that_begins_late_without_an_anchor_misses_its_beginning() -> None:
    records = chained(4)
    assert found(records[2:], signed(records[3])) == [(Fault.MISSING, 1, 2)]


def test_a_log_that_retention_emptied_is_whole() -> None:
    records = chained(3)
    assert found([], signed(records[2], pruned=records[2])) == []


def test_a_record_that_retention_deleted_does_not_come_back() -> None:
    records = chained(6)
    anchored = signed(records[5], pruned=records[3])
    assert found([records[1], *records[4:]], anchored) == [(Fault.MISPLACED, 2, 2)]


def test_a_record_in_the_place_of_the_anchor_must_be_it() -> None:
    records = chained(6)
    anchored = signed(records[5], pruned=records[3])
    assert found(records, anchored) == []
    other = replace(records[3], hash=bytes(32))
    places = {
        number for _, first, last in found([*records[:3], other, *records[4:]], anchored) for number in (first, last)
    }
    assert 4 in places


def test_two_anchors_of_one_place_contradict_each_other() -> None:
    records = chained(6)
    other = replace(records[2], hash=bytes(32))
    assert (Fault.REWRITTEN, 3, 3) in found(
        records[3:], signed(records[5], pruned=records[2]), signed(records[5], pruned=other)
    )


def test_neighbours_with_the_same_fault_are_one_finding() -> None:
    records = chained(9)
    touched = [replace(record, reason="x") if 3 <= record.sequence <= 6 else record for record in records]
    assert found(touched, signed(records[8])) == [(Fault.ALTERED, 3, 6)]


def test_a_record_that_is_there_twice_is_named() -> None:
    records = chained(3)
    assert found([*records, records[2]], signed(records[2])) == [(Fault.MISPLACED, 3, 3)]


@pytest.mark.parametrize("field", ["sequence", "signed", "pruned_through"])
def test_a_checkpoint_says_exactly_what_was_signed(field: str) -> None:
    records = chained(3)
    good = signed(records[2])
    bad = replace(good, **{field: getattr(good, field) + 1})
    assert [fault for fault, _, _ in found(records, good, bad)] == [Fault.CHECKPOINT]


def test_a_log_without_any_checkpoint_is_vouched_for_by_nobody() -> None:
    assert found(chained(3)) == [(Fault.UNVOUCHED, 3, 3)]
    assert found([]) == [(Fault.UNVOUCHED, 0, 0)]


def test_a_rewriting_is_dated_by_the_checkpoints_around_it() -> None:
    records = chained(9)
    checkpoints = [signed(records[2]), signed(records[5])]
    previous, forged = records[4].hash, records[:5]
    for record in records[5:]:
        unlinked = replace(record, actor="user:x")
        forged.append(replace(unlinked, hash=link(previous, unlinked)))
        previous = forged[-1].hash
    assert found(forged, *checkpoints, signed(forged[8])) == [(Fault.REWRITTEN, 4, 6)]
