"""What is counted while events come in is what a count of the events gives: after whatever was sent, on both databases."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services._chassis.db import Database
from services._chassis.errors import UnavailableError
from services._chassis.migrate import upgrade
from services._chassis.paging import PageRequest
from services.reporting.model.events import Batch
from services.reporting.model.reports import ElevationFilter, Question
from services.reporting.store.driver import LostError
from services.reporting.store.reports import SqlReports
from services.reporting.store.rollups import ROLLUPS
from services.reporting.store.sqlite_driver import SqliteDriver
from tests.builders.counts import ATTEMPTS, MIDNIGHT, attempt, check, forget, kept
from tests.builders.reporting_database import reporting_database
from tests.builders.sinks import DurableSink
from tests.fakes.reporting import batch, completed, decided


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with reporting_database(database_url) as opened:
        yield opened


@pytest.fixture
async def sinks(database: Database) -> AsyncIterator[list[DurableSink]]:
    opened = [DurableSink.on(database.url) for _ in range(2)]
    yield opened
    for sink in opened:
        await sink.close()


SENDINGS = st.lists(
    st.tuples(st.integers(0, 1), st.lists(st.tuples(st.integers(0, 9), st.integers(1, 4)), max_size=3)), max_size=6
)
"""Which sink stores which parts of what there is to send: any part may come twice, at once or later."""
EXAMPLES = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@EXAMPLES
@given(drawn=st.lists(ATTEMPTS, min_size=10, max_size=10), sendings=st.tuples(SENDINGS, st.booleans()))
async def test_counts_are_what_a_count_of_the_events_gives_whatever_comes_twice(
    database: Database,
    sinks: list[DurableSink],
    drawn: list[Any],
    sendings: tuple[list[tuple[int, list[tuple[int, int]]]], bool],
) -> None:
    order, together = sendings

    def part(first: int, size: int) -> list[Batch]:
        wanted = range(first, min(first + size, len(drawn)))
        ends = completed(1000 + first, f"attempt-{first}")
        return [
            *(batch([attempt(n + 1, drawn[n])], device=drawn[n][3], first=n + 1) for n in wanted),
            batch([ends], device="d1", first=1000 + first),
        ]

    groups = [(sink, [one for first, size in parts for one in part(first, size)]) for sink, parts in order]
    if together:
        await asyncio.gather(*(sinks[sink].store(group) for sink, group in groups))
    else:
        for sink, group in groups:
            await sinks[sink].store(group)
    await check(database)
    await forget(database)


async def test_an_event_that_loses_its_place_or_its_id_is_not_counted(
    database: Database, sinks: list[DurableSink]
) -> None:
    await sinks[0].store([batch([decided(1, user="alice")])])
    await sinks[0].store([batch([decided(2, user="bob")]), batch([decided(1, user="carol")], device="d2")])
    await sinks[1].store([batch([decided(3, user="dave"), decided(4, user="erin")], first=1)])
    users = await SqlReports(database).users(Question(ElevationFilter(), None), PageRequest(10))
    assert [(one.user, one.total) for one in users.items] == [("alice", 1), ("erin", 1)]
    await check(database)


async def test_many_at_once_are_counted_like_few(database: Database, sinks: list[DurableSink]) -> None:
    many = [
        decided(number, user=f"user-{number % 700}", at=MIDNIGHT + number * timedelta(hours=1))
        for number in range(1, 1500)
    ]
    await sinks[0].store([batch(many)])
    await sinks[1].store([batch([*many[:100], *many])])
    await check(database)


class Breaking(SqliteDriver):
    """Lose the database before the next commit."""

    broken = False

    def commit(self) -> None:
        if self.broken:
            self.broken = False
            raise LostError("gone")
        super().commit()


async def test_what_a_transaction_that_failed_came_to_know_is_forgotten(tmp_path: Path) -> None:
    database = await Database.connect(f"sqlite:///{tmp_path / 'reporting.db'}", service="reporting")
    await upgrade(database)
    driver = Breaking(str(database.url.database))
    sink = DurableSink(driver)
    driver.broken = True
    with pytest.raises(UnavailableError):
        await sink.store([batch([decided(1, user="alice")])])
    await sink.store([batch([decided(2, user="bob"), decided(3, user="alice")])])
    await check(database)
    assert (await kept(database, ROLLUPS[3])).total() == 2 * len(ROLLUPS[3].spans)
    await sink.close()
    await database.close()
