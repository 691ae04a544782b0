"""Who was on the devices that a question is about stands beside the counts: on SQLite and PostgreSQL."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from services._chassis.db import Database
from services._chassis.paging import PageRequest
from services.reporting.model.reports import ElevationFilter, Question, UserCount
from services.reporting.store.devices import SqlDeviceRecords
from services.reporting.store.reports import SqlReports
from services.reporting.store.tables import COUNT, KNOWN_DEVICE, KNOWN_USER, USER_DEVICE
from services.reporting.store.whereabouts import MOST_USERS, looked_up_sooner, whereabouts
from tests.builders.counts import MIDNIGHT, unpaired
from tests.builders.reporting_database import reporting_database
from tests.builders.sinks import DurableSink
from tests.fakes.reporting import batch, decided, enrolled

DAY = timedelta(days=1)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with reporting_database(database_url) as opened:
        await SqlDeviceRecords(opened).remember(
            [enrolled("d1", "emea"), enrolled("d2", "emea"), enrolled("d3", "apac")]
        )
        yield opened


async def attempted(sink: DurableSink, *pairs: tuple[str, str], first: int = 1) -> None:
    sent = [
        batch([decided(n, user=user, at=MIDNIGHT)], device=device, first=n)
        for n, (user, device) in enumerate(pairs, first)
    ]
    assert not any(await sink.store(sent))


async def seen(database: Database, **values: Any) -> Sequence[UserCount]:
    asked = Question(ElevationFilter(**values), frozenset({"emea"}))
    return (await SqlReports(database).users(asked, PageRequest(10))).items


async def test_users_of_some_devices_are_told_by_whether_they_were_elsewhere_too(
    database: Database, sink: DurableSink
) -> None:
    await attempted(sink, ("alice", "d1"), ("bob", "d1"), ("bob", "d3"), ("carol", "d3"), ("alice", "d2"))
    devices = sa.select(KNOWN_DEVICE.c.device_key).where(KNOWN_DEVICE.c.device_id.in_(["d1", "d2"]))
    some = sa.select(KNOWN_USER.c.user_key).where(KNOWN_USER.c.user_name != "alice")
    async with database.read() as tx:
        rows = await tx.execute(sa.select(KNOWN_USER.c.user_name, KNOWN_USER.c.user_key))
        keys = {row.user_name: row.user_key for row in rows}
        everybody, others = await whereabouts(tx, devices, None), await whereabouts(tx, devices, some)
    assert everybody is not None
    assert (everybody.there, everybody.elsewhere_too) == ([keys["alice"]], [keys["bob"]])
    assert others is not None
    assert (others.there, others.elsewhere_too) == ([], [keys["bob"]])


async def test_who_came_to_another_device_is_counted_on_those_that_may_be_seen_alone(
    database: Database, sink: DurableSink
) -> None:
    await attempted(sink, ("alice", "d1"), ("bob", "d1"))
    assert {(one.user, one.total) for one in await seen(database)} == {("alice", 1), ("bob", 1)}
    await attempted(sink, ("bob", "d3"), ("bob", "d3"), ("carol", "d3"), first=10)
    assert {(one.user, one.total) for one in await seen(database)} == {("alice", 1), ("bob", 1)}
    await attempted(sink, ("bob", "d2"), first=20)
    assert {(one.user, one.total) for one in await seen(database)} == {("alice", 1), ("bob", 2)}
    assert {(one.user, one.total) for one in await seen(database, devices=("name-of-d2",))} == {("bob", 1)}
    assert await seen(database, devices=("name-of-d3",)) == ()


async def test_pairs_without_counts_do_no_harm(database: Database, sink: DurableSink) -> None:
    await attempted(sink, ("alice", "d1"), ("bob", "d2"), ("carol", "d3"))
    async with database.transaction() as tx:
        every = sa.select(KNOWN_USER.c.user_key, KNOWN_DEVICE.c.device_key).join_from(
            KNOWN_USER, KNOWN_DEVICE, sa.true()
        )
        there = sa.select(USER_DEVICE.c.user_key, USER_DEVICE.c.device_key)
        more = [dict(row) for row in (await tx.execute(sa.except_(every, there))).mappings()]
        assert len(more) == 6
        await tx.execute(sa.insert(USER_DEVICE), more)
    assert {(one.user, one.total) for one in await seen(database)} == {("alice", 1), ("bob", 1)}


async def test_two_writers_note_everybody_whom_they_count(database: Database, sink: DurableSink) -> None:
    other = DurableSink.on(database.url)
    await attempted(sink, ("alice", "d1"), ("bob", "d2"))
    await attempted(other, ("alice", "d2"), ("bob", "d2"), ("alice", "d1"), first=10)
    await attempted(sink, ("alice", "d2"), ("bob", "d1"), first=20)
    await other.close()
    assert await unpaired(database) == []
    async with database.read() as tx:
        assert (await tx.execute(sa.select(sa.func.count()).select_from(USER_DEVICE))).scalar_one() == 4


async def test_too_many_users_are_not_named_one_by_one(database: Database) -> None:
    async with database.transaction() as tx:
        pairs = [{"user_key": user, "device_key": 1} for user in range(MOST_USERS + 1)]
        await tx.execute(sa.insert(USER_DEVICE), pairs)
    devices = sa.select(USER_DEVICE.c.device_key).where(USER_DEVICE.c.device_key == 1)
    async with database.read() as tx:
        assert await whereabouts(tx, devices, None) is None


async def test_few_users_with_many_attempts_are_looked_up_and_many_with_few_are_not(
    database: Database, sink: DurableSink
) -> None:
    await sink.store([batch([decided(n, user=f"user-{n % 4}", at=MIDNIGHT) for n in range(1, 101)])])
    async with database.read() as tx:
        day = (await tx.execute(sa.select(COUNT.c.start).limit(1))).scalar_one()
        assert await looked_up_sooner(tx, 1, range(day, day + 1))
        assert await looked_up_sooner(tx, 1, range(day - 3, day + 3))
        assert not await looked_up_sooner(tx, 4, range(day, day + 1))
        assert not await looked_up_sooner(tx, 1, range(day - 10, day + 3))
        assert not await looked_up_sooner(tx, 1, range(day + 1, day + 2))
