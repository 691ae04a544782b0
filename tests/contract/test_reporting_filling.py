"""What reports are measured on is what the sink would have stored."""

from typing import Any

import pytest
import sqlalchemy as sa

from benchmarks.reported.filling import fill
from benchmarks.reported.past import Past, batches_of
from services._chassis.db import Database
from services._chassis.migrate import upgrade
from services.reporting.store.rollups import ROLLUPS
from services.reporting.store.tables import ATTEMPT, JOURNAL
from tests.builders.counts import check, kept, stored
from tests.builders.sinks import DurableSink

PAST = Past(1500, 20_000)


async def indexes(database: Database) -> set[str]:
    def look(connection: sa.Connection) -> set[str]:
        return {str(index["name"]) for index in sa.inspect(connection).get_indexes(ATTEMPT.name)}

    async with database.read() as tx:
        return await tx.connection.run_sync(look)


async def places(database: Database) -> list[tuple[Any, ...]]:
    asked = sa.select(
        JOURNAL.c.device_id, JOURNAL.c.high_water, ATTEMPT.c.seq, ATTEMPT.c.event_id, ATTEMPT.c.day, ATTEMPT.c.body
    ).join_from(ATTEMPT, JOURNAL, JOURNAL.c.journal_key == ATTEMPT.c.journal_key)
    async with database.read() as tx:
        return sorted(map(tuple, await tx.execute(asked)))


@pytest.fixture
async def filled(database_url: str, tmp_path: Any) -> Any:
    """Fill one database at once, and another by the sink."""
    database = await Database.connect(database_url, service="reporting")
    other = await Database.connect(f"sqlite:///{tmp_path / 'other.db'}", service="reporting")
    for one in (database, other):
        await upgrade(one)
    yield database, other
    await database.close()
    await other.close()


async def test_a_past_that_is_filled_in_at_once_is_what_the_sink_makes_of_it(filled: Any) -> None:
    database, other = filled
    before = await indexes(database)
    await fill(database, PAST)
    sink = DurableSink.on(other.url)
    for day in PAST.days():
        assert not any(await sink.store(batches_of(day)))
    await sink.close()
    key = lambda row: row["event_id"]  # noqa: E731 - one word for what orders
    assert sorted(await stored(database), key=key) == sorted(await stored(other), key=key)
    assert await places(database) == await places(other)
    for rollup in ROLLUPS:
        assert await kept(database, rollup) == await kept(other, rollup)
    await check(database)
    assert await indexes(database) == before
