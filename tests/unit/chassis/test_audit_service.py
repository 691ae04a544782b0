"""The audit service at the public door of a real host: whose log, who may read it, and that reading is recorded."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from auditchain.checkpoint import read_keys
from auditchain.codec import checkpoint_from_proto, record_from_proto
from auditchain.verification import ChainVerifier
from epm.access.v1 import audit_pb2, audit_pb2_grpc
from epm.access.v1.audit_pb2 import ExportAuditChainRequest as Export
from epm.access.v1.audit_pb2 import ListAuditRecordsRequest as List
from services._chassis.server import ServiceParts
from tests.builders.audit import DemoService, demo_service
from tests.builders.doors import OpenDoors, bearer, open_doors
from tests.builders.refusals import Refusal, refusal_of
from tests.fakes.access import FakeAccess
from tests.fakes.clock import FakeClock

RBAC, DEVICE, POLICY = (
    audit_pb2.AUDITED_SERVICE_RBAC,
    audit_pb2.AUDITED_SERVICE_DEVICE,
    audit_pb2.AUDITED_SERVICE_POLICY,
)


class House:
    """Two services of one process, each with a log of its own, and who may read them."""

    def __init__(self, rbac: DemoService, device: DemoService, access: FakeAccess, doors: OpenDoors) -> None:
        self.rbac = rbac
        self.device = device
        self.access = access
        self.auditor = access.grant("user:auditor", ["audit.read"])
        self._doors = doors

    async def list_records(self, request: List, token: str | None = None) -> audit_pb2.ListAuditRecordsResponse:
        """Ask for a page."""
        async with self._doors.public() as channel:
            stub = audit_pb2_grpc.AuditServiceStub(channel)
            answer: audit_pb2.ListAuditRecordsResponse = await stub.ListAuditRecords(
                request, metadata=bearer(token or self.auditor)
            )
            return answer

    async def export(self, request: Export, token: str | None = None) -> list[audit_pb2.ExportAuditChainResponse]:
        """Ask for the chain."""
        async with self._doors.public() as channel:
            stub = audit_pb2_grpc.AuditServiceStub(channel)
            return [part async for part in stub.ExportAuditChain(request, metadata=bearer(token or self.auditor))]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    clock = FakeClock()
    access = FakeAccess(clock)
    async with (
        demo_service(f"sqlite:///{tmp_path / 'rbac.db'}", tmp_path, clock=clock, name="rbac") as rbac,
        demo_service(f"sqlite:///{tmp_path / 'device.db'}", tmp_path, clock=clock, name="device") as device,
    ):
        parts = [
            ServiceParts(name="rbac", access=access.control, audit=rbac.log),
            ServiceParts(name="device", access=access.control, audit=device.log),
        ]
        async with open_doors(tmp_path, *parts, clock=clock) as doors:
            yield House(rbac, device, access, doors)


async def test_each_log_is_read_by_the_name_of_its_service(house: House) -> None:
    await house.rbac.write("a")
    await house.device.write("b")
    answers = [await house.list_records(List(service=service)) for service in (RBAC, DEVICE)]
    assert [[record.target for record in answer.records] for answer in answers] == [["rbac", "a"], ["device", "b"]]


@pytest.mark.parametrize("service", [POLICY, audit_pb2.AUDITED_SERVICE_UNSPECIFIED, 99])
async def test_a_service_that_is_not_here_is_the_callers_problem(house: House, service: int) -> None:
    named = audit_pb2.AuditedService.ValueType(service)
    listed = await refusal_of(house.list_records(List(service=named)))
    exported = await refusal_of(house.export(Export(service=named)))
    for refusal in (listed, exported):
        assert (refusal.code, refusal.reason, refusal.fields) == ("INVALID_ARGUMENT", "SERVICE_NOT_HERE", {"service"})
    assert "device, rbac" in listed.problems["service"]


async def test_a_log_needs_the_right_to_read_it(house: House) -> None:
    token = house.access.grant("user:alice", ["roles.read", "policy_authoring.read"])
    for call in (house.list_records(List(service=RBAC), token), house.export(Export(service=RBAC), token)):
        assert (await refusal_of(call)).code == "PERMISSION_DENIED"


async def test_a_log_tells_of_everything_so_scope_tags_do_not_open_it(house: House) -> None:
    token = house.access.grant("user:emea", ["audit.read"], scope_tags=["emea"])
    for call in (house.list_records(List(service=RBAC), token), house.export(Export(service=RBAC), token)):
        refusal: Refusal = await refusal_of(call)
        assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "SCOPE_TOO_NARROW")
    assert await house.rbac.records() == []


async def test_reading_is_recorded_once_a_list_and_once_an_export(house: House) -> None:
    await house.rbac.write(*(f"t{number}" for number in range(5)))
    request = List(service=RBAC, page_size=2, target="t1")
    first = await house.list_records(request)
    assert not first.next_page_token
    page = await house.list_records(List(service=RBAC, page_size=2))
    await house.list_records(List(service=RBAC, page_size=2, page_token=page.next_page_token))
    await house.export(Export(service=RBAC))
    records = [record for record in await house.rbac.records() if record.action == "audit_read"]
    assert [(record.actor, record.details) for record in records] == [
        ("user:auditor", {"by": "list", "target": "t1"}),
        ("user:auditor", {"by": "list"}),
        ("user:auditor", {"by": "export"}),
    ]
    assert all(record.request_id and record.decision_id and record.source for record in records)
    assert {record.revision for record in records} == {0}


async def test_pages_go_through_the_log_without_repeating(house: House) -> None:
    await house.rbac.write(*(f"t{number}" for number in range(7)))
    seen: list[int] = []
    token = ""
    while token or not seen:
        page = await house.list_records(List(service=RBAC, page_size=3, page_token=token))
        seen += [record.sequence for record in page.records]
        token = page.next_page_token
    assert seen == [8, 7, 6, 5, 4, 3, 2, 1]


async def test_a_page_token_of_another_question_is_refused(house: House) -> None:
    await house.rbac.write("a", "b", "c")
    page = await house.list_records(List(service=RBAC, page_size=1))
    for other in (List(service=RBAC, action="thing_made"), List(service=DEVICE)):
        other.page_token = page.next_page_token
        assert (await refusal_of(house.list_records(other))).fields == {"page_token"}


async def test_times_narrow_a_list_and_must_be_in_order(house: House) -> None:
    clock = house.rbac.clock
    assert isinstance(clock, FakeClock)
    await house.rbac.write("old")
    clock.advance(timedelta(hours=1))
    request = List(service=RBAC, action="thing_made")
    request.until.FromDatetime(clock.now())
    await house.rbac.write("new")
    assert [record.target for record in (await house.list_records(request)).records] == ["old"]
    request.since.seconds = 2**62
    assert (await refusal_of(house.list_records(request))).fields == {"until"}
    request.since.FromDatetime(clock.now())
    assert (await refusal_of(house.list_records(request))).fields == {"until"}


async def test_an_export_carries_all_that_a_verification_needs(house: House) -> None:
    await house.rbac.write("a", "b")
    parts = await house.export(Export(service=RBAC))
    kinds = [part.WhichOneof("part") for part in parts]
    assert kinds[:4] == ["public_key_pem", *["record"] * 3]
    assert set(kinds[4:]) == {"checkpoint"}  # one, and another where the worker has signed the first records already
    verifier = ChainVerifier("rbac")
    for part in parts[1:4]:
        verifier.add(record_from_proto(part.record))
    keys = read_keys(parts[0].public_key_pem.encode())
    verdict = verifier.verdict([checkpoint_from_proto(part.checkpoint) for part in parts[4:]], keys)
    assert (verdict.whole, verdict.covered_through) == (True, 3)
    assert parts[3].record.action == "audit_read"


async def test_an_export_can_begin_anywhere(house: House) -> None:
    await house.rbac.write("a", "b", "c")
    parts = await house.export(Export(service=RBAC, from_sequence=3))
    assert [part.record.sequence for part in parts if part.HasField("record")] == [3, 4]
    nothing = await house.export(Export(service=RBAC, from_sequence=2**64 - 1))
    kinds = [part.WhichOneof("part") for part in nothing]
    assert (kinds[0], set(kinds[1:])) == ("public_key_pem", {"checkpoint"})  # as many as were signed until then
