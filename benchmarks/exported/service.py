"""The service of exports in a process of its own, and what that uses."""

import asyncio
import gc
import multiprocessing
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import grpc
import uvloop

from epm.reporting.v1 import export_pb2, export_pb2_grpc, reports_pb2
from services._chassis import logging
from services._chassis.clock import SystemClock
from services._chassis.config import ServiceSettings
from services._chassis.db import Database
from services._chassis.run import COLLECTED_AT
from services._chassis.server import Host, ServiceParts
from services.reporting.consumers import ConsumerDesk
from services.reporting.export_servicer import ExportServicer
from services.reporting.exporting import Exports
from services.reporting.reportexport.serving import ReportExports
from services.reporting.store.consumers import SqlConsumers
from services.reporting.store.stored import SqlStored
from services.reporting.watching import Watches
from tests.builders.doors import authority, bearer
from tests.builders.reportfiles import walks_on
from tests.fakes.access import FakeAccess

MEBIBYTE = 1024 * 1024


def serve(pipe: Connection, url: str, settings: ServiceSettings) -> None:
    """Serve exports until the pipe says that it is enough."""
    logging.configure(level="error")
    gc.freeze()
    gc.set_threshold(*COLLECTED_AT)  # as every service runs
    uvloop.run(_serve(pipe, url, settings))


async def _serve(pipe: Connection, url: str, settings: ServiceSettings) -> None:
    async with exporting(url, settings) as told:
        pipe.send(told)
        await asyncio.to_thread(pipe.recv)


@asynccontextmanager
async def exporting(url: str, settings: ServiceSettings) -> AsyncIterator[tuple[str, str]]:
    """Put the service of exports behind its door; give its address and a token."""
    database = await Database.connect(url, service="reporting")
    access = FakeAccess()
    stored, consumers = SqlStored(database), SqlConsumers(database)
    exports = Exports(Watches(stored, database.changes, monotonic=SystemClock().monotonic), consumers)
    desk = ConsumerDesk(consumers, stored, exports.open.end, SystemClock().now)
    servicer = ExportServicer(exports, ReportExports(walks_on(database)), desk, access.control)
    add = partial(export_pb2_grpc.add_ExportServiceServicer_to_server, servicer)
    host = Host(settings)
    bound = host.bind()
    host.add(ServiceParts(name="reporting", access=access.control, public=[add]))
    await host.start()
    yield bound.public_address, access.grant("user:bench")
    await host.stop()
    await database.close()


@dataclass(frozen=True, slots=True)
class Process:
    """Another process: what it uses."""

    pid: int

    @property
    def memory(self) -> float:
        """Return how much memory is in use, in MiB."""
        fields = Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()
        return int(fields[1]) * os.sysconf("SC_PAGESIZE") / MEBIBYTE

    @property
    def processor_time(self) -> float:
        """Return the seconds that its threads ran."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Served:
    """A service of exports to ask."""

    address: str
    token: str
    process: Process

    def export(self, form: int, since: datetime | None = None) -> Iterator[export_pb2.ExportReportResponse]:
        """Ask for all attempts as a file, or for those since a time."""
        asked = reports_pb2.ElevationFilter()
        if since is not None:
            asked.occurred_from.FromDatetime(since)
        request = export_pb2.ExportReportRequest(report=export_pb2.REPORT_KIND_ELEVATIONS, format=form, filter=asked)  # type: ignore[arg-type]
        credentials = grpc.ssl_channel_credentials(authority().pem)
        with grpc.secure_channel(self.address, credentials) as channel:
            stub = export_pb2_grpc.ExportServiceStub(channel)
            yield from stub.ExportReport(request, metadata=bearer(self.token))


@contextmanager
def served(url: str, settings: ServiceSettings) -> Iterator[Served]:
    """Run the service in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, url, settings))
    process.start()
    address, token = ours.recv()
    yield Served(address, token, Process(process.pid or 0))
    ours.send(None)
    process.join()
