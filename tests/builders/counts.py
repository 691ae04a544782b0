"""Attempts to be counted, and counts done again the slow way."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from hypothesis import strategies as st

from epm.elevation.v1 import event_pb2
from services._chassis.db import Database
from services.reporting.model.rollups import DAY, start_of
from services.reporting.store import tables
from services.reporting.store.closed import MAKERS
from services.reporting.store.dimensions import DIMENSIONS
from services.reporting.store.rollups import CLOSED, ROLLUPS, Rollup
from tests.fakes.reporting import decided, unmanaged

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
KINDS = ("automatic", "denied", "default", "unmanaged")


async def forget(database: Database) -> None:
    """Leave nothing that an example stored; what the sinks know by number stays."""
    async with database.transaction() as tx:
        for table in (tables.ATTEMPT, tables.COMPLETION, tables.DEAD_LETTER, *(rollup.table for rollup in ROLLUPS)):
            await tx.execute(sa.delete(table))
        for maker in MAKERS:
            await tx.execute(sa.delete(maker.table))
        await tx.execute(sa.update(tables.HORIZON).values(closed_before=0))


async def kept(database: Database, rollup: Rollup) -> Counter[tuple[Any, ...]]:
    """Return what a table of counts says, in the words that it counts by."""
    source: sa.FromClause = rollup.table
    for dimension in rollup.dimensions:
        known = dimension.table
        source = source.join(known, known.c[dimension.key] == rollup.table.c[dimension.key])
    words = [dimension.table.c[name] for dimension in rollup.dimensions for name in dimension.columns]
    counts = rollup.table.c
    async with database.read() as tx:
        rows = await tx.execute(sa.select(counts.span, counts.start, *words, counts.attempts).select_from(source))
        found = [tuple(row) for row in rows]
    assert len({row[:-1] for row in found}) == len(found)
    return Counter({row[:-1]: row[-1] for row in found})


async def recounted(database: Database, rollup: Rollup) -> Counter[tuple[Any, ...]]:
    """Count the events one by one."""
    words = [name for dimension in rollup.dimensions for name in dimension.columns]
    return Counter(
        (span, start_of(row["occurred"] // DAY, span), *(row[word] for word in words))
        for row in await stored(database)
        for span in rollup.spans
        if not (rollup.unmanaged_only and row["managed"])
    )


async def stored(database: Database) -> list[dict[str, Any]]:
    """Return the attempts with everything that they are counted and named by."""
    source: sa.FromClause = tables.ATTEMPT
    for dimension in DIMENSIONS:
        source = source.join(dimension.table, dimension.table.c[dimension.key] == tables.ATTEMPT.c[dimension.key])
    words = [dimension.table.c[name] for dimension in DIMENSIONS for name in dimension.columns]
    own = (tables.ATTEMPT.c[name] for name in ("event_id", "attempt_id", "occurred"))
    asked = sa.select(*own, *words).select_from(source)
    async with database.read() as tx:
        return [dict(row) for row in (await tx.execute(asked)).mappings()]


async def check(database: Database) -> None:
    for rollup in ROLLUPS:
        assert await kept(database, rollup) == await recounted(database, rollup), rollup.table.name
    assert await unpaired(database) == []


async def check_closed(database: Database) -> set[tuple[int, int]]:
    """Hold what was made of closed spans against the counts of their days; return which spans there are."""
    keys = [dimension.key for dimension in CLOSED.dimensions]
    counts, closed = tables.COUNT.c, CLOSED.table.c
    async with database.read() as tx:
        horizon = (await tx.execute(sa.select(tables.HORIZON))).mappings().one()
        of_days = (await tx.execute(sa.select(counts.start, *(counts[key] for key in keys), counts.attempts))).all()
        made = (
            await tx.execute(sa.select(closed.span, closed.start, *(closed[key] for key in keys), closed.attempts))
        ).all()

    def visible(span: int, start: int) -> bool:
        return int(horizon["counts_before"]) <= start <= int(horizon["closed_before"]) - span

    expected: Counter[tuple[int, ...]] = Counter()
    for day, *cell, attempts in map(tuple, of_days):
        for span in CLOSED.spans:
            expected[(span, start_of(day, span), *cell)] += attempts
    found = {tuple(cell): attempts for *cell, attempts in map(tuple, made) if visible(cell[0], cell[1])}
    assert found == {cell: attempts for cell, attempts in expected.items() if visible(cell[0], cell[1])}
    return {(cell[0], cell[1]) for cell in found}


async def unpaired(database: Database) -> list[Any]:
    """Return the users who have a count on a device, and do not stand beside it."""
    counts, pairs = tables.COUNT.c, tables.USER_DEVICE.c
    counted, paired = sa.select(counts.user_key, counts.device_key), sa.select(pairs.user_key, pairs.device_key)
    async with database.read() as tx:
        return [tuple(row) for row in await tx.execute(sa.except_(counted, paired))]


def attempt(number: int, drawn: tuple[str, str, str, str, int]) -> event_pb2.ElevationEvent:
    user, letter, kind, _, hours = drawn
    values: dict[str, Any] = {
        "user": user,
        "at": MIDNIGHT + timedelta(hours=hours),
        "file": {"path": f"C:/{letter}.exe", "publisher": letter, "version": ""},
    }
    if kind == "unmanaged":
        return unmanaged(number, **values)
    if kind == "denied":
        values |= {"outcome": event_pb2.OUTCOME_DENY, "result": event_pb2.ATTEMPT_RESULT_DENIED}
    if kind == "default":
        values |= {"source": event_pb2.SOURCE_DEFAULT_RESPONSE, "elevation_type": 0}
    return decided(number, **values)


ATTEMPTS = st.tuples(
    st.sampled_from(["alice", "bob", "Bob"]),
    st.sampled_from(["a", "b", "\u00e4"]),
    st.sampled_from(KINDS),
    st.sampled_from(["d1", "d2", "d3"]),
    st.sampled_from([0, 1, 23, 24, 25, 24 * 8, 24 * 70]),
)
