"""Whoever reads along gets everything once, in one order, whoever writes: the same on SQLite and PostgreSQL."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elevation.model import Group, GroupType
from services._chassis.db import Database
from services.reporting.model.devices import Directory, KnownGroup
from services.reporting.model.groups import DirectoryMemberships
from services.reporting.model.live import Cursor, Passage
from services.reporting.model.reports import ElevationFilter, Question
from services.reporting.store.devices import SqlDeviceRecords
from services.reporting.store.driver import Driver
from services.reporting.store.postgres_driver import PostgresDriver
from services.reporting.store.sqlite_driver import SqliteDriver
from services.reporting.store.stored import SqlStored
from services.reporting.store.tables import ATTEMPT
from tests.builders.reporting_database import reporting_database
from tests.builders.sinks import DurableSink
from tests.fakes.clock import NOW
from tests.fakes.reporting import batch, completed, decided, diagnostic, enrolled

EVERYTHING = Question(ElevationFilter(), None)
numbers = count(1)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with reporting_database(database_url) as opened:
        yield opened


def question(tags: frozenset[str] | None = None, **values: Any) -> Question:
    return Question(ElevationFilter(**values), tags)


async def read(stored: SqlStored, cursor: Cursor, asked: Question = EVERYTHING) -> tuple[list[str], Cursor]:
    """Return everything that is there behind the cursor, and where that ends."""
    found: list[str] = []
    while True:
        passage = await stored.passage(asked, cursor)
        found += [one.attempt_id for one in passage.elevations]
        cursor = passage.cursor
        if not passage.more:
            return found, cursor


class Reader:
    """Read along, losing the connection now and then."""

    def __init__(self, stored: SqlStored, asked: Question) -> None:
        self.stored = stored
        self.asked = asked
        self.cursor = Cursor()
        self.seen: list[str] = []

    async def step(self) -> Passage:
        """Read one passage, and go on from what its cursor says in writing."""
        passage = await self.stored.passage(self.asked, self.cursor)
        self.seen += [one.attempt_id for one in passage.elevations]
        again = Cursor.read(str(passage.cursor))
        assert again == passage.cursor
        self.cursor = again
        return passage


class HeldDriver:
    """Write as a driver does, but commit only when the test says so."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.arrived = threading.Event()
        self.go_on = threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    def commit(self) -> None:
        """Wait for the word, then commit."""
        self.arrived.set()
        assert self.go_on.wait(30)
        self._driver.commit()


@asynccontextmanager
async def held(database: Database) -> AsyncIterator[tuple[DurableSink, HeldDriver]]:
    """Open the sink of another replica, whose commit the test holds up."""
    url = database.url
    driver = HeldDriver(PostgresDriver(url) if database.on_postgresql else SqliteDriver(url.database or ""))
    sink = DurableSink(driver)
    try:
        yield sink, driver
    finally:
        driver.go_on.set()
        await sink.close()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("store"), st.integers(0, 1), st.sampled_from(["d1", "d2", "d3"]), st.integers(1, 5)),
        st.tuples(st.just("again"), st.integers(0, 1)),
        st.tuples(st.just("read"), st.integers(0, 1)),
    ),
    max_size=25,
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, most=st.tuples(st.integers(1, 4), st.integers(1, 3)))
async def test_every_attempt_is_read_once_and_by_all_in_one_order(
    database: Database, steps: Sequence[tuple[Any, ...]], most: tuple[int, int]
) -> None:
    stored = SqlStored(database, most_events=most[0], most_positions=most[1])
    sinks = [DurableSink.on(database.url), DurableSink.on(database.url)]
    readers = [Reader(stored, EVERYTHING), Reader(stored, question(devices=("name-of-d1", "name-of-d3")))]
    sent: list[tuple[str, list[str]]] = []
    last = batch([])
    for kind, which, *what in steps:
        if kind == "store":
            device, size = what
            events = [decided(next(numbers)) for _ in range(size)]
            last = batch([*events, diagnostic(next(numbers))], device=device, journal=f"journal-{next(numbers)}")
            sent.append((device, [event.attempt_id for event in events]))
            await sinks[which].store([last])
        elif kind == "again":
            await sinks[which].store([last])
        else:
            await readers[which].step()
    for reader in readers:
        while (await reader.step()).more:
            pass
    assert readers[0].seen == [attempt for _, attempts in sent for attempt in attempts]
    assert readers[1].seen == [attempt for device, attempts in sent if device != "d2" for attempt in attempts]
    for sink in sinks:
        await sink.close()
    async with database.transaction() as tx:
        await tx.execute(sa.delete(ATTEMPT))


async def test_what_another_replica_commits_late_is_not_passed_over(database: Database, sink: DurableSink) -> None:
    stored = SqlStored(database)
    async with held(database) as (other, driver):
        late = asyncio.ensure_future(other.store([batch([decided(1)])]))
        assert await asyncio.to_thread(driver.arrived.wait, 30)
        early = asyncio.ensure_future(sink.store([batch([decided(2)], device="d2")]))
        await asyncio.wait([early], timeout=0.3)
        first, cursor = await read(stored, Cursor())
        driver.go_on.set()
        await asyncio.gather(late, early)
        second, _ = await read(stored, cursor)
        assert sorted(first + second) == ["attempt-1", "attempt-2"]


