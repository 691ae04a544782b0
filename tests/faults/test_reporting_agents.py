"""An agent's own journals and uploader against a real server: after an outage, with a clock that jumps, beside a flood of its own health."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent_stub.events.journal import LocalDisk
from agent_stub.events.records import Decided, Diagnostic, EventFactory
from agent_stub.events.spool import Spool
from agent_stub.events.upload import Uploader
from agent_stub.links import Link
from agent_stub.model import Moment, Result
from agent_stub.system import new_id
from elevation.decision import decide
from elevation.model import ReportingScope
from epm.reporting.v1 import agent_pb2, agent_pb2_grpc
from tests.builders.counts import check
from tests.builders.doors import device_identity
from tests.builders.elevation import attempt, compiled, policy, rule
from tests.builders.ingest import Ingest, open_ingest
from tests.fakes.clock import NOW

POLICY = compiled(policy(rule(file_name="setup.exe"), name="tools"))
HOUR = timedelta(hours=1)


class QuickDisk(LocalDisk):
    """The file system, waiting for no disk; `emptied` is set whenever a journal was written anew."""

    def __init__(self) -> None:
        self.emptied = asyncio.Event()

    def append(self, path: Path, content: bytes) -> None:
        """Write at the end."""
        with path.open("ab") as file:
            file.write(content)

    def replace(self, path: Path, content: bytes) -> None:
        """Write beside and rename."""
        super().replace(path, content)
        self.emptied.set()


class Device:
    """The events of one device, and its clock."""

    def __init__(self, folder: Path) -> None:
        self.clock = NOW
        self._disk = QuickDisk()
        factory = EventFactory("boot", lambda: Moment(self.clock, HOUR), new_id)
        self.spool = Spool(folder, self._disk, new_id, limit=1 << 26, factory=factory)
        self.spool.policy_changed(health_leaves=True)

    def elevate(self) -> None:
        """Write an attempt down."""
        asked = attempt()
        self.spool.decided(Decided(new_id(), asked, decide(POLICY, asked), Result.ELEVATED), ReportingScope.ALL)

    async def rid_of_everything(self) -> None:
        """Return once the server has everything."""
        while any(map(len, self.spool.journals)):
            self._disk.emptied.clear()
            await self._disk.emptied.wait()


@pytest.fixture
async def ingest(database_url: str, tmp_path: Path) -> AsyncIterator[Ingest]:
    async with open_ingest(database_url, tmp_path / "house") as made:
        yield made


@pytest.fixture
def device(tmp_path: Path) -> Device:
    folder = tmp_path / "device"
    folder.mkdir()
    return Device(folder)


@asynccontextmanager
async def uploading(ingest: Ingest, device: Device) -> AsyncIterator[None]:
    """Hold a stream of the device."""
    async with ingest.doors.mesh(device_identity("d1")) as channel:
        stub = agent_pb2_grpc.EventStreamServiceStub(channel)
        uploader = Uploader(stub, device.spool, agent_pb2.EventsHello(device_id="d1"))
        session = asyncio.ensure_future(uploader.session(Link("events")))
        try:
            yield
        finally:
            session.cancel()
            await asyncio.gather(session, return_exceptions=True)


async def test_thousands_of_events_that_waited_for_the_server_are_stored_once_each(
    ingest: Ingest, device: Device
) -> None:
    for number in range(4000):
        device.clock = NOW - number * timedelta(minutes=1)
        device.elevate()
    async with uploading(ingest, device), asyncio.timeout(60):
        await device.rid_of_everything()
    assert len(set(await ingest.stored())) == len(await ingest.stored()) == 4000
    assert (await ingest.gaps(), await ingest.dead_letters()) == ([], [])
    await check(ingest.database)


async def test_what_a_clock_that_was_ahead_wrote_is_kept_apart_and_what_comes_behind_it_is_stored(
    ingest: Ingest, device: Device
) -> None:
    for step in (0 * HOUR, 365 * 24 * HOUR, -365 * 24 * HOUR, 12 * HOUR, 0 * HOUR):
        device.clock = NOW + step
        device.elevate()
    async with uploading(ingest, device), asyncio.timeout(30):
        await device.rid_of_everything()
    assert len(await ingest.stored()) == 4
    assert [seq for seq, _, _ in await ingest.dead_letters()] == [2]
    assert await ingest.gaps() == []


async def test_a_clock_that_lost_its_battery_hides_no_event(ingest: Ingest, device: Device) -> None:
    device.clock = datetime(2001, 1, 1, tzinfo=UTC)
    device.elevate()
    device.clock = NOW
    device.elevate()
    async with uploading(ingest, device), asyncio.timeout(30):
        await device.rid_of_everything()
    assert (len(await ingest.stored()), await ingest.dead_letters()) == (2, [])


async def test_a_flood_of_the_clients_own_health_loses_nothing(ingest: Ingest, device: Device) -> None:
    for number in range(2000):
        device.spool.diagnose(Diagnostic("CLOCK_STEPPED", "again", count=number))
    for _ in range(100):
        device.elevate()
    async with uploading(ingest, device), asyncio.timeout(30):
        await device.rid_of_everything()
    assert len(await ingest.stored()) == 2100
    assert (await ingest.gaps(), await ingest.dead_letters()) == ([], [])
