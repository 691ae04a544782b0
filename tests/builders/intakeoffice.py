"""The intake behind its public door: a store, the writer that all events go through, and administrators who look."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from epm.elevation.v1 import event_pb2
from epm.reporting.v1 import intake_pb2, intake_pb2_grpc
from services._chassis.db import Database
from services._chassis.migrate import upgrade
from services._chassis.server import ServiceParts
from services.reporting.codec.intake import again
from services.reporting.intake import Retries
from services.reporting.intake_servicer import IntakeServicer
from services.reporting.model.events import Batch, Rejection
from services.reporting.model.live import ATTEMPTS_ALONE, Cursor
from services.reporting.model.reports import ElevationFilter, Question
from services.reporting.store.devices import SqlDeviceRecords
from services.reporting.store.intake import SqlIntake
from services.reporting.store.stored import SqlStored
from services.reporting.store.tables import AUDIT
from services.reporting.workers import GroupCommitWriter
from tests.builders.doors import bearer, open_doors
from tests.builders.sinks import DurableSink
from tests.fakes.access import FakeAccess
from tests.fakes.clock import FakeClock
from tests.fakes.reporting import batch, decided

VIEW_REPORTS = "policy_authoring.view_reports"
CONFIGURE = "reporting.configure"
REASON = "epm-reason-bin"
REQUESTS: dict[str, Any] = {
    "ListDeadLetters": intake_pb2.ListDeadLettersRequest,
    "GetDeadLetter": intake_pb2.GetDeadLetterRequest,
    "RetryDeadLetters": intake_pb2.RetryDeadLettersRequest,
    "ListGaps": intake_pb2.ListGapsRequest,
    "ListDiagnostics": intake_pb2.ListDiagnosticsRequest,
}
Call = Callable[..., Awaitable[Any]]


@dataclass
class IntakeOffice:
    """The intake, who may look at it, and what it knows of devices."""

    database: Database
    access: FakeAccess
    sink: DurableSink
    writer: GroupCommitWriter
    clock: FakeClock
    stub: Any = None
    names: dict[str, str] = field(default_factory=dict)

    @property
    def intake(self) -> SqlIntake:
        """Return the store of what could not be stored."""
        return SqlIntake(self.database)

    @property
    def records(self) -> SqlDeviceRecords:
        """Return what is known of who may see which device."""
        return SqlDeviceRecords(self.database)

    def retries(self, store: Callable[[Sequence[Batch]], Awaitable[Sequence[Sequence[Rejection]]]]) -> Retries:
        """Return what tries letters again, over a store of the test."""
        return Retries(self.intake, store, lambda found, at: again(found, "ws", at), self.clock.now)

    def caller(self, *tags: str, rights: Sequence[str] = (VIEW_REPORTS, CONFIGURE), reason: str = "") -> Call:
        """Return how somebody asks who has these rights over devices with these tags."""
        token = self.access.grant(f"user:asks-{'-'.join(tags)}", rights, scope_tags=tags)
        metadata = (*bearer(token), *(((REASON, reason.encode()),) if reason else ()))

        async def ask(rpc: str, **fields: Any) -> Any:
            return await getattr(self.stub, rpc)(REQUESTS[rpc](**fields), metadata=metadata)

        return ask

    async def send(self, *events: event_pb2.ElevationEvent, first: int = 1, **values: Any) -> None:
        """Let a device send events, now."""
        received = values.pop("received", self.clock.now())
        await self.sink.store([batch(events, first=first, received=received, **values)])

    async def attempts(self) -> list[str]:
        """Return the attempts that are stored, in their order."""
        everything = Question(ElevationFilter(), None)
        passage = await SqlStored(self.database).passage(everything, Cursor(), ATTEMPTS_ALONE)
        return [one.attempt_id for one in passage.elevations]

    async def audited(self, action: str) -> list[sa.RowMapping]:
        """Return the records of an action, oldest first."""
        asked = sa.select(AUDIT).where(AUDIT.c.action == action).order_by(AUDIT.c.sequence)
        async with self.database.read() as tx:
            return list((await tx.execute(asked)).mappings().all())


@asynccontextmanager
async def open_intake(database_url: str, tmp_path: Path) -> AsyncIterator[IntakeOffice]:
    """Open the intake on an empty database."""
    database = await Database.connect(database_url, service="reporting")
    await upgrade(database)
    sink, clock = DurableSink.on(database.url, database.changes.announce), FakeClock()
    office = IntakeOffice(database, FakeAccess(), sink, GroupCommitWriter(sink), clock)

    def name(device_id: str) -> str:
        return office.names.get(device_id, "")

    retries = Retries(
        office.intake,
        office.writer.store,
        lambda found, at: again(found, name(found.letter.device_id) or found.letter.device_id, at),
        clock.now,
    )
    servicer = IntakeServicer(office.intake, retries, name)
    add = partial(intake_pb2_grpc.add_IntakeServiceServicer_to_server, servicer)
    parts = ServiceParts(name="reporting", access=office.access.control, public=[add])
    committing = asyncio.create_task(office.writer.run())
    async with open_doors(tmp_path, parts) as doors, doors.public() as channel:
        office.stub = intake_pb2_grpc.IntakeServiceStub(channel)
        yield office
    committing.cancel()
    await asyncio.gather(committing, return_exceptions=True)
    await sink.close()
    await database.close()


async def walk(ask: Call, rpc: str, **fields: Any) -> list[Any]:
    """Return everything of a list, two entries a page."""
    found: list[Any] = []
    token = ""
    while True:
        page = await ask(rpc, page_size=2, page_token=token, **fields)
        entries = next(iter(value for name, value in page.ListFields() if name.name != "next_page_token"), ())
        assert len(entries) <= 2
        found += entries
        token = page.next_page_token
        if not token:
            return found


def poison(number: int, **values: Any) -> event_pb2.ElevationEvent:
    """Return an event that cannot be stored."""
    return decided(number, user="", **values)
