"""The reason that an administrator gives for a call, from the door of a real host to the audit record."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog

from epm.access.v1 import audit_pb2, audit_pb2_grpc
from services._chassis.audit import Act, AuditEntry
from services._chassis.audit_store import record
from services._chassis.caller import CallContext, Caller, CallerKind, set_call
from services._chassis.server import ServiceParts
from tests.builders.audit import DemoService, demo_service
from tests.builders.doors import OpenDoors, bearer, open_doors
from tests.builders.refusals import refusal_of
from tests.fakes.access import FakeAccess, permit
from tests.fakes.clock import FakeClock

KEY = "epm-reason-bin"


class House:
    """A service whose audit log is read; every read is recorded."""

    def __init__(self, rbac: DemoService, access: FakeAccess, doors: OpenDoors) -> None:
        self.rbac = rbac
        self.access = access
        self._doors = doors

    async def read(self, *reasons: bytes, token: str = "") -> None:
        """Read the log for these reasons."""
        token = token or self.access.grant("user:auditor", ["audit.read"])
        request = audit_pb2.ListAuditRecordsRequest(service=audit_pb2.AUDITED_SERVICE_RBAC)
        metadata: list[tuple[str, str | bytes]] = [*bearer(token), *((KEY, reason) for reason in reasons)]
        async with self._doors.public() as channel:
            await audit_pb2_grpc.AuditServiceStub(channel).ListAuditRecords(request, metadata=metadata)

    async def reasons(self) -> list[str]:
        """Return the reasons of all records."""
        return [made.reason for made in await self.rbac.records()]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    clock = FakeClock()
    access = FakeAccess(clock)
    async with demo_service(f"sqlite:///{tmp_path / 'rbac.db'}", tmp_path, clock=clock, name="rbac") as rbac:
        parts = ServiceParts(name="rbac", access=access.control, audit=rbac.log)
        async with open_doors(tmp_path, parts, clock=clock) as doors:
            yield House(rbac, access, doors)


@pytest.mark.parametrize("reason", ["ticket 4711", "Prüfung: 監査 №7, größer", "ü" * 256, "𝄞" * 256])
async def test_the_reason_of_a_call_stands_in_its_record_and_in_no_log(house: House, reason: str) -> None:
    with structlog.testing.capture_logs() as logged:
        await house.read(reason.encode())
    assert await house.reasons() == [reason]
    assert any(line["event"] == "rpc_completed" for line in logged)
    assert reason not in str(logged)


@pytest.mark.parametrize("reasons", [(), (b"",)])
async def test_a_call_without_a_reason_is_recorded_without_one(house: House, reasons: tuple[bytes, ...]) -> None:
    await house.read(*reasons)
    assert await house.reasons() == [""]


async def test_the_reason_of_one_call_is_not_that_of_the_next(house: House) -> None:
    await house.read(b"ticket 4711")
    await house.read()
    assert await house.reasons() == ["ticket 4711", ""]


@pytest.mark.parametrize(
    "reason",
    [
        pytest.param(("ü" * 257).encode(), id="too long"),
        pytest.param(b"two\nlines", id="not printable"),
        pytest.param(b"hidden \xe2\x80\xae order", id="turns the direction"),
        pytest.param(b"latin \xfc", id="not UTF-8"),
    ],
)
async def test_a_reason_that_is_none_is_refused_by_its_name_and_not_repeated(house: House, reason: bytes) -> None:
    with structlog.testing.capture_logs() as logged:
        refusal = await refusal_of(house.read(reason))
    assert (refusal.code, refusal.problems) == (
        "INVALID_ARGUMENT",
        {KEY: "must be at most 256 printable characters, in UTF-8"},
    )
    assert await house.reasons() == []
    assert [line["code"] for line in logged if line["event"] == "rpc_completed"] == ["INVALID_ARGUMENT"]
    assert "latin" not in str(logged)


async def test_two_reasons_are_refused(house: House) -> None:
    refusal = await refusal_of(house.read(b"one", b"two"))
    assert (refusal.code, refusal.problems) == ("INVALID_ARGUMENT", {KEY: "must be given once"})


@pytest.mark.parametrize("known", [True, False])
async def test_who_may_not_call_does_not_learn_what_is_wrong_with_the_reason(house: House, *, known: bool) -> None:
    token = house.access.grant("user:alice", ["roles.read"])
    refusal = await refusal_of(house.read(b"two\nlines", token=token if known else "epm_guess"))
    assert (refusal.code, refusal.fields) == ("PERMISSION_DENIED" if known else "UNAUTHENTICATED", set())


async def test_an_entry_with_a_reason_or_a_call_of_its_own_keeps_it(house: House) -> None:
    caller = Caller(kind=CallerKind.ADMINISTRATOR, principal="user:alice")
    set_call(CallContext(caller, permit(), "r-1", "d-1", "of the call"))
    entries = (
        AuditEntry(action="made", target_kind="Thing", target="a"),
        AuditEntry(action="made", target_kind="Thing", target="b", reason="of the entry"),
        AuditEntry(action="made", target_kind="Thing", target="c", act=Act(actor="user:bob")),
    )
    async with house.rbac.database.transaction() as tx:
        await record(tx, house.rbac.table, *entries, now=house.rbac.clock.now())
    assert await house.reasons() == ["of the call", "of the entry", ""]
