"""Exports behind the public door, and consumers of them."""

import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import grpc.aio

from epm.reporting.v1 import export_pb2, export_pb2_grpc, reports_pb2
from services._chassis.changes import ChangeFeed
from services._chassis.db import Database
from services._chassis.migrate import upgrade
from services._chassis.server import ServiceParts
from services.reporting.consumers import ConsumerDesk
from services.reporting.export_servicer import ExportServicer
from services.reporting.exporting import LONGEST_WAIT, Exports
from services.reporting.model.groups import DirectoryMemberships
from services.reporting.reportexport.serving import ReportExports
from services.reporting.store.consumers import SqlConsumers
from services.reporting.store.devices import SqlDeviceRecords
from services.reporting.store.stored import SqlStored
from services.reporting.watching import PATIENCE, Watches
from tests.builders.doors import bearer, open_doors
from tests.builders.refusals import refusal_of
from tests.builders.reportoffice import LAB, directory
from tests.builders.sinks import DurableSink
from tests.fakes.access import FakeAccess
from tests.fakes.clock import FakeClock
from tests.fakes.reporting import batch, decided

VIEW_REPORTS = "policy_authoring.view_reports"
EVERYTHING = reports_pb2.ElevationFilter()
EVERYTHING.occurred_from.seconds = 1


class Consumer:
    """A consumer's end of an export."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.cursor = ""

    async def hello(
        self, name: str = "siem", asked: reports_pb2.ElevationFilter = EVERYTHING, kinds: Iterable[int] = ()
    ) -> None:
        """Say hello."""
        hello = export_pb2.ExportHello(consumer=name, filter=asked, kinds=kinds)  # type: ignore[arg-type]
        await self.call.write(export_pb2.ExportEventsRequest(hello=hello))

    async def read(self, most: int) -> list[str]:
        """Return the next attempts, that many at least."""
        found: list[str] = []
        while len(found) < most or not self.cursor:
            message = await self.call.read()
            self.cursor = message.cursor
            found += [one.attempt_id for one in message.elevations]
        return found

    async def read_all(self, most: int) -> list[str]:
        """Return the next events of every kind, that many at least, message by message by their kinds."""
        found: list[str] = []
        while len(found) < most or not self.cursor:
            message = await self.call.read()
            self.cursor = message.cursor
            found += [one.attempt_id for one in message.elevations]
            found += [f"end of {one.attempt_id}" for one in message.completions]
            found += [one.diagnostic.code for one in message.diagnostics]
        return found

    async def acknowledge(self, cursor: str = "") -> None:
        """Acknowledge what was read last, or a cursor."""
        ack = export_pb2.ExportAck(cursor=cursor or self.cursor)
        await self.call.write(export_pb2.ExportEventsRequest(ack=ack))

    async def leave(self) -> None:
        """Have nothing more to say, and wait until the server has ended the stream."""
        await self.call.done_writing()
        while await self.call.read() is not grpc.aio.EOF:
            pass

    async def refusal(self) -> Any:
        """Return how the stream is refused."""

        async def ended() -> None:
            while await self.call.read() is not grpc.aio.EOF:
                pass

        return await refusal_of(ended())


@dataclass
class Office:
    """Exports behind the public door."""

    access: FakeAccess
    sink: DurableSink
    records: SqlDeviceRecords
    consumers: SqlConsumers
    stub: Any
    stored: SqlStored
    changes: ChangeFeed
    exports: Exports
    database: Database
    clock: FakeClock = field(default_factory=FakeClock)

    def reader(self, name: str = "siem", *tags: str) -> str:
        """Return the token of a principal who may view reports."""
        return self.access.grant(f"user:{name}", [VIEW_REPORTS], scope_tags=tags)

    @asynccontextmanager
    async def stream(self, token: str) -> AsyncIterator[Consumer]:
        """Open a stream, and break it off."""
        call = self.stub.ExportEvents(metadata=bearer(token))
        try:
            yield Consumer(call)
        finally:
            call.cancel()

    async def store(self, *numbers: int, device: str = "d1") -> None:
        """Store attempts, each in a transaction of its own, now."""
        for number in numbers:
            now = self.clock.now()
            await self.sink.store([batch([decided(number)], device=device, first=number, received=now)])


@asynccontextmanager
async def open_office(
    database_url: str, tmp_path: Path, *, most_events: int = 2, patience: float = PATIENCE
) -> AsyncIterator[Office]:
    """Open exports on an empty database; a message takes so many events."""
    database = await Database.connect(database_url, service="reporting")
    await upgrade(database)
    sink, access = DurableSink.on(database.url, database.changes.announce), FakeAccess()
    stored = SqlStored(database, most_events=most_events)
    watches = Watches(stored, database.changes, monotonic=time.monotonic, patience=patience)
    consumers = SqlConsumers(database)
    exports = Exports(watches, consumers, longest_wait=min(LONGEST_WAIT, 10 * patience))
    files = ReportExports({})
    clock = FakeClock()
    desk = ConsumerDesk(consumers, stored, exports.open.end, clock.now)
    groups = DirectoryMemberships(directory(LAB))
    servicer = ExportServicer(exports, files, desk, access.control, groups=groups)
    add = partial(export_pb2_grpc.add_ExportServiceServicer_to_server, servicer)
    parts = ServiceParts(name="reporting", access=access.control, public=[add])
    async with open_doors(tmp_path, parts) as doors, doors.public() as channel:
        stub = export_pb2_grpc.ExportServiceStub(channel)
        records = SqlDeviceRecords(database)
        yield Office(access, sink, records, consumers, stub, stored, database.changes, exports, database, clock)
    await exports.close()
    await sink.close()
    await database.close()
