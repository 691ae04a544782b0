"""Put the agent together and run it."""

import asyncio
import signal
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from agent_stub import identity_store
from agent_stub.broker import Broker
from agent_stub.checkin import CheckIn
from agent_stub.component import Component
from agent_stub.config import AgentSettings, host_platform, status_socket
from agent_stub.control.server import OWNER_ALONE, ControlServer, prepare, remove
from agent_stub.conversations import Conversations, Links, running
from agent_stub.events.journal import Disk, LocalDisk
from agent_stub.events.records import Diagnostic, EventFactory
from agent_stub.events.spool import Spool
from agent_stub.events.upload import Uploader
from agent_stub.files import StateDisk, only_one, private_folder
from agent_stub.identity import SystemIdentity, UnsafeStatedIdentity
from agent_stub.identity_store import CandidateStore
from agent_stub.inspection.inspector import ChildInspector
from agent_stub.inspection.trust import load_trust_store
from agent_stub.launcher import RecordingLauncher
from agent_stub.links import Channels, Session
from agent_stub.model import Answer, Credentials, Identity, Origin
from agent_stub.policy.keeper import NEVER, PolicyKeeper
from agent_stub.policy.manifest import PolicyRefusedError
from agent_stub.policy.stream import PolicyStream
from agent_stub.ports import Clock, Delays, Identities, Prompter
from agent_stub.renewal import Certificates, Renewal
from agent_stub.requests.calls import CalledServer
from agent_stub.requests.office import RequestOffice
from agent_stub.system import VERSION, SystemClock, SystemDelays, boot_id, facts, new_id, new_run_id
from agent_stub.users import SeenUsers, login_accounts
from elevation.words import Platform
from epm.device.v1 import agent_pb2 as device_pb2
from epm.policy.v1 import agent_pb2 as policy_pb2
from epm.policy.v1 import agent_pb2_grpc as policy_grpc
from epm.policy.v1 import requests_pb2_grpc
from epm.reporting.v1 import agent_pb2 as reporting_pb2
from epm.reporting.v1 import agent_pb2_grpc as reporting_grpc

log = structlog.get_logger()

DIAGNOSTIC_LIMIT = 1024


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What of the machine the agent runs by; tests bring their own."""

    clock: Clock
    delays: Delays
    disk: Disk
    new_id: Callable[[], str]
    boot_id: str
    run_id: str


@dataclass(frozen=True, slots=True)
class ControlSocket:
    """The component's place: the socket at which users reach the agent."""

    server: ControlServer
    path: Path

    def bring(self) -> AbstractAsyncContextManager[None]:
        """Listen while the context is open."""
        return self.server.listening(self.path)

    def clear(self) -> None:
        """Remove a socket that could not be removed before."""
        remove(self.path)


