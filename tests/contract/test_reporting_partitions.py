"""Weeks of attempts on PostgreSQL: made ahead, dropped as a whole, and never with anything that is to be kept."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from epm.elevation.v1 import event_pb2
from services._chassis.db import Database
from services.reporting.model.events import microseconds
from services.reporting.store import tables
from services.reporting.store.partitions import PREFIX, WEEK, missing
from services.reporting.store.retention import Keep, SqlRetention
from tests.builders.counts import check
from tests.builders.reporting_database import reporting_database
from tests.builders.sinks import DurableSink
from tests.fakes.clock import NOW, FakeClock
from tests.fakes.reporting import batch, decided
from tests.postgres import Cluster

DAY = timedelta(days=1)
KEEP = Keep(events=30 * DAY, counts=400 * DAY)
THIS_WEEK = microseconds(NOW) // WEEK


async def no_pause(_seconds: float) -> None:
    """Take no time."""
    await asyncio.sleep(0)


@pytest.fixture
def url(postgres: Cluster) -> Iterator[str]:
    with postgres.fresh_database() as fresh:
        yield fresh


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    async with reporting_database(url) as opened:
        yield opened


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def retention(database: Database, clock: FakeClock) -> SqlRetention:
    return SqlRetention(database, KEEP, clock.now, pause=no_pause)


def made(number: int, at: datetime) -> event_pb2.ElevationEvent:
    """Return an event whose id tells when it was made."""
    event = decided(number, at=at)
    stamp = f"{microseconds(at) // 1000:012x}"
    event.event_id = f"{stamp[:8]}-{stamp[8:]}-7000-8000-{number:012x}"
    return event


async def weeks(database: Database) -> dict[str, int]:
    """Return how many attempts there are in each partition that has some."""
    asked = sa.text("SELECT tableoid::regclass::text AS part, count(*) AS attempts FROM reporting_attempt GROUP BY 1")
    async with database.read() as tx:
        rows = (await tx.execute(asked)).all()
    return {row.part.removeprefix(PREFIX): row.attempts for row in rows}


async def there(database: Database) -> set[str]:
    names = sa.text("SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'")
    async with database.read() as tx:
        return {name.removeprefix(PREFIX) for name in (await tx.execute(names)).scalars()}


async def purged_through(database: Database) -> list[int]:
    async with database.read() as tx:
        return list((await tx.execute(sa.select(tables.JOURNAL.c.purged_through))).scalars())


async def test_attempts_lie_in_the_week_of_their_ids_once_it_was_made_and_elsewhere_before(
    sink: DurableSink, database: Database, retention: SqlRetention
) -> None:
    await sink.store([batch([made(1, NOW - 300 * DAY)])])
    await retention.purge()
    assert {str(THIS_WEEK + number) for number in range(3)} <= await there(database)
    later = [made(2, NOW), made(3, NOW + 7 * DAY), made(4, NOW - 300 * DAY)]
    await sink.store([batch([one], first=number, received=NOW + 7 * DAY) for number, one in enumerate(later, 2)])
    assert await weeks(database) == {str(THIS_WEEK): 1, str(THIS_WEEK + 1): 1, "rest": 2}
    await check(database)


async def test_a_week_that_is_made_takes_along_what_came_before_it_was(
    sink: DurableSink, database: Database, clock: FakeClock, retention: SqlRetention
) -> None:
    ahead, far = NOW + 35 * DAY, NOW + 300 * DAY
    await retention.purge()
    await sink.store([batch([made(1, NOW), made(2, ahead), made(3, far)], received=far)])
    assert await weeks(database) == {str(THIS_WEEK): 1, "rest": 2}
    clock.advance(35 * DAY)
    await retention.purge()
    assert (await weeks(database))[str(THIS_WEEK + 5)] == 1
    await sink.store([batch([made(4, ahead)], first=4, received=far)])
    assert await weeks(database) == {str(THIS_WEEK): 1, str(THIS_WEEK + 5): 2, "rest": 1}
    assert await sink.store([batch([made(2, ahead)], first=2, received=far)]) == [()]
    await check(database)


async def test_a_week_is_not_made_while_ingest_would_wait_for_too_much_to_be_moved(
    sink: DurableSink, database: Database
) -> None:
    ahead = NOW + 35 * DAY
    await sink.store([batch([made(1, ahead), made(2, ahead)], received=ahead)])
    async with database.read() as tx:
        assert THIS_WEEK + 5 in await missing(tx, microseconds(ahead), 2)
        assert THIS_WEEK + 5 not in await missing(tx, microseconds(ahead), 1)


async def test_a_week_that_is_old_as_a_whole_is_dropped_and_its_places_stay_known(
    sink: DurableSink, database: Database, clock: FakeClock, retention: SqlRetention
) -> None:
    await retention.purge()
    sent = batch([made(number, NOW) for number in range(1, 6)])
    await sink.store([sent])
    clock.advance(45 * DAY)
    await sink.store([batch([made(6, clock.now())], first=6, received=clock.now())])
    await retention.purge()
    assert str(THIS_WEEK) not in await there(database)
    assert sum((await weeks(database)).values()) == 1
    assert await purged_through(database) == [5]
    assert await sink.store([sent]) == [()]
    assert sum((await weeks(database)).values()) == 1


async def test_a_week_with_an_attempt_that_came_late_stays_until_that_is_old_too(
    sink: DurableSink, database: Database, clock: FakeClock, retention: SqlRetention
) -> None:
    await retention.purge()
    await sink.store([batch([made(1, NOW), made(2, NOW)])])
    clock.advance(45 * DAY)
    await sink.store([batch([made(3, NOW)], first=3, received=clock.now())])
    await retention.purge()
    assert await weeks(database) == {str(THIS_WEEK): 1}
    clock.advance(31 * DAY)
    await retention.purge()
    assert str(THIS_WEEK) not in await there(database)
    assert await weeks(database) == {}


async def test_a_place_has_one_attempt_whatever_week_another_one_is_of(
    sink: DurableSink, database: Database, retention: SqlRetention
) -> None:
    await retention.purge()
    other = DurableSink.on(database.url)
    await sink.store([batch([made(1, NOW), made(2, NOW)])])
    for replica in (sink, other):
        wrong = batch([made(8, NOW - 300 * DAY), made(9, NOW + DAY)], received=NOW + DAY)
        [rejected] = await replica.store([wrong])
        assert [one.seq for one in rejected] == [1, 2]
        assert {one.reason for one in rejected} == {"another event has this place in the journal"}
    await other.store([batch([made(3, NOW)], first=3), batch([made(4, NOW - 300 * DAY)], first=3)])
    [rejected] = await sink.store([batch([made(5, NOW), made(6, NOW)], first=3)])
    await other.close()
    assert [one.seq for one in rejected] == [3]
    assert sum((await weeks(database)).values()) == 4
    await check(database)


async def test_the_hourly_purge_takes_stock_of_all_weeks_together(
    sink: DurableSink, database: Database, retention: SqlRetention
) -> None:
    await sink.store([batch([made(number, NOW) for number in range(1, 6)])])
    await retention.purge()
    asked = sa.text("SELECT reltuples FROM pg_class WHERE relname = 'reporting_attempt'")
    async with database.read() as tx:
        assert (await tx.execute(asked)).scalar_one() == 5
