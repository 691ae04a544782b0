"""The servers that an agent talks to, on loopback, with real certificates."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

import grpc.aio
from cryptography import x509
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from epm.device.v1 import agent_pb2 as device_pb2
from epm.device.v1 import agent_pb2_grpc as device_grpc
from epm.policy.v1 import agent_pb2 as policy_pb2
from epm.policy.v1 import agent_pb2_grpc as policy_grpc
from epm.policy.v1 import requests_pb2_grpc
from epm.reporting.v1 import agent_pb2 as reporting_pb2
from epm.reporting.v1 import agent_pb2_grpc as reporting_grpc
from services._chassis import pki
from tests.fakes.agent import DEVICE_ID, KEY_ID, TENANT, Installation
from tests.fakes.agent_requests import FakeRequestService

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")


class FakePolicyService(policy_grpc.PolicyStreamServiceServicer):
    """Greets every stream, sends what the test puts into `outbox`, and keeps what devices say."""

    def __init__(self) -> None:
        self.outbox: asyncio.Queue[policy_pb2.StreamPolicyResponse] = asyncio.Queue()
        self.said: asyncio.Queue[policy_pb2.StreamPolicyRequest] = asyncio.Queue()
        self.ended = asyncio.Semaphore(0)
        """Released when a stream is over: until then it takes what stands in `outbox`, though the device may be gone."""
        self.serials: list[int] = []
        self.greeting = policy_pb2.StreamPolicyResponse(welcome=policy_pb2.Welcome())
        self.refusal: tuple[grpc.StatusCode, error_details_pb2.ErrorInfo] | None = None

    def offer(self, offer: policy_pb2.Offer) -> None:
        """Send an offer to whoever is or comes first."""
        self.outbox.put_nowait(policy_pb2.StreamPolicyResponse(offer=offer))

    async def StreamPolicy(
        self,
        request_iterator: AsyncIterator[policy_pb2.StreamPolicyRequest],
        context: grpc.aio.ServicerContext[policy_pb2.StreamPolicyRequest, policy_pb2.StreamPolicyResponse],
    ) -> AsyncIterator[policy_pb2.StreamPolicyResponse]:
        self.serials.append(serial_of(context))
        self.said.put_nowait(await anext(request_iterator))
        if self.refusal is not None:
            code, info = self.refusal
            await context.abort(code, "no", trailing_metadata=detailed(code, "no", info))
        yield self.greeting
        listener = asyncio.create_task(self._listen(request_iterator))
        try:
            while True:
                response = await self.outbox.get()
                yield response
                if response.HasField("go_away"):
                    return
        finally:
            listener.cancel()
            self.ended.release()

    async def _listen(self, requests: AsyncIterator[policy_pb2.StreamPolicyRequest]) -> None:
        async for request in requests:
            self.said.put_nowait(request)


class FakeEventService(reporting_grpc.EventStreamServiceServicer):
    """Takes events in and, unless told to hold back, commits every batch at once."""

    def __init__(self, credit: int = 100) -> None:
        self.credit = credit
        self.commits = True
        self.rejects: set[int] = set()
        self.batches: asyncio.Queue[reporting_pb2.EventBatch] = asyncio.Queue()
        self.goodbye = ""
        self.credits: asyncio.Queue[int] = asyncio.Queue()
        """What is told after a batch, one after the other."""

    async def StreamEvents(
        self,
        request_iterator: AsyncIterator[reporting_pb2.StreamEventsRequest],
        context: grpc.aio.ServicerContext[reporting_pb2.StreamEventsRequest, reporting_pb2.StreamEventsResponse],
    ) -> AsyncIterator[reporting_pb2.StreamEventsResponse]:
        del context
        await anext(request_iterator)
        yield reporting_pb2.StreamEventsResponse(welcome=reporting_pb2.EventsWelcome(credit=self.credit))
        async for request in request_iterator:
            self.batches.put_nowait(request.batch)
            if self.goodbye:
                yield reporting_pb2.StreamEventsResponse(go_away=reporting_pb2.EventsGoAway(reason=self.goodbye))
                return
            if not self.credits.empty():
                credit = reporting_pb2.EventsCredit(credit=self.credits.get_nowait())
                yield reporting_pb2.StreamEventsResponse(credit=credit)
            if self.commits:
                yield reporting_pb2.StreamEventsResponse(ack=self._ack(request.batch))

    def _ack(self, batch: reporting_pb2.EventBatch) -> reporting_pb2.EventsAck:
        numbers = [entry.seq for entry in batch.entries]
        rejected = [reporting_pb2.RejectedEvent(seq=seq, reason="no") for seq in numbers if seq in self.rejects]
        return reporting_pb2.EventsAck(journal_id=batch.journal_id, committed_through=numbers[-1], rejected=rejected)


def detailed(code: grpc.StatusCode, message: str, detail: Message) -> tuple[tuple[str, bytes], ...]:
    """Give the trailing metadata of a refusal that says more."""
    status = status_pb2.Status(code=code.value[0], message=message)
    status.details.add().Pack(detail)
    return (("grpc-status-details-bin", status.SerializeToString()),)


def serial_of(context: "grpc.aio.ServicerContext[RequestT, ResponseT]") -> int:
    """Give the serial number of the certificate that a device shows."""
    (certificate,) = context.auth_context()["x509_pem_cert"]
    return x509.load_pem_x509_certificate(certificate).serial_number


class FakeDeviceService(device_grpc.EnrolmentServiceServicer, device_grpc.DeviceAgentServiceServicer):
    """Enrols whoever brings the token, counts check-ins, and renews: the first use of a new certificate ends the old one."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.token = "good-token"
        self.requests: list[device_pb2.EnrollRequest] = []
        self.changes: dict[str, object] = {}
        self.check_ins: asyncio.Queue[device_pb2.CheckInRequest] = asyncio.Queue()
        self.renewals: asyncio.Queue[device_pb2.RenewCertificateRequest] = asyncio.Queue()
        self.lifetime = timedelta(days=1)
        self.renewed = self.unused = 0
        self.replaced: set[int] = set()
        self.clones: list[int] = []
        self.loses_answers = False
        self.address = "localhost:1"
        self.refusal: tuple[grpc.StatusCode, str] | None = None
        self.retry_after: timedelta | None = None

    async def Enroll(
        self,
        request: device_pb2.EnrollRequest,
        context: grpc.aio.ServicerContext[device_pb2.EnrollRequest, device_pb2.EnrollResponse],
    ) -> device_pb2.EnrollResponse:
        self.requests.append(request)
        if request.token != self.token:
            await context.abort(
                grpc.StatusCode.UNAUTHENTICATED, "the enrolment token is not known here; ask for a new one"
            )
        if self.refusal is not None:
            await context.abort(*self.refusal)
        response = device_pb2.EnrollResponse(
            device_id=DEVICE_ID,
            certificate_pem=self._signed(request.csr_pem),
            ca_pem=self.installation.authority.pem.decode(),
            trust_domain=TENANT,
            policy_address=self.address,
            reporting_address=self.address,
            device_address=self.address,
            policy_keys=[device_pb2.PolicyKey(key_id=KEY_ID, public_key=self.installation.public_key)],
        )
        for name, value in self.changes.items():
            setattr(response, name, value)
        return response

    async def CheckIn(
        self,
        request: device_pb2.CheckInRequest,
        context: grpc.aio.ServicerContext[device_pb2.CheckInRequest, device_pb2.CheckInResponse],
    ) -> device_pb2.CheckInResponse:
        if self.refusal is not None:
            await context.abort(*self.refusal)
        await self._see(serial_of(context), context)
        self.check_ins.put_nowait(request)
        if self.loses_answers:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")
        return device_pb2.CheckInResponse()

    def _retry(self, code: grpc.StatusCode, message: str) -> tuple[tuple[str, bytes], ...]:
        if self.retry_after is None:
            return ()
        info = error_details_pb2.RetryInfo()
        info.retry_delay.FromTimedelta(self.retry_after)
        return detailed(code, message, info)

    async def RenewCertificate(
        self,
        request: device_pb2.RenewCertificateRequest,
        context: grpc.aio.ServicerContext[device_pb2.RenewCertificateRequest, device_pb2.RenewCertificateResponse],
    ) -> device_pb2.RenewCertificateResponse:
        if self.refusal is not None:
            await context.abort(*self.refusal, trailing_metadata=self._retry(*self.refusal))
        shown = serial_of(context)
        await self._see(shown, context)
        self.renewals.put_nowait(request)
        certificate = self._signed(request.csr_pem)
        self.renewed, self.unused = shown, x509.load_pem_x509_certificate(certificate.encode()).serial_number
        response = device_pb2.RenewCertificateResponse(
            certificate_pem=certificate, ca_pem=self.installation.authority.pem.decode()
        )
        for name, value in self.changes.items():
            setattr(response, name, value)
        return response

    async def _see(self, serial: int, context: "grpc.aio.ServicerContext[RequestT, ResponseT]") -> None:
        if serial in self.replaced:
            self.clones.append(serial)
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "the certificate was replaced")
        if serial == self.unused:
            self.replaced.add(self.renewed)

    def _signed(self, csr: str) -> str:
        return self.installation.sign_device(csr.encode(), lifetime=self.lifetime).decode()


