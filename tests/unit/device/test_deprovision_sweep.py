"""The component goes when its time has come."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import isodate
import pytest

from services._chassis.db import Database
from services._chassis.migrate import upgrade
from services.device.model.devices import Device
from services.device.model.lifecycle import EpmState, Lifecycle
from services.device.store.sql import SqlStore
from services.device.usecases.lifecycle import SWEEP_BATCH
from services.device.workers import DeprovisionSweep, sweep_period
from tests.builders.devices import a_device
from tests.fakes.clock import NOW, FakeClock
from tests.fakes.device import MemoryStore

DUE = Lifecycle(EpmState.DEPROVISION_PENDING, deprovision_time=NOW)


class Rest:
    """Stand in for the pause between two looks: note that it is reached, and last until the test goes on."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.seconds = 0.0
        self._over = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.seconds = seconds
        self.reached.set()
        await self._over.wait()
        self._over.clear()

    async def end(self) -> None:
        """Let the sweep look again, and return once it rests again."""
        self.reached.clear()
        self._over.set()
        await self.reached.wait()


@asynccontextmanager
async def sweeping(store: MemoryStore | SqlStore, clock: FakeClock) -> AsyncIterator[Rest]:
    rest = Rest()
    task = asyncio.ensure_future(DeprovisionSweep(store, clock, pause=rest).worker().run())
    async with asyncio.timeout(30):
        await rest.reached.wait()
    try:
        yield rest
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def holding(*devices: Device) -> MemoryStore:
    store = MemoryStore()
    store.kept = replace(store.kept, devices={device.device_id: device for device in devices}, revision=1)
    return store


def states(store: MemoryStore) -> dict[str, EpmState]:
    return {device_id: device.lifecycle.state for device_id, device in store.kept.devices.items()}


async def test_a_device_is_moved_at_its_time_and_not_before() -> None:
    clock = FakeClock(NOW - timedelta(microseconds=1))
    store = holding(a_device("d1", lifecycle=DUE))
    async with sweeping(store, clock) as rest:
        assert states(store) == {"d1": EpmState.DEPROVISION_PENDING}
        clock.advance(timedelta(microseconds=1))
        await rest.end()
        assert states(store) == {"d1": EpmState.DEPROVISIONING}
    assert store.actions == ["epm_state_changed"]


async def test_only_what_is_due_is_moved() -> None:
    later = replace(DUE, deprovision_time=NOW + timedelta(days=1))
    store = holding(
        a_device("d1", lifecycle=DUE), a_device("d2", lifecycle=later), a_device("d3", lifecycle=Lifecycle())
    )
    async with sweeping(store, FakeClock()):
        assert states(store) == {
            "d1": EpmState.DEPROVISIONING,
            "d2": EpmState.DEPROVISION_PENDING,
            "d3": EpmState.NOT_PROVISIONED,
        }


async def test_more_than_a_batch_is_moved_before_the_sweep_rests() -> None:
    store = holding(*(a_device(f"d{number}", lifecycle=DUE) for number in range(2 * SWEEP_BATCH + 1)))
    async with sweeping(store, FakeClock()) as rest:
        assert set(states(store).values()) == {EpmState.DEPROVISIONING}
        assert 0 < rest.seconds <= 60


@pytest.mark.parametrize(
    ("stay", "period"), [("PT1S", 0.1), ("PT10S", 0.5), ("PT100S", 5), ("P7D", 5), ("PT0.000001S", 0.1)]
)
def test_who_has_components_go_soon_sees_it_soon(stay: str, period: float) -> None:
    assert sweep_period(isodate.parse_duration(stay)) == timedelta(seconds=period)


@pytest.mark.parametrize("replicas", [3])
async def test_replicas_that_sweep_together_move_each_device_once(database_url: str, replicas: int) -> None:
    async with AsyncExitStack() as held:
        databases = [await Database.connect(database_url, service="device") for _ in range(replicas)]
        for database in databases:
            held.push_async_callback(database.close)
        await upgrade(databases[0])
        stores = [SqlStore(database) for database in databases]
        async with stores[0].transaction() as work:
            for number in range(SWEEP_BATCH + 20):
                await work.devices.save(a_device(f"d{number}", lifecycle=DUE))
        rests = [held.enter_async_context(sweeping(store, FakeClock())) for store in stores]
        await asyncio.gather(*rests)
        async with databases[0].read() as tx:
            audited = (await tx.connection.exec_driver_sql("SELECT target FROM device_audit")).scalars().all()
        async with stores[0].read() as work:
            assert await work.devices.due(NOW, limit=1) == []
    assert sorted(audited) == sorted(f"d{number}" for number in range(SWEEP_BATCH + 20))
