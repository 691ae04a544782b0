"""What surrounds an agent: an installation with its keys, servers on loopback, and the ports of the machine."""

import asyncio
import base64
import errno
import hashlib
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from agent_stub.events.journal import LocalDisk
from agent_stub.inspection.inspector import Inspection
from agent_stub.inspection.opened import EvidenceError, OpenedFile
from agent_stub.launcher import Recorded
from agent_stub.model import Credentials, Identity, Moment, Question, Rights, Subject
from agent_stub.policy.manifest import DOMAIN_TAG
from elevation.codec.document import encode_document
from elevation.document import PolicyDocument, UserPolicy
from elevation.model import FileEvidence, Platform, RulesPolicy, Settings
from epm.device.v1 import agent_pb2 as device_pb2
from epm.device.v1 import agent_pb2_grpc as device_grpc
from epm.policy.v1 import agent_pb2 as policy_pb2
from epm.policy.v1 import agent_pb2_grpc as policy_grpc
from epm.reporting.v1 import agent_pb2 as reporting_pb2
from epm.reporting.v1 import agent_pb2_grpc as reporting_grpc
from services._chassis import pki

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ACTIVE = Settings()
OWN_RIGHTS = Rights(os.geteuid(), os.getegid())
DEVICE_ID, DEVICE_NAME, TENANT, KEY_ID = "device-17", "ws-17", "epm.test", "key-1"


def document(*policies: RulesPolicy, settings: Settings | None = ACTIVE, device_id: str = DEVICE_ID) -> PolicyDocument:
    """Give a document in which all policies apply to everybody by the device."""
    names = tuple(policy.name for policy in policies)
    return PolicyDocument(
        device_id=device_id,
        device_name=DEVICE_NAME,
        any_user=UserPolicy("", settings, device_targeted=names),
        rules_policies=policies,
        revisions=dict.fromkeys(names, 7),
    )


class Installation:
    """The keys of an installation and what it signs."""

    def __init__(self) -> None:
        # Certificates are checked by the TLS library's own clock, so these alone live in the present.
        self.present = datetime.now(UTC)
        self.authority, _ = pki.create_authority(now=self.present)
        self.policy_key = ed25519.Ed25519PrivateKey.generate()

    @property
    def public_key(self) -> bytes:
        """Give the key that agents verify policy by."""
        return self.policy_key.public_key().public_bytes_raw()

    @property
    def fingerprint(self) -> str:
        """Give the end of every token's text: which CA the installation has."""
        digest = hashlib.sha256(self.authority.certificate.public_bytes(serialization.Encoding.DER)).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def identity(self, address: str = "localhost:1") -> Identity:
        """Give the identity of an enrolled device."""
        return Identity(DEVICE_ID, DEVICE_NAME, TENANT, address, address, address, {KEY_ID: self.public_key})

    def credentials(self, device_id: str = DEVICE_ID, *, lifetime: timedelta = timedelta(days=1)) -> Credentials:
        """Give the credentials of an enrolled device."""
        key = ec.generate_private_key(ec.SECP256R1())
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
        csr = request.public_bytes(serialization.Encoding.PEM)
        certificate = self.sign_device(csr, device_id, lifetime=lifetime)
        return Credentials(pki.private_pem(key), certificate, self.authority.pem)

    def sign_device(self, csr: bytes, device_id: str = DEVICE_ID, *, lifetime: timedelta = timedelta(days=1)) -> bytes:
        """Sign a device's request."""
        return pki.sign_device(
            self.authority, csr, device_id=device_id, trust_domain=TENANT, now=self.present, lifetime=lifetime
        )

    def offer(self, content: PolicyDocument | bytes, revision: int = 1, **changes: object) -> policy_pb2.Offer:
        """Offer a document; `changes` replace fields of the manifest before it is signed."""
        content = content if isinstance(content, bytes) else encode_document(content).SerializeToString()
        signed = self.signed(hashlib.sha256(content).digest(), revision, **changes)
        return policy_pb2.Offer(nonce=b"nonce-%d" % revision, signed_manifest=signed, document=content)

    def signed(self, sha256: bytes, revision: int, **changes: object) -> policy_pb2.SignedManifest:
        """Sign a manifest."""
        fields: dict[str, object] = {
            "tenant": TENANT,
            "device_id": DEVICE_ID,
            "revision": revision,
            "document_sha256": sha256,
            "issued": NOW,
            "expires": NOW + timedelta(days=2),
            "key_id": KEY_ID,
        }
        manifest = policy_pb2.Manifest(**(fields | changes)).SerializeToString()  # type: ignore[arg-type]
        return policy_pb2.SignedManifest(manifest=manifest, signature=self.policy_key.sign(DOMAIN_TAG + manifest))


