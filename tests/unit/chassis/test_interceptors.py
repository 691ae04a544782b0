"""Every call goes through one interceptor; here on a real host with small servicers behind its doors."""

import gc
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
from epm.device.v1 import agent_pb2 as enrolment_pb2
from epm.device.v1 import agent_pb2_grpc as enrolment_pb2_grpc
from epm.policy.v1 import agent_pb2, agent_pb2_grpc
from epm.rbac.v1 import rbac_pb2, rbac_pb2_grpc
from services._chassis import pki
from services._chassis.caller import current_caller, current_permit
from services._chassis.errors import (
    ConflictError,
    DeniedError,
    InvalidError,
    LimitError,
    NotFoundError,
    Problem,
    StateError,
    UnavailableError,
)
from services._chassis.server import ServiceParts
from tests.builders.doors import OpenDoors, bearer, device_identity, open_doors, service_identity
from tests.fakes.access import FakeAccess
from tests.fakes.clock import FakeClock

MORE_THAN_FITS = 9


class Roles(rbac_pb2_grpc.RbacServiceServicer):
    """Answer with who called, or fail as the test says."""

    failure: BaseException | None = None

    async def WhoAmI(self, request: rbac_pb2.WhoAmIRequest, context: Any) -> rbac_pb2.WhoAmIResponse:
        if self.failure:
            raise self.failure
        return rbac_pb2.WhoAmIResponse(principal=current_caller().principal)

    async def ListRoles(self, request: rbac_pb2.ListRolesRequest, context: Any) -> rbac_pb2.ListRolesResponse:
        return rbac_pb2.ListRolesResponse(next_page_token=current_permit().right)


class Enrolment(enrolment_pb2_grpc.EnrolmentServiceServicer):
    """Answer anybody."""

    async def Enroll(self, request: enrolment_pb2.EnrollRequest, context: Any) -> enrolment_pb2.EnrollResponse:
        return enrolment_pb2.EnrollResponse(device_id=current_caller().name)


class Access(access_pb2_grpc.AccessServiceServicer):
    """Stream one heartbeat, then fail if asked to."""

    async def WatchAccess(
        self, request: access_pb2.WatchAccessRequest, context: Any
    ) -> AsyncIterator[access_pb2.WatchAccessResponse]:
        yield access_pb2.WatchAccessResponse(heartbeat=access_pb2.Heartbeat(revision=7))
        if request.revision == MORE_THAN_FITS:
            role = access_pb2.SnapshotRole(name="x" * 200 * 1024 * 1024)
            yield access_pb2.WatchAccessResponse(snapshot=access_pb2.AccessSnapshot(roles=[role]))
        if request.revision:
            raise InvalidError([Problem("revision", "must be 0")])


class Policies(agent_pb2_grpc.PolicyStreamServiceServicer):
    """Answer every message with the device's name."""

    async def StreamPolicy(
        self, request_iterator: AsyncIterator[agent_pb2.StreamPolicyRequest], context: Any
    ) -> AsyncIterator[agent_pb2.StreamPolicyResponse]:
        async for _ in request_iterator:
            yield agent_pb2.StreamPolicyResponse(welcome=agent_pb2.Welcome())


