"""Obstacles that are told from sets of closed spans are those that counts tell, and a naive recount: on SQLite and PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services._chassis.db import Database
from services._chassis.paging import PageRequest
from services.reporting.model.devices import Device
from services.reporting.model.events import microseconds
from services.reporting.model.readiness import Obstacle
from services.reporting.model.reports import Question
from services.reporting.model.rollups import day_of, start_of
from services.reporting.readiness import list_obstacles
from services.reporting.store import tables
from services.reporting.store.closing import OVER, SqlClosing
from services.reporting.store.devices import SqlDeviceRecords
from services.reporting.store.drivers import driver_of
from services.reporting.store.obstacles import obstacles_page, unmanaged
from services.reporting.store.readiness import SqlReadiness
from services.reporting.store.setmaking import fold
from services.reporting.store.sets import met
from tests.builders.counts import MIDNIGHT, forget
from tests.builders.locks import waiting_for_a_lock
from tests.builders.obstaclesets import check_sets
from tests.builders.readiness import (
    DAY,
    SOME_OF_ALL,
    WINDOWS,
    Made,
    Story,
    attempts_on,
    event,
    in_the_way,
    made,
    obstacles,
    question,
)
from tests.builders.reporting_database import reporting_database
from tests.builders.sinks import DurableSink
from tests.fakes.reporting import batch
from tests.postgres import Cluster

FIRST = day_of(microseconds(MIDNIGHT))
LATE = {"occurred_from": MIDNIGHT + DAY, "occurred_before": MIDNIGHT + 100 * DAY}
ODD = {"occurred_from": MIDNIGHT + timedelta(hours=1), "occurred_before": MIDNIGHT + 9 * DAY + timedelta(hours=2)}
ASKED: tuple[tuple[frozenset[str] | None, Mapping[str, Any]], ...] = (
    (None, {}),
    (None, LATE),
    (None, ODD),
    (None, {"users": ("alice", "bob")}),
    (None, {"file_names": ("a.exe", "b.exe")}),
    (None, {"device_ids": ("d1", "d2"), **LATE}),
    (None, {"results": ("NOT_MANAGED",)}),
    (None, {"sources": ("NO_RULE",)}),
    (frozenset({"red"}), {}),
    (frozenset({"red"}), {**LATE, "users": ("alice",)}),
    (frozenset({"red", "blue"}), ODD),
)
TAGS = {"d1": {"red"}, "d2": {"red", "blue"}, "d3": {"blue"}}


async def at_once(_seconds: float) -> None:
    """Go on at once."""


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with reporting_database(database_url) as opened:
        devices = [Device(one, one, enrolled=True, scope_tags=frozenset(tags)) for one, tags in TAGS.items()]
        await SqlDeviceRecords(opened).remember(devices)
        yield opened


async def close(database: Database, days: int, *, few: int = 0) -> None:
    """Close the days up to this one, and fold what came late to those that are closed, where that is more than a few."""
    await SqlClosing(database, lambda: MIDNIGHT + days * DAY + OVER, few=few, pause=at_once).close()


async def hide(database: Database) -> int:
    """Let nothing count as closed; return what did."""
    async with database.transaction() as tx:
        closed = int((await tx.execute(sa.select(tables.HORIZON.c.closed_before))).scalar_one())
        await tx.execute(sa.update(tables.HORIZON).values(closed_before=0))
        return closed


async def show(database: Database, closed: int) -> None:
    async with database.transaction() as tx:
        await tx.execute(sa.update(tables.HORIZON).values(closed_before=closed))


async def first_page(database: Database, asked: Question) -> tuple[bool, tuple[Obstacle, ...]]:
    """Return the first page, and whether sets told it."""
    async with database.read() as tx:
        by_sets = await met(tx, unmanaged(asked), None) is not None
        return by_sets, (await obstacles_page(tx, asked, PageRequest(50))).items


ATTEMPTS = attempts_on(0, 1, 7, 8, 9, 63, 70)
CLOSINGS = st.lists(st.sampled_from([0, 1, 2, 8, 9, 10, 68, 71, 140]), min_size=1, max_size=4)


@given(
    attempts=ATTEMPTS,
    closings=CLOSINGS,
    few=st.sampled_from([0, 1, 500]),
    window=st.sampled_from(WINDOWS),
    size=st.integers(1, 3),
)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_obstacles_are_those_of_a_naive_recount_whatever_is_closed_and_comes_late(
    database: Database,
    sink: DurableSink,
    *,
    attempts: list[tuple[Made, int]],
    closings: list[int],
    few: int,
    window: dict[str, Any],
    size: int,
) -> None:
    await forget(database)
    story = Story(sink)
    for number, (one, days) in enumerate(attempts):
        await story.tell(one, days=days)
        if number % 6 == 5 and closings:
            await close(database, closings.pop(), few=few)
    if closings:
        await close(database, closings.pop(), few=few)
    await check_sets(database)
    listed = await obstacles(SqlReadiness(database), question(**window), size=size)
    told = [(one.application, one.count, one.users, one.devices, one.users_freed) for one in listed]
    assert told == [
        (one.application, one.count, one.users, one.devices, one.users_freed) for one in in_the_way(story.made)
    ]
    for tags, values in ASKED:
        asked = question(tags, **values)
        told_now = (await first_page(database, asked))[1]
        closed = await hide(database)
        by_sets, by_counts = await first_page(database, asked)
        await show(database, closed)
        assert not by_sets
        assert told_now == by_counts


async def told_by_sets(database: Database, *asked: Question) -> list[bool]:
    async with database.read() as tx:
        return [await met(tx, unmanaged(one), None) is not None for one in asked]


async def test_sets_tell_of_users_devices_and_files_where_days_are_closed(
    database: Database, sink: DurableSink
) -> None:
    story = Story(sink)
    for days in range(3):
        await story.tell(made("alice", "a", device="d1"), made("bob", "b", device="d2"), days=days)
    asked = [question(tags, **values) for tags, values in ASKED]
    assert not any(await told_by_sets(database, *asked))
    await close(database, 2)
    assert all(await told_by_sets(database, *asked))
    other: list[dict[str, Any]] = [
        {"results": ("DENIED",)},
        {"rules": ("r",)},
        {"administrator": True},
        {"attempt_ids": ("x",)},
    ]
    assert not any(await told_by_sets(database, *(question(**values) for values in other)))


async def test_days_that_nobody_closed_for_long_are_added_up(database: Database, sink: DurableSink) -> None:
    story = Story(sink)
    for days in range(7):
        await story.tell(made("alice", "a"), days=days)
    await close(database, 2)
    assert await told_by_sets(database, question()) == [False]
    await close(database, 3)
    assert await told_by_sets(database, question()) == [True]


async def test_what_comes_late_is_folded_where_it_is_more_than_a_few(database: Database, sink: DurableSink) -> None:
    story = Story(sink)
    await story.tell(made("alice", "a", device="d1"), days=0)
    await close(database, 9)
    await story.tell(made("bob", "a", device="d2"), made("bob", "b"), made("carol", "b"), days=0)
    await story.tell(made("bob", "c"), days=-20)
    before = await check_sets(database)
    await close(database, 9, few=2)
    assert await check_sets(database) == before
    late = tables.OBSTACLE_LATE.c
    async with database.read() as tx:
        left = (await tx.execute(sa.select(late.span, late.start))).all()
    assert (1, FIRST - 20) in set(map(tuple, left))
    assert (1, FIRST) not in set(map(tuple, left))
    assert {(1, FIRST), (1, FIRST - 20)} <= before


async def test_longer_spans_hold_what_came_late_to_shorter_ones(database: Database, sink: DurableSink) -> None:
    story = Story(sink)
    await story.tell(made("alice", "a"), days=0)
    await close(database, 8)
    await story.tell(made("bob", "b"), days=0)
    await close(database, 64, few=500)
    assert (64, start_of(FIRST, 64)) in await check_sets(database)


async def test_two_processes_fold_what_came_late_to_days_of_which_nothing_was_there(postgres: Cluster) -> None:
    with postgres.fresh_database() as url:
        async with reporting_database(url) as database:
            sink, drivers = DurableSink.on(database.url), [driver_of(database.url) for _ in range(2)]
            story = Story(sink)
            await story.tell(made("alice", "a"), days=0)
            await close(database, 9)
            await story.tell(made("bob", "b"), days=-20)
            before = await check_sets(database)
            for driver in drivers:
                driver.begin()
            fold(drivers[0], 1, FIRST - 20)
            other = asyncio.create_task(asyncio.to_thread(fold, drivers[1], 1, FIRST - 20))
            await waiting_for_a_lock(database)
            drivers[0].commit()
            await other
            drivers[1].commit()
            assert await check_sets(database) == before
            for opened in drivers:
                opened.close()
            await sink.close()


async def test_nothing_is_told_of_devices_that_may_not_be_seen_whether_their_days_are_closed_or_not(
    database: Database, sink: DurableSink
) -> None:
    story = Story(sink)
    for days in range(3):
        await story.tell(made("alice", "a", device="d1"), made("bob", "b", device="d3"), days=days)
    await close(database, 2)
    await story.tell(made("carol", "c", device="d3"), made("alice", "a", device="d3"), days=0)
    await story.tell(made("dave", "d", device="d3"), made("alice", "e", device="d3"), days=2)
    by_sets, found = await first_page(database, question(frozenset({"red"})))
    assert by_sets
    assert [(one.application.file_name, one.count, one.users, one.devices, one.users_freed) for one in found] == [
        ("a.exe", 3, 1, 1, 1)
    ]


async def test_a_walk_tells_what_was_stored_when_it_began_whatever_comes_late_or_is_closed_meanwhile(
    database: Database, sink: DurableSink
) -> None:
    story, readiness = Story(sink), SqlReadiness(database)
    for days in (0, 1, 2):
        await story.tell(made("alice", "a"), made("bob", "a"), made("bob", "b"), made("carol", "c"), days=days)
    await close(database, 2)
    asked = question(**SOME_OF_ALL)
    expected = await obstacles(readiness, asked)

    async def walked(then: Callable[[], Awaitable[None]]) -> list[Obstacle]:
        first = await list_obstacles(readiness, asked, page_size=1, page_token="")
        await then()
        found, token = [*first.items], first.next_token
        while token:
            page = await list_obstacles(readiness, asked, page_size=1, page_token=token)
            found += page.items
            token = page.next_token
        return [replace(one, attempt_id="") for one in found]

    async def today() -> None:
        await story.tell(made("alice", "c"), made("dave", "d"), days=2)

    async def late() -> None:
        await story.tell(made("alice", "b"), made("erin", "c"), days=0)

    async def next_day() -> None:
        await close(database, 3)

    for then in (today, late, next_day):
        expected = [replace(one, attempt_id="") for one in await obstacles(readiness, asked)]
        assert await walked(then) == expected


async def test_a_device_with_several_names_counts_once(database: Database, sink: DurableSink) -> None:
    event_of = [event(number, made("alice", "a"), days=number) for number in (0, 1, 2)]
    for number, name in enumerate(("old", "new", "newest")):
        await sink.store([batch([event_of[number]], device="d1", name=name, journal=f"j{number}")])
    await close(database, 2)
    by_sets, found = await first_page(database, question())
    assert by_sets
    assert [one.devices for one in found] == [1]
