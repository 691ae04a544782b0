"""Days are closed when they are over, whatever comes late and whatever breaks off: on SQLite and PostgreSQL."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services._chassis.db import Database
from services._chassis.errors import UnavailableError
from services.reporting.model.events import microseconds
from services.reporting.model.rollups import day_of, ending, start_of
from services.reporting.store import tables
from services.reporting.store.closed import MAKERS
from services.reporting.store.closing import OVER, SqlClosing
from services.reporting.store.postgres_driver import PostgresDriver
from services.reporting.store.retention import Keep, SqlRetention
from services.reporting.store.transactions import Transactions
from tests.builders.counts import KINDS, attempt, check, check_closed, forget
from tests.builders.locks import waiting_for_a_lock
from tests.builders.obstaclesets import check_sets
from tests.builders.reporting_database import reporting_database
from tests.builders.sinks import DurableSink
from tests.fakes.reporting import batch
from tests.postgres import Cluster

DAY = timedelta(days=1)
FIRST = start_of(day_of(microseconds(datetime(2026, 3, 1, tzinfo=UTC))), 64)
"""The first day of a span of 64 days."""
START = datetime(1970, 1, 1, tzinfo=UTC) + FIRST * DAY
EPOCH = datetime(2026, 3, 1, tzinfo=UTC)


async def at_once(_seconds: float) -> None:
    """Go on at once."""


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with reporting_database(database_url) as opened:
        yield opened


def after(days: float) -> Callable[[], datetime]:
    """Tell the time at which so many days since the first are over for long enough."""
    return lambda: START + days * DAY + OVER


async def close(database: Database, days: float, pause: Callable[[float], Awaitable[None]] = at_once) -> None:
    await SqlClosing(database, after(days), step=2, pause=pause).close()


async def closed_before(database: Database) -> int:
    async with database.read() as tx:
        return int((await tx.execute(sa.select(tables.HORIZON.c.closed_before))).scalar_one())


class Sender:
    """A device that sends attempts of some days since the first."""

    def __init__(self, sink: DurableSink, device: str = "d1", *, begun: int = 0) -> None:
        self._sink = sink
        self._device = device
        self._number = begun

    async def send(self, *days: int, letter: str = "a", user: str = "alice", kind: str = "automatic") -> None:
        events = []
        for day in days:
            self._number += 1
            hours = (START - EPOCH) // timedelta(hours=1) + 24 * day
            events.append(attempt(self._number, (user, letter, kind, self._device, hours)))
        first = self._number - len(events) + 1
        assert await self._sink.store([batch(events, device=self._device, first=first)]) == [()]


async def test_a_span_is_made_when_its_last_day_is_over(database: Database, sink: DurableSink) -> None:
    device = Sender(sink)
    await device.send(*range(12))
    await close(database, 7.9)
    assert await closed_before(database) == FIRST + 7
    assert await check_closed(database) == set()
    await close(database, 8)
    assert await closed_before(database) == FIRST + 8
    assert await check_closed(database) == {(8, FIRST)}
    await close(database, 70)
    assert await check_closed(database) == {(8, FIRST), (8, FIRST + 8), (64, FIRST)}
    assert await closed_before(database) == FIRST + 64
    await check(database)


async def test_what_comes_late_is_added_to_all_closed_spans_that_hold_its_day(
    database: Database, sink: DurableSink
) -> None:
    device = Sender(sink)
    await device.send(0, 9, 9, 65)
    await close(database, 66)
    await device.send(9, 30, 1, 64, 66, -3)
    assert await check_closed(database) == {
        *((8, FIRST + days) for days in (-8, 0, 8, 24)),
        *((64, FIRST + days) for days in (-64, 0)),
    }
    await close(database, 130)
    assert (8, FIRST + 64) in await check_closed(database)
    await device.send(9, 64, letter="new", user="bob")
    assert (64, FIRST + 64) in await check_closed(database)
    await check(database)


async def test_what_comes_late_while_a_span_is_made_is_in_it_once(database: Database, sink: DurableSink) -> None:
    device, paused = Sender(sink), 0
    await device.send(*range(70))

    async def pause(_seconds: float) -> None:
        nonlocal paused
        paused += 1
        await device.send(paused % 64, 7, letter="ab"[paused % 2])
        await check_closed(database)

    await close(database, 64, pause)
    assert paused > 64
    assert (64, FIRST) in await check_closed(database)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5])
async def test_a_closing_that_broke_off_is_done_again(database: Database, sink: DurableSink, steps: int) -> None:
    device = Sender(sink)
    await device.send(*range(10))
    for letter in "bcde":
        await device.send(2, 3, letter=letter)
    await close(database, 7)
    paused = 0

    async def break_off(_seconds: float) -> None:
        nonlocal paused
        paused += 1
        if paused == steps:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        await close(database, 9, break_off)
    await check_closed(database)
    await device.send(3, 4, letter="b")
    await close(database, 10)
    assert await check_closed(database) == {(8, FIRST)}
    assert await closed_before(database) == FIRST + 10


async def test_two_processes_close_the_same_days_once(database: Database, sink: DurableSink) -> None:
    device = Sender(sink)
    await device.send(*range(70))
    await asyncio.gather(*(close(database, 66) for _ in range(2)))
    await close(database, 66)
    assert {(8, FIRST), (64, FIRST)} <= await check_closed(database)
    assert await closed_before(database) == FIRST + 66


async def test_who_begins_later_takes_over_and_who_began_before_leaves_off(
    database: Database, sink: DurableSink
) -> None:
    device = Sender(sink)
    await device.send(*range(8))
    await close(database, 7)
    paused = 0

    async def overtaken(_seconds: float) -> None:
        nonlocal paused
        paused += 1
        if paused == 1:
            await close(database, 8)
            await device.send(2)

    await close(database, 8, overtaken)
    assert paused == 1
    assert await check_closed(database) == {(8, FIRST)}


async def test_what_another_process_is_about_to_close_is_not_closed_again(postgres: Cluster) -> None:
    async def never(_seconds: float) -> None:
        raise InterruptedError

    horizon = sa.update(tables.HORIZON)
    with postgres.fresh_database() as url:
        async with reporting_database(url) as database:
            sink = DurableSink.on(database.url)
            await Sender(sink).send(*range(8))
            await sink.close()
            await close(database, 8)
            async with database.transaction() as undone:
                await undone.execute(horizon.values(closed_before=FIRST + 7))
            async with database.transaction() as other:
                await other.execute(horizon.values(closed_before=FIRST + 8))
                closing = asyncio.create_task(close(database, 8, never))
                await waiting_for_a_lock(database)
            await closing
            assert await check_closed(database) == {(8, FIRST)}


class HeldBack(PostgresDriver):
    """A connection that commits once it may."""

    def __init__(self, database: Database) -> None:
        super().__init__(database.url)
        self.may_commit = threading.Event()
        self.reached = threading.Event()

    def commit(self) -> None:
        """Wait, and commit."""
        self.reached.set()
        self.may_commit.wait()
        super().commit()


async def test_what_is_about_to_be_stored_when_a_day_is_closed_is_in_its_spans(postgres: Cluster) -> None:
    with postgres.fresh_database() as url:
        async with reporting_database(url) as database:
            sink, held = DurableSink.on(database.url), HeldBack(database)
            await Sender(sink).send(*range(8))
            await sink.close()
            late = attempt(100, ("bob", "late", "unmanaged", "d2", (START - EPOCH) // timedelta(hours=1) + 24))
            storing = asyncio.create_task(asyncio.to_thread(Transactions(held).store, [batch([late], device="d2")]))
            await asyncio.to_thread(held.reached.wait)
            closing = asyncio.create_task(close(database, 8))
            waiting = asyncio.create_task(waiting_for_a_lock(database))
            await asyncio.wait([closing, waiting], return_when=asyncio.FIRST_COMPLETED)
            held.may_commit.set()
            await asyncio.gather(storing, closing)
            waiting.cancel()
            held.close()
            assert await closed_before(database) == FIRST + 8
            assert await check_closed(database) == {(8, FIRST)}
            await check_sets(database)


async def test_nothing_is_made_of_a_span_of_which_a_part_is_purged(database: Database, sink: DurableSink) -> None:
    await Sender(sink).send(*range(70), kind="unmanaged")
    keep = Keep(events=500 * DAY, counts=30 * DAY)
    await SqlRetention(database, keep, after(33), pause=at_once).purge()
    await close(database, 66)
    assert {(8, FIRST + 8), (8, FIRST + 56)} <= await check_closed(database)
    await check_sets(database)
    async with database.read() as tx:
        for maker in MAKERS:
            starts = (await tx.execute(sa.select(sa.func.min(maker.table.c.start)))).scalar_one()
            assert starts is None or starts >= FIRST + 3, maker.table.name


async def test_days_without_attempts_are_passed_over_and_nothing_is_closed_where_there_are_none(
    database: Database, sink: DurableSink
) -> None:
    await close(database, 100)
    assert await closed_before(database) == 0
    device = Sender(sink)
    await device.send(-500, 0)
    await close(database, 600)
    assert await closed_before(database) == FIRST + 64
    assert {start for _, start in await check_closed(database)} == {
        start_of(FIRST + day, span) for day in (-500, 0) for span in (8, 64)
    }


async def test_nothing_is_closed_of_which_other_attempts_are_counted_than_were_read(
    database: Database, sink: DurableSink
) -> None:
    await Sender(sink).send(*range(8))
    await close(database, 7)
    counts = tables.COUNT_BY_DECISION
    more = sa.update(counts).where(counts.c.span == 1, counts.c.start == FIRST + 2)

    async def add(_seconds: float) -> None:
        async with database.transaction() as tx:
            await tx.execute(more.values(attempts=counts.c.attempts + 1))

    await close(database, 8, add)
    assert await closed_before(database) == FIRST + 7
    await close(database, 8)
    assert await check_closed(database) == {(8, FIRST)}


async def test_nothing_is_closed_while_the_clock_has_run_ahead(database: Database, sink: DurableSink) -> None:
    await Sender(sink).send(0)
    await SqlClosing(database, after(9), ahead=lambda: 2 * DAY, pause=at_once).close()
    assert await closed_before(database) == 0


async def test_a_closing_waits_for_no_lock_that_is_held_for_long(postgres: Cluster) -> None:
    with postgres.fresh_database() as url:
        async with reporting_database(url) as database:
            async with database.transaction() as held:
                await held.execute(sa.text("LOCK TABLE reporting_horizon"))
                with pytest.raises(UnavailableError):
                    await SqlClosing(database, after(9), lock_timeout=0.001).close()
            await close(database, 9)


async def test_what_was_made_goes_with_the_counts_of_its_days(database: Database, sink: DurableSink) -> None:
    device = Sender(sink)
    await device.send(*range(0, 140, 3))
    await close(database, 140)
    await device.send(*range(0, 140, 5), kind="unmanaged")
    keep = Keep(events=30 * DAY, counts=40 * DAY)
    retention = SqlRetention(database, keep, after(60), pause=at_once)
    await retention.purge()
    spans = await check_closed(database)
    assert min(start for span, start in spans if span == 8) >= FIRST + 60 - 40
    await check_sets(database)
    async with database.read() as tx:
        for maker in MAKERS:
            starts = (await tx.execute(sa.select(sa.func.min(maker.table.c.start)))).scalar_one()
            assert starts is None or starts >= FIRST + 20, maker.table.name


ACTIONS = st.lists(
    st.one_of(
        st.tuples(
            st.just("send"),
            st.lists(st.integers(-70, 140), min_size=1, max_size=6),
            st.sampled_from("ab"),
            st.sampled_from(KINDS),
            st.sampled_from(["alice", "bob"]),
        ),
        st.tuples(st.just("close"), st.floats(-70, 150)),
        st.tuples(st.just("break"), st.floats(-70, 150), st.integers(1, 6)),
        st.tuples(st.just("late"), st.floats(-70, 150), st.integers(-70, 140)),
        st.tuples(st.just("purge"), st.integers(-70, 60)),
    ),
    max_size=8,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(actions=ACTIONS)
async def test_closed_spans_are_the_sums_of_their_days_whatever_happens(
    database: Database, actions: list[tuple[Any, ...]]
) -> None:
    sinks = [DurableSink.on(database.url) for _ in range(2)]
    devices = [Sender(sink, f"d{number}", begun=1000 * number) for number, sink in enumerate(sinks)]
    try:
        for turn, (what, *drawn) in enumerate(actions):
            device = devices[turn % 2]
            if what == "send":
                days, letter, kind, user = drawn
                await device.send(*days, letter=letter, kind=kind, user=user)
            elif what == "purge":
                keep = Keep(events=500 * DAY, counts=30 * DAY)
                await SqlRetention(database, keep, after(drawn[0] + 30), pause=at_once).purge()
            else:
                await close(database, drawn[0], disturbed(what, device, *drawn[1:]))
            await check_closed(database)
            await check_sets(database)
    except InterruptedError:
        await check_closed(database)
        await check_sets(database)
    finally:
        for sink in sinks:
            await sink.close()
        await forget(database)
        async with database.transaction() as tx:
            await tx.execute(sa.delete(tables.JOURNAL))
            await tx.execute(sa.update(tables.HORIZON).values(counts_before=0))


def disturbed(what: str, device: Sender, number: int = 0) -> Callable[[float], Awaitable[None]]:
    """Break off after so many pauses, or send something of a day in each."""
    paused = 0

    async def pause(_seconds: float) -> None:
        nonlocal paused
        paused += 1
        if what == "break" and paused == number:
            raise InterruptedError
        if what == "late":
            await device.send(number)

    return pause


def test_spans_end_where_all_their_days_are_over() -> None:
    assert [run.span for run in ending(FIRST)] == [1, 8, 64]
    assert [run.span for run in ending(FIRST + 8)] == [1, 8]
    assert [run.span for run in ending(FIRST + 9)] == [1]