async def test_two_replicas_that_write_at_once_leave_nothing_out(database: Database) -> None:
    stored, sinks = SqlStored(database, most_events=3), [DurableSink.on(database.url), DurableSink.on(database.url)]

    async def write(which: int) -> None:
        for number in range(15):
            await sinks[which].store(
                [batch([decided(which * 1000 + number + 1)], device=f"d{which}", first=number + 1)]
            )

    writing = asyncio.gather(write(0), write(1))
    reader = Reader(stored, EVERYTHING)
    while not writing.done() or (await reader.step()).more:
        await reader.step()
    await writing
    while (await reader.step()).more:
        pass
    expected = [f"attempt-{which * 1000 + number + 1}" for which in (0, 1) for number in range(15)]
    assert sorted(reader.seen) == sorted(expected)
    for which in (0, 1):
        own = [attempt for attempt in reader.seen if attempt in expected[which * 15 : which * 15 + 15]]
        assert own == expected[which * 15 : which * 15 + 15]
    for sink in sinks:
        await sink.close()


async def test_a_transaction_larger_than_a_passage_is_read_in_parts(database: Database, sink: DurableSink) -> None:
    await sink.store([batch([decided(number) for number in range(1, 12)]), batch([decided(20)], device="d2")])
    reader = Reader(SqlStored(database, most_events=3), EVERYTHING)
    sizes = []
    while True:
        passage = await reader.step()
        sizes.append(len(passage.elevations))
        if not passage.more:
            break
    assert reader.seen == [*(f"attempt-{number}" for number in range(1, 12)), "attempt-20"]
    assert sizes == [3, 3, 3, 3]


async def test_attempts_too_large_for_one_message_are_spread(database: Database, sink: DurableSink) -> None:
    await sink.store([batch([decided(number, reason="x" * 250_000) for number in range(1, 31)])])
    passage = await SqlStored(database).passage(EVERYTHING, Cursor())
    assert sum(len(one.body) for one in passage.elevations) <= 3 * 1024 * 1024
    rest, _ = await read(SqlStored(database), passage.cursor)
    assert len(passage.elevations) + len(rest) == 30


async def test_a_reader_moves_on_past_what_is_not_for_them(database: Database, sink: DurableSink) -> None:
    for number in range(1, 8):
        await sink.store([batch([decided(number)], first=number)])
    stored = SqlStored(database, most_positions=2)
    found, cursor = await read(stored, Cursor(), question(users=("nobody",)))
    assert (found, cursor) == ([], Cursor.behind(await stored.newest()))


async def test_only_attempts_of_visible_devices_are_read(database: Database, sink: DurableSink) -> None:
    await SqlDeviceRecords(database).remember([enrolled("d1", "emea"), enrolled("d2", "apac")])
    await sink.store([batch([decided(number)], device=f"d{number}") for number in (1, 2)])
    found, _ = await read(SqlStored(database), Cursor(), question(frozenset({"apac"})))
    assert found == ["attempt-2"]


async def test_who_reads_along_a_group_reads_whoever_is_in_it_by_then(database: Database, sink: DurableSink) -> None:
    known, stored = Directory(), SqlStored(database)
    asked = Question(ElevationFilter(device_groups=("lab",)), None, groups=DirectoryMemberships(known))
    found: list[str] = []
    cursor = Cursor()
    for number, members in enumerate(((), ("name-of-d1",), ("name-of-d1", "name-of-d2")), 1):
        lab = KnownGroup(Group("lab", GroupType.DEVICE, members))
        known.replace({name: enrolled(name) for name in ("d1", "d2")}, {"lab": lab})
        await sink.store([batch([decided(10 * number + n)], device=f"d{n}", first=number) for n in (1, 2)])
        told, cursor = await read(stored, cursor, asked)
        found += told
    assert sorted(found) == ["attempt-21", "attempt-31", "attempt-32"]


async def test_events_of_every_kind_make_a_position_and_dead_letters_make_none(
    database: Database, sink: DurableSink
) -> None:
    stored = SqlStored(database)
    await sink.store([batch([decided(1)])])
    before = await stored.newest()
    for number, event in ((2, completed(2, "attempt-1", exit_code=3)), (3, diagnostic(3))):
        await sink.store([batch([event], first=number)])
        assert await stored.newest() == before + number - 1
    await sink.store([batch([decided(4, user="")], first=4)])
    assert await stored.newest() == before + 2
    passage = await stored.passage(EVERYTHING, Cursor())
    assert [one.exit_code for one in passage.elevations] == [3]


async def test_a_reader_begins_now_or_with_what_occurred_since(database: Database, sink: DurableSink) -> None:
    stored = SqlStored(database)
    hour = timedelta(hours=1)
    for number, time in enumerate((NOW - 3 * hour, NOW - hour, NOW - 2 * hour, NOW), 1):
        await sink.store([batch([decided(number, at=time)], first=number)])
    for since, expected in ((NOW - hour, [2, 4]), (NOW - 2 * hour, [2, 3, 4]), (NOW + hour, [])):
        asked = question(occurred_from=since)
        found, _ = await read(stored, await stored.before(asked), asked)
        assert found == [f"attempt-{number}" for number in expected]
    now = await stored.before(EVERYTHING)
    await sink.store([batch([decided(9, at=NOW - 4 * hour)], first=5)])
    assert (await read(stored, now))[0] == ["attempt-9"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1.2",
        "a.b.c",
        "-1.0.0",
        "1.2.3.4",
        "1.99999999999.1",
        "9999999999999999999.1.1",
        "1.1.1 ",
        "\u0661.1.1",
    ],
)
def test_what_is_no_cursor_is_not_taken_for_one(text: str) -> None:
    assert Cursor.read(text) is None