@dataclass
class FakeServers:
    """All that an agent talks to."""

    installation: Installation = field(default_factory=Installation)
    policy: FakePolicyService = field(default_factory=FakePolicyService)
    events: FakeEventService = field(default_factory=FakeEventService)
    requests: FakeRequestService = field(default_factory=FakeRequestService)
    public_address: str = ""
    mesh_address: str = ""

    def __post_init__(self) -> None:
        """Make the device service of this installation, whose public door shows its CA."""
        self.device = FakeDeviceService(self.installation)
        self.shown = self.installation.authority.pem

    @asynccontextmanager
    async def running(self, mesh_port: int = 0) -> AsyncIterator["FakeServers"]:
        """Serve on loopback: enrolment by server TLS, the rest by mutual TLS."""
        issued = pki.issue_server(self.installation.authority, ["localhost"], now=self.installation.present)
        pair = [(issued.key, issued.certificate)]
        shown = [(issued.key, issued.certificate + self.shown)]
        public, mesh = grpc.aio.server(), grpc.aio.server()
        device_grpc.add_EnrolmentServiceServicer_to_server(self.device, public)
        policy_grpc.add_PolicyStreamServiceServicer_to_server(self.policy, mesh)
        requests_pb2_grpc.add_DeviceRequestServiceServicer_to_server(self.requests, mesh)
        reporting_grpc.add_EventStreamServiceServicer_to_server(self.events, mesh)
        device_grpc.add_DeviceAgentServiceServicer_to_server(self.device, mesh)
        mutual = grpc.ssl_server_credentials(pair, self.installation.authority.pem, require_client_auth=True)
        public_port = public.add_secure_port("localhost:0", grpc.ssl_server_credentials(shown))
        mesh_port = mesh.add_secure_port(f"localhost:{mesh_port}", mutual)
        self.public_address, self.mesh_address = f"localhost:{public_port}", f"localhost:{mesh_port}"
        self.device.address = self.mesh_address
        await public.start()
        await mesh.start()
        try:
            yield self
        finally:
            await public.stop(grace=0)
            await mesh.stop(grace=0)
