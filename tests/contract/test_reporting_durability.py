"""Events from real streams into real databases: what is acknowledged is stored, whatever becomes of the database meanwhile."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from epm.reporting.v1 import agent_pb2_grpc
from services._chassis.db import Database
from services._chassis.errors import UnavailableError
from services._chassis.migrate import upgrade
from services._chassis.server import ServiceParts
from services.reporting.agent_servicer import EventStreamServicer
from services.reporting.model.devices import Device, Directory
from services.reporting.open_streams import OpenStreams
from services.reporting.store.postgres_driver import CLIENT_CHECKED_EVERY, PostgresDriver
from services.reporting.store.tables import ATTEMPT, DEAD_LETTER, KNOWN_DEVICE
from services.reporting.usecases import admit
from services.reporting.workers import GroupCommitWriter
from tests.builders.doors import OpenDoors, device_identity, open_doors
from tests.builders.sinks import DurableSink
from tests.fakes.access import FakeAccess
from tests.fakes.clock import FakeClock
from tests.fakes.reporting import DeviceStream, decided, enrolled, uuid7
from tests.postgres import Cluster

DEVICES = ("d1", "d2", "d3", "d4")


class Ingest:
    """The way of events, from the mesh door to a database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._sink = DurableSink.on(database.url)
        self._writer = GroupCommitWriter(self._sink)
        self._streams = OpenStreams()
        self._directory = Directory({device_id: enrolled(device_id) for device_id in DEVICES})
        self.doors: OpenDoors

    async def admitted(self, device_id: str, serial: str) -> Device:
        return admit(self._directory, device_id, serial)

    def parts(self) -> ServiceParts:
        servicer = EventStreamServicer(self.admitted, self._streams, self._writer, FakeClock())
        return ServiceParts(
            name="reporting",
            access=FakeAccess().control,
            mesh=[partial(agent_pb2_grpc.add_EventStreamServiceServicer_to_server, servicer)],
            workers=[self._writer.worker()],
            on_drain=[self._streams.drain],
            close=self.close,
        )

    async def close(self) -> None:
        await self._writer.close()
        await self._sink.close()

    @asynccontextmanager
    async def stream(self, device_id: str = "d1") -> AsyncIterator[DeviceStream]:
        async with self.doors.mesh(device_identity(device_id)) as channel:
            stream = DeviceStream(agent_pb2_grpc.EventStreamServiceStub(channel).StreamEvents())
            await stream.hello(device_id)
            yield stream

    async def stored(self, device_id: str) -> list[str]:
        """Return the attempts of the device that another connection sees."""
        source = ATTEMPT.join(KNOWN_DEVICE, KNOWN_DEVICE.c.device_key == ATTEMPT.c.device_key)
        of_device = sa.select(ATTEMPT.c.event_id).select_from(source).where(KNOWN_DEVICE.c.device_id == device_id)
        asked = of_device.order_by(ATTEMPT.c.event_id)
        async with self.database.read() as tx:
            return list((await tx.execute(asked)).scalars())


@pytest.fixture
async def ingest(database_url: str, tmp_path: Path) -> AsyncIterator[Ingest]:
    database = await Database.connect(database_url, service="reporting")
    await upgrade(database)
    made = Ingest(database)
    async with open_doors(tmp_path, made.parts()) as made.doors:
        yield made
    await database.close()


@asynccontextmanager
async def gone(database: Database) -> AsyncIterator[None]:
    """Take the database away until the block ends: PostgreSQL hangs up and lets nobody in, SQLite finds its table broken."""
    if not database.on_postgresql:
        with _renamed(str(database.url.database)):
            yield
        return
    name = database.url.database
    address = make_url(str(database.url)).set(drivername="postgresql", database="postgres").render_as_string()
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'.encode())
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        yield
        connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'.encode())
    with contextlib.suppress(UnavailableError):  # a connection that was in use a moment ago fails once
        async with database.read() as tx:
            await tx.execute(sa.text("SELECT 1"))


@contextmanager
def _renamed(path: str) -> Iterator[None]:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("ALTER TABLE reporting_attempt RENAME TO away")
    yield
    connection.execute("ALTER TABLE away RENAME TO reporting_attempt")
    connection.close()


