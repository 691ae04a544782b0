"""An installation in which the support approves, its approvers, and a device that asks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from epm.device.v1 import devices_pb2, devices_pb2_grpc
from epm.elevation.v1 import document_pb2, event_pb2, rules_pb2, settings_pb2
from epm.policy.v1 import agent_pb2, agent_pb2_grpc, policies_pb2, policies_pb2_grpc, requests_pb2, requests_pb2_grpc
from services.policy.usecases.delivery import CAPABILITY
from services.policy.usecases.requests.post import CAPABILITY as OUTCOMES
from tests.builders.device_service import EnrolledDevice
from tests.builders.whole import Metadata, Whole, whole

if TYPE_CHECKING:
    from epm.policy.v1.requests_pb2_grpc import DeviceRequestServiceAsyncStub, ElevationRequestServiceAsyncStub

FILE = event_pb2.FileFacts(path="/opt/tool/setup", sha256="ab" * 32, version="1.2")
APPROVED, DENIED, CANCELLED, REVOKED, COMPLETED, PENDING = (
    requests_pb2.ELEVATION_REQUEST_STATE_APPROVED,
    requests_pb2.ELEVATION_REQUEST_STATE_DENIED,
    requests_pb2.ELEVATION_REQUEST_STATE_CANCELLED,
    requests_pb2.ELEVATION_REQUEST_STATE_REVOKED,
    requests_pb2.ELEVATION_REQUEST_STATE_COMPLETED,
    requests_pb2.ELEVATION_REQUEST_STATE_PENDING,
)
SOON = 10.0


def submission(attempt_id: str = "attempt-1", **values: Any) -> requests_pb2.SubmitElevationRequestRequest:
    """Ask for approval of the file for alice."""
    chosen = {
        "attempt_id": attempt_id,
        "user": "alice",
        "justification": "a driver for the label printer",
        "platform": rules_pb2.PLATFORM_LINUX,
        "file": FILE,
        "arguments": ["--silent"],
        **values,
    }
    return requests_pb2.SubmitElevationRequestRequest(**chosen)


@dataclass
class Device:
    """A device that asks, and holds a policy stream of its own."""

    enrolled: EnrolledDevice
    channel: grpc.aio.Channel

    @property
    def device_id(self) -> str:
        """Return its identifier."""
        return self.enrolled.device_id

    @property
    def requests(self) -> "DeviceRequestServiceAsyncStub":
        """Ask as the device."""
        return requests_pb2_grpc.DeviceRequestServiceStub(self.channel)

    async def submit(self, attempt_id: str = "attempt-1", **values: Any) -> requests_pb2.ElevationRequest:
        """Ask for approval."""
        return (await self.requests.SubmitElevationRequest(submission(attempt_id, **values))).request

    async def use(self, grant_id: str, attempt_id: str) -> None:
        """Tell that a grant was used."""
        use = requests_pb2.GrantUse(grant_id=grant_id, attempt_id=attempt_id)
        use.used.GetCurrentTime()
        await self.requests.ReportGrantUses(requests_pb2.ReportGrantUsesRequest(uses=[use]))

    async def gone(self, user: str) -> None:
        """Ask until the policy service knows that the device is let in no more."""
        while True:
            try:
                await self.submit("attempt-of-a-retired-device", user=user)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.PERMISSION_DENIED:
                    return
                if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:  # it asked too often, and goes on
                    raise

    @asynccontextmanager
    async def stream(self, *, capabilities: tuple[str, ...] = (CAPABILITY, OUTCOMES)) -> AsyncIterator["Stream"]:
        """Open a policy stream that takes every document."""
        call = agent_pb2_grpc.PolicyStreamServiceStub(self.channel).StreamPolicy()
        stream = Stream(call)
        await call.write(agent_pb2.StreamPolicyRequest(hello=agent_pb2.Hello(capabilities=capabilities)))
        reader = asyncio.create_task(stream.read())
        try:
            yield stream
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
            call.cancel()


@dataclass
class Stream:
    """Remember what came down a policy stream."""

    call: Any
    documents: list[document_pb2.PolicyDocument] = field(default_factory=list)
    outcomes: list[agent_pb2.RequestOutcome] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self) -> None:
        """Take everything that comes."""
        while (response := await self.call.read()) is not grpc.aio.EOF:
            kind = response.WhichOneof("message")
            if kind == "offer":
                self.documents.append(document_pb2.PolicyDocument.FromString(response.offer.document))
                revision = agent_pb2.Manifest.FromString(response.offer.signed_manifest.manifest).revision
                ack = agent_pb2.Ack(nonce=response.offer.nonce, revision=revision)
                await self.call.write(agent_pb2.StreamPolicyRequest(ack=ack))
            elif kind == "outcome":
                self.outcomes.append(response.outcome)
            self.heard.append(kind)
            self._came.set()
            self._came = asyncio.Event()

    async def keep(self, sequence: int) -> None:
        """Confirm outcomes."""
        kept = agent_pb2.OutcomesKept(sequence=sequence)
        await self.call.write(agent_pb2.StreamPolicyRequest(outcomes_kept=kept))

    async def grants(self, number: int) -> list[document_pb2.Grant]:
        """Wait for a document with so many grants, and return them."""
        async with asyncio.timeout(SOON):
            while not (self.documents and len(self.documents[-1].grants) == number):
                await self._came.wait()
        return list(self.documents[-1].grants)

    async def outcome(self, number: int) -> agent_pb2.RequestOutcome:
        """Wait for an outcome, counted from 1, and return it."""
        async with asyncio.timeout(SOON):
            while len(self.outcomes) < number:
                await self._came.wait()
        return self.outcomes[number - 1]

    async def after(self, number: int) -> document_pb2.PolicyDocument:
        """Wait for a document behind the first so many, and return it."""
        async with asyncio.timeout(SOON):
            while len(self.documents) <= number:
                await self._came.wait()
        return self.documents[number]

    async def ruled(self) -> document_pb2.PolicyDocument:
        """Wait for a document with a rule, and return it."""
        async with asyncio.timeout(SOON):
            while not (self.documents and self.documents[-1].rules_policies):
                await self._came.wait()
        return self.documents[-1]

    async def document(self) -> document_pb2.PolicyDocument:
        """Wait for a document, and return it."""
        async with asyncio.timeout(SOON):
            while not self.documents:
                await self._came.wait()
        return self.documents[-1]


class Support:
    """Decide as somebody."""

    def __init__(self, house: Whole) -> None:
        self.house = house
        self.stub: ElevationRequestServiceAsyncStub = requests_pb2_grpc.ElevationRequestServiceStub(house.public)

    async def approve(
        self, request_id: str, who: Metadata | None = None, **values: Any
    ) -> requests_pb2.ElevationRequest:
        """Approve a request, as the owner unless somebody else is named."""
        request = requests_pb2.ApproveElevationRequestRequest(id=request_id, **values)
        return (await self.stub.ApproveElevationRequest(request, metadata=tuple(who or self.house.owner))).request

    async def deny(
        self, request_id: str, reason: str = "not needed", who: Metadata | None = None
    ) -> requests_pb2.ElevationRequest:
        """Deny a request."""
        request = requests_pb2.DenyElevationRequestRequest(id=request_id, reason=reason)
        return (await self.stub.DenyElevationRequest(request, metadata=tuple(who or self.house.owner))).request

    async def revoke(
        self, request_id: str, reason: str = "", who: Metadata | None = None
    ) -> requests_pb2.ElevationRequest:
        """Take an approval back."""
        request = requests_pb2.RevokeElevationRequestRequest(id=request_id, reason=reason)
        return (await self.stub.RevokeElevationRequest(request, metadata=tuple(who or self.house.owner))).request

    async def get(self, request_id: str, who: Metadata | None = None) -> requests_pb2.GetElevationRequestResponse:
        """Look at a request."""
        request = requests_pb2.GetElevationRequestRequest(id=request_id)
        return await self.stub.GetElevationRequest(request, metadata=tuple(who or self.house.owner))

    async def list(
        self, asked: str = "", who: Metadata | None = None, **values: Any
    ) -> requests_pb2.ListElevationRequestsResponse:
        """List requests."""
        request = requests_pb2.ListElevationRequestsRequest(filter=asked, **values)
        return await self.stub.ListElevationRequests(request, metadata=tuple(who or self.house.owner))

    def watch(self, cursor: str = "", who: Metadata | None = None) -> Any:
        """Watch requests."""
        request = requests_pb2.WatchElevationRequestsRequest(cursor=cursor)
        return self.stub.WatchElevationRequests(request, metadata=tuple(who or self.house.owner))

    @asynccontextmanager
    async def device(self, name: str = "ws-17", *users: str, tags: tuple[str, ...] = ()) -> AsyncIterator[Device]:
        """Enrol a device of these users, alice's unless others are named."""
        token = await self.house.enrolment_token(self.house.owner, users=users or ("alice",), scope_tags=tags)
        enrolled = await self.house.enrol(name, token)
        async with self.house.mesh(enrolled.identity) as channel:
            yield Device(enrolled, channel)

    async def respond(self, response: "settings_pb2.DefaultResponse.ValueType") -> None:
        """Make the default response of all devices this one."""
        policy = policies_pb2.SettingsPolicy(
            metadata=policies_pb2.Metadata(name="workstations"),
            settings=settings_pb2.ElevationSettings(enabled=True, default_response=response),
            assignments=policies_pb2.Assignments(include=[policies_pb2.IncludedGroup(group="all-devices")]),
        )
        stub = policies_pb2_grpc.PolicyServiceStub(self.house.public)
        await stub.ApplyPolicies(
            policies_pb2.ApplyPoliciesRequest(settings_policies=[policy]), metadata=tuple(self.house.owner)
        )

    async def forbid(self, sha256: str) -> None:
        """Deny a file on all devices, by the rule `malware` of the policy `blocked`."""
        denied = rules_pb2.Rule(
            name="malware",
            elevation_type=rules_pb2.ELEVATION_TYPE_DENY,
            child_processes=rules_pb2.CHILD_PROCESSES_DENY,
            detection=rules_pb2.Detection(file_name="setup", file_hash=sha256),
        )
        policy = policies_pb2.RulesPolicy(
            metadata=policies_pb2.Metadata(name="blocked"),
            platform=rules_pb2.PLATFORM_LINUX,
            rules=[denied],
            assignments=policies_pb2.Assignments(include=[policies_pb2.IncludedGroup(group="all-devices")]),
        )
        stub = policies_pb2_grpc.PolicyServiceStub(self.house.public)
        await stub.ApplyPolicies(
            policies_pb2.ApplyPoliciesRequest(rules_policies=[policy]), metadata=tuple(self.house.owner)
        )

    async def retire(self, device_id: str) -> None:
        """Retire a device."""
        stub = devices_pb2_grpc.DeviceServiceStub(self.house.public)
        await stub.RetireDevice(devices_pb2.RetireDeviceRequest(device_id=device_id), metadata=tuple(self.house.owner))


@asynccontextmanager
async def support(folder: Path, **values: object) -> AsyncIterator[Support]:
    """Run an installation whose policy asks for approval of everything."""
    async with whole(folder, **values) as house:
        made = Support(house)
        await made.respond(settings_pb2.DEFAULT_RESPONSE_SUPPORT_APPROVED)
        yield made