class Agent:
    """One device's agent."""

    def __init__(
        self, settings: AgentSettings, identity: Identity, credentials: Credentials, surroundings: Surroundings
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._surroundings = surroundings
        self._platform = settings.unsafe.platform if settings.unsafe else host_platform()
        self._links = Links()
        self._keeper = PolicyKeeper(settings.state_dir, identity, lambda: surroundings.clock.now().since_boot)
        self._spool = self._open_spool()
        self._identities = _identities(settings, self._platform)
        self._users = SeenUsers(login_accounts)
        self._certificates = Certificates(identity, credentials, CandidateStore(settings.state_dir, StateDisk()))
        self._office = self._open_office()
        self._office.link.on_refused = self._links.policy.hurry
        control = ControlServer(self._elevate, self.status, self._identities, self._office.counter)
        self._component = Component(
            self._keeper,
            ControlSocket(control, settings.socket),
            now=lambda: surroundings.clock.now().wall,
            delays=surroundings.delays,
            moved=self._links.check_in.hurry,
        )
        self._broker = self._open_broker()
        self._renewal = Renewal(
            self._certificates,
            clock=surroundings.clock,
            delays=surroundings.delays,
            candidate_came=self._links.check_in.hurry,
        )
        for problem in self._keeper.load():
            self._spool.diagnose(Diagnostic("POLICY_CACHE_DAMAGED", problem))
        for problem in self._office.load():
            self._spool.diagnose(Diagnostic("NOTE_DAMAGED", problem))
        if self._keeper.held is not None:
            self._policy_changed()

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the component, and hold the conversations with the servers, until told to stop.

        What is left of a component that is not due any more is gone before anything connects.
        """
        prepare(self._settings.socket)
        own = ControlServer(None, self.status, self._identities)
        async with own.listening(status_socket(self._settings.state_dir), OWNER_ALONE):
            log.info("agent_started", device=self._identity.device_name, state_dir=str(self._settings.state_dir))
            async with running(self._component.keep(), self._converse()):
                await stop.wait()
        self._keeper.rest()
        self._office.rest()
        log.info("agent_stopped")

    async def _elevate(self, path: str, arguments: tuple[str, ...], origin: Origin, prompter: Prompter) -> Answer:
        self._users.saw(origin.subject.name)
        return await self._broker.elevate(path, arguments, origin, prompter)

    def _open_broker(self) -> Broker:
        return Broker(
            keeper=self._keeper,
            inspector=ChildInspector(load_trust_store(self._settings.trusted_signers)),
            identities=self._identities,
            launcher=RecordingLauncher(self._settings.state_dir / "launches.jsonl"),
            spool=self._spool,
            approvals=self._office,
            now=self._surroundings.clock.now,
            new_id=self._surroundings.new_id,
        )

    def _open_office(self) -> RequestOffice:
        surroundings = self._surroundings

        def stub() -> "requests_pb2_grpc.DeviceRequestServiceAsyncStub":
            channel = self._certificates.channels.to(self._identity.policy_address)
            return requests_pb2_grpc.DeviceRequestServiceStub(channel)

        return RequestOffice(
            self._settings.state_dir,
            surroundings.disk.replace,
            surroundings.boot_id,
            keeper=self._keeper,
            server=CalledServer(stub),
            clock=surroundings.clock,
            delays=surroundings.delays,
        )

    async def _converse(self) -> None:
        surroundings = self._surroundings
        check_in = CheckIn(self._certificates.check_in, self._check_in, now=lambda: surroundings.clock.now().wall)
        conversations = Conversations(
            links=self._links,
            certificates=self._certificates,
            renewal=self._renewal,
            check_in=check_in.session,
            streams=self._streams,
            delays=surroundings.delays,
        )
        await self._component.looked.wait()
        async with running(self._report_uses(), self._office.note()):
            await conversations.hold()

    async def _report_uses(self) -> None:
        await self._certificates.tried.wait()
        await self._office.report()

    def _streams(self, channels: Channels) -> Mapping[str, Session]:
        identity = self._identity
        policy = PolicyStream(
            policy_grpc.PolicyStreamServiceStub(channels.to(identity.policy_address)),
            self._keeper,
            self._hello,
            delays=self._surroundings.delays,
            now=lambda: self._surroundings.clock.now().wall,
            changed=self._policy_changed,
            refused=self._policy_refused,
        )
        policy.take_outcomes(self._office.keep_outcome)
        events = Uploader(
            reporting_grpc.EventStreamServiceStub(channels.to(identity.reporting_address)),
            self._spool,
            reporting_pb2.EventsHello(device_id=identity.device_id, agent_version=VERSION),
        )
        return {"policy": policy.session, "events": events.session}

    def _hello(self) -> policy_pb2.Hello:
        self._office.report_soon()
        return policy_pb2.Hello(
            device_id=self._identity.device_id,
            agent_version=VERSION,
            boot_id=self._surroundings.boot_id,
            run_id=self._surroundings.run_id,
            users=self._users.report(),
        )

    def _check_in(self) -> device_pb2.CheckInRequest:
        stands = self._component.stands
        return device_pb2.CheckInRequest(
            device_id=self._identity.device_id,
            facts=facts(self._platform, self._users.report()),
            component=device_pb2.COMPONENT_STATE_PRESENT if stands else device_pb2.COMPONENT_STATE_ABSENT,
        )

    def status(self) -> dict[str, Any]:
        """Show how the agent is."""
        held = self._keeper.held
        identity = self._identity
        confirmed = self._keeper.confirmed_by(self._surroundings.clock.now().wall)
        return {
            "device": {"id": identity.device_id, "name": identity.device_name, "tenant": identity.trust_domain},
            "agentVersion": VERSION,
            "platform": self._platform.name,
            "unsafeStatedIdentity": self._settings.unsafe is not None,
            "policy": {
                "revision": held.revision if held else None,
                "sha256": held.sha256.hex() if held else None,
                "enabled": held.policy.is_enabled() if held else False,
                "confirmed": None if confirmed == NEVER else confirmed.isoformat(),
            },
            "component": {"stands": self._component.stands, "problem": self._component.problem},
            "certificate": self._renewal.shown(),
            "links": self._links.shown(),
            "grantUses": self._office.shown(),
            "eventsWaiting": sum(len(journal) for journal in self._spool.journals),
        }

    def _open_spool(self) -> Spool:
        surroundings = self._surroundings
        factory = EventFactory(surroundings.boot_id, surroundings.clock.now, surroundings.new_id)
        return Spool(
            self._settings.state_dir,
            surroundings.disk,
            surroundings.new_id,
            limit=self._settings.spool_limit,
            factory=factory,
        )

    def _policy_changed(self) -> None:
        held = self._keeper.held
        self._spool.policy_changed(health_leaves=held is not None and held.policy.reports_diagnostics())
        self._component.policy_changed()
        self._office.policy_changed()

    def _policy_refused(self, error: PolicyRefusedError) -> None:
        self._spool.diagnose(Diagnostic(error.code, "; ".join(error.reasons)[:DIAGNOSTIC_LIMIT]))


async def run(settings: AgentSettings) -> None:
    """Run the agent of a state folder until SIGTERM or SIGINT; raise StateError or TrustStoreError at the start."""
    folder = private_folder(settings.state_dir)
    identity, credentials = identity_store.load(folder)
    with only_one(folder):
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        surroundings = Surroundings(SystemClock(), SystemDelays(), LocalDisk(), new_id, boot_id(), new_run_id())
        await Agent(settings, identity, credentials, surroundings).run(stop)


def _identities(settings: AgentSettings, platform: Platform) -> Identities:
    system = SystemIdentity(platform, settings.administrator_groups)
    if settings.unsafe is None:
        return system
    log.warning("unsafe_stated_identity_in_use", consequence="anybody on this machine may claim to be anybody")
    return UnsafeStatedIdentity(system, platform, settings.unsafe.drives)