async def test_what_is_acknowledged_is_there_for_everyone(ingest: Ingest) -> None:
    async with ingest.stream() as stream:
        for number in range(1, 6):
            await stream.send([decided(number)], first=number)
            await stream.acknowledged(number)
            assert len(await ingest.stored("d1")) == number


async def test_many_devices_at_once_are_all_acknowledged_and_stored_each_under_its_own_name(ingest: Ingest) -> None:
    async def report(index: int, device_id: str) -> list[str]:
        events = [decided(1000 * index + number) for number in range(60)]
        async with ingest.stream(device_id) as stream:
            for start in range(0, 60, 6):
                await stream.send(events[start : start + 6], first=start + 1)
            await stream.acknowledged(60)
        return [event.event_id for event in events]

    sent = await asyncio.gather(*(report(index, device_id) for index, device_id in enumerate(DEVICES)))
    assert [await ingest.stored(device_id) for device_id in DEVICES] == sent


async def test_a_database_that_goes_away_and_comes_back_loses_nothing_and_acknowledges_nothing(ingest: Ingest) -> None:
    events = {device_id: [decided(1000 * index + n) for n in range(20)] for index, device_id in enumerate(DEVICES)}

    async def report(device_id: str, first: int, last: int) -> None:
        async with ingest.stream(device_id) as stream:
            for number in range(first, last + 1):
                await stream.send([events[device_id][number - 1]], first=number)
            await stream.acknowledged(last)

    async def refused(device_id: str) -> tuple[str, str]:
        async with ingest.stream(device_id) as stream:
            await stream.send(events[device_id][10:], first=11)
            return await stream.failure()

    await asyncio.gather(*(report(device_id, 1, 10) for device_id in DEVICES))
    async with gone(ingest.database):
        for _ in range(2):
            told = await asyncio.gather(*map(refused, DEVICES))
            assert told == [("UNAVAILABLE", "events cannot be stored now; send them again later")] * len(DEVICES)
    await asyncio.gather(*(report(device_id, 6, 20) for device_id in DEVICES))
    for device_id in DEVICES:
        assert await ingest.stored(device_id) == [event.event_id for event in events[device_id]]


async def test_a_stream_that_is_open_while_the_database_goes_away_is_told_and_acknowledges_nothing_more(
    ingest: Ingest,
) -> None:
    async with ingest.stream() as stream:
        await stream.send([decided(1)])
        await stream.acknowledged(1)
        async with gone(ingest.database):
            await stream.send([decided(2)], first=2)
            assert (await stream.failure())[0] == "UNAVAILABLE"
    assert await ingest.stored("d1") == [uuid7(1)]


async def test_a_dead_letter_is_durable_when_it_is_acknowledged(ingest: Ingest) -> None:
    async with ingest.stream() as stream:
        await stream.send([decided(1, user="")])
        ack = (await stream.read()).ack
    assert (ack.committed_through, [one.seq for one in ack.rejected]) == (1, [1])
    async with ingest.database.read() as tx:
        rows = (await tx.execute(sa.select(DEAD_LETTER.c.reason, DEAD_LETTER.c.body))).all()
    assert [tuple(row) for row in rows] == [(ack.rejected[0].reason, decided(1, user="").SerializeToString())]


async def test_a_server_that_would_commit_lazily_is_made_to_commit_durably(postgres: Cluster) -> None:
    with postgres.fresh_database() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            name = make_url(url).database
            connection.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off'.encode())
        driver = PostgresDriver(make_url(url))
        driver.begin()
        assert driver.fetch("SHOW synchronous_commit", ()) == [("on",)]
        driver.close()


async def test_a_server_is_told_to_look_whether_its_writer_is_still_there(postgres: Cluster) -> None:
    with postgres.fresh_database() as url:
        driver = PostgresDriver(make_url(url))
        driver.begin()
        told = driver.fetch("SHOW client_connection_check_interval", ())
        driver.close()
    assert told == [(CLIENT_CHECKED_EVERY,)]
