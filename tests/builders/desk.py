"""A broker with all that surrounds it."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from agent_stub.broker import Broker
from agent_stub.events.records import EventFactory
from agent_stub.events.spool import Spool
from agent_stub.identity import SystemIdentity
from agent_stub.model import Answer, Origin, Subject
from agent_stub.policy.keeper import PolicyKeeper
from agent_stub.requests.office import RequestOffice
from elevation.document import PolicyDocument
from elevation.model import (
    ChildProcesses,
    ElevationType,
    Parent,
    Platform,
    RulesPolicy,
    Trigger,
    Validation,
)
from epm.elevation.v1 import event_pb2
from tests.builders.elevation import policy, rule
from tests.fakes.agent import (
    OWN_RIGHTS,
    FakeDelays,
    FakeDisk,
    FakeInspector,
    FakeLauncher,
    FakeMoments,
    FakePrompter,
    Installation,
    Numbers,
)
from tests.fakes.agent_requests import FakeRequestServer

HASH = "a" * 64
ALICE = Subject("alice", administrator=False)
JUSTIFIED = frozenset({Validation.BUSINESS_JUSTIFICATION})


def rules(elevation_type: ElevationType, validations: frozenset[Validation] = frozenset()) -> RulesPolicy:
    found = rule("r", elevation_type, file_name="tool", file_hash=HASH, children=ChildProcesses.DENY)
    return policy(replace(found, validations=validations), name="p", platform=Platform.LINUX)


@dataclass
class Desk:
    """A broker and all that surrounds it."""

    folder: Path
    house: Installation = field(default_factory=Installation)
    disk: FakeDisk = field(default_factory=FakeDisk)
    clock: FakeMoments = field(default_factory=FakeMoments)
    inspector: FakeInspector = field(default_factory=FakeInspector)
    launcher: FakeLauncher = field(default_factory=FakeLauncher)
    server: FakeRequestServer = field(default_factory=FakeRequestServer)
    delays: FakeDelays = field(default_factory=FakeDelays)
    boot_id: str = "boot"
    revision: int = 0

    def __post_init__(self) -> None:
        factory = EventFactory("boot", self.clock.now, Numbers())
        self.keeper = PolicyKeeper(self.folder, self.house.identity())
        self.keeper.load()
        self.office = RequestOffice(
            self.folder,
            self.disk.replace,
            self.boot_id,
            keeper=self.keeper,
            server=self.server,
            clock=self.clock,
            delays=self.delays,
        )
        self.problems = self.office.load()
        self.office.policy_changed()
        self.spool = Spool(self.folder, self.disk, Numbers(), limit=1 << 20, factory=factory)
        self.file = self.folder / "tool"
        self.file.write_bytes(b"tool")
        self.broker = Broker(
            keeper=self.keeper,
            inspector=self.inspector,
            identities=SystemIdentity(Platform.LINUX),
            launcher=self.launcher,
            spool=self.spool,
            approvals=self.office,
            now=self.clock.now,
            new_id=Numbers(),
        )

    def holds(self, content: PolicyDocument) -> None:
        self.revision += 1
        self.keeper.apply(self.house.offer(content, self.revision), self.clock.wall)
        self.spool.policy_changed(health_leaves=True)
        self.office.policy_changed()

    async def ask(
        self,
        *arguments: str,
        prompter: FakePrompter | None = None,
        subject: Subject = ALICE,
        trigger: Trigger = Trigger.REQUEST,
        parent: Parent | None = None,
        path: str = "",
    ) -> Answer:
        origin = Origin(subject, Platform.LINUX, OWN_RIGHTS, trigger, parent)
        return await self.broker.elevate(path or str(self.file), arguments, origin, prompter or FakePrompter())

    def events(self) -> list[event_pb2.Decided]:
        return [entry.event.decided for entry in self.spool.journals[0].entries(0, 100, 1 << 20)]

    def diagnostics(self) -> list[event_pb2.Diagnostic]:
        return [entry.event.diagnostic for entry in self.spool.journals[1].entries(0, 100, 1 << 20)]
