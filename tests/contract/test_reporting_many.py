"""Many rows at once, of which some are there already: the drivers take other ways then, and nothing else differs."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from services._chassis.db import Database
from services._chassis.paging import LARGEST_PAGE, PageRequest
from services.reporting.model.reports import ElevationFilter, Question
from services.reporting.store.postgres_driver import COPY_FROM
from services.reporting.store.reports import SqlReports
from services.reporting.store.tables import ATTEMPT, COUNT_BY_DECISION
from tests.builders.sinks import DurableSink
from tests.contract.test_reporting_sink import database
from tests.fakes.reporting import batch, decided

__all__ = ["database"]
"""A fixture that the tests below ask for."""

MANY = 2 * COPY_FROM


async def test_many_events_of_which_some_came_before_are_stored_and_counted_once(
    sink: DurableSink, database: Database
) -> None:
    events = [decided(number) for number in range(1, 3 * MANY + 1)]
    await sink.store([batch(events[:MANY])])
    overlapping = batch(events[MANY // 2 : 2 * MANY], first=MANY // 2 + 1)
    assert await sink.store([overlapping, overlapping]) == [(), ()]
    await sink.store([batch(events[2 * MANY :], first=2 * MANY + 1)])
    async with database.read() as tx:
        stored = (await tx.execute(sa.select(sa.func.count()).select_from(ATTEMPT))).scalar_one()
        counted = sa.select(sa.func.sum(COUNT_BY_DECISION.c.attempts)).where(COUNT_BY_DECISION.c.span == 1)
        assert (stored, (await tx.execute(counted)).scalar_one()) == (3 * MANY, 3 * MANY)


async def test_of_a_page_of_large_events_no_more_are_read_than_it_shows(sink: DurableSink, database: Database) -> None:
    await sink.store([batch([decided(number, arguments=["x" * 240_000]) for number in range(1, 31)])])
    read: list[int] = []

    @sa.event.listens_for(database.engine.sync_engine, "before_cursor_execute")
    def note(_connection: Any, _cursor: Any, statement: str, parameters: Sequence[object], *_rest: object) -> None:
        if "reporting_attempt.body," in statement:
            read.append(len(parameters))

    page = await SqlReports(database).elevations(Question(ElevationFilter(), None), PageRequest(1000))
    assert len(page.items) * 240_000 <= LARGEST_PAGE
    assert len(read) == 1
    others = 4
    assert len(page.items) < read[0] <= len(page.items) + others
