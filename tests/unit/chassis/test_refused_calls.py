"""What becomes of calls that are refused, at the doors of a real host."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from epm.access.v1 import access_pb2, access_pb2_grpc
from epm.device.v1 import agent_pb2, agent_pb2_grpc
from epm.rbac.v1 import rbac_pb2, rbac_pb2_grpc
from services._chassis.audit import AuditEntry
from services._chassis.errors import DeniedError, UnauthenticatedError
from services._chassis.refusals import RefusalLog
from services._chassis.server import ServiceParts
from tests.builders import issuer
from tests.builders.doors import OpenDoors, bearer, device_identity, open_doors
from tests.builders.refusals import Refusal, read_refusal
from tests.fakes.access import FakeAccess
from tests.fakes.clock import FakeClock

LIMIT = 3
WHO_AM_I, LIST_ROLES = "/epm.rbac.v1.RbacService/WhoAmI", "/epm.rbac.v1.RbacService/ListRoles"
LATER = timedelta(minutes=1)


class Roles(rbac_pb2_grpc.RbacServiceServicer):
    """Answer, or fail as the test says."""

    failure: BaseException | None = None

    async def WhoAmI(self, request: rbac_pb2.WhoAmIRequest, context: Any) -> rbac_pb2.WhoAmIResponse:
        if self.failure:
            raise self.failure
        return rbac_pb2.WhoAmIResponse()

    async def ListRoles(self, request: rbac_pb2.ListRolesRequest, context: Any) -> rbac_pb2.ListRolesResponse:
        return rbac_pb2.ListRolesResponse()


class Enrolment(agent_pb2_grpc.EnrolmentServiceServicer):
    """Refuse every enrolment token."""

    async def Enroll(self, request: agent_pb2.EnrollRequest, context: Any) -> agent_pb2.EnrollResponse:
        raise UnauthenticatedError("the enrolment token is not known", reason="ENROLMENT_TOKEN_REFUSED")


class Access(access_pb2_grpc.AccessServiceServicer):
    """Let nobody come so far."""


class House:
    """A service that refuses, and what it noted."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.access = FakeAccess(self.clock)
        self.owner = self.access.owner()
        self.roles = Roles()  # type: ignore[abstract]  # what is not overridden answers UNIMPLEMENTED
        self.refusals = RefusalLog()
        self.decisions = iter(f"decision-{number}" for number in range(1, 1000))

    def parts(self) -> ServiceParts:
        add_access = access_pb2_grpc.add_AccessServiceServicer_to_server
        return ServiceParts(
            name="test",
            access=self.access.control,
            refusals=self.refusals,
            public=[
                partial(rbac_pb2_grpc.add_RbacServiceServicer_to_server, self.roles),
                partial(agent_pb2_grpc.add_EnrolmentServiceServicer_to_server, Enrolment()),
            ],
            mesh=[partial(add_access, Access())],  # type: ignore[abstract]  # nobody comes so far
        )

    def noted(self) -> list[AuditEntry]:
        """Return what is ready to be written, a minute later."""
        return self.refusals.take(1000, self.clock.now() + LATER)


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
async def doors(house: House, tmp_path: Path) -> AsyncIterator[OpenDoors]:
    async with open_doors(
        tmp_path,
        house.parts(),
        clock=house.clock,
        new_decision_id=partial(next, house.decisions),
        authentication_failures_per_minute=LIMIT,
        trusted_proxies=("127.0.0.1",),
    ) as opened:
        yield opened


async def call(doors: OpenDoors, method: str, *metadata: tuple[str, str]) -> Refusal | None:
    """Call with an empty message; return how the call was refused, None if it was not."""
    error = await failure(doors, method, *metadata)
    return read_refusal(error) if error else None


async def failure(doors: OpenDoors, method: str, *metadata: tuple[str, str]) -> grpc.aio.AioRpcError | None:
    async with doors.public() as channel:
        calling: Any = channel.unary_unary(method)
        try:
            await calling(b"", metadata=metadata)
        except grpc.aio.AioRpcError as error:
            return error
    return None


def via(address: str) -> tuple[str, str]:
    return ("x-forwarded-for", address)


