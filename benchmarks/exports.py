"""Measure exports: a million attempts as CSV, JSON lines and Parquet over TLS, from SQLite and PostgreSQL.

The service runs in a process of its own; the caller takes every byte, and keeps those of Parquet alone. In the same run, as
limits: the same rows read with the bare driver, and pyarrow writing the same columns from memory, as one table. What the service's
memory grew by and the processor time that it took are those of its process; the first export, of one day, which loads pyarrow, is
not counted.

Run by `python benchmarks/exports.py [--quick] [--no-keep] [--events N] [--on sqlite|postgresql]`, which takes two or three minutes
a database. Writes results/exports.json unless it was quick, or is told not to; what is there of the other database stays.
"""

import argparse
import asyncio
import gc
import io
import json
import multiprocessing
import os
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any

import grpc
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import uvloop

from benchmarks.reported.filling import without_indexes
from epm.reporting.v1 import export_pb2, export_pb2_grpc, reports_pb2
from services._chassis import logging
from services._chassis.clock import SystemClock
from services._chassis.config import ServiceSettings
from services._chassis.db import Database
from services._chassis.migrate import upgrade
from services._chassis.run import COLLECTED_AT
from services._chassis.server import Host, ServiceParts
from services.reporting.consumers import ConsumerDesk
from services.reporting.export_servicer import ExportServicer
from services.reporting.exporting import Exports
from services.reporting.model.events import Batch
from services.reporting.reportexport.serving import ReportExports
from services.reporting.store.consumers import SqlConsumers
from services.reporting.store.stored import SqlStored
from services.reporting.watching import Watches
from tests.builders.doors import authority, bearer, settings_for
from tests.builders.reportfiles import walks_on
from tests.builders.sinks import DurableSink
from tests.fakes.access import FakeAccess
from tests.fakes.clock import NOW
from tests.fakes.reporting import batch, decided, unmanaged
from tests.postgres import PostgresMissingError, shared_cluster

