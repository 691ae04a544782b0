"""Devices that ask as the real agent does: its stream, its verification, its files, its requests and the kernel.

What is left out is what happens before anybody asks: the control socket, the prompt, the inspection of the file and the event.
"""

import asyncio
import hashlib
import logging
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic
from typing import Any, cast

import grpc
import grpc.aio
import structlog
import uvloop

from agent_stub.events.journal import LocalDisk
from agent_stub.files import private_folder
from agent_stub.links import CHANNEL_OPTIONS, Link, keep
from agent_stub.model import Identity
from agent_stub.policy.keeper import PolicyKeeper
from agent_stub.policy.manifest import PolicyRefusedError
from agent_stub.policy.stream import PolicyStream
from agent_stub.requests.calls import CalledServer
from agent_stub.requests.office import RequestOffice
from agent_stub.system import VERSION, SystemClock, SystemDelays, boot_id, new_run_id
from benchmarks.distributing.fleet import Member, allow_many_connections
from benchmarks.requested.crew import Asked, Crew, Notes
from elevation.explain import explain
from elevation.model import Attempt, Decision, Device, FileEvidence, Outcome, Platform, Trigger, User
from epm.policy.v1 import agent_pb2, agent_pb2_grpc, requests_pb2_grpc
from tests.builders.elevation import signer

OPTIONS = (*CHANNEL_OPTIONS, ("grpc.use_local_subchannel_pool", 1))
PLATFORM = Platform.WINDOWS
FILE = FileEvidence(
    path=r"C:\Users\someone\Downloads\setup.exe",
    version="4.2.1",
    description="Setup of the modelling workbench",
    product_name="Modelling Workbench",
    internal_name="setup",
    company_name="Vendor Ltd",
    signers=(signer(),),
)
WHY = "the workbench is needed for the project that begins on Monday; the team agreed on this version"


@dataclass(frozen=True, slots=True)
class Enrolled:
    """Hold what the devices were told when they enrolled."""

    trust_domain: str
    roots: bytes
    policy_keys: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Person:
    """Know a device by its certificate, and by the names that the directory has for it and its user."""

    member: Member
    device: str
    user: str