async def test_a_denied_call_is_noted_with_who_where_what_and_why(house: House, doors: OpenDoors) -> None:
    token = house.access.grant("user:alice", ["devices.read"])
    await call(doors, LIST_ROLES, *bearer(token), ("x-request-id", "r-1"))
    (entry,) = house.noted()
    assert (entry.action, entry.target_kind, entry.target) == ("call_denied", "Method", LIST_ROLES)
    assert entry.details == {
        "count": "1",
        "reason": "RIGHT_MISSING",
        "message": "user:alice needs the right roles.read; no role assignment grants it",
    }
    assert entry.act is not None
    assert entry.act.source.startswith("ipv4:127.0.0.1:")
    assert (entry.act.actor, entry.act.request_id, entry.act.decision_id) == ("user:alice", "r-1", "decision-1")
    assert entry.at == house.clock.now()


async def test_a_call_that_a_use_case_denies_is_noted_too(house: House, doors: OpenDoors) -> None:
    house.roles.failure = DeniedError("not within your scope", reason="OBJECT_OUT_OF_SCOPE")
    await call(doors, WHO_AM_I, *bearer(house.owner))
    assert [entry.details["reason"] for entry in house.noted()] == ["OBJECT_OUT_OF_SCOPE"]


async def test_a_device_that_calls_what_is_not_for_devices_is_noted(house: House, doors: OpenDoors) -> None:
    async with doors.mesh(device_identity("ws-17")) as channel:
        stub = access_pb2_grpc.AccessServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.ReportTokenUse(access_pb2.ReportTokenUseRequest())
    assert [(entry.action, entry.act and entry.act.actor) for entry in house.noted()] == [
        ("call_denied", "device:ws-17")
    ]


async def test_a_call_that_is_answered_is_not_noted(house: House, doors: OpenDoors) -> None:
    await call(doors, LIST_ROLES, *bearer(house.owner))
    assert house.noted() == []


async def test_failed_authentication_is_counted_by_origin(house: House, doors: OpenDoors) -> None:
    for origin in ("192.0.2.1", "192.0.2.1", "192.0.2.2"):
        await call(doors, WHO_AM_I, *bearer("epm_guess"), via(origin))
    await call(doors, WHO_AM_I, via("192.0.2.2"))
    told = [(entry.action, entry.target, entry.details["count"], entry.details["reason"]) for entry in house.noted()]
    assert told == [
        ("authentication_failed", "192.0.2.1", "2", "TOKEN_UNKNOWN"),
        ("authentication_failed", "192.0.2.2", "2", "TOKEN_MISSING 1, TOKEN_UNKNOWN 1"),
    ]


async def test_a_refused_enrolment_token_counts_as_failed_authentication(house: House, doors: OpenDoors) -> None:
    await call(doors, "/epm.device.v1.EnrolmentService/Enroll")
    assert [(entry.action, entry.target, entry.details["reason"]) for entry in house.noted()] == [
        ("authentication_failed", "127.0.0.1", "ENROLMENT_TOKEN_REFUSED")
    ]


