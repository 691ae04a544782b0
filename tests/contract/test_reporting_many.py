"""Many rows at once, of which some are there already: the drivers take other ways then, and nothing else differs."""

import sqlalchemy as sa

from services._chassis.db import Database
from services.reporting.store.drivers import COPY_FROM
from services.reporting.store.sink import DurableSink
from services.reporting.store.tables import ATTEMPT, COUNT_BY_DECISION
from tests.contract.test_reporting_sink import database, sink
from tests.fakes.reporting import batch, decided

__all__ = ["database", "sink"]
"""The fixtures that the tests below ask for."""

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
