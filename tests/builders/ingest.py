"""The way of events from the mesh door to a database, without the services around it."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import grpc.aio
import sqlalchemy as sa

from epm.elevation.v1 import event_pb2
from epm.reporting.v1 import agent_pb2, agent_pb2_grpc
from services._chassis.clock import Clock
from services._chassis.db import Database
from services._chassis.migrate import upgrade
from services._chassis.server import ServiceParts
from services.reporting.agent_servicer import EventStreamServicer, add_to_server
from services.reporting.model.devices import Device, Directory
from services.reporting.open_streams import OpenStreams
from services.reporting.store.tables import ATTEMPT, COMPLETION, DEAD_LETTER, DIAGNOSTIC, GAP
from services.reporting.usecases import admit
from services.reporting.workers import GroupCommitWriter
from tests.builders.doors import OpenDoors, device_identity, open_doors
from tests.builders.sinks import DurableSink
from tests.fakes.access import FakeAccess
from tests.fakes.clock import FakeClock
from tests.fakes.reporting import DeviceStream, enrolled

PATH = "/epm.reporting.v1.EventStreamService/StreamEvents"
DEVICES = ("d1", "d2", "d3")


class Ingest:
    """A mesh door behind which events are stored; `clock` is the server's."""

    def __init__(self, database: Database, sink: DurableSink, *, credit: int | None, clock: Clock | None) -> None:
        self.database = database
        self.sink = sink
        self.clock = clock or FakeClock()
        self._credit = {} if credit is None else {"credit": credit}
        self._writer = GroupCommitWriter(sink)
        self._streams = OpenStreams()
        self._directory = Directory({device_id: enrolled(device_id) for device_id in DEVICES})
        self.doors: OpenDoors

    def parts(self) -> ServiceParts:
        """Return the service."""
        servicer = EventStreamServicer(self._admitted, self._streams, self._writer, self.clock, **self._credit)
        return ServiceParts(
            name="reporting",
            access=FakeAccess().control,
            mesh=[partial(add_to_server, servicer)],
            workers=[self._writer.worker()],
            on_drain=[self._streams.drain],
            close=self._close,
        )

    @asynccontextmanager
    async def stream(self, device_id: str = "d1") -> AsyncIterator[DeviceStream]:
        """Open a stream and say hello."""
        async with self.doors.mesh(device_identity(device_id)) as channel:
            stream = DeviceStream(agent_pb2_grpc.EventStreamServiceStub(channel).StreamEvents())
            await stream.hello(device_id)
            yield stream

    @asynccontextmanager
    async def bytes_stream(self, device_id: str = "d1") -> AsyncIterator["grpc.aio.StreamStreamCall[bytes, bytes]"]:
        """Open a stream of bytes, which nobody makes messages of, and say hello."""
        async with self.doors.mesh(device_identity(device_id)) as channel:
            call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(PATH)()
            hello = agent_pb2.StreamEventsRequest(hello=agent_pb2.EventsHello())
            await call.write(hello.SerializeToString())
            await call.read()
            yield call

    async def report(
        self, events: Iterable[event_pb2.ElevationEvent], *, device: str = "d1", first: int = 1
    ) -> list[int]:
        """Send a batch on a stream of its own, and return which of its numbers were rejected."""
        sent = list(events)
        rejected: list[int] = []
        async with self.stream(device) as stream:
            await stream.send(sent, first=first)
            while True:
                ack = (await stream.read()).ack
                rejected += [one.seq for one in ack.rejected]
                if ack.committed_through >= first + len(sent) - 1:
                    return rejected

    async def stored(self) -> list[str]:
        """Return the ids of all events that are stored, of whatever kind."""
        found: list[str] = []
        async with self.database.read() as tx:
            for table in (ATTEMPT, COMPLETION, DIAGNOSTIC):
                found += (await tx.execute(sa.select(table.c.event_id))).scalars()
        return sorted(found)

    async def dead_letters(self) -> list[tuple[int, str, bytes]]:
        """Return number, reason and bytes of what could not be stored."""
        letter = DEAD_LETTER.c
        asked = sa.select(letter.seq, letter.reason, letter.body).order_by(letter.seq, letter.id)
        async with self.database.read() as tx:
            return [(row.seq, row.reason, row.body) for row in await tx.execute(asked)]

    async def gaps(self) -> list[tuple[int, int]]:
        """Return the places that were passed over."""
        asked = sa.select(GAP.c.first_seq, GAP.c.last_seq).order_by(GAP.c.journal_key, GAP.c.first_seq)
        async with self.database.read() as tx:
            return [(row.first_seq, row.last_seq) for row in await tx.execute(asked)]

    async def _admitted(self, device_id: str, _serial: str) -> Device:
        return admit(self._directory, device_id, _serial)

    async def _close(self) -> None:
        await self._writer.close()
        await self.sink.close()


@asynccontextmanager
async def open_ingest(
    url: str,
    folder: Path,
    *,
    sink: DurableSink | None = None,
    credit: int | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Ingest]:
    """Bring a database up to date and open the door to it."""
    database = await Database.connect(url, service="reporting")
    await upgrade(database)
    made = Ingest(database, sink or DurableSink.on(database.url), credit=credit, clock=clock)
    async with open_doors(folder, made.parts()) as made.doors:
        yield made
    await database.close()