class AgentDevice:
    """Be one device, without what its users see."""

    def __init__(self, person: Person, enrolled: Enrolled, folder: Path, notes: Notes) -> None:
        identity = Identity(
            device_id=person.member.device_id,
            device_name=person.device,
            trust_domain=enrolled.trust_domain,
            policy_address="",
            reporting_address="",
            device_address="",
            policy_keys=enrolled.policy_keys,
        )
        self._credentials = grpc.ssl_channel_credentials(enrolled.roots, person.member.key, person.member.certificate)
        self._person = person
        self._notes = notes
        self._clock = SystemClock()
        self._keeper = PolicyKeeper(private_folder(folder), identity, lambda: self._clock.now().since_boot)
        self._office = RequestOffice(
            folder,
            LocalDisk().replace,
            boot_id(),
            keeper=self._keeper,
            server=CalledServer(self._stub),
            clock=self._clock,
            delays=SystemDelays(),
        )
        self._channel: grpc.aio.Channel | None = None
        self._running: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()
        self._waiting: set[str] = set()
        self.offered = 0.0

    async def connect(self, address: str) -> None:
        """Hold the stream as the agent does, until the policy that it brings is in force."""
        self._channel = grpc.aio.secure_channel(address, self._credentials, options=OPTIONS)
        line = cast("agent_pb2_grpc.PolicyStreamServiceAsyncStub", _Line(self._channel, self))
        run_id = new_run_id()
        stream = PolicyStream(
            line,
            self._keeper,
            lambda: agent_pb2.Hello(
                device_id=self._person.member.device_id, agent_version=VERSION, boot_id=boot_id(), run_id=run_id
            ),
            delays=SystemDelays(),
            now=lambda: self._clock.now().wall,
            changed=self._office.policy_changed,
            refused=_refused,
        )
        stream.take_outcomes(self._office.keep_outcome)
        self._running = asyncio.create_task(keep(Link("policy"), stream.session, SystemDelays()))
        await self._settled.wait()

    async def ask(self, key: str) -> Asked:
        """Ask for approval of a file that nobody has asked for."""
        attempt, decision = self._decided(key)
        if decision.outcome is not Outcome.REQUEST_APPROVAL:
            raise SystemExit(f"nobody would ask: {decision.outcome.name}, {decision.reason}")
        self._waiting.add(key)
        called = monotonic()
        submission = await self._office.submit(key, attempt, decision, WHY)
        answered = monotonic()
        if not submission.request_id:
            raise SystemExit(submission.message)
        return Asked(called, answered)

    async def close(self) -> None:
        """Drop the connection."""
        if self._running is not None and self._channel is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
            await self._channel.close()

    def arrived(self, offer: agent_pb2.Offer) -> None:
        """Note when an offer came."""
        self.offered, self._notes.offer_bytes = monotonic(), offer.ByteSize()

    def acknowledged(self) -> None:
        """See what the kernel elevates now that it did not before."""
        self._settled.set()
        for key in list(self._waiting):
            if self._decided(key)[1].outcome is Outcome.ELEVATE:
                self._waiting.discard(key)
                self._notes.is_usable(key, self.offered)

    def _decided(self, key: str) -> tuple[Attempt, Decision]:
        """Decide as the broker does."""
        held, now = self._keeper.held, self._clock.now().wall
        assert held is not None
        attempt = Attempt(
            device=Device(held.policy.device_name),
            user=User(self._person.user),
            trigger=Trigger.REQUEST,
            platform=PLATFORM,
            file=replace(FILE, sha256=hashlib.sha256(key.encode()).hexdigest()),
            now=now,
            grants=self._office.grants(),
            policy_confirmed=self._keeper.confirmed_by(now),
        )
        return attempt, explain(held.policy.for_user(self._person.user), attempt)

    def _stub(self) -> "requests_pb2_grpc.DeviceRequestServiceAsyncStub":
        assert self._channel is not None
        return requests_pb2_grpc.DeviceRequestServiceStub(self._channel)


class _Line:
    """Hand out streams that the benchmark listens in on."""

    def __init__(self, channel: grpc.aio.Channel, device: AgentDevice) -> None:
        self._stub = agent_pb2_grpc.PolicyStreamServiceStub(channel)
        self._device = device

    def StreamPolicy(self) -> "_Call":  # noqa: N802 - the contract names the method
        return _Call(self._stub.StreamPolicy(), self._device)


class _Call:
    """Pass everything on, and see offers come and acknowledgements go."""

    def __init__(self, call: Any, device: AgentDevice) -> None:
        self._call = call
        self._device = device
        self.cancel = call.cancel
        self.details = call.details

    async def read(self) -> Any:
        message = await self._call.read()
        if isinstance(message, agent_pb2.StreamPolicyResponse) and message.HasField("offer"):
            self._device.arrived(message.offer)
        return message

    async def write(self, message: agent_pb2.StreamPolicyRequest) -> None:
        await self._call.write(message)
        if message.HasField("ack"):
            self._device.acknowledged()


def _refused(error: PolicyRefusedError) -> None:
    raise SystemExit(f"a policy was refused: {error}")


def run_agents(pipe: Connection, people: list[Person], enrolled: Enrolled, folder: Path) -> None:
    """Be devices whose users ask, in a process of their own."""
    allow_many_connections()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    uvloop.run(_serve(pipe, people, enrolled, folder))


async def _serve(pipe: Connection, people: list[Person], enrolled: Enrolled, folder: Path) -> None:
    notes = Notes()
    device = partial(AgentDevice, enrolled=enrolled, notes=notes)
    await Crew([device(person, folder=folder / person.device) for person in people], notes).serve(pipe)