class FakePolicyService(policy_grpc.PolicyStreamServiceServicer):
    """Greets every stream, sends what the test puts into `outbox`, and keeps what devices say."""

    def __init__(self) -> None:
        self.outbox: asyncio.Queue[policy_pb2.StreamPolicyResponse] = asyncio.Queue()
        self.said: asyncio.Queue[policy_pb2.StreamPolicyRequest] = asyncio.Queue()
        self.serials: list[int] = []
        self.greeting = policy_pb2.StreamPolicyResponse(welcome=policy_pb2.Welcome())

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
            if self.commits:
                yield reporting_pb2.StreamEventsResponse(ack=self._ack(request.batch))

    def _ack(self, batch: reporting_pb2.EventBatch) -> reporting_pb2.EventsAck:
        numbers = [entry.seq for entry in batch.entries]
        rejected = [reporting_pb2.RejectedEvent(seq=seq, reason="no") for seq in numbers if seq in self.rejects]
        return reporting_pb2.EventsAck(journal_id=batch.journal_id, committed_through=numbers[-1], rejected=rejected)


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

    async def Enroll(
        self,
        request: device_pb2.EnrollRequest,
        context: grpc.aio.ServicerContext[device_pb2.EnrollRequest, device_pb2.EnrollResponse],
    ) -> device_pb2.EnrollResponse:
        self.requests.append(request)
        if request.token != self.token:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the enrolment token is not known")
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

    async def RenewCertificate(
        self,
        request: device_pb2.RenewCertificateRequest,
        context: grpc.aio.ServicerContext[device_pb2.RenewCertificateRequest, device_pb2.RenewCertificateResponse],
    ) -> device_pb2.RenewCertificateResponse:
        if self.refusal is not None:
            await context.abort(*self.refusal)
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


class FakeMoments:
    """A clock that a test moves."""

    def __init__(self, wall: datetime = NOW) -> None:
        self.wall = wall
        self.since_boot = timedelta(hours=1)

    def now(self) -> Moment:
        """Give the test's time."""
        return Moment(self.wall, self.since_boot)

    def goes_on(self, time: timedelta) -> None:
        """Let time pass, for both of the device's clocks."""
        self.wall += time
        self.since_boot += time


class FakeDelays:
    """Notes every wait, and ends it when the test says."""

    def __init__(self) -> None:
        self.bounds: list[float] = []
        self.pauses: list[float] = []
        self.waiting = asyncio.Semaphore(0)
        self._go = asyncio.Semaphore(0)

    async def pause(self, seconds: float) -> None:
        """Wait for the test."""
        self.pauses.append(seconds)
        self.waiting.release()
        await self._go.acquire()

    def jitter(self, most: float) -> float:
        """Note the bound."""
        self.bounds.append(most)
        return most

    def go_on(self) -> None:
        """End a wait."""
        self._go.release()


class FakeDisk(LocalDisk):
    """The real file system, until the test fills it."""

    def __init__(self) -> None:
        self.full = False
        self.broken = False

    def append(self, path: Path, content: bytes) -> None:
        """Write half of what does not fit, as file systems do."""
        if self.full:
            super().append(path, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        super().append(path, content)

    def replace(self, path: Path, content: bytes) -> None:
        """Refuse where nothing fits."""
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().replace(path, content)

    def truncate(self, path: Path, size: int) -> None:
        """Refuse where nothing can be changed any more."""
        if self.broken:
            raise OSError(errno.EIO, "Input/output error")
        super().truncate(path, size)


class FakeInspector:
    """Knows every file by heart."""

    def __init__(self, **facts: object) -> None:
        self.facts: dict[str, object] = {"sha256": "a" * 64} | facts
        self.fault = ""

    async def inspect(self, file: OpenedFile, platform: Platform, now: datetime) -> Inspection:
        """Give the facts of the test."""
        del platform, now
        if self.fault:
            raise EvidenceError(self.fault)
        return Inspection(replace(FileEvidence(path=file.path), **self.facts), kind="other")  # type: ignore[arg-type]


class FakePrompter:
    """A user with prepared answers, who gives up when they run out."""

    def __init__(self, *, confirms: bool | None = True, reasons: Sequence[str] = ()) -> None:
        self.confirms = confirms
        self.reasons = list(reasons)
        self.questions: list[Question] = []
        self.problems: list[str] = []

    async def confirm(self, question: Question) -> bool | None:
        """Answer."""
        self.questions.append(question)
        return self.confirms

    async def justification(self, problem: str) -> str | None:
        """Answer."""
        self.problems.append(problem)
        return self.reasons.pop(0) if self.reasons else None


class FakeLauncher:
    """Starts nothing, and notes what it should have started."""

    def __init__(self, fault: OSError | None = None) -> None:
        self.fault = fault
        self.launched: list[tuple[str, tuple[str, ...], str]] = []

    async def launch(self, file: OpenedFile, arguments: Sequence[str], subject: Subject) -> Recorded:
        """Note it."""
        if self.fault is not None:
            raise self.fault
        self.launched.append((file.path, tuple(arguments), subject.name))
        return Recorded("noted")


class Numbers:
    """Identifiers in order."""

    def __init__(self) -> None:
        self._last = 0

    def __call__(self) -> str:
        """Give the next one."""
        self._last += 1
        return f"id-{self._last}"
