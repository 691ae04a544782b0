"""Disks that are full and readers that hang while events come in: nothing is acknowledged that is not stored, and nothing waits for a reader."""

import asyncio
import resource
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

from epm.elevation.v1 import event_pb2
from epm.reporting.v1 import (
    agent_pb2_grpc,
    export_pb2,
    export_pb2_grpc,
    reports_pb2,
    reports_pb2_grpc,
)
from tests.builders.counts import check
from tests.builders.ingest import Ingest, open_ingest
from tests.builders.whole import Whole, whole
from tests.fakes.reporting import DeviceStream, completed, decided, diagnostic, uuid7

FULL = """
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;
CREATE CONSTRAINT TRIGGER full_disk AFTER INSERT ON reporting_attempt DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION full_disk()
"""


@pytest.fixture
async def ingest(database_url: str, tmp_path: Path) -> AsyncIterator[Ingest]:
    async with open_ingest(database_url, tmp_path) as made:
        yield made


@contextmanager
def full_disk(ingest: Ingest) -> Iterator[None]:
    """Let every commit of attempts find a full disk, until the block ends."""
    if not ingest.database.on_postgresql:
        with _no_file_may_grow(Path(f"{ingest.database.url.database}-wal")):
            yield
        return
    address = make_url(str(ingest.database.url)).set(drivername="postgresql").render_as_string()
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(FULL.encode())
        yield
        connection.execute(b"DROP FUNCTION full_disk CASCADE")


@contextmanager
def _no_file_may_grow(log: Path) -> Iterator[None]:
    """Let no file of this process grow beyond the database's log, whose pages are written at the commit."""
    size = log.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_disk_that_is_full_at_the_commit_takes_nothing_and_acknowledges_nothing_until_there_is_room(
    ingest: Ingest,
) -> None:
    async def refused(device: str, first: int) -> str:
        async with ingest.stream(device) as stream:
            await stream.send(events(first))
            return (await stream.failure())[0]

    def events(first: int) -> list[event_pb2.ElevationEvent]:
        made = [decided(first), completed(first + 1, f"attempt-{first}"), diagnostic(first + 2)]
        return [*made, decided(first + 3, user="")]

    assert await ingest.report([decided(1), completed(2, "attempt-1"), diagnostic(3)], device="d3") == []
    with full_disk(ingest):
        for _ in range(2):
            told = await asyncio.gather(refused("d1", 100), refused("d2", 200))
            assert set(told) == {"UNAVAILABLE"}
        assert (await ingest.stored(), await ingest.dead_letters()) == ([uuid7(n) for n in (1, 2, 3)], [])
    for device, first in (("d1", 100), ("d2", 200)):
        assert await ingest.report(events(first), device=device) == [4]
    assert await ingest.stored() == [uuid7(n) for n in (1, 2, 3, 100, 101, 102, 200, 201, 202)]
    assert await ingest.gaps() == []
    await check(ingest.database)


LARGE = "x" * 100_000
EVERYTHING = reports_pb2.ElevationFilter()
EVERYTHING.occurred_from.seconds = 1
KINDS = (export_pb2.EVENT_KIND_ATTEMPT, export_pb2.EVENT_KIND_COMPLETION, export_pb2.EVENT_KIND_DIAGNOSTIC)


@asynccontextmanager
async def hung(house: Whole) -> AsyncIterator[list[Any]]:
    """Open every kind of stream that reads events out, and take nothing from any of them."""
    exports: Any = export_pb2_grpc.ExportServiceStub(house.public)
    reports: Any = reports_pb2_grpc.ReportingServiceStub(house.public)
    calls = [
        reports.WatchElevations(reports_pb2.WatchElevationsRequest(filter=EVERYTHING), metadata=house.owner)
        for _ in range(2)
    ]
    for name in ("silent", "deaf"):
        calls.append(exports.ExportEvents(metadata=house.owner))
        hello = export_pb2.ExportHello(consumer=name, filter=EVERYTHING, kinds=KINDS)
        await calls[-1].write(export_pb2.ExportEventsRequest(hello=hello))
    for form in (export_pb2.EXPORT_FORMAT_JSON_LINES, export_pb2.EXPORT_FORMAT_CSV):
        request = export_pb2.ExportReportRequest(
            report=export_pb2.REPORT_KIND_ELEVATIONS, filter=EVERYTHING, format=form
        )
        calls.append(exports.ExportReport(request, metadata=house.owner))
    for call in calls:
        assert await call.read()  # it has begun; nothing more is read
    yield calls
    assert [call.done() for call in calls] == [False] * len(calls)
    for call in calls:
        call.cancel()


def readers(url: str) -> Callable[[], list[str]]:
    """Return what tells who still reads the database in a transaction that is open by now."""
    if url.startswith("sqlite"):
        return lambda: _of_the_log(url.removeprefix("sqlite:///"))
    address = make_url(url).set(drivername="postgresql").render_as_string()
    with psycopg.connect(address) as connection:
        ((now,),) = connection.execute("SELECT clock_timestamp()").fetchall()
    return lambda: _open_since(address, now)


def _of_the_log(path: str) -> list[str]:
    """Tell whether the log cannot be emptied, since somebody still reads what it was a while ago."""
    connection = sqlite3.connect(path, timeout=0.5)
    ((busy, _, _),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    return ["somebody"] if busy else []


def _open_since(address: str, now: object) -> list[str]:
    asked = """
        SELECT format('%%s %%s: %%s', application_name, state, query) FROM pg_stat_activity
        WHERE datname = current_database() AND xact_start < %s
    """
    with psycopg.connect(address) as connection:
        return [told for (told,) in connection.execute(asked, (now,)).fetchall()]


async def test_consumers_of_any_kind_that_hang_hold_nothing_and_slow_no_intake(
    database_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "house"
    on_postgresql = database_url.startswith("postgresql")
    async with whole(folder, **({"database_url": database_url} if on_postgresql else {})) as house:
        enrolled = await house.enrol()
        async with house.mesh(enrolled.identity) as channel:
            stream = DeviceStream(agent_pb2_grpc.EventStreamServiceStub(channel).StreamEvents())
            await stream.hello()
            now = datetime.now(UTC)
            for number in range(1, 201, 20):
                await stream.send([decided(n, at=now, reason=LARGE) for n in range(number, number + 20)], first=number)
                await stream.acknowledged(number + 19)
            async with hung(house), asyncio.timeout(30):
                those_who_read = readers(database_url if on_postgresql else f"sqlite:///{folder / 'reporting.db'}")
                number = 201
                # What was being read when they hung is read to its end.
                while number < 1201 or (await asyncio.to_thread(those_who_read)) != []:
                    await stream.send([decided(n, at=now) for n in range(number, number + 50)], first=number)
                    await stream.acknowledged(number + 49)
                    number += 50
