"""How large a message may be, at the doors of a real host."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from epm.device.v1 import agent_pb2 as enrolment_pb2
from epm.device.v1 import agent_pb2_grpc as enrolment_pb2_grpc
from epm.policy.v1 import agent_pb2, agent_pb2_grpc
from services._chassis.client import MESSAGE_LIMIT
from services._chassis.server import ServiceParts
from tests.builders.doors import OpenDoors, device_identity, open_doors
from tests.fakes.access import FakeAccess
from tests.fakes.clock import FakeClock


class Enrolment(enrolment_pb2_grpc.EnrolmentServiceServicer):
    """Answer with the size of the request."""

    async def Enroll(self, request: enrolment_pb2.EnrollRequest, context: Any) -> enrolment_pb2.EnrollResponse:
        return enrolment_pb2.EnrollResponse(device_id=str(request.ByteSize()))


class Policies(agent_pb2_grpc.PolicyStreamServiceServicer):
    """Greet for every message."""

    async def StreamPolicy(
        self, request_iterator: AsyncIterator[agent_pb2.StreamPolicyRequest], context: Any
    ) -> AsyncIterator[agent_pb2.StreamPolicyResponse]:
        async for _ in request_iterator:
            yield agent_pb2.StreamPolicyResponse(welcome=agent_pb2.Welcome())


@pytest.fixture
async def doors(tmp_path: Path) -> AsyncIterator[OpenDoors]:
    clock = FakeClock()
    parts = ServiceParts(
        name="test",
        access=FakeAccess(clock).control,
        public=[partial(enrolment_pb2_grpc.add_EnrolmentServiceServicer_to_server, Enrolment())],
        mesh=[partial(agent_pb2_grpc.add_PolicyStreamServiceServicer_to_server, Policies())],
    )
    async with open_doors(tmp_path, parts, clock=clock) as opened:
        yield opened


def reason_of(error: grpc.aio.AioRpcError) -> str:
    info = error_details_pb2.ErrorInfo()
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None
    assert status.details[0].Unpack(info)
    return str(info.reason)


def sized(size: int) -> enrolment_pb2.EnrollRequest:
    """Return a request of so many bytes."""
    made = enrolment_pb2.EnrollRequest(csr_pem="x" * size)
    made.csr_pem = "x" * (2 * size - made.ByteSize())
    return made


async def test_a_message_of_the_largest_size_is_taken(doors: OpenDoors) -> None:
    largest = sized(MESSAGE_LIMIT)
    assert largest.ByteSize() == MESSAGE_LIMIT
    async with doors.public() as channel:
        answer = await enrolment_pb2_grpc.EnrolmentServiceStub(channel).Enroll(largest)
    assert answer.device_id == str(MESSAGE_LIMIT)


async def test_a_message_over_the_limit_is_told_the_limit_and_what_to_do(doors: OpenDoors) -> None:
    async with doors.public() as channel:
        stub = enrolment_pb2_grpc.EnrolmentServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError, match=r"may have 4194304 \(4 MiB\); send less") as refused:
            await stub.Enroll(sized(MESSAGE_LIMIT + 1))
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert reason_of(refused.value) == "MESSAGE_TOO_LARGE"


async def test_each_message_of_a_stream_is_held_to_the_limit(doors: OpenDoors) -> None:
    too_large = agent_pb2.StreamPolicyRequest(nack=agent_pb2.Nack(reasons=["x" * MESSAGE_LIMIT]))
    async with doors.mesh(device_identity("ws-17")) as channel:
        call = agent_pb2_grpc.PolicyStreamServiceStub(channel).StreamPolicy()
        await call.write(agent_pb2.StreamPolicyRequest())
        assert isinstance(await call.read(), agent_pb2.StreamPolicyResponse)
        await call.write(too_large)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call.read()
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert reason_of(refused.value) == "MESSAGE_TOO_LARGE"


async def test_what_the_transport_itself_does_not_take_is_refused_without_details(doors: OpenDoors) -> None:
    async with doors.public() as channel:
        stub = enrolment_pb2_grpc.EnrolmentServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError, match="larger than max") as refused:
            await stub.Enroll(sized(2 * MESSAGE_LIMIT + 1))
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