class House:
    """Keep what a test looks at."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.access = FakeAccess(self.clock)
        self.streams = Access()  # type: ignore[abstract]  # same as below
        self.roles = Roles()  # type: ignore[abstract]  # what is not overridden answers UNIMPLEMENTED

    def parts(self) -> ServiceParts:
        """Return the small servicers as a service."""
        return ServiceParts(
            name="test",
            access=self.access.control,
            public=[
                partial(rbac_pb2_grpc.add_RbacServiceServicer_to_server, self.roles),
                partial(enrolment_pb2_grpc.add_EnrolmentServiceServicer_to_server, Enrolment()),
            ],
            mesh=[
                partial(access_pb2_grpc.add_AccessServiceServicer_to_server, self.streams),
                partial(agent_pb2_grpc.add_PolicyStreamServiceServicer_to_server, Policies()),
            ],
        )


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
async def doors(house: House, tmp_path: Path) -> AsyncIterator[OpenDoors]:
    async with open_doors(tmp_path, house.parts(), clock=house.clock) as opened:
        yield opened


async def who_am_i(doors: OpenDoors, *metadata: tuple[str, str]) -> rbac_pb2.WhoAmIResponse:
    async with doors.public() as channel:
        return await rbac_pb2_grpc.RbacServiceStub(channel).WhoAmI(rbac_pb2.WhoAmIRequest(), metadata=metadata)


def info_of(error: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo:
    info = error_details_pb2.ErrorInfo()
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None
    assert status.details[0].Unpack(info)
    return info


def violations_of(error: grpc.aio.AioRpcError) -> dict[str, str]:
    bad = error_details_pb2.BadRequest()
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None
    assert status.details[1].Unpack(bad)
    return {violation.field: violation.description for violation in bad.field_violations}


async def test_a_bearer_token_tells_who_calls(house: House, doors: OpenDoors) -> None:
    token = house.access.grant("user:alice")
    assert (await who_am_i(doors, *bearer(token))).principal == "user:alice"


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ((), "TOKEN_MISSING"),
        ((("authorization", "Basic YWxpY2U6c2VjcmV0"),), "TOKEN_MALFORMED"),
        ((("authorization", "Bearer"),), "TOKEN_MALFORMED"),
        ((("authorization", "Bearer a b"),), "TOKEN_MALFORMED"),
        ((("authorization", f"Bearer {'x' * 600}"),), "TOKEN_MALFORMED"),
        ((("authorization", "Bearer a"), ("authorization", "Bearer b")), "TOKEN_MALFORMED"),
        ((("authorization", "Bearer epm_nobody"),), "TOKEN_UNKNOWN"),
    ],
)
async def test_a_caller_without_a_good_token_is_refused(
    house: House, doors: OpenDoors, metadata: tuple[tuple[str, str], ...], reason: str
) -> None:
    house.access.owner()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await who_am_i(doors, *metadata)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert info_of(refused.value).reason == reason


async def test_a_token_is_refused_from_the_moment_it_expires(house: House, doors: OpenDoors) -> None:
    token = house.access.token("user:alice", expires=house.clock.now() + timedelta(minutes=1))
    await who_am_i(doors, *bearer(token))
    house.clock.advance(timedelta(minutes=1))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await who_am_i(doors, *bearer(token))
    assert info_of(refused.value).reason == "TOKEN_EXPIRED"


async def test_a_revoked_token_is_refused(house: House, doors: OpenDoors) -> None:
    token = house.access.owner()
    house.access.revoke(token)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await who_am_i(doors, *bearer(token))
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_everyone_is_refused_once_the_snapshot_is_stale(house: House, doors: OpenDoors) -> None:
    token = house.access.owner()
    house.clock.advance(timedelta(days=1))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await who_am_i(doors, *bearer(token))
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert info_of(refused.value).reason == "ACCESS_SNAPSHOT_STALE"


async def test_an_administrator_without_the_right_is_told_which_one(house: House, doors: OpenDoors) -> None:
    token = house.access.grant("user:alice", ["devices.read"])
    async with doors.public() as channel:
        stub = rbac_pb2_grpc.RbacServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError, match=r"roles\.read") as refused:
            await stub.ListRoles(rbac_pb2.ListRolesRequest(), metadata=bearer(token))
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert info_of(refused.value).reason == "RIGHT_MISSING"


async def test_the_handler_sees_the_permit_of_the_right_that_the_rpc_asks_for(house: House, doors: OpenDoors) -> None:
    token = house.access.grant("user:alice", ["roles.read"])
    async with doors.public() as channel:
        stub = rbac_pb2_grpc.RbacServiceStub(channel)
        answer = await stub.ListRoles(rbac_pb2.ListRolesRequest(), metadata=bearer(token))
    assert answer.next_page_token == "roles.read"


async def test_the_access_check_comes_before_the_request_is_parsed(house: House, doors: OpenDoors) -> None:
    house.access.owner()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await garbage(doors)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_malformed_message_is_the_callers_mistake(house: House, doors: OpenDoors) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await garbage(doors, *bearer(house.access.owner()))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert info_of(refused.value).reason == "MESSAGE_MALFORMED"


async def garbage(doors: OpenDoors, *metadata: tuple[str, str]) -> None:
    async with doors.public() as channel:
        call: Any = channel.unary_unary("/epm.rbac.v1.RbacService/ListRoles")
        await call(b"\xff\xff", metadata=metadata)


async def test_anyone_may_call_what_is_declared_anonymous(doors: OpenDoors) -> None:
    async with doors.public() as channel:
        answer = await enrolment_pb2_grpc.EnrolmentServiceStub(channel).Enroll(enrolment_pb2.EnrollRequest())
    assert answer.device_id == "anonymous"


async def test_only_administrators_are_asked_for_a_good_reason(doors: OpenDoors) -> None:
    none = (("epm-reason-bin", b"\xff"),)
    async with doors.public() as channel:
        stub = enrolment_pb2_grpc.EnrolmentServiceStub(channel)
        answer = await stub.Enroll(enrolment_pb2.EnrollRequest(), metadata=none)
    assert answer.device_id == "anonymous"


@pytest.mark.parametrize(
    ("failure", "answer"),
    [
        (NotFoundError("no policy p"), (grpc.StatusCode.NOT_FOUND, "NOT_FOUND", "no policy p")),
        (ConflictError("there is one"), (grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS", "there is one")),
        (ConflictError("changed", stale=True), (grpc.StatusCode.ABORTED, "STALE_ETAG", "changed")),
        (StateError("not now"), (grpc.StatusCode.FAILED_PRECONDITION, "FAILED_PRECONDITION", "not now")),
        (DeniedError("not you"), (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED", "not you")),
        (LimitError("too many"), (grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_EXCEEDED", "too many")),
        (UnavailableError("later"), (grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE", "later")),
        (RuntimeError("secret"), (grpc.StatusCode.INTERNAL, "INTERNAL", "internal error")),
    ],
)
async def test_an_error_becomes_a_status_with_a_reason(
    house: House, doors: OpenDoors, failure: Exception, answer: tuple[grpc.StatusCode, str, str]
) -> None:
    house.roles.failure = failure
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await who_am_i(doors, *bearer(house.access.owner()), ("x-request-id", "r-1"))
    info = info_of(refused.value)
    assert (refused.value.code(), info.reason, refused.value.details()) == answer
    assert (info.domain, info.metadata["request_id"]) == ("openepm", "r-1")


async def test_all_problems_of_an_input_are_told_by_field(house: House, doors: OpenDoors) -> None:
    house.roles.failure = InvalidError([Problem("name", "must not be empty"), Problem("rights", "must name one")])
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await who_am_i(doors, *bearer(house.access.owner()))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert violations_of(refused.value) == {"name": "must not be empty", "rights": "must name one"}


async def test_a_wild_request_id_is_replaced(house: House, doors: OpenDoors) -> None:
    house.roles.failure = NotFoundError("no")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await who_am_i(doors, *bearer(house.access.owner()), ("x-request-id", "a b"))
    assert len(info_of(refused.value).metadata["request_id"]) == 32


async def test_a_service_that_is_named_may_watch(doors: OpenDoors) -> None:
    async with doors.mesh(service_identity("policy")) as channel:
        stub = access_pb2_grpc.AccessServiceStub(channel)
        messages = [message async for message in stub.WatchAccess(access_pb2.WatchAccessRequest())]
    assert [message.heartbeat.revision for message in messages] == [7]


async def test_a_stream_that_fails_half_way_ends_with_its_error(doors: OpenDoors) -> None:
    async with doors.mesh(service_identity("policy")) as channel:
        call = access_pb2_grpc.AccessServiceStub(channel).WatchAccess(access_pb2.WatchAccessRequest(revision=3))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            [message async for message in call]
    assert violations_of(refused.value) == {"revision": "must be 0"}


@pytest.mark.parametrize("identity", [service_identity("stranger"), device_identity("ws-17")])
async def test_a_mesh_caller_that_is_not_declared_is_refused(doors: OpenDoors, identity: pki.Issued) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await watch(doors, identity)
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert info_of(refused.value).reason == "CALLER_NOT_ALLOWED"


async def test_a_certificate_of_another_trust_domain_is_refused(doors: OpenDoors) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await watch(doors, service_identity("policy", trust_domain="elsewhere"))
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_certificate_of_another_authority_does_not_get_in(doors: OpenDoors, house: House) -> None:
    foreign, _ = pki.create_authority(now=house.clock.now())
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await watch(doors, service_identity("policy", by=foreign))
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_the_mesh_door_wants_a_certificate(doors: OpenDoors) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await watch(doors, None)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def watch(doors: OpenDoors, identity: pki.Issued | None) -> None:
    async with doors.mesh(identity) as channel:
        await anext(aiter(access_pb2_grpc.AccessServiceStub(channel).WatchAccess(access_pb2.WatchAccessRequest())))


async def test_a_device_certificate_opens_no_administrators_call(doors: OpenDoors) -> None:
    async with doors.mesh(device_identity("ws-17")) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await rbac_pb2_grpc.RbacServiceStub(channel).WhoAmI(rbac_pb2.WhoAmIRequest())
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert info_of(refused.value).reason == "METHOD_UNKNOWN"


async def test_a_device_streams_both_ways(doors: OpenDoors) -> None:
    async with doors.mesh(device_identity("ws-17")) as channel:
        call = agent_pb2_grpc.PolicyStreamServiceStub(channel).StreamPolicy()
        await call.write(agent_pb2.StreamPolicyRequest())
        answer = await call.read()
        await call.done_writing()
    assert isinstance(answer, agent_pb2.StreamPolicyResponse)
    assert answer.HasField("welcome")


async def test_a_message_that_cannot_be_sent_ends_its_call_and_not_the_process(doors: OpenDoors) -> None:
    async with doors.mesh(service_identity("policy")) as channel:
        stub = access_pb2_grpc.AccessServiceStub(channel)
        for _ in range(3):
            with pytest.raises(grpc.aio.AioRpcError):
                async for _ in stub.WatchAccess(access_pb2.WatchAccessRequest(revision=MORE_THAN_FITS)):
                    pass
        gc.collect()
        async for message in stub.WatchAccess(access_pb2.WatchAccessRequest()):
            assert message.heartbeat.revision == 7


async def test_a_refusal_names_the_decision_that_made_it(house: House, doors: OpenDoors) -> None:
    token = house.access.grant("user:alice", ["devices.read"])
    async with doors.public() as channel:
        stub = rbac_pb2_grpc.RbacServiceStub(channel)
        refused = []
        for _ in range(2):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.ListRoles(rbac_pb2.ListRolesRequest(), metadata=bearer(token))
            refused.append(info_of(caught.value).metadata["decision_id"])
    assert [len(decision_id) for decision_id in refused] == [16, 16]
    assert refused[0] != refused[1]
