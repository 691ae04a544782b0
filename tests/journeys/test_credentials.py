"""Certificates over the whole installation: what streams do when one is replaced, and when a device has to go."""

import asyncio
import base64
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography import x509
from OpenSSL import SSL

from epm.device.v1 import agent_pb2 as device_agent
from epm.device.v1 import agent_pb2_grpc, devices_pb2, devices_pb2_grpc
from epm.policy.v1 import agent_pb2 as policy_agent
from epm.policy.v1 import agent_pb2_grpc as policy_grpc
from epm.reporting.v1 import agent_pb2 as reporting_agent
from epm.reporting.v1 import agent_pb2_grpc as reporting_grpc
from services._chassis.certificates import fingerprint
from tests.builders.device_service import FACTS, EnrolledDevice
from tests.builders.doors import device_request
from tests.builders.refusals import read_refusal
from tests.builders.whole import Whole, whole

A_SECOND = 1.0
SLACK = 1.5
"""Seconds that a busy machine may take longer."""


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Whole]:
    async with whole(tmp_path) as running:
        yield running


class Streams:
    """A device's policy stream and event stream."""

    def __init__(self, policy: Any, events: Any) -> None:
        self._calls = {"policy": policy, "events": events}

    async def greeted(self, *names: str) -> None:
        """Say hello on these, or on both, and read the welcome."""
        hellos = {
            "policy": policy_agent.StreamPolicyRequest(hello=policy_agent.Hello(capabilities=["policy-document/1"])),
            "events": reporting_agent.StreamEventsRequest(hello=reporting_agent.EventsHello()),
        }
        for name in names or hellos:
            await self._calls[name].write(hellos[name])
            assert (await self._calls[name].read()).WhichOneof("message") == "welcome"

    async def reasons(self, *names: str) -> dict[str, str]:
        """Read these, or both, to their ends, and return the reasons."""
        asked = names or tuple(self._calls)
        ends = await asyncio.gather(*(self._end(self._calls[name]) for name in asked))
        return dict(zip(asked, ends, strict=True))

    async def _end(self, call: Any) -> str:
        try:
            while (message := await call.read()) is not grpc.aio.EOF:
                if message.WhichOneof("message") == "go_away":
                    return policy_agent.GoAwayReason.Name(message.go_away.reason)
        except grpc.aio.AioRpcError as error:
            return read_refusal(error).reason
        return "EOF"


@asynccontextmanager
async def streaming(house: Whole, device: EnrolledDevice) -> AsyncIterator[Streams]:
    async with AsyncExitStack() as stack:
        channel = await stack.enter_async_context(house.mesh(device.identity))
        policy: Any = policy_grpc.PolicyStreamServiceStub(channel).StreamPolicy()
        events: Any = reporting_grpc.EventStreamServiceStub(channel).StreamEvents()
        yield Streams(policy, events)
        policy.cancel()
        events.cancel()


async def renewed(house: Whole, device: EnrolledDevice) -> EnrolledDevice:
    key, csr = device_request()
    async with house.mesh(device.identity) as channel:
        stub: Any = agent_pb2_grpc.DeviceAgentServiceStub(channel)
        answer = await stub.RenewCertificate(device_agent.RenewCertificateRequest(csr_pem=csr.decode()))
    return device.renewed(answer.certificate_pem, key)


async def check_in(house: Whole, device: EnrolledDevice) -> None:
    async with house.mesh(device.identity) as channel:
        stub: Any = agent_pb2_grpc.DeviceAgentServiceStub(channel)
        await stub.CheckIn(device_agent.CheckInRequest(facts=FACTS))


async def cut_within_a_second(streams: Streams, verb: Callable[[], Awaitable[object]], *names: str) -> dict[str, str]:
    await verb()
    since = time.monotonic()
    reasons = await streams.reasons(*names)
    assert time.monotonic() - since < A_SECOND + SLACK
    return reasons


