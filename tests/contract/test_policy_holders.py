"""What becomes of streams whose process is gone: on SQLite and on PostgreSQL."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from services._chassis.db import Database
from services._chassis.migrate import upgrade
from services.policy.model.delivery import Delivery
from services.policy.store.deliveries import KeptDeliveries, deliveries_in
from services.policy.store.holders import LEASE, LEASE_OF_UNNAMED, SqlHolders, stream_name
from tests.fakes.clock import NOW

MOMENT = timedelta(microseconds=1)
DEVICES = ("d1", "d2", "d3")


@dataclass
class Kept:
    """Deliveries with streams of several processes."""

    database: Database
    deliveries: KeptDeliveries

    async def open(self, device_id: str, process: str) -> None:
        """Open a stream of the device in a process; none: one of an older version, which does not say which."""
        stream = stream_name(process, device_id) if process else device_id
        opened = [(device_id, lambda old: old.opened(stream, revision=0, sha256=b"", now=NOW))]
        await self.deliveries.change(opened)

    async def connected(self) -> list[str]:
        """Return the devices of which a stream is open."""
        return [device_id for device_id, found in (await self.deliveries.many(DEVICES)).items() if found.connected]

    async def on_postgresql(self) -> None:
        """Leave the test on SQLite, where one process has the file for itself."""
        if not self.database.on_postgresql:
            pytest.skip("processes share a database on PostgreSQL alone")


@pytest.fixture
async def kept(database_url: str) -> AsyncIterator[Kept]:
    database = await Database.connect(database_url, service="policy")
    await upgrade(database)
    deliveries = deliveries_in(database)
    yield Kept(database, deliveries)
    await deliveries.close()
    await database.close()


async def test_a_process_that_ends_closes_all_its_streams_and_no_others(kept: Kept) -> None:
    ending = SqlHolders(kept.database, "a1")
    await ending.begin(NOW)
    await kept.open("d1", "a1")
    await kept.open("d2", "a1")
    await kept.open("d3", "a")
    await ending.end(NOW + LEASE)
    assert await kept.connected() == ["d3"]
    assert (await kept.deliveries.many(["d1"]))["d1"] == Delivery("d1", seen=NOW + LEASE)


async def test_a_process_that_starts_where_nobody_else_can_be_closes_what_was_left_open(kept: Kept) -> None:
    await SqlHolders(kept.database, "killed").begin(NOW)
    await kept.open("d1", "killed")
    await kept.open("d2", "")
    await SqlHolders(kept.database, "next").begin(NOW + MOMENT)
    assert await kept.connected() == (["d1", "d2"] if kept.database.on_postgresql else [])
    assert await SqlHolders(kept.database, "next").beat(NOW + MOMENT) == (
        False,
        [] if kept.database.on_postgresql else (),
    )


async def test_what_a_process_left_that_is_gone_is_closed_by_another_once_its_lease_is_over(kept: Kept) -> None:
    await kept.on_postgresql()
    living, killed = SqlHolders(kept.database, "living"), SqlHolders(kept.database, "killed")
    for process in (living, killed):
        await process.begin(NOW)
    for device_id, name in (("d1", "killed"), ("d2", "living"), ("d3", "killed")):
        await kept.open(device_id, name)
    assert await living.beat(NOW + LEASE) == (False, [])
    assert await living.beat(NOW + LEASE + MOMENT) == (False, ["d1", "d3"])
    assert await kept.connected() == ["d2"]
    assert (await kept.deliveries.many(["d1"]))["d1"].seen == NOW


async def test_a_process_that_was_taken_for_gone_hears_of_it(kept: Kept) -> None:
    await kept.on_postgresql()
    living, paused = SqlHolders(kept.database, "living"), SqlHolders(kept.database, "paused")
    for process in (living, paused):
        await process.begin(NOW)
    await kept.open("d1", "paused")
    late = NOW + LEASE + MOMENT
    await living.beat(late)
    assert (await paused.beat(late), await paused.beat(late)) == ((True, []), (False, []))
    assert await kept.connected() == []


async def test_a_stream_of_a_process_that_has_only_just_begun_and_one_of_an_older_version_are_left_open(
    kept: Kept,
) -> None:
    await kept.on_postgresql()
    living = SqlHolders(kept.database, "living")
    await living.begin(NOW)
    await kept.open("d1", "begun-since")
    await kept.open("d2", "")
    assert await living.beat(NOW + LEASE) == (False, [])
    assert await living.beat(NOW + LEASE_OF_UNNAMED) == (False, ["d1"])
    assert await living.beat(NOW + LEASE_OF_UNNAMED + MOMENT) == (False, ["d2"])
