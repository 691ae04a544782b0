"""Questions about policies over real TLS with tokens: policies, devices and deliveries in memory."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from elevation.codec.decisions import encode_evidence
from elevation.codec.document import encode_grant
from elevation.codec.words import encode_word
from elevation.model import Attempt, DefaultResponse, Group, GroupType, RulesPolicy, SettingsPolicy
from epm.elevation.v1 import event_pb2, rules_pb2
from epm.policy.v1 import analysis_pb2, analysis_pb2_grpc
from services._chassis.server import ServiceParts
from services._chassis.times import time_to_proto
from services.policy.analysis_servicer import AnalysisServicer
from services.policy.model.objects import Stored
from services.policy.usecases.analysis.drafted import Drafting
from services.policy.usecases.analysis.lint_desk import LintDesk
from services.policy.usecases.analysis.simulation import Simulation
from services.policy.usecases.means import Means
from services.policy.usecases.newest import newest_corpus
from tests.builders.doors import OpenDoors, bearer, open_doors
from tests.builders.elevation import HASH, policy, rule
from tests.builders.refusals import Refusal, refusal_of
from tests.builders.rollouts import World, world
from tests.fakes.access import FakeAccess
from tests.fakes.clock import FakeClock
from tests.fakes.policy import FakeLinting
from tests.fakes.policy_delivery import FakeDirectories, assigned, device, group, settings, stored

READ = "policy_authoring.read"


@dataclass
class Questions:
    """Ask the service about a world, each call as somebody."""

    world: World = field(default_factory=lambda: world("d1"))
    access: FakeAccess = field(default_factory=lambda: FakeAccess(FakeClock()))
    linting: FakeLinting = field(default_factory=FakeLinting)
    most_rules: int = 100

    def __post_init__(self) -> None:
        self.tokens = {"root": self.access.owner("user:root")}
        self.doors: OpenDoors

    def hire(self, name: str, **scope: Any) -> None:
        """Give somebody the right to read policies within a scope."""
        self.tokens[name] = self.access.grant(f"user:{name}", {READ}, **scope)

    def parts(self) -> ServiceParts:
        """Return the servicer as a service."""
        means = Means(directories=self.world.directories, linting=self.linting, most_rules=self.most_rules)
        drafting = Drafting(self.world.store, self.world.book, self.world.caught_up, means)
        simulation = Simulation(drafting, self.world.book, self.world.deliveries)
        newest = partial(newest_corpus, self.world.store, self.world.book, self.world.caught_up)
        desk = LintDesk(newest, self.world.directories, now=FakeClock().now, monotonic=FakeClock().monotonic)
        servicer = AnalysisServicer(drafting, desk, simulation, now=FakeClock().now)
        add = partial(analysis_pb2_grpc.add_AnalysisServiceServicer_to_server, servicer)
        return ServiceParts(name="policy", access=self.access.control, public=[add])

    async def call(self, rpc: str, by: str = "root", **fields: Any) -> Any:
        """Call an RPC as somebody."""
        request = getattr(analysis_pb2, f"{rpc}Request")(**fields)
        return await self.send(rpc, request, by)

    async def send(self, rpc: str, request: Any, by: str = "root") -> Any:
        """Send a request as somebody."""
        async with self.doors.public() as channel:
            stub = analysis_pb2_grpc.AnalysisServiceStub(channel)
            return await getattr(stub, rpc)(request, metadata=bearer(self.tokens[by]))

    async def refused(self, rpc: str, by: str = "root", **fields: Any) -> Refusal:
        """Make a call that has to be refused, and return how."""
        return await refusal_of(self.call(rpc, by, **fields))


@asynccontextmanager
async def questions(folder: Path, asked: Questions | None = None) -> AsyncIterator[Questions]:
    """Run the service at a public door until the block ends."""
    asked = asked or Questions()
    async with open_doors(folder, asked.parts(), clock=FakeClock()) as asked.doors:
        yield asked


def tagged(content: SettingsPolicy | RulesPolicy, *tags: str, revision: int = 1) -> Stored[Any]:
    """Keep a policy that carries these tags."""
    kept = stored(content, revision)
    return replace(kept, about=replace(kept.about, scope_tags=frozenset(tags))) if tags else kept


def simulate_request(attempt: Attempt, device: str, **more: Any) -> analysis_pb2.SimulateRequest:
    """Ask what would happen with an attempt, on a device."""
    parent = attempt.parent
    return analysis_pb2.SimulateRequest(
        device=device,
        user=attempt.user.name,
        administrator=attempt.user.administrator,
        trigger=event_pb2.Trigger.ValueType(encode_word(attempt.trigger)),
        platform=rules_pb2.Platform.ValueType(encode_word(attempt.platform)),
        file=encode_evidence(attempt.file),
        arguments=attempt.arguments,
        parent=None if parent is None else event_pb2.ParentProcess(policy=parent.policy, rule=parent.rule),
        now=time_to_proto(attempt.now),
        policy_confirmed=time_to_proto(attempt.policy_confirmed),
        grants=[encode_grant(grant) for grant in attempt.grants],
        **more,
    )


def named(origins: Iterable[Any], setting: str) -> tuple[str, list[str], bool]:
    """Return the value of a setting, the policies that say so, and whether others say something else."""
    [found] = [origin for origin in origins if origin.setting == setting]
    return found.value, list(found.policies), found.conflicting


def office() -> Questions:
    """Have devices, groups and two policies for all devices to ask about."""
    directories = FakeDirectories(
        device("d1", "alice"),
        device("d2", scope_tags=["emea"]),
        device("d3", enrolled=False),
        replace(device("d4"), quarantined=True),
        replace(device("d5"), attributes={}),
        groups=[
            group("developers", "alice", kind=GroupType.USER),
            Group("engineers", GroupType.USER, groups=("developers",)),
            group("kiosks", "D2"),
            group("windows", where='os = "windows"'),
        ],
    )
    here = World(directories)
    here.author(
        stored(settings("base", default_response=DefaultResponse.USER_CONFIRMED, assignments=assigned("all-devices"))),
        stored(tools("tools")),
    )
    return Questions(here)


def tools(name: str, *groups: str, exclude: tuple[str, ...] = (), where: str = "", **detection: Any) -> RulesPolicy:
    """Make a rules policy of one rule for the groups, or for all devices; further keywords are fields of its detection."""
    made = policy(rule("setup", **{"file_hash": HASH, **detection}), name=name)
    return replace(made, assignments=assigned(*groups or ("all-devices",), exclude=exclude, where=where))