RESULTS = Path(__file__).resolve().parent / "results" / "exports.json"
FORMS = {"Parquet": export_pb2.EXPORT_FORMAT_PARQUET, "CSV": export_pb2.EXPORT_FORMAT_CSV}
FORMS |= {"JSON lines": export_pb2.EXPORT_FORMAT_JSON_LINES}
DEVICES, TOOLS, USERS, DAYS = 100, 300, 500, 29
GROUP = 20_000
MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one export took; sizes are in MiB."""

    database: str
    form: str
    events: int
    events_per_second: float
    processor_microseconds: float
    """Of the service, per event."""
    file_size: float
    memory_before: float
    memory_most: float
    limit: str
    limit_per_second: float


def attempts(events: int) -> Iterator[list[Batch]]:
    """Give attempts of a month in the order in which they come, a few hundred programs and users among them, in groups."""
    apart = timedelta(days=DAYS) / events
    sent = [0] * DEVICES
    for start in range(0, events, GROUP):
        numbers = range(start, min(start + GROUP, events))
        group = []
        for device in range(DEVICES):
            if told := [_attempt(number, NOW - (events - number) * apart) for number in numbers[device::DEVICES]]:
                group.append(batch(told, device=f"device-{device}", first=sent[device] + 1))
                sent[device] += len(told)
        yield group


def _attempt(number: int, at: datetime) -> Any:
    tool = number * 7919 % TOOLS
    file = {
        "path": f"C:\\Program Files\\Vendor {tool % 40}\\tool-{tool}.exe",
        "sha256": f"{tool:064x}",
        "version": f"{tool}.1.2",
        "description": f"Tool number {tool}",
        "product_name": f"Product {tool}",
        "internal_name": f"tool{tool}",
        "company_name": f"Vendor {tool % 40}",
        "publisher": f"CN=Vendor {tool % 40}, O=Vendor, C=DE",
        "publisher_fingerprint": f"{tool % 40:064x}",
    }
    make = unmanaged if tool % 3 == 0 else decided
    return make(
        number,
        at=at,
        user=f"user-{number * 31 % USERS}@example.com",
        file=file,
        arguments=["/install", f"/log:{number}.txt"] if number % 2 else [],
        reason="the rule setup of the policy tools matched",
        document_revision=17,
    )


async def fill(url: str, events: int) -> None:
    """Store the attempts as ingest does, and make the indexes once they are there."""
    database = await Database.connect(url, service="reporting")
    await upgrade(database)
    async with without_indexes(database):
        sink = DurableSink.on(database.url)
        for group in attempts(events):
            await sink.store(group)
        await sink.close()
    await database.close()


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


def parquet_limit(data: bytes) -> float:
    """Return how many entries a second pyarrow writes from memory."""
    table = pq.read_table(pa.BufferReader(data))
    start = perf_counter()
    pq.write_table(table, io.BytesIO(), compression="zstd", compression_level=1)
    return int(table.num_rows) / (perf_counter() - start)


def rows_limit(url: str) -> float:
    """Return how many attempts a second the bare driver reads, in their order."""
    statement = "SELECT * FROM reporting_attempt ORDER BY occurred, event_id"
    start, found = perf_counter(), 0
    connection: Any = sqlite3.connect(url.removeprefix("sqlite:///")) if _is_file(url) else psycopg.connect(url)
    with closing(connection):
        cursor = connection.cursor() if _is_file(url) else connection.cursor("limit")
        cursor.execute(statement)
        while rows := cursor.fetchmany(1000):
            found += len(rows)
    return found / (perf_counter() - start)


def _is_file(url: str) -> bool:
    return url.startswith("sqlite")


def measure(database: str, url: str, events: int, settings: ServiceSettings) -> Iterator[Result]:
    """Fill an empty database, and export it in each form."""
    asyncio.run(fill(url, events))
    read = rows_limit(url)
    with served(url, settings) as service:
        for _ in service.export(FORMS["Parquet"], NOW - timedelta(days=1)):
            pass
        for form, number in FORMS.items():
            before, used, start = service.process.memory, service.process.processor_time, perf_counter()
            size, most, written, kept = 0, before, 0, []
            for piece in service.export(number):
                size, written = size + len(piece.data), piece.written
                most = max(most, service.process.memory)
                if form == "Parquet":
                    kept.append(piece.data)
            took = perf_counter() - start
            used = service.process.processor_time - used
            if written != events:
                raise SystemExit(f"{written} of {events} attempts came")
            yield Result(
                database=database,
                form=form,
                events=events,
                events_per_second=events / took,
                processor_microseconds=used / events * 1e6,
                file_size=size / MEBIBYTE,
                memory_before=before,
                memory_most=most,
                limit="pyarrow from memory" if kept else "bare driver",
                limit_per_second=parquet_limit(b"".join(kept)) if kept else read,
            )


def told(results: Iterable[Result]) -> Iterator[Result]:
    """Print what is measured, a line an export, as it comes."""
    for one in results:
        grown = f"{one.memory_before:.0f} to {one.memory_most:.0f} MiB"
        print(
            f"{one.database:<12}{one.form:<12}{one.events:>10,}{one.events_per_second:>11,.0f}"
            f"{one.processor_microseconds:>10.1f}{one.file_size:>8.0f}{grown:>18}"
            f"  {one.limit_per_second:,.0f}/s ({one.limit})",
            flush=True,
        )
        yield one


def main() -> None:
    """Measure, print, keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--quick", action="store_true", help="50,000 events, and no results are kept")
    parser.add_argument("--no-keep", action="store_true", help="print the figures alone")
    parser.add_argument("--on", choices=("sqlite", "postgresql"), action="append", help="default: both")
    asked = parser.parse_args()
    events = 50_000 if asked.quick else asked.events
    print(f"{'database':<12}{'form':<12}{'events':>10}{'events/s':>11}{'us/event':>10}{'MiB':>8}{'memory':>18}  limit")
    with tempfile.TemporaryDirectory() as folder:
        results = list(told(measured(Path(folder), asked.on or ("sqlite", "postgresql"), events)))
    if not (asked.quick or asked.no_keep):
        keep(results)


def measured(folder: Path, kinds: Collection[str], events: int) -> Iterator[Result]:
    """Measure on the databases of these kinds."""
    settings = settings_for(folder)
    if "sqlite" in kinds:
        yield from measure("SQLite", f"sqlite:///{folder / 'reporting.db'}", events, settings)
    if "postgresql" in kinds:
        try:
            with shared_cluster(folder) as cluster, cluster.fresh_database() as url:
                yield from measure("PostgreSQL", url, events, settings)
        except PostgresMissingError as error:
            print(f"without PostgreSQL: {error}")


def keep(results: Sequence[Result]) -> None:
    """Write what was measured, beside what there is of databases that were not measured."""
    there = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"] if RESULTS.exists() else []
    names = {one.database for one in results}
    rows = [row for row in there if row["database"] not in names] + [asdict(one) for one in results]
    rows.sort(key=lambda row: row["database"], reverse=True)
    RESULTS.write_text(json.dumps({"rows": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
