"""An office that exports reports behind a public door, and who asks it."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc.aio

from epm.reporting.v1 import export_pb2, export_pb2_grpc
from services._chassis.clock import SystemClock
from services._chassis.db import Database
from services._chassis.migrate import upgrade
from services._chassis.server import ServiceParts
from services.reporting.consumers import ConsumerDesk
from services.reporting.export_servicer import ExportServicer
from services.reporting.exporting import Exports
from services.reporting.reportexport.serving import ReportExports
from services.reporting.store.consumers import SqlConsumers
from services.reporting.store.devices import SqlDeviceRecords
from services.reporting.store.stored import SqlStored
from services.reporting.watching import Watches
from tests.builders.doors import bearer, open_doors
from tests.builders.reportfiles import json_rows, walks_on
from tests.builders.sinks import DurableSink
from tests.fakes.access import FakeAccess

VIEW_REPORTS = "policy_authoring.view_reports"


@dataclass
class Publisher:
    """Exports of reports behind the public door; attempts are read two at a time."""

    access: FakeAccess
    sink: DurableSink
    records: SqlDeviceRecords
    files: ReportExports
    database: Database
    stub: Any

    def reader(self, name: str = "reader", *tags: str) -> Any:
        """Return the metadata of a principal who may view reports."""
        return bearer(self.access.grant(f"user:{name}", [VIEW_REPORTS], scope_tags=tags))

    def begin(self, metadata: Any, report: str = "ELEVATIONS", form: str = "JSON_LINES", **asked: Any) -> Any:
        """Begin to export."""
        request = export_pb2.ExportReportRequest(
            report=export_pb2.ReportKind.Value(f"REPORT_KIND_{report}"),
            format=export_pb2.ExportFormat.Value(f"EXPORT_FORMAT_{form}"),
            **asked,
        )
        return self.stub.ExportReport(request, metadata=metadata)

    async def export(self, report: str = "ELEVATIONS", form: str = "JSON_LINES", **asked: Any) -> bytes:
        """Return a whole file."""
        return b"".join([piece.data async for piece in self.begin(self.reader(), report, form, **asked)])


@asynccontextmanager
async def publishing(database_url: str, folder: Path, patience: float = 60.0) -> AsyncIterator[Publisher]:
    """Export from a database until the block ends: three at a time, two of them for one principal."""
    database = await Database.connect(database_url, service="reporting")
    await upgrade(database)
    sink, access = DurableSink.on(database.url, database.changes.announce), FakeAccess()
    stored, consumers = SqlStored(database), SqlConsumers(database)
    exports = Exports(Watches(stored, database.changes, monotonic=time.monotonic), consumers)
    files = ReportExports(walks_on(database, most_attempts=2), most=3, most_of_one=2, patience=patience)
    desk = ConsumerDesk(consumers, stored, exports.open.end, SystemClock().now)
    servicer = ExportServicer(exports, files, desk, access.control)
    add = partial(export_pb2_grpc.add_ExportServiceServicer_to_server, servicer)
    parts = ServiceParts(name="reporting", access=access.control, public=[add])
    async with open_doors(folder, parts) as doors, doors.public() as channel:
        records, stub = SqlDeviceRecords(database), export_pb2_grpc.ExportServiceStub(channel)
        yield Publisher(access, sink, records, files, database, stub)
    await files.guests.idle()
    await sink.close()
    await database.close()


def attempts(data: bytes) -> list[str]:
    """Return the attempts of JSON lines."""
    return [row["attemptId"] for row in json_rows(data)]


async def rest(call: Any) -> list[Any]:
    """Read a stream to its end."""
    pieces = []
    while (piece := await call.read()) is not grpc.aio.EOF:
        pieces.append(piece)
    return pieces
