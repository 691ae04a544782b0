"""What is old goes, a little at a time, and never comes back: on SQLite and PostgreSQL."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import sqlalchemy as sa

from services._chassis.db import Database
from services._chassis.paging import PageRequest
from services.reporting.model.events import microseconds
from services.reporting.model.reports import ElevationFilter, Question
from services.reporting.model.rollups import day_of
from services.reporting.store import tables
from services.reporting.store.dimensions import DEVICE, FILE, RULE, USER, Dimension
from services.reporting.store.reports import SqlReports
from services.reporting.store.retention import BREATH, Keep, SqlRetention, ahead_of
from services.reporting.store.rollups import ROLLUPS
from tests.builders.counts import check
from tests.builders.reporting_database import reporting_database
from tests.builders.sinks import DurableSink
from tests.fakes.clock import NOW, FakeClock
from tests.fakes.reporting import batch, completed, decided, diagnostic, unmanaged, uuid7

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
EVERYTHING = Question(ElevationFilter(), None)
KEEP = Keep(events=30 * DAY, counts=400 * DAY)


class Breaths:
    """Take no time between steps, and count them."""

    taken = 0

    async def __call__(self, seconds: float) -> None:
        assert seconds == BREATH
        self.taken += 1


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with reporting_database(database_url) as opened:
        yield opened


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def breaths() -> Breaths:
    return Breaths()


@pytest.fixture
def retention(database: Database, clock: FakeClock) -> SqlRetention:
    return SqlRetention(database, KEEP, clock.now, step=3, pause=Breaths())


async def kept(database: Database, table: sa.Table = tables.ATTEMPT) -> list[str]:
    async with database.read() as tx:
        return sorted((await tx.execute(sa.select(table.c.event_id))).scalars())


async def total(database: Database) -> int:
    return (await SqlReports(database).summary(EVERYTHING)).total


async def test_an_event_goes_when_its_time_and_its_arrival_are_long_ago(
    sink: DurableSink, database: Database, clock: FakeClock, retention: SqlRetention
) -> None:
    late, ahead = NOW - 29 * DAY, NOW + 20 * timedelta(hours=1)
    await sink.store([batch([decided(1), decided(2, at=late), decided(3, at=ahead)], received=NOW)])
    clock.advance(30 * DAY)
    await retention.purge()
    assert len(await kept(database)) == 3
    clock.advance(SECOND)
    await retention.purge()
    assert await kept(database) == [uuid7(3)]
    clock.advance(20 * timedelta(hours=1))
    await retention.purge()
    assert await kept(database) == []


async def test_nothing_goes_while_the_clock_has_run_ahead(sink: DurableSink, database: Database) -> None:
    await sink.store([batch([decided(1)])])
    jumped, passed = FakeClock(), FakeClock()
    held, free = (
        SqlRetention(database, KEEP, clock.now, ahead=ahead_of(clock), step=3, pause=Breaths())
        for clock in (jumped, passed)
    )
    jumped.jump(400 * DAY)
    await held.purge()
    assert await kept(database) == [uuid7(1)]
    passed.advance(31 * DAY)
    await free.purge()
    assert await kept(database) == []


async def test_everything_that_belongs_to_old_events_goes(
    sink: DurableSink, database: Database, clock: FakeClock, retention: SqlRetention
) -> None:
    wrong = decided(9, user="")
    await sink.store([batch([decided(1), completed(2, "attempt-1"), diagnostic(3), wrong])])
    clock.advance(31 * DAY)
    await retention.purge()
    for table in (tables.ATTEMPT, tables.COMPLETION, tables.DIAGNOSTIC):
        assert await kept(database, table) == []
    async with database.read() as tx:
        assert (await tx.execute(sa.select(tables.DEAD_LETTER.c.seq))).all() == []


async def test_counts_outlive_their_events_and_go_by_whole_days(
    sink: DurableSink, database: Database, clock: FakeClock, retention: SqlRetention
) -> None:
    days = [(unmanaged if n % 2 else decided)(n, at=NOW - n * DAY) for n in range(1, 29)]
    await sink.store([batch(days)])
    clock.advance(60 * DAY)
    await retention.purge()
    assert await kept(database) == []
    assert await total(database) == 28
    clock.advance(330 * DAY)
    await retention.purge()
    assert await total(database) == 10
    users = await SqlReports(database).users(EVERYTHING, PageRequest(5))
    assert [(one.user, one.total) for one in users.items] == [("alice", 10)]
    horizon = day_of(microseconds(clock.now() - KEEP.counts))
    async with database.read() as tx:
        for table in (rollup.table for rollup in ROLLUPS):
            assert (await tx.execute(sa.select(sa.func.min(table.c.start)))).scalar_one() >= horizon


async def test_of_a_day_whose_counts_are_gone_the_events_that_are_kept_are_told(
    sink: DurableSink, database: Database, clock: FakeClock, retention: SqlRetention
) -> None:
    clock.advance(500 * DAY)
    await sink.store([batch([decided(1, at=clock.now())], received=clock.now())])
    await retention.purge()
    await sink.store([batch([decided(2, at=NOW)], first=2, received=clock.now())])
    assert await total(database) == 2
    assert await kept(database) == [uuid7(1), uuid7(2)]


async def test_an_event_that_comes_again_after_its_purge_is_neither_stored_nor_counted(
    sink: DurableSink, database: Database, clock: FakeClock, retention: SqlRetention
) -> None:
    sent = batch([decided(1), decided(2), completed(3, "attempt-1"), diagnostic(4)])
    await sink.store([sent])
    clock.advance(31 * DAY)
    await retention.purge()
    new = batch([decided(5, at=clock.now())], first=5, received=clock.now())
    other = DurableSink.on(database.url)
    for replica in (sink, other):
        assert await replica.store([sent, new]) == [(), ()]
    await other.close()
    assert await kept(database) == [uuid7(5)]
    assert await kept(database, tables.COMPLETION) == await kept(database, tables.DIAGNOSTIC) == []
    assert await total(database) == 3


async def test_a_replica_that_knew_nothing_of_what_another_stored_does_not_store_it_again_after_its_purge(
    sink: DurableSink, database: Database, clock: FakeClock, retention: SqlRetention
) -> None:
    first, more = batch([decided(1)]), batch([decided(2), decided(3)], first=2)
    await sink.store([first])
    other = DurableSink.on(database.url)
    await other.store([more, batch([decided(4)], first=4)])
    await other.close()
    clock.advance(31 * DAY)
    await retention.purge()
    assert await sink.store([more]) == [()]
    assert await kept(database) == []
    assert await total(database) == 4


async def test_what_was_missing_when_its_neighbours_were_purged_is_stored_when_it_comes(
    sink: DurableSink, database: Database, clock: FakeClock, retention: SqlRetention
) -> None:
    await sink.store([batch([decided(1), decided(4)]), batch([decided(9)], first=9)])
    clock.advance(31 * DAY)
    await retention.purge()
    whole = [decided(number) for number in (1, 4, *range(103, 109), 9)]
    assert await sink.store([batch(whole), batch(whole)]) == [(), ()]
    assert await kept(database) == [uuid7(number) for number in range(103, 109)]
    assert await total(database) == 9
    async with database.read() as tx:
        assert (await tx.execute(sa.select(tables.GAP.c.first_seq))).all() == []


async def test_a_purge_takes_small_steps_and_leaves_one_record(
    sink: DurableSink, database: Database, clock: FakeClock, breaths: Breaths
) -> None:
    retention = SqlRetention(database, KEEP, clock.now, step=3, pause=breaths)
    await sink.store([batch([decided(number) for number in range(1, 9)])])
    clock.advance(31 * DAY)
    await retention.purge()
    await retention.purge()
    assert await kept(database) == []
    assert breaths.taken == 2
    async with database.read() as tx:
        asked = sa.select(tables.AUDIT.c.action, tables.AUDIT.c.actor, tables.AUDIT.c.details)
        [entry] = (await tx.execute(asked)).all()
    assert (entry.action, entry.actor) == ("events_purged", "service:reporting")
    assert '"attempts":"8"' in entry.details


async def test_events_that_come_in_between_the_steps_of_a_purge_are_stored_and_counted(
    sink: DurableSink, database: Database, clock: FakeClock
) -> None:
    await sink.store([batch([decided(number) for number in range(1, 9)])])
    clock.advance(31 * DAY)
    numbers = iter(range(100, 200))

    async def ingest(_: float) -> None:
        number = next(numbers)
        new, old = decided(number, at=clock.now()), batch([decided(number) for number in range(1, 9)])
        assert await sink.store([batch([new], first=number, received=clock.now()), old]) == [(), ()]

    await SqlRetention(database, KEEP, clock.now, step=3, pause=ingest).purge()
    assert await kept(database) == [uuid7(100), uuid7(101)]
    assert await total(database) == 10


async def test_without_a_purge_counts_stay_what_the_events_are(
    sink: DurableSink, database: Database, retention: SqlRetention
) -> None:
    await sink.store([batch([decided(1), decided(2)])])
    await retention.purge()
    await check(database)
    assert await total(database) == 2


async def names(database: Database, dimension: Dimension) -> list[str]:
    column = dimension.table.c[dimension.columns[-1]]
    async with database.read() as tx:
        return sorted((await tx.execute(sa.select(column))).scalars())


async def test_names_go_with_the_last_count_that_tells_of_them(
    sink: DurableSink, database: Database, clock: FakeClock, retention: SqlRetention
) -> None:
    await sink.store([batch([decided(1, user="alice", file={"publisher": "x"}, rule="old")], name="old-name")])
    clock.advance(31 * DAY)
    later = decided(2, user="bob", file={"publisher": "y"}, rule="new", at=clock.now())
    await sink.store([batch([later], first=2, name="new-name", received=clock.now())])
    await retention.purge()
    assert await names(database, USER) == ["alice", "bob"]
    clock.advance(370 * DAY)
    await retention.purge()
    told = [await names(database, dimension) for dimension in (USER, FILE, RULE, DEVICE)]
    assert told == [["bob"], ["y"], ["new"], ["new-name"]]
    pairs, users, devices = tables.USER_DEVICE.c, tables.KNOWN_USER.c, tables.KNOWN_DEVICE.c
    async with database.read() as tx:
        assert (await tx.execute(sa.select(sa.func.count(pairs.user_key)))).scalar_one() == 1
        asked = sa.select(users.user_name, devices.device_name)
        paired = asked.where(users.user_key == pairs.user_key, devices.device_key == pairs.device_key)
        assert [tuple(row) for row in await tx.execute(paired)] == [("bob", "new-name")]


async def test_names_of_attempts_that_outlive_their_counts_stay(
    sink: DurableSink, database: Database, clock: FakeClock, retention: SqlRetention
) -> None:
    await sink.store([batch([decided(1, user="alice")])])
    clock.advance(400 * DAY)
    await sink.store([batch([decided(2, user="bob", at=NOW)], first=2, received=clock.now())])
    clock.advance(2 * DAY)
    await retention.purge()
    assert await names(database, USER) == ["bob"]
    page = await SqlReports(database).elevations(EVERYTHING, PageRequest(5))
    assert [one.event_id for one in page.items] == [uuid7(2)]


async def test_whoever_has_a_name_cached_that_was_purged_stores_under_its_new_number(
    sink: DurableSink, database: Database, clock: FakeClock, retention: SqlRetention
) -> None:
    other = DurableSink.on(database.url)
    await sink.store([batch([decided(1, user="alice"), decided(2, user="bob")])])
    await other.store([batch([decided(3, user="alice")], first=3)])
    clock.advance(402 * DAY)
    await retention.purge()
    assert await names(database, USER) == []
    await sink.store([batch([decided(4, user="carol", at=clock.now())], first=4, received=clock.now())])
    await other.store([batch([decided(5, user="alice", at=clock.now())], first=5, received=clock.now())])
    await other.close()
    await check(database)
    users = await SqlReports(database).users(EVERYTHING, PageRequest(5))
    assert sorted((one.user, one.total) for one in users.items) == [("alice", 1), ("carol", 1)]


async def test_a_name_that_is_used_again_between_the_steps_of_a_purge_stays(
    sink: DurableSink, database: Database, clock: FakeClock
) -> None:
    users = [f"user-{number}" for number in range(9)]
    await sink.store([batch([decided(number, user=user) for number, user in enumerate(users, 1)])])
    clock.advance(402 * DAY)
    stored: list[int] = []

    async def ingest(_: float) -> None:
        if stored or await names(database, USER) == users:
            return
        stored.append(len(await names(database, USER)))
        events = [decided(1000 + index, user=user, at=clock.now()) for index, user in enumerate(users)]
        assert await sink.store([batch(events, first=1000, received=clock.now())]) == [()]

    await SqlRetention(database, KEEP, clock.now, step=3, pause=ingest).purge()
    assert stored == [6]
    assert await names(database, USER) == users
    await check(database)
