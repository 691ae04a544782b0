"""Authoring and lint over real TLS with tokens: the real linter, over a database and a directory that the test changes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from elevation.lint.findings import Usage
from elevation.model import (
    ChildProcesses,
    DefaultResponse,
    ElevationType,
    GroupType,
    Platform,
    Rule,
    RulesPolicy,
    SettingsPolicy,
    Validation,
)
from epm.policy.v1 import analysis_pb2, analysis_pb2_grpc
from services._chassis.db import Database
from services._chassis.migrate import upgrade
from services._chassis.server import ServiceParts
from services.policy.analysis_servicer import AnalysisServicer
from services.policy.store.objects import SqlStore
from services.policy.usecases.analysis.drafted import Drafting
from services.policy.usecases.analysis.lint_desk import LintDesk
from services.policy.usecases.analysis.simulation import Simulation
from services.policy.usecases.means import Means
from services.policy.usecases.newest import newest_corpus
from tests.builders.authoring_service import Service
from tests.builders.doors import bearer, open_doors
from tests.builders.elevation import HASH
from tests.builders.elevation import rule as rule_of
from tests.builders.migrated import put_databases
from tests.builders.refusals import Refusal, refusal_of
from tests.fakes.clock import FakeClock
from tests.fakes.policy_delivery import FakeDirectories, MemoryDeliveries, assigned, group, policy_book

GROUPS = (
    group("laptops", "D1"),
    group("kiosks", "D2"),
    group("developers", "alice", kind=GroupType.USER),
    group("new", where='osVersion >= "12"'),
)


@dataclass
class Linted(Service):
    """Author policies and lint them, each call as somebody."""

    directories: Any = None
    usage: Usage | None = None
    """What is known of usage."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.directories = FakeDirectories(groups=GROUPS)
        self.book = policy_book(self.directories)
        self.store = SqlStore(self.database)
        newest = partial(newest_corpus, self.store, self.book, self._caught_up)
        self.linting: Any = LintDesk(
            newest,
            self.directories,
            now=self.clock.now,
            monotonic=self.clock.monotonic,
            usage=lambda: self.usage,
        )

    def parts(self) -> ServiceParts:
        """Return the servicers as a service."""
        authoring = super().parts()
        means = Means(directories=self.directories, linting=self.linting, most_rules=self.most_rules)
        drafting = Drafting(self.store, self.book, self._caught_up, means)
        simulation = Simulation(drafting, self.book, MemoryDeliveries())
        servicer = AnalysisServicer(drafting, self.linting, simulation, now=self.clock.now)
        add = partial(analysis_pb2_grpc.add_AnalysisServiceServicer_to_server, servicer)
        return replace(authoring, public=[*authoring.public, add])

    async def lint(self, by: str = "root", **fields: Any) -> list[Any]:
        """Return the messages of a lint."""
        async with self.doors.public() as channel:
            stub = analysis_pb2_grpc.AnalysisServiceStub(channel)
            call = stub.Lint(analysis_pb2.LintRequest(**fields), metadata=bearer(self.tokens[by]))
            return [part async for part in call]

    async def found(self, by: str = "root", **fields: Any) -> list[Any]:
        """Return all that a lint finds."""
        return [finding for part in await self.lint(by, **fields) for finding in part.findings]

    async def lint_refused(self, by: str = "root", **fields: Any) -> Refusal:
        """Ask for a lint that has to be refused, and return how."""
        return await refusal_of(self.lint(by, **fields))

    async def _caught_up(self, _revision: int) -> None:
        self.book.put(await self.store.corpus())


@asynccontextmanager
async def linted(folder: Path) -> AsyncIterator[Linted]:
    """Run the service at a public door until the block ends."""
    put_databases(folder)
    database = await Database.connect(f"sqlite:///{folder / 'policy.db'}", service="policy")
    await upgrade(database)
    service = Linted(database)
    async with open_doors(folder, service.parts(), clock=FakeClock()) as service.doors:
        yield service
    await service.linting.close()
    await database.close()


def sound(name: str = "sound", kind: ElevationType = ElevationType.USER_CONFIRMED, **changes: Any) -> Rule:
    """Make a rule in which lint finds nothing; keywords are fields of its detection, or of the rule."""
    detection = {"file_name": f"{name}.exe", "file_path": "C:\\Program Files\\Tools", "file_hash": HASH}
    own = {field: changes.pop(field) for field in ("lint", "arguments") if field in changes}
    made = rule_of(name, kind, **{**detection, **changes})
    children = None if kind is ElevationType.DENY else ChildProcesses.REQUIRE_RULE
    return replace(made, child_processes=children, **own)


def tools(name: str, *rules: Rule, to: tuple[str, ...] = ("laptops",), where: str = "") -> RulesPolicy:
    """Make a rules policy for groups."""
    return RulesPolicy(name, Platform.WINDOWS, rules or (sound(),), assigned(*to, where=where))


def base(
    name: str = "base", *, to: tuple[str, ...] = ("all-devices",), where: str = "", **changes: Any
) -> SettingsPolicy:
    """Make a settings policy in which lint finds nothing, for groups."""
    made = SettingsPolicy(
        name,
        default_response=DefaultResponse.USER_CONFIRMED,
        validations=frozenset({Validation.AUTHENTICATION}),
        assignments=assigned(*to, where=where),
    )
    return replace(made, **changes)


def told(findings: Any) -> list[tuple[str, str, str]]:
    """Return check, object and rule of findings."""
    return [(finding.id, finding.name, finding.rule) for finding in findings]
