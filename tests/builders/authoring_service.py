"""The policy service's authoring over real TLS with tokens, down to a database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa

from elevation.model import GroupType
from epm.policy.v1 import policies_pb2, policies_pb2_grpc, revisions_pb2, revisions_pb2_grpc
from services._chassis.call_reason import REASON
from services._chassis.db import Database
from services._chassis.migrate import upgrade
from services._chassis.server import ServiceParts
from services.policy.admin_servicer.policies import PolicyServicer
from services.policy.revision_servicer import RevisionServicer
from services.policy.store.objects import SqlStore
from services.policy.store.tables import AUDIT
from services.policy.usecases.means import Means
from tests.builders.doors import OpenDoors, bearer, open_doors
from tests.builders.migrated import put_databases
from tests.builders.refusals import Refusal, refusal_of
from tests.fakes.access import FakeAccess
from tests.fakes.clock import FakeClock
from tests.fakes.policy import FakeDeviceStates, FakeDirectories, FakeLinting


class AuditRow(NamedTuple):
    """Hold what the audit record says of one change."""

    actor: str
    action: str
    target: str
    before: str
    after: str


@dataclass
class Service:
    """Author policies through the public door, each call as somebody."""

    database: Database
    access: FakeAccess = field(default_factory=lambda: FakeAccess(FakeClock()))
    directories: FakeDirectories = field(default_factory=lambda: FakeDirectories({"laptops": GroupType.DEVICE}))
    states: FakeDeviceStates = field(default_factory=FakeDeviceStates)
    linting: FakeLinting = field(default_factory=FakeLinting)
    clock: FakeClock = field(default_factory=FakeClock)
    most_rules: int = 100

    def __post_init__(self) -> None:
        self.tokens = {"root": self.access.owner("user:root")}
        self.doors: OpenDoors

    def hire(self, name: str, rights: set[str], **scope: Any) -> None:
        """Give somebody rights within a scope."""
        self.tokens[name] = self.access.grant(f"user:{name}", rights, **scope)

    def parts(self) -> ServiceParts:
        """Return the servicer as a service."""
        means = Means(directories=self.directories, linting=self.linting, most_rules=self.most_rules)
        servicer = PolicyServicer(SqlStore(self.database), means, self.states, self.access.control, now=self.clock.now)
        revisions = RevisionServicer(SqlStore(self.database), means, self.access.control, now=self.clock.now)
        return ServiceParts(
            name="policy",
            access=self.access.control,
            public=[
                partial(policies_pb2_grpc.add_PolicyServiceServicer_to_server, servicer),
                partial(revisions_pb2_grpc.add_RevisionServiceServicer_to_server, revisions),
            ],
        )

    async def call(self, rpc: str, by: str = "root", *, reason: str = "", **fields: Any) -> Any:
        """Call an RPC as somebody, perhaps with a reason."""
        ours = policies_pb2 if hasattr(policies_pb2, f"{rpc}Request") else revisions_pb2
        request = getattr(ours, f"{rpc}Request")(**fields)
        metadata = [*(bearer(self.tokens[by]) if by else ()), *([(REASON, reason.encode())] if reason else ())]
        async with self.doors.public() as channel:
            of_policies = policies_pb2_grpc.PolicyServiceStub(channel)
            stub = of_policies if ours is policies_pb2 else revisions_pb2_grpc.RevisionServiceStub(channel)
            return await getattr(stub, rpc)(request, metadata=metadata)

    async def audited(self) -> list[AuditRow]:
        """Return the audit record, oldest first."""
        columns = (AUDIT.c.actor, AUDIT.c.action, AUDIT.c.target, AUDIT.c.before, AUDIT.c.after)
        async with self.database.read() as tx:
            return [AuditRow._make(row) for row in await tx.execute(sa.select(*columns).order_by(AUDIT.c.sequence))]

    async def refused(self, rpc: str, by: str = "root", **fields: Any) -> Refusal:
        """Make a call that has to be refused, and return how."""
        return await refusal_of(self.call(rpc, by, **fields))


@asynccontextmanager
async def running(folder: Path, *, most_rules: int = 100) -> AsyncIterator[Service]:
    """Run the service at a public door until the block ends."""
    put_databases(folder)
    database = await Database.connect(f"sqlite:///{folder / 'policy.db'}", service="policy")
    await upgrade(database)
    service = Service(database, most_rules=most_rules)
    async with open_doors(folder, service.parts(), clock=FakeClock()) as service.doors:
        yield service
    await database.close()