async def test_streams_of_a_certificate_end_once_a_check_in_has_used_the_new_one(house: Whole) -> None:
    old = await house.enrol()
    new = await renewed(house, old)
    async with streaming(house, old) as streams:
        await streams.greeted()
        reasons = await cut_within_a_second(streams, lambda: check_in(house, new))
    assert reasons == {"policy": "CERTIFICATE_REPLACED", "events": "CERTIFICATE_REPLACED"}
    async with streaming(house, new) as again:
        await again.greeted()


@pytest.mark.parametrize(("first", "other"), [("policy", "events"), ("events", "policy")])
async def test_the_first_use_of_a_new_certificate_on_a_stream_ends_the_old_one_everywhere(
    house: Whole, first: str, other: str
) -> None:
    old = await house.enrol()
    new = await renewed(house, old)
    async with streaming(house, old) as streams, streaming(house, new) as newer:
        await streams.greeted(other)
        reasons = await cut_within_a_second(streams, lambda: newer.greeted(first), other)
        assert reasons == {other: "CERTIFICATE_REPLACED"}
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await check_in(house, old)
        assert read_refusal(refused.value).reason == "CERTIFICATE_REPLACED"
    await check_in(house, new)


async def remove(house: Whole, verb: str, device_id: str) -> None:
    stub: Any = devices_pb2_grpc.DeviceServiceStub(house.public)
    calls = {
        "retire": (stub.RetireDevice, devices_pb2.RetireDeviceRequest),
        "ban": (stub.BanDevice, devices_pb2.BanDeviceRequest),
        "delete": (stub.DeleteDevice, devices_pb2.DeleteDeviceRequest),
    }
    call, request = calls[verb]
    await call(request(device_id=device_id), metadata=house.owner)


@pytest.mark.parametrize(
    ("verb", "policy", "events"),
    [
        ("retire", "GO_AWAY_REASON_RETIRED", "DEVICE_NOT_ENROLLED"),
        ("ban", "DEVICE_BANNED", "DEVICE_BANNED"),
        ("delete", "DEVICE_UNKNOWN", "DEVICE_UNKNOWN"),
    ],
)
async def test_streams_of_a_device_that_has_to_go_end_within_a_second(
    house: Whole, verb: str, policy: str, events: str
) -> None:
    device = await house.enrol()
    async with streaming(house, device) as streams:
        await streams.greeted()
        reasons = await cut_within_a_second(streams, lambda: remove(house, verb, device.device_id))
    assert reasons == {"policy": policy, "events": events}
    async with streaming(house, device) as again:
        reasons = await again.reasons()
    assert set(reasons.values()) == {events}


async def test_a_device_that_enrols_again_for_a_lost_key_ends_the_streams_of_the_old_one(house: Whole) -> None:
    device = await house.enrol()
    token = await house.enrolment_token(house.owner, device_id=device.device_id)
    async with streaming(house, device) as streams:
        await streams.greeted()
        reasons = await cut_within_a_second(streams, lambda: house.enrol(token=token))
    assert reasons == {"policy": "CERTIFICATE_REPLACED", "events": "CERTIFICATE_REPLACED"}


async def test_a_token_tells_the_ca_that_the_chain_of_the_public_door_carries(house: Whole) -> None:
    text = (await house.enrolment_token(house.owner)).secret
    host, _, port = house.host.settings.public_address.rpartition(":")
    chain = await asyncio.to_thread(_chain, host, int(port))
    leaf, ca = chain
    assert _written(ca) == text.rpartition(".")[2]
    assert ca == x509.load_pem_x509_certificate(house.ca())
    leaf.verify_directly_issued_by(ca)


def _chain(host: str, port: int) -> list[x509.Certificate]:
    """Return the certificates that a server shows, leaf first, believing none of them."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_alpn_protos([b"h2"])
    with socket.create_connection((host, port), timeout=10) as plain:
        plain.setblocking(True)  # noqa: FBT003 - the library's own signature
        connection = SSL.Connection(context, plain)
        connection.set_connect_state()
        connection.do_handshake()
        return [each.to_cryptography() for each in connection.get_peer_cert_chain() or ()]


def _written(certificate: x509.Certificate) -> str:
    return base64.urlsafe_b64encode(fingerprint(certificate)).rstrip(b"=").decode()