async def test_an_origin_that_fails_too_often_is_told_to_wait_and_learns_nothing(
    house: House, doors: OpenDoors
) -> None:
    expired = house.access.token("user:alice", expires=house.clock.now())
    for _ in range(LIMIT):
        refusal = await call(doors, WHO_AM_I, *bearer("epm_guess"))
        assert refusal is not None
        assert (refusal.code, refusal.reason) == ("UNAUTHENTICATED", "TOKEN_UNKNOWN")
    refusals = [await call(doors, WHO_AM_I, *metadata) for metadata in (bearer("epm_guess"), bearer(expired), ())]
    assert refusals[0] == refusals[1] == refusals[2]
    assert refusals[0] is not None
    assert (refusals[0].code, refusals[0].reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_AUTHENTICATION_FAILURES")
    (entry,) = house.noted()
    assert entry.details["count"] == str(LIMIT + 3)


async def test_the_wait_is_told_in_a_way_that_programs_read(house: House, doors: OpenDoors) -> None:
    for _ in range(LIMIT):
        await call(doors, WHO_AM_I)
    error = await failure(doors, WHO_AM_I)
    assert error is not None
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None
    info = error_details_pb2.RetryInfo()
    assert [detail.Unpack(info) for detail in status.details] == [False, True]
    assert info.retry_delay.ToTimedelta() == timedelta(minutes=1) / LIMIT
    house.clock.advance(info.retry_delay.ToTimedelta())
    refusal = await call(doors, WHO_AM_I)
    assert refusal is not None
    assert refusal.code == "UNAUTHENTICATED"


async def test_a_good_token_passes_whatever_others_of_its_origin_do(house: House, doors: OpenDoors) -> None:
    for _ in range(LIMIT * 3):
        await call(doors, WHO_AM_I, *bearer("epm_guess"))
    assert await call(doors, WHO_AM_I, *bearer(house.owner)) is None
    refusal = await call(doors, WHO_AM_I, *bearer("epm_guess"))
    assert refusal is not None
    assert refusal.code == "RESOURCE_EXHAUSTED"


async def test_denied_calls_of_known_callers_are_never_limited(house: House, doors: OpenDoors) -> None:
    token = house.access.token("user:alice")
    codes = [await call(doors, LIST_ROLES, *bearer(token)) for _ in range(LIMIT * 3)]
    assert {refusal and refusal.code for refusal in codes} == {"PERMISSION_DENIED"}


async def test_origins_behind_a_trusted_proxy_are_limited_apart(doors: OpenDoors) -> None:
    ways = ["192.0.2.1"] * (LIMIT + 1) + ["192.0.2.2"]
    refusals = [await call(doors, WHO_AM_I, via(origin)) for origin in ways]
    codes = [refusal and refusal.code for refusal in refusals]
    assert codes == [*["UNAUTHENTICATED"] * LIMIT, "RESOURCE_EXHAUSTED", "UNAUTHENTICATED"]


async def test_nobody_escapes_the_limit_by_claiming_to_speak_for_others(house: House, tmp_path: Path) -> None:
    async with open_doors(
        tmp_path, house.parts(), clock=house.clock, authentication_failures_per_minute=LIMIT
    ) as doors:
        refusals = [await call(doors, WHO_AM_I, via(f"192.0.2.{number}")) for number in range(LIMIT + 1)]
    assert [refusal and refusal.code for refusal in refusals] == ["UNAUTHENTICATED"] * LIMIT + ["RESOURCE_EXHAUSTED"]


async def test_a_flood_of_failures_leaves_one_record(house: House, doors: OpenDoors) -> None:
    await asyncio.gather(*(call(doors, WHO_AM_I) for _ in range(100)))
    assert [entry.details["count"] for entry in house.noted()] == ["100"]


async def test_of_an_origin_over_the_limit_no_signature_is_verified_but_of_tokens_that_were_believed(
    house: House, doors: OpenDoors
) -> None:
    house.access.trust(issuer.trust())
    known = issuer.token(issuer.claims(jti="seen before"))
    assert await call(doors, WHO_AM_I, *bearer(known)) is None
    for _ in range(LIMIT):
        await call(doors, WHO_AM_I)
    house.access.grant("user:carol")  # whatever changes about access
    assert await call(doors, WHO_AM_I, *bearer(known)) is None
    fresh = bearer(issuer.token(issuer.claims(jti="fresh")))
    refusal = await call(doors, WHO_AM_I, *fresh)
    assert refusal is not None
    assert refusal.code == "RESOURCE_EXHAUSTED"
    house.clock.advance(LATER / LIMIT)
    assert await call(doors, WHO_AM_I, *fresh) is None


async def test_a_remembered_token_is_refused_once_its_issuer_is_not_trusted_any_more(
    house: House, doors: OpenDoors
) -> None:
    house.access.trust(issuer.trust())
    known = bearer(issuer.token())
    assert await call(doors, WHO_AM_I, *known) is None
    house.access.trust()
    refusal = await call(doors, WHO_AM_I, *known)
    assert refusal is not None
    assert refusal.reason == "TOKEN_ISSUER_UNKNOWN"
